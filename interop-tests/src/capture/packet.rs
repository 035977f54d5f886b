//! A recorded frame, taken apart as far as TCP's options.

use std::net::SocketAddr;

use pnet_packet::Packet as _;
use pnet_packet::ethernet::{EtherTypes, EthernetPacket};
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv4::Ipv4Packet;
use pnet_packet::tcp::{TcpFlags, TcpPacket};

use super::{Interface, Seen};

/// One recorded frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Where it was seen.
    pub interface: Interface,
    /// Which way it went there.
    pub direction: Direction,
    /// When, by the kernel's clock: nanoseconds since 1970.
    pub timestamp_ns: u64,
    /// Its length on the link in octets, Ethernet header included.
    pub original_len: usize,
    /// What was kept of it, from the Ethernet header on.
    pub octets: Vec<u8>,
    /// Its TCP header, if it is a whole one.
    pub tcp: Option<Segment>,
}

/// As seen from the namespace that the interface is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The namespace put it on the link.
    Sent,
    /// It came out of the link.
    Received,
}

/// A TCP header and the addresses around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it comes from.
    pub source: SocketAddr,
    /// Where it goes.
    pub destination: SocketAddr,
    /// The header's flags, as `pnet_packet::tcp::TcpFlags` names them.
    pub flags: u8,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number; means something with ACK only.
    pub acknowledgement: u32,
    /// Receive window as it is in the header, not scaled.
    pub window: u16,
    /// The whole option area, padding included.
    pub options: Vec<u8>,
    /// Octets of payload on the link, whether kept or not.
    pub payload_len: usize,
}

impl Segment {
    /// SYN without ACK.
    pub const fn is_syn(&self) -> bool {
        self.flags & (TcpFlags::SYN | TcpFlags::ACK) == TcpFlags::SYN
    }

    /// SYN with ACK.
    pub const fn is_syn_ack(&self) -> bool {
        let both = TcpFlags::SYN | TcpFlags::ACK;
        self.flags & both == both
    }

    /// RST, with or without ACK.
    pub const fn is_reset(&self) -> bool {
        self.flags & TcpFlags::RST != 0
    }

    /// FIN, with or without anything else.
    pub const fn is_fin(&self) -> bool {
        self.flags & TcpFlags::FIN != 0
    }
}

impl Packet {
    /// Parses a whole frame, for middleboxes, which get octets only.
    pub fn tcp_of(frame: &[u8]) -> Option<Segment> {
        segment(frame)
    }
}

pub(super) fn parse(seen: &Seen) -> Packet {
    Packet {
        interface: seen.interface,
        direction: seen.direction,
        timestamp_ns: seen.timestamp_ns,
        original_len: seen.original_len,
        octets: seen.octets.to_vec(),
        tcp: segment(&seen.octets),
    }
}

fn segment(frame: &[u8]) -> Option<Segment> {
    let ethernet = EthernetPacket::new(frame)?;
    if ethernet.get_ethertype() != EtherTypes::Ipv4 {
        return None;
    }
    let ip = Ipv4Packet::new(ethernet.payload())?;
    let first_fragment = ip.get_fragment_offset() == 0;
    if ip.get_next_level_protocol() != IpNextHeaderProtocols::Tcp || !first_fragment {
        return None;
    }
    let ip_header = usize::from(ip.get_header_length()) * 4;
    // Not the accessor's payload: it ends where the snap length cut it.
    let octets = ip.packet().get(ip_header..)?;
    let tcp = TcpPacket::new(octets)?;
    let tcp_header = usize::from(tcp.get_data_offset()) * 4;
    Some(Segment {
        source: SocketAddr::from((ip.get_source(), tcp.get_source())),
        destination: SocketAddr::from((ip.get_destination(), tcp.get_destination())),
        flags: tcp.get_flags(),
        sequence: tcp.get_sequence(),
        acknowledgement: tcp.get_acknowledgement(),
        window: tcp.get_window(),
        options: octets.get(TCP_FIXED_OCTETS..tcp_header)?.to_vec(),
        payload_len: usize::from(ip.get_total_length()).saturating_sub(ip_header + tcp_header),
    })
}

const TCP_FIXED_OCTETS: usize = 20;
