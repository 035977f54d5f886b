//! Octets that nobody can guess, for sequence numbers, ports and hash tables.

use core::hash::Hasher;

use siphasher::sip::SipHasher24;

use crate::boot::Boot;
use crate::cpu;

/// Readings of the counter that are mixed in.
const READINGS: usize = 256;

/// 32 octets from the processor's random source, if it has one, the jitter of the time-stamp
/// counter, and the word `seed=` of the command line.
///
/// Without a random source and without a word, it is only as good as the jitter.
pub(crate) fn seed(boot: &Boot, mac: [u8; 6]) -> [u8; 32] {
    let mut state = (boot.entered, cpu::time_stamp());
    for _ in 0..READINGS {
        // Asking the processor what it is leaves the machine, or takes an odd time.
        let leaf = cpu::identify(0);
        state = step(state, cpu::time_stamp() ^ u64::from(leaf.ebx));
    }
    let mut octets = [0; 32];
    for (n, part) in (0_u64..).zip(octets.chunks_exact_mut(8)) {
        let mut hash = SipHasher24::new_with_keys(state.0, state.1);
        hash.write_u64(n);
        hash.write(&mac);
        hash.write(boot.command_line.as_str().as_bytes());
        hash.write_u64(cpu::random().unwrap_or(0));
        hash.write_u64(cpu::random().unwrap_or(0));
        part.copy_from_slice(&hash.finish().to_le_bytes());
    }
    octets
}

/// Mixes `input` into a state of two words.
fn step(state: (u64, u64), input: u64) -> (u64, u64) {
    let mut hash = SipHasher24::new_with_keys(state.0, state.1);
    hash.write_u64(input);
    (state.1, hash.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::{Host, Regions};
    use crate::command_line::CommandLine;

    #[test]
    fn no_two_are_alike() {
        let boot = Boot {
            host: Host::Plain,
            memory: Regions::new(),
            command_line: CommandLine::new(),
            entered: 1,
        };
        let first = seed(&boot, [0; 6]);
        assert_ne!(first, seed(&boot, [0; 6]));
        assert_ne!(first[..8], first[8..16]);
    }
}
