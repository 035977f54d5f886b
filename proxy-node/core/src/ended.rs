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

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::Ended;
    use crate::leg::{Isn, Leg};
    use crate::time::Time;

    fn leg() -> Leg {
        let local = "203.0.113.1:7000".parse().unwrap();
        Leg::new("192.0.2.1:40000".parse().unwrap(), local)
    }

    #[test]
    fn attempts_are_forgotten_in_time() {
        let mut ended = Ended::default();
        ended.remember(leg(), Isn(1), Time::ZERO);
        let last = Time::ZERO.after(Ended::LIFETIME);
        let before = Time::from_micros(last.as_micros() - 1);
        assert!(ended.contains(leg(), Isn(1), before));
        assert!(!ended.contains(leg(), Isn(2), before));
        assert!(!ended.contains(leg(), Isn(1), last));
        assert!(ended.attempts.is_empty());
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut ended = Ended::default();
        for n in 0..10_000 {
            let now = Time::ZERO.after(Duration::from_millis(u64::from(n)));
            ended.remember(leg(), Isn(n), now);
            assert!(ended.attempts.len() <= Ended::CAPACITY);
            assert_eq!(ended.attempts.len(), ended.in_order.len());
            assert!(ended.attempts.contains(&(leg(), Isn(n))));
        }
    }
}
