//! What went wrong, on the console; then the end.

use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::console::line;
use crate::cpu;
use crate::power::{self, Outcome};

// The prebuilt `alloc` was made to unwind and names the unwinder. Panics abort here, so nobody calls
// it; who does all the same, stops.
#[cfg(not(test))]
core::arch::global_asm!(
    ".global _Unwind_Resume",
    ".global rust_eh_personality",
    "_Unwind_Resume:",
    "rust_eh_personality:",
    "ud2",
);

/// Set by the first fault: a fault while reporting ends the machine at once.
static FAULTED: AtomicBool = AtomicBool::new(false);

/// The registers at a fault, as the stubs push them.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Registers {
    rax: u64,
    rbx: u64,
    rcx: u64,
    rdx: u64,
    rsi: u64,
    rdi: u64,
    rbp: u64,
    r8: u64,
    r9: u64,
    r10: u64,
    r11: u64,
    r12: u64,
    r13: u64,
    r14: u64,
    r15: u64,
    vector: u64,
    error: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

/// The names of exceptions.
fn name(vector: u64) -> &'static str {
    match vector {
        0 => "divide error",
        1 => "debug",
        2 => "non-maskable interrupt",
        3 => "breakpoint",
        6 => "invalid instruction",
        7 => "no numeric unit",
        8 => "double fault",
        10 => "invalid task state",
        11 => "segment not present",
        12 => "stack segment",
        13 => "general protection",
        14 => "page fault",
        16 | 19 => "numeric error",
        17 => "alignment",
        18 => "machine check",
        _ => "exception",
    }
}

fn begin() {
    if FAULTED.swap(true, Ordering::Relaxed) {
        power::off(Outcome::Failed);
    }
}

/// Where an exception ends up.
pub(crate) extern "C" fn report(at: &Registers) -> ! {
    begin();
    line!(
        "synhop: fault: {} ({}), error {:#x}, at {:#x}, address {:#x}",
        name(at.vector),
        at.vector,
        at.error,
        at.rip,
        cpu::fault_address(),
    );
    line!(
        "  rax {:016x} rbx {:016x} rcx {:016x} rdx {:016x}",
        at.rax,
        at.rbx,
        at.rcx,
        at.rdx
    );
    line!(
        "  rsi {:016x} rdi {:016x} rbp {:016x} rsp {:016x}",
        at.rsi,
        at.rdi,
        at.rbp,
        at.rsp
    );
    line!(
        "  r8  {:016x} r9  {:016x} r10 {:016x} r11 {:016x}",
        at.r8,
        at.r9,
        at.r10,
        at.r11
    );
    line!(
        "  r12 {:016x} r13 {:016x} r14 {:016x} r15 {:016x}",
        at.r12,
        at.r13,
        at.r14,
        at.r15
    );
    line!("  rflags {:#x} cs {:#x} ss {:#x}", at.rflags, at.cs, at.ss);
    power::off(Outcome::Failed)
}

/// Where a panic ends up.
pub fn panicked(info: &PanicInfo<'_>) -> ! {
    begin();
    line!("synhop: {info}");
    power::off(Outcome::Failed)
}

/// Makes a fault on purpose, for the test of the report: the word `fault=` of the command line.
pub(crate) fn provoke(kind: &str) {
    match kind {
        "panic" => panic!("asked for by the command line"),
        "null" => {
            let nowhere = core::ptr::with_exposed_provenance::<u8>(core::hint::black_box(8));
            // SAFETY: none; it is what the word asks for. The page is not mapped: the processor
            // faults, and the handler does not return.
            unsafe { nowhere.read_volatile() };
        }
        "stack" => {
            line!("{}", overflow(core::hint::black_box(1)));
        }
        _ => line!("synhop: fault={kind}: panic, null or stack"),
    }
}

/// Uses the stack up.
#[expect(unconditional_recursion, reason = "that is what it is for")]
fn overflow(depth: u64) -> u64 {
    let frame = core::hint::black_box([depth; 64]);
    overflow(frame[3] + 1) + frame[5]
}
