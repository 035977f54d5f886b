//! Connection attempts that are over, for a while.

use alloc::collections::{BTreeSet, VecDeque};
use core::time::Duration;

use crate::leg::{Isn, Leg};
use crate::time::Time;

/// Remembers ended attempts, so that a SYN event that comes after the end, or a retransmission to
/// a client that was given up, does not open them again. What is forgotten too early costs one
/// needless connection, which is aborted for want of a client.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    attempts: BTreeSet<(Leg, Isn)>,
    in_order: VecDeque<(Time, Leg, Isn)>,
}

impl Ended {
    /// How many are remembered at most.
    const CAPACITY: usize = 1024;
    /// How long: as long as a SYN is retransmitted (R2 of RFC 9293 section 3.8.3 is 3 minutes).
    const LIFETIME: Duration = Duration::from_mins(3);

    pub(crate) fn remember(&mut self, leg: Leg, isn: Isn, now: Time) {
        self.forget(now);
        if self.attempts.insert((leg, isn)) {
            self.in_order
                .push_back((now.after(Self::LIFETIME), leg, isn));
        }
    }

    pub(crate) fn contains(&mut self, leg: Leg, isn: Isn, now: Time) -> bool {
        self.forget(now);
        self.attempts.contains(&(leg, isn))
    }

    /// Drops what has expired, and the oldest so that there is room for one.
    fn forget(&mut self, now: Time) {
        while let Some((until, leg, isn)) = self.in_order.front().copied() {
            if until > now && self.in_order.len() < Self::CAPACITY {
                break;
            }
            self.in_order.pop_front();
            self.attempts.remove(&(leg, isn));
        }
    }
}
