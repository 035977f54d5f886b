//! Round-trip time and retransmission timeout (RFC 6298), in microseconds.

use core::time::Duration;

use crate::time::micros;

/// The estimator of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Rtt {
    smoothed: Option<Smoothed>,
    /// The timeout before the first sample.
    initial_us: u64,
    /// Timeouts in a row without an acknowledgement of new data.
    backoff: u32,
    min_us: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Smoothed {
    srtt_us: u64,
    variation_us: u64,
}

impl Rtt {
    pub(crate) const fn new() -> Self {
        Self {
            smoothed: None,
            initial_us: INITIAL_US,
            backoff: 0,
            min_us: None,
        }
    }

    /// Takes a sample, which by Karn's rule is not of a retransmitted segment.
    pub(crate) fn sample(&mut self, rtt: Duration) {
        let rtt_us = micros(rtt).max(1);
        self.min_us = Some(self.min_us.map_or(rtt_us, |min_us| min_us.min(rtt_us)));
        self.smooth(rtt_us);
    }

    /// Takes a sample of an echoed timestamp (RFC 7323 section 4), of a retransmitted segment
    /// perhaps. Its milliseconds say nothing about the shortest.
    pub(crate) fn coarse_sample(&mut self, rtt: Duration) {
        self.smooth(micros(rtt).max(1));
    }

    /// Whether there was no sample yet.
    pub(crate) const fn is_unknown(&self) -> bool {
        self.smoothed.is_none()
    }

    fn smooth(&mut self, rtt_us: u64) {
        self.smoothed = Some(match self.smoothed {
            None => Smoothed {
                srtt_us: rtt_us,
                variation_us: rtt_us / 2,
            },
            Some(Smoothed {
                srtt_us,
                variation_us,
            }) => Smoothed {
                srtt_us: (7 * srtt_us + rtt_us) / 8,
                variation_us: (3 * variation_us + srtt_us.abs_diff(rtt_us)) / 4,
            },
        });
    }

    /// The smoothed round-trip time, once there was a sample.
    pub(crate) fn smoothed(&self) -> Option<Duration> {
        self.smoothed
            .map(|smoothed| Duration::from_micros(smoothed.srtt_us))
    }

    /// The shortest sample.
    pub(crate) fn shortest(&self) -> Option<Duration> {
        self.min_us.map(Duration::from_micros)
    }

    /// The retransmission timeout, doubled for each timeout in a row.
    pub(crate) fn timeout(&self) -> Duration {
        let base = self.smoothed.map_or(self.initial_us, |smoothed| {
            // Linux's floor, below the 1 s of RFC 6298 (2.4): the delayed ACKs of today take 40 ms.
            smoothed.srtt_us + (4 * smoothed.variation_us).max(MIN_US)
        });
        let doubled = base.saturating_mul(1 << self.backoff.min(16));
        Duration::from_micros(doubled.min(MAX_US))
    }

    /// The timer ran out (RFC 6298, 5.5).
    pub(crate) fn back_off(&mut self) {
        self.backoff += 1;
    }

    /// New data was acknowledged.
    pub(crate) fn forget_backoff(&mut self) {
        self.backoff = 0;
    }

    /// The handshake's timer had run out: RFC 6298 (5.7) wants 3 s for the data then, until there is
    /// a sample.
    pub(crate) fn handshake_was_lossy(&mut self) {
        self.backoff = 0;
        self.initial_us = AFTER_LOSSY_HANDSHAKE_US;
    }
}

const INITIAL_US: u64 = 1_000_000;
const AFTER_LOSSY_HANDSHAKE_US: u64 = 3_000_000;
const MIN_US: u64 = 200_000;
const MAX_US: u64 = 60_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_steady_path_settles_at_its_floor() {
        let mut rtt = Rtt::new();
        assert_eq!(rtt.timeout(), ms(1000));
        rtt.sample(ms(100));
        assert_eq!(rtt.timeout(), ms(300));
        for _ in 0..50 {
            rtt.sample(ms(100));
        }
        assert_eq!((rtt.smoothed(), rtt.timeout()), (Some(ms(100)), ms(300)));
        rtt.sample(ms(40));
        assert_eq!(rtt.shortest(), Some(ms(40)));
    }

    #[test]
    fn the_first_sample_ends_the_caution_of_a_lossy_handshake() {
        let mut rtt = Rtt::new();
        rtt.back_off();
        rtt.handshake_was_lossy();
        assert_eq!((rtt.timeout(), rtt.is_unknown()), (ms(3000), true));
        rtt.coarse_sample(ms(20));
        assert_eq!((rtt.timeout(), rtt.shortest()), (ms(220), None));
    }

    #[test]
    fn each_timeout_doubles_up_to_a_minute() {
        let mut rtt = Rtt::new();
        rtt.sample(ms(100));
        let timeouts: [_; 4] = core::array::from_fn(|_| {
            rtt.back_off();
            rtt.timeout().as_millis()
        });
        assert_eq!(timeouts, [600, 1200, 2400, 4800]);
        for _ in 0..40 {
            rtt.back_off();
        }
        assert_eq!(rtt.timeout(), ms(60_000));
        rtt.forget_backoff();
        assert_eq!(rtt.timeout(), ms(300));
    }
}
