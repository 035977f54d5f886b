//! The processor's instructions that have no name in Rust, behind functions that are safe to call.

pub(crate) mod apic;
#[cfg(not(test))]
pub(crate) mod tables;

use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count, _rdtsc, CpuidResult};

/// The I/O ports that the image uses. None of them gives a device access to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Port {
    /// What is written here appears on the monitor's debug console, if it has one.
    Debug = 0xe9,
    /// QEMU's `isa-debug-exit`: ends the process.
    Exit = 0xf4,
    /// First serial port: data.
    SerialData = 0x3f8,
    /// Interrupts enabled.
    SerialInterrupts = 0x3f9,
    /// FIFO control.
    SerialFifo = 0x3fa,
    /// Line control.
    SerialLine = 0x3fb,
    /// Modem control.
    SerialModem = 0x3fc,
    /// Line status.
    SerialStatus = 0x3fd,
}

/// Writes an octet to a port.
pub(crate) fn out8(port: Port, value: u8) {
    // SAFETY: by what `Port` lists, the write has no effect on memory.
    unsafe {
        asm!("out dx, al", in("dx") port as u16, in("al") value, options(nomem, nostack, preserves_flags));
    }
}

/// Reads an octet from a port.
pub(crate) fn in8(port: Port) -> u8 {
    let value;
    // SAFETY: by what `Port` lists, the read has no effect on memory.
    unsafe {
        asm!("in al, dx", in("dx") port as u16, out("al") value, options(nomem, nostack, preserves_flags));
    }
    value
}

/// The time-stamp counter.
pub(crate) fn time_stamp() -> u64 {
    // SAFETY: every 64-bit processor has it, and nobody turned it off for ring 0.
    unsafe { _rdtsc() }
}

/// What the processor says of itself.
pub(crate) fn identify(leaf: u32) -> CpuidResult {
    __cpuid(leaf)
}

/// What the processor says of itself, where there are several parts to the answer.
pub(crate) fn identify_part(leaf: u32, part: u32) -> CpuidResult {
    __cpuid_count(leaf, part)
}

/// The hypervisor's first leaf if its signature is `signature`. Xen's may be moved up.
pub(crate) fn hypervisor_base(signature: [u8; 12]) -> Option<u32> {
    let present = identify(1).ecx & (1 << 31) != 0;
    let matches = |&leaf: &u32| {
        let answer = identify(leaf);
        let mut name = [0; 12];
        let words = [answer.ebx, answer.ecx, answer.edx];
        for (part, word) in name.chunks_exact_mut(4).zip(words) {
            part.copy_from_slice(&word.to_le_bytes());
        }
        name == signature
    };
    (0x4000_0000..0x4001_0000)
        .step_by(0x100)
        .take_while(|_| present)
        .find(matches)
}

/// Xen's first leaf, if it runs this machine.
pub(crate) fn xen_base() -> Option<u32> {
    hypervisor_base(*b"XenVMMXenVMM")
}

/// A random number from the processor, if it has a source of them that works.
pub(crate) fn random() -> Option<u64> {
    if identify(1).ecx & (1 << 30) == 0 {
        return None;
    }
    // The manual's advice: a source that fails ten times in a row is broken.
    (0..10).find_map(|_| {
        let value: u64;
        let good: u8;
        // SAFETY: the processor says that it has the instruction, which touches no memory.
        unsafe {
            asm!("rdrand {value}", "setc {good}", value = out(reg) value, good = out(reg_byte) good,
                options(nomem, nostack));
        }
        (good != 0).then_some(value)
    })
}

/// Writes a model-specific register.
///
/// # Safety
/// The processor must have the register, this must be ring 0, and what the value makes the
/// processor do must be sound.
pub(crate) unsafe fn write_msr(register: u32, value: u64) {
    #[expect(clippy::cast_possible_truncation, reason = "the low half")]
    let low = value as u32;
    let high = (value >> 32) as u32;
    // SAFETY: the caller's contract.
    unsafe {
        asm!("wrmsr", in("ecx") register, in("eax") low, in("edx") high,
            options(nostack, preserves_flags));
    }
}

/// Lets the sibling thread, or the host, know that this is a loop that waits.
pub(crate) fn relax() {
    core::hint::spin_loop();
}

/// Forgets all cached address translations.
#[cfg(not(test))]
pub(crate) fn flush_translations() {
    // SAFETY: the same tables again; only what was cached of them goes.
    unsafe {
        asm!("mov {table}, cr3", "mov cr3, {table}", table = out(reg) _, options(nostack, preserves_flags));
    }
}

/// Sleeps until an interrupt. Interrupts are on in here and nowhere else.
///
/// Their handlers only acknowledge. They use the current stack: this is a block of assembly that
/// may push, so the compiler keeps nothing below the stack pointer here (no red zone).
#[cfg(not(test))]
pub(crate) fn sleep() {
    // SAFETY: the handlers of `tables` leave all registers and the stack above as they were.
    // An interrupt that came before `sti` is held until `hlt` begins: none is missed.
    unsafe {
        asm!("sti", "hlt", "cli");
    }
}

/// The host's tests have no interrupts.
#[cfg(test)]
pub(crate) fn sleep() {
    relax();
}

/// The address of the last page fault.
pub(crate) fn fault_address() -> u64 {
    let address;
    // SAFETY: ring 0 may read it.
    unsafe {
        asm!("mov {address}, cr2", address = out(reg) address, options(nomem, nostack, preserves_flags));
    }
    address
}
