//! A segment in a synchronized state (RFC 9293 section 3.10.7.4, with RFC 5961 and RFC 7323).

use core::time::Duration;

use synhop_option::Kind;

use super::{Connection, FIN_WAIT_2, Failure, News, State, Transmit};
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
        let next = self.receiver.next();
        let start = self.rx.offset(segment.seq, next)?;
        if let Check::Done(news) = self.check(&segment, start, now) {
            return news;
        }
        if let Some(times) = segment.options.timestamps {
            self.note_timestamp(times.value, start, now);
        }
        let was_handshake = self.state == State::SynReceived;
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
            self.challenge(now);
            return Check::Done(None);
        }
        if !self.is_acceptable(segment, start) {
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
        if segment.flags.has(Flags::SYN) && self.state != State::SynReceived {
            // RFC 5961 section 4.2.
            self.challenge(now);
            return Check::Done(None);
        }
        if !segment.flags.has(Flags::ACK) {
            return Check::Done(None);
        }
        Check::Fine
    }

    /// RFC 9293 section 3.4: any octet in the window will do.
    fn is_acceptable(&self, segment: &Segment, start: u64) -> bool {
        let (next, edge) = (self.receiver.next(), self.receiver.edge());
        let len = u64::from(segment.len());
        if self.state == State::SynReceived && segment.flags.has(Flags::SYN) {
            // The answer to our SYN-ACK in a simultaneous open repeats the SYN.
            return start == 0;
        }
        if len == 0 {
            // At the edge of a closed window, and in an open one. Its very edge, too: a peer that
            // has filled the window sends its ACKs from there.
            return start >= next && start <= edge.max(next);
        }
        start < edge.max(next) && start + len > next || (edge == next && start == next)
    }

    fn answer_unacceptable(&mut self, segment: &Segment, start: u64, now: Instant) {
        let end = start + u64::from(segment.len());
        if !segment.payload.is_empty() && end <= self.receiver.next() {
            // Sent again, so our ACK was lost, or it was sent again too early: not rate-limited.
            self.acks
                .on_duplicate(start, start + segment.payload.len() as u64);
        } else if segment.flags.has(Flags::FIN) && end <= self.receiver.next() {
            self.acks.force();
        } else {
            self.challenge(now);
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
        let rare = self
            .challenged_at
            .is_none_or(|at| now.since(at) >= CHALLENGE_EVERY);
        if rare {
            self.challenged_at = Some(now);
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

/// A few octets do not keep a page from its pool.
fn copy_break(payload: &mut crate::pool::Payload) {
    let holds = payload.parts().iter().any(crate::pool::Octets::holds_page);
    if holds && payload.len() <= COPY_UP_TO {
        let copy = crate::pool::Octets::copy_of(&payload.to_vec());
        *payload = copy.into();
    }
}

/// TS.Recent older than 24 days may have wrapped (RFC 7323 section 5.5).
const RECENT_FOR: Duration = Duration::from_hours(24 * 24);
/// As Linux's `tcp_invalid_ratelimit`.
const CHALLENGE_EVERY: Duration = Duration::from_millis(500);
const COPY_UP_TO: usize = 256;
