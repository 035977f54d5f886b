//! Octets that both ends of a transfer can make for themselves, so that every
//! one that arrives can be checked.

use std::io::{self, Read};

/// An endless stream of octets; `lane` chooses which.
///
/// No part of it repeats, so octets lost, doubled or out of place show.
#[derive(Clone, Debug)]
pub struct Pattern {
    lane: u64,
    at: u64,
}

impl Pattern {
    /// The stream of this lane from its start.
    pub const fn new(lane: u64) -> Self {
        Self { lane, at: 0 }
    }

    /// The next octets, as many as `buffer` holds.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        let mut rest = buffer;
        while !rest.is_empty() {
            let word = mix(self.lane.rotate_left(32) ^ (self.at / 8)).to_le_bytes();
            // A buffer may start and end amid a word.
            let fresh = &word[(self.at % 8) as usize..];
            let (now, later) = rest.split_at_mut(fresh.len().min(rest.len()));
            now.copy_from_slice(&fresh[..now.len()]);
            self.at += now.len() as u64;
            rest = later;
        }
    }

    /// Whether `octets` are the next ones.
    pub fn matches(&mut self, octets: &[u8]) -> bool {
        let mut expected = vec![0; octets.len()];
        self.fill(&mut expected);
        expected == octets
    }

    /// Whether `source` holds exactly the next `len` octets, and then ends.
    pub fn is_all_of(&mut self, len: u64, mut source: impl Read) -> io::Result<bool> {
        let mut buffer = vec![0; 1 << 16];
        let mut seen = 0;
        loop {
            let count = source.read(&mut buffer)?;
            if count == 0 {
                return Ok(seen == len);
            }
            seen += count as u64;
            if seen > len || !self.matches(&buffer[..count]) {
                return Ok(false);
            }
        }
    }
}

/// The first `len` octets of a lane.
pub fn pattern_octets(lane: u64, len: usize) -> Vec<u8> {
    let mut octets = vec![0; len];
    Pattern::new(lane).fill(&mut octets);
    octets
}

/// Splitmix64's finalizer.
const fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::{Pattern, pattern_octets};

    #[test]
    fn only_the_exact_octets_pass() {
        let octets = pattern_octets(3, 10_000);
        assert!(Pattern::new(3).is_all_of(10_000, &octets[..]).unwrap());
        assert!(!Pattern::new(3).is_all_of(10_000, &octets[..9_999]).unwrap());
        assert!(!Pattern::new(3).is_all_of(9_999, &octets[..]).unwrap());
        assert!(!Pattern::new(4).is_all_of(10_000, &octets[..]).unwrap());
    }
}
