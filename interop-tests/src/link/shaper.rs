//! When and whether a frame arrives: one direction of a link as a pure
//! function of timestamps, lengths and a seed. No clock, no I/O.

use std::collections::VecDeque;

use super::{LinkSpec, Queue};

/// One direction of a link.
#[derive(Debug)]
pub struct Shaper {
    spec: LinkSpec,
    lane: u64,
    dice: Dice,
    /// When the transmitter has sent everything it was given.
    free_at_ns: u64,
    /// When each frame in front of the transmitter starts being sent: its
    /// length is the queue in frames. Kept only for [`Queue::Packets`].
    starts_ns: VecDeque<u64>,
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It never arrives.
    Lost(Loss),
    /// It arrives.
    Due {
        /// When.
        at_ns: u64,
        /// When a second copy does, if one is made.
        copy_at_ns: Option<u64>,
        /// Whether it was held back for others to overtake.
        held_back: bool,
        /// Dice to choose the bit to flip with, if one is flipped.
        corrupt: Option<u64>,
    },
}

/// Why a frame never arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The queue was full.
    Tail,
    /// The dice said so.
    Random,
}

impl Shaper {
    /// A direction with nothing on the way; `lane` tells the directions of a
    /// lab apart, so that they do not throw the same dice.
    pub fn new(spec: LinkSpec, lane: u64) -> Self {
        let dice = Dice::new(spec.seed, lane);
        Self {
            spec,
            lane,
            dice,
            free_at_ns: 0,
            starts_ns: VecDeque::new(),
        }
    }

    /// Takes on other properties; what waits in the queue keeps its place. The dice go on, but for
    /// another seed, which begins anew.
    pub fn set_spec(&mut self, spec: LinkSpec) {
        if spec.seed != self.spec.seed {
            self.dice = Dice::new(spec.seed, self.lane);
        }
        self.spec = spec;
    }

    /// The properties in force.
    pub const fn spec(&self) -> &LinkSpec {
        &self.spec
    }

    /// Decides about a frame of `len_octets` that was sent at `sent_ns`.
    pub fn offer(&mut self, sent_ns: u64, len_octets: usize) -> Fate {
        // The queue comes first: a frame that the dice lose on the way has
        // taken its time on the transmitter.
        let Some(transmitted_ns) = self.transmit(sent_ns, len_octets as u64) else {
            return Fate::Lost(Loss::Tail);
        };
        if self.dice.happens(self.spec.loss) {
            return Fate::Lost(Loss::Random);
        }
        let arrival_ns = transmitted_ns + nanoseconds(self.spec.delay);
        let held_back = self.dice.happens(self.spec.reorder);
        let extra_ns = if held_back {
            nanoseconds(self.spec.reorder_delay)
        } else {
            0
        };
        let copied = self.dice.happens(self.spec.duplicate);
        Fate::Due {
            at_ns: arrival_ns + extra_ns,
            copy_at_ns: copied.then_some(arrival_ns),
            held_back,
            corrupt: self
                .dice
                .happens(self.spec.corrupt)
                .then(|| self.dice.throw()),
        }
    }

    /// When the transmitter will have sent the frame; `None` if the queue is
    /// full.
    fn transmit(&mut self, sent_ns: u64, len_octets: u64) -> Option<u64> {
        let Some(rate) = self.spec.rate_bits_per_second else {
            return Some(sent_ns);
        };
        let start_ns = self.free_at_ns.max(sent_ns);
        match self.spec.queue {
            Queue::Octets(limit) => {
                let wait_ns = u128::from(start_ns - sent_ns);
                let waiting = wait_ns * u128::from(rate) / BIT_NS_PER_OCTET_S;
                let full = wait_ns > 0 && waiting + u128::from(len_octets) > u128::from(limit);
                (!full).then_some(())?;
            }
            Queue::Packets(limit) => {
                while self
                    .starts_ns
                    .front()
                    .is_some_and(|start| *start <= sent_ns)
                {
                    self.starts_ns.pop_front();
                }
                let full = start_ns > sent_ns && self.starts_ns.len() as u64 >= limit;
                (!full).then(|| self.starts_ns.push_back(start_ns))?;
            }
        }
        let takes_ns = u128::from(len_octets) * BIT_NS_PER_OCTET_S / u128::from(rate);
        self.free_at_ns = start_ns.saturating_add(takes_ns.try_into().unwrap_or(u64::MAX));
        Some(self.free_at_ns)
    }
}

/// Splitmix64: enough for dice, and the same on every machine.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn new(seed: u64, lane: u64) -> Self {
        let mut dice = Self(seed ^ lane.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        // Neighbouring seeds start far apart.
        Self(dice.throw() ^ lane)
    }

    fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn happens(&mut self, probability: f64) -> bool {
        if probability <= 0.0 {
            return false;
        }
        // 53 bits: what an f64 holds exactly.
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let uniform = (self.throw() >> 11) as f64 / (1_u64 << 53) as f64;
        uniform < probability
    }
}

fn nanoseconds(duration: std::time::Duration) -> u64 {
    duration.as_nanos().try_into().unwrap_or(u64::MAX / 4)
}

/// 8 bits an octet, 10^9 nanoseconds a second.
const BIT_NS_PER_OCTET_S: u128 = 8_000_000_000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Fate, Loss, Shaper};
    use crate::link::{LinkSpec, Queue};

    fn arrival(fate: Fate) -> Option<u64> {
        match fate {
            Fate::Due { at_ns, .. } => Some(at_ns),
            Fate::Lost(_) => None,
        }
    }

    #[test]
    fn frames_queue_behind_each_other() {
        let spec = LinkSpec::new(Duration::from_millis(10), Some(8_000_000));
        let mut shaper = Shaper::new(spec, 0);
        // 1000 octets at 1 octet/us.
        assert_eq!(arrival(shaper.offer(0, 1000)), Some(11_000_000));
        assert_eq!(arrival(shaper.offer(0, 1000)), Some(12_000_000));
        assert_eq!(arrival(shaper.offer(5_000_000, 1000)), Some(16_000_000));
    }

    #[test]
    fn a_full_queue_drops_its_tail() {
        for queue in [Queue::Octets(3000), Queue::Packets(3)] {
            let spec = LinkSpec {
                queue,
                ..LinkSpec::new(Duration::ZERO, Some(8_000_000))
            };
            let mut shaper = Shaper::new(spec, 0);
            let fates: Vec<_> = (0..6).map(|_| shaper.offer(0, 1000)).collect();
            let passed = fates
                .iter()
                .filter(|fate| arrival(**fate).is_some())
                .count();
            // One octet bound counts the frame being sent, one does not.
            assert!((3..=4).contains(&passed), "{queue:?}: {passed}");
            assert_eq!(fates.last(), Some(&Fate::Lost(Loss::Tail)));
            assert!(arrival(shaper.offer(1_000_000_000, 1000)).is_some());
        }
    }

    #[test]
    fn dice_keep_to_their_probability_and_seed() {
        let spec = LinkSpec {
            loss: 0.1,
            seed: 7,
            ..LinkSpec::default()
        };
        let fates = |lane| {
            let mut shaper = Shaper::new(spec.clone(), lane);
            (0..10_000)
                .map(|_| arrival(shaper.offer(0, 60)).is_none())
                .collect::<Vec<_>>()
        };
        let lost = fates(0).iter().filter(|lost| **lost).count();
        assert!((850..1150).contains(&lost), "{lost} of 10000");
        assert_eq!(fates(0), fates(0));
        assert_ne!(fates(0), fates(1));
    }

    #[test]
    fn another_seed_begins_anew() {
        let spec = |seed| LinkSpec {
            loss: 0.5,
            seed,
            ..LinkSpec::default()
        };
        let fates = |shaper: &mut Shaper| (0..100).map(|_| shaper.offer(0, 60)).collect::<Vec<_>>();
        let mut shaper = Shaper::new(spec(1), 3);
        let first = fates(&mut shaper);
        shaper.set_spec(spec(1));
        assert_ne!(fates(&mut shaper), first);
        for seed in [2, 1] {
            shaper.set_spec(spec(seed));
        }
        assert_eq!(fates(&mut shaper), first);
    }

    #[test]
    fn a_held_back_frame_is_overtaken() {
        let spec = LinkSpec {
            reorder: 1.0,
            ..LinkSpec::default()
        };
        let mut shaper = Shaper::new(spec.clone(), 0);
        let late = arrival(shaper.offer(0, 60));
        shaper.set_spec(LinkSpec {
            reorder: 0.0,
            ..spec
        });
        assert!(late > arrival(shaper.offer(1, 60)));
    }
}
