//! What has been sent and not acknowledged, stretch by stretch (RFC 6675, RFC 8985 section 5.1).

use alloc::collections::VecDeque;

use crate::time::Instant;

/// What is known about a stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// On its way, as far as we know.
    InFlight,
    /// Arrived, and not yet in order.
    Sacked,
    /// To be sent again.
    Lost,
}

/// A stretch of offsets that was sent at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub start: u64,
    pub end: u64,
    /// The last time.
    pub at: Instant,
    /// Whether that was not the first time.
    pub again: bool,
    pub fate: Fate,
}

impl Sent {
    pub(crate) const fn len(&self) -> u64 {
        self.end - self.start
    }

    pub(crate) fn is_sacked(&self) -> bool {
        self.fate == Fate::Sacked
    }
}

/// All of it, in order of offsets, without gaps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scoreboard {
    sent: VecDeque<Sent>,
    in_flight: u64,
    sacked: u64,
    lost: u64,
    /// Stretches on their way for a second time or more.
    again: usize,
}

/// What an acknowledgement said that was not known.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Delivery {
    /// Octets that became acknowledged in order.
    pub acked: u64,
    /// Octets that are known to have arrived since: in order or not.
    pub delivered: u64,
}

impl Scoreboard {
    /// Octets on their way: RFC 6675's pipe.
    pub(crate) const fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// Octets that arrived out of order.
    pub(crate) const fn sacked(&self) -> u64 {
        self.sacked
    }

    /// Octets to be sent again.
    pub(crate) const fn lost(&self) -> u64 {
        self.lost
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// Whether what is outstanding was sent in order and once: nothing can be missing then.
    pub(crate) const fn is_plain(&self) -> bool {
        self.sacked == 0 && self.again == 0 && self.lost == 0
    }

    /// The last stretch.
    pub(crate) fn last(&self) -> Option<&Sent> {
        self.sent.back()
    }

    /// The first stretch.
    pub(crate) fn first(&self) -> Option<&Sent> {
        self.sent.front()
    }

    /// New octets went out.
    pub(crate) fn on_sent(&mut self, start: u64, end: u64, now: Instant) {
        self.in_flight += end - start;
        self.sent.push_back(Sent {
            start,
            end,
            at: now,
            again: false,
            fate: Fate::InFlight,
        });
    }

    /// The next stretch to send again, at most `most` octets of it.
    pub(crate) fn first_lost(&self, most: u64) -> Option<(u64, u64)> {
        if self.lost == 0 {
            return None;
        }
        let sent = self.sent.iter().find(|sent| sent.fate == Fate::Lost)?;
        Some((sent.start, sent.end.min(sent.start + most)))
    }

    /// A stretch went out again. It may be part of one that is on the board, not more.
    pub(crate) fn on_sent_again(&mut self, start: u64, end: u64, now: Instant) {
        self.split_at(start);
        self.split_at(end);
        let Some(index) = self.index_of(start) else {
            return;
        };
        if let Some(sent) = self.sent.get_mut(index) {
            match sent.fate {
                Fate::InFlight => {}
                Fate::Lost => {
                    self.lost -= sent.len();
                    self.in_flight += sent.len();
                }
                // It arrived: sending it again changes nothing.
                Fate::Sacked => return,
            }
            sent.fate = Fate::InFlight;
            sent.at = now;
            if !sent.again {
                sent.again = true;
                self.again += 1;
            }
        }
    }

    /// Everything before `una` has arrived. `delivered` is called for each stretch that was not
    /// known to have.
    pub(crate) fn ack(&mut self, una: u64, mut delivered: impl FnMut(&Sent)) -> Delivery {
        let mut delivery = Delivery::default();
        while let Some(sent) = self.sent.front().copied() {
            if sent.start >= una {
                break;
            }
            if sent.end > una {
                self.split_at(una);
                continue;
            }
            self.sent.pop_front();
            delivery.acked += sent.len();
            self.again -= usize::from(sent.again);
            match sent.fate {
                Fate::InFlight => self.in_flight -= sent.len(),
                Fate::Lost => self.lost -= sent.len(),
                Fate::Sacked => {
                    self.sacked -= sent.len();
                    continue;
                }
            }
            delivery.delivered += sent.len();
            delivered(&sent);
        }
        delivery
    }

    /// A SACK block says that `start..end` has arrived. Returns the octets that are news.
    pub(crate) fn sack(&mut self, start: u64, end: u64, mut delivered: impl FnMut(&Sent)) -> u64 {
        let (Some(first), Some(last)) = (self.sent.front(), self.sent.back()) else {
            return 0;
        };
        let (start, end) = (start.max(first.start), end.min(last.end));
        if start >= end {
            return 0;
        }
        self.split_at(start);
        self.split_at(end);
        let mut news = 0;
        let mut index = self.sent.partition_point(|sent| sent.end <= start);
        while let Some(sent) = self.sent.get_mut(index) {
            if sent.start >= end {
                break;
            }
            match sent.fate {
                Fate::Sacked => {}
                Fate::InFlight | Fate::Lost => {
                    news += sent.len();
                    delivered(sent);
                    if sent.fate == Fate::Lost {
                        self.lost -= sent.len();
                    } else {
                        self.in_flight -= sent.len();
                    }
                    self.again -= usize::from(sent.again);
                    sent.again = false;
                    sent.fate = Fate::Sacked;
                    self.sacked += sent.len();
                }
            }
            if !self.merge_with_previous(index) {
                index += 1;
            }
        }
        // The neighbour above may have been SACKed before.
        self.merge_with_previous(index);
        news
    }

    /// Marks what is on its way and `is_lost` as lost; says whether there was any.
    pub(crate) fn mark_lost(&mut self, mut is_lost: impl FnMut(&Sent) -> bool) -> bool {
        let mut any = false;
        for sent in &mut self.sent {
            if sent.fate == Fate::InFlight && is_lost(sent) {
                sent.fate = Fate::Lost;
                self.in_flight -= sent.len();
                self.lost += sent.len();
                any = true;
            }
        }
        any
    }

    /// Marks the first `most` octets from `una` on as lost; says whether that is news.
    pub(crate) fn lose_first(&mut self, una: u64, most: u64) -> bool {
        self.split_at(una + most);
        self.mark_lost(|sent| sent.start == una)
    }

    /// What was marked lost and has not been sent again is on its way after all.
    pub(crate) fn unmark_lost(&mut self) {
        for sent in &mut self.sent {
            if sent.fate == Fate::Lost {
                sent.fate = Fate::InFlight;
            }
        }
        self.in_flight += self.lost;
        self.lost = 0;
    }

    /// Forgets all SACKs: the receiver may have dropped what it had (RFC 2018 section 8).
    pub(crate) fn forget_sacks(&mut self) {
        for sent in &mut self.sent {
            if sent.fate == Fate::Sacked {
                sent.fate = Fate::Lost;
                self.sacked -= sent.len();
                self.lost += sent.len();
            }
        }
    }

    fn index_of(&self, offset: u64) -> Option<usize> {
        let index = self.sent.partition_point(|sent| sent.end <= offset);
        (index < self.sent.len()).then_some(index)
    }

    /// Cuts the stretch that `offset` lies inside of.
    fn split_at(&mut self, offset: u64) {
        let Some(index) = self.index_of(offset) else {
            return;
        };
        let Some(sent) = self.sent.get_mut(index) else {
            return;
        };
        if sent.start < offset {
            let second = Sent {
                start: offset,
                ..*sent
            };
            sent.end = offset;
            self.again += usize::from(second.again);
            self.sent.insert(index + 1, second);
        }
    }

    /// Keeps the board short: neighbours that have arrived become one.
    fn merge_with_previous(&mut self, index: usize) -> bool {
        let Some(previous) = index.checked_sub(1) else {
            return false;
        };
        let (Some(one), Some(two)) = (self.sent.get(previous), self.sent.get(index)) else {
            return false;
        };
        if one.fate != Fate::Sacked || two.fate != Fate::Sacked {
            return false;
        }
        let end = two.end;
        if let Some(one) = self.sent.get_mut(previous) {
            one.end = end;
        }
        self.sent.remove(index);
        true
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::cast_possible_truncation, reason = "offsets of a few hundred")]

    use alloc::vec;
    use alloc::vec::Vec;

    use quickcheck::{Arbitrary, Gen, quickcheck};

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Send(u8),
        Again(u8),
        Ack(u8),
        Sack(u8, u8),
        Lose(u8),
    }

    impl Arbitrary for Step {
        fn arbitrary(g: &mut Gen) -> Self {
            let number = u8::arbitrary(g);
            match u8::arbitrary(g) % 5 {
                0 => Self::Send(number % 20 + 1),
                1 => Self::Again(number),
                2 => Self::Ack(number),
                3 => Self::Sack(number, u8::arbitrary(g) % 30),
                _ => Self::Lose(number),
            }
        }
    }

    quickcheck! {
        /// The board against one flag per octet.
        fn it_counts_as_a_board_of_octets_does(steps: Vec<Step>) -> bool {
            let mut board = Scoreboard::default();
            let mut model: Vec<Fate> = vec![];
            let mut una = 0_usize;
            for step in steps {
                match step {
                    Step::Send(len) => {
                        let start = model.len() as u64;
                        board.on_sent(start, start + u64::from(len), Instant::ZERO);
                        model.extend((0..len).map(|_| Fate::InFlight));
                    }
                    Step::Again(most) => {
                        if let Some((start, end)) = board.first_lost(u64::from(most % 9) + 1) {
                            board.on_sent_again(start, end, Instant::ZERO);
                            for octet in &mut model[start as usize..end as usize] {
                                *octet = Fate::InFlight;
                            }
                        }
                    }
                    Step::Ack(to) => {
                        let to = (una + usize::from(to % 16)).min(model.len());
                        let acked = board.ack(to as u64, |_| {}).acked;
                        if acked != (to - una) as u64 {
                            return false;
                        }
                        una = to;
                    }
                    Step::Sack(from, len) => {
                        let start = (una + usize::from(from)).min(model.len());
                        let end = (start + usize::from(len)).min(model.len());
                        let fresh = model[start..end].iter().filter(|fate| **fate != Fate::Sacked);
                        let fresh = fresh.count() as u64;
                        if board.sack(start as u64, end as u64, |_| {}) != fresh {
                            return false;
                        }
                        model[start..end].fill(Fate::Sacked);
                    }
                    Step::Lose(before) => {
                        let before = (una + usize::from(before)) as u64;
                        board.mark_lost(|sent| sent.end <= before);
                        for sent in &board.sent {
                            if sent.fate == Fate::Lost {
                                model[sent.start as usize..sent.end as usize].fill(Fate::Lost);
                            }
                        }
                    }
                }
                let count = |fate| model[una..].iter().filter(|is| **is == fate).count() as u64;
                let counted = (count(Fate::InFlight), count(Fate::Sacked), count(Fate::Lost));
                if counted != (board.in_flight(), board.sacked(), board.lost()) {
                    return false;
                }
            }
            let again = board.sent.iter().filter(|sent| sent.again).count();
            again == board.again
        }
    }
}
