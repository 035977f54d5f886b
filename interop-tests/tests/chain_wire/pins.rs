//! What the specification pins of a leg, and the checks of it.

use std::net::SocketAddr;

use crate::common::{Leg, PROMPTLY, synhop_options};
use synhop_lab::{Capture, End, Packet, Segment};

/// The synhop options of a leg's SYN and SYN-ACK.
pub(crate) struct Expected {
    pub(crate) syn: Option<Vec<u8>>,
    pub(crate) syn_ack: Option<Vec<u8>>,
}

/// SPEC sections 4.2.1, 4.3 and 6.3, octet by octet.
pub(crate) fn expected_options(
    link: usize,
    nodes: usize,
    flow: (SocketAddr, SocketAddr),
) -> Expected {
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

pub(crate) fn check_area(segment: &Segment, synhop: Option<&[u8]>) {
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
pub(crate) fn check_silence_elsewhere(packets: &[Packet], leg: &Leg) {
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
pub(crate) fn check_early(packets: &[Packet], legs: &[Leg]) {
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

/// Everything until both ends of the last leg have finished.
pub(crate) fn whole_flow(capture: &Capture, last_link: usize) -> Vec<Packet> {
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

pub(crate) const BODY: u64 = 100_000;
/// What Linux puts into a SYN by default.
const STANDARD_OCTETS: usize = 20;
