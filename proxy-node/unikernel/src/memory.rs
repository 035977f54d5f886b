//! The heap, and pages for devices. All memory is mapped at its physical address.

use alloc::alloc::{Layout, alloc_zeroed};
use core::ptr::NonNull;

use crate::boot::{Region, Regions};

/// Octets of a page of the processor.
pub(crate) const PAGE_OCTETS: usize = 4096;

/// Memory from here on is not used: devices, and what the entry's page tables do not map as memory.
const DEVICES: u64 = 3 << 30;

#[cfg(not(test))]
#[global_allocator]
static HEAP: talc::TalcLock<spinning_top::RawSpinlock, talc::source::Manual> =
    talc::TalcLock::new(talc::source::Manual);

/// Makes the heap of what the image itself does not use of `memory`.
#[cfg(not(test))]
pub(crate) fn add_all(memory: &Regions) {
    for region in usable(memory).iter() {
        let Ok(size) = usize::try_from(region.octets()) else {
            continue;
        };
        #[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits here")]
        let start = core::ptr::with_exposed_provenance_mut(region.start as usize);
        // SAFETY: the host says that this is memory, it is mapped, and nothing of the image or of
        // the entry's tables lies in it. What the loader left there has been copied.
        let _end = unsafe { HEAP.lock().claim(start, size) };
    }
}

#[cfg(test)]
pub(crate) fn add_all(memory: &Regions) {
    let _usable = usable(memory);
}

/// What may become heap.
fn usable(memory: &Regions) -> Regions {
    let image = Region {
        start: symbol::image_start() as u64,
        end: symbol::image_end() as u64,
    };
    let bounds = Region {
        // The first page stays unmapped.
        start: PAGE_OCTETS as u64,
        end: DEVICES,
    };
    memory.without(image, bounds)
}

/// Octets of the heap that are free.
#[cfg(not(test))]
pub(crate) fn free() -> usize {
    HEAP.lock().counters().available_bytes
}

#[cfg(test)]
pub(crate) fn free() -> usize {
    0
}

/// `count` pages of zeros, in a row, that are never given back.
pub(crate) fn pages(count: usize) -> Option<NonNull<u8>> {
    let layout = Layout::from_size_align(count.checked_mul(PAGE_OCTETS)?, PAGE_OCTETS).ok()?;
    if layout.size() == 0 {
        return None;
    }
    // SAFETY: the size is not zero.
    NonNull::new(unsafe { alloc_zeroed(layout) })
}

/// Addresses that the linker script defines.
#[cfg(not(test))]
pub(crate) mod symbol {
    macro_rules! symbols {
        ($($function:ident = $name:literal;)*) => {
            $(
                pub(crate) fn $function() -> usize {
                    unsafe extern "C" {
                        #[link_name = $name]
                        safe static PLACE: u8;
                    }
                    (&raw const PLACE).expose_provenance()
                }
            )*
        };
    }

    symbols! {
        image_start = "__image_start";
        text_end = "__text_end";
        rodata_end = "__rodata_end";
        image_end = "__image_end";
        stack_guard = "__stack_guard";
        fault_stack_guard = "__fault_stack_guard";
        fault_stack_top = "__fault_stack_top";
    }
}

#[cfg(test)]
pub(crate) mod symbol {
    pub(crate) fn image_start() -> usize {
        0x10_0000
    }

    pub(crate) fn image_end() -> usize {
        0x18_0000
    }
}
