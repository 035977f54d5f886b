//! Times of one flow, out of a capture: what the wire says, whatever the programs think.
//!
//! All functions take the packets of a capture in the order of their timestamps, as
//! [`Capture::packets`](crate::Capture::packets) returns them, and expect that it holds one flow:
//! clear the capture before each fetch.

use crate::capture::{Direction, Segment};
use crate::link::{End, Heading};
use crate::plot::{Arrow, Message};
use crate::{Interface, Packet};
use pnet_packet::tcp::TcpFlags;
use std::time::Duration;
use synhop_option::{Kind, Segment as Within, syn_ack_option, syn_option};

/// What a client's own interface saw of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientTimes {
    /// From the first SYN out to the first payload in.
    pub first_octet: Duration,
    /// From the first SYN out to the last payload in.
    pub last_octet: Duration,
    /// SYNs that left: more than one means that one was lost.
    pub syns: usize,
}

/// Reads the client's times off its interface. `None` without a SYN or without a reply.
pub fn client_times(packets: &[Packet]) -> Option<ClientTimes> {
    let place = Interface { link: 0, end: End::Left };
    let sent = seen(packets, place, Direction::Sent);
    let syns: Vec<u64> =
        sent.filter(|(_, segment)| segment.is_syn()).map(|(at, _)| at).collect();
    let started = *syns.first()?;
    let payload: Vec<u64> = seen(packets, place, Direction::Received)
        .filter(|(at, segment)| segment.payload_len > 0 && *at >= started)
        .map(|(at, _)| at)
        .collect();
    Some(ClientTimes {
        first_octet: Duration::from_nanos(payload.first()? - started),
        last_octet: Duration::from_nanos(payload.last()? - started),
        syns: syns.len(),
    })
}

/// How long a node (1 is the client's neighbour) took from the arrival of the flow's SYN until its
/// own SYN left. `None` if either was not seen; zero if it left before.
pub fn forwarding_time(packets: &[Packet], node: usize) -> Option<Duration> {
    let arrival = Interface { link: node.checked_sub(1)?, end: End::Right };
    let onward = Interface { link: node, end: End::Left };
    let syn_at = |place, direction| {
        seen(packets, place, direction).find(|(_, segment)| segment.is_syn()).map(|(at, _)| at)
    };
    let arrived = syn_at(arrival, Direction::Received)?;
    let left = syn_at(onward, Direction::Sent)?;
    Some(Duration::from_nanos(left.saturating_sub(arrived)))
}

/// The handshake, the request and the first data of each of the `links`, for a ladder diagram.
/// Segments that were not seen at both ends are left out.
pub fn arrows(packets: &[Packet], links: usize) -> Vec<Arrow> {
    let client = Interface { link: 0, end: End::Left };
    let started = seen(packets, client, Direction::Sent).find(|(_, segment)| segment.is_syn());
    let Some((started, _)) = started else { return Vec::new() };
    let legs = (0..links).flat_map(|leg| landmarks(packets, leg).map(move |mark| (leg, mark)));
    legs.map(|(leg, mark)| Arrow {
        leg,
        heading: mark.heading,
        sent: Duration::from_nanos(mark.sent.saturating_sub(started)),
        received: Duration::from_nanos(mark.received.saturating_sub(started)),
        message: mark.message,
    })
    .collect()
}

/// A segment of interest, with its nanoseconds since 1970.
struct Landmark {
    heading: Heading,
    sent: u64,
    received: u64,
    message: Message,
}

/// A leg's landmarks, each the first of its kind.
fn landmarks(packets: &[Packet], leg: usize) -> impl Iterator<Item = Landmark> {
    let kinds: [(Heading, fn(&Segment) -> bool); 5] = [
        (Heading::ToServer, Segment::is_syn),
        (Heading::ToClient, Segment::is_syn_ack),
        (Heading::ToServer, is_bare_ack),
        (Heading::ToServer, has_payload),
        (Heading::ToClient, has_payload),
    ];
    kinds.into_iter().filter_map(move |(heading, is_it)| {
        let entry = Interface { link: leg, end: heading.entry() };
        let exit = Interface { link: leg, end: heading.entry().opposite() };
        let (sent, segment) =
            seen(packets, entry, Direction::Sent).find(|(_, segment)| is_it(segment))?;
        let same = |other: &Segment| {
            other.sequence == segment.sequence
                && other.flags == segment.flags
                && other.payload_len == segment.payload_len
        };
        let (received, _) = seen(packets, exit, Direction::Received)
            .find(|(at, other)| *at >= sent && same(other))?;
        Some(Landmark { heading, sent, received, message: message(heading, segment) })
    })
}

fn message(heading: Heading, segment: &Segment) -> Message {
    let kind = Kind::default();
    match heading {
        Heading::ToServer if segment.is_syn() => match syn_option(Within::Syn, &segment.options, kind) {
            Ok(Some(_)) => Message::SynWithOption,
            Ok(None) | Err(_) => Message::Syn,
        },
        Heading::ToClient if segment.is_syn_ack() => match syn_ack_option(Within::SynAck, &segment.options, kind) {
            Ok(Some(_)) => Message::SynAckWithReply,
            Ok(None) | Err(_) => Message::SynAck,
        },
        Heading::ToServer if segment.payload_len > 0 => Message::Request,
        Heading::ToServer => Message::Ack,
        Heading::ToClient => Message::FirstData,
    }
}

fn is_bare_ack(segment: &Segment) -> bool {
    segment.flags == TcpFlags::ACK && segment.payload_len == 0
}

fn has_payload(segment: &Segment) -> bool {
    segment.payload_len > 0
}

/// The TCP segments that passed a place one way, with their times.
fn seen(
    packets: &[Packet],
    place: Interface,
    direction: Direction,
) -> impl Iterator<Item = (u64, &Segment)> {
    packets.iter().filter_map(move |packet| {
        let here = packet.interface == place && packet.direction == direction;
        packet.tcp.as_ref().filter(|_| here).map(|segment| (packet.timestamp_ns, segment))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, SocketAddr};

    const SYN: u8 = TcpFlags::SYN;
    const ACK: u8 = TcpFlags::ACK;
    const DELAY_US: u64 = 25_000;

    /// One segment at both ends of a leg.
    fn crossing(
        leg: usize,
        heading: Heading,
        us: u64,
        flags: u8,
        seq: u32,
        len: usize,
    ) -> [Packet; 2] {
        let address = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 80));
        let segment = Segment {
            source: address,
            destination: address,
            flags,
            sequence: seq,
            acknowledgement: 0,
            window: 0,
            options: Vec::new(),
            payload_len: len,
        };
        let packet = |end, direction, us: u64| Packet {
            interface: Interface { link: leg, end },
            direction,
            timestamp_ns: 1_000_000_000_000 + us * 1000,
            original_len: 66 + len,
            octets: Vec::new(),
            tcp: Some(segment.clone()),
        };
        [
            packet(heading.entry(), Direction::Sent, us),
            packet(heading.entry().opposite(), Direction::Received, us + DELAY_US),
        ]
    }

    /// A fetch through one node that takes 100 microseconds, each leg 50 ms.
    fn capture() -> Vec<Packet> {
        use Heading::{ToClient, ToServer};
        let mut packets = Vec::new();
        for leg in 0..2 {
            let start = leg as u64 * 25_100;
            packets.extend(crossing(leg, ToServer, start, SYN, 1, 0));
            packets.extend(crossing(leg, ToClient, start + 25_000, SYN | ACK, 7, 0));
            packets.extend(crossing(leg, ToServer, start + 50_000, ACK, 2, 0));
            packets.extend(crossing(leg, ToServer, start + 50_050, ACK, 2, 90));
            let back = 100_200 + (1 - leg as u64) * 25_100;
            packets.extend(crossing(leg, ToClient, back, ACK, 8, 1448));
            packets.extend(crossing(leg, ToClient, back + 120, ACK, 1456, 700));
        }
        packets.sort_by_key(|packet| packet.timestamp_ns);
        packets
    }

    #[test]
    fn the_client_sees_first_and_last() {
        let times = client_times(&capture()).expect("a fetch");
        assert_eq!(times.first_octet, Duration::from_micros(150_300));
        assert_eq!(times.last_octet, Duration::from_micros(150_420));
        assert_eq!(times.syns, 1);
    }

    #[test]
    fn a_node_takes_its_time() {
        assert_eq!(forwarding_time(&capture(), 1), Some(Duration::from_micros(100)));
        assert_eq!(forwarding_time(&capture(), 2), None);
        assert_eq!(forwarding_time(&capture(), 0), None);
    }

    #[test]
    fn each_leg_has_five_landmarks() {
        let arrows = arrows(&capture(), 2);
        assert_eq!(arrows.len(), 10);
        let delay = Duration::from_micros(DELAY_US);
        assert!(arrows.iter().all(|arrow| arrow.received - arrow.sent == delay));
        let first = Arrow {
            leg: 0,
            heading: Heading::ToServer,
            sent: Duration::ZERO,
            received: delay,
            message: Message::Syn,
        };
        assert_eq!(arrows[0], first);
    }

    #[test]
    fn an_empty_capture_has_no_times() {
        assert_eq!(client_times(&[]), None);
        assert!(arrows(&[], 3).is_empty());
    }
}
