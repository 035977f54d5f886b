//! Captures made from vectors: each vector twice, on an IPv4 and on an IPv6 leg, for the leg makes
//! no difference to the option.

use crate::frame::{self, Leg, TcpHeader};
use crate::pcap::{self, Packet};
use crate::vector::Vector;

/// The packets of a vector in [`packets`], and the legs they are on.
pub const LEGS: [Leg; 2] = [Leg::V4, Leg::V6];

/// The port of the first vector's client; the next has the next. Each is a connection of its own,
/// so that Wireshark takes none for another's retransmission.
const FIRST_CLIENT_PORT: u16 = 40_000;

/// The packets of these vectors: vector `n` (from 0) in packets `2n` and `2n + 1`.
///
/// # Panics
/// When a vector's option area fits no TCP header.
pub fn packets(vectors: &[Vector]) -> Vec<Packet> {
    let mut packets = Vec::new();
    for (client_port, vector) in (FIRST_CLIENT_PORT..).zip(vectors) {
        let header = TcpHeader {
            segment: vector.segment,
            client_port,
            node_port: vector.syn_port,
            options: vector.option_octets(),
        };
        packets.extend(LEGS.map(|leg| Packet::whole(frame::segment(leg, &header))));
    }
    packets
}

/// The capture file of these vectors.
pub fn file(vectors: &[Vector]) -> Vec<u8> {
    pcap::file(&packets(vectors))
}
