//! Time, as the shell gives it.

use core::ops::Add;
use core::time::Duration;

/// A point in time: microseconds since an origin of the shell's choice. It never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(u64);

impl Instant {
    /// The origin.
    pub const ZERO: Self = Self(0);

    /// The point `micros` microseconds after the origin.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the origin.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// A clock of milliseconds that began at `offset` and wraps (RFC 7323 section 5.4).
    #[expect(clippy::cast_possible_truncation, reason = "the clock wraps")]
    pub(crate) const fn timestamp(self, offset: u32) -> u32 {
        offset.wrapping_add((self.0 / 1000) as u32)
    }

    /// Time since `earlier`; zero if that is not earlier.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }
}

/// The whole microseconds of a duration, the longest that fits if there are more.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
