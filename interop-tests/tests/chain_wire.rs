//! The wire format, pinned from captures of unmodified curl through chains of nodes.

mod common;

use std::net::SocketAddr;

use common::{Leg, PROMPTLY, Site, flow_lines, option_list, synhop_options, turn};
use synhop_lab::link::{Middlebox, Verdict};
use synhop_lab::{Capture, ChainSpec, CurlSpec, End, Heading, Lab, Packet, Segment, Via};

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

/// The synhop options of a leg's SYN and SYN-ACK.
struct Expected {
    syn: Option<Vec<u8>>,
    syn_ack: Option<Vec<u8>>,
}

/// SPEC sections 4.2.1, 4.3 and 6.3, octet by octet.
fn expected_options(link: usize, nodes: usize, flow: (SocketAddr, SocketAddr)) -> Expected {
    let (SocketAddr::V4(source), SocketAddr::V4(destination)) = flow else {
        panic!("the lab is IPv4: {flow:?}");
    };
    let tuple = |len| {
        let mut option = vec![253, len, 0xe5, 0xf4];
        option.extend(source.ip().octets());
        option.extend(destination.ip().octets());
        option.extend(source.port().to_be_bytes());
        option.extend(destination.port().to_be_bytes());
        option
    };
    let reply = vec![253, 4, 0xe5, 0xf4];
    if link == nodes {
        return Expected {
            syn: None,
            syn_ack: None,
        };
    }
    let syn = if link == 0 {
        tuple(16)
    } else {
        let hops_left = 8 - u8::try_from(link).unwrap();
        let mut option = tuple(18);
        option.extend([hops_left, 0]);
        option
    };
    Expected {
        syn: Some(syn),
        syn_ack: Some(reply),
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

fn check_area(segment: &Segment, synhop: Option<&[u8]>) {
    let area = &segment.options;
    // MSS; SACK permitted; timestamps; NOP, window scale.
    assert_eq!(area[..4], [2, 4, 0x05, 0xb4], "{segment:02x?}");
    assert_eq!(area[4..8], [4, 2, 8, 10], "{segment:02x?}");
    assert_eq!(area[16..19], [1, 3, 3], "{segment:02x?}");
    assert!(area[19] <= 14, "{segment:02x?}");
    let mut rest = synhop.unwrap_or_default().to_vec();
    rest.resize(rest.len().next_multiple_of(4), 1);
    assert_eq!(area[STANDARD_OCTETS..], rest, "{segment:02x?}");
    assert_eq!(synhop_options(area).len(), usize::from(synhop.is_some()));
}

/// The option is on SYN and SYN-ACK alone.
fn check_silence_elsewhere(packets: &[Packet], leg: &Leg) {
    let up = leg.sent_up(packets);
    let down = leg.sent_down(packets);
    assert!(up.len() > 3 && down.len() > 3, "a flow of more segments");
    for seen in up.iter().chain(&down) {
        let segment = seen.segment;
        if segment.is_syn() || segment.is_syn_ack() {
            continue;
        }
        let options = synhop_options(&segment.options);
        assert!(options.is_empty(), "{segment:02x?}");
    }
}

/// A node's onward SYN leaves before the handshake of the leg on which it was asked is complete.
fn check_early(packets: &[Packet], legs: &[Leg]) {
    for pair in legs.windows(2) {
        let [asked, onward] = pair else {
            unreachable!()
        };
        let arrived = asked.arrived_up(packets);
        let syn = arrived.iter().find(|seen| seen.segment.is_syn());
        let ack = arrived.iter().find(|seen| !seen.segment.is_syn());
        let (syn, ack) = (syn.expect("a SYN"), ack.expect("an ACK"));
        let left = onward.sent_up(packets)[0];
        assert!(left.segment.is_syn(), "{:?}", left.segment);
        assert!(syn.at_ns < left.at_ns, "node {} is ahead", onward.link);
        assert!(left.at_ns < ack.at_ns, "node {} is late", onward.link);
    }
}

/// SPEC sections 5.3 and 6.6: the same octets again, one leg for all of them.
#[test]
fn retransmitted_syns_carry_the_same_octets() {
    let Some(_turn) = turn("retransmitted_syns_carry_the_same_octets") else {
        return;
    };
    let nodes = 2;
    let mut site = Site::new(
        Lab::builder().nodes(nodes).rtt_ms(12),
        &ChainSpec::default(),
        &[BODY],
    );
    for link in 0..=nodes {
        let drop_one = drop_first(1, Segment::is_syn);
        let result = site
            .lab
            .set_middlebox(link, Heading::ToServer, Some(drop_one));
        result.unwrap();
    }
    let capture = site.lab.capture().unwrap();
    site.fetch_intact(BODY);
    let packets = whole_flow(&capture, nodes);
    let legs: Vec<_> = (0..=nodes).map(|link| Leg::only(&packets, link)).collect();
    let flow = (legs[0].client, site.nginx.address());
    for leg in &legs {
        let expected = expected_options(leg.link, nodes, flow);
        let sent = leg.sent_up(&packets);
        let syns: Vec<_> = sent
            .iter()
            .filter(|seen| seen.segment.is_syn())
            .map(|seen| seen.segment)
            .collect();
        assert_eq!(syns.len(), 2, "link {}: {syns:02x?}", leg.link);
        for syn in &syns {
            check_area(syn, expected.syn.as_deref());
            assert_eq!(syn.sequence, syns[0].sequence);
        }
        check_silence_elsewhere(&packets, leg);
    }
    check_early(&packets, &legs);
    site.close();
}

/// SPEC sections 6.5 and 6.6: each SYN-ACK carries the reply, and a SYN that comes again because
/// of a lost SYN-ACK opens no second leg.
#[test]
fn retransmitted_syn_acks_carry_the_reply() {
    let Some(_turn) = turn("retransmitted_syn_acks_carry_the_reply") else {
        return;
    };
    let nodes = 2;
    let mut site = Site::new(
        Lab::builder().nodes(nodes).rtt_ms(12),
        &ChainSpec::default(),
        &[BODY],
    );
    for link in 0..nodes {
        let drop_one = drop_first(1, Segment::is_syn_ack);
        let result = site
            .lab
            .set_middlebox(link, Heading::ToClient, Some(drop_one));
        result.unwrap();
    }
    let capture = site.lab.capture().unwrap();
    site.fetch_intact(BODY);
    let packets = whole_flow(&capture, nodes);
    // Only one leg on each link, or this panics.
    let legs: Vec<_> = (0..=nodes).map(|link| Leg::only(&packets, link)).collect();
    let flow = (legs[0].client, site.nginx.address());
    for leg in &legs[..nodes] {
        let expected = expected_options(leg.link, nodes, flow);
        let sent = leg.sent_down(&packets);
        let answers: Vec<_> = sent
            .iter()
            .filter(|seen| seen.segment.is_syn_ack())
            .map(|seen| seen.segment)
            .collect();
        assert!(answers.len() >= 2, "link {}: {answers:02x?}", leg.link);
        for answer in &answers {
            check_area(answer, expected.syn_ack.as_deref());
            assert_eq!(answer.sequence, answers[0].sequence);
        }
        check_silence_elsewhere(&packets, leg);
    }
    for number in 1..=nodes {
        let status = site.lab.node_status(number).unwrap();
        assert_eq!(status["opened_total"], 1, "node {number}: {status}");
    }
    site.close();
}

/// SPEC section 3: MSS, window scale, SACK and timestamps are each leg's own.
#[test]
fn each_leg_negotiates_its_own_options() {
    let Some(_turn) = turn("each_leg_negotiates_its_own_options") else {
        return;
    };
    let lab = Lab::builder().nodes(2).rtt_ms(12).build().unwrap();
    // Leg 1 has smaller packets, node 2 a larger window, the server no SACK.
    let smaller = |device| format!("link set {device} mtu 1400\n");
    lab.node(1).ip(&smaller(lab.right_device())).unwrap();
    lab.node(2).ip(&smaller(lab.left_device())).unwrap();
    lab.node(2)
        .set_sysctls(&[("net.ipv4.tcp_rmem", "4096 131072 20000000")])
        .unwrap();
    lab.server()
        .set_sysctls(&[("net.ipv4.tcp_sack", "0")])
        .unwrap();
    let nginx = lab.start_nginx(&[BODY]).unwrap();
    let chain = lab.start_chain(&ChainSpec::default()).unwrap();
    let site = Site { chain, nginx, lab };
    let capture = site.lab.capture().unwrap();
    let outcome = site.fetch(BODY, site.via());
    assert!(outcome.is_success(), "{outcome:?}");
    let packets = whole_flow(&capture, 2);
    let legs: Vec<_> = (0..=2).map(|link| Leg::only(&packets, link)).collect();
    let offers: Vec<_> = legs.iter().map(|leg| Offers::of(&packets, leg)).collect();
    let mss: Vec<_> = offers
        .iter()
        .map(|it| (it.syn.mss, it.answer.mss))
        .collect();
    assert_eq!(mss, [(1460, 1460), (1360, 1360), (1460, 1460)]);
    let scale = |it: &Offers| (it.syn.window_scale, it.answer.window_scale);
    let scales: Vec<_> = offers.iter().map(scale).collect();
    assert_eq!(scales, [(7, 7), (7, 9), (9, 7)]);
    let sack: Vec<_> = offers
        .iter()
        .map(|it| (it.syn.sack, it.answer.sack))
        .collect();
    assert_eq!(sack, [(true, true), (true, true), (true, false)]);
    for (leg, offer) in legs.iter().zip(&offers) {
        // Its own clock, and echoed by its own peer.
        assert_eq!(offer.answer.echo, offer.syn.clock, "{leg:?}");
        let others = offers.iter().filter(|it| it.syn.clock == offer.syn.clock);
        assert_eq!(others.count(), 1, "{leg:?}: another leg's clock");
    }
    site.close();
}

/// What the two ends of a leg offer each other.
struct Offers {
    syn: Offer,
    answer: Offer,
}

struct Offer {
    mss: u16,
    window_scale: u8,
    sack: bool,
    clock: u32,
    echo: u32,
}

impl Offers {
    fn of(packets: &[Packet], leg: &Leg) -> Self {
        let sent = leg.sent_up(packets);
        let syn = sent.iter().find(|seen| seen.segment.is_syn());
        let answered = leg.sent_down(packets);
        let answer = answered.iter().find(|seen| seen.segment.is_syn_ack());
        Self {
            syn: Offer::of(syn.expect("a SYN").segment),
            answer: Offer::of(answer.expect("a SYN-ACK").segment),
        }
    }
}

impl Offer {
    fn of(segment: &Segment) -> Self {
        let list = option_list(&segment.options);
        let find = |kind| list.iter().find(|option| option.kind() == kind);
        let body = |kind| find(kind).expect("a standard option").octets[2..].to_vec();
        let number = |octets: &[u8]| u32::from_be_bytes(octets.try_into().expect("4 octets"));
        let (mss, clocks) = (body(2), body(8));
        Self {
            mss: u16::from_be_bytes([mss[0], mss[1]]),
            window_scale: body(3)[0],
            sack: find(4).is_some(),
            clock: number(&clocks[..4]),
            echo: number(&clocks[4..]),
        }
    }
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

/// Loses the first `count` segments that `is_it`.
fn drop_first(count: usize, is_it: fn(&Segment) -> bool) -> Middlebox {
    let mut left = count;
    Box::new(move |frame: &mut Vec<u8>| {
        let hit = left > 0 && Packet::tcp_of(frame).is_some_and(|segment| is_it(&segment));
        left -= usize::from(hit);
        if hit { Verdict::Drop } else { Verdict::Pass }
    })
}

/// Everything until both ends of the last leg have finished.
fn whole_flow(capture: &Capture, last_link: usize) -> Vec<Packet> {
    let ended = |packets: &[Packet]| {
        let fins = packets.iter().filter(|packet| {
            let here = packet.interface.link == last_link && packet.interface.end == End::Left;
            here && packet
                .tcp
                .as_ref()
                .is_some_and(|it| it.is_fin() || it.is_reset())
        });
        (fins.count() >= 2).then(|| packets.to_vec())
    };
    capture
        .wait_for("the flow's end on the last link", PROMPTLY, ended)
        .unwrap()
}

const BODY: u64 = 100_000;
/// What Linux puts into a SYN by default.
const STANDARD_OCTETS: usize = 20;
