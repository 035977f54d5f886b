//! Pages of octets, lent and returned; relayed octets are references into them.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::ops::Range;

use smallvec::SmallVec;

/// The one stock of pages of an engine. Clones are handles to the same stock.
#[derive(Clone, Debug)]
pub struct Pool(Rc<Stock>);

struct Stock {
    free: RefCell<Vec<Box<[u8]>>>,
    /// What copies of pages take that are still there, octets.
    copied: Cell<usize>,
    page_octets: usize,
    total: usize,
}

impl Pool {
    /// A stock of `pages` pages, all of them allocated here and never more.
    pub fn new(pages: usize, page_octets: usize) -> Self {
        let free = (0..pages).map(|_| alloc::vec![0; page_octets].into_boxed_slice());
        Self(Rc::new(Stock {
            free: RefCell::new(free.collect()),
            copied: Cell::new(0),
            page_octets,
            total: pages,
        }))
    }

    /// A page to write to; `None` when all are lent.
    pub fn take(&self) -> Option<Page> {
        let octets = self.0.free.borrow_mut().pop()?;
        let stock = Rc::clone(&self.0);
        Some(Page(Buffer {
            octets,
            home: Home::Page(stock),
        }))
    }

    /// Pages that nobody holds.
    pub fn free(&self) -> usize {
        self.0.free.borrow().len()
    }

    /// All pages.
    pub fn total(&self) -> usize {
        self.0.total
    }

    /// Octets in a page.
    pub fn page_octets(&self) -> usize {
        self.0.page_octets
    }
}

impl fmt::Debug for Stock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stock")
            .field("free", &self.free.borrow().len())
            .field("copied", &self.copied)
            .field("total", &self.total)
            .field("page_octets", &self.page_octets)
            .finish()
    }
}

/// A page that nobody else sees yet.
#[derive(Debug)]
pub struct Page(Buffer);

impl Page {
    /// What is to be filled in.
    pub fn octets_mut(&mut self) -> &mut [u8] {
        &mut self.0.octets
    }

    /// Ends the writing: `range` of the page, cut to its size, can be shared from now on.
    pub fn freeze(self, range: Range<usize>) -> Octets {
        let end = range.end.min(self.0.octets.len());
        let start = range.start.min(end);
        Octets {
            buffer: Rc::new(self.0),
            start,
            end,
        }
    }
}

/// The octets of a page or of a copy. A page goes home when the last reference goes.
struct Buffer {
    octets: Box<[u8]>,
    home: Home,
}

/// Where octets come from.
enum Home {
    /// They are a page of this stock.
    Page(Rc<Stock>),
    /// They are a copy of a part of such a page, which that stock counts.
    Copy(Rc<Stock>),
    /// They were made outside.
    Elsewhere,
}

impl Stock {
    /// Whether one more copy of so many octets may be made; it is counted then.
    fn admit_copy(&self, octets: usize) -> bool {
        let copied = self.copied.get() + octets + COPY_OVERHEAD;
        let admitted = copied <= self.total * self.page_octets / COPIED_SHARE;
        if admitted {
            self.copied.set(copied);
        }
        admitted
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        match &self.home {
            Home::Page(stock) => stock
                .free
                .borrow_mut()
                .push(core::mem::take(&mut self.octets)),
            Home::Copy(stock) => {
                let octets = self.octets.len() + COPY_OVERHEAD;
                stock.copied.set(stock.copied.get().saturating_sub(octets));
            }
            Home::Elsewhere => {}
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer")
            .field("octets", &self.octets.len())
            .field("pooled", &matches!(self.home, Home::Page(_)))
            .finish()
    }
}

/// A shared reference to octets. Cloning copies no octets.
#[derive(Clone, Debug)]
pub struct Octets {
    buffer: Rc<Buffer>,
    start: usize,
    end: usize,
}

impl Octets {
    /// A copy outside of any pool.
    pub fn copy_of(octets: &[u8]) -> Self {
        Self {
            end: octets.len(),
            buffer: Rc::new(Buffer {
                octets: octets.into(),
                home: Home::Elsewhere,
            }),
            start: 0,
        }
    }

    /// How many.
    pub const fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The octets.
    pub fn as_slice(&self) -> &[u8] {
        self.buffer
            .octets
            .get(self.start..self.end)
            .unwrap_or_default()
    }

    /// Part of them; what lies outside is cut.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        let end = self.start.saturating_add(range.end).min(self.end);
        Self {
            buffer: Rc::clone(&self.buffer),
            start: self.start.saturating_add(range.start).min(end),
            end,
        }
    }

    /// Takes the first `len` octets away, at most all, and returns them.
    #[must_use]
    pub fn split_to(&mut self, len: usize) -> Self {
        let first = self.slice(0..len);
        self.start = first.end;
        first
    }

    /// Whether a page of a pool is kept from going home.
    pub fn holds_page(&self) -> bool {
        matches!(self.buffer.home, Home::Page(_))
    }
}

/// Octets in a row that need not lie in one page.
#[derive(Clone, Debug, Default)]
pub struct Payload {
    parts: SmallVec<[Octets; 1]>,
    len: usize,
}

impl Payload {
    /// No octets.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many octets.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds octets at the end.
    pub fn push(&mut self, octets: Octets) {
        if !octets.is_empty() {
            self.len += octets.len();
            self.parts.push(octets);
        }
    }

    /// The parts in their order, none of them empty.
    pub fn parts(&self) -> &[Octets] {
        &self.parts
    }

    /// Drops the first `len` octets.
    pub fn trim_start(&mut self, mut len: usize) {
        len = len.min(self.len);
        self.len -= len;
        while let Some(first) = self.parts.first_mut() {
            if first.len() > len {
                let _gone = first.split_to(len);
                return;
            }
            len -= first.len();
            self.parts.remove(0);
        }
    }

    /// Drops all but the first `len` octets.
    pub fn truncate(&mut self, len: usize) {
        while self.len > len {
            let Some(last) = self.parts.last_mut() else {
                return;
            };
            let surplus = self.len - len;
            if last.len() > surplus {
                *last = last.slice(0..last.len() - surplus);
                self.len = len;
            } else {
                self.len -= last.len();
                self.parts.pop();
            }
        }
    }

    /// Puts a copy in the place of pages, so that they go home. Not if the pool has as many copies out
    /// as it may: copies of an octet each would fill all memory, where pages only fill the pool.
    pub(crate) fn leave_pages(&mut self) {
        let stock = self.parts.iter().find_map(|part| match &part.buffer.home {
            Home::Page(stock) => Some(Rc::clone(stock)),
            Home::Copy(_) | Home::Elsewhere => None,
        });
        let Some(stock) = stock.filter(|stock| stock.admit_copy(self.len)) else {
            return;
        };
        let octets = self.to_vec().into_boxed_slice();
        let end = octets.len();
        let home = Home::Copy(stock);
        *self = Self::from(Octets {
            buffer: Rc::new(Buffer { octets, home }),
            start: 0,
            end,
        });
    }

    /// A copy in one piece, for tests and for what must be contiguous.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.len);
        for part in &self.parts {
            all.extend_from_slice(part.as_slice());
        }
        all
    }
}

impl From<Octets> for Payload {
    fn from(octets: Octets) -> Self {
        let mut payload = Self::new();
        payload.push(octets);
        payload
    }
}

impl IntoIterator for Payload {
    type Item = Octets;
    type IntoIter = smallvec::IntoIter<[Octets; 1]>;

    fn into_iter(self) -> Self::IntoIter {
        self.parts.into_iter()
    }
}

/// What a copy takes beside its octets: two allocations, and its place in a queue.
const COPY_OVERHEAD: usize = 192;
/// Copies may take one octet in this many of the pool's.
const COPIED_SHARE: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_bounded() {
        let pool = Pool::new(16, 2048);
        let mut kept = Vec::new();
        for _ in 0..16 {
            let page = pool.take().expect("not all are kept");
            let mut payload = Payload::from(page.freeze(0..1));
            payload.leave_pages();
            kept.push(payload);
        }
        // 2048 octets of copies: ten, and six that kept their pages.
        assert_eq!(pool.free(), 10);
        kept.clear();
        assert_eq!((pool.free(), pool.0.copied.get()), (16, 0));
    }

    #[test]
    fn a_page_goes_home_with_its_last_reference() {
        let pool = Pool::new(1, 8);
        let mut page = pool.take().expect("one page");
        assert!(pool.take().is_none());
        page.octets_mut().copy_from_slice(b"abcdefgh");
        let octets = page.freeze(1..7);
        let part = octets.slice(2..100);
        drop(octets);
        assert_eq!((part.as_slice(), pool.free()), (&b"defg"[..], 0));
        drop(part);
        assert_eq!(pool.free(), 1);
    }

    #[test]
    fn a_payload_is_cut_across_its_parts() {
        let mut payload = Payload::new();
        for part in [&b"abc"[..], b"", b"de", b"fgh"] {
            payload.push(Octets::copy_of(part));
        }
        assert_eq!((payload.len(), payload.parts().len()), (8, 3));
        payload.trim_start(4);
        payload.truncate(3);
        assert_eq!(payload.to_vec(), b"efg");
        payload.trim_start(9);
        assert!(payload.is_empty() && payload.parts().is_empty());
    }
}
