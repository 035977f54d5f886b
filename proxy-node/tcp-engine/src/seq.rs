//! Sequence numbers.

/// A sequence number (RFC 9293 section 3.4). Not `Ord`: modulo 2^32 there is no order, only "after,
/// within half the space".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Seq(u32);

impl Seq {
    /// A number as it is in the header.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number for the header.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The number `octets` further on.
    #[must_use]
    pub const fn plus(self, octets: u32) -> Self {
        Self(self.0.wrapping_add(octets))
    }

    /// How far `self` is after `earlier`; negative when it is before.
    #[expect(
        clippy::cast_possible_wrap,
        reason = "half the space is before, by definition"
    )]
    pub const fn distance(self, earlier: Self) -> i32 {
        self.0.wrapping_sub(earlier.0) as i32
    }

    /// Whether `self` is after `other`.
    pub const fn is_after(self, other: Self) -> bool {
        self.distance(other) > 0
    }

    /// Whether `self` is before `other`.
    pub const fn is_before(self, other: Self) -> bool {
        self.distance(other) < 0
    }
}

/// Sequence numbers of one direction, unfolded: octets since the initial sequence number, which is
/// offset 0, as the SYN is. Offsets never wrap, so they have an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin(Seq);

impl Origin {
    pub(crate) const fn new(initial: Seq) -> Self {
        Self(initial)
    }

    /// The sequence number of an offset.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the numbers are modulo 2^32"
    )]
    pub(crate) const fn seq(self, offset: u64) -> Seq {
        Seq(self.0.0.wrapping_add(offset as u32))
    }

    /// The offset nearest to `near` that has this sequence number; `None` before the origin.
    pub(crate) const fn offset(self, seq: Seq, near: u64) -> Option<u64> {
        let distance = seq.distance(self.seq(near));
        near.checked_add_signed(distance as i64)
    }
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;

    use super::*;

    #[test]
    fn order_is_within_half_the_space() {
        let near_end = Seq::new(u32::MAX - 1);
        assert!(near_end.plus(3).is_after(near_end));
        assert!(near_end.is_before(near_end.plus(3)));
        assert_eq!(near_end.plus(3).distance(near_end), 3);
    }

    quickcheck! {
        fn offsets_unfold(initial: u32, near: u64, by: i32) -> bool {
            let near = near >> 1;
            let origin = Origin::new(Seq::new(initial));
            let Some(offset) = near.checked_add_signed(i64::from(by)) else { return true };
            origin.offset(origin.seq(offset), near) == Some(offset)
        }
    }
}
