//! Packets as they are on the wire: IP, TCP, and checksums that hold.

use std::net::{Ipv4Addr, Ipv6Addr};

use pnet_packet::ip::IpNextHeaderProtocol;
use pnet_packet::ipv4::{self, MutableIpv4Packet};
use pnet_packet::ipv6::MutableIpv6Packet;
use pnet_packet::tcp::{self, MutableTcpPacket};
use pnet_packet::{MutablePacket, Packet};

use crate::vector::Segment;

/// The leg between the sender of the SYN and the node; it says nothing of the flow's family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leg {
    /// 192.0.2.10 to 203.0.113.1.
    V4,
    /// `2001:db8:a::10` to `2001:db8:b::1`.
    V6,
}

/// What is to be put into the TCP header.
#[derive(Clone, Debug)]
pub struct TcpHeader {
    /// Decides flags and direction: a SYN-ACK goes back.
    pub segment: Segment,
    /// The port of the one that opens the connection.
    pub client_port: u16,
    /// The port of the node.
    pub node_port: u16,
    /// The option area, at most 40 octets and a multiple of 4.
    pub options: Vec<u8>,
}

/// IP protocol number of TCP.
pub const TCP: u8 = 6;

const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const NODE_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x10);
const NODE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xb, 0, 0, 0, 0, 1);

const TCP_FIXED_OCTETS: usize = 20;
const IPV4_OCTETS: usize = 20;
const IPV6_OCTETS: usize = 40;
const HOP_LIMIT: u8 = 64;

/// An IP packet that carries this TCP header and no payload.
///
/// # Panics
/// When the options are no option area.
pub fn segment(leg: Leg, header: &TcpHeader) -> Vec<u8> {
    let mut octets = tcp_octets(header);
    let goes_back = header.segment == Segment::SynAck;
    let mut packet = MutableTcpPacket::new(&mut octets).expect("room for a TCP header");
    match leg {
        Leg::V4 => {
            let (from, to) = if goes_back {
                (NODE_V4, CLIENT_V4)
            } else {
                (CLIENT_V4, NODE_V4)
            };
            packet.set_checksum(tcp::ipv4_checksum(&packet.to_immutable(), &from, &to));
            ipv4(from, to, TCP, packet.packet())
        }
        Leg::V6 => {
            let (from, to) = if goes_back {
                (NODE_V6, CLIENT_V6)
            } else {
                (CLIENT_V6, NODE_V6)
            };
            packet.set_checksum(tcp::ipv6_checksum(&packet.to_immutable(), &from, &to));
            ipv6(from, to, packet.packet())
        }
    }
}

/// `payload` from the node back to the client, over IPv4: for what quotes or wraps a segment.
pub fn ipv4_from_node(protocol: u8, payload: &[u8]) -> Vec<u8> {
    ipv4(NODE_V4, CLIENT_V4, protocol, payload)
}

fn tcp_octets(header: &TcpHeader) -> Vec<u8> {
    const SYN: u8 = 0x02;
    const ACK: u8 = 0x10;
    let len = TCP_FIXED_OCTETS + header.options.len();
    assert!(
        len <= 60 && len.is_multiple_of(4),
        "a TCP header of {len} octets"
    );
    let mut octets = vec![0; len];
    let mut packet = MutableTcpPacket::new(&mut octets).expect("room for a TCP header");
    let (source, destination, flags) = match header.segment {
        Segment::Syn => (header.client_port, header.node_port, SYN),
        Segment::SynAck => (header.node_port, header.client_port, SYN | ACK),
        Segment::Other => (header.client_port, header.node_port, ACK),
    };
    packet.set_source(source);
    packet.set_destination(destination);
    packet.set_sequence(1000);
    packet.set_acknowledgement(if flags & ACK == 0 { 0 } else { 2000 });
    packet.set_data_offset(u8::try_from(len / 4).expect("at most 15"));
    packet.set_flags(flags);
    packet.set_window(64240);
    packet.packet_mut()[TCP_FIXED_OCTETS..].copy_from_slice(&header.options);
    octets
}

fn ipv4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let len = IPV4_OCTETS + payload.len();
    let mut octets = vec![0; len];
    let mut packet = MutableIpv4Packet::new(&mut octets).expect("room for an IPv4 header");
    packet.set_version(4);
    packet.set_header_length(5);
    packet.set_total_length(u16::try_from(len).expect("a small packet"));
    packet.set_flags(2); // do not fragment
    packet.set_ttl(HOP_LIMIT);
    packet.set_next_level_protocol(IpNextHeaderProtocol(protocol));
    packet.set_source(from);
    packet.set_destination(to);
    packet.set_checksum(ipv4::checksum(&packet.to_immutable()));
    packet.packet_mut()[IPV4_OCTETS..].copy_from_slice(payload);
    octets
}

fn ipv6(from: Ipv6Addr, to: Ipv6Addr, payload: &[u8]) -> Vec<u8> {
    let mut octets = vec![0; IPV6_OCTETS + payload.len()];
    let mut packet = MutableIpv6Packet::new(&mut octets).expect("room for an IPv6 header");
    packet.set_version(6);
    packet.set_payload_length(u16::try_from(payload.len()).expect("a small packet"));
    packet.set_next_header(IpNextHeaderProtocol(TCP));
    packet.set_hop_limit(HOP_LIMIT);
    packet.set_source(from);
    packet.set_destination(to);
    packet.packet_mut()[IPV6_OCTETS..].copy_from_slice(payload);
    octets
}
