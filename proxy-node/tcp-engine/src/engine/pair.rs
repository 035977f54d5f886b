//! Pairs: what comes in on one connection goes out on the other.

use super::event::{Event, PairEnd};
use super::{Connection, Engine, Failure, Id};
use crate::table::slab::ConnId;

/// What a connection knows of the pair that it is half of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Half {
    pub partner: Id<Connection>,
    /// Whether it is the first of the two.
    pub is_first: bool,
    /// Octets that have passed from here to the partner.
    pub passed_octets: u64,
    /// Whether the partner holds something that could not pass to here yet.
    pub partner_waits: bool,
    /// What the partner passed here, once that is gone.
    pub partner_passed_octets: Option<u64>,
}

impl Engine {
    /// Makes a pair of two connections: octets, FINs and resets pass between them from now on, and
    /// a full send queue closes the window of the other. False if one of them is gone or has a
    /// partner.
    pub fn join(&mut self, first: ConnId, second: ConnId) -> bool {
        let alone = |id: ConnId| {
            let connection = self.connections.get(id.0);
            connection.is_some_and(|connection| connection.half.is_none())
        };
        if first == second || !alone(first) || !alone(second) {
            return false;
        }
        for (id, partner, is_first) in [(first.0, second.0, true), (second.0, first.0, false)] {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.half = Some(Half {
                    partner,
                    is_first,
                    passed_octets: 0,
                    partner_waits: false,
                    partner_passed_octets: None,
                });
            }
        }
        self.pump(first.0);
        self.pump(second.0);
        true
    }

    /// Octets that a half of a pair has passed to its partner; `None` when it is gone.
    pub fn passed_octets(&self, id: ConnId) -> Option<u64> {
        let half = self.connections.get(id.0)?.half?;
        Some(half.passed_octets)
    }

    /// Passes on what has come in on `id`, and then what its partner could not pass on before.
    pub(super) fn pump(&mut self, id: Id<Connection>) {
        self.pass_on(id);
        let half = self.connections.get(id).and_then(|one| one.half);
        if let Some(half) = half.filter(|half| half.partner_waits) {
            self.pass_on(half.partner);
        }
    }

    fn pass_on(&mut self, from: Id<Connection>) {
        let Some(source) = self.connections.get(from) else {
            return;
        };
        let Some(Half { partner: to, .. }) = source.half else {
            return;
        };
        if source.readable() == 0 && !source.peer_finished() {
            // The partner is left alone: with many pairs it is not in the cache.
            return;
        }
        let mut passed = 0_u64;
        loop {
            let Some(space) = self.connections.get(to).map(|to| {
                if to.may_send() {
                    to.send_space(&self.config)
                } else {
                    0
                }
            }) else {
                return;
            };
            let Some(source) = self.connections.get_mut(from).filter(|_| space > 0) else {
                break;
            };
            let Some(octets) = source.take(space) else {
                break;
            };
            passed += octets.len() as u64;
            if let Some(sink) = self.connections.get_mut(to) {
                sink.send(octets);
            }
        }
        let Some(source) = self.connections.get_mut(from) else {
            return;
        };
        if let Some(half) = &mut source.half {
            half.passed_octets += passed;
        }
        let (waits, finished) = (source.readable() > 0, source.peer_finished());
        let mut wake = passed > 0;
        if let Some(sink) = self.connections.get_mut(to) {
            if let Some(half) = &mut sink.half {
                half.partner_waits = waits || finished;
            }
            if finished && sink.may_send() {
                sink.close();
                wake = true;
            }
        }
        if wake {
            self.touch(to);
            self.touch(from);
        }
    }

    /// One half has failed: so does the other.
    pub(super) fn break_pair(&mut self, id: Id<Connection>, failure: Failure) {
        let Some(connection) = self.remove(id) else {
            return;
        };
        let Some(half) = connection.half else {
            return;
        };
        let other = self.connections.get(half.partner);
        let back = other
            .and_then(|other| other.half)
            .map(|half| half.passed_octets);
        self.abort(ConnId(half.partner));
        let end = (half, half.partner_passed_octets.or(back));
        self.pair_ended(id, end, Some((ConnId(id), failure)));
    }

    /// Whether a connection that is over has nothing to do for its partner.
    pub(super) fn half_is_done(&self, id: Id<Connection>) -> bool {
        let Some(half) = self.connections.get(id).and_then(|one| one.half) else {
            return true;
        };
        // The partner has heard of the end, or is gone.
        self.connections
            .get(half.partner)
            .is_none_or(|partner| !partner.may_send())
    }

    /// A half is gone in good order; the pair is over with the second.
    pub(super) fn on_half_gone(&mut self, id: Id<Connection>, gone: &Connection) {
        let Some(half) = gone.half else {
            return;
        };
        if let Some(partner) = self.connections.get_mut(half.partner) {
            if let Some(partners) = &mut partner.half {
                partners.partner_passed_octets = Some(half.passed_octets);
            }
        } else {
            self.pair_ended(id, (half, half.partner_passed_octets), None);
        }
    }

    fn pair_ended(
        &mut self,
        id: Id<Connection>,
        (half, back): (Half, Option<u64>),
        broken: Option<(ConnId, Failure)>,
    ) {
        let (this, other) = (half.passed_octets, back.unwrap_or_default());
        let end = if half.is_first {
            PairEnd {
                first: ConnId(id),
                second: ConnId(half.partner),
                broken,
                forth_octets: this,
                back_octets: other,
            }
        } else {
            PairEnd {
                first: ConnId(half.partner),
                second: ConnId(id),
                broken,
                forth_octets: other,
                back_octets: this,
            }
        };
        self.events.push_back(Event::PairEnded(end));
    }
}
