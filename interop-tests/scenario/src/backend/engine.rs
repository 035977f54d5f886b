//! The engine as the host, in virtual time.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use synhop_engine::{
    Config, ConnId, Engine, Event, Failure, IcmpError, Instant, Octets, Payload, Pool, Quoted, Seq,
    State, Tuple,
};

use super::{Backend, BackendError, HOST, Injection, REMOTE, SERVER_PORT};
use crate::script::{Call, Claim, IcmpKind, Settings};
use crate::wire::stream_octet;

/// The engine and the program on it.
pub(super) struct EngineHost {
    engine: Engine,
    now: Instant,
    sent: VecDeque<(Duration, Vec<u8>)>,
    accepted: VecDeque<ConnId>,
    connection: Option<ConnId>,
    failure: Option<Failure>,
    written: u32,
    /// What was taken from the engine and not asked for yet.
    unread: VecDeque<u8>,
    read: u32,
}

impl EngineHost {
    pub(super) fn new(settings: Settings) -> Self {
        let defaults = Config::default();
        let config = Config {
            syn_retries: settings.syn_retries.unwrap_or(defaults.syn_retries),
            syn_ack_retries: settings.syn_ack_retries.unwrap_or(defaults.syn_ack_retries),
            // No more than the SYN's field can say: the engine would tell of it at once.
            max_window: u64::from(settings.receive_buffer.unwrap_or(65_535)),
            ..defaults
        };
        let pool = Pool::new(4096, 2048);
        Self {
            engine: Engine::new(config, pool, [7; 32], START),
            now: START,
            sent: VecDeque::new(),
            accepted: VecDeque::new(),
            connection: None,
            failure: None,
            written: 0,
            unread: VecDeque::new(),
            read: 0,
        }
    }

    fn settle(&mut self) {
        while let Some(event) = self.engine.next_event() {
            match event {
                Event::Accepted { connection, .. } => self.accepted.push_back(connection),
                Event::Failed {
                    connection,
                    failure,
                } if self.connection == Some(connection) => self.failure = Some(failure),
                Event::Syn(_)
                | Event::Abandoned { .. }
                | Event::Connected { .. }
                | Event::Failed { .. }
                | Event::Closed { .. }
                | Event::PairEnded(_) => {}
            }
        }
        let at = self.now.since(START);
        // An engine that never stops sending is stopped by the segments that nobody expects.
        let (engine, now) = (&mut self.engine, self.now);
        let transmits = std::iter::from_fn(|| engine.poll_transmit(now));
        for transmit in transmits.take(MOST_SEGMENTS) {
            let mut octets = transmit.header.as_slice().to_vec();
            octets.extend(transmit.payload.to_vec());
            self.sent.push_back((at, octets));
        }
    }

    fn open(&self) -> Result<ConnId, BackendError> {
        self.connection
            .ok_or_else(|| BackendError::Call("there is no connection".to_owned()))
    }

    fn connect(&mut self) -> Result<(), BackendError> {
        let server = SocketAddr::new(IpAddr::V4(REMOTE), SERVER_PORT);
        let connection = self
            .engine
            .connect(IpAddr::V4(HOST), server, None, self.now)
            .map_err(|error| BackendError::Call(error.to_string()))?;
        self.connection = Some(connection);
        Ok(())
    }

    fn write(&mut self, len: u32) -> Result<(), BackendError> {
        let connection = self.open()?;
        let octets = (self.written + 1..=self.written + len).map(stream_octet);
        let octets = Octets::copy_of(&octets.collect::<Vec<u8>>());
        let left = self.engine.write(connection, octets);
        if !left.is_empty() {
            let what = format!("{} octets did not fit", left.len());
            return Err(BackendError::Call(what));
        }
        self.written += len;
        Ok(())
    }

    fn read(&mut self, len: u32) -> Result<(), BackendError> {
        let connection = self.open()?;
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        while self.unread.len() < len.max(1) {
            let Some(octets) = self.engine.read(connection) else {
                break;
            };
            self.unread.extend(octets.as_slice());
        }
        let there = self.unread.len();
        if there < len || (len == 0 && there > 0) {
            return Err(BackendError::Call(format!("{there} octets were there")));
        }
        for octet in self.unread.drain(..len) {
            self.read += 1;
            if octet != stream_octet(self.read) {
                let what = format!("octet {} is wrong", self.read);
                return Err(BackendError::Call(what));
            }
        }
        Ok(())
    }
}

impl Backend for EngineHost {
    fn now(&self) -> Duration {
        self.now.since(START)
    }

    fn tolerance(&self) -> Duration {
        TOLERANCE
    }

    fn inject(&mut self, injection: &Injection) -> Result<(), BackendError> {
        match injection {
            Injection::Segment(octets) => {
                // As a driver does: into a page.
                let mut page = self
                    .engine
                    .pool()
                    .take()
                    .ok_or_else(|| BackendError::Call("the pool is empty".to_owned()))?;
                page.octets_mut()[..octets.len()].copy_from_slice(octets);
                let payload = Payload::from(page.freeze(0..octets.len()));
                self.engine
                    .receive(IpAddr::V4(REMOTE), IpAddr::V4(HOST), payload, self.now);
            }
            Injection::Icmp {
                kind,
                host_port,
                remote_port,
                seq,
            } => {
                let quoted = Quoted {
                    tuple: Tuple {
                        local: SocketAddr::new(IpAddr::V4(HOST), *host_port),
                        remote: SocketAddr::new(IpAddr::V4(REMOTE), *remote_port),
                    },
                    seq: Seq::new(*seq),
                };
                let error = match kind {
                    IcmpKind::Unreachable => IcmpError::Unreachable,
                    IcmpKind::TooBig { mtu } => IcmpError::TooBig { mtu: *mtu },
                };
                self.engine.icmp(error, &quoted);
            }
        }
        self.settle();
        Ok(())
    }

    fn next_segment(
        &mut self,
        until: Duration,
    ) -> Result<Option<(Duration, Vec<u8>)>, BackendError> {
        let until = START + until;
        for _wake_up in 0..MOST_WAKE_UPS {
            if let Some(sent) = self.sent.pop_front() {
                return Ok(Some(sent));
            }
            let Some(at) = self.engine.next_deadline().filter(|at| *at <= until) else {
                self.now = self.now.max(until);
                return Ok(None);
            };
            self.now = self.now.max(at);
            self.engine.tick(self.now);
            self.settle();
        }
        Err(BackendError::Call(
            "the engine wants to be woken for ever, and sends nothing".to_owned(),
        ))
    }

    fn call(&mut self, call: Call) -> Result<(), BackendError> {
        match call {
            Call::Listen(port) => self.engine.listen(SocketAddr::new(IpAddr::V4(HOST), port)),
            Call::Accept => {
                let connection = self.accepted.pop_front();
                self.connection = connection;
                connection.ok_or_else(|| BackendError::Call("nothing to accept".to_owned()))?;
                (self.written, self.read) = (0, 0);
            }
            Call::Connect => self.connect()?,
            Call::Write(len) => self.write(len)?,
            Call::Read(len) => self.read(len)?,
            Call::Shutdown => self.engine.close(self.open()?),
            Call::Abort => self.engine.abort(self.open()?),
        }
        self.settle();
        Ok(())
    }

    fn claim(&mut self, claim: Claim) -> Result<(), BackendError> {
        let state = self.connection.and_then(|one| self.engine.state(one));
        let holds = match claim {
            Claim::Established => state == Some(State::Established),
            Claim::Closed => matches!(state, None | Some(State::TimeWait | State::Closed)),
            Claim::Reset => self.failure == Some(Failure::Reset),
            Claim::TimedOut => self.failure == Some(Failure::TimedOut),
            Claim::Unreachable => self.failure == Some(Failure::Unreachable),
            Claim::Finished => self.engine.is_finished(self.open()?) && self.failure.is_none(),
        };
        if holds {
            return Ok(());
        }
        Err(BackendError::Call(format!(
            "the state is {state:?}, the failure {:?}",
            self.failure
        )))
    }
}

const START: Instant = Instant::from_micros(1_000_000_000);
/// More than any scenario has.
const MOST_SEGMENTS: usize = 10_000;
/// More than any timer needs between two segments.
const MOST_WAKE_UPS: usize = 10_000;
/// The timer wheel's ticks are of 1 ms.
const TOLERANCE: Duration = Duration::from_millis(2);
