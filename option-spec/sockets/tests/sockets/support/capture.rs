//! What is on the wire, by a packet socket that sees all of the namespace.

use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use pnet_packet::ipv4::Ipv4Packet;
use pnet_packet::ipv6::Ipv6Packet;
use pnet_packet::tcp::TcpPacket;
use socket2::{Domain, Protocol, Socket, Type};
use synhop_option::{Kind, Options, Segment};

use super::{BOUND, sys};

/// A TCP segment as it was on the wire.
#[derive(Clone, Debug)]
pub(crate) struct Captured {
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) segment: Segment,
    pub(crate) sequence: u32,
    pub(crate) fin: bool,
    /// The octets between the fixed header and the payload.
    pub(crate) options: Vec<u8>,
    /// Data behind the header; the link's padding of short frames would count, loopback has none.
    pub(crate) payload_octets: usize,
}

impl Captured {
    /// The options of kind 253, kind and length octets included.
    pub(crate) fn synhop(&self) -> Vec<Vec<u8>> {
        Options::new(&self.options)
            .map(|view| view.expect("a framed list"))
            .filter(|view| view.kind == Kind::default().octet())
            .map(|view| {
                let len = u8::try_from(view.len_octets()).expect("an option's length");
                [&[view.kind, len], view.data].concat()
            })
            .collect()
    }
}

pub(crate) struct Capture(Socket);

impl Capture {
    /// Starts; segments wait until they are asked for.
    pub(crate) fn start() -> Self {
        let all = i32::from(u16::try_from(libc::ETH_P_ALL).expect("16 bits").to_be());
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(all)))
            .expect("a packet socket");
        sys::ignore_outgoing(&socket).expect("PACKET_IGNORE_OUTGOING");
        Self(socket)
    }

    /// The next TCP segment, waited for with a bound.
    pub(crate) fn next(&self) -> Captured {
        let deadline = Instant::now() + BOUND;
        loop {
            assert!(sys::readable(&self.0, deadline), "no segment came");
            let mut octets = [0; 2048];
            let len = (&self.0).read(&mut octets).expect("a packet");
            if let Some(captured) = parse(&octets[..len]) {
                return captured;
            }
        }
    }

    /// The next segment of this sort from or to `port`.
    pub(crate) fn next_of(&self, segment: Segment, port: u16) -> Captured {
        loop {
            let captured = self.next();
            let ports = [captured.source.port(), captured.destination.port()];
            if captured.segment == segment && ports.contains(&port) {
                return captured;
            }
        }
    }
}

fn parse(octets: &[u8]) -> Option<Captured> {
    let (source, destination, tcp): (IpAddr, IpAddr, &[u8]) = match octets.first()? >> 4 {
        4 => {
            let ip = Ipv4Packet::new(octets)?;
            let tcp = octets.get(usize::from(ip.get_header_length()) * 4..)?;
            (ip.get_source().into(), ip.get_destination().into(), tcp)
        }
        6 => {
            let ip = Ipv6Packet::new(octets)?;
            // Neighbour discovery and the like.
            (ip.get_next_header().0 == 6).then_some(())?;
            (
                ip.get_source().into(),
                ip.get_destination().into(),
                octets.get(40..)?,
            )
        }
        _ => return None,
    };
    let packet = TcpPacket::new(tcp)?;
    let header_octets = usize::from(packet.get_data_offset()) * 4;
    Some(Captured {
        source: (source, packet.get_source()).into(),
        destination: (destination, packet.get_destination()).into(),
        segment: Segment::from_flags(packet.get_flags()),
        sequence: packet.get_sequence(),
        fin: packet.get_flags() & 1 != 0,
        options: tcp.get(20..header_octets)?.to_vec(),
        payload_octets: tcp.len() - header_octets,
    })
}
