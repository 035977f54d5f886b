//! Text for whoever runs the machine.

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicPtr, AtomicU8, Ordering};

use crate::boot::Host;
use crate::cpu::{self, Port};

/// Something that takes text.
pub(crate) type Ring = fn(&[u8]);

static PORTS: AtomicU8 = AtomicU8::new(0);
const DEBUG: u8 = 1;
const SERIAL: u8 = 2;

/// A ring in place of the ports; null: none.
static RING: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// Spins at most this often for room in the serial port.
const SPINS_MOST: u32 = 100_000;

/// Line status: an octet has come in.
const RECEIVED: u8 = 1;
/// Line status: room for an octet.
const ROOM: u8 = 1 << 5;

/// Chooses the ports that there are on such a host.
pub(crate) fn set_host(host: Host) {
    let ports = match host {
        Host::Plain => {
            // The debug port reads as its own number where it is there.
            let debug = cpu::in8(Port::Debug) == 0xe9;
            let serial = cpu::in8(Port::SerialStatus) != 0xff;
            if serial {
                set_up_serial();
            }
            (u8::from(debug) * DEBUG) | (u8::from(serial) * SERIAL)
        }
        Host::XenPvh => DEBUG,
        Host::XenPv => 0,
    };
    PORTS.store(ports, Ordering::Relaxed);
}

/// 8 bits, no parity, FIFOs on, no interrupts; the speed stays as the monitor has it.
fn set_up_serial() {
    cpu::out8(Port::SerialLine, 0x03);
    cpu::out8(Port::SerialInterrupts, 0x00);
    cpu::out8(Port::SerialFifo, 0x07);
    cpu::out8(Port::SerialModem, 0x0b);
}

/// Lets the serial port interrupt when an octet comes in.
pub(crate) fn enable_serial_interrupt() {
    if PORTS.load(Ordering::Relaxed) & SERIAL != 0 {
        cpu::out8(Port::SerialInterrupts, 0x01);
    }
}

/// An octet that has come in from the serial port.
pub(crate) fn read() -> Option<u8> {
    let there =
        PORTS.load(Ordering::Relaxed) & SERIAL != 0 && cpu::in8(Port::SerialStatus) & RECEIVED != 0;
    there.then(|| cpu::in8(Port::SerialData))
}

/// From now on text goes to this ring and to no port: each octet to a port ends in the hypervisor.
pub(crate) fn set_ring(ring: Ring) {
    PORTS.store(0, Ordering::Relaxed);
    RING.store(ring as *mut (), Ordering::Relaxed);
}

/// Writes text everywhere.
struct Everywhere;

impl Write for Everywhere {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write(text.as_bytes());
        Ok(())
    }
}

/// Writes octets everywhere.
pub(crate) fn write(text: &[u8]) {
    let ports = PORTS.load(Ordering::Relaxed);
    for &octet in text {
        if ports & DEBUG != 0 {
            cpu::out8(Port::Debug, octet);
        }
        if ports & SERIAL != 0 {
            write_serial(octet);
        }
    }
    let ring = RING.load(Ordering::Relaxed);
    if !ring.is_null() {
        // SAFETY: only `set_ring` stores here, and it stores a `Ring`.
        let ring: Ring = unsafe { core::mem::transmute(ring) };
        ring(text);
    }
}

fn write_serial(octet: u8) {
    for _ in 0..SPINS_MOST {
        if cpu::in8(Port::SerialStatus) & ROOM != 0 {
            cpu::out8(Port::SerialData, octet);
            return;
        }
        cpu::relax();
    }
}

/// Writes a line; use [`line!`].
pub(crate) fn write_line(text: fmt::Arguments<'_>) {
    // Writing everywhere cannot fail; a `Display` that fails has written what it could.
    let _written = Everywhere.write_fmt(text);
    let _written = Everywhere.write_str("\n");
}

/// Writes a line to the console: the arguments of `format!`.
macro_rules! line {
    ($($argument:tt)*) => {
        $crate::console::write_line(format_args!($($argument)*))
    };
}
pub(crate) use line;
