//! Captures of one flow, leg by leg, and frames that are changed on their way.

use std::net::SocketAddr;

use pnet_packet::ipv4::{self, Ipv4Packet, MutableIpv4Packet};
use pnet_packet::tcp::{self, MutableTcpPacket};
use synhop_lab::capture::Direction;
use synhop_lab::{End, Interface, Lab, Packet, Segment};

/// A segment, and when it was seen: nanoseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) at_ns: u64,
    pub(crate) segment: &'a Segment,
}

/// One leg's two ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leg {
    /// Its link: 0 is the client's.
    pub(crate) link: usize,
    /// Who sent the SYN.
    pub(crate) client: SocketAddr,
    /// Who answers it.
    pub(crate) server: SocketAddr,
}

impl Leg {
    /// The only leg on a link.
    ///
    /// # Panics
    /// When there is none, or other TCP segments are on the link.
    pub(crate) fn only(packets: &[Packet], link: usize) -> Self {
        let mut segments = packets
            .iter()
            .filter(|packet| packet.interface.link == link)
            .filter_map(|packet| packet.tcp.as_ref());
        let first = segments
            .next()
            .unwrap_or_else(|| panic!("link {link} is unused"));
        assert!(first.is_syn(), "link {link} begins with {first:?}");
        let leg = Self {
            link,
            client: first.source,
            server: first.destination,
        };
        for segment in segments {
            let ends = (segment.source, segment.destination);
            let own = ends == (leg.client, leg.server) || ends == (leg.server, leg.client);
            assert!(own, "a stranger on link {link}: {segment:?}");
        }
        leg
    }

    /// Its segments from the side of the client, as they left there.
    pub(crate) fn sent_up<'a>(&self, packets: &'a [Packet]) -> Vec<Seen<'a>> {
        self.pick(packets, End::Left, Direction::Sent)
    }

    /// The same, as they arrived.
    pub(crate) fn arrived_up<'a>(&self, packets: &'a [Packet]) -> Vec<Seen<'a>> {
        self.pick(packets, End::Right, Direction::Received)
    }

    /// Its segments from the side of the server, as they left there.
    pub(crate) fn sent_down<'a>(&self, packets: &'a [Packet]) -> Vec<Seen<'a>> {
        self.pick(packets, End::Right, Direction::Sent)
    }

    fn pick<'a>(&self, packets: &'a [Packet], end: End, direction: Direction) -> Vec<Seen<'a>> {
        let up = (end == End::Left) == (direction == Direction::Sent);
        let (from, to) = if up {
            (self.client, self.server)
        } else {
            (self.server, self.client)
        };
        let place = Interface {
            link: self.link,
            end,
        };
        let here = packets
            .iter()
            .filter(move |packet| packet.interface == place && packet.direction == direction);
        let seen = here.filter_map(|packet| {
            let segment = packet.tcp.as_ref()?;
            Some(Seen {
                at_ns: packet.timestamp_ns,
                segment,
            })
        });
        seen.filter(|seen| seen.segment.source == from && seen.segment.destination == to)
            .collect()
    }
}

/// Gives a frame's TCP header another option area, a multiple of 4 octets.
pub(crate) fn rewrite_options(frame: &mut Vec<u8>, area: &[u8]) {
    assert!(
        area.len() <= 40 && area.len().is_multiple_of(4),
        "{area:02x?}"
    );
    let Some(ip) = Ipv4Packet::new(&frame[ETHERNET..]) else {
        return;
    };
    let start = ETHERNET + usize::from(ip.get_header_length()) * 4;
    let end = ETHERNET + usize::from(ip.get_total_length());
    let (from, to) = (ip.get_source(), ip.get_destination());
    let old = usize::from(frame[start + 12] >> 4) * 4;
    let mut segment = frame[start..start + FIXED].to_vec();
    segment.extend_from_slice(area);
    segment.extend_from_slice(&frame[start + old..end]);
    let words = u8::try_from((FIXED + area.len()) / 4).expect("at most 15");
    let mut header = MutableTcpPacket::new(&mut segment).expect("a header");
    header.set_data_offset(words);
    header.set_checksum(0);
    let checksum = tcp::ipv4_checksum(&header.to_immutable(), &from, &to);
    header.set_checksum(checksum);
    frame.truncate(start);
    frame.extend_from_slice(&segment);
    let total = u16::try_from(frame.len() - ETHERNET).expect("a packet's length");
    let mut ip = MutableIpv4Packet::new(&mut frame[ETHERNET..]).expect("a header");
    ip.set_total_length(total);
    ip.set_checksum(0);
    let checksum = ipv4::checksum(&ip.to_immutable());
    ip.set_checksum(checksum);
}

const ETHERNET: usize = 14;
/// A TCP header without options.
const FIXED: usize = 20;
