//! What an acknowledgement says: the window, what arrived, what was lost (RFC 9293 section
//! 3.10.7.4, RFC 5681, RFC 6675, RFC 8985).

use core::time::Duration;

use super::{Connection, Recovery, State, Timer, Undo};
use crate::send::prr::{Arrival, Prr};
use crate::send::scoreboard::{Delivery, Sent};
use crate::time::Instant;
use crate::wire::{Flags, Segment};

/// The SACK blocks of a segment, unfolded.
struct Sacks {
    blocks: smallvec::SmallVec<[(u64, u64); 4]>,
    /// Whether the first block told of octets that came twice (RFC 2883).
    duplicate: bool,
}

impl Connection {
    /// Takes a segment's acknowledgement; `false` when the segment is not to be looked at further.
    pub(super) fn on_ack(&mut self, segment: &Segment, start: u64, now: Instant) -> bool {
        // RFC 5961 section 5.2: neither the future nor the distant past, nor what is before our SYN.
        let Some(ack) = self.tx.offset(segment.ack, self.una) else {
            self.challenge(now);
            return false;
        };
        let oldest = self.una.saturating_sub(self.peer_window_most.max(1));
        if ack > self.nxt || ack < oldest {
            self.challenge(now);
            return false;
        }
        let window_moved = self.note_window(segment, start, ack);
        let sacks = self.sacks(segment, ack);
        let before = Before {
            una: self.una,
            in_flight: self.board.in_flight(),
            was_limited: self.was_limited(),
        };
        let delivery = self.apply(ack, &sacks, self.echoed_rtt(segment, now), now);
        if ack > self.una {
            self.una = ack;
            self.queue.release(ack);
            self.rtt.forget_backoff();
            self.retries = 0;
            self.duplicate_acks = 0;
        } else if self.is_duplicate_ack(segment, window_moved) {
            self.duplicate_acks += 1;
        }
        if sacks.duplicate {
            self.rack.on_dsack(self.una, self.nxt);
        }
        self.take_back(segment, self.una > before.una);
        self.mend(&before, delivery, sacks.duplicate, now);
        if delivery.acked > 0 || delivery.delivered > 0 || window_moved {
            self.arm(now);
        }
        true
    }

    /// RFC 9293 section 3.10.7.4: only a newer segment, or the same with a newer ACK, tells the
    /// window.
    fn note_window(&mut self, segment: &Segment, start: u64, ack: u64) -> bool {
        if ack < self.una {
            return false;
        }
        let newer = start > self.window_seq || (start == self.window_seq && ack >= self.window_ack);
        if !newer {
            return false;
        }
        let window = u64::from(segment.window) << self.peer_scale;
        let moved = window != self.peer_window || ack > self.una;
        let opened = self.peer_window == 0 && window > 0;
        (self.window_seq, self.window_ack) = (start, ack);
        self.peer_window = window;
        self.peer_window_most = self.peer_window_most.max(window);
        if opened {
            self.rtt.forget_backoff();
            self.retries = 0;
        }
        moved
    }

    fn sacks(&self, segment: &Segment, ack: u64) -> Sacks {
        let mut sacks = Sacks {
            blocks: smallvec::SmallVec::new(),
            duplicate: false,
        };
        if !self.sack {
            return sacks;
        }
        let unfolded = segment.options.sack.iter().filter_map(|block| {
            let start = self.tx.offset(block.start, self.una)?;
            let end = self.tx.offset(block.end, self.una)?;
            Some((start, end))
        });
        for (index, (start, end)) in unfolded.enumerate() {
            if index == 0 && (end <= ack || self.is_inside_second(segment, start, end)) {
                sacks.duplicate = end <= self.nxt;
                continue;
            }
            if start >= ack && end <= self.nxt {
                sacks.blocks.push((start, end));
            }
        }
        sacks
    }

    fn is_inside_second(&self, segment: &Segment, start: u64, end: u64) -> bool {
        let Some(second) = segment.options.sack.get(1) else {
            return false;
        };
        let second_start = self.tx.offset(second.start, self.una);
        let second_end = self.tx.offset(second.end, self.una);
        second_start.is_some_and(|second_start| second_start <= start)
            && second_end.is_some_and(|second_end| end <= second_end)
    }

    /// Enters what arrived on the board, and takes a sample of the round-trip time.
    fn apply(
        &mut self,
        ack: u64,
        sacks: &Sacks,
        echoed: Option<Duration>,
        now: Instant,
    ) -> Delivery {
        let Self {
            board, rack, rtt, ..
        } = self;
        let shortest = rtt.shortest();
        let mut sample: Option<Duration> = None;
        let mut on_delivered = |sent: &Sent| {
            rack.on_delivered(sent, now, shortest, false);
            // Karn: what was sent twice tells nothing.
            if !sent.again {
                sample = Some(now.since(sent.at));
            }
        };
        let mut delivery = board.ack(ack.max(self.una), &mut on_delivered);
        for (start, end) in &sacks.blocks {
            delivery.delivered += board.sack(*start, *end, &mut on_delivered);
        }
        match (sample, echoed) {
            (Some(sample), _) => rtt.sample(sample),
            // Where nothing but repeats arrived, the echo knows which. Of a lossy handshake the last
            // ACK has to do, or the data would wait for seconds.
            (None, Some(echoed)) if delivery.acked > 0 || rtt.is_unknown() => {
                rtt.coarse_sample(echoed);
            }
            (None, Some(_) | None) => {}
        }
        delivery
    }

    /// How long ago a segment's echo was sent.
    pub(super) fn echoed_rtt(&self, segment: &Segment, now: Instant) -> Option<Duration> {
        let (clock, times) = (self.clock?, segment.options.timestamps?);
        let ms = now.timestamp(clock.offset).wrapping_sub(times.echo);
        (ms <= MOST_ECHOED_MS).then(|| Duration::from_millis(ms.into()))
    }

    fn is_duplicate_ack(&self, segment: &Segment, window_moved: bool) -> bool {
        !window_moved
            && segment.is_empty()
            && !self.board.is_empty()
            && !segment.flags.has(Flags::SYN)
    }

    /// Whether the congestion window, and not the application, limits what is on its way.
    fn was_limited(&self) -> bool {
        let window = u64::from(self.cubic.window());
        let flight = self.nxt - self.una;
        if self.cubic.window() < self.cubic.threshold() {
            2 * flight >= window
        } else {
            flight + u64::from(self.mss) >= window
        }
    }

    /// Looks for losses and sets the congestion window.
    fn mend(&mut self, before: &Before, delivery: Delivery, dsack: bool, now: Instant) {
        let advanced = self.una > before.una;
        if self
            .rack
            .probe_repaired(self.una, dsack, self.board.is_plain())
        {
            self.cubic.on_loss(narrow(before.in_flight));
            self.cubic.set_window(self.cubic.threshold());
        }
        let found = self.find_losses(advanced, now);
        match &mut self.recovery {
            Recovery::Open => {
                if found {
                    self.begin_recovery(before.in_flight);
                    self.conserve(delivery, false);
                } else if before.was_limited && delivery.delivered > 0 {
                    let acked = narrow(delivery.delivered);
                    self.cubic.on_ack(acked, now, self.rtt.smoothed());
                }
            }
            Recovery::Fast { end, .. } => {
                if self.una >= *end {
                    self.recovery = Recovery::Open;
                    self.rack.on_recovered();
                    self.cubic.set_window(self.cubic.threshold());
                } else {
                    self.conserve(delivery, advanced && !found);
                }
            }
            Recovery::Timeout { end } => {
                if self.una >= *end {
                    self.recovery = Recovery::Open;
                    self.rack.on_recovered();
                }
                if delivery.acked > 0 {
                    let acked = narrow(delivery.acked);
                    self.cubic.on_ack(acked, now, self.rtt.smoothed());
                }
            }
        }
    }

    fn find_losses(&mut self, advanced: bool, now: Instant) -> bool {
        if !self.sack {
            return self.find_losses_without_sack(advanced);
        }
        let recovering = !matches!(self.recovery, Recovery::Open);
        let detection = self
            .rack
            .detect(&mut self.board, &self.rtt, now, recovering, self.mss);
        self.reordering_at(detection.look_again);
        detection.found
    }

    /// `NewReno` (RFC 6582): three duplicates condemn the first segment, a partial ACK the next.
    fn find_losses_without_sack(&mut self, advanced: bool) -> bool {
        let partial =
            advanced && matches!(self.recovery, Recovery::Fast { end, .. } if self.una < end);
        let third = matches!(self.recovery, Recovery::Open) && self.duplicate_acks == 3;
        if !partial && !third {
            return false;
        }
        let una = self.una;
        let mss = u64::from(self.mss);
        self.board.lose_first(una, mss)
    }

    fn reordering_at(&mut self, at: Option<Instant>) {
        if let Some(at) = at {
            self.retransmit = Some(Timer::Reordering(at));
        }
    }

    fn begin_recovery(&mut self, in_flight: u64) {
        let undo = Undo::new(self.cubic.clone());
        self.cubic.on_loss(narrow(in_flight));
        self.recovery = Recovery::Fast {
            end: self.nxt,
            prr: Prr::new(narrow(in_flight)),
            undo: Some(undo),
        };
    }

    fn conserve(&mut self, delivery: Delivery, safe: bool) {
        let (threshold, mss) = (self.cubic.threshold(), self.mss);
        let arrival = Arrival {
            delivered: narrow(delivery.delivered),
            safe,
            in_flight: narrow(self.board.in_flight()),
        };
        if let Recovery::Fast { prr, .. } = &mut self.recovery {
            let window = prr.window(arrival, threshold, mss);
            self.cubic.set_window(window);
        }
    }

    /// RACK's timer ran out: what was late is lost.
    pub(super) fn on_reordering_timeout(&mut self, now: Instant) {
        let in_flight = self.board.in_flight();
        if self.find_losses(false, now) && matches!(self.recovery, Recovery::Open) {
            self.begin_recovery(in_flight);
            self.conserve(Delivery::default(), false);
        }
        if !matches!(self.retransmit, Some(Timer::Reordering(at)) if at > now) {
            self.arm(now);
        }
    }

    /// The retransmission timer ran out: `false` when it has done so too often (RFC 9293 section
    /// 3.8.3, R2).
    pub(super) fn on_retransmission_timeout(&mut self, most: u32, now: Instant) -> bool {
        if self.retries >= most {
            return false;
        }
        self.retries += 1;
        let first = self.retries == 1;
        let in_flight = self.board.in_flight();
        if self.board.first().is_some_and(Sent::is_sacked) {
            // It had it and has it no more.
            self.board.forget_sacks();
        }
        self.board.mark_lost(|_| true);
        self.rtt.back_off();
        self.rack.on_timeout();
        self.cubic.on_timeout(narrow(in_flight), first);
        self.recovery = Recovery::Timeout { end: self.nxt };
        self.retransmit = Some(Timer::Timeout(now + self.rtt.timeout()));
        true
    }

    /// Sets the timer of the sending side after something changed.
    pub(super) fn arm(&mut self, now: Instant) {
        if matches!(self.state, State::SynSent | State::SynReceived) {
            return;
        }
        if matches!(self.retransmit, Some(Timer::Reordering(at)) if at > now && !self.board.is_plain())
        {
            return;
        }
        self.retransmit = if !self.board.is_empty() {
            match self.rack.probe_timeout(&self.board, &self.rtt, self.mss) {
                Some(timeout) if self.sack => Some(Timer::Probe(now + timeout)),
                Some(_) | None => Some(Timer::Timeout(now + self.rtt.timeout())),
            }
        } else if self.queue.end() > self.nxt {
            // Something waits, and no ACK will come that could open the window.
            Some(Timer::Window(now + self.rtt.timeout()))
        } else {
            None
        };
    }
}

/// Beyond that an echo is not of ours.
const MOST_ECHOED_MS: u32 = 120_000;

/// How things were before an ACK.
struct Before {
    una: u64,
    in_flight: u64,
    was_limited: bool,
}

/// Windows are below 2^30 (RFC 7323 section 2.3), so are differences of offsets in them.
fn narrow(octets: u64) -> u32 {
    u32::try_from(octets).unwrap_or(u32::MAX)
}
