//! Lines about flows that wait until there is time to write them.
//!
//! A serial port takes one octet at a time, each an exit to the monitor: a line of 300 octets would
//! hold up frames for milliseconds.

use alloc::collections::VecDeque;

/// Octets that wait at most: some 50 lines.
const OCTETS_MOST: usize = 16 * 1024;

/// Octets that are written at a time, between two looks at the device.
const CHUNK: usize = 8;

/// The lines.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    octets: VecDeque<u8>,
    lost: u64,
}

impl Journal {
    /// Adds a line. If there is no room, it is lost, and counted.
    pub(crate) fn add(&mut self, line: &str) {
        if self.octets.len() + line.len() < OCTETS_MOST {
            self.octets.extend(line.bytes().chain([b'\n']));
        } else {
            self.lost += 1;
        }
    }

    /// Whether so much waits that it is to be written even while frames come.
    pub(crate) fn is_pressing(&self) -> bool {
        self.octets.len() >= OCTETS_MOST / 2
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// Writes the next octets.
    pub(crate) fn write_some(&mut self, write: impl FnOnce(&[u8])) {
        let (first, second) = self.octets.as_slices();
        let next = if first.is_empty() { second } else { first };
        let count = next.len().min(CHUNK);
        write(&next[..count]);
        self.octets.drain(..count);
    }

    /// Writes all that waits.
    pub(crate) fn write_all(&mut self, mut write: impl FnMut(&[u8])) {
        while !self.is_empty() {
            self.write_some(&mut write);
        }
    }

    /// How many lines were lost since this was asked last.
    pub(crate) fn take_lost(&mut self) -> u64 {
        core::mem::take(&mut self.lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_as_they_went_in() {
        let mut journal = Journal::default();
        let (mut expected, mut seen) = (Vec::new(), Vec::new());
        for n in 0..2000 {
            let line = format!("line {n}");
            journal.add(&line);
            expected.extend(line.bytes().chain([b'\n']));
            for _chunk in 0..2 {
                journal.write_some(|octets| seen.extend_from_slice(octets));
            }
        }
        journal.write_all(|octets| seen.extend_from_slice(octets));
        assert_eq!((seen, journal.take_lost()), (expected, 0));
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let mut journal = Journal::default();
        assert!(journal.is_empty());
        let line = "x".repeat(1000);
        for _ in 0..100 {
            journal.add(&line);
        }
        assert!(journal.is_pressing());
        assert_eq!(journal.take_lost(), 100 - 16);
        assert_eq!(journal.take_lost(), 0);
        let mut written = 0;
        journal.write_all(|octets| written += octets.len());
        assert_eq!(written, 16 * 1001);
    }
}
