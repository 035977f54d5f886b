//! Time from the time-stamp counter.

use core::cell::Cell;

use synhop_stack::Instant;

use crate::cpu;
use crate::cpu::apic::{Apic, TICKS_PER_SECOND};

/// How ticks of the counter become nanoseconds, in the form that Xen and KVM give it:
/// `nanos = nanos_base + ((ticks - tsc_base) << shift) * mul / 2^32`, a negative shift to the right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scale {
    /// The counter at `nanos_base`.
    pub(crate) tsc_base: u64,
    /// Nanoseconds at `tsc_base`.
    pub(crate) nanos_base: u64,
    /// Nanoseconds a shifted tick, in 2^-32.
    pub(crate) mul: u32,
    /// By how much a difference of ticks is shifted before.
    pub(crate) shift: i8,
}

impl Scale {
    /// For a counter of `hertz` ticks a second; `None` for a frequency that no counter has.
    pub(crate) fn from_hertz(hertz: u64) -> Option<Self> {
        if !(1_000_000..=100_000_000_000).contains(&hertz) {
            return None;
        }
        // The largest shift for which the multiplier still fits: the most precise one.
        (-32_i8..32).find_map(|shift| {
            let nanos = (1_000_000_000_u128 << 64) / u128::from(hertz);
            let mul = u32::try_from(nanos >> (32 + i32::from(shift))).ok()?;
            Some(Self {
                tsc_base: 0,
                nanos_base: 0,
                mul,
                shift,
            })
        })
    }

    fn scaled(&self, ticks: u64) -> u64 {
        let ticks = u128::from(ticks);
        let shifted = if self.shift < 0 {
            ticks >> self.shift.unsigned_abs()
        } else {
            ticks << self.shift.unsigned_abs()
        };
        let nanos = (shifted * u128::from(self.mul)) >> 32;
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }

    /// The nanoseconds at `tsc`.
    pub(crate) fn nanos(&self, tsc: u64) -> u64 {
        if tsc >= self.tsc_base {
            let since = self.scaled(tsc - self.tsc_base);
            self.nanos_base.saturating_add(since)
        } else {
            let before = self.scaled(self.tsc_base - tsc);
            self.nanos_base.saturating_sub(before)
        }
    }
}

/// A clock that starts at the image's entry.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    scale: Scale,
    origin: u64,
    /// The latest time that was told.
    last: Cell<Instant>,
}

impl Clock {
    /// With a given scale; `entered` is the counter at the entry.
    pub(crate) fn new(scale: Scale, entered: u64) -> Self {
        Self {
            origin: scale.nanos(entered),
            scale,
            last: Cell::new(Instant::ZERO),
        }
    }

    /// The time since the entry. It never goes back, even if the counters of the host's processors
    /// differ.
    pub(crate) fn now(&self) -> Instant {
        let now = self.at(cpu::time_stamp()).max(self.last.get());
        self.last.set(now);
        now
    }

    /// The time since the entry at a value of the counter.
    pub(crate) fn at(&self, tsc: u64) -> Instant {
        Instant::from_micros(self.scale.nanos(tsc).saturating_sub(self.origin) / 1000)
    }
}

/// Where the counter's frequency is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The word `tsc-khz=` of the command line.
    CommandLine,
    /// The hypervisor's timing leaf.
    Hypervisor,
    /// The processor's crystal leaf.
    Processor,
    /// Measured against the local interrupt controller's timer.
    Measured,
}

/// The counter's frequency in hertz, from the best source there is.
pub(crate) fn frequency(given_khz: Option<u64>, apic: &Apic) -> (u64, Source) {
    if let Some(khz) = given_khz {
        return (khz.saturating_mul(1000), Source::CommandLine);
    }
    told_by_hypervisor()
        .map(|hertz| (hertz, Source::Hypervisor))
        .or_else(|| told_by_processor().map(|hertz| (hertz, Source::Processor)))
        .unwrap_or_else(|| (measured(apic), Source::Measured))
}

/// Leaf 0x40000010 (`VMware`'s; KVM and QEMU have it as `vmware-cpuid-freq`): kilohertz.
fn told_by_hypervisor() -> Option<u64> {
    let present = cpu::identify(1).ecx & (1 << 31) != 0;
    let last = present.then(|| cpu::identify(0x4000_0000).eax)?;
    if !(0x4000_0010..0x4001_0000).contains(&last) {
        return None;
    }
    let khz = cpu::identify(0x4000_0010).eax;
    (khz != 0).then(|| u64::from(khz) * 1000)
}

/// Leaf 0x15: the crystal's hertz and the counter's ratio to it.
fn told_by_processor() -> Option<u64> {
    if cpu::identify(0).eax < 0x15 {
        return None;
    }
    let leaf = cpu::identify_part(0x15, 0);
    let hertz = u64::from(leaf.ecx) * u64::from(leaf.ebx) / u64::from(leaf.eax).max(1);
    (leaf.eax != 0 && hertz != 0).then_some(hertz)
}

/// How long is measured, in ticks of the timer: 1 ms. The readings' spread is well below 1 us.
const MEASURE_TICKS: u32 = 1_000_000;

/// Counts the counter's ticks while the timer runs.
fn measured(apic: &Apic) -> u64 {
    apic.start_timer(u32::MAX);
    let (first_tsc, first_timer) = together(apic);
    let (last_tsc, last_timer) = loop {
        let (tsc, timer) = together(apic);
        if first_timer.wrapping_sub(timer) >= MEASURE_TICKS {
            break (tsc, timer);
        }
        cpu::relax();
    };
    apic.start_timer(0);
    let ticks = u64::from(first_timer.wrapping_sub(last_timer)).max(1);
    let counted = u128::from(last_tsc.wrapping_sub(first_tsc));
    u64::try_from(counted * u128::from(TICKS_PER_SECOND) / u128::from(ticks)).unwrap_or(u64::MAX)
}

/// The counter and the timer at one moment: of a few readings the one that took the shortest.
fn together(apic: &Apic) -> (u64, u32) {
    let reading = || {
        let before = cpu::time_stamp();
        let timer = apic.timer();
        let took = cpu::time_stamp().wrapping_sub(before);
        (took, before.wrapping_add(took / 2), timer)
    };
    let first = reading();
    let (_, tsc, timer) =
        (0..8).map(|_| reading()).fold(
            first,
            |best, next| if next.0 < best.0 { next } else { best },
        );
    (tsc, timer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_is_precise() {
        for hertz in [
            1_000_000,
            999_999_999,
            1_000_000_000,
            2_445_407_000,
            5_000_000_000,
        ] {
            let scale = Scale::from_hertz(hertz).expect("a usual frequency");
            let hour = scale.nanos(hertz * 3600);
            assert!(hour.abs_diff(3_600_000_000_000) < 10_000, "{hertz}: {hour}");
        }
        assert_eq!(Scale::from_hertz(0), None);
    }

    #[test]
    fn time_begins_at_the_entry() {
        let scale = Scale {
            tsc_base: 10_000,
            nanos_base: 5_000_000,
            mul: 1 << 31,
            shift: 1,
        };
        let clock = Clock::new(scale, 4_000);
        assert_eq!(clock.at(4_000), Instant::ZERO);
        assert_eq!(clock.at(14_000), Instant::from_micros(10));
        assert_eq!(clock.at(0), Instant::ZERO);
    }
}
