//! The shell around the core: what it decides becomes connections of the engine, and what becomes
//! of those is told to the core. No decision about a flow is made here.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use core::fmt::Write as _;
use core::net::SocketAddr;
use core::time::Duration;

use hashbrown::HashMap;
use synhop_core::{
    Action, Config, ConnectFailure, FlowId, Input, Isn, Leg, Node, RelayEnd, Relayed, Reply,
    Report, Syn, Time, Verdict,
};
use synhop_engine::{ConnId, Engine, Event, Failure, Instant, PairEnd};
use synhop_option::SynOption;

use crate::links::Links;

/// The node of one host.
#[derive(Debug)]
pub(crate) struct Shell {
    core: Node,
    links: Rc<Links>,
    flows: HashMap<FlowId, Flow>,
    owners: HashMap<ConnId, FlowId>,
    /// What the core asked for and is not done yet; empty between two calls.
    actions: VecDeque<Action>,
    idle: BTreeMap<(Instant, FlowId), Watch>,
    lines: VecDeque<String>,
    lines_dropped: u64,
}

/// The connections of one flow.
#[derive(Debug, Default)]
struct Flow {
    upstream: Option<ConnId>,
    downstream: Option<ConnId>,
    /// Whether the downstream SYN carries the option.
    asks: bool,
    /// When its relay is looked at next: its key in `idle`. `None` if it does not relay.
    watched_at: Option<Instant>,
}

/// Whether a relay still moves.
#[derive(Clone, Copy, Debug)]
struct Watch {
    timeout: Duration,
    octets: u64,
    moved_at: Instant,
}

impl Shell {
    pub(crate) fn new(config: Config, links: Rc<Links>) -> Self {
        Self {
            core: Node::new(config),
            links,
            flows: HashMap::new(),
            owners: HashMap::new(),
            actions: VecDeque::new(),
            idle: BTreeMap::new(),
            lines: VecDeque::new(),
            lines_dropped: 0,
        }
    }

    /// Handles everything that the engine has to say.
    pub(crate) fn run(&mut self, engine: &mut Engine, now: Instant) {
        while let Some(event) = engine.next_event() {
            self.on_event(event, engine, now);
            self.perform_all(engine, now);
        }
    }

    pub(crate) fn tick(&mut self, engine: &mut Engine, now: Instant) {
        if self.core.next_deadline().is_some_and(|at| at <= time(now)) {
            self.tell(Input::Tick, now);
            self.perform_all(engine, now);
        }
        self.look_for_idle(engine, now);
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let core = self.core.next_deadline();
        let core = core.map(|at| Instant::from_micros(at.as_micros()));
        let idle = self.idle.first_key_value().map(|((at, _), _)| *at);
        core.into_iter().chain(idle).min()
    }

    pub(crate) fn stop(&mut self, engine: &mut Engine, now: Instant) {
        self.tell(Input::Shutdown, now);
        self.perform_all(engine, now);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.core.is_drained()
    }

    pub(crate) fn core(&self) -> &Node {
        &self.core
    }

    pub(crate) fn next_line(&mut self) -> Option<String> {
        if self.lines.is_empty() && self.lines_dropped > 0 {
            let dropped = core::mem::take(&mut self.lines_dropped);
            return Some(format!("{dropped} lines left out"));
        }
        self.lines.pop_front()
    }

    pub(crate) fn say(&mut self, line: String) {
        if self.lines.len() < MAX_LINES {
            self.lines.push_back(line);
        } else {
            self.lines_dropped += 1;
        }
    }

    fn tell(&mut self, input: Input, now: Instant) {
        let actions = &mut self.actions;
        self.core
            .on(input, time(now), &mut |action| actions.push_back(action));
    }

    fn on_event(&mut self, event: Event, engine: &mut Engine, now: Instant) {
        match event {
            Event::Syn(syn) => self.tell(Input::Syn(core_syn(&syn)), now),
            Event::Accepted { connection, syn } => {
                self.on_accepted(connection, &core_syn(&syn), engine, now);
            }
            // The core gives the flow up at its own deadline: the client may try again till then.
            Event::Abandoned { .. } => {}
            Event::Connected { connection, reply } => {
                let Some((id, flow)) = self.flow_of(connection) else {
                    return;
                };
                let reply = match (flow.asks, reply) {
                    (false, _) => Reply::NotAsked,
                    (true, Some(reply)) => Reply::Understood {
                        cookie: reply.cookie,
                    },
                    (true, None) => Reply::Silent,
                };
                self.tell(Input::Connected { flow: id, reply }, now);
            }
            Event::Failed {
                connection,
                failure,
            } => self.on_failed(connection, failure, now),
            // It finished before it had a partner: for the flow that is as good as a reset.
            Event::Closed { connection } => self.on_failed(connection, Failure::Reset, now),
            Event::PairEnded(end) => self.on_pair_ended(&end, now),
        }
    }

    fn on_accepted(&mut self, connection: ConnId, syn: &Syn, engine: &mut Engine, now: Instant) {
        let actions = &mut self.actions;
        let verdict = self
            .core
            .accepted(syn, time(now), &mut |action| actions.push_back(action));
        match verdict {
            Verdict::Flow(flow) => {
                self.owners.insert(connection, flow);
                self.flows.entry(flow).or_default().upstream = Some(connection);
            }
            Verdict::Reject(_outcome) => engine.abort(connection),
        }
    }

    fn on_failed(&mut self, connection: ConnId, failure: Failure, now: Instant) {
        let Some(id) = self.owners.remove(&connection) else {
            return;
        };
        let Some(flow) = self.flows.get_mut(&id) else {
            return;
        };
        if flow.upstream == Some(connection) {
            flow.upstream = None;
            self.tell(Input::UpstreamReset { flow: id }, now);
            return;
        }
        flow.downstream = None;
        let cause = match failure {
            Failure::Reset => ConnectFailure::Refused,
            Failure::TimedOut => ConnectFailure::TimedOut,
            Failure::Unreachable => ConnectFailure::Unreachable,
        };
        self.tell(Input::ConnectFailed { flow: id, cause }, now);
    }

    fn on_pair_ended(&mut self, end: &PairEnd, now: Instant) {
        self.owners.remove(&end.second);
        let Some(id) = self.owners.remove(&end.first) else {
            return;
        };
        if let Some(flow) = self.flows.get_mut(&id) {
            (flow.upstream, flow.downstream) = (None, None);
        }
        let how = match end.broken {
            None => RelayEnd::Closed,
            Some((connection, _)) if connection == end.first => RelayEnd::ResetByClient,
            Some(_) => RelayEnd::ResetByServer,
        };
        self.relay_ended(id, how, (end.forth_octets, end.back_octets), now);
    }

    fn relay_ended(&mut self, flow: FlowId, end: RelayEnd, octets: (u64, u64), now: Instant) {
        let relayed = Relayed {
            end,
            up_octets: octets.0,
            down_octets: octets.1,
        };
        self.tell(Input::RelayEnded { flow, relayed }, now);
    }

    fn perform_all(&mut self, engine: &mut Engine, now: Instant) {
        while let Some(action) = self.actions.pop_front() {
            self.perform(action, engine, now);
        }
    }

    fn perform(&mut self, action: Action, engine: &mut Engine, now: Instant) {
        match action {
            Action::Connect { flow, to, option } => self.connect(flow, to, option, engine, now),
            Action::StartRelay { flow, idle_timeout } => {
                self.start_relay(flow, idle_timeout, engine, now);
            }
            Action::ResetUpstream { flow } => {
                let upstream = self
                    .flows
                    .get_mut(&flow)
                    .and_then(|flow| flow.upstream.take());
                self.abort(upstream, engine);
            }
            Action::AbortDownstream { flow } => {
                let flow = self.flows.get_mut(&flow);
                let downstream = flow.and_then(|flow| flow.downstream.take());
                self.abort(downstream, engine);
            }
            Action::StopRelay { flow } => self.cut_relay(flow, RelayEnd::Stopped, engine, now),
            Action::Report(report) => {
                if let Some(flow) = report.flow.and_then(|id| self.flows.remove(&id)) {
                    self.abort(flow.upstream, engine);
                    self.abort(flow.downstream, engine);
                    // Not left for later: flows may come and go a thousand times till then.
                    if let (Some(at), Some(id)) = (flow.watched_at, report.flow) {
                        self.idle.remove(&(at, id));
                    }
                }
                self.say(line(&report));
            }
        }
    }

    fn connect(
        &mut self,
        id: FlowId,
        to: SocketAddr,
        option: Option<SynOption>,
        engine: &mut Engine,
        now: Instant,
    ) {
        let local = self.links.source_for(to.ip());
        let opened = local.map(|local| engine.connect(local, to, option.as_ref(), now));
        match opened {
            Some(Ok(connection)) => {
                self.owners.insert(connection, id);
                let flow = self.flows.entry(id).or_default();
                flow.downstream = Some(connection);
                flow.asks = option.is_some();
                self.tell(Input::Connecting { flow: id }, now);
            }
            Some(Err(error)) => {
                self.say(format!("cannot connect to {to}: {error}"));
                let cause = ConnectFailure::Local;
                self.tell(Input::ConnectFailed { flow: id, cause }, now);
            }
            None => {
                let cause = ConnectFailure::Unreachable;
                self.tell(Input::ConnectFailed { flow: id, cause }, now);
            }
        }
    }

    fn start_relay(&mut self, id: FlowId, timeout: Duration, engine: &mut Engine, now: Instant) {
        let Some(flow) = self.flows.get_mut(&id) else {
            return;
        };
        let joined = match (flow.upstream, flow.downstream) {
            (Some(upstream), Some(downstream)) => engine.join(upstream, downstream),
            _ => false,
        };
        if joined {
            let at = now + timeout / WATCHES;
            flow.watched_at = Some(at);
            let watch = Watch {
                timeout,
                octets: 0,
                moved_at: now,
            };
            self.idle.insert((at, id), watch);
            return;
        }
        let end = if flow.upstream.is_none() {
            RelayEnd::ResetByClient
        } else {
            RelayEnd::ResetByServer
        };
        let (upstream, downstream) = (flow.upstream.take(), flow.downstream.take());
        self.abort(upstream, engine);
        self.abort(downstream, engine);
        self.relay_ended(id, end, (0, 0), now);
    }

    fn cut_relay(&mut self, id: FlowId, end: RelayEnd, engine: &mut Engine, now: Instant) {
        let Some(flow) = self.flows.get_mut(&id) else {
            return;
        };
        let legs = (flow.upstream.take(), flow.downstream.take());
        let passed = |leg: Option<ConnId>| leg.and_then(|leg| engine.passed_octets(leg));
        let octets = (
            passed(legs.0).unwrap_or_default(),
            passed(legs.1).unwrap_or_default(),
        );
        self.abort(legs.0, engine);
        self.abort(legs.1, engine);
        self.relay_ended(id, end, octets, now);
    }

    fn abort(&mut self, connection: Option<ConnId>, engine: &mut Engine) {
        if let Some(connection) = connection {
            self.owners.remove(&connection);
            engine.abort(connection);
        }
    }

    fn look_for_idle(&mut self, engine: &mut Engine, now: Instant) {
        while let Some(entry) = self.idle.first_entry() {
            let (at, id) = *entry.key();
            if at > now {
                return;
            }
            let mut watch = entry.remove();
            let Some(flow) = self.flows.get_mut(&id) else {
                continue;
            };
            flow.watched_at = None;
            let legs = [flow.upstream, flow.downstream].into_iter().flatten();
            let octets = legs.filter_map(|leg| engine.passed_octets(leg)).sum();
            if octets != watch.octets {
                watch.octets = octets;
                watch.moved_at = now;
            } else if now.since(watch.moved_at) >= watch.timeout {
                self.cut_relay(id, RelayEnd::Idle, engine, now);
                self.perform_all(engine, now);
                continue;
            }
            let at = now + watch.timeout / WATCHES;
            if let Some(flow) = self.flows.get_mut(&id) {
                flow.watched_at = Some(at);
                self.idle.insert((at, id), watch);
            }
        }
    }

    fn flow_of(&self, connection: ConnId) -> Option<(FlowId, &Flow)> {
        let id = self.owners.get(&connection)?;
        Some((*id, self.flows.get(id)?))
    }
}

fn time(now: Instant) -> Time {
    Time::from_micros(now.as_micros())
}

fn core_syn(syn: &synhop_engine::Syn) -> Syn {
    Syn {
        leg: Leg::new(syn.client, syn.local),
        isn: Isn(syn.isn.get()),
        option: syn.option,
    }
}

/// A flow in one line, with the fields of the Linux node's.
fn line(report: &Report) -> String {
    let mut line = format!("flow client={}", report.leg.client());
    let mut put = |key: &str, value: Option<&dyn core::fmt::Display>| {
        if let Some(value) = value {
            // Writing to a String does not fail.
            let _ = write!(line, " {key}={value}");
        }
    };
    let micros = |duration: Option<Duration>| duration.map(|duration| duration.as_micros());
    let timings = &report.timings;
    let syn_to_connect = micros(timings.syn_to_connect);
    let downstream = micros(timings.downstream_handshake);
    let upstream = micros(timings.upstream_handshake);
    put("claimed", report.claimed_source.as_ref().map(|it| it as _));
    put("destination", report.destination.as_ref().map(|it| it as _));
    put("next", report.next.as_ref().map(|it| it as _));
    put("mode", report.mode.as_ref().map(|it| it as _));
    put("outcome", Some(&report.outcome));
    put(
        "syn_to_connect_us",
        syn_to_connect.as_ref().map(|it| it as _),
    );
    put("downstream_us", downstream.as_ref().map(|it| it as _));
    put("upstream_us", upstream.as_ref().map(|it| it as _));
    put("up_octets", Some(&report.up_octets));
    put("down_octets", Some(&report.down_octets));
    put("duration_ms", Some(&timings.duration.as_millis()));
    line
}

/// How often in its timeout a relay is looked at.
const WATCHES: u32 = 8;
const MAX_LINES: usize = 64;
