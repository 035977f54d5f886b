//! The receiving half: what has come, in order or not, and what we say about it.

pub(crate) mod ack;
pub(crate) mod reassembly;

use alloc::collections::VecDeque;
use core::ops::Range;

use reassembly::Islands;

use crate::pool::{Octets, Payload};

/// What has arrived on one connection. Offsets count from the peer's initial sequence number.
#[derive(Clone, Debug)]
pub(crate) struct Receiver {
    /// RCV.NXT.
    next: u64,
    /// The right edge of the window as the peer knows it.
    edge: u64,
    ready: VecDeque<Octets>,
    ready_octets: u64,
    islands: Islands,
    fin_at: Option<u64>,
    fin_passed: bool,
    /// Whether octets were taken since the peer heard of us.
    was_read: bool,
}

/// What a segment's data did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// Octets of sequence space by which RCV.NXT moved.
    pub advanced: u64,
    /// Whether it left or filled a hole: to be acknowledged at once (RFC 5681 section 4.2).
    pub disordered: bool,
    /// Whether it went beyond the window: the peer tries it, and has to be told.
    pub cut: bool,
    /// Octets that we had already (RFC 2883).
    pub duplicate: Option<(u64, u64)>,
}

impl Receiver {
    /// The SYN has come: data begins at offset 1.
    pub(crate) fn new(window: u64) -> Self {
        Self {
            next: 1,
            edge: 1 + window,
            ready: VecDeque::new(),
            ready_octets: 0,
            islands: Islands::default(),
            fin_at: None,
            fin_passed: false,
            was_read: false,
        }
    }

    /// RCV.NXT as an offset.
    pub(crate) const fn next(&self) -> u64 {
        self.next
    }

    /// Where the window ends.
    pub(crate) const fn edge(&self) -> u64 {
        self.edge
    }

    /// Octets in order that nobody has taken.
    pub(crate) const fn ready_octets(&self) -> u64 {
        self.ready_octets
    }

    pub(crate) fn islands(&self) -> &Islands {
        &self.islands
    }

    /// Whether the peer's FIN has come and everything before it was taken.
    pub(crate) fn is_finished(&self) -> bool {
        self.fin_passed && self.ready.is_empty()
    }

    /// Whether the peer's FIN has come, in order.
    pub(crate) const fn has_fin(&self) -> bool {
        self.fin_passed
    }

    /// Takes a segment's data, cut to the window, and its FIN.
    pub(crate) fn accept(&mut self, mut start: u64, mut payload: Payload, fin: bool) -> Arrived {
        let mut arrived = Arrived::default();
        let before = self.next;
        let end = start + payload.len() as u64;
        if start < self.next && !payload.is_empty() {
            let known = self.next.min(end);
            arrived.duplicate = Some((start, known));
            payload.trim_start(usize::try_from(known - start).unwrap_or(usize::MAX));
            start = known;
        }
        if end > self.edge {
            payload.truncate(usize::try_from(self.edge.saturating_sub(start)).unwrap_or(0));
            arrived.cut = true;
        } else if fin && self.fin_at.is_none_or(|at| at == end) {
            self.fin_at = Some(end);
        }
        let had_holes = !self.islands.is_empty();
        if !payload.is_empty() {
            if start == self.next && !had_holes {
                self.take_in_order(payload);
            } else {
                // Refused where there are too many holes: the peer sends it again.
                if let Ok(duplicate) = self.islands.insert(start, payload) {
                    arrived.duplicate = arrived.duplicate.or(duplicate);
                }
                arrived.disordered = true;
            }
        }
        while let Some(parts) = self.islands.take_at(self.next) {
            for octets in parts {
                self.next += octets.len() as u64;
                self.ready_octets += octets.len() as u64;
                self.ready.push_back(octets);
            }
        }
        if self.fin_at == Some(self.next) && !self.fin_passed {
            self.fin_passed = true;
            self.next += 1;
        }
        arrived.disordered |= had_holes;
        arrived.advanced = self.next - before;
        arrived
    }

    fn take_in_order(&mut self, payload: Payload) {
        for octets in payload {
            self.next += octets.len() as u64;
            self.ready_octets += octets.len() as u64;
            self.ready.push_back(octets);
        }
    }

    /// The next octets in order.
    pub(crate) fn take(&mut self, most: u64) -> Option<Octets> {
        let first = self.ready.front_mut()?;
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let taken = if first.len() <= most {
            self.ready.pop_front()?
        } else {
            first.split_to(most)
        };
        self.ready_octets -= taken.len() as u64;
        if self.ready.is_empty() {
            // Back to its first place, which is in the cache.
            self.ready.clear();
        }
        self.was_read = true;
        Some(taken)
    }

    /// Lets go of what waits behind holes; the peer sends it again (RFC 2018 section 8). Says
    /// whether there was any.
    pub(crate) fn renege(&mut self) -> bool {
        if self.islands.is_empty() {
            return false;
        }
        self.islands = Islands::default();
        self.fin_at = self.fin_at.filter(|_| self.fin_passed);
        true
    }

    /// The window to advertise when `room` octets of a buffer could be taken: its right edge never
    /// moves back, and on by a segment or half of the buffer at least (RFC 9293 section 3.8.6.2.2).
    pub(crate) fn offer(&self, room: u64, buffer: u64, mss: u32) -> u64 {
        let wanted = self.next + room;
        let step = u64::from(mss).min(buffer / 2).max(1);
        if wanted >= self.edge + step {
            wanted
        } else {
            self.edge.max(self.next)
        }
    }

    /// Whether an open window may have become news: something was read since the last time that we
    /// told it, or the peer cannot send at all.
    pub(crate) const fn may_open(&self) -> bool {
        self.was_read || self.edge <= self.next
    }

    /// The edge was told to the peer.
    pub(crate) fn set_edge(&mut self, edge: u64) {
        self.edge = self.edge.max(edge);
        self.was_read = false;
    }
}

/// Whether a segment of `len` octets of sequence space is acceptable (RFC 9293 section 3.4, table 6):
/// any octet in the window will do.
pub(crate) fn is_in_window(window: Range<u64>, start: u64, len: u64) -> bool {
    let Range { start: next, end } = window;
    let edge = end.max(next);
    if len == 0 {
        // At the edge of a closed window, and in an open one. Its very edge, too, as Linux: a peer
        // that has filled the window sends its ACKs from there.
        return start >= next && start <= edge;
    }
    // What tries a closed window says something with its ACK; its data is cut.
    start < edge && start + len > next || (edge == next && start == next)
}

#[cfg(test)]
mod tests;
