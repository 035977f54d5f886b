//! What a link does to the frames that cross it.

use std::time::Duration;

use crate::LabError;

/// How much may wait for a link's transmitter; what comes on top is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// A bound in octets of frames.
    Octets(u64),
    /// A bound in frames, whatever their size.
    Packets(u64),
}

/// One link; both directions alike, each with its own queue and dice.
///
/// The default is a link without delay, limit or loss.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkSpec {
    /// One-way delay, after serialisation.
    pub delay: Duration,
    /// Bits a second of Ethernet frames (header counted, preamble and FCS
    /// not). `None`: serialisation takes no time, and nothing queues.
    pub rate_bits_per_second: Option<u64>,
    /// What may wait in front of the transmitter. Used with a rate only.
    pub queue: Queue,
    /// Probability that a frame is lost, 0 to 1.
    pub loss: f64,
    /// Probability that a frame arrives twice, 0 to 1.
    pub duplicate: f64,
    /// Probability that a frame is held back by `reorder_delay`, so that
    /// later ones overtake it, 0 to 1.
    pub reorder: f64,
    /// How long a reordered frame is held back.
    pub reorder_delay: Duration,
    /// Probability that one bit of a frame's payload is flipped, 0 to 1.
    pub corrupt: f64,
    /// Seed of the dice. Same seed and same frames: same fate, from the moment on when a link takes
    /// it on.
    pub seed: u64,
}

impl Default for LinkSpec {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            rate_bits_per_second: None,
            queue: DEFAULT_QUEUE,
            loss: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            reorder_delay: Duration::from_millis(5),
            corrupt: 0.0,
            seed: 1,
        }
    }
}

impl LinkSpec {
    /// A link with this one-way delay and rate, and nothing else.
    pub fn new(delay: Duration, rate_bits_per_second: Option<u64>) -> Self {
        Self {
            delay,
            rate_bits_per_second,
            ..Self::default()
        }
    }

    pub(crate) fn check(&self) -> Result<(), LabError> {
        let odds = [
            ("loss", self.loss),
            ("duplicate", self.duplicate),
            ("reorder", self.reorder),
            ("corrupt", self.corrupt),
        ];
        for (name, value) in odds {
            if !(0.0..=1.0).contains(&value) {
                return Err(LabError::BadSpec(format!(
                    "{name} is {value}: not within 0 to 1"
                )));
            }
        }
        if self.rate_bits_per_second == Some(0) {
            return Err(LabError::BadSpec(
                "a link of 0 bit/s carries nothing".to_owned(),
            ));
        }
        if self.delay > MAX_DELAY || self.reorder_delay > MAX_DELAY {
            return Err(LabError::BadSpec(format!("a delay exceeds {MAX_DELAY:?}")));
        }
        Ok(())
    }
}

/// About a thousand full frames, the length of a Linux interface's queue.
const DEFAULT_QUEUE: Queue = Queue::Octets(1_500_000);
/// Beyond TCP's own patience nothing is learned.
const MAX_DELAY: Duration = Duration::from_mins(1);
