//! Order statistics of measured times.
//!
//! Medians, as one late scheduling of a busy machine must not move the figure; quantiles are
//! interpolated between the two ranks that enclose them, so the median of two is their mean.

use serde::Serialize;
use std::time::Duration;

/// What is said of a set of measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// How many there are.
    pub count: usize,
    /// The shortest.
    pub min: Duration,
    /// Half are below.
    pub median: Duration,
    /// Of a hundred, 99 are below; the longest, when there are few.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

impl Summary {
    /// Sums measurements up, in whatever order they are. `None` of nothing.
    pub fn of(times: &[Duration]) -> Option<Self> {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        Some(Self {
            count: sorted.len(),
            min: *sorted.first()?,
            median: quantile(&sorted, 50)?,
            p99: quantile(&sorted, 99)?,
            max: *sorted.last()?,
        })
    }
}

/// The median of times in whatever order. `None` of nothing.
pub fn median(times: &[Duration]) -> Option<Duration> {
    Summary::of(times).map(|summary| summary.median)
}

/// The `percent` quantile (0 to 100) of ascending times.
fn quantile(sorted: &[Duration], percent: u32) -> Option<Duration> {
    let steps = u32::try_from(sorted.len().checked_sub(1)?).ok()?;
    // Rank in hundredths, so that no rounding of fractions is involved.
    let rank = u64::from(steps) * u64::from(percent.min(100));
    let below = *sorted.get(usize::try_from(rank / 100).ok()?)?;
    let above = *sorted.get(usize::try_from(rank.div_ceil(100)).ok()?)?;
    let share = u32::try_from(rank % 100).ok()?;
    Some(below + above.saturating_sub(below) * share / 100)
}

/// Milliseconds, for people and plots.
pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// What `time` saves against `before`, in percent: positive is faster. 0 if `before` is 0.
pub fn saving_percent(before: Duration, time: Duration) -> f64 {
    if before.is_zero() {
        return 0.0;
    }
    (1.0 - time.as_secs_f64() / before.as_secs_f64()) * 100.0
}

/// A summary as it is saved: milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SummaryMs {
    /// Measurements.
    pub count: usize,
    /// The shortest, ms.
    pub min: f64,
    /// The median, ms.
    pub median: f64,
    /// 99 of 100 are below, ms.
    pub p99: f64,
    /// The longest, ms.
    pub max: f64,
}

impl From<Summary> for SummaryMs {
    fn from(summary: Summary) -> Self {
        Self {
            count: summary.count,
            min: millis(summary.min),
            median: millis(summary.median),
            p99: millis(summary.p99),
            max: millis(summary.max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(times: &[u64]) -> Vec<Duration> {
        times.iter().copied().map(Duration::from_millis).collect()
    }

    #[test]
    fn nothing_has_no_summary() {
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn one_is_all_of_it() {
        let summary = Summary::of(&ms(&[7])).expect("one measurement");
        assert_eq!((summary.min, summary.median, summary.p99, summary.max), {
            let seven = Duration::from_millis(7);
            (seven, seven, seven, seven)
        });
    }

    #[test]
    fn order_does_not_matter() {
        assert_eq!(median(&ms(&[9, 1, 5])), Some(Duration::from_millis(5)));
    }

    #[test]
    fn an_even_count_takes_the_middle_of_two() {
        assert_eq!(
            median(&ms(&[4, 1, 2, 3])),
            Some(Duration::from_micros(2500))
        );
    }

    #[test]
    fn p99_of_1_to_101_is_the_hundredth() {
        let summary = Summary::of(&ms(&(1..=101).collect::<Vec<_>>())).expect("101 measurements");
        assert_eq!(summary.p99, Duration::from_millis(100));
        assert_eq!(summary.count, 101);
    }

    #[test]
    fn savings_are_signed() {
        let [fast, slow] = [100, 200].map(Duration::from_millis);
        assert!((saving_percent(slow, fast) - 50.0).abs() < 1e-9);
        assert!((saving_percent(fast, slow) + 100.0).abs() < 1e-9);
        assert!(saving_percent(Duration::ZERO, slow).abs() < 1e-9);
    }
}
