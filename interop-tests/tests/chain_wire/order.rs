//! Which options are where, and in which order, through one node to three; and none without one.

use crate::common::{Leg, PROMPTLY, Site, flow_lines, synhop_options, turn};
use crate::pins::{
    BODY, Expected, check_area, check_early, check_silence_elsewhere, expected_options, whole_flow,
};
use synhop_lab::{ChainSpec, CurlSpec, Lab, Packet, Via};

#[test]
fn options_and_order_through_one_node() {
    pin_a_chain("options_and_order_through_one_node", 1);
}

#[test]
fn options_and_order_through_two_nodes() {
    pin_a_chain("options_and_order_through_two_nodes", 2);
}

#[test]
fn options_and_order_through_three_nodes() {
    pin_a_chain("options_and_order_through_three_nodes", 3);
}

fn pin_a_chain(test: &str, nodes: usize) {
    let Some(_turn) = turn(test) else { return };
    let mut site = Site::new(
        Lab::builder().nodes(nodes).rtt_ms(60),
        &ChainSpec::default(),
        &[BODY],
    );
    let capture = site.lab.capture().unwrap();
    site.fetch_intact(BODY);
    let packets = whole_flow(&capture, nodes);
    let legs: Vec<_> = (0..=nodes).map(|link| Leg::only(&packets, link)).collect();
    check_addresses(&site, &legs);
    let flow = (legs[0].client, site.nginx.address());
    for leg in &legs {
        let expected = expected_options(leg.link, nodes, flow);
        check_handshake(&packets, leg, &expected);
        check_silence_elsewhere(&packets, leg);
    }
    check_early(&packets, &legs);
    site.wait_until_idle(PROMPTLY);
    for node in site.chain.nodes() {
        let lines = flow_lines(node);
        assert_eq!(lines.len(), 1, "{}", node.failure());
        assert_eq!(lines[0].get("mode"), "early", "{}", lines[0]);
        assert_eq!(lines[0].outcome(), "closed", "{}", lines[0]);
    }
    site.close();
}

/// Each leg goes from neighbour to neighbour.
fn check_addresses(site: &Site, legs: &[Leg]) {
    let lab = &site.lab;
    for leg in legs {
        let from = match leg.link {
            0 => lab.client_address(),
            node => lab.node_onward_address(node),
        };
        let to = if leg.link == lab.nodes() {
            site.nginx.address()
        } else {
            lab.node_listen_address(leg.link + 1)
        };
        assert_eq!(leg.client.ip(), from, "{leg:?}");
        assert_eq!(leg.server, to, "{leg:?}");
    }
}

/// SYN and SYN-ACK: the kernel's own options in their usual place and order, synhop's behind
/// them, NOPs up to a multiple of 4, and nothing else.
fn check_handshake(packets: &[Packet], leg: &Leg, expected: &Expected) {
    let syns = leg.sent_up(packets);
    let mut syns = syns.iter().filter(|seen| seen.segment.is_syn());
    let syn = syns.next().expect("a SYN").segment;
    assert!(syns.next().is_none(), "no retransmission was forced");
    check_area(syn, expected.syn.as_deref());
    let answers = leg.sent_down(packets);
    let mut answers = answers.iter().filter(|seen| seen.segment.is_syn_ack());
    let answer = answers.next().expect("a SYN-ACK").segment;
    assert!(answers.next().is_none(), "no retransmission was forced");
    check_area(answer, expected.syn_ack.as_deref());
    assert_eq!((syn.payload_len, answer.payload_len), (0, 0));
}

/// Without a proxy, nothing on the wire is synhop's.
#[test]
fn a_direct_fetch_carries_no_option() {
    let Some(_turn) = turn("a_direct_fetch_carries_no_option") else {
        return;
    };
    let site = Site::new(Lab::builder().nodes(1), &ChainSpec::default(), &[BODY]);
    let capture = site.lab.capture().unwrap();
    let spec = CurlSpec {
        expect_octets: Some(BODY),
        ..CurlSpec::new(site.nginx.url(BODY), Via::Direct)
    };
    assert!(site.lab.curl(&spec).unwrap().is_success());
    let packets = whole_flow(&capture, 1);
    for packet in packets.iter().filter_map(|packet| packet.tcp.as_ref()) {
        assert!(synhop_options(&packet.options).is_empty(), "{packet:02x?}");
    }
    site.close();
}
