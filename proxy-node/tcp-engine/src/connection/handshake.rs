//! The handshake, both roles (RFC 9293 sections 3.5 and 3.10.7.2 to 3.10.7.4).

use core::time::Duration;

use synhop_option::{Kind, OptionError, SynAckOption, SynOption, syn_ack_option};

use super::transmit::{self, Transmit};
use super::{Birth, Connection, Failure, News, RawOption, State, Timer, Tuple, may_challenge};
use crate::config::Config;
use crate::receive::is_in_window;
use crate::seq::{Origin, Seq};
use crate::time::Instant;
use crate::wire::{Flags, Options, Segment, Timestamps};

impl Connection {
    /// An active open: its SYN goes out at the next chance.
    pub(crate) fn connect(birth: &Birth, option: RawOption, config: &Config) -> Self {
        let mut connection = Self::new(birth, config);
        connection.option = option;
        connection
    }

    /// A segment in SYN-SENT (RFC 9293 section 3.10.7.3).
    pub(super) fn on_syn_sent(
        &mut self,
        segment: &Segment,
        kind: Kind,
        now: Instant,
        answers: &mut impl FnMut(Transmit),
    ) -> Option<News> {
        let has_ack = segment.flags.has(Flags::ACK);
        let ack_is_right = has_ack && segment.ack == self.tx.seq(1) && self.nxt == 1;
        if has_ack && !ack_is_right {
            if !segment.flags.has(Flags::RST) {
                answers(transmit::reset(self.tuple, segment.ack, None));
            }
            return None;
        }
        if segment.flags.has(Flags::RST) {
            return ack_is_right.then(|| self.fail(Failure::Reset));
        }
        if !segment.flags.has(Flags::SYN) {
            return None;
        }
        self.agree(&segment.options, segment.seq, segment.window, now);
        if !ack_is_right {
            // A simultaneous open: our SYN goes again, with an ACK.
            self.state = State::SynReceived;
            self.nxt = 0;
            self.retransmit = None;
            return None;
        }
        let options = segment.raw_options.as_slice();
        let reply = syn_ack_option(synhop_option::Segment::SynAck, options, kind);
        self.reply = reply.ok().flatten();
        if self.retries > 0 {
            self.rtt.handshake_was_lossy();
            self.cubic.handshake_was_lossy();
            if let Some(echoed) = self.echoed_rtt(segment, now) {
                self.rtt.coarse_sample(echoed);
            }
        } else {
            self.rtt.sample(now.since(self.last_sent_at));
        }
        self.establish(now);
        self.acks.force();
        Some(News::Connected)
    }

    /// Our SYN is acknowledged.
    pub(super) fn establish(&mut self, now: Instant) {
        self.una = 1;
        self.nxt = 1;
        self.window_ack = 1;
        self.retries = 0;
        self.retransmit = None;
        self.last_sent_at = now;
        self.state = State::Established;
    }

    /// The connection that a completed passive open becomes.
    pub(crate) fn accepted(half: &HalfOpen, room: u64, config: &Config, now: Instant) -> Self {
        let birth = Birth {
            tuple: half.tuple,
            iss: half.iss,
            clock_offset: half.clock_offset,
            room,
            own_mss: half.own_mss,
            now,
        };
        let mut connection = Self::new(&birth, config);
        connection.agree(&half.options, half.irs, half.window, now);
        if half.retries > 0 {
            connection.rtt.handshake_was_lossy();
            connection.cubic.handshake_was_lossy();
        } else if half.asked_again {
            connection.rtt.handshake_was_lossy();
        } else {
            connection.rtt.sample(now.since(half.sent_at));
        }
        // What was offered stays offered, though the share may be smaller meanwhile.
        connection.receiver.set_edge(1 + u64::from(half.own_window));
        connection.establish(now);
        connection
    }

    pub(super) fn on_handshake_timeout(&mut self, config: &Config) -> Option<News> {
        if self.retries >= config.syn_retries {
            return Some(self.fail(Failure::TimedOut));
        }
        self.retries += 1;
        self.rtt.back_off();
        self.nxt = 0;
        self.retransmit = None;
        None
    }

    pub(super) fn arm_handshake(&mut self, now: Instant) {
        self.retransmit = Some(Timer::Timeout(now + self.rtt.timeout()));
    }

    pub(super) fn fail(&mut self, failure: Failure) -> News {
        self.state = State::Closed;
        self.retransmit = None;
        self.close_at = None;
        News::Failed(failure)
    }
}

/// A passive open whose handshake is not complete: SYN-RECEIVED without buffers.
#[derive(Clone, Debug)]
pub(crate) struct HalfOpen {
    pub tuple: Tuple,
    pub irs: Seq,
    iss: Seq,
    clock_offset: u32,
    own_mss: u16,
    window: u16,
    /// What our SYN-ACK offers; it is not scaled.
    own_window: u16,
    options: Options,
    reply: Option<SynAckOption>,
    /// What the SYN's option said, for who is told of the connection.
    pub option: Result<Option<SynOption>, OptionError>,
    retries: u32,
    /// Whether the client asked again: its ACK may be for either answer.
    asked_again: bool,
    sent_at: Instant,
    challenged_at: Option<Instant>,
    /// When the SYN-ACK goes again.
    pub due_at: Instant,
}

/// What a segment does to a [`HalfOpen`].
#[derive(Debug)]
pub(crate) enum HalfOpenStep {
    /// Nothing.
    Stays,
    /// The SYN came again: so does the answer.
    Again,
    /// The handshake is complete.
    Complete,
    /// The client has thought better of it.
    Gone,
    /// What it acknowledges we have not sent: reset (RFC 9293 section 3.10.7.4).
    Refuse,
    /// Outside the window: answered by an ACK.
    Challenge,
}

impl HalfOpen {
    pub(crate) fn new(
        birth: &Birth,
        segment: &Segment,
        option: Result<Option<SynOption>, OptionError>,
    ) -> Self {
        // SPEC section 5: every option that is understood is answered, with the same family.
        let reply = option.as_ref().ok().and_then(Option::as_ref).map(reply_to);
        Self {
            tuple: birth.tuple,
            irs: segment.seq,
            iss: birth.iss,
            clock_offset: birth.clock_offset,
            own_mss: birth.own_mss,
            window: segment.window,
            own_window: u16::try_from(birth.room).unwrap_or(u16::MAX),
            options: segment.options.clone(),
            reply,
            option,
            retries: 0,
            asked_again: false,
            sent_at: birth.now,
            challenged_at: None,
            due_at: birth.now + FIRST_TIMEOUT,
        }
    }

    pub(crate) fn on_segment(&mut self, segment: &Segment, now: Instant) -> HalfOpenStep {
        if segment.flags.has(Flags::SYN)
            && !segment.flags.has(Flags::ACK)
            && segment.seq == self.irs
        {
            return HalfOpenStep::Again;
        }
        if let (Some(times), Some(mine)) = (segment.options.timestamps, self.options.timestamps)
            && !segment.flags.has(Flags::RST)
            && Seq::new(times.value).is_before(Seq::new(mine.value))
        {
            return self.challenged(segment, now);
        }
        let start = Origin::new(self.irs).offset(segment.seq, 1);
        let window = 1..1 + u64::from(self.own_window);
        let len = u64::from(segment.len());
        let acceptable = start.is_some_and(|start| is_in_window(window, start, len));
        if !acceptable {
            return if segment.flags.has(Flags::RST) {
                HalfOpenStep::Stays
            } else {
                self.challenged(segment, now)
            };
        }
        if segment.flags.has(Flags::RST) {
            // RFC 5961 section 3.2.
            return if start == Some(1) {
                HalfOpenStep::Gone
            } else {
                self.challenged(segment, now)
            };
        }
        if segment.flags.has(Flags::SYN) {
            return self.challenged(segment, now);
        }
        if !segment.flags.has(Flags::ACK) {
            return HalfOpenStep::Stays;
        }
        if segment.ack == self.iss.plus(1) {
            HalfOpenStep::Complete
        } else {
            HalfOpenStep::Refuse
        }
    }

    fn challenged(&mut self, segment: &Segment, now: Instant) -> HalfOpenStep {
        let rare = segment.may_be_part_of_a_loop();
        if rare && !may_challenge(&mut self.challenged_at, now) {
            return HalfOpenStep::Stays;
        }
        HalfOpenStep::Challenge
    }

    /// The client's SYN came again, and the answer goes again.
    pub(crate) const fn note_again(&mut self) {
        self.asked_again = true;
    }

    /// The timer ran out: `false` when it has done so too often.
    pub(crate) fn retry(&mut self, config: &Config, now: Instant) -> bool {
        if self.retries >= config.syn_ack_retries {
            return false;
        }
        self.retries += 1;
        self.due_at = now + FIRST_TIMEOUT * (1 << self.retries.min(6));
        true
    }

    /// The answer to the SYN.
    pub(crate) fn syn_ack(&self, kind: Kind, config: &Config, now: Instant) -> Transmit {
        let peer = &self.options;
        let options = Options {
            mss: Some(self.own_mss),
            window_scale: peer.window_scale.map(|_| config.window_scale),
            sack_permitted: peer.sack_permitted,
            timestamps: self.timestamps(now),
            ..Options::default()
        };
        let mut buffer = [0; SynAckOption::MAX_OCTETS];
        let reply = self.reply.map(|reply| reply.emit(kind, &mut buffer));
        let len = reply.and_then(Result::ok).unwrap_or(0);
        let fields = crate::wire::Fields {
            source_port: self.tuple.local.port(),
            destination_port: self.tuple.remote.port(),
            seq: self.iss,
            ack: self.irs.plus(1),
            flags: Flags::SYN.with(Flags::ACK),
            window: self.own_window,
            options: &options,
            appended: buffer.get(..len).unwrap_or_default(),
        };
        Transmit::bare(self.tuple, &fields)
    }

    /// A plain ACK, to what is out of place.
    pub(crate) fn challenge(&self, config: &Config, now: Instant) -> Transmit {
        let options = Options {
            timestamps: self.timestamps(now),
            ..Options::default()
        };
        let (seq, ack) = (self.iss.plus(1), self.irs.plus(1));
        // Only a SYN's window is not scaled.
        let scale = self.options.window_scale.map_or(0, |_| config.window_scale);
        Transmit::ack(self.tuple, seq, ack, self.own_window >> scale, &options)
    }

    /// A reset that the client will believe.
    pub(crate) fn reset(&self, now: Instant) -> Transmit {
        let (seq, ack) = (self.iss.plus(1), self.irs.plus(1));
        transmit::final_reset(self.tuple, seq, ack, self.timestamps(now))
    }

    fn timestamps(&self, now: Instant) -> Option<Timestamps> {
        self.options.timestamps.map(|times| Timestamps {
            value: now.timestamp(self.clock_offset),
            echo: times.value,
        })
    }
}

/// RFC 6298, 2.1.
const FIRST_TIMEOUT: Duration = Duration::from_secs(1);

/// "Understood", without a cookie.
const fn reply_to(option: &SynOption) -> SynAckOption {
    SynAckOption {
        family: option.family(),
        cookie: None,
    }
}
