//! What the ends of each leg agree on is theirs alone.

use crate::common::{Leg, Site, option_list, turn};
use crate::pins::{BODY, whole_flow};
use synhop_lab::{ChainSpec, Lab, Packet, Segment};

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
