//! What a transfer over a chain of nodes must take, by arithmetic alone.
//!
//! The lab prints these figures beside the measured ones: where both agree, the gain is explained
//! and not an accident of the machine.
//!
//! # The first octet
//!
//! Let leg `i` between two neighbours (client, node 1, ..., node n, server) have the round-trip
//! time `r_i`, and let `s` be the sum of them: what a direct connection would see as its RTT.
//!
//! - *Direct*: one round trip for the handshake, one for the request: `2 s`.
//! - *Split, handshakes in turn*: a node connects onward only when its own handshake is done, so
//!   every leg costs its handshake before the request can go on: `2 s` again.
//! - *Early SYN forwarding*: the SYN runs through to the server in `s / 2`, and every leg shakes
//!   hands while the SYN is still on its way. On leg `i` the handshake ends `r_i` after the SYN
//!   entered it; the request cannot enter the leg before that. Whichever leg is the longest holds
//!   the request up by its own `r_i`, and all the others hide behind it: `s + max r`.
//!
//! # The last octet
//!
//! A sender begins with [`INITIAL_WINDOW`] segments (RFC 6928) and doubles them with each round
//! trip, so a body of `k` rounds needs `k - 1` round trips after its first octet. Split legs ramp up
//! each with their own round-trip time and at the same time, so the slowest leg sets the pace:
//! `s + k max r`, against `(k + 1) s` direct.
//!
//! A round is sent in a burst, not at once: its segments leave the link one by one at the link's
//! rate. The octets of all rounds but the last are hidden in the wait for acknowledgements; those of
//! the last one are not, and are added. From the round on whose burst fills a whole round-trip time
//! the sender never waits again: what is left then goes at the link's rate, whatever the window.
//!
//! Links store and forward, so the first segment also pays one serialisation for each leg.
//! Not in the model, as each is below a tenth of a millisecond here: the serialisation of the SYN,
//! of the acknowledgements and of the request; the nodes' own work; the server's thinking.

use std::time::Duration;

/// Payload octets of a full segment: an MTU of 1500, less IPv4 (20), TCP (20) and timestamps (12).
pub const SEGMENT_OCTETS: u64 = 1448;

/// Octets that a segment has on the link beside its payload: Ethernet 14, IPv4 20, TCP with
/// timestamps 32. Preamble and checksum are not counted: the emulated link has none.
pub const HEADER_OCTETS: u64 = 66;

/// Segments that a sender may have in flight before the first acknowledgement (RFC 6928).
pub const INITIAL_WINDOW: u64 = 10;

/// The legs of a path, and the rate that they all have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// Round-trip time of each leg, from the client's to the server's; never empty.
    legs: Vec<Duration>,
    /// Bits per second, both ways.
    rate_bit_s: u64,
}

/// How the legs of a path shake hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshakes {
    /// Each after the one before it, as plain split proxies do.
    InTurn,
    /// All of them while the SYN travels: early SYN forwarding.
    Parallel,
}

/// What the model says of one transfer; all times count from the client's SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prediction {
    /// Until the first octet of the reply reaches the client.
    pub first_octet: Duration,
    /// Until the last one does.
    pub last_octet: Duration,
    /// Slow-start rounds that the longest leg goes through.
    pub rounds: u32,
}

impl Path {
    /// A path of these legs, whose links carry `rate_bit_s`. `None` without a leg or a rate.
    pub fn new(legs: Vec<Duration>, rate_bit_s: u64) -> Option<Self> {
        (!legs.is_empty() && rate_bit_s > 0).then_some(Self { legs, rate_bit_s })
    }

    /// A path whose `nodes` split `rtt` evenly; none of them is a direct connection.
    /// `None` if the rate is 0.
    pub fn even(rtt: Duration, nodes: u8, rate_bit_s: u64) -> Option<Self> {
        let legs = u32::from(nodes) + 1;
        Self::new((0..legs).map(|_| rtt / legs).collect(), rate_bit_s)
    }

    /// The whole path's round-trip time.
    pub fn rtt(&self) -> Duration {
        self.legs.iter().sum()
    }

    /// The longest leg's round-trip time.
    pub fn longest_leg(&self) -> Duration {
        self.legs.iter().copied().max().unwrap_or_default()
    }

    /// When the first octet of a reply arrives, by the legs' delays alone (a rate without limit).
    pub fn first_octet(&self, handshakes: Handshakes) -> Duration {
        match handshakes {
            Handshakes::InTurn => self.rtt() * 2,
            Handshakes::Parallel => self.rtt() + self.longest_leg(),
        }
    }

    /// Predicts the transfer of a reply of `reply_octets`: the body and the header before it.
    pub fn predict(&self, handshakes: Handshakes, reply_octets: u64) -> Prediction {
        let segments = reply_octets.div_ceil(SEGMENT_OCTETS).max(1);
        let first = self.first_octet(handshakes);
        let segment = self.serialisation(1);
        // The last leg's share is part of the ramp below.
        let store_and_forward = segment * u32::try_from(self.legs.len() - 1).unwrap_or(u32::MAX);
        let slowest = self
            .legs
            .iter()
            .map(|leg| self.ramp(*leg, segments))
            .max_by_key(|r| r.time);
        let slowest = slowest.unwrap_or_default();
        Prediction {
            first_octet: first + store_and_forward + segment,
            last_octet: first + store_and_forward + slowest.time,
            rounds: slowest.rounds,
        }
    }

    /// How long a leg takes from its first octet until `segments` are through.
    fn ramp(&self, leg: Duration, segments: u64) -> Ramp {
        let mut window = INITIAL_WINDOW;
        let mut left = segments;
        let mut rounds = 1;
        while left > window && self.serialisation(window) < leg {
            left -= window;
            window *= 2;
            rounds += 1;
        }
        Ramp {
            time: leg * (rounds - 1) + self.serialisation(left),
            rounds,
        }
    }

    /// The time that full segments take to leave a link.
    fn serialisation(&self, segments: u64) -> Duration {
        let bits = u128::from(segments) * u128::from(SEGMENT_OCTETS + HEADER_OCTETS) * 8;
        let nanoseconds = bits * 1_000_000_000 / u128::from(self.rate_bit_s);
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

/// One leg's way through slow start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ramp {
    time: Duration,
    rounds: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(100);
    const FAST: u64 = 1_000_000_000_000_000;
    const LAB: u64 = 100_000_000;
    /// What a web server puts before a body.
    const HEAD: u64 = 240;

    fn even(nodes: u8, rate: u64) -> Path {
        Path::even(RTT, nodes, rate).expect("a rate above 0")
    }

    fn last_ms(nodes: u8, rate: u64, body: u64) -> f64 {
        let transfer = even(nodes, rate).predict(Handshakes::Parallel, body + HEAD);
        transfer.last_octet.as_secs_f64() * 1e3
    }

    #[track_caller]
    fn near(got: f64, want: f64, within: f64) {
        assert!(
            (got - want).abs() <= within,
            "{got} is not within {within} of {want}"
        );
    }

    #[test]
    fn first_octet_falls_to_150_133_125() {
        let ms = |nodes| {
            even(nodes, LAB)
                .first_octet(Handshakes::Parallel)
                .as_secs_f64()
                * 1e3
        };
        near(ms(0), 200.0, 1e-5);
        near(ms(1), 150.0, 1e-5);
        near(ms(2), 400.0 / 3.0, 1e-5);
        near(ms(3), 125.0, 1e-5);
    }

    #[test]
    fn handshakes_in_turn_gain_nothing() {
        for nodes in 0..=3 {
            let ms = even(nodes, LAB)
                .first_octet(Handshakes::InTurn)
                .as_secs_f64()
                * 1e3;
            near(ms, 200.0, 1e-5);
        }
    }

    #[test]
    fn the_longest_leg_governs() {
        let legs = [10, 60, 30].map(Duration::from_millis).to_vec();
        let path = Path::new(legs, LAB).expect("legs and a rate");
        assert_eq!(
            path.first_octet(Handshakes::Parallel),
            Duration::from_millis(160)
        );
    }

    #[test]
    fn twenty_five_kb_take_two_rounds() {
        for (nodes, want) in [(0, 300.0), (1, 200.0), (2, 500.0 / 3.0), (3, 150.0)] {
            near(last_ms(nodes, FAST, 25 * 1024), want, 0.01);
            // With the links' rate: 8 segments of the second round, and one for each further leg.
            near(last_ms(nodes, LAB, 25 * 1024), want, 1.5);
        }
    }

    #[test]
    fn five_hundred_kb_take_six_rounds() {
        for (nodes, want) in [(0, 700.0), (1, 400.0), (2, 300.0), (3, 250.0)] {
            near(last_ms(nodes, FAST, 500 * 1024), want, 0.01);
            // 354 segments, of which 310 went in five rounds: 44 at 121 microseconds are left.
            near(last_ms(nodes, LAB, 500 * 1024), want + 5.4, 0.5);
        }
    }

    #[test]
    fn each_size_of_the_demo_has_its_rounds() {
        let rounds = |kb: u64| {
            even(1, LAB)
                .predict(Handshakes::Parallel, kb * 1024 + HEAD)
                .rounds
        };
        // 100 KB and their header are 71 segments, one more than three rounds carry.
        assert_eq!([10, 25, 50, 100, 250, 500].map(rounds), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn the_header_can_cost_a_round() {
        let path = even(0, FAST);
        let rounds = |octets| path.predict(Handshakes::Parallel, octets).rounds;
        assert_eq!(rounds(10 * SEGMENT_OCTETS), 1);
        assert_eq!(rounds(10 * SEGMENT_OCTETS + HEAD), 2);
        assert_eq!(rounds(30 * SEGMENT_OCTETS), 2);
        assert_eq!(rounds(70 * SEGMENT_OCTETS + 1), 4);
    }

    #[test]
    fn a_full_pipe_takes_no_further_round() {
        // 10 Mb/s: a segment takes 1.2 ms, so the fourth round (80 segments, 97 ms) almost fills
        // 100 ms, and the fifth (160) does: from there on it is the rate that counts.
        let path = even(0, 10_000_000);
        let octets = 2000 * SEGMENT_OCTETS;
        let prediction = path.predict(Handshakes::Parallel, octets);
        assert_eq!(prediction.rounds, 5);
        let left = path.serialisation(2000 - 150);
        assert_eq!(prediction.last_octet, Duration::from_millis(600) + left);
    }

    #[test]
    fn one_segment_ends_when_it_begins() {
        let prediction = even(3, LAB).predict(Handshakes::Parallel, 500);
        assert_eq!(prediction.first_octet, prediction.last_octet);
    }

    #[test]
    fn an_empty_path_is_none() {
        assert_eq!(Path::new(Vec::new(), LAB), None);
        assert_eq!(Path::even(RTT, 1, 0), None);
    }
}
