//! Frames from the back.

use alloc::vec::Vec;

use synhop_stack::{Checksum, Octets, Payload, Pool};

use super::super::page::{PAGE_OCTETS, SharedPage};
use super::super::ring::{Notify, Ring, SLOTS};
use super::{Buffers, halves, word};

/// Flags of a response (`NETRXF_*`).
mod flag {
    pub(super) const DATA_VALIDATED: u16 = 1;
    pub(super) const CHECKSUM_BLANK: u16 = 2;
    pub(super) const MORE_DATA: u16 = 4;
    pub(super) const EXTRA_INFO: u16 = 8;
}
/// In a slot of extra information: another one follows.
const EXTRA_MORE: u8 = 1;

/// Slots of one frame, extra information included. The back uses 18 and two.
const SLOTS_MOST: u32 = 24;
/// Buffers go back to the back at the latest when so many have come together.
const BATCH: u32 = 16;
/// The longest frame that is kept on the heap when the pool is empty: an acknowledgement, which may
/// be what makes the pool less empty.
const SMALL_OCTETS: usize = 128;

/// The receiving half. Request `n` has slot `n`, and so has its response.
#[derive(Debug)]
pub(super) struct Rx {
    ring: Ring<2>,
    /// Numbers of buffers that the back does not have.
    free: Vec<u16>,
    /// Which buffer each slot's request lent.
    slots: Vec<u16>,
    /// Requests not yet shown to the back.
    untold: u32,
}

/// Where a frame lies: slots of the ring from the next response on.
struct Place {
    slots: u32,
    octets: usize,
    checksum: Checksum,
    good: bool,
}

/// What the back says of one slot.
struct Slot {
    page: Option<SharedPage>,
    offset: usize,
    octets: usize,
}

impl Rx {
    /// On an empty ring, with all buffers lent.
    pub(super) fn new(ring: Ring<2>, buffers: &Buffers) -> Self {
        let mut rx = Self {
            ring,
            free: buffers.numbers().collect(),
            slots: alloc::vec![0; SLOTS as usize],
            untold: 0,
        };
        rx.refill(buffers);
        rx
    }

    /// The next frame, copied into pages of `pool`.
    pub(super) fn receive(
        &mut self,
        pool: &Pool,
        buffers: &Buffers,
    ) -> Option<(Payload, Checksum)> {
        // Each turn takes a whole frame, so that the ring's size bounds the turns.
        while let Some(place) = self.find(buffers) {
            let payload = place
                .good
                .then(|| self.copy(&place, pool, buffers))
                .flatten();
            self.release(place.slots);
            self.refill(buffers);
            if let Some(payload) = payload {
                return Some((payload, place.checksum));
            }
        }
        None
    }

    /// Shows the back the buffers lent again, if there are enough or `all` is to be told.
    pub(super) fn tell(&mut self, all: bool) -> Notify {
        if self.untold == 0 || (!all && self.untold < BATCH) {
            return Notify::No;
        }
        self.untold = 0;
        self.ring.tell()
    }

    /// Asks for a signal with the next frame; false if there is one already.
    pub(super) fn wish(&self) -> bool {
        self.ring.wish(1)
    }

    /// Looks at the next frame without taking it. `None`: not all of it is there.
    fn find(&self, buffers: &Buffers) -> Option<Place> {
        let there = self.ring.responses().min(SLOTS_MOST);
        let mut place = Place {
            slots: 0,
            octets: 0,
            checksum: Checksum::Unverified,
            good: true,
        };
        loop {
            if place.slots >= there {
                // The back writes whole frames; one with no end within the limit is given up.
                place.good = false;
                return (place.slots >= SLOTS_MOST).then_some(place);
            }
            let [_, answer] = self.ring.response(place.slots);
            let (flags, _) = halves(answer);
            let slot = self.slot(place.slots, buffers);
            place.good &= slot.page.is_some();
            place.octets += slot.octets;
            if place.slots == 0 && flags & (flag::DATA_VALIDATED | flag::CHECKSUM_BLANK) != 0 {
                place.checksum = Checksum::Valid;
            }
            place.slots += 1;
            if flags & flag::EXTRA_INFO != 0 {
                place.slots += self.extra_slots(place.slots, there)?;
            }
            if flags & flag::MORE_DATA == 0 {
                return Some(place);
            }
        }
    }

    /// How many slots of extra information there are from `ahead` on.
    fn extra_slots(&self, ahead: u32, there: u32) -> Option<u32> {
        for count in 0..there.checked_sub(ahead)? {
            let [answer, _] = self.ring.response(ahead + count);
            let [_kind, flags, ..] = answer.to_le_bytes();
            if flags & EXTRA_MORE == 0 {
                return Some(count + 1);
            }
        }
        None
    }

    /// The slot `ahead` of the next response; no page if the back reports an error or nonsense.
    fn slot(&self, ahead: u32, buffers: &Buffers) -> Slot {
        let [place, answer] = self.ring.response(ahead);
        let (_, offset) = halves(place);
        let (_, status) = halves(answer);
        let (offset, octets) = (usize::from(offset), usize::from(status));
        // Errors are negative, so as unsigned numbers larger than any page.
        let fits = octets <= PAGE_OCTETS && offset <= PAGE_OCTETS - octets;
        let lent = self.slots.get(self.index(ahead)).copied();
        Slot {
            page: lent
                .and_then(|number| buffers.get(number))
                .filter(|_| fits)
                .map(|(page, _)| page),
            offset,
            octets: if fits { octets } else { 0 },
        }
    }

    fn index(&self, ahead: u32) -> usize {
        (self.ring.next_response().wrapping_add(ahead) % SLOTS) as usize
    }

    /// Copies a frame; `None` if the pool has no room for it.
    fn copy(&self, place: &Place, pool: &Pool, buffers: &Buffers) -> Option<Payload> {
        if pool.free() == 0 && place.octets <= SMALL_OCTETS {
            return Some(self.copy_small(buffers));
        }
        if place.octets > pool.free().saturating_mul(pool.page_octets()) {
            return None;
        }
        let mut payload = Payload::new();
        let mut page = pool.take()?;
        let mut filled = 0;
        for mut slot in self.data_slots(place, buffers) {
            while let Some(shared) = slot.page.filter(|_| slot.octets > 0) {
                let room = page.octets_mut().get_mut(filled..).unwrap_or_default();
                let here = room.len().min(slot.octets);
                if here == 0 {
                    payload.push(core::mem::replace(&mut page, pool.take()?).freeze(0..filled));
                    filled = 0;
                    continue;
                }
                shared.read(slot.offset, room.get_mut(..here).unwrap_or_default());
                filled += here;
                slot.offset += here;
                slot.octets -= here;
            }
        }
        payload.push(page.freeze(0..filled));
        Some(payload)
    }

    /// Copies a frame of one slot to the heap.
    fn copy_small(&self, buffers: &Buffers) -> Payload {
        let slot = self.slot(0, buffers);
        let mut octets = [0; SMALL_OCTETS];
        let octets = octets.get_mut(..slot.octets).unwrap_or_default();
        if let Some(page) = slot.page {
            page.read(slot.offset, octets);
        }
        Octets::copy_of(octets).into()
    }

    /// The frame's slots without those of extra information, which come after the first.
    fn data_slots<'a>(
        &'a self,
        place: &Place,
        buffers: &'a Buffers,
    ) -> impl Iterator<Item = Slot> + 'a {
        let [_, answer] = self.ring.response(0);
        let (flags, _) = halves(answer);
        let extra = if flags & flag::EXTRA_INFO == 0 {
            0
        } else {
            self.extra_slots(1, place.slots).unwrap_or(0)
        };
        (0..place.slots)
            .filter(move |&ahead| ahead == 0 || ahead > extra)
            .map(move |ahead| self.slot(ahead, buffers))
    }

    /// Takes the buffers of so many responses back.
    fn release(&mut self, slots: u32) {
        for _ in 0..slots {
            if let Some(&number) = self.slots.get(self.index(0)) {
                self.free.push(number);
            }
            self.ring.consume();
        }
    }

    /// Lends the back all buffers that it does not have.
    fn refill(&mut self, buffers: &Buffers) {
        while self.ring.room() > 0
            && let Some(number) = self.free.pop()
        {
            let Some((_, grant)) = buffers.get(number) else {
                continue;
            };
            let index = self.ring.next_request() % SLOTS;
            if let Some(slot) = self.slots.get_mut(index as usize) {
                *slot = number;
            }
            let id = u16::try_from(index).unwrap_or(0);
            self.ring.request([word(id, 0), grant.0]);
            self.untold += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xen::grant::Grant;

    const COUNT: u16 = 24;

    /// The half under test, and the other side of its ring.
    struct Wire {
        rx: Rx,
        buffers: Buffers,
        ring: SharedPage,
        answered: u32,
    }

    impl Wire {
        fn new() -> Self {
            let page = || SharedPage::allocate().expect("memory");
            let buffers = Buffers((0..COUNT).map(|n| (page(), Grant(n.into()))).collect());
            let ring = page();
            let mut rx = Rx::new(Ring::new(ring), &buffers);
            assert_eq!(rx.tell(true), Notify::Yes);
            Self {
                rx,
                buffers,
                ring,
                answered: 0,
            }
        }

        /// Answers the next request: `octets` into its buffer, then what the slot says.
        fn answer(&mut self, octets: &[u8], offset: u16, flags: u16, status: i16) {
            let slot = 64 + (self.answered % SLOTS) as usize * 8;
            let (id, _) = halves(
                self.ring
                    .word(slot)
                    .load(core::sync::atomic::Ordering::Relaxed),
            );
            let lent = self.rx.slots[usize::from(id)];
            let (page, _) = self.buffers.get(lent).expect("a buffer that was lent");
            page.write(usize::from(offset), octets);
            self.raw([word(id, offset), word(flags, status.cast_unsigned())]);
        }

        /// Writes a slot as it is.
        fn raw(&mut self, words: [u32; 2]) {
            let slot = 64 + (self.answered % SLOTS) as usize * 8;
            for (n, word) in words.into_iter().enumerate() {
                self.ring.write(slot + 4 * n, &word.to_le_bytes());
            }
            self.answered += 1;
            self.ring.write(8, &self.answered.to_le_bytes());
        }

        fn receive(&mut self, pool: &Pool) -> Option<(Vec<u8>, Checksum)> {
            let frame = self.rx.receive(pool, &self.buffers);
            let _told = self.rx.tell(true);
            frame.map(|(payload, checksum)| (payload.to_vec(), checksum))
        }
    }

    #[test]
    fn a_frame_of_several_slots_is_put_together_again() {
        let mut wire = Wire::new();
        let pool = Pool::new(8, 2048);
        let octets: Vec<u8> = (0..6_000_u16).map(|n| n.to_le_bytes()[0]).collect();
        let flags = flag::CHECKSUM_BLANK | flag::EXTRA_INFO | flag::MORE_DATA;
        wire.answer(&octets[..4_000], 10, flags, 4_000);
        assert!(wire.receive(&pool).is_none(), "its end is not there yet");
        wire.raw([word(1, 1448), 1]);
        wire.answer(&octets[4_000..], 0, 0, 2_000);
        assert_eq!(wire.receive(&pool), Some((octets, Checksum::Valid)));
        assert!(wire.receive(&pool).is_none());
        assert_eq!(
            wire.rx.ring.outstanding(),
            u32::from(COUNT),
            "all lent again"
        );
    }

    #[test]
    fn errors_and_nonsense_are_dropped_alone() {
        let mut wire = Wire::new();
        let pool = Pool::new(8, 2048);
        wire.answer(b"", 0, 0, -1);
        wire.answer(b"", 4_000, 0, 200);
        wire.answer(b"", 0, 0, 5_000);
        wire.answer(b"frame", 0, 0, 5);
        let good = (b"frame".to_vec(), Checksum::Unverified);
        assert_eq!(wire.receive(&pool), Some(good));
        assert_eq!(
            (wire.rx.ring.outstanding(), pool.free()),
            (u32::from(COUNT), 8)
        );
    }

    #[test]
    fn a_frame_without_end_is_given_up() {
        let mut wire = Wire::new();
        for _ in 0..COUNT {
            wire.answer(b"", 0, flag::MORE_DATA, 1);
        }
        assert!(wire.receive(&Pool::new(8, 2048)).is_none());
        assert_eq!(wire.rx.ring.responses(), 0);
    }

    #[test]
    fn an_empty_pool_lets_only_small_frames_through() {
        let mut wire = Wire::new();
        let pool = Pool::new(1, 2048);
        let _taken = pool.take();
        wire.answer(&[7; 1_000], 0, 0, 1_000);
        wire.answer(&[8; 60], 0, flag::DATA_VALIDATED, 60);
        assert_eq!(
            wire.receive(&pool),
            Some((alloc::vec![8; 60], Checksum::Valid))
        );
    }

    #[test]
    fn the_ring_goes_round() {
        let mut wire = Wire::new();
        let pool = Pool::new(8, 2048);
        for n in 0..1_000_u16 {
            let octets = n.to_le_bytes();
            wire.answer(&octets, 0, 0, 2);
            let (frame, _) = wire.receive(&pool).expect("a frame");
            assert_eq!(frame, octets);
        }
    }
}
