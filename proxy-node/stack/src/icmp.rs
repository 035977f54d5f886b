//! ICMP and `ICMPv6`: echo, neighbours, and errors about our segments (RFC 792, RFC 4443, RFC 4861).

use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, Icmpv4Message, Icmpv4Packet, Icmpv6Message, Icmpv6Packet, Icmpv6Repr,
    IpProtocol, Ipv4Packet, Ipv6Packet, NdiscNeighborFlags, NdiscRepr, RawHardwareAddress,
};
use synhop_engine::{IcmpError, Quoted, Seq, Tuple};

use crate::inbound::Packet;
use crate::links::Links;

/// What an ICMP packet asks for.
#[derive(Debug)]
pub(crate) enum Icmp {
    /// Nothing that we do.
    Nothing,
    /// An answer to its sender.
    Answer(Vec<u8>),
    /// An answer to somebody who asks where we are, and who told where it is.
    Here {
        /// The answer.
        body: Vec<u8>,
        /// Which of our addresses it asked for.
        target: Ipv6Addr,
    },
    /// Somebody said where it is.
    There(Ipv6Addr, EthernetAddress),
    /// One of our segments did not arrive.
    Error(IcmpError, Quoted),
}

/// Reads ICMP for IPv4.
pub(crate) fn read_v4(packet: &Packet) -> Icmp {
    let octets = packet.payload.to_vec();
    let Ok(icmp) = Icmpv4Packet::new_checked(&octets[..]) else {
        return Icmp::Nothing;
    };
    if !icmp.verify_checksum() {
        return Icmp::Nothing;
    }
    match icmp.msg_type() {
        Icmpv4Message::EchoRequest => {
            let mut answer = octets.clone();
            let mut icmp = Icmpv4Packet::new_unchecked(&mut answer[..]);
            icmp.set_msg_type(Icmpv4Message::EchoReply);
            icmp.fill_checksum();
            Icmp::Answer(answer)
        }
        Icmpv4Message::DstUnreachable => {
            let error = if icmp.msg_code() == FRAGMENTATION_NEEDED {
                let mtu = octets.get(6..8).and_then(|mtu| mtu.try_into().ok());
                IcmpError::TooBig {
                    mtu: mtu.map_or(0, u16::from_be_bytes),
                }
            } else {
                IcmpError::Unreachable
            };
            quoted_v4(octets.get(8..).unwrap_or_default())
                .map_or(Icmp::Nothing, |quoted| Icmp::Error(error, quoted))
        }
        _ => Icmp::Nothing,
    }
}

/// Reads ICMP for IPv6. `mac` is ours.
pub(crate) fn read_v6(packet: &Packet, mac: EthernetAddress, links: &Links) -> Icmp {
    let (IpAddr::V6(source), IpAddr::V6(destination)) = (packet.source, packet.destination) else {
        return Icmp::Nothing;
    };
    let octets = packet.payload.to_vec();
    let Ok(icmp) = Icmpv6Packet::new_checked(&octets[..]) else {
        return Icmp::Nothing;
    };
    if !icmp.verify_checksum(&source, &destination) {
        return Icmp::Nothing;
    }
    match icmp.msg_type() {
        Icmpv6Message::EchoRequest => {
            let mut answer = octets.clone();
            let mut icmp = Icmpv6Packet::new_unchecked(&mut answer[..]);
            icmp.set_msg_type(Icmpv6Message::EchoReply);
            icmp.fill_checksum(&destination, &source);
            Icmp::Answer(answer)
        }
        Icmpv6Message::NeighborSolicit if packet.hop_limit == 255 => {
            let target = icmp.target_addr();
            if links.owns(target.into()) {
                Icmp::Here {
                    body: advertisement(target, source, mac),
                    target,
                }
            } else {
                Icmp::Nothing
            }
        }
        Icmpv6Message::NeighborAdvert if packet.hop_limit == 255 => {
            Icmp::There(icmp.target_addr(), packet.mac)
        }
        Icmpv6Message::DstUnreachable | Icmpv6Message::PktTooBig => {
            let error = if icmp.msg_type() == Icmpv6Message::PktTooBig {
                IcmpError::TooBig {
                    mtu: u16::try_from(icmp.pkt_too_big_mtu()).unwrap_or(u16::MAX),
                }
            } else {
                IcmpError::Unreachable
            };
            quoted_v6(octets.get(8..).unwrap_or_default())
                .map_or(Icmp::Nothing, |quoted| Icmp::Error(error, quoted))
        }
        _ => Icmp::Nothing,
    }
}

/// "Who has `target`?", complete.
pub(crate) fn solicitation(source: Ipv6Addr, target: Ipv6Addr, mac: EthernetAddress) -> Vec<u8> {
    let repr = NdiscRepr::NeighborSolicit {
        target_addr: target,
        lladdr: Some(RawHardwareAddress::from(mac)),
    };
    neighbour_message(&repr, source, solicited_node(target))
}

/// Where `target` is asked for (RFC 4291 section 2.7.1), and the frame's address for that.
pub(crate) fn solicited_node(target: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = target.octets();
    let mut octets = [0; 16];
    octets[0] = 0xff;
    octets[1] = 0x02;
    octets[11] = 1;
    octets[12] = 0xff;
    octets[13..].copy_from_slice(&[a, b, c]);
    octets.into()
}

/// RFC 2464 section 7.
pub(crate) fn multicast_mac(address: Ipv6Addr) -> EthernetAddress {
    let [.., a, b, c, d] = address.octets();
    EthernetAddress([0x33, 0x33, a, b, c, d])
}

fn advertisement(target: Ipv6Addr, to: Ipv6Addr, mac: EthernetAddress) -> Vec<u8> {
    let repr = NdiscRepr::NeighborAdvert {
        flags: NdiscNeighborFlags::SOLICITED | NdiscNeighborFlags::OVERRIDE,
        target_addr: target,
        lladdr: Some(RawHardwareAddress::from(mac)),
    };
    neighbour_message(&repr, target, to)
}

fn neighbour_message(repr: &NdiscRepr<'_>, source: Ipv6Addr, to: Ipv6Addr) -> Vec<u8> {
    let repr = Icmpv6Repr::Ndisc(*repr);
    let mut body = vec![0; repr.buffer_len()];
    let mut packet = Icmpv6Packet::new_unchecked(&mut body[..]);
    repr.emit(&source, &to, &mut packet, &ChecksumCapabilities::default());
    body
}

/// The segment of ours in an error: at least its first 8 octets (RFC 792).
fn quoted_v4(octets: &[u8]) -> Option<Quoted> {
    let header_octets = usize::from(octets.first()? & 0xf) * 4;
    if header_octets < 20 || octets.len() < header_octets {
        return None;
    }
    let packet = Ipv4Packet::new_unchecked(octets);
    let is_tcp = packet.next_header() == IpProtocol::Tcp;
    let ends = (packet.src_addr().into(), packet.dst_addr().into());
    is_tcp.then(|| quoted(ends, octets.get(header_octets..)?))?
}

fn quoted_v6(octets: &[u8]) -> Option<Quoted> {
    if octets.len() < 40 {
        return None;
    }
    let packet = Ipv6Packet::new_unchecked(octets);
    let is_tcp = packet.next_header() == IpProtocol::Tcp;
    let ends = (packet.src_addr().into(), packet.dst_addr().into());
    is_tcp.then(|| quoted(ends, octets.get(40..)?))?
}

fn quoted((source, destination): (IpAddr, IpAddr), tcp: &[u8]) -> Option<Quoted> {
    let port = |at: usize| Some(u16::from_be_bytes(*tcp.get(at..)?.first_chunk()?));
    Some(Quoted {
        tuple: Tuple {
            local: SocketAddr::new(source, port(0)?),
            remote: SocketAddr::new(destination, port(2)?),
        },
        seq: Seq::new(u32::from_be_bytes(*tcp.get(4..)?.first_chunk()?)),
    })
}

/// The code of "destination unreachable" that speaks of the MTU.
const FRAGMENTATION_NEEDED: u8 = 4;
