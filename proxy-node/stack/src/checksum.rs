//! The internet checksum (RFC 1071) over octets in several pieces.

use core::net::IpAddr;

/// A sum under way; pieces may be of odd lengths.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum {
    sum: u64,
    odd: bool,
}

impl Sum {
    /// The pseudo-header (RFC 9293 section 3.1, RFC 8200 section 8.1).
    pub(crate) fn pseudo(source: IpAddr, destination: IpAddr, protocol: u8, len: usize) -> Self {
        let mut sum = Self::default();
        for address in [source, destination] {
            match address {
                IpAddr::V4(address) => sum.add(&address.octets()),
                IpAddr::V6(address) => sum.add(&address.octets()),
            }
        }
        sum.sum += u64::from(protocol) + (len as u64 & 0xffff) + (len as u64 >> 16);
        sum
    }

    pub(crate) fn add(&mut self, octets: &[u8]) {
        let mut octets = octets;
        if self.odd
            && let Some((first, rest)) = octets.split_first()
        {
            self.sum += u64::from(*first);
            self.odd = false;
            octets = rest;
        }
        // Words of 32 bits: their halves add up to the same after folding.
        let (words, rest) = octets.as_chunks::<4>();
        for word in words {
            self.sum += u64::from(u32::from_be_bytes(*word));
        }
        let (halves, last) = rest.as_chunks::<2>();
        for half in halves {
            self.sum += u64::from(u16::from_be_bytes(*half));
        }
        if let [last] = last {
            self.sum += u64::from(*last) << 8;
            self.odd = true;
        }
    }

    /// The folded sum: what a device goes on from.
    #[expect(clippy::cast_possible_truncation, reason = "folded to 16 bits")]
    pub(crate) const fn folded(self) -> u16 {
        let mut sum = self.sum;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    /// The checksum.
    pub(crate) const fn finish(self) -> u16 {
        !self.folded()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc_in_any_cutting() {
        let octets = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        for first in 0..=octets.len() {
            for second in first..=octets.len() {
                let mut sum = Sum::default();
                sum.add(&octets[..first]);
                sum.add(&octets[first..second]);
                sum.add(&octets[second..]);
                assert_eq!(sum.folded(), 0xddf2, "{first} {second}");
            }
        }
    }
}
