//! Lines about flows, no more of them than a console can take.
//!
//! A serial port takes milliseconds for a line, in which no frame moves: who can make a node write
//! could hold it up. The totals of a report are right all the same.

use core::time::Duration;

use synhop_stack::Instant;

/// Lines in a row.
const BURST: u32 = 512;

/// Lines in the long run: one in so long.
const EVERY: Duration = Duration::from_millis(10);

/// Says which lines are written.
#[derive(Debug)]
pub(crate) struct FlowLog {
    room: u32,
    /// When `room` was last added to.
    at: Instant,
    left_out: u64,
}

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// It is written, and before it is said how many were not.
    Write {
        /// Lines that were left out since the last one.
        left_out: u64,
    },
    /// It is left out.
    Omit,
}

impl FlowLog {
    /// A log in which nothing was written.
    pub(crate) const fn new(now: Instant) -> Self {
        Self {
            room: BURST,
            at: now,
            left_out: 0,
        }
    }

    /// Whether the next line is written.
    pub(crate) fn admit(&mut self, now: Instant) -> Line {
        let grown = now.since(self.at).as_micros() / EVERY.as_micros();
        if let Ok(grown @ 1..) = u32::try_from(grown) {
            self.room = self.room.saturating_add(grown).min(BURST);
            self.at = now;
        }
        if self.room == 0 {
            self.left_out += 1;
            return Line::Omit;
        }
        self.room -= 1;
        Line::Write {
            left_out: core::mem::take(&mut self.left_out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_told_of() {
        let begin = Instant::from_micros(5_000_000);
        let mut log = FlowLog::new(begin);
        for _ in 0..BURST {
            assert_eq!(log.admit(begin), Line::Write { left_out: 0 });
        }
        for _ in 0..7 {
            assert_eq!(log.admit(begin), Line::Omit);
        }
        let later = begin + EVERY;
        assert_eq!(log.admit(later), Line::Write { left_out: 7 });
        assert_eq!(log.admit(later), Line::Omit);
        let much_later = later + Duration::from_secs(1000);
        for _ in 0..BURST {
            assert_ne!(log.admit(much_later), Line::Omit);
        }
        assert_eq!(log.admit(much_later), Line::Omit);
    }
}
