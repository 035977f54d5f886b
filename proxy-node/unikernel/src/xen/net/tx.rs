//! Frames to the back.

use alloc::vec::Vec;

use super::super::page::PAGE_OCTETS;
use super::super::ring::{Notify, Ring};
use super::{Buffers, SLOTS_A_FRAME_MOST, word};
use synhop_stack::{Frame, Octets};

/// Flags of a request (`NETTXF_*`).
mod flag {
    pub(super) const CHECKSUM_BLANK: u16 = 1;
    pub(super) const DATA_VALIDATED: u16 = 2;
    pub(super) const MORE_DATA: u16 = 4;
    pub(super) const EXTRA_INFO: u16 = 8;
}
/// Extra information of the kind "GSO" (`XEN_NETIF_EXTRA_TYPE_GSO`).
const EXTRA_GSO: u8 = 1;
/// A response to a slot of extra information (`NETIF_RSP_NULL`), which names no request.
const STATUS_NULL: u16 = 1;

/// The sending half.
#[derive(Debug)]
pub(super) struct Tx {
    ring: Ring<3>,
    /// Numbers of buffers that the back does not have.
    free: Vec<u16>,
    /// For each buffer, whether the back has it.
    lent: Vec<bool>,
}

impl Tx {
    /// On an empty ring; all buffers are free.
    pub(super) fn new(ring: Ring<3>, buffers: &Buffers) -> Self {
        Self {
            ring,
            free: buffers.numbers().collect(),
            lent: alloc::vec![false; buffers.len()],
        }
    }

    /// Copies a frame into the ring. It comes back if there is no room; then a signal of the back's
    /// says when there is some.
    #[expect(
        clippy::result_large_err,
        reason = "the frame goes back by move, no error is made of it"
    )]
    pub(super) fn send(&mut self, frame: Frame, buffers: &Buffers) -> Result<(), Frame> {
        let octets = frame.len();
        let pages = octets.div_ceil(PAGE_OCTETS);
        if octets == 0 || pages > SLOTS_A_FRAME_MOST.min(buffers.len()) {
            // Nothing that the stack was told it may send; no wait would make room for it.
            return Ok(());
        }
        let slots = u32::try_from(pages).unwrap_or(u32::MAX) + u32::from(frame.gso.is_some());
        loop {
            self.collect();
            if self.free.len() >= pages && self.ring.room() >= slots {
                break;
            }
            if self.ring.wish(1) {
                return Err(frame);
            }
        }
        let chosen = self.free.split_off(self.free.len() - pages);
        copy(&frame, &chosen, buffers);
        self.request(&frame, octets, &chosen, buffers);
        Ok(())
    }

    /// Shows the back what was sent.
    pub(super) fn tell(&mut self) -> Notify {
        self.ring.tell()
    }

    fn request(&mut self, frame: &Frame, octets: usize, chosen: &[u16], buffers: &Buffers) {
        let mut left = octets;
        for (n, &number) in chosen.iter().enumerate() {
            let Some((_, grant)) = buffers.get(number) else {
                continue;
            };
            if let Some(lent) = self.lent.get_mut(usize::from(number)) {
                *lent = true;
            }
            let here = left.min(PAGE_OCTETS);
            left -= here;
            let mut flags = if left > 0 { flag::MORE_DATA } else { 0 };
            // The first slot tells the size of the whole frame.
            let mut size = here;
            if n == 0 {
                size = octets;
                flags |= first_flags(frame);
            }
            let size = u16::try_from(size).unwrap_or(u16::MAX);
            self.ring
                .request([grant.0, word(0, flags), word(number, size)]);
            if n == 0
                && let Some(gso) = &frame.gso
            {
                let family = if gso.is_ipv4 { 1 } else { 2 };
                self.ring
                    .request([word(u16::from(EXTRA_GSO), gso.segment_octets), family, 0]);
            }
        }
    }

    /// Takes back what the back is done with.
    fn collect(&mut self) {
        for _ in 0..self.ring.responses() {
            let [answer, ..] = self.ring.response(0);
            self.ring.consume();
            let (number, status) = super::halves(answer);
            if status == STATUS_NULL {
                continue;
            }
            // Only what was lent comes back, once; dropped or not makes no difference here.
            if let Some(lent) = self.lent.get_mut(usize::from(number))
                && core::mem::take(lent)
            {
                self.free.push(number);
            }
        }
    }
}

fn first_flags(frame: &Frame) -> u16 {
    let mut flags = 0;
    if frame.checksum.is_some() {
        flags |= flag::CHECKSUM_BLANK | flag::DATA_VALIDATED;
    }
    if frame.gso.is_some() {
        flags |= flag::EXTRA_INFO;
    }
    flags
}

/// Fills the chosen buffers with the frame.
fn copy(frame: &Frame, chosen: &[u16], buffers: &Buffers) {
    let parts = frame.payload.parts().iter().map(Octets::as_slice);
    let mut at = 0;
    for mut octets in core::iter::once(frame.head()).chain(parts) {
        while !octets.is_empty() {
            let (page, offset) = (at / PAGE_OCTETS, at % PAGE_OCTETS);
            let (now, later) = octets.split_at(octets.len().min(PAGE_OCTETS - offset));
            if let Some((page, _)) = chosen.get(page).and_then(|&number| buffers.get(number)) {
                page.write(offset, now);
            }
            at += now.len();
            octets = later;
        }
    }
}
