//! Deadlines of many connections: O(1) to set, O(1) to find the first.
//!
//! Six levels of 64 slots; a slot of level n spans 64^n ticks. A deadline sits at the level of the
//! highest bits in which it differs from now, and moves down as its time comes nearer.

use alloc::vec::Vec;
use core::time::Duration;

use crate::time::Instant;

/// A wheel that gives back `T` when its time has come.
#[derive(Debug)]
pub(crate) struct TimerWheel<T> {
    /// Ticks that have passed.
    elapsed: u64,
    len: usize,
    levels: [Level<T>; LEVELS],
}

#[derive(Debug)]
struct Level<T> {
    occupied: u64,
    slots: [Vec<(u64, T)>; SLOTS],
}

impl<T> TimerWheel<T> {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            elapsed: floor(now),
            len: 0,
            levels: core::array::from_fn(|_| Level {
                occupied: 0,
                slots: core::array::from_fn(|_| Vec::new()),
            }),
        }
    }

    /// When it would give back what is set for `at`: up to a millisecond later, never earlier.
    pub(crate) fn round(&self, at: Instant) -> Instant {
        begin(self.tick(at))
    }

    /// Gives `value` back at `at`, rounded.
    pub(crate) fn set(&mut self, at: Instant, value: T) {
        self.put(self.tick(at), value);
        self.len += 1;
    }

    /// How many wait.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Forgets those that `wanted` does not hold for; it is told their rounded time.
    pub(crate) fn retain(&mut self, mut wanted: impl FnMut(Instant, &T) -> bool) {
        self.len = 0;
        for level in &mut self.levels {
            for (number, slot) in level.slots.iter_mut().enumerate() {
                slot.retain(|(tick, value)| wanted(begin(*tick), value));
                slot.shrink_to_fit();
                self.len += slot.len();
                if slot.is_empty() {
                    level.occupied &= !(1 << number);
                }
            }
        }
    }

    fn tick(&self, at: Instant) -> u64 {
        ceil(at).max(self.elapsed + 1)
    }

    fn put(&mut self, tick: u64, value: T) {
        let differing = (tick ^ self.elapsed) | 1;
        let level = (differing.ilog2() / SLOT_BITS) as usize;
        let level = level.min(LEVELS - 1);
        let slot = slot_of(tick, level);
        if let Some(level) = self.levels.get_mut(level) {
            level.occupied |= 1 << slot;
            level.slots[slot].push((tick, value));
        }
    }

    /// When [`expired`](Self::expired) may have something: not later than the first deadline.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let (_, _, tick) = self.first()?;
        Some(begin(tick))
    }

    /// Hands over all whose time has come.
    pub(crate) fn expired(&mut self, now: Instant, out: &mut Vec<T>) {
        let now = floor(now);
        while let Some((level, slot, tick)) = self.first() {
            if tick > now {
                break;
            }
            self.elapsed = self.elapsed.max(tick);
            let Some(level) = self.levels.get_mut(level) else {
                break;
            };
            level.occupied &= !(1 << slot);
            for (tick, value) in core::mem::take(&mut level.slots[slot]) {
                if tick <= self.elapsed {
                    self.len -= 1;
                    out.push(value);
                } else {
                    self.put(tick, value);
                }
            }
        }
        self.elapsed = self.elapsed.max(now);
    }

    /// The first occupied slot and when its time begins.
    fn first(&self) -> Option<(usize, usize, u64)> {
        self.levels.iter().enumerate().find_map(|(number, level)| {
            if level.occupied == 0 {
                return None;
            }
            let shift = SLOT_BITS * u32::try_from(number).unwrap_or(0);
            let now_slot = slot_of(self.elapsed, number);
            let ahead = level
                .occupied
                .rotate_right(u32::try_from(now_slot).unwrap_or(0));
            let slot = (now_slot + ahead.trailing_zeros() as usize) % SLOTS;
            let round = self.elapsed >> (shift + SLOT_BITS) << (shift + SLOT_BITS);
            let mut tick = round + ((slot as u64) << shift);
            if slot < now_slot {
                // Only the top level reaches round the corner.
                tick += 1 << (shift + SLOT_BITS);
            }
            Some((number, slot, tick.max(self.elapsed)))
        })
    }
}

fn begin(tick: u64) -> Instant {
    Instant::from_micros(tick << TICK_BITS)
}

fn floor(at: Instant) -> u64 {
    at.as_micros() >> TICK_BITS
}

fn ceil(at: Instant) -> u64 {
    floor(at + Duration::from_micros((1 << TICK_BITS) - 1))
}

fn slot_of(tick: u64, level: usize) -> usize {
    let shift = SLOT_BITS * u32::try_from(level).unwrap_or(0);
    usize::try_from((tick >> shift) & (SLOTS as u64 - 1)).unwrap_or(0)
}

const LEVELS: usize = 6;
const SLOTS: usize = 64;
const SLOT_BITS: u32 = 6;
/// A tick is 1.024 ms.
const TICK_BITS: u32 = 10;

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;

    use super::*;

    quickcheck! {
        /// Against a sorted list.
        fn everything_comes_back_in_its_time(steps: Vec<(u32, bool)>) -> bool {
            let mut now = Instant::from_micros(12_345);
            let mut wheel = TimerWheel::new(now);
            let mut waiting: Vec<Instant> = Vec::new();
            for (by, set) in steps {
                let by = Duration::from_micros(u64::from(by) >> (by % 24));
                if set {
                    wheel.set(now + by, now + by);
                    waiting.push(now + by);
                } else {
                    now = now + by;
                    let mut out = Vec::new();
                    wheel.expired(now, &mut out);
                    if out.iter().any(|at| *at > now) {
                        return false;
                    }
                    for at in out {
                        let index = waiting.iter().position(|waits| *waits == at);
                        waiting.swap_remove(index.expect("set before"));
                    }
                    let late = Duration::from_micros(2 << TICK_BITS);
                    if waiting.iter().any(|at| *at + late < now) {
                        return false;
                    }
                }
                if wheel.len() != waiting.len() {
                    return false;
                }
                let first = waiting.iter().min();
                let told = wheel.next_deadline();
                if first.is_some() != told.is_some() {
                    return false;
                }
                if let (Some(first), Some(told)) = (first, told)
                    && told > *first + Duration::from_micros(2 << TICK_BITS)
                {
                    return false;
                }
            }
            true
        }
    }

    #[test]
    fn what_is_not_wanted_is_forgotten() {
        let now = Instant::from_micros(1 << 30);
        let mut wheel = TimerWheel::new(now);
        for n in 0..1000_u32 {
            wheel.set(now + Duration::from_millis(u64::from(n) * u64::from(n)), n);
        }
        let at = now + Duration::from_secs(10);
        let rounded = wheel.round(at);
        wheel.retain(|time, n| n % 2 == 0 && (*n != 100 || time == rounded));
        assert_eq!(wheel.len(), 500);
        let mut out = Vec::new();
        wheel.expired(now + Duration::from_secs(2000), &mut out);
        out.sort_unstable();
        assert!(out.into_iter().eq((0..1000).step_by(2)));
        assert_eq!((wheel.len(), wheel.next_deadline()), (0, None));
    }
}
