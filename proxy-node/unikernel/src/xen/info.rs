//! The shared info page: which event channels are pending, and Xen's clock.

use core::sync::atomic::Ordering;

use super::{host, hypercall};
use crate::clock::Scale;
use crate::cpu;

/// Offsets in the page (64-bit guest, first virtual processor).
mod offset {
    pub(super) const TIME_VERSION: usize = 32;
    pub(super) const TIME_TSC: usize = 40;
    pub(super) const TIME_SYSTEM: usize = 48;
    pub(super) const TIME_MULTIPLIER: usize = 56;
    pub(super) const TIME_SHIFT: usize = 60;
    pub(super) const PENDING: usize = 2048;
    pub(super) const MASK: usize = 2560;
}

/// Event channels that a guest can have.
const PORTS: u32 = 4096;

/// Masks every event channel: nothing is to interrupt, `hypercall::poll` looks at what is pending.
pub(super) fn mask_all() {
    let page = host::info();
    for word in 0..(PORTS / 32) as usize {
        page.word(offset::MASK + word * 4)
            .store(u32::MAX, Ordering::Relaxed);
    }
}

/// Takes the event of `port`: whether it was pending.
pub(super) fn take(port: u32) -> bool {
    let word = (port % PORTS / 32) as usize;
    let bit = 1 << (port % 32);
    let word = host::info().word(offset::PENDING + word * 4);
    // Most calls find nothing: a load leaves the cache line shared.
    word.load(Ordering::Acquire) & bit != 0 && word.fetch_and(!bit, Ordering::AcqRel) & bit != 0
}

/// Looks this often for Xen's clock.
const LOOKS_MOST: u32 = 1_000;

/// Waits until Xen shows its clock, which it does when it lets this processor run; false if it does
/// not. Without it each sleep would be over at once.
pub(super) fn await_time() -> bool {
    (0..LOOKS_MOST).any(|_| {
        let known = scale().mul != 0;
        if !known {
            hypercall::give_way();
        }
        known
    })
}

/// How Xen's system time follows from the time-stamp counter.
pub(super) fn scale() -> Scale {
    let page = host::info();
    let word = |offset| page.word(offset).load(Ordering::Acquire);
    let long = |offset| u64::from(word(offset)) | (u64::from(word(offset + 4)) << 32);
    loop {
        let version = word(offset::TIME_VERSION);
        let [shift, ..] = word(offset::TIME_SHIFT).to_le_bytes();
        let scale = Scale {
            tsc_base: long(offset::TIME_TSC),
            nanos_base: long(offset::TIME_SYSTEM),
            mul: word(offset::TIME_MULTIPLIER),
            shift: shift.cast_signed(),
        };
        // Odd while Xen writes, and another one afterwards. This processor's own scale is only
        // written while it does not run, so there is no waiting here.
        if version.is_multiple_of(2) && version == word(offset::TIME_VERSION) {
            return scale;
        }
    }
}

/// Xen's system time, in ns.
pub(super) fn system_nanos() -> u64 {
    scale().nanos(cpu::time_stamp())
}

/// Sleeps until one of `ports` is pending or the system time is `until`, in ns. May return early.
pub(super) fn sleep(ports: &[u32], until: Option<u64>) {
    // 0 would mean no timeout.
    let timeout = until.map_or(0, |nanos| nanos.max(1));
    let _early = hypercall::poll(ports, timeout);
}
