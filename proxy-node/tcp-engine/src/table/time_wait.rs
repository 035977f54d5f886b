//! TIME-WAIT in a few octets a connection (RFC 9293 section 3.6.1, RFC 1337, RFC 6191).

use alloc::collections::VecDeque;
use core::time::Duration;

use hashbrown::HashMap;

use super::demux::Keyed;
use crate::connection::{Tuple, may_challenge};
use crate::seq::Seq;
use crate::time::Instant;
use crate::wire::{Flags, Segment};

/// What is left of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remains {
    pub next_sent: Seq,
    pub next_expected: Seq,
    /// The offset of our timestamps and the peer's last one.
    pub clock: Option<(u32, u32)>,
}

/// What a segment gets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// The connection is not here.
    Unknown,
    /// Nothing.
    Silence,
    /// Where we are.
    Ack(Remains),
    /// A new connection may take its place.
    Reuse,
}

#[derive(Debug)]
struct Entry {
    remains: Remains,
    until: Instant,
    challenged_at: Option<Instant>,
}

/// All connections in TIME-WAIT. The oldest give way when it is full: they had the longest wait.
#[derive(Debug)]
pub(crate) struct TimeWait {
    entries: HashMap<Tuple, Entry, Keyed>,
    order: VecDeque<(Tuple, Instant)>,
    capacity: usize,
}

impl TimeWait {
    pub(crate) fn new(capacity: usize, keyed: Keyed) -> Self {
        Self {
            entries: HashMap::with_hasher(keyed),
            order: VecDeque::new(),
            capacity,
        }
    }

    pub(crate) fn insert(&mut self, tuple: Tuple, remains: Remains, now: Instant) {
        if self.capacity == 0 {
            return;
        }
        while self.order.len() >= self.capacity {
            self.drop_oldest();
        }
        let until = now + TWICE_MSL;
        let entry = Entry {
            remains,
            until,
            challenged_at: None,
        };
        self.entries.insert(tuple, entry);
        self.order.push_back((tuple, until));
    }

    pub(crate) fn contains(&self, tuple: &Tuple) -> bool {
        self.entries.contains_key(tuple)
    }

    /// Looks at a segment of a connection that may be here.
    pub(crate) fn on_segment(&mut self, tuple: &Tuple, segment: &Segment, now: Instant) -> Answer {
        let Some(entry) = self.entries.get_mut(tuple) else {
            return Answer::Unknown;
        };
        if entry.until <= now {
            return Answer::Unknown;
        }
        let remains = entry.remains;
        // RFC 1337: a reset does not end it.
        if segment.flags.has(Flags::RST) {
            return Answer::Silence;
        }
        if segment.flags.has(Flags::SYN) && !segment.flags.has(Flags::ACK) {
            let newer = match (remains.clock, segment.options.timestamps) {
                (Some((_, recent)), Some(times)) => {
                    Seq::new(times.value).is_after(Seq::new(recent))
                }
                (Some(_) | None, _) => segment.seq.is_after(remains.next_expected),
            };
            if newer {
                return Answer::Reuse;
            }
        }
        if segment.is_empty() && segment.seq == remains.next_expected {
            return Answer::Silence;
        }
        if segment.flags.has(Flags::FIN) {
            entry.until = now + TWICE_MSL;
        }
        if segment.may_be_part_of_a_loop() && !may_challenge(&mut entry.challenged_at, now) {
            return Answer::Silence;
        }
        Answer::Ack(remains)
    }

    pub(crate) fn remove(&mut self, tuple: &Tuple) {
        self.entries.remove(tuple);
    }

    /// Forgets what is over.
    pub(crate) fn tick(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(_, until)| *until <= now) {
            self.drop_oldest();
        }
    }

    /// When there is something to forget.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.order.front().map(|(_, until)| *until)
    }

    fn drop_oldest(&mut self) {
        let Some((tuple, was_until)) = self.order.pop_front() else {
            return;
        };
        match self.entries.get(&tuple) {
            // A FIN came again meanwhile: it goes to the end, once more.
            Some(entry) if entry.until > was_until && self.order.len() < self.capacity => {
                self.order.push_back((tuple, entry.until));
            }
            Some(entry) if entry.until <= was_until => {
                self.entries.remove(&tuple);
            }
            Some(_) | None => {}
        }
    }
}

/// As Linux: the MSL of 30 s in place of 2 minutes.
const TWICE_MSL: Duration = Duration::from_mins(1);
