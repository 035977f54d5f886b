//! RACK-TLP (RFC 8985): losses by time, and a probe for the tail.

use core::time::Duration;

use super::rtt::Rtt;
use super::scoreboard::{Scoreboard, Sent};
use crate::time::Instant;

/// Loss detection of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Rack {
    /// When the stretch that was sent last of all that arrived was sent, and its end.
    newest: Option<(Instant, u64)>,
    /// The round-trip time of it.
    rtt: Duration,
    /// The highest end that has arrived.
    forward_most: u64,
    reordering_seen: bool,
    /// Quarters of the shortest RTT that reordering is given.
    window_quarters: u32,
    /// Recoveries that the widened window lasts for.
    persist: u32,
    /// Where the round of the last D-SACK ends.
    dsack_round_end: Option<u64>,
    probe: Option<Probe>,
}

/// A tail loss probe under way.
#[derive(Clone, Copy, Debug)]
struct Probe {
    /// SND.NXT when it was sent.
    end: u64,
    /// Whether it repeated what had been sent.
    again: bool,
}

/// What is outstanding after a look for losses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Detection {
    /// Whether something was marked lost.
    pub found: bool,
    /// When to look again, if some stretches are only late so far.
    pub look_again: Option<Instant>,
}

impl Rack {
    pub(crate) const fn new() -> Self {
        Self {
            newest: None,
            rtt: Duration::ZERO,
            forward_most: 0,
            reordering_seen: false,
            window_quarters: 1,
            persist: 0,
            dsack_round_end: None,
            probe: None,
        }
    }

    /// A stretch is known to have arrived (RFC 8985 section 6.2, steps 1 to 3). `echo_is_older`:
    /// the ACK's timestamp shows that it answers an earlier transmission.
    pub(crate) fn on_delivered(
        &mut self,
        sent: &Sent,
        now: Instant,
        shortest: Option<Duration>,
        echo_is_older: bool,
    ) {
        let rtt = now.since(sent.at);
        if sent.again && (echo_is_older || shortest.is_some_and(|shortest| rtt < shortest)) {
            // An answer to the first transmission: it says nothing about this one.
            return;
        }
        if self
            .newest
            .is_none_or(|(sent_at, end)| sent_after(sent.at, sent.end, sent_at, end))
        {
            self.newest = Some((sent.at, sent.end));
            self.rtt = rtt;
        }
        if sent.end >= self.forward_most {
            self.forward_most = sent.end;
        } else if !sent.again {
            self.reordering_seen = true;
        }
    }

    /// A D-SACK: the repeat was needless, so reordering is given more time (step 4).
    pub(crate) fn on_dsack(&mut self, una: u64, nxt: u64) {
        if self.dsack_round_end.is_none_or(|end| una >= end) {
            self.dsack_round_end = Some(nxt);
            self.window_quarters = (self.window_quarters + 1).min(MAX_WINDOW_QUARTERS);
            self.persist = PERSIST_RECOVERIES;
        }
    }

    /// A recovery began for something that was only late: segments do overtake each other.
    pub(crate) fn on_needless(&mut self) {
        self.reordering_seen = true;
    }

    /// A recovery is over.
    pub(crate) fn on_recovered(&mut self) {
        self.persist = self.persist.saturating_sub(1);
        if self.persist == 0 {
            self.window_quarters = 1;
        }
    }

    /// Marks what was sent too long before something that arrived (step 5).
    pub(crate) fn detect(
        &self,
        board: &mut Scoreboard,
        rtt: &Rtt,
        now: Instant,
        recovering: bool,
        mss: u32,
    ) -> Detection {
        let none = Detection {
            found: false,
            look_again: None,
        };
        let Some((newest_at, newest_end)) = self.newest else {
            return none;
        };
        if board.is_plain() {
            return none;
        }
        let patience = self.rtt + self.reordering_window(board, rtt, recovering, mss);
        let mut look_again: Option<Instant> = None;
        let found = board.mark_lost(|sent| {
            if !sent_after(newest_at, newest_end, sent.at, sent.end) {
                return false;
            }
            let due = sent.at + patience;
            if due <= now {
                return true;
            }
            look_again = Some(look_again.map_or(due, |first| first.max(due)));
            false
        });
        Detection { found, look_again }
    }

    fn reordering_window(
        &self,
        board: &Scoreboard,
        rtt: &Rtt,
        recovering: bool,
        mss: u32,
    ) -> Duration {
        if !self.reordering_seen
            && (recovering || board.sacked() >= u64::from(DUPLICATE_THRESHOLD * mss))
        {
            return Duration::ZERO;
        }
        let quarter = rtt.shortest().unwrap_or_default() / 4;
        let most = rtt.smoothed().unwrap_or_default();
        (quarter * self.window_quarters).min(most)
    }

    /// How long to wait for an ACK before probing (section 7.2). `None` while a probe is under way
    /// or nothing could be learned from one.
    pub(crate) fn probe_timeout(
        &self,
        board: &Scoreboard,
        rtt: &Rtt,
        mss: u32,
    ) -> Option<Duration> {
        if self.probe.is_some() || !board.is_plain() {
            return None;
        }
        let timeout = match rtt.smoothed() {
            Some(srtt) if board.in_flight() <= u64::from(mss) => 2 * srtt + MAX_DELAYED_ACK,
            Some(srtt) => 2 * srtt + PROBE_SLACK,
            None => Duration::from_secs(1),
        };
        Some(timeout.min(rtt.timeout()))
    }

    /// The probe went out.
    pub(crate) fn on_probe(&mut self, nxt: u64, again: bool) {
        self.probe = Some(Probe { end: nxt, again });
    }

    /// An ACK came (section 7.4). True: the probe repaired a loss, which the window has to pay for.
    pub(crate) fn probe_repaired(&mut self, una: u64, dsack: bool, plain: bool) -> bool {
        let Some(probe) = self.probe else {
            return false;
        };
        if una < probe.end {
            return false;
        }
        self.probe = None;
        // Without a D-SACK the original was lost; with one, or when it carried new octets, it was
        // not. What SACKs tell, the ordinary recovery handles.
        probe.again && !dsack && plain
    }

    /// The retransmission timer ran out: nothing of a probe is to be learned any more.
    pub(crate) fn on_timeout(&mut self) {
        self.probe = None;
    }
}

/// RFC 8985's order of transmissions: by time, then by offset.
fn sent_after(at: Instant, end: u64, other_at: Instant, other_end: u64) -> bool {
    at > other_at || (at == other_at && end > other_end)
}

const DUPLICATE_THRESHOLD: u32 = 3;
const MAX_WINDOW_QUARTERS: u32 = 64;
const PERSIST_RECOVERIES: u32 = 16;
/// RFC 8985's `WCDelAckT`.
const MAX_DELAYED_ACK: Duration = Duration::from_millis(200);
/// The receiver's and our timers are not exact.
const PROBE_SLACK: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1000;

    fn at_ms(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    /// Ten segments, 1 ms apart, on a path of 100 ms.
    fn ten() -> (Scoreboard, Rack, Rtt) {
        let mut board = Scoreboard::default();
        for number in 0..10 {
            board.on_sent(number * 1000, (number + 1) * 1000, at_ms(number));
        }
        let mut rtt = Rtt::new();
        rtt.sample(Duration::from_millis(100));
        (board, Rack::new(), rtt)
    }

    fn sack(board: &mut Scoreboard, rack: &mut Rack, segment: u64, now: Instant) {
        let shortest = Some(Duration::from_millis(100));
        board.sack(segment * 1000, (segment + 1) * 1000, |sent| {
            rack.on_delivered(sent, now, shortest, false);
        });
    }

    #[test]
    fn a_hole_is_given_a_quarter_round_trip() {
        let (mut board, mut rack, rtt) = ten();
        sack(&mut board, &mut rack, 1, at_ms(101));
        let first = rack.detect(&mut board, &rtt, at_ms(101), false, MSS);
        assert_eq!((first.found, first.look_again), (false, Some(at_ms(125))));
        let second = rack.detect(&mut board, &rtt, at_ms(125), false, MSS);
        assert!(second.found);
        assert_eq!(board.first_lost(9999), Some((0, 1000)));
        assert_eq!(board.lost(), 1000);
    }

    #[test]
    fn three_above_it_condemn_a_hole_at_once() {
        let (mut board, mut rack, rtt) = ten();
        for segment in 1..=3 {
            sack(&mut board, &mut rack, segment, at_ms(100 + segment));
        }
        assert!(rack.detect(&mut board, &rtt, at_ms(103), false, MSS).found);
    }

    #[test]
    fn once_reordering_was_seen_three_are_not_enough() {
        let (mut board, mut rack, rtt) = ten();
        sack(&mut board, &mut rack, 2, at_ms(102));
        sack(&mut board, &mut rack, 1, at_ms(103));
        for segment in 3..=6 {
            sack(&mut board, &mut rack, segment, at_ms(106));
        }
        assert!(!rack.detect(&mut board, &rtt, at_ms(106), false, MSS).found);
    }

    #[test]
    fn a_lost_repeat_is_found_by_later_ones() {
        let (mut board, mut rack, rtt) = ten();
        for segment in 1..=4 {
            sack(&mut board, &mut rack, segment, at_ms(104));
        }
        assert!(rack.detect(&mut board, &rtt, at_ms(104), false, MSS).found);
        board.on_sent_again(0, 1000, at_ms(105));
        board.on_sent(10_000, 11_000, at_ms(106));
        sack(&mut board, &mut rack, 10, at_ms(206));
        assert!(rack.detect(&mut board, &rtt, at_ms(206), true, MSS).found);
        assert_eq!(board.first_lost(9999), Some((0, 1000)));
    }

    #[test]
    fn the_probe_waits_two_round_trips() {
        let (board, mut rack, rtt) = ten();
        let timeout = rack.probe_timeout(&board, &rtt, MSS);
        assert_eq!(timeout, Some(Duration::from_millis(202)));
        rack.on_probe(10_000, true);
        assert_eq!(rack.probe_timeout(&board, &rtt, MSS), None);
        assert!(!rack.probe_repaired(5000, false, true));
        assert!(rack.probe_repaired(10_000, false, true));
        assert!(!rack.probe_repaired(10_000, false, true));
    }
}
