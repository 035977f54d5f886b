//! Rights of the image's own pages: nothing is both writable and executable, the first page and
//! those below the stacks are not there.

use core::cell::UnsafeCell;

use crate::cpu;
use crate::memory::symbol;

/// Page table entry bits.
const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const NO_EXECUTE: u64 = 1 << 63;

const PAGE: usize = 4096;
const PAGES: usize = 1024;

/// Entries for the first 4 MiB.
type Tables = [u64; PAGES];

/// Entries of 2 MiB each for the first 4 GiB; the first two point to the tables above.
type Directories = [u64; 2048];

/// What the entry's assembly made and nobody else refers to.
#[repr(transparent)]
struct Made<T>(UnsafeCell<T>);

// SAFETY: one processor, and only `protect` looks inside.
unsafe impl<T> Sync for Made<T> {}

unsafe extern "C" {
    #[link_name = "boot_first_tables"]
    safe static FIRST_TABLES: Made<Tables>;
    #[link_name = "boot_directories"]
    safe static DIRECTORIES: Made<Directories>;
}

/// What may be done with a page of the first 4 MiB.
fn rights(address: usize) -> u64 {
    let image = symbol::image_start();
    let text_end = symbol::text_end();
    let read_only_end = symbol::rodata_end();
    if address == 0 || address == symbol::stack_guard() || address == symbol::fault_stack_guard() {
        0
    } else if (image..text_end).contains(&address) {
        PRESENT
    } else if (text_end..read_only_end).contains(&address) {
        PRESENT | NO_EXECUTE
    } else {
        PRESENT | WRITABLE | NO_EXECUTE
    }
}

/// Gives every page of the first 4 MiB its rights, and lets no other be executed. Only with the page tables of the PVH entry.
pub(crate) fn protect() {
    // SAFETY: the tables belong to this module after the entry is done with them, there is one
    // processor, and this is the only reference.
    let tables = unsafe { &mut *FIRST_TABLES.0.get() };
    for (n, entry) in tables.iter_mut().enumerate() {
        let address = n * PAGE;
        *entry = match rights(address) {
            0 => 0,
            bits => address as u64 | bits,
        };
    }
    // SAFETY: as above.
    let directories = unsafe { &mut *DIRECTORIES.0.get() };
    for entry in directories.iter_mut().skip(2) {
        *entry |= NO_EXECUTE;
    }
    cpu::flush_translations();
}
