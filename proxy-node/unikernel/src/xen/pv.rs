//! The PV entry: ring 3, page tables of Xen's making, a list of which machine frame each page is.

use core::sync::atomic::{AtomicIsize, Ordering};

use super::hypercall::XenError;
use super::page::SharedPage;

/// Why Xen refused rights for pages; 0: it did not.
static REFUSED: AtomicIsize = AtomicIsize::new(0);

/// Why pages have more rights than they should, if they have.
pub(super) fn refused() -> Option<XenError> {
    match REFUSED.load(Ordering::Relaxed) {
        0 => None,
        error => Some(XenError(error)),
    }
}

/// A page table entry's rights: present, writable, the guest's, accessed, dirty, no code.
pub(super) const WRITABLE: u64 = 0x67 | (1 << 63);

/// Offsets in the page that the toolstack hands over (`struct start_info`).
pub(super) mod offset {
    pub(in crate::xen) const PAGES: usize = 32;
    pub(in crate::xen) const SHARED_INFO: usize = 40;
    pub(in crate::xen) const STORE_FRAME: usize = 56;
    pub(in crate::xen) const STORE_PORT: usize = 64;
    pub(in crate::xen) const CONSOLE_FRAME: usize = 72;
    pub(in crate::xen) const CONSOLE_PORT: usize = 80;
    pub(in crate::xen) const TABLES: usize = 88;
    pub(in crate::xen) const TABLES_COUNT: usize = 96;
    pub(in crate::xen) const MACHINE_FRAMES: usize = 104;
    pub(in crate::xen) const COMMAND_LINE: usize = 128;
}
/// Octets of the command line there.
const COMMAND_LINE_OCTETS: usize = 1024;

/// The word of 64 bits at `offset`.
pub(super) fn long(page: SharedPage, offset: usize) -> u64 {
    let half = |offset| u64::from(page.word(offset).load(Ordering::Relaxed));
    half(offset) | (half(offset + 4) << 32)
}

/// The octets of the command line.
fn command_line(page: SharedPage) -> impl Iterator<Item = u8> {
    (0..COMMAND_LINE_OCTETS).map(move |n| {
        let mut octet = [0];
        page.read(offset::COMMAND_LINE + n, &mut octet);
        octet[0]
    })
}

#[cfg(not(test))]
mod entry {
    use core::arch::global_asm;
    use core::ptr::NonNull;
    use core::sync::atomic::Ordering;

    use super::{SharedPage, WRITABLE, command_line, long, offset};
    use crate::boot::{Boot, Host, Region, Regions};
    use crate::command_line::CommandLine;
    use crate::memory::symbol;
    use crate::xen::host;
    use crate::xen::hypercall::{self, Entry, Forget};
    use crate::xen::page::PAGE_OCTETS;

    // The notes of a PV image: ENTRY (1), HYPERCALL_PAGE (2), VIRT_BASE (3), PADDR_OFFSET (4),
    // XEN_VERSION (5), GUEST_OS (6), LOADER (8), PAE_MODE (9). Addresses are physical addresses.
    // The entry gets the address of `start_info` in %rsi.
    global_asm!(
        r#"
        .macro xen_number kind, value
        .balign 4
        .long 4, 8, \kind
        .asciz "Xen"
        .quad \value
        .endm
        .macro xen_text kind, value
        .balign 4
        .long 4, 2f - 1f, \kind
        .asciz "Xen"
    1:  .asciz "\value"
    2:  .balign 4
        .endm

        .section .note.Xen, "a", @note
        xen_number 1, pv_start
        xen_number 2, hypercall_page
        xen_number 3, 0
        xen_number 4, 0
        xen_text 5, "xen-3.0"
        xen_text 6, "synhop"
        xen_text 8, "generic"
        xen_text 9, "yes"

        .section .text.entry, "ax", @progbits
        .code64
        .global pv_start
        pv_start:
        cld
        rdtsc
        shlq $32, %rdx
        orq %rax, %rdx
        movq $__bss_start, %rdi
        movq $__bss_end, %rcx
        subq %rdi, %rcx
        shrq $3, %rcx
        xorl %eax, %eax
        rep stosq
        movq $__stack_top, %rsp
        movq %rsi, %rdi
        movq %rdx, %rsi
        xorl %ebp, %ebp
        call {main}
        ud2
        .text
        "#,
        main = sym pv_main,
        options(att_syntax),
    );

    /// Entries of a page table.
    const ENTRIES: usize = 512;
    const PRESENT: u64 = 1;
    const WRITE: u64 = 1 << 1;
    const NO_EXECUTE: u64 = 1 << 63;
    /// Entries that are written with one call.
    const BATCH: usize = 64;
    /// A table that Xen knows as such may only be read.
    const TABLE_PAGE: u64 = 0x61 | (1 << 63);
    /// A table's entry in the table above.
    const TABLE: u64 = 0x67;
    /// The machine address in an entry.
    const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

    /// The first Rust code: `address` is where the toolstack put `start_info`.
    extern "C" fn pv_main(address: usize, entered: u64) -> ! {
        let Some(start) = NonNull::new(core::ptr::with_exposed_provenance_mut(address)) else {
            crate::xen::shutdown(crate::power::Outcome::Failed);
        };
        // SAFETY: the toolstack maps this page, and it is not part of the memory listed below.
        let info = unsafe { SharedPage::new(start) };
        let long = |offset| long(info, offset);
        let list = core::ptr::with_exposed_provenance_mut(address_of(long(offset::MACHINE_FRAMES)));
        let pages = address_of(long(offset::PAGES));
        // SAFETY: the toolstack put the list there, and it lies before the page tables, so outside
        // of the memory listed below.
        unsafe { host::set_machine_frames(list, pages) };
        host::set_start_info(info);

        let tables = address_of(long(offset::TABLES));
        let free = tables + address_of(long(offset::TABLES_COUNT)) * PAGE_OCTETS;
        let mut low = Region {
            start: PAGE_OCTETS as u64,
            end: symbol::image_start() as u64,
        };
        let end = Tables::of(tables).map_or(free, |tables| {
            let end = tables.extend(pages, &mut low);
            // Last: pages that are not there any more would look like the end of what is mapped.
            tables.protect();
            end
        });
        let mut memory = Regions::new();
        memory.push(low);
        memory.push(Region {
            start: free as u64,
            end: end as u64,
        });
        crate::start(&Boot {
            host: Host::XenPv,
            memory,
            command_line: CommandLine::from_octets(command_line(info)),
            entered,
        })
    }

    #[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits here")]
    const fn address_of(value: u64) -> usize {
        value as usize
    }

    /// What the entry of a page is to be, like `boot::protect` has it: nothing is both writable and
    /// executable, and the pages below the stacks are not there. The toolstack's tables and the
    /// pages that Xen lets be read only stay so.
    fn rights(address: usize, entry: u64) -> u64 {
        let text = symbol::image_start()..symbol::text_end();
        let read_only = symbol::text_end()..symbol::rodata_end();
        // Xen's own marks in an entry are not for a guest to write.
        let entry = entry & (ADDRESS | WRITABLE);
        if entry & PRESENT == 0
            || address == symbol::stack_guard()
            || address == symbol::fault_stack_guard()
        {
            0
        } else if text.contains(&address) {
            entry & !WRITE
        } else if read_only.contains(&address) {
            entry & !WRITE | NO_EXECUTE
        } else {
            entry | NO_EXECUTE
        }
    }

    /// Remembers a refusal: there is no console yet.
    fn note(result: Result<(), hypercall::XenError>) {
        if let Err(error) = result {
            super::REFUSED.store(error.0, Ordering::Relaxed);
        }
    }

    fn entry(table: SharedPage, index: usize) -> u64 {
        long(table, index % ENTRIES * 8)
    }

    fn below(entry: u64) -> Option<SharedPage> {
        (entry & PRESENT != 0).then_some(())?;
        host::page_of((entry & ADDRESS) >> 12)
    }

    /// The table whose entries map 2 MiB each, of the first GiB.
    struct Tables {
        directory: SharedPage,
        machine_address: u64,
    }

    impl Tables {
        /// Walks down from the top table, which lies at `address`.
        fn of(address: usize) -> Option<Self> {
            let top = NonNull::new(core::ptr::with_exposed_provenance_mut(address))?;
            // SAFETY: the toolstack maps the tables (to be read) outside of all listed memory;
            // nothing here writes to them.
            let top = unsafe { SharedPage::new(top) };
            let third = below(entry(top, 0))?;
            let machine_address = entry(third, 0) & ADDRESS;
            Some(Self {
                directory: below(entry(third, 0))?,
                machine_address,
            })
        }

        /// Gives each mapped page its rights: see [`rights`].
        fn protect(&self) {
            for index in 0..ENTRIES {
                let above = entry(self.directory, index);
                let Some(table) = below(above) else {
                    break;
                };
                for start in (0..ENTRIES).step_by(BATCH) {
                    let entries = core::array::from_fn::<_, BATCH, _>(|n| {
                        let n = start + n;
                        let address = (index * ENTRIES + n) * PAGE_OCTETS;
                        Entry {
                            place: (above & ADDRESS) + n as u64 * 8,
                            value: rights(address, entry(table, n)),
                        }
                    });
                    // SAFETY: no page gets a right that it did not have, and those of the image and
                    // of memory keep what they need. Refused, they stay as they are.
                    note(unsafe { hypercall::set_entries(&entries) });
                }
            }
            // SAFETY: the first page is used by nobody.
            note(unsafe { hypercall::map(0, 0, Forget::All) });
        }

        /// Maps what the toolstack left unmapped of `pages` pages, at most the first GiB: the
        /// address where mapped memory ends. Pages for tables are taken from the start of `spare`.
        fn extend(&self, pages: usize, spare: &mut Region) -> usize {
            let mut mapped = 0;
            for index in 0..ENTRIES.min(pages.div_ceil(ENTRIES)) {
                if let Some(table) = below(entry(self.directory, index)) {
                    let first = (0..ENTRIES).position(|n| entry(table, n) & PRESENT == 0);
                    mapped = index * ENTRIES + first.unwrap_or(ENTRIES);
                    if first.is_some() {
                        break;
                    }
                } else if self.add(index, spare).is_some() {
                    mapped = pages.min((index + 1) * ENTRIES);
                } else {
                    break;
                }
            }
            mapped.min(pages) * PAGE_OCTETS
        }

        /// Makes the table for the 2 MiB at `index`.
        fn add(&self, index: usize, spare: &mut Region) -> Option<()> {
            if spare.octets() < PAGE_OCTETS as u64 {
                return None;
            }
            let address = address_of(spare.start);
            let frame = *host::machine_frames().get(address / PAGE_OCTETS)?;
            spare.start += PAGE_OCTETS as u64;
            let page = NonNull::new(core::ptr::with_exposed_provenance_mut(address))?;
            // SAFETY: the page is mapped, and with the line above no memory of anything else.
            let table = unsafe { SharedPage::new(page) };
            let frames = host::machine_frames().iter().skip(index * ENTRIES);
            let entries = frames
                .map(|frame| (frame << 12) | WRITABLE)
                .chain(core::iter::repeat(0));
            for (n, entry) in entries.take(ENTRIES).enumerate() {
                table.write(n * 8, &entry.to_le_bytes());
            }
            // SAFETY: the page is only read from now on.
            unsafe { hypercall::map(address, (frame << 12) | TABLE_PAGE, Forget::One) }.ok()?;
            let entry = Entry {
                place: self.machine_address + index as u64 * 8,
                value: (frame << 12) | TABLE,
            };
            // SAFETY: nothing was mapped there, and each page of this machine that is now is memory
            // that nothing uses yet.
            unsafe { hypercall::set_entries(&[entry]) }.ok()
        }
    }
}
