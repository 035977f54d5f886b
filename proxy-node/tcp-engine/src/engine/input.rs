//! Segments and ICMP errors, and whom they belong to.

use core::net::{IpAddr, SocketAddr};

use synhop_option::syn_option;

use super::event::{Event, Quoted, Syn};
use super::{Connection, Engine, HalfOpen, Id, Owner, State, Timed, Tuple};
use crate::connection::{HalfOpenStep, IcmpError, Memory, Transmit, reset};
use crate::pool::Payload;
use crate::seq::Seq;
use crate::table::slab::ConnId;
use crate::table::time_wait::{Answer, Remains};
use crate::time::Instant;
use crate::wire::{Flags, Options, Segment, Timestamps};

impl Engine {
    /// A segment has come from `source` to `destination`, both unicast and the latter ours. Its
    /// checksum is right. The header lies in the first part.
    pub fn receive(&mut self, source: IpAddr, destination: IpAddr, octets: Payload, now: Instant) {
        let Ok(segment) = Segment::parse(octets) else {
            self.counters.malformed += 1;
            return;
        };
        self.counters.received += 1;
        self.now = now;
        let tuple = Tuple {
            local: SocketAddr::new(destination, segment.destination_port),
            remote: SocketAddr::new(source, segment.source_port),
        };
        match self.owner(&tuple) {
            Some(Owner::Connection(id)) => self.on_segment(id, segment, now),
            Some(Owner::HalfOpen(id)) => self.on_half_open(id, segment, now),
            None => self.on_unknown(tuple, &segment, now),
        }
    }

    /// An ICMP error has come.
    pub fn icmp(&mut self, error: IcmpError, quoted: &Quoted) {
        let Some(Owner::Connection(id)) = self.owner(&quoted.tuple) else {
            return;
        };
        let ip_header = if quoted.tuple.remote.is_ipv4() {
            20
        } else {
            40
        };
        let connection = self.connections.get_mut(id);
        let news = connection.and_then(|one| one.on_icmp(error, quoted.seq, ip_header));
        if let Some(news) = news {
            self.on_news(id, news);
        }
        self.touch(id);
    }

    /// Whom the two ends of a segment belong to.
    pub(super) fn owner(&self, tuple: &Tuple) -> Option<Owner> {
        self.demux.find(tuple, |owner| match owner {
            Owner::Connection(id) => {
                let connection = self.connections.get(id);
                connection.is_some_and(|connection| connection.tuple == *tuple)
            }
            Owner::HalfOpen(id) => {
                let half = self.half_open.get(id);
                half.is_some_and(|half| half.tuple == *tuple)
            }
        })
    }

    fn on_segment(&mut self, id: Id<Connection>, segment: Segment, now: Instant) {
        let memory = self.memory();
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let mut answer: Option<Transmit> = None;
        let kind = self.config.kind;
        let news = connection.on_segment(segment, kind, memory, now, &mut |transmit| {
            answer = Some(transmit);
        });
        if let Some(answer) = answer {
            self.answer(answer);
        }
        self.touch(id);
        match news {
            Some(news) => self.on_news(id, news),
            None => self.pump(id),
        }
    }

    fn memory(&mut self) -> Memory {
        if self.pool.free() > self.config.reserve_pages {
            return Memory::Enough;
        }
        // What waits behind holes may be sent again; what is in order may not be dropped. Only
        // when half of the reserve is gone: it costs the peers what they have sent.
        if self.pool.free() <= self.config.reserve_pages / 2 {
            for connection in self.connections.iter_mut() {
                self.counters.reneged += u64::from(connection.renege());
            }
        }
        Memory::Short
    }

    fn on_unknown(&mut self, tuple: Tuple, segment: &Segment, now: Instant) {
        match self.time_wait.on_segment(&tuple, segment, now) {
            Answer::Silence => return,
            Answer::Ack(remains) => {
                self.answer(still_here(tuple, &remains, now));
                return;
            }
            Answer::Reuse => self.time_wait.remove(&tuple),
            Answer::Unknown => {}
        }
        let (has_rst, has_ack) = (segment.flags.has(Flags::RST), segment.flags.has(Flags::ACK));
        let listens = !has_rst && !has_ack && self.listens_on(tuple.local);
        if listens && segment.flags.has(Flags::SYN) {
            self.on_syn(tuple, segment, now);
            return;
        }
        self.counters.stray += 1;
        // RFC 9293 section 3.10.7.2, fourth: what is neither SYN nor ACK is nothing to a listener.
        if !has_rst && !listens {
            // RFC 9293 section 3.10.7.1.
            let answer = if has_ack {
                reset(tuple, segment.ack, None)
            } else {
                reset(tuple, Seq::default(), Some(segment.end()))
            };
            self.answer(answer);
        }
    }

    fn listens_on(&self, local: SocketAddr) -> bool {
        let any: IpAddr = match local {
            SocketAddr::V4(_) => core::net::Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => core::net::Ipv6Addr::UNSPECIFIED.into(),
        };
        self.listeners.contains(&local)
            || self.listeners.contains(&SocketAddr::new(any, local.port()))
    }

    fn on_syn(&mut self, tuple: Tuple, segment: &Segment, now: Instant) {
        let syn = self.syn(tuple, segment);
        let birth = self.birth(tuple, now);
        let half = HalfOpen::new(&birth, segment, syn.option);
        let due_at = half.due_at;
        let syn_ack = half.syn_ack(self.config.kind, &self.config, now);
        let Some(id) = self.half_open.insert(half) else {
            // The client sends it again.
            self.counters.syns_dropped += 1;
            return;
        };
        self.demux.insert(&tuple, Owner::HalfOpen(id));
        self.set_timer(due_at, Timed::HalfOpen(id));
        self.events.push_back(Event::Syn(syn));
        self.answer(syn_ack);
    }

    fn syn(&self, tuple: Tuple, segment: &Segment) -> Syn {
        let options = segment.raw_options.as_slice();
        Syn {
            client: tuple.remote,
            local: tuple.local,
            isn: segment.seq,
            option: syn_option(synhop_option::Segment::Syn, options, self.config.kind),
        }
    }

    fn on_half_open(&mut self, id: Id<HalfOpen>, segment: Segment, now: Instant) {
        let Some(half) = self.half_open.get_mut(id) else {
            return;
        };
        match half.on_segment(&segment, now) {
            HalfOpenStep::Stays => {}
            HalfOpenStep::Again => {
                half.note_again();
                let syn_ack = half.syn_ack(self.config.kind, &self.config, now);
                self.answer(syn_ack);
            }
            HalfOpenStep::Complete => self.complete(id, segment, now),
            HalfOpenStep::Gone => self.abandon(id),
            HalfOpenStep::Refuse => {
                let refusal = reset(half.tuple, segment.ack, None);
                self.answer(refusal);
            }
            HalfOpenStep::Challenge => {
                let challenge = half.challenge(&self.config, now);
                self.answer(challenge);
            }
        }
    }

    /// The last ACK of a handshake: the first segment of a connection.
    fn complete(&mut self, id: Id<HalfOpen>, segment: Segment, now: Instant) {
        if self.connections.is_full() {
            // The client holds an established connection: it must be told.
            if let Some(half) = self.half_open.get(id) {
                let refusal = half.reset(now);
                self.answer(refusal);
            }
            self.abandon(id);
            return;
        }
        let Some(half) = self.half_open.remove(id) else {
            return;
        };
        self.demux.remove(&half.tuple, Owner::HalfOpen(id));
        let room = self.share(self.connections.len() + 1);
        let connection = Connection::accepted(&half, room, &self.config, now);
        let syn = Syn {
            client: half.tuple.remote,
            local: half.tuple.local,
            isn: half.irs,
            option: half.option,
        };
        let Some(connection) = self.connections.insert(connection) else {
            return;
        };
        self.demux
            .insert(&half.tuple, Owner::Connection(connection));
        self.share_out();
        self.events.push_back(Event::Accepted {
            connection: ConnId(connection),
            syn,
        });
        self.on_segment(connection, segment, now);
    }

    fn abandon(&mut self, id: Id<HalfOpen>) {
        if let Some(half) = self.half_open.remove(id) {
            self.demux.remove(&half.tuple, Owner::HalfOpen(id));
            self.events.push_back(Event::Abandoned {
                client: half.tuple.remote,
                local: half.tuple.local,
                isn: half.irs,
            });
        }
    }

    /// Refuses a handshake that is not complete: the client is reset.
    pub fn refuse(&mut self, client: SocketAddr, local: SocketAddr) {
        let tuple = Tuple {
            local,
            remote: client,
        };
        if let Some(Owner::HalfOpen(id)) = self.owner(&tuple)
            && let Some(half) = self.half_open.remove(id)
        {
            self.demux.remove(&tuple, Owner::HalfOpen(id));
            self.answer(half.reset(self.now));
        }
    }

    pub(super) fn on_half_open_time(&mut self, id: Id<HalfOpen>, now: Instant) {
        let Some(half) = self.half_open.get_mut(id) else {
            return;
        };
        if half.due_at > now {
            let due_at = half.due_at;
            self.set_timer(due_at, Timed::HalfOpen(id));
            return;
        }
        if !half.retry(&self.config, now) {
            self.abandon(id);
            return;
        }
        let due_at = half.due_at;
        let syn_ack = half.syn_ack(self.config.kind, &self.config, now);
        self.set_timer(due_at, Timed::HalfOpen(id));
        self.answer(syn_ack);
    }

    /// Whether a connection is where octets may be sent.
    pub fn is_established(&self, id: ConnId) -> bool {
        matches!(
            self.state(id),
            Some(State::Established | State::CloseWait | State::FinWait1 | State::FinWait2)
        )
    }
}

/// The answer of TIME-WAIT (RFC 9293 section 3.10.7.4).
fn still_here(tuple: Tuple, remains: &Remains, now: Instant) -> Transmit {
    let options = Options {
        timestamps: remains.clock.map(|(offset, recent)| Timestamps {
            value: now.timestamp(offset),
            echo: recent,
        }),
        ..Options::default()
    };
    Transmit::ack(tuple, remains.next_sent, remains.next_expected, 0, &options)
}
