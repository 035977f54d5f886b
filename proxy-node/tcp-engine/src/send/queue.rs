//! Octets to be sent, by reference, until they are acknowledged.

use alloc::collections::VecDeque;

use crate::pool::{Octets, Payload};

/// A stretch of the stream. Offsets count from the initial sequence number: data begins at 1.
#[derive(Clone, Debug)]
pub(crate) struct SendQueue {
    /// Each with the offset of its first octet.
    parts: VecDeque<(u64, Octets)>,
    start: u64,
    end: u64,
}

impl SendQueue {
    pub(crate) const fn new() -> Self {
        Self {
            parts: VecDeque::new(),
            start: 1,
            end: 1,
        }
    }

    /// The offset behind the last.
    pub(crate) const fn end(&self) -> u64 {
        self.end
    }

    /// Octets kept.
    pub(crate) const fn len(&self) -> u64 {
        self.end - self.start
    }

    pub(crate) fn push(&mut self, octets: Octets) {
        if !octets.is_empty() {
            let at = self.end;
            self.end += octets.len() as u64;
            self.parts.push_back((at, octets));
        }
    }

    /// Lets go of everything before `offset`.
    pub(crate) fn release(&mut self, offset: u64) {
        let offset = offset.clamp(self.start, self.end);
        self.start = offset;
        while let Some((at, octets)) = self.parts.front_mut() {
            let skip = usize::try_from(offset.saturating_sub(*at)).unwrap_or(usize::MAX);
            if skip >= octets.len() {
                self.parts.pop_front();
            } else {
                let _sent = octets.split_to(skip);
                *at = (*at).max(offset);
                return;
            }
        }
    }

    /// References to up to `len` octets from `offset` on.
    pub(crate) fn range(&self, offset: u64, len: usize) -> Payload {
        let mut payload = Payload::new();
        let mut first = self
            .parts
            .partition_point(|(at, octets)| at.saturating_add(octets.len() as u64) <= offset);
        while payload.len() < len {
            let Some((at, octets)) = self.parts.get(first) else {
                break;
            };
            let next = offset + payload.len() as u64;
            let skip = usize::try_from(next.saturating_sub(*at)).unwrap_or(usize::MAX);
            let want = len - payload.len();
            payload.push(octets.slice(skip..skip.saturating_add(want)));
            first += 1;
        }
        payload
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use quickcheck::quickcheck;

    use super::*;

    quickcheck! {
        fn any_range_of_any_cutting_is_the_stream(
            parts: Vec<Vec<u8>>, released: u8, from: u8, len: u8
        ) -> bool {
            let mut queue = SendQueue::new();
            for part in &parts {
                queue.push(Octets::copy_of(part));
            }
            let stream = parts.concat();
            let released = usize::from(released).min(stream.len());
            queue.release(1 + released as u64);
            let from = released.max(usize::from(from)).min(stream.len());
            let until = (from + usize::from(len)).min(stream.len());
            queue.range(1 + from as u64, usize::from(len)).to_vec() == stream[from..until]
                && queue.len() == (stream.len() - released) as u64
        }
    }
}
