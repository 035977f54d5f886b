//! Lost SYNs and SYN-ACKs: the same octets again, and still one leg for all of them.

use std::ops::Range;

use crate::common::{Leg, Site, turn};
use crate::pins::{
    BODY, Expected, check_area, check_early, check_silence_elsewhere, expected_options, whole_flow,
};
use synhop_lab::link::{Middlebox, Verdict};
use synhop_lab::{ChainSpec, Heading, Lab, Packet, Segment};

/// SPEC sections 5.3 and 6.6.
#[test]
fn retransmitted_syns_carry_the_same_octets() {
    let Some(_turn) = turn("retransmitted_syns_carry_the_same_octets") else {
        return;
    };
    let lossy = Lossy::fetch(0..NODES + 1, Heading::ToServer, Segment::is_syn);
    for (leg, expected) in &lossy.legs {
        let sent = leg.sent_up(&lossy.packets);
        let syns = sent.iter().map(|seen| seen.segment);
        let syns: Vec<_> = syns.filter(|it| it.is_syn()).collect();
        assert_eq!(syns.len(), 2, "link {}: {syns:02x?}", leg.link);
        check_repeats(&syns, expected.syn.as_deref());
        check_silence_elsewhere(&lossy.packets, leg);
    }
    let legs: Vec<_> = lossy.legs.iter().map(|(leg, _)| *leg).collect();
    check_early(&lossy.packets, &legs);
    lossy.site.close();
}

/// SPEC sections 6.5 and 6.6: each SYN-ACK carries the reply, and a SYN that comes again because
/// of a lost SYN-ACK opens no second leg.
#[test]
fn retransmitted_syn_acks_carry_the_reply() {
    let Some(_turn) = turn("retransmitted_syn_acks_carry_the_reply") else {
        return;
    };
    let lossy = Lossy::fetch(0..NODES, Heading::ToClient, Segment::is_syn_ack);
    for (leg, expected) in &lossy.legs[..NODES] {
        let sent = leg.sent_down(&lossy.packets);
        let answers = sent.iter().map(|seen| seen.segment);
        let answers: Vec<_> = answers.filter(|it| it.is_syn_ack()).collect();
        assert!(answers.len() >= 2, "link {}: {answers:02x?}", leg.link);
        check_repeats(&answers, expected.syn_ack.as_deref());
        check_silence_elsewhere(&lossy.packets, leg);
    }
    for number in 1..=NODES {
        let status = lossy.site.lab.node_status(number).unwrap();
        assert_eq!(status["opened_total"], 1, "node {number}: {status}");
    }
    lossy.site.close();
}

/// A fetch on whose way segments were lost.
struct Lossy {
    site: Site,
    packets: Vec<Packet>,
    /// One on each link, and what is to be on it.
    legs: Vec<(Leg, Expected)>,
}

impl Lossy {
    /// Loses the first segment that `is_it` on each of these links.
    fn fetch(links: Range<usize>, heading: Heading, is_it: fn(&Segment) -> bool) -> Self {
        let lab = Lab::builder().nodes(NODES).rtt_ms(12);
        let mut site = Site::new(lab, &ChainSpec::default(), &[BODY]);
        for link in links {
            let lose = Some(drop_first(is_it));
            site.lab.set_middlebox(link, heading, lose).unwrap();
        }
        let capture = site.lab.capture().unwrap();
        site.fetch_intact(BODY);
        let packets = whole_flow(&capture, NODES);
        // Only one leg on each link, or this panics.
        let legs: Vec<_> = (0..=NODES).map(|link| Leg::only(&packets, link)).collect();
        let flow = (legs[0].client, site.nginx.address());
        let expected = |leg: Leg| (leg, expected_options(leg.link, NODES, flow));
        let legs = legs.into_iter().map(expected).collect();
        Self {
            site,
            packets,
            legs,
        }
    }
}

/// Loses the first segment that `is_it`.
fn drop_first(is_it: fn(&Segment) -> bool) -> Middlebox {
    let mut is_over = false;
    Box::new(move |frame: &mut Vec<u8>| {
        if !is_over && Packet::tcp_of(frame).is_some_and(|segment| is_it(&segment)) {
            is_over = true;
            return Verdict::Drop;
        }
        Verdict::Pass
    })
}

/// Copies of one segment, each with these octets of synhop's.
fn check_repeats(segments: &[&Segment], synhop: Option<&[u8]>) {
    for segment in segments {
        check_area(segment, synhop);
        assert_eq!(segment.sequence, segments[0].sequence);
    }
}

const NODES: usize = 2;
