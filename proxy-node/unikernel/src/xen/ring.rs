//! The front's end of a ring of requests and responses (public/io/ring.h).
//!
//! Indices count on without bound, modulo 2^32; a slot is an index modulo the number of slots. The
//! back's indices are never trusted: what they claim is cut to what was asked.

use core::sync::atomic::{Ordering, fence};

use super::page::SharedPage;

/// Slots of each ring: the largest power of two whose 12 octets each fit into the page.
pub(super) const SLOTS: u32 = 256;

/// Offsets in the page.
mod offset {
    pub(super) const REQUESTS_PRODUCED: usize = 0;
    pub(super) const REQUEST_EVENT: usize = 4;
    pub(super) const RESPONSES_PRODUCED: usize = 8;
    pub(super) const RESPONSE_EVENT: usize = 12;
    pub(super) const SLOTS: usize = 64;
}

/// Whether the back has to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Notify {
    Yes,
    No,
}

/// A ring whose slots have `WORDS` words.
#[derive(Debug)]
pub(super) struct Ring<const WORDS: usize> {
    page: SharedPage,
    /// Requests written, and of those told to the back.
    produced: u32,
    told: u32,
    /// Responses read.
    consumed: u32,
}

impl<const WORDS: usize> Ring<WORDS> {
    /// An empty ring on a page that the back does not use yet.
    pub(super) fn new(page: SharedPage) -> Self {
        page.write(0, &[0; offset::SLOTS]);
        page.word(offset::REQUEST_EVENT).store(1, Ordering::Relaxed);
        page.word(offset::RESPONSE_EVENT)
            .store(1, Ordering::Release);
        Self {
            page,
            produced: 0,
            told: 0,
            consumed: 0,
        }
    }

    /// The page.
    pub(super) fn page(&self) -> SharedPage {
        self.page
    }

    /// Requests that fit now.
    pub(super) fn room(&self) -> u32 {
        SLOTS - self.outstanding()
    }

    /// Requests whose responses were not read yet.
    pub(super) fn outstanding(&self) -> u32 {
        self.produced.wrapping_sub(self.consumed)
    }

    /// The index that the next request gets.
    pub(super) fn next_request(&self) -> u32 {
        self.produced
    }

    /// The index of the next response.
    pub(super) fn next_response(&self) -> u32 {
        self.consumed
    }

    /// Writes a request; there has to be [`room`](Self::room), else nothing is done.
    pub(super) fn request(&mut self, words: [u32; WORDS]) {
        if self.room() == 0 {
            return;
        }
        let start = Self::slot(self.produced);
        for (n, word) in words.into_iter().enumerate() {
            self.page.word(start + 4 * n).store(word, Ordering::Relaxed);
        }
        self.produced = self.produced.wrapping_add(1);
    }

    /// Shows the back all requests.
    pub(super) fn tell(&mut self) -> Notify {
        let before = self.told;
        self.told = self.produced;
        self.page
            .word(offset::REQUESTS_PRODUCED)
            .store(self.produced, Ordering::Release);
        // The back sets its wish and then looks again at the index; here the index comes first.
        fence(Ordering::SeqCst);
        let wish = self
            .page
            .word(offset::REQUEST_EVENT)
            .load(Ordering::Relaxed);
        let new = self.produced.wrapping_sub(before);
        if self.produced.wrapping_sub(wish) < new {
            Notify::Yes
        } else {
            Notify::No
        }
    }

    /// Responses that wait.
    pub(super) fn responses(&self) -> u32 {
        let produced = self
            .page
            .word(offset::RESPONSES_PRODUCED)
            .load(Ordering::Acquire);
        let told = self.told.wrapping_sub(self.consumed);
        produced.wrapping_sub(self.consumed).min(told)
    }

    /// The response `ahead` of the next one; what is read past [`responses`](Self::responses) is
    /// meaningless.
    pub(super) fn response(&self, ahead: u32) -> [u32; WORDS] {
        let start = Self::slot(self.consumed.wrapping_add(ahead));
        core::array::from_fn(|n| self.page.word(start + 4 * n).load(Ordering::Relaxed))
    }

    /// Counts the next response as read.
    pub(super) fn consume(&mut self) {
        self.consumed = self.consumed.wrapping_add(1);
    }

    /// Asks for a signal when `count` more responses are there; false if they are already.
    pub(super) fn wish(&self, count: u32) -> bool {
        let index = self.consumed.wrapping_add(count.max(1));
        self.page
            .word(offset::RESPONSE_EVENT)
            .store(index, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.responses() < count.max(1)
    }

    fn slot(index: u32) -> usize {
        offset::SLOTS + (index % SLOTS) as usize * WORDS * 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::ptr::NonNull;

    fn page() -> SharedPage {
        #[repr(align(4096))]
        struct Page([u8; 4096]);
        let page = Box::leak(Box::new(Page([0; 4096])));
        // SAFETY: leaked, aligned, and used through `SharedPage` only.
        unsafe { SharedPage::new(NonNull::from(&mut page.0).cast()) }
    }

    /// What a back does: answers `count` requests.
    fn answer(page: SharedPage, count: u32) {
        let word = page.word(offset::RESPONSES_PRODUCED);
        word.fetch_add(count, Ordering::Release);
    }

    #[test]
    fn requests_are_answered_in_their_slots() {
        let page = page();
        let mut ring = Ring::<2>::new(page);
        ring.request([1, 2]);
        ring.request([3, 4]);
        assert_eq!((ring.tell(), ring.responses()), (Notify::Yes, 0));
        answer(page, 2);
        assert_eq!((ring.responses(), ring.response(1)), (2, [3, 4]));
        ring.consume();
        assert_eq!((ring.responses(), ring.outstanding()), (1, 1));
    }

    #[test]
    fn a_back_cannot_answer_more_than_was_asked() {
        let page = page();
        let mut ring = Ring::<3>::new(page);
        ring.request([0; 3]);
        let _told = ring.tell();
        answer(page, 0x8000_0000);
        assert_eq!(ring.responses(), 1);
    }

    #[test]
    fn the_back_is_signalled_only_when_it_sleeps() {
        let page = page();
        let mut ring = Ring::<3>::new(page);
        ring.request([0; 3]);
        assert_eq!(ring.tell(), Notify::Yes);
        ring.request([0; 3]);
        assert_eq!(ring.tell(), Notify::No);
        page.word(offset::REQUEST_EVENT).store(3, Ordering::Relaxed);
        ring.request([0; 3]);
        assert_eq!(ring.tell(), Notify::Yes);
    }

    #[test]
    fn a_full_ring_takes_no_more() {
        let mut ring = Ring::<3>::new(page());
        for _ in 0..=SLOTS {
            ring.request([0; 3]);
        }
        assert_eq!((ring.room(), ring.next_request()), (0, SLOTS));
    }
}
