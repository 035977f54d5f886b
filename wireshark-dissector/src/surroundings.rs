//! Segments that no vector can describe: options of others, and TCP headers in unusual places.

use crate::frame::{self, Leg, TcpHeader};
use crate::pcap::Packet;
use crate::vector::Segment;

/// An option area with options of others, and what of Wireshark's own rendering proves that
/// Wireshark's own dissector was at work.
pub struct Foreign {
    /// What it is.
    pub about: &'static str,
    /// The flags.
    pub segment: Segment,
    /// The option area in hex.
    pub options: &'static str,
    /// Stands in Wireshark's tree of the TCP header.
    pub shown: &'static str,
}

/// Options of others, alone and beside ours.
pub const FOREIGN: [Foreign; 14] = [
    foreign(
        "TCP Fast Open, kind 34: a cookie",
        "020405b4220aa1a2a3a4a5a6a7a80101",
        "tcp.options.tfo.cookie",
    ),
    foreign(
        "TCP Fast Open, kind 34: asks for a cookie",
        "22020101",
        "tcp.options.tfo.request",
    ),
    foreign(
        "TCP Fast Open as an experiment: a cookie",
        "020405b4fd0cf989a1a2a3a4a5a6a7a8",
        "Experiment Identifier: Fast Open (0xf989)",
    ),
    foreign(
        "the same in kind 254",
        "fe08f989a1a2a3a4",
        "Fast Open Cookie",
    ),
    foreign(
        "an experiment nobody knows, kind 253",
        "fd081234deadbeef",
        "Unknown (0x1234)",
    ),
    foreign(
        "an experiment nobody knows, kind 254",
        "fe081234deadbeef",
        "Unknown (0x1234)",
    ),
    foreign(
        "the neighbour below ours",
        "fd10e5f3c0000201c6336401d43101bb",
        "Unknown (0xe5f3)",
    ),
    foreign(
        "Accurate ECN as an experiment",
        "fd05acce00010101",
        "0xacce",
    ),
    foreign(
        "an experiment without an identifier",
        "fd020101",
        "tcp.option_kind",
    ),
    foreign(
        "an experiment that is cut off",
        "fd10f989a1a2a3a4",
        "past end of options",
    ),
    foreign(
        "an option of kind 76 that is cut off",
        "4c08dead",
        "past end of options",
    ),
    foreign(
        "Multipath TCP",
        "1e0c0001a1a2a3a4a5a6a7a8",
        "tcp.options.mptcp.subtype",
    ),
    foreign(
        "Fast Open as an experiment, and behind it ours",
        "fd0cf989a1a2a3a4a5a6a7a8fd10e5f4c0000201c6336401d43101bb",
        "Fast Open Cookie: a1a2a3a4a5a6a7a8",
    ),
    foreign(
        "ours, and behind it Fast Open, kind 34",
        "fd10e5f4c0000201c6336401d43101bb220aa1a2a3a4a5a6a7a80101",
        "tcp.options.tfo.cookie",
    ),
];

const fn foreign(about: &'static str, options: &'static str, shown: &'static str) -> Foreign {
    Foreign {
        about,
        segment: Segment::Syn,
        options,
        shown,
    }
}

/// The packets of [`FOREIGN`], in its order.
///
/// # Panics
/// Never: the octets above are an option area each.
pub fn foreign_packets() -> Vec<Packet> {
    let header = |foreign: &Foreign, client_port| TcpHeader {
        segment: foreign.segment,
        client_port,
        node_port: 443,
        options: hex::decode(foreign.options).expect("hex"),
    };
    (50_000..)
        .zip(&FOREIGN)
        .map(|(port, foreign)| Packet::whole(frame::segment(Leg::V4, &header(foreign, port))))
        .collect()
}

/// IP protocol numbers.
const ICMP: u8 = 1;
const IPV4_IN_IPV4: u8 = 4;

/// The base form behind an MSS option.
const BASE_FORM: &str = "020405b4fd10e5f4c0000201c6336401d43101bb";

/// The base form in unusual places. With each the `synhop.dst` that is shown there.
///
/// # Panics
/// Never: the octets above are an option area.
pub fn unusual_packets() -> Vec<(&'static str, Packet, Option<&'static str>)> {
    const DESTINATION: Option<&str> = Some("198.51.100.1");
    let header = TcpHeader {
        segment: Segment::Syn,
        client_port: 51_000,
        node_port: 443,
        options: hex::decode(BASE_FORM).expect("hex"),
    };
    let syn = frame::segment(Leg::V4, &header);
    let unreachable = frame::ipv4_from_node(ICMP, &icmp_unreachable(&syn));
    let tunnelled = frame::ipv4_from_node(IPV4_IN_IPV4, &syn);
    let before_option = syn.len() - 16;
    vec![
        ("quoted by ICMP", Packet::whole(unreachable), DESTINATION),
        ("in an IPv4 tunnel", Packet::whole(tunnelled), DESTINATION),
        (
            "cut in the option by the capture",
            Packet::cut(syn.clone(), before_option + 6),
            None,
        ),
        (
            "cut before the option by the capture",
            Packet::cut(syn.clone(), before_option),
            None,
        ),
        (
            "cut in the fixed header by the capture",
            Packet::cut(syn, 30),
            None,
        ),
    ]
}

/// ICMP destination unreachable, administratively prohibited (RFC 1812), with all of `packet`.
fn icmp_unreachable(packet: &[u8]) -> Vec<u8> {
    use pnet_packet::icmp::{self, IcmpPacket};
    let mut octets = vec![3, 13, 0, 0, 0, 0, 0, 0];
    octets.extend(packet);
    let checksum = IcmpPacket::new(&octets).map_or(0, |packet| icmp::checksum(&packet));
    octets[2..4].copy_from_slice(&checksum.to_be_bytes());
    octets
}
