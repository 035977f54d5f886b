//! Lines about flows that wait until there is time to write them.
//!
//! A serial port takes one octet at a time, each an exit to the monitor: a line of 300 octets would
//! hold up frames for milliseconds.

use alloc::collections::VecDeque;

/// Octets that may wait: some 25 lines.
const OCTETS_MOST: usize = 8 * 1024;

/// Octets that are written at a time, between two looks at the device.
const CHUNK: usize = 8;

/// The lines.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    octets: VecDeque<u8>,
}

impl Journal {
    /// Adds a line.
    pub(crate) fn add(&mut self, line: &str) {
        self.octets.extend(line.bytes().chain([b'\n']));
    }

    /// Whether so much waits that it is to be written even while frames come.
    pub(crate) fn is_full(&self) -> bool {
        self.octets.len() > OCTETS_MOST
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
        assert_eq!(seen, expected);
    }

    #[test]
    fn it_says_when_it_is_full() {
        let mut journal = Journal::default();
        let line = "x".repeat(OCTETS_MOST - 1);
        journal.add(&line);
        assert!(!journal.is_full());
        journal.add("");
        assert!(journal.is_full());
        journal.write_some(|_| ());
        assert!(!journal.is_full() && !journal.is_empty());
        journal.write_all(|_| ());
        assert!(journal.is_empty());
    }
}
