//! A segment in a synchronized state (RFC 9293 section 3.10.7.4, with RFC 5961 and RFC 7323).

use core::time::Duration;

use synhop_option::Kind;

use super::{Connection, FIN_WAIT_2, Failure, News, State, Transmit, reset};
use crate::receive::is_in_window;
use crate::seq::Seq;
use crate::time::Instant;
use crate::wire::{Flags, Segment};

/// Whether a segment's data may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    /// There is some.
    Enough,
    /// There is little: data is dropped, everything else counts.
    Short,
}

/// What a check found.
enum Check {
    /// Go on.
    Fine,
    /// The segment is done with.
    Done(Option<News>),
}

impl Connection {
    /// A segment of this connection has come.
    pub(crate) fn on_segment(
        &mut self,
        segment: Segment,
        kind: Kind,
        memory: Memory,
        now: Instant,
        answers: &mut impl FnMut(Transmit),
    ) -> Option<News> {
        match self.state {
            State::SynSent => return self.on_syn_sent(&segment, kind, now, answers),
            State::TimeWait | State::Closed => return None,
            State::SynReceived
            | State::Established
            | State::FinWait1
            | State::FinWait2
            | State::CloseWait
            | State::Closing
            | State::LastAck => {}
        }
        let Some(start) = self.rx.offset(segment.seq, self.receiver.next()) else {
            // Before the peer's SYN: that of a peer which has forgotten us, perhaps.
            if !segment.flags.has(Flags::RST) {
                self.tell_where_we_are(&segment, now);
            }
            return None;
        };
        if let Check::Done(news) = self.check(&segment, start, now) {
            return news;
        }
        if let Some(times) = segment.options.timestamps {
            self.note_timestamp(times.value, start, now);
        }
        let was_handshake = self.state == State::SynReceived;
        if was_handshake {
            if segment.ack != self.tx.seq(1) {
                // RFC 9293 section 3.10.7.4, fifth, in SYN-RECEIVED.
                answers(reset(self.tuple, segment.ack, None));
                return None;
            }
            self.establish(now);
        }
        if !self.on_ack(&segment, start, now) {
            return None;
        }
        self.on_data(segment, start, memory, now);
        self.advance(now);
        was_handshake.then_some(News::Connected)
    }

    /// Acceptability, RST, SYN and ACK, in RFC 9293's order.
    fn check(&mut self, segment: &Segment, start: u64, now: Instant) -> Check {
        let reset = segment.flags.has(Flags::RST);
        if !reset && self.is_old_timestamp(segment, now) {
            // RFC 7323 section 5.3, R1.
            self.tell_where_we_are(segment, now);
            return Check::Done(None);
        }
        let completes = self.completes_simultaneous_open(segment, start);
        if !completes && !self.is_acceptable(segment, start) {
            if !reset {
                self.answer_unacceptable(segment, start, now);
            }
            return Check::Done(None);
        }
        if reset {
            // RFC 5961 section 3.2: only an exact one is believed.
            if start == self.receiver.next() {
                return Check::Done(Some(self.fail(Failure::Reset)));
            }
            self.challenge(now);
            return Check::Done(None);
        }
        if segment.flags.has(Flags::SYN) && !completes {
            // RFC 5961 section 4.2.
            self.challenge(now);
            return Check::Done(None);
        }
        if !segment.flags.has(Flags::ACK) {
            return Check::Done(None);
        }
        Check::Fine
    }

    /// The answer to our SYN-ACK in a simultaneous open repeats the SYN, which is before the window.
    fn completes_simultaneous_open(&self, segment: &Segment, start: u64) -> bool {
        self.state == State::SynReceived
            && start == 0
            && segment.flags.has(Flags::SYN.with(Flags::ACK))
            && segment.ack == self.tx.seq(1)
    }

    fn is_acceptable(&self, segment: &Segment, start: u64) -> bool {
        let (next, edge) = (self.receiver.next(), self.receiver.edge());
        is_in_window(next..edge, start, u64::from(segment.len()))
    }

    fn answer_unacceptable(&mut self, segment: &Segment, start: u64, now: Instant) {
        let end = start + u64::from(segment.len());
        if !segment.payload.is_empty() && end <= self.receiver.next() {
            // Sent again, so our ACK was lost, or it was sent again too early.
            self.acks
                .on_duplicate(start, start + segment.payload.len() as u64);
        } else {
            self.tell_where_we_are(segment, now);
        }
    }

    /// An ACK to what is out of place. Data and FINs get one each: a peer that tries a closed
    /// window, or repeats itself, waits for it. The rest gets few: it may be an answer to ours
    /// (RFC 5961 section 7).
    fn tell_where_we_are(&mut self, segment: &Segment, now: Instant) {
        if segment.may_be_part_of_a_loop() {
            self.challenge(now);
        } else {
            self.acks.force();
        }
    }

    fn is_old_timestamp(&self, segment: &Segment, now: Instant) -> bool {
        let (Some(clock), Some(times)) = (self.clock, segment.options.timestamps) else {
            return false;
        };
        let fresh = now.since(clock.recent_at) < RECENT_FOR;
        fresh && Seq::new(times.value).is_before(Seq::new(clock.recent))
    }

    /// RFC 7323 section 4.3, (2).
    fn note_timestamp(&mut self, value: u32, start: u64, now: Instant) {
        if let Some(clock) = &mut self.clock
            && start <= clock.last_ack_sent
            && !Seq::new(value).is_before(Seq::new(clock.recent))
        {
            clock.recent = value;
            clock.recent_at = now;
        }
    }

    /// An ACK that tells an honest peer where we are, rarely (RFC 5961 section 7).
    pub(super) fn challenge(&mut self, now: Instant) {
        if may_challenge(&mut self.challenged_at, now) {
            self.acks.force();
        }
    }

    fn on_data(&mut self, mut segment: Segment, start: u64, memory: Memory, now: Instant) {
        let fin = segment.flags.has(Flags::FIN);
        if segment.payload.is_empty() && !fin {
            return;
        }
        match self.state {
            State::Established | State::FinWait1 | State::FinWait2 => {}
            // The peer has finished, or not begun: whatever this is, it is no news.
            State::CloseWait
            | State::Closing
            | State::LastAck
            | State::SynSent
            | State::SynReceived
            | State::TimeWait
            | State::Closed => return,
        }
        if memory == Memory::Short {
            // The next octet in order is what moves everything on: it may take the reserve.
            let next = self.receiver.next();
            if start > next || self.receiver.ready_octets() > 0 {
                self.acks.force();
                return;
            }
        }
        copy_break(&mut segment.payload);
        let arrived = self.receiver.accept(start, segment.payload, fin);
        self.acks.on_arrived(arrived, fin, self.mss, now);
    }

    /// State changes that FINs bring.
    fn advance(&mut self, now: Instant) {
        let ours_acked = self.finish && self.nxt > self.queue.end() && self.una == self.nxt;
        let theirs = self.receiver.has_fin();
        self.state = match self.state {
            State::Established if theirs => State::CloseWait,
            State::FinWait1 if ours_acked && theirs => State::TimeWait,
            State::FinWait1 if ours_acked => {
                self.close_at = Some(now + FIN_WAIT_2);
                State::FinWait2
            }
            State::FinWait1 if theirs => State::Closing,
            State::FinWait2 if theirs => State::TimeWait,
            State::FinWait2 => {
                self.close_at = Some(now + FIN_WAIT_2);
                State::FinWait2
            }
            State::Closing if ours_acked => State::TimeWait,
            State::LastAck if ours_acked => State::Closed,
            state @ (State::SynSent
            | State::SynReceived
            | State::Established
            | State::FinWait1
            | State::CloseWait
            | State::Closing
            | State::LastAck
            | State::TimeWait
            | State::Closed) => state,
        };
    }
}

/// Whether the last challenge is long enough ago for another, which it notes.
pub(crate) fn may_challenge(challenged_at: &mut Option<Instant>, now: Instant) -> bool {
    let may = challenged_at.is_none_or(|at| now.since(at) >= CHALLENGE_EVERY);
    if may {
        *challenged_at = Some(now);
    }
    may
}

/// A few octets do not keep a page from its pool.
fn copy_break(payload: &mut crate::pool::Payload) {
    if payload.len() <= COPY_UP_TO {
        payload.leave_pages();
    }
}

/// TS.Recent older than 24 days may have wrapped (RFC 7323 section 5.5).
const RECENT_FOR: Duration = Duration::from_hours(24 * 24);
/// As Linux's `tcp_invalid_ratelimit`.
const CHALLENGE_EVERY: Duration = Duration::from_millis(500);
const COPY_UP_TO: usize = 256;
