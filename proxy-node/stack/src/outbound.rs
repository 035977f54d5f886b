//! Headers around what we send.

use core::net::IpAddr;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, Ipv4Repr, Ipv6Packet,
    Ipv6Repr,
};
use synhop_engine::{Octets, Payload, Transmit};

use crate::checksum::Sum;
use crate::frame::{Frame, Gso, Offload, Partial};
use crate::inbound::ETHERNET_OCTETS;

/// A segment in its IP packet and frame. The Ethernet addresses are filled in by [`address`].
pub(crate) fn tcp(transmit: Transmit, offload: Offload) -> Frame {
    let (source, destination) = (transmit.source.ip(), transmit.destination.ip());
    let tcp = transmit.header.as_slice();
    let len = tcp.len() + transmit.payload.len();
    let mut head = [0; 14 + 40 + 60];
    let ip_octets = ip_header(&mut head, source, destination, IpProtocol::Tcp, len, 64);
    let tcp_at = ETHERNET_OCTETS + ip_octets;
    let end = tcp_at + tcp.len();
    head[tcp_at..end].copy_from_slice(tcp);
    let mut frame = Frame::new(&head[..end], transmit.payload);
    let mut sum = Sum::pseudo(source, destination, IpProtocol::Tcp.into(), len);
    let value = if offload.checksum {
        frame.checksum = Some(Partial {
            start: small(tcp_at),
            offset: CHECKSUM_AT,
        });
        sum.folded()
    } else {
        sum.add(tcp);
        for part in frame.payload.parts() {
            sum.add(part.as_slice());
        }
        sum.finish()
    };
    let at = tcp_at + usize::from(CHECKSUM_AT);
    frame.head_mut()[at..at + 2].copy_from_slice(&value.to_be_bytes());
    frame.gso = transmit.segment_octets.map(|segment_octets| Gso {
        is_ipv4: source.is_ipv4(),
        segment_octets,
        header_octets: small(end),
    });
    frame
}

/// Any other packet: `body` is complete, checksum and all.
pub(crate) fn packet(
    source: IpAddr,
    destination: IpAddr,
    protocol: IpProtocol,
    body: &[u8],
    hop_limit: u8,
) -> Frame {
    let mut head = [0; 14 + 40 + 60];
    let ip_octets = ip_header(
        &mut head,
        source,
        destination,
        protocol,
        body.len(),
        hop_limit,
    );
    let end = ETHERNET_OCTETS + ip_octets;
    Frame::new(&head[..end], Payload::from(Octets::copy_of(body)))
}

/// A frame that is no IP packet.
pub(crate) fn other(protocol: EthernetProtocol, body: &[u8]) -> Frame {
    let mut head = [0; ETHERNET_OCTETS];
    EthernetFrame::new_unchecked(&mut head[..]).set_ethertype(protocol);
    Frame::new(&head, Payload::from(Octets::copy_of(body)))
}

/// Fills the Ethernet addresses in.
pub(crate) fn address(frame: &mut Frame, from: EthernetAddress, to: EthernetAddress) {
    let mut ethernet = EthernetFrame::new_unchecked(frame.head_mut());
    ethernet.set_src_addr(from);
    ethernet.set_dst_addr(to);
}

/// Writes the IP header behind the room for Ethernet's, and its type. Returns its length.
fn ip_header(
    head: &mut [u8],
    source: IpAddr,
    destination: IpAddr,
    protocol: IpProtocol,
    len: usize,
    hop_limit: u8,
) -> usize {
    let (kind, octets) = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let repr = Ipv4Repr {
                src_addr: source,
                dst_addr: destination,
                next_header: protocol,
                payload_len: len,
                hop_limit,
            };
            let mut packet = Ipv4Packet::new_unchecked(&mut head[ETHERNET_OCTETS..]);
            repr.emit(&mut packet, &ChecksumCapabilities::default());
            (EthernetProtocol::Ipv4, repr.buffer_len())
        }
        (source, destination) => {
            let repr = Ipv6Repr {
                src_addr: v6(source),
                dst_addr: v6(destination),
                next_header: protocol,
                payload_len: len,
                hop_limit,
            };
            repr.emit(&mut Ipv6Packet::new_unchecked(&mut head[ETHERNET_OCTETS..]));
            (EthernetProtocol::Ipv6, repr.buffer_len())
        }
    };
    EthernetFrame::new_unchecked(head).set_ethertype(kind);
    octets
}

/// Both ends are of one family; the engine sees to that.
fn v6(address: IpAddr) -> core::net::Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "at most 114 octets of headers"
)]
const fn small(octets: usize) -> u16 {
    octets as u16
}

/// Of the checksum in a TCP header.
const CHECKSUM_AT: u16 = 16;
