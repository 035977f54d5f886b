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
use std::net::SocketAddr;
use std::time::Duration;
use synhop_option::{Kind, Segment as Within, syn_ack_option, syn_option};

/// What a client's own interface saw of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientTimes {
    /// Where the first SYN went.
    pub destination: SocketAddr,
    /// SYNs that left: more than one means that one was lost.
    pub syns: usize,
    /// From the first SYN out to the first payload in.
    pub first_octet: Duration,
    /// From the first SYN out to the last payload in.
    pub last_octet: Duration,
    /// Payload that came in, retransmitted octets counted once.
    pub reply_octets: u64,
}

/// Reads the client's times off its interface. `None` without a SYN or without a reply.
pub fn client_times(packets: &[Packet]) -> Option<ClientTimes> {
    let leg = Leg::of(packets, 0)?;
    let mut syns = 0;
    let mut payload = Vec::new();
    for (at, segment) in leg.seen(packets, Heading::ToServer, Direction::Sent) {
        syns += usize::from(segment.is_syn() && at >= leg.started);
    }
    for (at, segment) in leg.seen(packets, Heading::ToClient, Direction::Received) {
        if segment.payload_len > 0 {
            payload.push((at, segment));
        }
    }
    let (first, first_segment) = payload.first()?;
    let (last, _) = payload.last()?;
    // The reply's first octet has the lowest number, unless reordering made another one first;
    // numbers are modulo 2^32, so count from the first seen.
    let offset =
        |sequence: u32| i64::from(sequence.wrapping_sub(first_segment.sequence).cast_signed());
    let starts = payload.iter().map(|(_, segment)| offset(segment.sequence));
    let ends = payload.iter().map(|(_, segment)| {
        offset(segment.sequence) + i64::try_from(segment.payload_len).unwrap_or(0)
    });
    Some(ClientTimes {
        destination: leg.server,
        syns,
        first_octet: Duration::from_nanos(first - leg.started),
        last_octet: Duration::from_nanos(last - leg.started),
        reply_octets: u64::try_from(ends.max()? - starts.min()?).unwrap_or(0),
    })
}

/// How long a node (1 is the client's neighbour) took from the arrival of the flow's SYN until its
/// own SYN left. `None` if either was not seen; zero if it left before.
pub fn forwarding_time(packets: &[Packet], node: usize) -> Option<Duration> {
    let leg = Leg::of(packets, node.checked_sub(1)?)?;
    let mut arrivals = leg.seen(packets, Heading::ToServer, Direction::Received);
    let (arrived, _) = arrivals.find(|(_, segment)| segment.is_syn())?;
    let onward = Leg::of(packets, node)?;
    Some(Duration::from_nanos(onward.started.saturating_sub(arrived)))
}

/// The handshake, the request and the first data of each of the `links`, for a ladder diagram.
/// Segments that were not seen at both ends are left out.
pub fn arrows(packets: &[Packet], links: usize) -> Vec<Arrow> {
    let legs: Vec<Leg> = (0..links)
        .map_while(|link| Leg::of(packets, link))
        .collect();
    let Some(started) = legs.first().map(|leg| leg.started) else {
        return Vec::new();
    };
    let since = |at: u64| Duration::from_nanos(at.saturating_sub(started));
    let marks = legs
        .iter()
        .flat_map(|leg| leg.landmarks(packets).map(move |mark| (leg, mark)));
    marks
        .map(|(leg, mark)| Arrow {
            leg: leg.link,
            heading: mark.heading,
            sent: since(mark.sent),
            received: since(mark.received),
            message: mark.message,
        })
        .collect()
}

/// The flow's connection on one link: a node's two connections are two of them.
#[derive(Clone, Copy, Debug)]
struct Leg {
    link: usize,
    /// The end towards the client: what may still come of an earlier flow has another.
    client: SocketAddr,
    server: SocketAddr,
    /// When its SYN left, nanoseconds since 1970.
    started: u64,
}

/// Whether a segment is of some kind.
type Test = fn(&Segment) -> bool;

/// A segment of interest, with its nanoseconds since 1970.
struct Landmark {
    heading: Heading,
    sent: u64,
    received: u64,
    message: Message,
}

impl Leg {
    /// The connection of the first SYN that was sent into `link` on the client's side.
    fn of(packets: &[Packet], link: usize) -> Option<Self> {
        let place = Interface {
            link,
            end: End::Left,
        };
        let (started, syn) =
            segments(packets, place, Direction::Sent).find(|(_, segment)| segment.is_syn())?;
        Some(Self {
            link,
            client: syn.source,
            server: syn.destination,
            started,
        })
    }

    /// The connection's segments of one heading: as sent into the link, or as received from it.
    fn seen(
        self,
        packets: &[Packet],
        heading: Heading,
        direction: Direction,
    ) -> impl Iterator<Item = (u64, &Segment)> {
        let end = match direction {
            Direction::Sent => heading.entry(),
            Direction::Received => heading.entry().opposite(),
        };
        let ends = match heading {
            Heading::ToServer => (self.client, self.server),
            Heading::ToClient => (self.server, self.client),
        };
        segments(
            packets,
            Interface {
                link: self.link,
                end,
            },
            direction,
        )
        .filter(move |(_, segment)| (segment.source, segment.destination) == ends)
    }

    /// The landmarks, each the first of its kind.
    fn landmarks(self, packets: &[Packet]) -> impl Iterator<Item = Landmark> {
        let kinds: [(Heading, Test); 5] = [
            (Heading::ToServer, Segment::is_syn),
            (Heading::ToClient, Segment::is_syn_ack),
            (Heading::ToServer, is_bare_ack),
            (Heading::ToServer, has_payload),
            (Heading::ToClient, has_payload),
        ];
        kinds.into_iter().filter_map(move |(heading, is_it)| {
            let mut sent = self.seen(packets, heading, Direction::Sent);
            let (sent, segment) = sent.find(|(_, segment)| is_it(segment))?;
            let same = |other: &Segment| {
                other.sequence == segment.sequence
                    && other.flags == segment.flags
                    && other.payload_len == segment.payload_len
            };
            let mut received = self.seen(packets, heading, Direction::Received);
            let (received, _) = received.find(|(at, other)| *at >= sent && same(other))?;
            Some(Landmark {
                heading,
                sent,
                received,
                message: message(heading, segment),
            })
        })
    }
}

fn message(heading: Heading, segment: &Segment) -> Message {
    let kind = Kind::default();
    match heading {
        Heading::ToServer if segment.is_syn() => {
            match syn_option(Within::Syn, &segment.options, kind) {
                Ok(Some(_)) => Message::SynWithOption,
                Ok(None) | Err(_) => Message::Syn,
            }
        }
        Heading::ToClient if segment.is_syn_ack() => {
            match syn_ack_option(Within::SynAck, &segment.options, kind) {
                Ok(Some(_)) => Message::SynAckWithReply,
                Ok(None) | Err(_) => Message::SynAck,
            }
        }
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
fn segments(
    packets: &[Packet],
    place: Interface,
    direction: Direction,
) -> impl Iterator<Item = (u64, &Segment)> {
    packets.iter().filter_map(move |packet| {
        let here = packet.interface == place && packet.direction == direction;
        packet
            .tcp
            .as_ref()
            .filter(|_| here)
            .map(|segment| (packet.timestamp_ns, segment))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

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
        let client = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 40_000));
        let server = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 2), 80));
        let (source, destination) = match heading {
            Heading::ToServer => (client, server),
            Heading::ToClient => (server, client),
        };
        let segment = Segment {
            source,
            destination,
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
            packet(
                heading.entry().opposite(),
                Direction::Received,
                us + DELAY_US,
            ),
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
        assert_eq!(times.reply_octets, 1448 + 700);
    }

    #[test]
    fn a_node_takes_its_time() {
        assert_eq!(
            forwarding_time(&capture(), 1),
            Some(Duration::from_micros(100))
        );
        assert_eq!(forwarding_time(&capture(), 2), None);
        assert_eq!(forwarding_time(&capture(), 0), None);
    }

    #[test]
    fn each_leg_has_five_landmarks() {
        let arrows = arrows(&capture(), 2);
        assert_eq!(arrows.len(), 10);
        let delay = Duration::from_micros(DELAY_US);
        assert!(
            arrows
                .iter()
                .all(|arrow| arrow.received == arrow.sent + delay)
        );
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
