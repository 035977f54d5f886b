//! A page that somebody else reads and writes at the same time.

use core::ptr::NonNull;
use core::sync::atomic::AtomicU32;

/// Octets in a page.
pub(super) const PAGE_OCTETS: usize = 4096;

/// A whole page that stays mapped and is shared with Xen or another domain.
///
/// No reference to its octets is ever made: words are atomics, the rest is copied in and out. What
/// comes out is whatever the other side wrote last; nothing here trusts it.
#[derive(Clone, Copy, Debug)]
pub(super) struct SharedPage(NonNull<u8>);

impl SharedPage {
    /// The page at `start`.
    ///
    /// # Safety
    /// `start` is the first of [`PAGE_OCTETS`] octets, aligned to as many, that are mapped and
    /// writable from now on for ever, and that this program touches in no other way.
    pub(super) const unsafe fn new(start: NonNull<u8>) -> Self {
        Self(start)
    }

    /// A page of the heap, zeroed and never given back; `None` when there is no memory.
    pub(super) fn allocate() -> Option<Self> {
        let start = crate::memory::pages(1)?;
        // SAFETY: the page was just allocated for this, and nothing here gives pages back.
        Some(unsafe { Self::new(start) })
    }

    /// Where it is mapped.
    pub(super) fn address(self) -> usize {
        self.0.as_ptr().expose_provenance()
    }

    /// The word at `offset`, a multiple of 4 inside of the page (cut to that if it is not).
    pub(super) fn word<'a>(self, offset: usize) -> &'a AtomicU32 {
        let offset = (offset & !3) % PAGE_OCTETS;
        // SAFETY: `offset` is inside of the page.
        let address = unsafe { self.0.add(offset) }.cast();
        // SAFETY: the page is mapped for ever and aligned to 4096, `offset` to 4; all access to
        // words of shared pages is atomic on this side.
        unsafe { AtomicU32::from_ptr(address.as_ptr()) }
    }

    /// Copies octets from `offset` on; those past the page's end are left as they are.
    pub(super) fn read(self, offset: usize, octets: &mut [u8]) {
        let offset = offset.min(PAGE_OCTETS);
        let len = octets.len().min(PAGE_OCTETS - offset);
        // SAFETY: `offset` is inside of the page or one past it.
        let from = unsafe { self.0.add(offset) };
        // SAFETY: `offset + len` is at most the page's end; `octets` is a reference of this side's,
        // so it cannot lie in the page.
        unsafe {
            from.as_ptr()
                .copy_to_nonoverlapping(octets.as_mut_ptr(), len);
        }
    }

    /// Copies `octets` to `offset`; what would lie past the page's end is left out.
    pub(super) fn write(self, offset: usize, octets: &[u8]) {
        let offset = offset.min(PAGE_OCTETS);
        let len = octets.len().min(PAGE_OCTETS - offset);
        // SAFETY: `offset` is inside of the page or one past it.
        let to = unsafe { self.0.add(offset) };
        // SAFETY: as for `read`.
        unsafe {
            to.as_ptr().copy_from_nonoverlapping(octets.as_ptr(), len);
        }
    }
}
