//! Segments that no Linux socket sends.

use std::net::SocketAddrV4;

use pnet_packet::tcp::{MutableTcpPacket, TcpFlags, ipv4_checksum};
use socket2::{Domain, Protocol, Socket, Type};

/// A segment to be sent.
pub(crate) struct Crafted<'a> {
    pub(crate) source: SocketAddrV4,
    pub(crate) destination: SocketAddrV4,
    pub(crate) sequence: u32,
    pub(crate) acknowledgement: Option<u32>,
    /// The whole option area, a multiple of 4.
    pub(crate) options: &'a [u8],
}

impl Crafted<'_> {
    /// Sends it with the SYN flag on a raw socket.
    pub(crate) fn send_syn(&self) {
        let mut octets = vec![0; 20 + self.options.len()];
        octets[20..].copy_from_slice(self.options);
        let words = u8::try_from(octets.len() / 4).expect("a header's length");
        let mut segment = MutableTcpPacket::new(&mut octets).expect("room for a header");
        segment.set_source(self.source.port());
        segment.set_destination(self.destination.port());
        segment.set_sequence(self.sequence);
        segment.set_acknowledgement(self.acknowledgement.unwrap_or(0));
        segment.set_data_offset(words);
        segment.set_flags(TcpFlags::SYN | self.acknowledgement.map_or(0, |_| TcpFlags::ACK));
        segment.set_window(64_000);
        let checksum = ipv4_checksum(
            &segment.to_immutable(),
            self.source.ip(),
            self.destination.ip(),
        );
        segment.set_checksum(checksum);
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::TCP)).expect("raw");
        let any_port = |ip| SocketAddrV4::new(ip, 0).into();
        socket.bind(&any_port(*self.source.ip())).expect("bind");
        socket
            .send_to(&octets, &any_port(*self.destination.ip()))
            .expect("send");
    }
}
