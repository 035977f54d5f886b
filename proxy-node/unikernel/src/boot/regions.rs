//! A list of memory regions that needs no heap.

/// Octets `start..end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Region {
    /// First address.
    pub(crate) start: u64,
    /// First address after it.
    pub(crate) end: u64,
}

impl Region {
    /// How many octets.
    pub(crate) const fn octets(self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}

/// At most this many are kept; a machine that starts this image has two to four.
const MOST: usize = 16;

/// Regions of memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Regions {
    list: [Region; MOST],
    len: usize,
}

impl Regions {
    /// None.
    pub(crate) const fn new() -> Self {
        Self {
            list: [Region { start: 0, end: 0 }; MOST],
            len: 0,
        }
    }

    /// Adds one, unless it is empty. What does not fit is left unused.
    pub(crate) fn push(&mut self, region: Region) {
        if region.octets() > 0
            && let Some(slot) = self.list.get_mut(self.len)
        {
            *slot = region;
            self.len += 1;
        }
    }

    /// The regions.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Region> + '_ {
        self.list.iter().take(self.len).copied()
    }

    /// All octets.
    pub(crate) fn octets(&self) -> u64 {
        self.iter().map(Region::octets).sum()
    }

    /// The regions without what `hole` covers, and without what lies outside of `bounds`.
    #[must_use]
    pub(crate) fn without(&self, hole: Region, bounds: Region) -> Self {
        let mut rest = Self::new();
        for region in self.iter() {
            let start = region.start.max(bounds.start);
            let end = region.end.min(bounds.end);
            rest.push(Region {
                start,
                end: end.min(hole.start),
            });
            rest.push(Region {
                start: start.max(hole.end),
                end,
            });
        }
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn region(start: u64, end: u64) -> Region {
        Region { start, end }
    }

    #[test]
    fn a_hole_and_bounds_are_cut_out() {
        let mut all = Regions::new();
        all.push(region(0, 0xa_0000));
        all.push(region(0x10_0000, 0x40_0000));
        all.push(region(0x1_0000_0000, 0x1_1000_0000));
        let rest = all.without(region(0x10_0000, 0x18_0000), region(0x1000, 0xc000_0000));
        let rest: Vec<_> = rest.iter().collect();
        assert_eq!(
            rest,
            [region(0x1000, 0xa_0000), region(0x18_0000, 0x40_0000)]
        );
    }

    #[test]
    fn a_hole_in_the_middle_leaves_two() {
        let mut all = Regions::new();
        all.push(region(0, 100));
        let rest = all.without(region(40, 60), region(0, 1000));
        assert_eq!(rest.octets(), 80);
        assert_eq!(rest.iter().count(), 2);
    }

    #[test]
    fn more_than_fit_are_left_unused() {
        let mut all = Regions::new();
        for n in 0..100 {
            all.push(region(n * 10, n * 10 + 1));
        }
        assert_eq!(all.octets(), MOST as u64);
    }
}
