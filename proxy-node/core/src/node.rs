//! The facade: inputs in, actions out.

use alloc::boxed::Box;

use crate::admission::{Admission, Admitter, Why};
use crate::config::Config;
use crate::counters::Counters;
use crate::ended::Ended;
use crate::event::{Action, Input, Verdict};
use crate::flow::{Closed, Context, FlowInput, Order, State};
use crate::flow_table::{Facts, Flow, FlowId, FlowTable, Mark};
use crate::onward::Onward;
use crate::policy::Permit;
use crate::report::{Mode, Outcome, Report, Timings};
use crate::syn::Syn;
use crate::time::Time;

/// Everything one node decides.
///
/// The shell calls it from one place at a time and carries out the actions in their order. `sink`
/// is called during the call: twice at most for each flow that the input is about, which for
/// [`Input::Tick`] and [`Input::Shutdown`] can be all of them.
#[derive(Debug)]
pub struct Node {
    config: Config,
    table: FlowTable,
    admitter: Admitter,
    ended: Ended,
    phase: Phase,
    counters: Counters,
}

/// What the node is up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    /// Waiting for the relays that still run.
    Draining {
        until: Time,
    },
    /// The relays were told to stop.
    Stopped,
}

/// A SYN that may become a flow.
struct Candidate {
    permit: Permit,
    onward: Onward,
}

impl Node {
    /// A node without flows.
    pub fn new(config: Config) -> Self {
        let capacity = usize::try_from(config.limits.flows).unwrap_or(usize::MAX);
        Self {
            table: FlowTable::new(capacity),
            admitter: Admitter::new(config.trusted.clone(), config.limits, config.timeouts),
            ended: Ended::default(),
            phase: Phase::Serving,
            counters: Counters::default(),
            config,
        }
    }

    /// Something happened at `now`.
    ///
    /// For [`Input::Syn`] `now` may be the time at which the SYN came in, if the shell knows it:
    /// the report's timings then count from there.
    pub fn on(&mut self, input: Input, now: Time, sink: &mut impl FnMut(Action)) {
        match input {
            Input::Syn(syn) => self.on_syn(&syn, now, sink),
            Input::Connecting { flow } => self.table.set_connecting(flow, now),
            Input::Connected { flow, reply } => {
                self.advance(flow, FlowInput::Connected(reply), now, sink);
            }
            Input::ConnectFailed { flow, cause } => {
                self.advance(flow, FlowInput::ConnectFailed(cause), now, sink);
            }
            Input::UpstreamReset { flow } => {
                self.advance(flow, FlowInput::UpstreamReset, now, sink);
            }
            Input::RelayEnded { flow, relayed } => {
                self.advance(flow, FlowInput::RelayEnded(relayed), now, sink);
            }
            Input::Tick => self.on_tick(now, sink),
            Input::Shutdown => self.on_shutdown(now, sink),
        }
    }

    /// An upstream handshake is complete, and `syn` is the SYN saved with it: the authority, even
    /// where an event said otherwise.
    pub fn accepted(&mut self, syn: &Syn, now: Time, sink: &mut impl FnMut(Action)) -> Verdict {
        if let Some((id, flow)) = self.table.find(&syn.leg) {
            if flow.state.is_pending() && flow.facts.is_of(syn) {
                self.admitter.completed(syn.leg.source(), now);
                return match self.advance(id, FlowInput::Accepted, now, sink) {
                    Some(outcome) => Verdict::Reject(outcome),
                    None => Verdict::Flow(id),
                };
            }
            self.advance(id, FlowInput::Supplanted, now, sink);
        }
        match self.open_late(syn, now, sink) {
            Ok(id) => Verdict::Flow(id),
            Err(outcome) => {
                self.counters.count(outcome);
                sink(Action::Report(Box::new(refusal(syn, outcome))));
                Verdict::Reject(outcome)
            }
        }
    }

    /// When the next [`Input::Tick`] is due; `None` while nothing waits.
    pub fn next_deadline(&self) -> Option<Time> {
        let drained = match self.phase {
            Phase::Draining { until } if self.flows() > 0 => Some(until),
            Phase::Draining { .. } | Phase::Serving | Phase::Stopped => None,
        };
        self.table.first_deadline().into_iter().chain(drained).min()
    }

    /// Active flows, pending ones included.
    pub const fn flows(&self) -> usize {
        self.table.len()
    }

    /// Flows whose client has not finished its handshake.
    pub fn pending(&self) -> usize {
        usize::try_from(self.admitter.pending()).unwrap_or(usize::MAX)
    }

    /// Whether a shutdown was asked for and no flow is left.
    pub fn is_drained(&self) -> bool {
        self.phase != Phase::Serving && self.flows() == 0
    }

    /// The totals so far.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What the node was told.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    fn on_syn(&mut self, syn: &Syn, now: Time, sink: &mut impl FnMut(Action)) {
        self.counters.syn_events += 1;
        if self.phase != Phase::Serving {
            return;
        }
        if self.ended.contains(syn.leg, syn.isn, now) {
            self.counters.syn_repeated += 1;
            return;
        }
        match self.table.find(&syn.leg) {
            Some((_, flow)) if flow.facts.isn == syn.isn => {
                self.counters.syn_repeated += 1;
                return;
            }
            // One leg has one handshake at a time: the SYN-ACK that waited for its ACK is no more.
            Some((id, flow)) if flow.state.is_pending() => {
                self.advance(id, FlowInput::Supplanted, now, sink);
            }
            Some(_) | None => {}
        }
        match self.candidate(syn) {
            Ok(candidate) => self.open_early(syn, &candidate, now, sink),
            Err(_) => self.counters.syn_refused += 1,
        }
    }

    fn on_tick(&mut self, now: Time, sink: &mut impl FnMut(Action)) {
        for id in self.table.due(now) {
            self.advance(id, FlowInput::Deadline, now, sink);
        }
        match self.phase {
            Phase::Draining { until } if now >= until => self.end_grace(now, sink),
            Phase::Draining { .. } | Phase::Serving | Phase::Stopped => {}
        }
    }

    fn on_shutdown(&mut self, now: Time, sink: &mut impl FnMut(Action)) {
        match self.phase {
            Phase::Serving => {
                let until = now.after(self.config.timeouts.shutdown_grace);
                self.phase = Phase::Draining { until };
                for id in self.table.ids() {
                    self.advance(id, FlowInput::Shutdown, now, sink);
                }
            }
            Phase::Draining { .. } => self.end_grace(now, sink),
            Phase::Stopped => {}
        }
    }

    fn end_grace(&mut self, now: Time, sink: &mut impl FnMut(Action)) {
        self.phase = Phase::Stopped;
        for id in self.table.ids() {
            self.advance(id, FlowInput::GraceOver, now, sink);
        }
    }

    /// Everything that must hold for a SYN to become a flow, whether early or late.
    fn candidate(&self, syn: &Syn) -> Result<Candidate, Outcome> {
        let permit = self.config.policy.judge(syn)?;
        if returning_mark(&permit).is_some_and(|mark| self.table.is_loop(&syn.leg, mark)) {
            return Err(Outcome::Loop);
        }
        let next = self.config.routes.next_hop(permit.destination.ip());
        let client = syn.leg.client();
        let onward = Onward::new(&permit, client, next, self.config.capabilities)?;
        Ok(Candidate { permit, onward })
    }

    fn open_early(
        &mut self,
        syn: &Syn,
        candidate: &Candidate,
        now: Time,
        sink: &mut impl FnMut(Action),
    ) {
        if self.table.is_full() {
            self.counters.late_table_full += 1;
            return;
        }
        let source = syn.leg.source();
        let cookie = candidate.permit.option.cookie();
        match self.admitter.admit(source, cookie, now) {
            Admission::Early => {}
            Admission::Late(why) => {
                self.count_late(why);
                return;
            }
        }
        if self.open(syn, candidate, Mode::Early, now, sink).is_some() {
            self.admitter.opened(source);
            self.counters.opened_early += 1;
        }
    }

    fn open_late(
        &mut self,
        syn: &Syn,
        now: Time,
        sink: &mut impl FnMut(Action),
    ) -> Result<FlowId, Outcome> {
        if self.phase != Phase::Serving {
            return Err(Outcome::Shutdown);
        }
        let candidate = self.candidate(syn)?;
        self.admitter.completed(syn.leg.source(), now);
        let id = self
            .open(syn, &candidate, Mode::Late, now, sink)
            .ok_or(Outcome::TableFull)?;
        self.counters.opened_late += 1;
        Ok(id)
    }

    fn open(
        &mut self,
        syn: &Syn,
        candidate: &Candidate,
        mode: Mode,
        now: Time,
        sink: &mut impl FnMut(Action),
    ) -> Option<FlowId> {
        let Candidate { permit, onward } = candidate;
        let facts = Facts {
            leg: syn.leg,
            isn: syn.isn,
            option: permit.option,
            destination: permit.destination,
            onward: *onward,
            mode,
            opened_at: now,
        };
        let context = Context {
            now,
            peer: facts.peer(),
            timeouts: &self.config.timeouts,
        };
        let state = match mode {
            Mode::Early => State::early(&context),
            Mode::Late => State::late(&context),
        };
        let flow = self.table.insert(&Flow {
            facts,
            state,
            connecting_at: None,
        })?;
        sink(Action::Connect {
            flow,
            to: onward.to,
            option: onward.option,
        });
        Some(flow)
    }

    /// Gives `input` to a flow. The outcome if it closed the flow.
    fn advance(
        &mut self,
        id: FlowId,
        input: FlowInput,
        now: Time,
        sink: &mut impl FnMut(Action),
    ) -> Option<Outcome> {
        let Some(flow) = self.table.get(id).copied() else {
            self.counters.stale_inputs += 1;
            return None;
        };
        let context = Context {
            now,
            peer: flow.facts.peer(),
            timeouts: &self.config.timeouts,
        };
        let step = flow.state.on(input, &context);
        if flow.state.is_pending() && !step.state.is_pending() {
            self.admitter.settled(flow.facts.leg.source());
        }
        self.table.set_state(id, step.state);
        self.carry_out(id, step.order, sink);
        match step.state {
            State::Closed(closed) => {
                self.close(id, &closed, now, sink);
                Some(closed.outcome)
            }
            State::Early(_)
            | State::Ready(_)
            | State::Doomed(_)
            | State::Joining(_)
            | State::Relaying(_)
            | State::Stopping(_) => None,
        }
    }

    fn carry_out(&self, flow: FlowId, order: Order, sink: &mut impl FnMut(Action)) {
        match order {
            Order::Nothing => {}
            Order::StartRelay => sink(Action::StartRelay {
                flow,
                idle_timeout: self.config.timeouts.idle,
            }),
            Order::StopRelay => sink(Action::StopRelay { flow }),
            Order::ResetUpstream => sink(Action::ResetUpstream { flow }),
            Order::AbortDownstream => sink(Action::AbortDownstream { flow }),
            Order::ResetBoth => {
                sink(Action::ResetUpstream { flow });
                sink(Action::AbortDownstream { flow });
            }
        }
    }

    fn close(&mut self, id: FlowId, closed: &Closed, now: Time, sink: &mut impl FnMut(Action)) {
        if let Some(flow) = self.table.remove(id) {
            self.ended.remember(flow.facts.leg, flow.facts.isn, now);
            self.counters.count(closed.outcome);
            sink(Action::Report(Box::new(report(id, &flow, closed, now))));
        }
    }

    fn count_late(&mut self, why: Why) {
        let count = match why {
            Why::Unproven => &mut self.counters.late_unproven,
            Why::PendingFull => &mut self.counters.late_pending_full,
            Why::SourceFull => &mut self.counters.late_source_full,
            Why::Rate => &mut self.counters.late_rate,
        };
        *count += 1;
    }
}

/// What a SYN says that tells whether it has been here before. Nothing, when it was not sent by a
/// node (which counts hops), or by one that did not know the source.
fn returning_mark(permit: &Permit) -> Option<Mark> {
    Mark::new(
        permit.option.claimed_source()?,
        permit.destination,
        permit.option.hops_left()?,
    )
}

fn report(id: FlowId, flow: &Flow, closed: &Closed, now: Time) -> Report {
    let facts = &flow.facts;
    let connecting_at = flow.connecting_at.unwrap_or(facts.opened_at);
    let early = facts.mode == Mode::Early;
    let since_syn = |at: Time| early.then(|| at.since(facts.opened_at));
    Report {
        flow: Some(id),
        leg: facts.leg,
        claimed_source: facts.option.claimed_source(),
        destination: Some(facts.destination),
        next: Some(facts.onward.to),
        mode: Some(facts.mode),
        outcome: closed.outcome,
        timings: Timings {
            syn_to_connect: since_syn(connecting_at),
            downstream_handshake: closed.connected_at.map(|at| at.since(connecting_at)),
            upstream_handshake: closed.accepted_at.and_then(since_syn),
            duration: now.since(facts.opened_at),
        },
        up_octets: closed.up_octets,
        down_octets: closed.down_octets,
    }
}

/// The report on a connection that never became a flow.
fn refusal(syn: &Syn, outcome: Outcome) -> Report {
    let option = syn.option.ok().flatten();
    Report {
        flow: None,
        leg: syn.leg,
        claimed_source: option.and_then(|option| option.claimed_source()),
        destination: syn.destination(),
        next: None,
        mode: None,
        outcome,
        timings: Timings::default(),
        up_octets: 0,
        down_octets: 0,
    }
}
