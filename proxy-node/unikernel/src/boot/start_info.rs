//! What a PVH loader says of the machine (Xen's public `hvm/start_info.h`).

use super::{Region, Regions};
use crate::command_line::CommandLine;

/// The first word of the structure.
pub(crate) const MAGIC: u32 = 0x336e_c578;

/// Type of a memory map entry that is plain memory.
const MEMORY: u32 = 1;

/// More entries than this are not read.
const ENTRIES_MOST: u32 = 128;

/// The structure's fields in their order; those from `memory_map` on exist from version 1.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Raw {
    magic: u32,
    version: u32,
    flags: u32,
    modules: u32,
    module_list: u64,
    command_line: u64,
    rsdp: u64,
    memory_map: u64,
    memory_map_entries: u32,
    reserved: u32,
}

const _: () = assert!(size_of::<Raw>() == 56);

/// An entry of the memory map.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct RawRegion {
    start: u64,
    octets: u64,
    kind: u32,
    reserved: u32,
}

const _: () = assert!(size_of::<RawRegion>() == 24);

/// Copies memory and command line out of the structure at `address`; `None` if it is none.
///
/// # Safety
/// `address` must be what a loader of the PVH protocol passed in, mapped at its physical address,
/// with everything that it points to, and nobody may have written there since.
pub(super) unsafe fn copy(address: *const u8) -> Option<(Regions, CommandLine)> {
    // SAFETY: the loader's structure has at least the 40 octets of version 0; all that lies after
    // them is memory too (the loader leaves a page or more), whatever it holds.
    let raw = unsafe { address.cast::<Raw>().read_unaligned() };
    if raw.magic != MAGIC {
        return None;
    }
    let mut memory = Regions::new();
    if raw.version >= 1 {
        let first = core::ptr::with_exposed_provenance::<RawRegion>(address_of(raw.memory_map)?);
        for n in 0..raw.memory_map_entries.min(ENTRIES_MOST) as usize {
            let entry = first.wrapping_add(n);
            // SAFETY: the loader says that there are that many entries.
            let entry = unsafe { entry.read_unaligned() };
            if entry.kind == MEMORY {
                memory.push(Region {
                    start: entry.start,
                    end: entry.start.saturating_add(entry.octets),
                });
            }
        }
    }
    let text = address_of(raw.command_line)?;
    let text = core::ptr::with_exposed_provenance::<u8>(text);
    let octets = (0..).map_while(|n| {
        // SAFETY: the loader's text ends with a NUL, where the reader stops; it has no text if
        // its address is zero.
        (!text.is_null()).then(|| unsafe { text.wrapping_add(n).read() })
    });
    Some((memory, CommandLine::from_octets(octets)))
}

/// A physical address that is mapped: below 4 GiB.
fn address_of(physical: u64) -> Option<usize> {
    u32::try_from(physical).ok().map(|low| low as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_magic_is_refused() {
        let octets = [0_u8; size_of::<Raw>()];
        // SAFETY: the octets are readable and longer than what is read before the magic is checked.
        assert!(unsafe { copy(octets.as_ptr()) }.is_none());
    }
}
