//! Octets that came before their time: islands between holes.

use alloc::collections::VecDeque;

use crate::pool::{Octets, Payload};

/// Stretches in order of their offsets; they neither overlap nor touch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Islands {
    islands: VecDeque<Island>,
    touches: u64,
}

/// A stretch without holes.
#[derive(Clone, Debug)]
pub(crate) struct Island {
    pub start: u64,
    pub end: u64,
    parts: VecDeque<Octets>,
    /// The number of the insertion that touched it last.
    touched: u64,
}

/// There are too many holes: the octets are not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

impl Islands {
    pub(crate) fn is_empty(&self) -> bool {
        self.islands.is_empty()
    }

    /// The islands, those that changed last first (RFC 2018 section 4).
    pub(crate) fn newest(&self, most: usize) -> impl Iterator<Item = (u64, u64)> {
        let mut newest: smallvec::SmallVec<[&Island; 8]> = self.islands.iter().collect();
        newest.sort_unstable_by_key(|island| core::cmp::Reverse(island.touched));
        newest
            .into_iter()
            .take(most)
            .map(|island| (island.start, island.end))
    }

    /// Adds octets. What is there already stays as it came first; the first stretch that was there
    /// already is returned.
    pub(crate) fn insert(
        &mut self,
        mut at: u64,
        mut payload: Payload,
    ) -> Result<Option<(u64, u64)>, Refused> {
        self.touches += 1;
        let mut duplicate = None;
        while !payload.is_empty() {
            let index = self.islands.partition_point(|island| island.end <= at);
            let end = at + payload.len() as u64;
            let until = match self.islands.get_mut(index) {
                Some(island) if island.start <= at => {
                    island.touched = self.touches;
                    let known = island.end.min(end);
                    duplicate = duplicate.or(Some((at, known)));
                    payload.trim_start(usize::try_from(known - at).unwrap_or(usize::MAX));
                    at = known;
                    continue;
                }
                Some(island) => island.start.min(end),
                None => end,
            };
            let mut piece = payload.clone();
            let len = usize::try_from(until - at).unwrap_or(usize::MAX);
            piece.truncate(len);
            payload.trim_start(len);
            self.put(index, at, until, piece)?;
            at = until;
        }
        Ok(duplicate)
    }

    /// Puts a piece into the gap before the island at `index`.
    fn put(&mut self, index: usize, start: u64, end: u64, piece: Payload) -> Result<(), Refused> {
        let touches_left = index
            .checked_sub(1)
            .and_then(|left| self.islands.get(left))
            .is_some_and(|left| left.end == start);
        let touches_right = self
            .islands
            .get(index)
            .is_some_and(|right| right.start == end);
        if !touches_left && !touches_right && self.islands.len() >= MAX_ISLANDS {
            return Err(Refused);
        }
        if touches_left {
            let right = if touches_right {
                self.islands.remove(index)
            } else {
                None
            };
            if let Some(left) = self.islands.get_mut(index - 1) {
                left.parts.extend(piece);
                left.end = end;
                left.touched = self.touches;
                if let Some(right) = right {
                    left.parts.extend(right.parts);
                    left.end = right.end;
                }
            }
        } else if touches_right {
            if let Some(right) = self.islands.get_mut(index) {
                for octets in piece.into_iter().rev() {
                    right.parts.push_front(octets);
                }
                right.start = start;
                right.touched = self.touches;
            }
        } else {
            self.islands.insert(
                index,
                Island {
                    start,
                    end,
                    parts: piece.into_iter().collect(),
                    touched: self.touches,
                },
            );
        }
        Ok(())
    }

    /// The island that begins at `offset`, if there is one.
    pub(crate) fn take_at(&mut self, offset: u64) -> Option<VecDeque<Octets>> {
        let first = self.islands.front()?;
        if first.start > offset {
            return None;
        }
        let first = self.islands.pop_front()?;
        Some(first.parts)
    }
}

/// More holes than that are not remembered: an ACK names four at most.
const MAX_ISLANDS: usize = 32;
