//! A histogram of nanoseconds in constant memory.

/// Counts by power of two, each split in 32: values are kept to 3 %.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            total: 0,
            max: 0,
        }
    }

    pub(crate) fn record(&mut self, value: u64) {
        self.counts[bucket(value).min(BUCKETS - 1)] += 1;
        self.total += 1;
        self.max = self.max.max(value);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    pub(crate) const fn max(&self) -> u64 {
        self.max
    }

    /// The value that `percent` of all values do not exceed, to 3 %.
    pub(crate) fn percentile(&self, percent: u64) -> u64 {
        let rank = (self.total * percent).div_ceil(100);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank && seen > 0 {
                return upper_bound(index).min(self.max);
            }
        }
        self.max
    }
}

fn bucket(value: u64) -> usize {
    let index = match value
        .checked_ilog2()
        .and_then(|log| log.checked_sub(SPLIT_BITS))
    {
        None => value,
        Some(shift) => (u64::from(shift + 1) << SPLIT_BITS) + ((value >> shift) & (SPLIT - 1)),
    };
    // At most 60 * 32.
    usize::try_from(index).unwrap_or(usize::MAX)
}

fn upper_bound(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < SPLIT {
        return bucket;
    }
    let shift = (bucket >> SPLIT_BITS) - 1;
    let low = (SPLIT + (bucket & (SPLIT - 1))) << shift;
    low + (1 << shift) - 1
}

const SPLIT_BITS: u32 = 5;
const SPLIT: u64 = 1 << SPLIT_BITS;
/// Up to 2^40 ns, 18 minutes; what exceeds that is put there.
const BUCKETS: usize = ((40 - SPLIT_BITS + 1) << SPLIT_BITS) as usize;

#[cfg(test)]
mod tests {
    use super::{Histogram, bucket, upper_bound};

    #[test]
    fn buckets_hold_their_values() {
        for value in (0..100_000).chain([1 << 30, (1 << 39) + 12345]) {
            let upper = upper_bound(bucket(value));
            assert!(
                upper >= value && upper - value <= value / 32,
                "{value} in {upper}"
            );
        }
    }

    #[test]
    fn percentiles() {
        let mut histogram = Histogram::new();
        (1..=1000).for_each(|value| histogram.record(value));
        assert!((500..=516).contains(&histogram.percentile(50)));
        assert!((990..=1000).contains(&histogram.percentile(99)));
        assert_eq!(histogram.max(), 1000);
    }
}
