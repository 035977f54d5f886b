//! What a received frame is (RFC 894, RFC 791, RFC 8200).

use core::net::IpAddr;

use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, Ipv6Packet,
};
use synhop_engine::Payload;

use crate::checksum::Sum;
use crate::frame::Checksum;

/// A frame that concerns us.
#[derive(Debug)]
pub(crate) enum Inbound {
    /// An ARP packet.
    Arp(Payload),
    /// An IP packet.
    Ip(Packet),
}

/// What an IP packet carries.
#[derive(Debug)]
pub(crate) struct Packet {
    /// Who sent the frame.
    pub mac: EthernetAddress,
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: IpProtocol,
    /// Behind the IP header.
    pub payload: Payload,
    /// Hops that are left; NDP counts on 255.
    pub hop_limit: u8,
    /// Whether the checksum over `payload` is known to be right.
    pub checksum: Checksum,
}

/// Reads a frame; `None` if it is malformed or not for us by its Ethernet address.
pub(crate) fn read(
    mut frame: Payload,
    mac: EthernetAddress,
    checksum: Checksum,
) -> Option<Inbound> {
    let head = frame.parts().first()?.clone();
    let ethernet = EthernetFrame::new_checked(head.as_slice()).ok()?;
    let to = ethernet.dst_addr();
    if to != mac && !to.is_multicast() && !to.is_broadcast() {
        return None;
    }
    let (from, kind) = (ethernet.src_addr(), ethernet.ethertype());
    frame.trim_start(ETHERNET_OCTETS);
    match kind {
        EthernetProtocol::Arp => Some(Inbound::Arp(frame)),
        EthernetProtocol::Ipv4 => read_ipv4(frame, from, checksum).map(Inbound::Ip),
        EthernetProtocol::Ipv6 => read_ipv6(frame, from, checksum).map(Inbound::Ip),
        EthernetProtocol::Unknown(_) => None,
    }
}

fn read_ipv4(mut payload: Payload, mac: EthernetAddress, checksum: Checksum) -> Option<Packet> {
    let head = payload.parts().first()?.clone();
    let octets = head.as_slice();
    let header_octets = usize::from(octets.first()? & 0xf) * 4;
    if octets.len() < header_octets || header_octets < 20 {
        return None;
    }
    // The payload may go on in other parts, so only the header is looked at through it.
    let packet = Ipv4Packet::new_unchecked(octets);
    let total = usize::from(packet.total_len());
    let is_whole = packet.version() == 4
        && packet.verify_checksum()
        // Fragments of TCP are for those who ignored our MSS.
        && !packet.more_frags()
        && packet.frag_offset() == 0
        && total >= header_octets
        && total <= payload.len();
    if !is_whole {
        return None;
    }
    // Short frames are padded.
    payload.truncate(total);
    payload.trim_start(header_octets);
    let packet = Packet {
        mac,
        source: packet.src_addr().into(),
        destination: packet.dst_addr().into(),
        protocol: packet.next_header(),
        hop_limit: packet.hop_limit(),
        payload,
        checksum,
    };
    is_unicast(packet.source).then_some(packet)
}

fn read_ipv6(mut payload: Payload, mac: EthernetAddress, checksum: Checksum) -> Option<Packet> {
    let head = payload.parts().first()?.clone();
    let octets = head.as_slice();
    if octets.len() < IPV6_OCTETS {
        return None;
    }
    let packet = Ipv6Packet::new_unchecked(octets);
    let total = IPV6_OCTETS + usize::from(packet.payload_len());
    if packet.version() != 6 || total > payload.len() {
        return None;
    }
    payload.truncate(total);
    payload.trim_start(IPV6_OCTETS);
    let packet = Packet {
        mac,
        source: packet.src_addr().into(),
        destination: packet.dst_addr().into(),
        // Extension headers are not followed: nobody puts them before TCP, and many drop them.
        protocol: packet.next_header(),
        hop_limit: packet.hop_limit(),
        payload,
        checksum,
    };
    is_unicast(packet.source).then_some(packet)
}

impl Packet {
    /// Whether the checksum over the payload and the pseudo-header is right.
    pub(crate) fn is_intact(&self) -> bool {
        match self.checksum {
            Checksum::Valid => true,
            Checksum::Unverified => {
                let (source, destination) = (self.source, self.destination);
                let protocol = self.protocol.into();
                let mut sum = Sum::pseudo(source, destination, protocol, self.payload.len());
                for part in self.payload.parts() {
                    sum.add(part.as_slice());
                }
                sum.finish() == 0
            }
        }
    }
}

/// Whether a packet can come from there. The unspecified address is IPv6's before it has one.
fn is_unicast(source: IpAddr) -> bool {
    match source {
        IpAddr::V4(source) => {
            !source.is_multicast() && !source.is_broadcast() && !source.is_unspecified()
        }
        IpAddr::V6(source) => !source.is_multicast(),
    }
}

pub(crate) const ETHERNET_OCTETS: usize = 14;
const IPV6_OCTETS: usize = 40;
