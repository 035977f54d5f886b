//! The local interrupt controller (for its timer) and the first I/O interrupt controller.

use core::ptr::{read_volatile, with_exposed_provenance_mut, write_volatile};

/// Vector of the timer.
pub(crate) const TIMER_VECTOR: u8 = 0x20;
/// Vector of all devices.
pub(crate) const DEVICE_VECTOR: u8 = 0x21;
/// Vector of what the controller takes back.
pub(crate) const SPURIOUS_VECTOR: u8 = 0xff;

/// Where the local controller answers after a reset.
const LOCAL: usize = 0xfee0_0000;
/// Where the I/O controller of a PC is.
const IO: usize = 0xfec0_0000;

/// The local controller's registers.
#[derive(Clone, Copy)]
#[repr(usize)]
enum Local {
    Spurious = 0xf0,
    Timer = 0x320,
    TimerStart = 0x380,
    TimerNow = 0x390,
    TimerDivide = 0x3e0,
}

/// Ticks of the timer's counter a second. QEMU, KVM and what follows them emulate a bus of 1 GHz;
/// the divider is 1.
pub(crate) const TICKS_PER_SECOND: u64 = 1_000_000_000;

/// Lines of the I/O controller.
const LINES: u32 = 24;

/// Both controllers, taken over.
#[derive(Debug)]
pub(crate) struct Apic(());

impl Apic {
    /// Switches the local controller on; masks all lines of the I/O controller.
    ///
    /// # Safety
    /// Ring 0 with the PVH entry's page tables and descriptor tables; only once.
    pub(crate) unsafe fn take() -> Self {
        let apic = Self(());
        apic.set(Local::Spurious, 0x100 | u32::from(SPURIOUS_VECTOR));
        apic.set(Local::TimerDivide, 0b1011);
        apic.set(Local::Timer, u32::from(TIMER_VECTOR));
        for line in 0..LINES {
            apic.set_line(line, 1 << 16);
        }
        apic
    }

    /// Lets `line` interrupt, on its edge from low to high.
    pub(crate) fn enable_line(&self, line: u32) {
        if line < LINES {
            self.set_line(line, u32::from(DEVICE_VECTOR));
        }
    }

    /// Starts the timer: it interrupts once after `ticks`. Zero stops it.
    pub(crate) fn start_timer(&self, ticks: u32) {
        self.set(Local::TimerStart, ticks);
    }

    /// The ticks that are left of the timer.
    #[expect(clippy::unused_self, reason = "proof that the controllers are there")]
    pub(crate) fn timer(&self) -> u32 {
        let address = LOCAL + Local::TimerNow as usize;
        // SAFETY: `take` was promised that the controller is there and mapped.
        unsafe { read_volatile(with_exposed_provenance_mut(address)) }
    }

    #[expect(clippy::unused_self, reason = "proof that the controllers are there")]
    fn set(&self, register: Local, value: u32) {
        let address = LOCAL + register as usize;
        // SAFETY: `take` was promised that the controller is there and mapped; no register that
        // `Local` lists gives it access to memory.
        unsafe { write_volatile(with_exposed_provenance_mut(address), value) };
    }

    /// Redirects `line` to this processor (number 0).
    fn set_line(&self, line: u32, entry: u32) {
        self.set_io(0x10 + 2 * line + 1, 0);
        self.set_io(0x10 + 2 * line, entry);
    }

    #[expect(clippy::unused_self, reason = "proof that the controllers are there")]
    fn set_io(&self, index: u32, value: u32) {
        // SAFETY: as in `set`.
        unsafe { write_volatile(with_exposed_provenance_mut(IO), index) };
        // SAFETY: as in `set`.
        unsafe { write_volatile(with_exposed_provenance_mut(IO + 0x10), value) };
    }
}
