//! When to acknowledge (RFC 9293 section 3.8.6.3, RFC 5681 section 4.2).

use core::time::Duration;

use super::Arrived;
use crate::time::Instant;

/// What is owed to the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owed {
    /// It knows everything.
    Nothing,
    /// An acknowledgement, which may wait for data to ride on.
    Later(Instant),
    /// An acknowledgement.
    Now,
}

/// The acknowledgements of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Acks {
    owed: Owed,
    /// Octets since the last one.
    unacknowledged: u64,
    /// Data segments that are still to be answered at once: the peer is in slow start.
    quick: u32,
    /// Octets that came twice, to be told once.
    duplicate: Option<(u64, u64)>,
}

impl Acks {
    pub(crate) const fn new() -> Self {
        Self {
            owed: Owed::Nothing,
            unacknowledged: 0,
            quick: QUICK_SEGMENTS,
            duplicate: None,
        }
    }

    pub(crate) const fn owed(&self) -> Owed {
        self.owed
    }

    pub(crate) const fn duplicate(&self) -> Option<(u64, u64)> {
        self.duplicate
    }

    /// A segment with data, or a FIN, was taken.
    pub(crate) fn on_arrived(&mut self, arrived: Arrived, fin: bool, mss: u32, now: Instant) {
        self.unacknowledged += arrived.advanced;
        if arrived.duplicate.is_some() {
            self.duplicate = arrived.duplicate;
        }
        let at_once = fin
            || arrived.disordered
            || arrived.cut
            || arrived.duplicate.is_some()
            || self.quick > 0
            || self.unacknowledged >= 2 * u64::from(mss);
        self.quick = self.quick.saturating_sub(1);
        if at_once {
            self.owed = Owed::Now;
        } else if self.owed == Owed::Nothing {
            self.owed = Owed::Later(now + DELAY);
        }
    }

    /// One has to go out whatever happens.
    pub(crate) fn force(&mut self) {
        self.owed = Owed::Now;
    }

    /// The peer sent again what we had: `start..end`.
    pub(crate) fn on_duplicate(&mut self, start: u64, end: u64) {
        self.duplicate = Some((start, end));
        self.owed = Owed::Now;
    }

    /// The delay may be over.
    pub(crate) fn on_time(&mut self, now: Instant) {
        if matches!(self.owed, Owed::Later(at) if at <= now) {
            self.owed = Owed::Now;
        }
    }

    /// A segment with the current acknowledgement went out.
    pub(crate) fn on_sent(&mut self) {
        self.owed = Owed::Nothing;
        self.unacknowledged = 0;
        self.duplicate = None;
    }
}

/// As Linux: at most so long, well below the smallest retransmission timeout.
const DELAY: Duration = Duration::from_millis(40);
/// As Linux's quick-ACK mode at the start.
const QUICK_SEGMENTS: u32 = 16;
