//! The entry of the PVH boot protocol: 32-bit protected mode, no paging, no stack.

use core::arch::global_asm;

use super::{Boot, Host, start_info};
use crate::{console, cpu, power};

// `.note.Xen`: XEN_ELFNOTE_PHYS32_ENTRY (18) names the entry, in 8 octets.
//
// The page tables map the first 4 GiB at their physical addresses: the first 4 MiB, where the image
// lies, in pages of 4 KiB (so that `protect` can give each its rights), the rest in pages of 2 MiB,
// the last GiB uncached, as devices live there.
global_asm!(
    r#"
    .section .note.Xen, "a", @note
    .balign 4
    .long 4
    .long 8
    .long 18
    .asciz "Xen"
    .quad pvh_start
    .balign 4

    .section .bss.page_tables, "aw", @nobits
    .balign 4096
    .global boot_pml4
    boot_pml4: .skip 4096
    boot_pdpt: .skip 4096
    .global boot_directories
    boot_directories: .skip 4 * 4096
    .global boot_first_tables
    boot_first_tables: .skip 2 * 4096

    .section .rodata.boot_gdt, "a"
    .balign 8
    boot_gdt:
    .quad 0
    .quad 0x00af9a000000ffff        # 0x08: 64-bit code
    .quad 0x00cf92000000ffff        # 0x10: data
    boot_gdt_end:
    boot_gdt_pointer:
    .word boot_gdt_end - boot_gdt - 1
    .long boot_gdt

    .section .text.entry, "ax", @progbits
    .code32
    .global pvh_start
    pvh_start:
    cld
    rdtsc
    movl %eax, %ebp                 # ebp, esi: the counter. ebx: start_info.
    movl %edx, %esi

    movl $__bss_start, %edi
    movl $__bss_end, %ecx
    subl %edi, %ecx
    shrl $2, %ecx
    xorl %eax, %eax
    rep stosl

    movl $boot_pdpt + 3, boot_pml4
    movl $boot_directories + 3, %eax
    xorl %ecx, %ecx
2:  movl %eax, boot_pdpt(,%ecx,8)
    addl $4096, %eax
    incl %ecx
    cmpl $4, %ecx
    jne 2b

    movl $0x83, %eax                # present, writable, 2 MiB
    xorl %ecx, %ecx
2:  cmpl $1536, %ecx
    jne 3f
    orl $0x18, %eax                 # uncached from 3 GiB on
3:  movl %eax, boot_directories(,%ecx,8)
    addl $0x200000, %eax
    incl %ecx
    cmpl $2048, %ecx
    jne 2b

    movl $3, %eax                   # present, writable, 4 KiB
    xorl %ecx, %ecx
2:  movl %eax, boot_first_tables(,%ecx,8)
    addl $4096, %eax
    incl %ecx
    cmpl $1024, %ecx
    jne 2b
    movl $boot_first_tables + 3, boot_directories
    movl $boot_first_tables + 4096 + 3, boot_directories + 8

    movl %cr4, %eax
    orl $0x620, %eax                # PAE, OSFXSR, OSXMMEXCPT
    movl %eax, %cr4
    movl $boot_pml4, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx
    rdmsr
    orl $0x900, %eax                # long mode, no-execute
    wrmsr
    movl %cr0, %eax
    andl $0x9ffffff3, %eax          # caches on, no emulation, no task switched
    orl $0x80010023, %eax           # paging, write protection, numeric errors, monitor, protected
    movl %eax, %cr0
    lgdt boot_gdt_pointer
    ljmp $8, $2f

    .code64
2:  movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    movl $__stack_top, %esp
    movl %ebx, %edi
    shlq $32, %rsi
    movl %ebp, %eax
    orq %rax, %rsi
    xorl %ebp, %ebp
    call {main}
    ud2
    "#,
    main = sym pvh_main,
    options(att_syntax),
);

/// The first Rust code: `address` is where the loader put its `start_info`.
extern "C" fn pvh_main(address: u64, entered: u64) -> ! {
    let host = if cpu::xen_base().is_some() {
        Host::XenPvh
    } else {
        Host::Plain
    };
    power::set_host(host);
    console::set_host(host);
    cpu::tables::load();
    // An address of 32 bits: it came in %ebx.
    #[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits here")]
    let start = core::ptr::with_exposed_provenance(address as usize);
    // SAFETY: the entry passes on what the loader gave, all of the first 4 GiB is mapped at its
    // physical address, and nothing but the image's own memory was written so far.
    let Some((memory, command_line)) = (unsafe { start_info::copy(start) }) else {
        console::line!("synhop: started by no PVH loader");
        power::off(power::Outcome::Failed);
    };
    super::protect();
    crate::start(&Boot {
        host,
        memory,
        command_line,
        entered,
    })
}
