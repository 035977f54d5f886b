//! Descriptor tables: segments, the task state with the fault stack, interrupt gates.

use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;

use super::apic::{DEVICE_VECTOR, SPURIOUS_VECTOR, TIMER_VECTOR};
use crate::fault;
use crate::memory::symbol;

const CODE: u16 = 0x08;
const TASK: u16 = 0x18;
const VECTORS: usize = 256;
const EXCEPTIONS: usize = 32;

// Exceptions: all come to `fault_common` with their number and an error code (0 where the processor
// pushes none) on the fault stack. They never return.
//
// Interrupts: acknowledged, no more. What they were about is found by looking.
global_asm!(
    r#"
    .section .text.fault, "ax"
    .balign 16
    .global fault_stubs
    fault_stubs:
    .set vector, 0
    .rept 32
        .balign 16
        .if vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30
        .else
            pushq $0
        .endif
        pushq $vector
        jmp fault_common
        .set vector, vector + 1
    .endr

    fault_common:
    pushq %r15
    pushq %r14
    pushq %r13
    pushq %r12
    pushq %r11
    pushq %r10
    pushq %r9
    pushq %r8
    pushq %rbp
    pushq %rdi
    pushq %rsi
    pushq %rdx
    pushq %rcx
    pushq %rbx
    pushq %rax
    cld
    movq %rsp, %rdi
    andq $-16, %rsp
    call {report}
    ud2

    .global acknowledge_interrupt
    acknowledge_interrupt:
    pushq %rax
    movl $0xfee000b0, %eax
    movl $0, (%rax)
    popq %rax
    .global ignore_interrupt
    ignore_interrupt:
    iretq
    "#,
    report = sym fault::report,
    options(att_syntax),
);

unsafe extern "C" {
    safe static fault_stubs: [u8; 16 * EXCEPTIONS];
    safe static acknowledge_interrupt: u8;
    safe static ignore_interrupt: u8;
}

/// An interrupt gate.
#[repr(C)]
#[derive(Clone, Copy)]
struct Gate {
    low: u64,
    high: u64,
}

impl Gate {
    const NONE: Self = Self { low: 0, high: 0 };

    /// To `address`, interrupts off, on the stack number `stack` of the task state (0: the current).
    const fn to(address: u64, stack: u64) -> Self {
        Self {
            low: (address & 0xffff)
                | (CODE as u64) << 16
                | stack << 32
                | 0x8e << 40
                | (address >> 16 & 0xffff) << 48,
            high: address >> 32,
        }
    }
}

/// The task state: only its first interrupt stack is used.
#[repr(C, packed(4))]
struct Task {
    reserved: u32,
    stacks: [u64; 3],
    reserved_too: u64,
    interrupt_stacks: [u64; 7],
    reserved_as_well: u64,
    reserved_last: u16,
    port_map: u16,
}

const _: () = assert!(size_of::<Task>() == 104);

/// What the processor reads by address from now on.
struct Tables {
    segments: [u64; 5],
    task: Task,
    gates: [Gate; VECTORS],
}

struct Shared(UnsafeCell<Tables>);

// SAFETY: one processor; written in `load` alone, before any interrupt.
unsafe impl Sync for Shared {}

static TABLES: Shared = Shared(UnsafeCell::new(Tables {
    segments: [0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff, 0, 0],
    task: Task {
        reserved: 0,
        stacks: [0; 3],
        reserved_too: 0,
        interrupt_stacks: [0; 7],
        reserved_as_well: 0,
        reserved_last: 0,
        // Past the end: no port map.
        port_map: 104,
    },
    gates: [Gate::NONE; VECTORS],
}));

/// What `lgdt` and `lidt` read.
#[repr(C, packed(2))]
struct Pointer {
    last: u16,
    address: u64,
}

impl Pointer {
    fn to<T>(table: &T) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "both tables are below 64 KiB"
        )]
        let last = (size_of::<T>() - 1) as u16;
        Self {
            last,
            address: (&raw const *table).expose_provenance() as u64,
        }
    }
}

fn address_of<T>(thing: &T) -> u64 {
    (&raw const *thing).expose_provenance() as u64
}

/// Fills the tables and loads them. Once, early, in ring 0.
pub(crate) fn load() {
    // SAFETY: called once, by the one processor, while nothing reads the tables.
    let tables = unsafe { &mut *TABLES.0.get() };
    tables.task.interrupt_stacks = [symbol::fault_stack_top() as u64, 0, 0, 0, 0, 0, 0];
    let task = address_of(&tables.task);
    tables.segments[3] = (size_of::<Task>() as u64 - 1)
        | (task & 0xff_ffff) << 16
        | 0x89 << 40
        | (task >> 24 & 0xff) << 56;
    tables.segments[4] = task >> 32;
    for (gate, stub) in tables.gates.iter_mut().zip(fault_stubs.chunks_exact(16)) {
        *gate = Gate::to(address_of(&stub[0]), 1);
    }
    for vector in [TIMER_VECTOR, DEVICE_VECTOR] {
        tables.gates[usize::from(vector)] = Gate::to(address_of(&acknowledge_interrupt), 0);
    }
    tables.gates[usize::from(SPURIOUS_VECTOR)] = Gate::to(address_of(&ignore_interrupt), 0);

    let segments = Pointer::to(&tables.segments);
    // SAFETY: a table with the same code and data segments as the entry's, that stays.
    unsafe { asm!("lgdt [{}]", in(reg) &raw const segments, options(readonly, nostack)) };
    // SAFETY: the segment describes the task state, which stays.
    unsafe { asm!("ltr {:x}", in(reg) TASK, options(nostack)) };
    let gates = Pointer::to(&tables.gates);
    // SAFETY: gates to code that stays.
    unsafe { asm!("lidt [{}]", in(reg) &raw const gates, options(readonly, nostack)) };
}

/// Ends the machine by a fault that cannot be delivered.
pub(crate) fn triple_fault() -> ! {
    let nothing = Pointer {
        last: 0,
        address: 0,
    };
    // SAFETY: nothing runs after this.
    unsafe { asm!("lidt [{}]", "ud2", in(reg) &raw const nothing, options(noreturn)) };
}
