//! One connection, from its SYN to its last ACK.
//!
//! The states are those of RFC 9293 figure 5. A passive open stays a [`HalfOpen`] until the last
//! ACK of its handshake, and TIME-WAIT is an entry of a table: neither needs buffers.
//!
//! ```text
//!            connect                         HalfOpen: ACK of SYN
//!               |                                   |
//!               v       SYN-ACK                     v
//!           SynSent ----------------------> Established ---------------+
//!               |  SYN                 ACK   ^      | close            | FIN
//!               +-----> SynReceived ---------+      v                  v
//!                                               FinWait1          CloseWait
//!                            FIN, our FIN ACKed / |     \ FIN          | close
//!                              +---------------+  | ACK  v             v
//!                              |                  v    Closing      LastAck
//!                              |     FIN      FinWait2   | ACK         | ACK
//!                              v  <--------------+       v             v
//!                           TIME-WAIT <------------------+          (gone)
//! ```

mod acknowledge;
mod handshake;
mod icmp;
mod segment;
mod timers;
mod transmit;
mod undo;

pub(crate) use handshake::{HalfOpen, HalfOpenStep};
pub use icmp::IcmpError;
pub(crate) use segment::{Memory, may_challenge};
pub use transmit::Transmit;
pub(crate) use transmit::reset;
use undo::Undo;

use core::net::SocketAddr;
use core::time::Duration;

use smallvec::SmallVec;
use synhop_option::SynAckOption;

use crate::config::Config;
use crate::engine::Half;
use crate::pool::Octets;
use crate::receive::Receiver;
use crate::receive::ack::{Acks, Owed};
use crate::send::cubic::Cubic;
use crate::send::prr::Prr;
use crate::send::queue::SendQueue;
use crate::send::rack::Rack;
use crate::send::rtt::Rtt;
use crate::send::scoreboard::Scoreboard;
use crate::seq::{Origin, Seq};
use crate::time::Instant;
use crate::wire::Options;

/// Both ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// Our end.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
}

/// See the diagram above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Our SYN is on its way.
    SynSent,
    /// Both sides sent a SYN; ours is not acknowledged.
    SynReceived,
    /// Both may send.
    Established,
    /// We have finished; our FIN is not acknowledged.
    FinWait1,
    /// We have finished; the peer knows and still sends.
    FinWait2,
    /// The peer has finished; we still send.
    CloseWait,
    /// Both have finished; our FIN is not acknowledged.
    Closing,
    /// The peer had finished, now we have; our FIN is not acknowledged.
    LastAck,
    /// Both have finished and know; we wait for stray segments.
    TimeWait,
    /// Nothing is left.
    Closed,
}

/// Why a connection ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The peer reset it, or refused it.
    Reset,
    /// The peer has not answered for too long.
    TimedOut,
    /// The network says that it cannot be reached (RFC 5927: only during the handshake).
    Unreachable,
}

/// What a connection tells its engine after an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// The active open is complete.
    Connected,
    /// It is over.
    Failed(Failure),
}

/// How losses are being mended.
#[derive(Clone, Debug)]
enum Recovery {
    /// There are none.
    Open,
    /// Found by RACK; over when everything before `end` is acknowledged. `undo`: it may yet turn out
    /// needless.
    Fast {
        end: u64,
        prr: Prr,
        undo: Option<Undo>,
    },
    /// Found by the retransmission timer.
    Timeout { end: u64 },
}

/// Timestamps in use (RFC 7323).
#[derive(Clone, Copy, Debug)]
struct Clock {
    /// Added to our clock of milliseconds, so that it tells nobody our uptime.
    offset: u32,
    /// TS.Recent, and when it was taken.
    recent: u32,
    recent_at: Instant,
    /// Last.ACK.sent, as an offset of the peer's.
    last_ack_sent: u64,
}

/// Octets of an option of ours for the SYN.
pub(crate) type RawOption = SmallVec<[u8; 20]>;

/// See the module.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, none is a state"
)]
pub(crate) struct Connection {
    pub tuple: Tuple,
    pub state: State,
    /// What it has to do with its partner.
    pub half: Option<Half>,
    /// Whether it is in the engine's list of those with something to send.
    pub is_dirty: bool,
    /// What the timer wheel was told.
    pub timer_at: Option<Instant>,
    /// The reply in the SYN-ACK.
    pub reply: Option<SynAckOption>,

    // Sending.
    tx: Origin,
    una: u64,
    nxt: u64,
    /// The peer's window, octets from SND.UNA.
    peer_window: u64,
    peer_window_most: u64,
    peer_scale: u8,
    /// SND.WL1 and SND.WL2 (RFC 9293 section 3.10.7.4).
    window_seq: u64,
    window_ack: u64,
    mss: u32,
    queue: SendQueue,
    finish: bool,
    board: Scoreboard,
    rtt: Rtt,
    cubic: Cubic,
    rack: Rack,
    recovery: Recovery,
    duplicate_acks: u32,
    retries: u32,
    probe_due: bool,
    last_sent_at: Instant,
    option: RawOption,

    // Receiving.
    rx: Origin,
    receiver: Receiver,
    acks: Acks,
    own_scale: u8,
    own_mss: u16,
    /// What the engine grants this connection for octets that wait, at the moment.
    room: u64,
    sack: bool,
    clock: Option<Clock>,
    challenged_at: Option<Instant>,

    // Timers.
    retransmit: Option<Timer>,
    close_at: Option<Instant>,
}

/// The one timer of the sending side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timer {
    /// The retransmission timer, of the SYN too.
    Timeout(Instant),
    /// The tail loss probe.
    Probe(Instant),
    /// RACK looks again for what is only late so far.
    Reordering(Instant),
    /// The peer's window is closed: ask.
    Window(Instant),
}

impl Timer {
    const fn at(self) -> Instant {
        match self {
            Self::Timeout(at) | Self::Probe(at) | Self::Reordering(at) | Self::Window(at) => at,
        }
    }
}

/// What an engine decides when a connection begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Birth {
    pub tuple: Tuple,
    pub iss: Seq,
    /// The offset of its timestamps.
    pub clock_offset: u32,
    /// Octets granted for what waits.
    pub room: u64,
    pub own_mss: u16,
    pub now: Instant,
}

impl Connection {
    fn new(birth: &Birth, config: &Config) -> Self {
        let Birth { now, room, .. } = *birth;
        Self {
            tuple: birth.tuple,
            state: State::SynSent,
            half: None,
            is_dirty: false,
            timer_at: None,
            reply: None,
            tx: Origin::new(birth.iss),
            una: 0,
            nxt: 0,
            peer_window: 0,
            peer_window_most: 0,
            peer_scale: 0,
            window_seq: 0,
            window_ack: 0,
            mss: u32::from(DEFAULT_MSS),
            queue: SendQueue::new(),
            finish: false,
            board: Scoreboard::default(),
            rtt: Rtt::new(),
            cubic: Cubic::new(u32::from(DEFAULT_MSS)),
            rack: Rack::new(),
            recovery: Recovery::Open,
            duplicate_acks: 0,
            retries: 0,
            probe_due: false,
            last_sent_at: now,
            option: RawOption::new(),
            rx: Origin::new(Seq::default()),
            receiver: Receiver::new(0),
            acks: Acks::new(),
            own_scale: config.window_scale,
            own_mss: birth.own_mss,
            room,
            sack: false,
            clock: Some(Clock {
                offset: birth.clock_offset,
                recent: 0,
                recent_at: now,
                last_ack_sent: 0,
            }),
            challenged_at: None,
            retransmit: None,
            close_at: None,
        }
    }

    /// Takes over what both SYNs agreed on.
    fn agree(&mut self, peer: &Options, irs: Seq, window: u16, now: Instant) {
        self.rx = Origin::new(irs);
        self.receiver = Receiver::new(self.initial_window());
        self.sack = peer.sack_permitted;
        let scales = peer.window_scale;
        self.peer_scale = scales.unwrap_or(0);
        if scales.is_none() {
            self.own_scale = 0;
        }
        self.clock = match (self.clock, peer.timestamps) {
            (Some(clock), Some(times)) => Some(Clock {
                recent: times.value,
                recent_at: now,
                last_ack_sent: 1,
                ..clock
            }),
            (Some(_) | None, _) => None,
        };
        // RFC 9293 section 3.7.1: an MSS of 0, or none, is the default; the least is ours.
        let mss = peer.mss.filter(|mss| *mss != 0).unwrap_or(DEFAULT_MSS);
        let mss = mss.max(MIN_MSS).min(self.own_mss);
        // RFC 6691: the MSS counts no options, the segments do.
        let options = if self.clock.is_some() { 12 } else { 0 };
        self.mss = u32::from(mss).saturating_sub(options).max(1);
        self.cubic = Cubic::new(self.mss);
        // A SYN's window is never scaled.
        self.peer_window = u64::from(window);
        self.peer_window_most = self.peer_window;
    }

    fn initial_window(&self) -> u64 {
        self.room.min(u64::from(u16::MAX))
    }

    /// Octets that may be queued for sending now.
    pub(crate) fn send_space(&self, config: &Config) -> u64 {
        let most = 2 * self.room.min(config.max_window);
        most.saturating_sub(self.queue.len())
    }

    /// Whether we may still queue.
    pub(crate) const fn may_send(&self) -> bool {
        !self.finish && matches!(self.state, State::Established | State::CloseWait)
    }

    /// Queues octets. The caller has looked at [`send_space`](Self::send_space).
    pub(crate) fn send(&mut self, octets: Octets) {
        self.queue.push(octets);
    }

    /// Takes octets that have come in order.
    pub(crate) fn take(&mut self, most: u64) -> Option<Octets> {
        self.receiver.take(most)
    }

    /// Octets that have come in order and nobody has taken.
    pub(crate) fn readable(&self) -> u64 {
        self.receiver.ready_octets()
    }

    /// Whether the peer has finished and all of it was taken.
    pub(crate) fn peer_finished(&self) -> bool {
        self.receiver.is_finished()
    }

    /// Nothing more will be sent after what is queued.
    pub(crate) fn close(&mut self) {
        self.finish = true;
    }

    /// Grants room for octets that wait; the peer is told when that opens its window enough.
    pub(crate) fn grant(&mut self, room: u64) {
        self.room = room;
    }

    /// Drops what waits behind holes, for memory; says whether there was any.
    pub(crate) fn renege(&mut self) -> bool {
        self.receiver.renege()
    }

    /// What TIME-WAIT has to know.
    pub(crate) fn remains(&self) -> crate::table::time_wait::Remains {
        crate::table::time_wait::Remains {
            next_sent: self.tx.seq(self.nxt),
            next_expected: self.rx.seq(self.receiver.next()),
            clock: self.clock.map(|clock| (clock.offset, clock.recent)),
        }
    }

    /// Whether the peer has ever been heard of.
    pub(crate) const fn has_spoken(&self) -> bool {
        self.una > 0
    }

    /// A reset that the peer will believe. It has timestamps where the connection has (RFC 7323
    /// section 3.2).
    pub(crate) fn reset(&self, now: Instant) -> Transmit {
        let (seq, ack) = (self.nxt, self.receiver.next());
        let (seq, ack) = (self.tx.seq(seq), self.rx.seq(ack));
        transmit::final_reset(self.tuple, seq, ack, self.timestamps(now))
    }

    /// The earliest of all timers.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let ack = match self.acks.owed() {
            Owed::Later(at) => Some(at),
            Owed::Nothing | Owed::Now => None,
        };
        let retransmit = self.retransmit.map(Timer::at);
        [ack, retransmit, self.close_at].into_iter().flatten().min()
    }
}

/// RFC 9293 section 3.7.1.
const DEFAULT_MSS: u16 = 536;
/// What a peer may ask for at least: less would be an attack on our processor (as Linux).
const MIN_MSS: u16 = 88;
/// How long a FIN-WAIT-2 that nobody reads from lasts (as Linux's `tcp_fin_timeout`).
const FIN_WAIT_2: Duration = Duration::from_mins(1);
