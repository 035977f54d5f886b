//! A shell without sockets, which knows what it would have.

use std::collections::BTreeMap;
use std::time::Duration;

use synhop_core::{
    Action, FlowId, Input, Limits, NextHop, Node, RelayEnd, Relayed, Settings, Time, Timeouts,
    Verdict,
};

use crate::common::{addr, node_at, open_settings};
use crate::op::{Attempt, Op};

/// A socket of a flow, as the shell sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Socket {
    None,
    Connecting,
    Open,
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relay {
    NotYet,
    Running,
    Over,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    upstream: Socket,
    downstream: Socket,
    relay: Relay,
    reported: bool,
}

/// A shell without sockets, which checks every action against what it knows.
pub(crate) struct Shell {
    pub(crate) node: Node,
    now: Time,
    limits: Limits,
    flows: BTreeMap<FlowId, Flow>,
    in_order: Vec<FlowId>,
    reports: u64,
}

impl Shell {
    pub(crate) fn new() -> Self {
        let limits = Limits {
            flows: 4,
            pending: 3,
            pending_per_source: 2,
            syn_rate_per_source: 5,
            syn_burst_per_source: 6,
            sources: 2,
        };
        let settings = Settings {
            limits,
            timeouts: Timeouts {
                connect: Duration::from_secs(7),
                ..Timeouts::default()
            },
            ..open_settings()
        };
        let next = NextHop::Node(addr("203.0.113.2:7000"));
        Self {
            node: Node::new(node_at(addr("203.0.113.1:7000"), next, settings)),
            now: Time::from_micros(1),
            limits,
            flows: BTreeMap::new(),
            in_order: Vec::new(),
            reports: 0,
        }
    }

    /// Whether a real shell could say this now. (Inputs that crossed an action are possible, too:
    /// see `wild_inputs_break_nothing`.)
    pub(crate) fn is_plausible(&self, op: Op) -> bool {
        let flow = |pick| self.pick(pick).map(|id| self.flows[&id]);
        match op {
            Op::Syn(_) | Op::Accept(_) | Op::Wait(_) | Op::Shutdown => true,
            Op::Connecting(n) | Op::Connected(n, _) => {
                flow(n).is_some_and(|flow| flow.downstream == Socket::Connecting)
            }
            Op::ConnectFailed(n, _) => flow(n).is_some_and(|flow| {
                matches!(flow.downstream, Socket::Connecting | Socket::Open)
                    && flow.relay == Relay::NotYet
            }),
            Op::UpstreamReset(n) => flow(n)
                .is_some_and(|flow| flow.upstream == Socket::Open && flow.relay == Relay::NotYet),
            Op::RelayEnded(n, _) => flow(n).is_some_and(|flow| flow.relay == Relay::Running),
        }
    }

    fn pick(&self, n: u8) -> Option<FlowId> {
        let len = self.in_order.len();
        // Among the latest, since the others are over.
        let back = usize::from(n) % len.clamp(1, 8);
        self.in_order.get(len.checked_sub(1 + back)?).copied()
    }

    pub(crate) fn perform(&mut self, op: Op) {
        match op {
            Op::Syn(attempt) => self.input(Input::Syn(attempt.syn())),
            Op::Accept(attempt) => self.accept(attempt),
            Op::Connecting(n) => self.for_flow(n, |flow| Input::Connecting { flow }),
            Op::Connected(n, reply) => {
                self.update(n, |flow| flow.downstream = Socket::Open);
                self.for_flow(n, |flow| Input::Connected { flow, reply });
            }
            Op::ConnectFailed(n, cause) => {
                self.update(n, |flow| flow.downstream = Socket::Gone);
                self.for_flow(n, |flow| Input::ConnectFailed { flow, cause });
            }
            Op::UpstreamReset(n) => self.for_flow(n, |flow| Input::UpstreamReset { flow }),
            Op::RelayEnded(n, end) => self.end_relay(n, end),
            Op::Wait(duration) => self.wait(duration),
            Op::Shutdown => self.input(Input::Shutdown),
        }
        self.check();
    }

    fn for_flow(&mut self, n: u8, input: impl FnOnce(FlowId) -> Input) {
        if let Some(flow) = self.pick(n) {
            self.input(input(flow));
        }
    }

    fn update(&mut self, n: u8, change: impl FnOnce(&mut Flow)) {
        if let Some(flow) = self.pick(n).and_then(|id| self.flows.get_mut(&id)) {
            change(flow);
        }
    }

    fn end_relay(&mut self, n: u8, end: RelayEnd) {
        self.update(n, |flow| {
            flow.relay = Relay::Over;
            (flow.upstream, flow.downstream) = (Socket::Gone, Socket::Gone);
        });
        let relayed = Relayed {
            end,
            up_octets: 1,
            down_octets: 2,
        };
        self.for_flow(n, |flow| Input::RelayEnded { flow, relayed });
    }

    fn wait(&mut self, duration: Duration) {
        self.now = self.now.after(duration);
        self.input(Input::Tick);
        let next = self.node.next_deadline();
        assert!(next.is_none_or(|next| next > self.now), "{next:?} is past");
    }

    fn input(&mut self, input: Input) {
        let mut actions = Vec::new();
        self.node
            .on(input, self.now, &mut |action| actions.push(action));
        self.carry_out(actions);
    }

    fn accept(&mut self, attempt: Attempt) {
        let mut actions = Vec::new();
        let verdict = self
            .node
            .accepted(&attempt.syn(), self.now, &mut |action| actions.push(action));
        match verdict {
            Verdict::Flow(id) => {
                // A late flow's Connect is among the actions still to come.
                let flow = self.flows.entry(id).or_insert(Flow::NEW);
                assert_eq!(flow.upstream, Socket::None, "{id} has a socket already");
                flow.upstream = Socket::Open;
            }
            Verdict::Reject(outcome) => {
                let told = actions.iter().any(|action| match action {
                    Action::Report(report) => report.outcome == outcome,
                    _ => false,
                });
                assert!(told, "{outcome} was not reported: {actions:?}");
            }
        }
        self.carry_out(actions);
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Connect { flow, .. } => {
                    let known = self.flows.entry(flow).or_insert(Flow::NEW);
                    assert_eq!(known.downstream, Socket::None, "{flow} connects twice");
                    known.downstream = Socket::Connecting;
                    self.in_order.push(flow);
                }
                Action::StartRelay { flow, .. } => {
                    let flow = self.live(flow);
                    assert_eq!(flow.upstream, Socket::Open);
                    assert_eq!(flow.downstream, Socket::Open);
                    assert_eq!(flow.relay, Relay::NotYet);
                    flow.relay = Relay::Running;
                }
                Action::StopRelay { flow } => {
                    assert_eq!(self.live(flow).relay, Relay::Running);
                }
                Action::ResetUpstream { flow } => {
                    let flow = self.live(flow);
                    assert_eq!(flow.upstream, Socket::Open);
                    flow.upstream = Socket::Gone;
                }
                Action::AbortDownstream { flow } => {
                    let flow = self.live(flow);
                    assert!(matches!(flow.downstream, Socket::Connecting | Socket::Open));
                    flow.downstream = Socket::Gone;
                }
                Action::Report(report) => {
                    self.reports += 1;
                    if let Some(id) = report.flow {
                        let flow = self.live(id);
                        flow.reported = true;
                        assert_eq!(flow.downstream, Socket::Gone, "{id}: {}", report.outcome);
                        assert_ne!(flow.upstream, Socket::Open, "{id}: {}", report.outcome);
                    }
                }
            }
        }
    }

    /// Only flows that were opened and not reported may be acted on.
    fn live(&mut self, id: FlowId) -> &mut Flow {
        let flow = self.flows.get_mut(&id).expect("a flow that was opened");
        assert!(!flow.reported, "{id} is over");
        flow
    }

    fn check(&self) {
        let node = &self.node;
        let active = self.flows.values().filter(|flow| !flow.reported).count();
        assert_eq!(node.flows(), active);
        assert!(active <= usize::try_from(self.limits.flows).unwrap());
        assert!(node.pending() <= usize::try_from(self.limits.pending).unwrap());
        assert!(node.pending() <= active);
        let counters = node.counters();
        assert_eq!(counters.opened(), self.flows.len() as u64);
        let outcomes: u64 = counters.outcomes().map(|(_, count)| count).sum();
        assert_eq!(outcomes, self.reports);
    }

    /// Stops the node, its relays obeying or not.
    pub(crate) fn finish(&mut self, obedient: bool) {
        self.perform(Op::Shutdown);
        self.perform(Op::Shutdown);
        if obedient {
            while let Some(n) =
                (0..8).find(|n| self.is_plausible(Op::RelayEnded(*n, RelayEnd::Stopped)))
            {
                self.perform(Op::RelayEnded(n, RelayEnd::Stopped));
            }
        }
        self.perform(Op::Wait(Duration::from_secs(1)));
        assert_eq!(self.node.next_deadline(), None);
        assert!(self.node.is_drained());
        assert!(self.flows.values().all(|flow| flow.reported));
        assert_eq!(self.node.pending(), 0);
    }
}

impl Flow {
    const NEW: Self = Self {
        upstream: Socket::None,
        downstream: Socket::None,
        relay: Relay::NotYet,
        reported: false,
    };
}
