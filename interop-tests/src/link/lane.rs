//! One direction of one link: what becomes of the frames that enter it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::stats::Counts;
use super::{Fate, Loss, Middlebox, Shaper, Verdict};
use crate::sys::Frame;

/// One direction of one link, by the port at which it is entered.
pub(super) struct Lane {
    pub(super) shaper: Shaper,
    pub(super) middlebox: Option<Middlebox>,
    pub(super) on_the_way: usize,
}

/// A frame on the way. The order is that of arrival; what is due at the same
/// time keeps the order in which it was sent.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    pub(super) at_ns: u64,
    pub(super) sequence: u64,
    pub(super) lane: usize,
    pub(super) frame: Vec<u8>,
}

/// Where accepted frames go.
pub(super) struct Road<'a> {
    pub(super) due: &'a mut BinaryHeap<Reverse<Due>>,
    pub(super) sequence: &'a mut u64,
    pub(super) spare: &'a mut Vec<Vec<u8>>,
    pub(super) lane: usize,
}

impl Road<'_> {
    fn send(&mut self, at_ns: u64, frame: Vec<u8>) {
        *self.sequence += 1;
        self.due.push(Reverse(Due {
            at_ns,
            sequence: *self.sequence,
            lane: self.lane,
            frame,
        }));
    }

    fn copy(&mut self, octets: &[u8]) -> Vec<u8> {
        let mut frame = self.spare.pop().unwrap_or_default();
        frame.clear();
        frame.extend_from_slice(octets);
        frame
    }
}

impl Lane {
    pub(super) fn accept(&mut self, sent: &Frame<'_>, road: &mut Road<'_>, counts: &mut Counts) {
        let stats = &mut counts.stats;
        let mut frame = road.copy(sent.octets);
        let verdict = self
            .middlebox
            .as_mut()
            .map_or(Verdict::Pass, |pass| pass(&mut frame));
        if verdict == Verdict::Drop {
            stats.middlebox_dropped += 1;
            return;
        }
        if self.on_the_way >= MAX_ON_THE_WAY {
            stats.failed += 1;
            return;
        }
        match self.shaper.offer(sent.timestamp_ns, frame.len()) {
            Fate::Lost(Loss::Tail) => stats.queue_dropped += 1,
            Fate::Lost(Loss::Random) => stats.lost += 1,
            Fate::Due {
                at_ns,
                copy_at_ns,
                held_back,
                corrupt,
            } => {
                if let Some(dice) = corrupt {
                    flip_a_bit(&mut frame, dice);
                }
                stats.corrupted += u64::from(corrupt.is_some());
                stats.reordered += u64::from(held_back);
                stats.duplicated += u64::from(copy_at_ns.is_some());
                if let Some(copy_at_ns) = copy_at_ns {
                    let copy = road.copy(&frame);
                    road.send(copy_at_ns, copy);
                    self.on_the_way += 1;
                }
                road.send(at_ns, frame);
                self.on_the_way += 1;
            }
        }
    }
}

/// Spares the Ethernet and IP headers, so that the damage is for TCP's
/// checksum to find.
fn flip_a_bit(frame: &mut [u8], dice: u64) {
    let Some(body) = frame
        .get_mut(HEADERS_OCTETS..)
        .filter(|body| !body.is_empty())
    else {
        return;
    };
    let at = (dice >> 3) as usize % body.len();
    body[at] ^= 1 << (dice & 7);
}

/// A memory bound for each direction: 100 MB of full frames.
const MAX_ON_THE_WAY: usize = 65_536;
const HEADERS_OCTETS: usize = 14 + 20;
