//! What to send next, and the segment for it.

use core::net::SocketAddr;

use super::{Connection, Recovery, State, Timer, Tuple};
use crate::config::Config;
use crate::pool::Payload;
use crate::receive::ack::Owed;
use crate::seq::Seq;
use crate::time::Instant;
use crate::wire::{Fields, Flags, Header, Options, SackBlock, SackBlocks, Timestamps, emit};

/// A segment to be sent, or several of the same header that a device cuts apart.
#[derive(Clone, Debug)]
pub struct Transmit {
    /// Where it comes from.
    pub source: SocketAddr,
    /// Where it goes.
    pub destination: SocketAddr,
    /// The TCP header; the checksum is 0.
    pub header: Header,
    /// The data.
    pub payload: Payload,
    /// Data octets of each segment if `payload` is more than one of them (the last may be less).
    pub segment_octets: Option<u16>,
}

impl Transmit {
    pub(super) fn bare(tuple: Tuple, fields: &Fields<'_>) -> Self {
        Self {
            source: tuple.local,
            destination: tuple.remote,
            header: emit(fields),
            payload: Payload::new(),
            segment_octets: None,
        }
    }

    /// An acknowledgement where there is no [`Connection`]: not yet, or not any more.
    pub(crate) fn ack(tuple: Tuple, seq: Seq, ack: Seq, window: u16, options: &Options) -> Self {
        let fields = Fields {
            source_port: tuple.local.port(),
            destination_port: tuple.remote.port(),
            seq,
            ack,
            flags: Flags::ACK,
            window,
            options,
            appended: &[],
        };
        Self::bare(tuple, &fields)
    }
}

/// A reset in answer to a segment that belongs to nothing (RFC 9293 section 3.5.2): of `seq`, and
/// with an ACK if there is one to give.
pub(crate) fn reset(tuple: Tuple, seq: Seq, ack: Option<Seq>) -> Transmit {
    reset_with(tuple, seq, ack, &Options::default())
}

/// A reset that ends what the peer knows of.
pub(super) fn final_reset(
    tuple: Tuple,
    seq: Seq,
    ack: Seq,
    timestamps: Option<Timestamps>,
) -> Transmit {
    let options = Options {
        timestamps,
        ..Options::default()
    };
    reset_with(tuple, seq, Some(ack), &options)
}

fn reset_with(tuple: Tuple, seq: Seq, ack: Option<Seq>, options: &Options) -> Transmit {
    let fields = Fields {
        source_port: tuple.local.port(),
        destination_port: tuple.remote.port(),
        seq,
        ack: ack.unwrap_or_default(),
        flags: if ack.is_some() {
            Flags::RST.with(Flags::ACK)
        } else {
            Flags::RST
        },
        window: 0,
        options,
        appended: &[],
    };
    Transmit::bare(tuple, &fields)
}

/// What a segment of ours carries.
struct Content {
    start: u64,
    end: u64,
    flags: Flags,
}

impl Connection {
    /// The next segment; `None` when there is nothing to send now.
    pub(crate) fn poll_transmit(&mut self, config: &Config, now: Instant) -> Option<Transmit> {
        match self.state {
            State::SynSent => self.poll_syn(Flags::SYN, config, now),
            State::SynReceived => {
                let syn_ack = self.poll_syn(Flags::SYN.with(Flags::ACK), config, now);
                syn_ack.or_else(|| self.poll_ack(config, now))
            }
            State::Established
            | State::FinWait1
            | State::CloseWait
            | State::Closing
            | State::LastAck => self
                .poll_again(config, now)
                .or_else(|| self.poll_new(config, now))
                .or_else(|| self.poll_probe(config, now))
                .or_else(|| self.poll_ack(config, now)),
            // In TIME-WAIT the last ACK; the table answers what else comes.
            State::FinWait2 | State::TimeWait => self.poll_ack(config, now),
            State::Closed => None,
        }
    }

    fn poll_syn(&mut self, flags: Flags, config: &Config, now: Instant) -> Option<Transmit> {
        if self.nxt != 0 {
            return None;
        }
        self.nxt = 1;
        self.last_sent_at = now;
        self.arm_handshake(now);
        let answers = flags.has(Flags::ACK);
        let options = Options {
            mss: Some(self.own_mss),
            window_scale: Some(config.window_scale).filter(|_| !answers || self.peer_scale > 0),
            sack_permitted: !answers || self.sack,
            timestamps: self.timestamps(now),
            ..Options::default()
        };
        let appended = core::mem::take(&mut self.option);
        let window = u16::try_from(self.initial_window()).unwrap_or(u16::MAX);
        let syn = self.bare(0, flags, window, &options, &appended);
        self.option = appended;
        Some(syn)
    }

    /// What was lost.
    fn poll_again(&mut self, config: &Config, now: Instant) -> Option<Transmit> {
        let (start, end) = self.board.first_lost(u64::from(self.mss))?;
        let room = self.congestion_room();
        // One is always allowed when nothing is on its way.
        if room < end - start && self.board.in_flight() > 0 {
            return None;
        }
        self.board.on_sent_again(start, end, now);
        self.note_repeat(now);
        Some(self.send_again(start, end, config, now))
    }

    fn send_again(&mut self, start: u64, end: u64, config: &Config, now: Instant) -> Transmit {
        if self.retransmit.is_none() || matches!(self.retransmit, Some(Timer::Window(_))) {
            self.arm(now);
        }
        self.note_sent(end - start, now);
        let content = Content {
            start,
            end,
            flags: Flags::ACK,
        };
        self.build(&content, config, now)
    }

    /// What was never sent.
    fn poll_new(&mut self, config: &Config, now: Instant) -> Option<Transmit> {
        if self.board.lost() > 0 {
            return None;
        }
        let unsent = self.queue.end().saturating_sub(self.nxt);
        let fin_unsent = self.finish && self.nxt <= self.queue.end();
        if unsent == 0 && !fin_unsent {
            return None;
        }
        if self.board.is_empty() && now.since(self.last_sent_at) > self.rtt.timeout() {
            self.cubic.on_idle();
        }
        let window = (self.una + self.peer_window).saturating_sub(self.nxt);
        let Some(len) = self.size_of_next(unsent, window, config) else {
            if self.retransmit.is_none() {
                // The window closed when nothing waited: its opening may be lost.
                self.arm(now);
            }
            return None;
        };
        let with_fin = fin_unsent && len == unsent;
        let start = self.nxt;
        let end = start + len + u64::from(with_fin);
        if end == start {
            return None;
        }
        let was_empty = self.board.is_empty();
        self.board.on_sent(start, end, now);
        self.nxt = end;
        if with_fin {
            self.state = if self.state == State::CloseWait {
                State::LastAck
            } else {
                State::FinWait1
            };
        }
        self.note_sent(end - start, now);
        if was_empty
            || matches!(
                self.retransmit,
                None | Some(Timer::Probe(_) | Timer::Window(_))
            )
        {
            self.arm(now);
        }
        let flags = if len == unsent {
            Flags::ACK.with(Flags::PSH)
        } else {
            Flags::ACK
        };
        let content = Content { start, end, flags };
        Some(self.build(&content, config, now))
    }

    /// How much of `unsent` to send: whole segments, or all (RFC 9293 section 3.8.6.2.1).
    fn size_of_next(&self, unsent: u64, window: u64, config: &Config) -> Option<u64> {
        let mss = u64::from(self.mss);
        let room = if self.board.in_flight() == 0 {
            self.congestion_room().max(mss)
        } else {
            self.congestion_room()
        };
        let most = window.min(room).min(mss * u64::from(config.burst_segments));
        if unsent == 0 {
            // A FIN alone takes no room worth counting.
            return Some(0);
        }
        if most >= unsent {
            return Some(unsent);
        }
        if most >= mss {
            return Some(most - most % mss);
        }
        // The window is small for ever if it is small at its largest.
        let silly = window < self.peer_window_most / 2 || room < mss.min(unsent);
        (!silly && most > 0).then_some(most)
    }

    fn congestion_room(&self) -> u64 {
        u64::from(self.cubic.window()).saturating_sub(self.board.in_flight())
    }

    fn note_sent(&mut self, octets: u64, now: Instant) {
        self.last_sent_at = now;
        if let Recovery::Fast { prr, .. } = &mut self.recovery {
            prr.on_sent(u32::try_from(octets).unwrap_or(u32::MAX));
        }
    }

    /// A tail loss probe or a window probe.
    fn poll_probe(&mut self, config: &Config, now: Instant) -> Option<Transmit> {
        if !core::mem::take(&mut self.probe_due) {
            return None;
        }
        let mss = u64::from(self.mss);
        if self.board.is_empty() {
            return Some(self.window_probe(now));
        }
        let window = (self.una + self.peer_window).saturating_sub(self.nxt);
        let unsent = self.queue.end().saturating_sub(self.nxt).min(mss);
        if unsent > 0 && unsent <= window {
            let (start, end) = (self.nxt, self.nxt + unsent);
            self.board.on_sent(start, end, now);
            self.nxt = end;
            self.rack.on_probe(self.nxt, false);
            self.note_sent(unsent, now);
            let flags = Flags::ACK.with(Flags::PSH);
            return Some(self.build(&Content { start, end, flags }, config, now));
        }
        let last = *self.board.last()?;
        let start = last.start.max(last.end.saturating_sub(mss));
        self.board.on_sent_again(start, last.end, now);
        self.rack.on_probe(self.nxt, true);
        Some(self.send_again(start, last.end, config, now))
    }

    /// An old octet's number, no data: it must be answered, and takes no room.
    fn window_probe(&mut self, now: Instant) -> Transmit {
        let options = self.plain_options(now);
        let window = self.window_field();
        self.bare(
            self.una.saturating_sub(1),
            Flags::ACK,
            window,
            &options,
            &[],
        )
    }

    /// An acknowledgement alone, when one is owed or the window has opened.
    fn poll_ack(&mut self, config: &Config, now: Instant) -> Option<Transmit> {
        let owed = self.acks.owed() == Owed::Now;
        if !owed && !self.window_is_news() {
            return None;
        }
        let content = Content {
            start: self.nxt,
            end: self.nxt,
            flags: Flags::ACK,
        };
        Some(self.build(&content, config, now))
    }

    /// Whether the peer should know of a larger window: two segments or half of the room, after a
    /// closed one as soon as there is one to offer. As Linux only because of what was read: a window
    /// that the SYN's field could not tell rides on the next ACK.
    fn window_is_news(&self) -> bool {
        if !self.receiver.may_open() || self.receiver.has_fin() {
            return false;
        }
        let offered = self.offered_edge();
        let edge = self.receiver.edge();
        if edge <= self.receiver.next() {
            return offered > edge;
        }
        let step = u64::from(2 * self.mss).min(self.room / 2).max(1);
        offered >= edge + step
    }

    fn offered_edge(&self) -> u64 {
        let room = self.room.saturating_sub(self.receiver.ready_octets());
        // What the field cannot say is no news, however often it is told.
        let most = u64::from(u16::MAX) << self.own_scale;
        self.receiver.offer(room.min(most), self.room, self.mss)
    }

    fn build(&mut self, content: &Content, config: &Config, now: Instant) -> Transmit {
        let data_end = content.end.min(self.queue.end());
        let len = usize::try_from(data_end.saturating_sub(content.start)).unwrap_or(0);
        let payload = self.queue.range(content.start, len);
        let has_fin = content.end > self.queue.end() && content.end > content.start;
        let flags = if has_fin {
            content.flags.with(Flags::FIN)
        } else {
            content.flags
        };
        let mut options = self.plain_options(now);
        options.sack = self.sack_blocks();
        let window = self.window_field();
        let mut transmit = self.bare(content.start, flags, window, &options, &[]);
        if payload.len() > self.mss as usize {
            transmit.segment_octets = u16::try_from(self.mss).ok();
        }
        debug_assert!(payload.len() <= (self.mss * config.burst_segments) as usize);
        transmit.payload = payload;
        transmit
    }

    fn bare(
        &mut self,
        start: u64,
        flags: Flags,
        window: u16,
        options: &Options,
        appended: &[u8],
    ) -> Transmit {
        let has_ack = flags.has(Flags::ACK);
        let next = self.receiver.next();
        if has_ack {
            self.acks.on_sent();
            if let Some(clock) = &mut self.clock {
                clock.last_ack_sent = next;
            }
        }
        let fields = Fields {
            source_port: self.tuple.local.port(),
            destination_port: self.tuple.remote.port(),
            seq: self.tx.seq(start),
            ack: if has_ack {
                self.rx.seq(next)
            } else {
                Seq::default()
            },
            flags,
            window,
            options,
            appended,
        };
        Transmit::bare(self.tuple, &fields)
    }

    fn plain_options(&self, now: Instant) -> Options {
        Options {
            timestamps: self.timestamps(now),
            ..Options::default()
        }
    }

    pub(super) fn timestamps(&self, now: Instant) -> Option<Timestamps> {
        let clock = self.clock?;
        Some(Timestamps {
            value: now.timestamp(clock.offset),
            echo: clock.recent,
        })
    }

    fn sack_blocks(&self) -> SackBlocks {
        if !self.sack {
            return SackBlocks::new();
        }
        let most = if self.clock.is_some() { 3 } else { 4 };
        let duplicate = self.acks.duplicate();
        let islands = self.receiver.islands().newest(most);
        let blocks = duplicate.into_iter().chain(islands).take(most);
        blocks
            .map(|(start, end)| SackBlock {
                start: self.rx.seq(start),
                end: self.rx.seq(end),
            })
            .collect()
    }

    /// The window field, which is a promise from now on.
    fn window_field(&mut self) -> u16 {
        let next = self.receiver.next();
        let open = self.offered_edge().saturating_sub(next);
        let field = u16::try_from(open >> self.own_scale).unwrap_or(u16::MAX);
        self.receiver
            .set_edge(next + (u64::from(field) << self.own_scale));
        field
    }
}
