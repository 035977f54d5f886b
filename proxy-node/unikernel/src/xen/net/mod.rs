//! The front of a paravirtual network interface (public/io/netif.h): the host's end is the back.
//!
//! Both directions copy between pages of the pool and pages that stay granted to the back for the
//! life of the connection. The back sees nothing but those, no grant changes while frames flow, and
//! a frame of 60 octets does not keep 4 KiB from the pool.

mod back;
mod link;
mod rx;
mod tx;

pub(crate) use link::LinkError;
pub(super) use link::{Link, TOKEN};

use alloc::vec::Vec;

use super::grant::{Access, Grant, GrantError, Grants};
use super::page::{PAGE_OCTETS, SharedPage};

/// Slots that a frame of the largest size needs, its GSO information aside; the back takes 18.
const SLOTS_A_FRAME_MOST: usize = 17;

/// Pages for one direction, each with its grant.
#[derive(Debug)]
struct Buffers(Vec<(SharedPage, Grant)>);

impl Buffers {
    /// As many as `count`, or fewer if there is no memory.
    fn new(count: usize, grants: &mut Grants) -> Result<Self, GrantError> {
        let mut list = Vec::with_capacity(count);
        for _ in 0..count {
            let Some(page) = SharedPage::allocate() else {
                break;
            };
            list.push((page, grants.number()?));
        }
        Ok(Self(list))
    }

    /// Grants all of them to `domain`.
    fn give(&self, grants: &Grants, domain: u16, access: Access) -> Result<(), GrantError> {
        for (page, grant) in &self.0 {
            grants.give(*grant, domain, *page, access)?;
        }
        Ok(())
    }

    fn withdraw(&self, grants: &Grants) {
        for (_, grant) in &self.0 {
            // A page in use stays granted; it holds frames and nothing else.
            let _in_use = grants.withdraw(*grant);
        }
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, index: u16) -> Option<(SharedPage, Grant)> {
        self.0.get(usize::from(index)).copied()
    }

    /// The numbers of all of them.
    fn numbers(&self) -> impl Iterator<Item = u16> {
        (0..=u16::MAX).take(self.len())
    }
}

/// Buffers for each direction in a machine with `octets` of memory: 1/32 of it, as long as the
/// largest frame fits and the ring has slots.
pub(super) fn buffers_for(octets: u64) -> usize {
    let pages = usize::try_from(octets).unwrap_or(usize::MAX) / PAGE_OCTETS;
    (pages / 32).clamp(SLOTS_A_FRAME_MOST + 7, super::ring::SLOTS as usize - 1)
}

/// Low and high half of a word, as the rings pack them.
const fn halves(word: u32) -> (u16, u16) {
    let [a, b, c, d] = word.to_le_bytes();
    (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]))
}

/// The word with these halves.
const fn word(low: u16, high: u16) -> u32 {
    let ([a, b], [c, d]) = (low.to_le_bytes(), high.to_le_bytes());
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_two_halves() {
        assert_eq!(halves(word(0x1234, 0xabcd)), (0x1234, 0xabcd));
        assert_eq!(word(1, 2), 0x0002_0001);
    }

    #[test]
    fn a_small_machine_still_takes_the_largest_frame() {
        assert!(buffers_for(1 << 20) > SLOTS_A_FRAME_MOST);
        assert_eq!(buffers_for(1 << 40), 255);
    }
}
