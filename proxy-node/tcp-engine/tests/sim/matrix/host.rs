//! An engine that is brought into a state, and meets one segment.

use std::fmt::Write as _;
use std::time::Duration;

use super::table::{Point, Segment, Variable};
use crate::net::address;
use synhop_engine::{Config, ConnId, Engine, Event, Instant, Octets, Payload, Pool};

/// The states of RFC 9293 section 3.3.2. SYN-RECEIVED is there twice: after a passive open, where
/// the engine keeps a few octets, and after a simultaneous one, where it has a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Closed,
    Listen,
    SynSent,
    HalfOpen,
    SynReceived,
    Established,
    FinWait1,
    FinWait2,
    CloseWait,
    Closing,
    LastAck,
    TimeWait,
}

impl State {
    pub(super) const ALL: [Self; 12] = [
        Self::Closed,
        Self::Listen,
        Self::SynSent,
        Self::HalfOpen,
        Self::SynReceived,
        Self::Established,
        Self::FinWait1,
        Self::FinWait2,
        Self::CloseWait,
        Self::Closing,
        Self::LastAck,
        Self::TimeWait,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Closed => "CLOSED",
            Self::Listen => "LISTEN",
            Self::SynSent => "SYN-SENT",
            Self::HalfOpen => "HALF-OPEN",
            Self::SynReceived => "SYN-RCVD",
            Self::Established => "ESTABLISHED",
            Self::FinWait1 => "FIN-WAIT-1",
            Self::FinWait2 => "FIN-WAIT-2",
            Self::CloseWait => "CLOSE-WAIT",
            Self::Closing => "CLOSING",
            Self::LastAck => "LAST-ACK",
            Self::TimeWait => "TIME-WAIT",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// As it stands behind an arrow.
    const fn short(self) -> &'static str {
        match self {
            Self::Closed => "CLO",
            Self::Listen => "LIS",
            Self::SynSent => "SS",
            Self::HalfOpen => "HO",
            Self::SynReceived => "SR",
            Self::Established => "EST",
            Self::FinWait1 => "FW1",
            Self::FinWait2 => "FW2",
            Self::CloseWait => "CW",
            Self::Closing => "CLG",
            Self::LastAck => "LA",
            Self::TimeWait => "TW",
        }
    }
}

/// What the engine sent.
#[derive(Clone, Copy, Debug)]
struct Sent {
    seq: u32,
    ack: u32,
    flags: u8,
    window: u16,
    octets: u32,
}

/// The engine with one connection, seen from its peer.
pub(super) struct Host {
    engine: Engine,
    now: Instant,
    state: State,
    connection: Option<ConnId>,
    /// Ours.
    port: u16,
    peer_port: u16,
    rcv_nxt: u32,
    edge: u32,
    snd_una: u32,
    snd_nxt: u32,
}

impl Host {
    /// In every synchronized state 100 octets have gone each way and are acknowledged. Where we may
    /// still wait for an ACK, 100 more of ours are on their way.
    pub(super) fn in_state(state: State) -> Self {
        let now = Instant::from_micros(5_000_000);
        let config = Config {
            max_window: u64::from(WINDOW),
            ..Config::default()
        };
        let mut host = Self {
            engine: Engine::new(config, Pool::new(64, 2048), [9; 32], now),
            now,
            state,
            connection: None,
            port: 80,
            peer_port: 1000,
            rcv_nxt: IRS + 1,
            edge: IRS + 1 + WINDOW,
            snd_una: 70_000,
            snd_nxt: 70_001,
        };
        if state != State::Closed {
            host.engine.listen((address(0), 80).into());
        }
        host.reach(state);
        host.wait(Duration::from_secs(1) / 20);
        assert_eq!(host.is_in(), state);
        host
    }

    fn reach(&mut self, state: State) {
        match state {
            State::Closed | State::Listen => {}
            State::SynSent => self.connect(),
            State::SynReceived => {
                self.connect();
                self.give(SYN, IRS, 0, 0);
                self.settle();
            }
            State::HalfOpen => {
                self.give(SYN, IRS, 0, 0);
                self.settle();
            }
            State::Established => {
                self.reach(State::HalfOpen);
                self.wait(ROUND_TRIP);
                self.talk(ACK, 0);
                self.write();
                self.talk(ACK, 100);
                self.write();
            }
            State::FinWait1 => {
                self.reach(State::Established);
                self.close();
            }
            State::FinWait2 => {
                self.reach(State::FinWait1);
                self.talk(ACK, 0);
            }
            State::CloseWait => {
                self.reach(State::Established);
                self.give(FIN | ACK, self.rcv_nxt, self.snd_una, 0);
                self.settle();
            }
            State::Closing => {
                self.reach(State::FinWait1);
                self.give(FIN | ACK, self.rcv_nxt, self.snd_una, 0);
                self.settle();
            }
            State::LastAck => {
                self.reach(State::CloseWait);
                self.close();
            }
            State::TimeWait => {
                self.reach(State::FinWait2);
                self.talk(FIN | ACK, 0);
            }
        }
    }

    fn connect(&mut self) {
        self.peer_port = 8080;
        let server = (address(7), self.peer_port).into();
        let connection = self.engine.connect(address(0), server, None, self.now);
        self.connection = Some(connection.expect("room"));
        self.settle();
    }

    fn write(&mut self) {
        let connection = self.connection.expect("accepted");
        let left = self.engine.write(connection, Octets::copy_of(&[7; 100]));
        assert!(left.is_empty());
        self.settle();
    }

    fn close(&mut self) {
        self.engine.close(self.connection.expect("accepted"));
        self.settle();
    }

    /// The peer says something in order, and acknowledges everything.
    fn talk(&mut self, flags: u8, octets: u16) {
        self.give(flags, self.rcv_nxt, self.snd_nxt, octets);
        self.snd_una = self.snd_nxt;
        self.settle();
        if let Some(connection) = self.connection {
            while self.engine.read(connection).is_some() {}
        }
        self.settle();
    }

    /// What the connection answers, which octets it takes and what state follows: a cell of the table.
    pub(super) fn meets(&mut self, segment: &Segment) -> String {
        let seq = self.number(segment.seq);
        let ack = segment.ack.map_or(0, |ack| self.number(ack));
        let before = (self.rcv_nxt, self.snd_nxt);
        self.give(segment.flags, seq, ack, segment.octets);
        let sent = self.settle();
        let mut cell = match sent.as_slice() {
            [] => ".".to_owned(),
            [one] => self.word(*one, segment, (seq, ack), before),
            several => format!("?{several:x?}"),
        };
        let readable = self.read();
        if readable > 0 {
            let _ = write!(cell, "+{readable}");
        }
        // What is challenged twice within a moment is answered once.
        let answered_once = cell == "ack" && {
            self.give(segment.flags, seq, ack, segment.octets);
            self.settle().is_empty()
        };
        let now_in = self.is_in();
        if now_in != self.state {
            cell.push('>');
            cell.push_str(now_in.short());
        } else if answered_once {
            "chal".clone_into(&mut cell);
        }
        cell
    }

    fn word(
        &self,
        sent: Sent,
        segment: &Segment,
        (seq, ack): (u32, u32),
        before: (u32, u32),
    ) -> String {
        let syn_or_fin = u32::from(segment.flags & SYN != 0) + u32::from(segment.flags & FIN != 0);
        let end = seq + u32::from(segment.octets) + syn_or_fin;
        let word = match sent.flags & !PSH {
            ACK if sent.octets == 0 && sent.seq == before.1 && sent.ack == self.rcv_nxt => "ack",
            RST if segment.flags & ACK != 0 && sent.seq == ack => "rst",
            RST_ACK if segment.flags & ACK == 0 && (sent.seq, sent.ack) == (0, end) => "rst",
            SYN_ACK if sent.ack == IRS + 1 || sent.ack == seq + 1 => "syn-ack",
            _ => return format!("?{sent:x?}"),
        };
        word.to_owned()
    }

    fn number(&self, point: Point) -> u32 {
        let of = match point.of {
            Variable::Irs => IRS,
            Variable::RcvNxt => self.rcv_nxt,
            Variable::Edge => self.edge,
            Variable::SndUna => self.snd_una,
            Variable::SndNxt => self.snd_nxt,
        };
        of.wrapping_add_signed(point.plus)
    }

    fn read(&mut self) -> usize {
        let Some(connection) = self.connection else {
            return 0;
        };
        // Without an eye on the window: what is sent because of the reading is nobody's answer.
        let octets = std::iter::from_fn(|| self.engine.read(connection));
        octets.map(|octets| octets.len()).sum()
    }

    fn is_in(&mut self) -> State {
        if self.engine.half_open() > 0 {
            return State::HalfOpen;
        }
        let Some(connection) = self.connection else {
            return if self.state == State::Closed {
                State::Closed
            } else {
                State::Listen
            };
        };
        match self.engine.state(connection) {
            Some(synhop_engine::State::SynSent) => State::SynSent,
            Some(synhop_engine::State::SynReceived) => State::SynReceived,
            Some(synhop_engine::State::Established) => State::Established,
            Some(synhop_engine::State::FinWait1) => State::FinWait1,
            Some(synhop_engine::State::FinWait2) => State::FinWait2,
            Some(synhop_engine::State::CloseWait) => State::CloseWait,
            Some(synhop_engine::State::Closing) => State::Closing,
            Some(synhop_engine::State::LastAck) => State::LastAck,
            Some(synhop_engine::State::TimeWait) => State::TimeWait,
            Some(synhop_engine::State::Closed) => State::Closed,
            None => self.time_wait_or_closed(),
        }
    }

    /// TIME-WAIT answers what is out of place by an ACK, nobody by a reset.
    fn time_wait_or_closed(&mut self) -> State {
        self.wait(Duration::from_secs(1));
        self.give(ACK, self.rcv_nxt.wrapping_add(100_000), self.snd_nxt, 1);
        let sent = self.settle();
        self.wait(Duration::from_secs(1));
        match sent.first() {
            Some(sent) if sent.flags == ACK => State::TimeWait,
            Some(_) | None => State::Closed,
        }
    }

    fn give(&mut self, flags: u8, seq: u32, ack: u32, len: u16) {
        let mut octets = vec![0; 20];
        octets[0..2].copy_from_slice(&self.peer_port.to_be_bytes());
        octets[2..4].copy_from_slice(&self.port.to_be_bytes());
        octets[4..8].copy_from_slice(&seq.to_be_bytes());
        octets[8..12].copy_from_slice(&ack.to_be_bytes());
        octets[12] = 5 << 4;
        octets[13] = flags;
        octets[14..16].copy_from_slice(&PEER_WINDOW.to_be_bytes());
        octets.resize(20 + usize::from(len), 1);
        let payload = Payload::from(Octets::copy_of(&octets));
        self.engine
            .receive(address(7), address(0), payload, self.now);
    }

    /// Sends what is to be sent at once or with a delay, and learns from it where the engine is.
    fn settle(&mut self) -> Vec<Sent> {
        let mut sent = self.transmit();
        self.wait(DELAYED_ACK);
        sent.extend(self.transmit());
        sent
    }

    fn transmit(&mut self) -> Vec<Sent> {
        while let Some(event) = self.engine.next_event() {
            if let Event::Accepted { connection, .. } = event {
                self.connection = Some(connection);
            }
        }
        let mut sent = Vec::new();
        while let Some(transmit) = self.engine.poll_transmit(self.now) {
            let header = transmit.header.as_slice();
            let word =
                |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().expect("four octets"));
            let one = Sent {
                seq: word(4),
                ack: word(8),
                flags: header[13],
                window: u16::from_be_bytes([header[14], header[15]]),
                octets: u32::try_from(transmit.payload.len()).expect("few"),
            };
            self.port = u16::from_be_bytes([header[0], header[1]]);
            self.learn(one);
            sent.push(one);
        }
        sent
    }

    fn learn(&mut self, sent: Sent) {
        if sent.flags & RST != 0 {
            return;
        }
        if sent.flags & SYN != 0 {
            self.snd_una = sent.seq;
        }
        let syn_or_fin = u32::from(sent.flags & SYN != 0) + u32::from(sent.flags & FIN != 0);
        self.snd_nxt = sent.seq + sent.octets + syn_or_fin;
        if sent.flags & ACK != 0 {
            self.rcv_nxt = sent.ack;
            self.edge = self.edge.max(sent.ack + u32::from(sent.window));
        }
    }

    fn wait(&mut self, duration: Duration) {
        self.now = self.now + duration;
        self.engine.tick(self.now);
    }
}

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;
const SYN_ACK: u8 = SYN | ACK;
const RST_ACK: u8 = RST | ACK;
/// The number of the peer's SYN.
const IRS: u32 = 500_000;
/// Octets that we take.
const WINDOW: u32 = 8000;
const PEER_WINDOW: u16 = 100;
const ROUND_TRIP: Duration = Duration::from_millis(50);
const DELAYED_ACK: Duration = Duration::from_millis(42);
