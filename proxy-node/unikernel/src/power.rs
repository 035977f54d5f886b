//! The end of the machine.

use core::sync::atomic::{AtomicU8, Ordering};

use crate::boot::Host;
use crate::cpu::{self, Port};

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// As asked.
    Done,
    /// By a fault, or because it cannot do its work.
    Failed,
}

static HOST: AtomicU8 = AtomicU8::new(0);

/// Says who runs the image; before anything can fail.
pub(crate) fn set_host(host: Host) {
    let code = match host {
        Host::Plain => 0,
        Host::XenPvh => 1,
        Host::XenPv => 2,
    };
    HOST.store(code, Ordering::Relaxed);
}

/// Ends the machine. Works from anywhere, fault handlers too.
pub(crate) fn off(outcome: Outcome) -> ! {
    if HOST.load(Ordering::Relaxed) != 0 {
        crate::xen::shutdown(outcome);
    }
    // The process's exit status is twice this plus one.
    cpu::out8(
        Port::Exit,
        match outcome {
            Outcome::Done => 0,
            Outcome::Failed => 1,
        },
    );
    reset()
}

/// A reset is the one end that every monitor knows (QEMU: with `-no-reboot` it exits).
#[cfg(not(test))]
fn reset() -> ! {
    cpu::tables::triple_fault()
}

#[cfg(test)]
fn reset() -> ! {
    panic!("the machine is off")
}
