//! Pseudo-random numbers from a seed.

/// Splitmix64.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn octet(&mut self) -> u8 {
        self.throw().to_le_bytes()[0]
    }

    pub(super) fn word(&mut self) -> u16 {
        let octets = self.throw().to_le_bytes();
        u16::from_le_bytes([octets[0], octets[1]])
    }

    pub(super) fn long(&mut self) -> u32 {
        let [a, b, c, d, ..] = self.throw().to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    /// Below `limit`, which is not 0.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit).expect("64 bits");
        usize::try_from(self.throw() % limit).expect("below a usize")
    }

    /// True in `percent` of 100 throws.
    pub(super) fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(super) fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}
