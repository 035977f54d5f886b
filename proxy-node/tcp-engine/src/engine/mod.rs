//! The facade: all connections of one host.

mod event;
mod input;
mod pair;

pub(crate) use pair::Half;

pub use event::{ConnectError, Counters, Event, PairEnd, Quoted, Syn};

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use hashbrown::HashSet;
use synhop_option::SynOption;

use crate::config::Config;
use crate::connection::{
    Birth, Connection, Failure, HalfOpen, News, RawOption, State, Transmit, Tuple,
};
use crate::pool::{Octets, Pool};
use crate::table::demux::{Demux, Keyed};
use crate::table::isn::Secrets;
use crate::table::slab::{ConnId, Id, Slab};
use crate::table::time_wait::TimeWait;
use crate::table::timer_wheel::TimerWheel;
use crate::time::Instant;

/// See the crate.
///
/// After each input the shell sends what [`poll_transmit`](Self::poll_transmit) gives, looks at the
/// events, and sees to it that [`tick`](Self::tick) is called at
/// [`next_deadline`](Self::next_deadline).
#[derive(Debug)]
pub struct Engine {
    config: Config,
    pool: Pool,
    secrets: Secrets,
    listeners: HashSet<SocketAddr, Keyed>,
    connections: Slab<Connection>,
    half_open: Slab<HalfOpen>,
    demux: Demux<Owner>,
    time_wait: TimeWait,
    wheel: TimerWheel<Timed>,
    /// Connections that may have something to send.
    dirty: VecDeque<Id<Connection>>,
    /// Those whose SYN is to go. They are dirty, too.
    opening: VecDeque<Id<Connection>>,
    /// Segments that belong to no connection, or to one that is gone.
    answers: VecDeque<Transmit>,
    events: VecDeque<Event>,
    expired: Vec<Timed>,
    counters: Counters,
    /// The last time that we were told.
    now: Instant,
}

/// Whom a segment belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Connection(Id<Connection>),
    HalfOpen(Id<HalfOpen>),
}

/// Whose time has come.
#[derive(Clone, Copy, Debug)]
enum Timed {
    Connection(Id<Connection>),
    HalfOpen(Id<HalfOpen>),
}

impl Engine {
    /// An engine without connections. `seed` must be unpredictable: sequence numbers, ports and
    /// hashes come from it.
    pub fn new(config: Config, pool: Pool, seed: [u8; 32], now: Instant) -> Self {
        let word = |at: usize| {
            let mut octets = [0; 8];
            octets.copy_from_slice(&seed[at * 8..at * 8 + 8]);
            u64::from_le_bytes(octets)
        };
        let keyed = Keyed::new((word(0), word(1)));
        Self {
            pool,
            secrets: Secrets::new((word(2), word(3))),
            listeners: HashSet::with_hasher(keyed.clone()),
            connections: Slab::new(config.connections),
            half_open: Slab::new(config.half_open),
            demux: Demux::new(keyed.clone()),
            time_wait: TimeWait::new(config.time_wait, keyed),
            wheel: TimerWheel::new(now),
            dirty: VecDeque::new(),
            opening: VecDeque::new(),
            answers: VecDeque::new(),
            events: VecDeque::new(),
            expired: Vec::new(),
            counters: Counters::default(),
            now,
            config,
        }
    }

    /// Takes SYNs to `local`; an unspecified address means all of its family.
    pub fn listen(&mut self, local: SocketAddr) {
        self.listeners.insert(local);
    }

    /// SYNs to `local` are refused from now on.
    pub fn unlisten(&mut self, local: SocketAddr) {
        self.listeners.remove(&local);
    }

    /// Opens a connection from an ephemeral port of `local`. `option` goes on the SYN and its
    /// retransmissions; with timestamps 20 octets are left for it.
    pub fn connect(
        &mut self,
        local: IpAddr,
        remote: SocketAddr,
        option: Option<&SynOption>,
        now: Instant,
    ) -> Result<ConnId, ConnectError> {
        let tuple = self.free_tuple(local, remote)?;
        let mut octets = [0; SynOption::MAX_OCTETS];
        let len = match option {
            Some(option) => option
                .emit(self.config.kind, &mut octets)
                .unwrap_or_default(),
            None => 0,
        };
        if len > OPTION_ROOM {
            return Err(ConnectError::NoRoom { len_octets: len });
        }
        let option = RawOption::from_slice(octets.get(..len).unwrap_or_default());
        let birth = self.birth(tuple, now);
        let connection = Connection::connect(&birth, option, &self.config);
        let id = self
            .connections
            .insert(connection)
            .ok_or(ConnectError::TooMany)?;
        self.demux.insert(&tuple, Owner::Connection(id));
        self.share_out();
        self.touch(id);
        self.opening.push_back(id);
        Ok(ConnId(id))
    }

    /// The next segment to send: SYNs before all others, since a whole chain waits for them; then
    /// the oldest first, each connection in its turn.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        while let Some(id) = self.opening.pop_front() {
            if let Some(connection) = self.connections.get_mut(id)
                && let Some(syn) = connection.poll_transmit(&self.config, now)
            {
                return Some(syn);
            }
        }
        if let Some(answer) = self.answers.pop_front() {
            return Some(answer);
        }
        while let Some(id) = self.dirty.pop_front() {
            let Some(connection) = self.connections.get_mut(id) else {
                continue;
            };
            if let Some(transmit) = connection.poll_transmit(&self.config, now) {
                self.dirty.push_back(id);
                return Some(transmit);
            }
            connection.is_dirty = false;
            self.schedule(id);
            self.retire_if_done(id, now);
        }
        None
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Instant) {
        self.now = now;
        self.time_wait.tick(now);
        let mut expired = core::mem::take(&mut self.expired);
        self.wheel.expired(now, &mut expired);
        for timed in expired.drain(..) {
            match timed {
                Timed::Connection(id) => self.on_time(id, now),
                Timed::HalfOpen(id) => self.on_half_open_time(id, now),
            }
        }
        self.expired = expired;
    }

    /// When [`tick`](Self::tick) is to be called; it may be called sooner.
    pub fn next_deadline(&self) -> Option<Instant> {
        let wheel = self.wheel.next_deadline();
        let time_wait = self.time_wait.next_deadline();
        wheel.into_iter().chain(time_wait).min()
    }

    /// What has happened, the oldest first.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Queues octets; returns those for which there is no room now.
    pub fn write(&mut self, id: ConnId, mut octets: Octets) -> Octets {
        if let Some(connection) = self.connections.get_mut(id.0)
            && connection.may_send()
        {
            let space = connection.send_space(&self.config);
            let fit = octets.split_to(usize::try_from(space).unwrap_or(usize::MAX));
            connection.send(fit);
            self.touch(id.0);
        }
        octets
    }

    /// Takes octets that have come in order.
    pub fn read(&mut self, id: ConnId) -> Option<Octets> {
        let octets = self.connections.get_mut(id.0)?.take(u64::MAX)?;
        self.touch(id.0);
        Some(octets)
    }

    /// Whether the peer has finished and all was read. True, too, of what is gone.
    pub fn is_finished(&self, id: ConnId) -> bool {
        self.connections
            .get(id.0)
            .is_none_or(Connection::peer_finished)
    }

    /// The state; `None` when it is gone.
    pub fn state(&self, id: ConnId) -> Option<State> {
        self.connections
            .get(id.0)
            .map(|connection| connection.state)
    }

    /// Finishes: what is queued goes out, then a FIN.
    pub fn close(&mut self, id: ConnId) {
        if let Some(connection) = self.connections.get_mut(id.0) {
            connection.close();
            self.touch(id.0);
        }
    }

    /// Resets a connection and forgets it. Of a pair only this half.
    pub fn abort(&mut self, id: ConnId) {
        let Some(connection) = self.connections.get(id.0) else {
            return;
        };
        if !matches!(
            connection.state,
            State::SynSent | State::Closed | State::TimeWait
        ) {
            let reset = connection.reset(self.now);
            self.answer(reset);
        }
        self.remove(id.0);
    }

    /// Connections, half-open ones and those in TIME-WAIT apart.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Passive opens that are not complete.
    pub fn half_open(&self) -> usize {
        self.half_open.len()
    }

    /// The pages that payload is kept in.
    pub const fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The totals so far.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    fn free_tuple(&mut self, local: IpAddr, remote: SocketAddr) -> Result<Tuple, ConnectError> {
        if local.is_ipv4() != remote.is_ipv4() {
            return Err(ConnectError::Families);
        }
        let ports = self.secrets.ports(SocketAddr::new(local, 0), remote);
        let tuples = ports.map(|port| Tuple {
            local: SocketAddr::new(local, port),
            remote,
        });
        tuples
            .into_iter()
            .find(|tuple| self.owner(tuple).is_none() && !self.time_wait.contains(tuple))
            .ok_or(ConnectError::NoPort)
    }

    fn birth(&self, tuple: Tuple, now: Instant) -> Birth {
        let headers = if tuple.remote.is_ipv4() { 40 } else { 60 };
        Birth {
            tuple,
            iss: self.secrets.isn(&tuple, now),
            clock_offset: self.secrets.clock_offset(&tuple),
            room: self.share(self.connections.len() + 1),
            own_mss: self.config.mtu.saturating_sub(headers),
            now,
        }
    }

    /// What each of `connections` may hold: its own waiting octets once, and twice as much of its
    /// partner's in its send queue.
    fn share(&self, connections: usize) -> u64 {
        let pages = self.pool.total().saturating_sub(self.config.reserve_pages);
        // A page holds one segment.
        let octets = pages as u64 * u64::from(self.config.mtu.saturating_sub(52));
        let least = 2 * u64::from(self.config.mtu);
        (octets / (3 * connections.max(1) as u64)).clamp(least, self.config.max_window.max(least))
    }

    /// Grants every connection its share of the pool, when their number has changed enough to
    /// matter: at each power of two.
    fn share_out(&mut self) {
        let connections = self.connections.len();
        let room = self.share(connections.next_power_of_two());
        if connections.is_power_of_two() {
            for connection in self.connections.iter_mut() {
                connection.grant(room);
            }
        }
    }

    /// Puts a connection on the list of those with something to send.
    fn touch(&mut self, id: Id<Connection>) {
        if let Some(connection) = self.connections.get_mut(id)
            && !connection.is_dirty
        {
            connection.is_dirty = true;
            self.dirty.push_back(id);
        }
    }

    /// Has the wheel wake a connection at its deadline. A later deadline waits for the earlier
    /// wake-up to come: so there is one entry, or few.
    fn schedule(&mut self, id: Id<Connection>) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if let Some(at) = connection.deadline()
            && let at = self.wheel.round(at)
            && connection.timer_at.is_none_or(|set| at < set)
        {
            connection.timer_at = Some(at);
            self.set_timer(at, Timed::Connection(id));
        }
    }

    /// Sets the wheel, and first sweeps it if most of it is for nothing: what is gone, or was told
    /// an earlier time since, stays there till its own time.
    fn set_timer(&mut self, at: Instant, timed: Timed) {
        let live = self.connections.len() + self.half_open.len();
        if self.wheel.len() > 2 * live + STALE_TIMERS {
            let (connections, half_open) = (&self.connections, &self.half_open);
            self.wheel.retain(|at, timed| match *timed {
                Timed::Connection(id) => connections
                    .get(id)
                    .is_some_and(|connection| connection.timer_at == Some(at)),
                Timed::HalfOpen(id) => half_open.get(id).is_some(),
            });
        }
        self.wheel.set(at, timed);
    }

    fn on_time(&mut self, id: Id<Connection>, now: Instant) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        // An entry from before an earlier time was told: that one has come already, or comes now.
        if connection.timer_at.is_none_or(|at| at > now) {
            return;
        }
        connection.timer_at = None;
        if connection.deadline().is_none_or(|at| at > now) {
            // It has moved on since: nothing else of the connection needs to be looked at.
            self.schedule(id);
            return;
        }
        let news = connection.on_time(&self.config, now);
        if let Some(news) = news {
            self.on_news(id, news);
        }
        self.touch(id);
    }

    fn on_news(&mut self, id: Id<Connection>, news: News) {
        let Some(connection) = self.connections.get(id) else {
            return;
        };
        match news {
            News::Connected => {
                let reply = connection.reply;
                self.events.push_back(Event::Connected {
                    connection: ConnId(id),
                    reply,
                });
                self.pump(id);
            }
            News::Failed(failure) => self.on_failure(id, failure),
        }
    }

    fn on_failure(&mut self, id: Id<Connection>, failure: Failure) {
        let Some(connection) = self.connections.get(id) else {
            return;
        };
        let is_half = connection.half.is_some();
        if failure == Failure::TimedOut && connection.has_spoken() {
            // The peer may be there after all and wonder.
            let reset = connection.reset(self.now);
            self.answer(reset);
        }
        if is_half {
            self.break_pair(id, failure);
        } else {
            self.events.push_back(Event::Failed {
                connection: ConnId(id),
                failure,
            });
            self.remove(id);
        }
    }

    fn remove(&mut self, id: Id<Connection>) -> Option<Connection> {
        let connection = self.connections.remove(id)?;
        self.demux.remove(&connection.tuple, Owner::Connection(id));
        self.share_out();
        Some(connection)
    }

    /// Lets go of a connection that has nothing left to do.
    fn retire_if_done(&mut self, id: Id<Connection>, now: Instant) {
        let Some(connection) = self.connections.get(id) else {
            return;
        };
        let over = matches!(connection.state, State::TimeWait | State::Closed);
        if !over || connection.readable() > 0 {
            return;
        }
        if !self.half_is_done(id) {
            return;
        }
        if let Some(connection) = self.remove(id) {
            if connection.state == State::TimeWait {
                self.time_wait
                    .insert(connection.tuple, connection.remains(), now);
            }
            if connection.half.is_some() {
                self.on_half_gone(id, &connection);
            } else {
                self.events.push_back(Event::Closed {
                    connection: ConnId(id),
                });
            }
        }
    }

    /// Sends a segment outside of any connection. Under a flood some are not sent.
    fn answer(&mut self, transmit: Transmit) {
        if self.answers.len() < MAX_ANSWERS {
            self.answers.push_back(transmit);
        } else {
            self.counters.answers_dropped += 1;
        }
    }
}

/// What MSS, SACK-permitted, timestamps and window scale leave of 40 octets.
/// Timers beyond two a connection that the wheel may hold for nothing.
const STALE_TIMERS: usize = 256;
const OPTION_ROOM: usize = 20;
const MAX_ANSWERS: usize = 1024;
