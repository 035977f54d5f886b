//! One node, one situation each.

mod common;

use std::time::Duration;

use synhop_core::{
    Action, FlowId, Input, Isn, Limits, Mode, NextHop, Node, Outcome, RelayEnd, Relayed, Reply,
    Report, Settings, Syn, Time, Verdict,
};
use synhop_option::SynOption;

use common::{addr, node_at, open_settings, syn, v4_option, v4_withheld};

const CLIENT: &str = "192.0.2.1:40000";
const OTHER_CLIENT: &str = "192.0.2.2:40000";
const SERVER: &str = "198.51.100.1:80";
const OTHER_SERVER: &str = "198.51.100.2:80";

/// A node and what it has said.
struct Fixture {
    node: Node,
    now: Time,
}

impl Fixture {
    fn new(next: NextHop, settings: Settings) -> Self {
        Self {
            node: Node::new(node_at(addr("203.0.113.1:7000"), next, settings)),
            now: Time::from_micros(1_000_000),
        }
    }

    fn last_hop() -> Self {
        Self::new(NextHop::Destination, open_settings())
    }

    fn chained() -> Self {
        Self::new(NextHop::Node(addr("203.0.113.2:7000")), open_settings())
    }

    fn on(&mut self, input: Input) -> Vec<Action> {
        let mut actions = Vec::new();
        self.node
            .on(input, self.now, &mut |action| actions.push(action));
        actions
    }

    fn accepted(&mut self, syn: &Syn) -> (Verdict, Vec<Action>) {
        let mut actions = Vec::new();
        let verdict = self
            .node
            .accepted(syn, self.now, &mut |action| actions.push(action));
        (verdict, actions)
    }

    fn wait(&mut self, duration: Duration) -> Vec<Action> {
        self.now = self.now.after(duration);
        self.on(Input::Tick)
    }

    /// Sends a SYN event that has to open a flow.
    fn open_early(&mut self, syn: &Syn) -> FlowId {
        connect_in(&self.on(Input::Syn(*syn))).expect("an early flow")
    }

    fn connected(&mut self, flow: FlowId) -> Vec<Action> {
        let reply = Reply::Understood { cookie: None };
        self.on(Input::Connected { flow, reply })
    }

    /// Brings a late flow up to its relay.
    fn relay(&mut self, syn: &Syn) -> FlowId {
        let (Verdict::Flow(flow), _) = self.accepted(syn) else {
            panic!("the flow was rejected");
        };
        let actions = self.connected(flow);
        assert!(matches!(actions[..], [Action::StartRelay { .. }]));
        flow
    }

    fn close(&mut self, flow: FlowId) -> Report {
        let relayed = Relayed {
            end: RelayEnd::Closed,
            up_octets: 1,
            down_octets: 2,
        };
        report_in(&self.on(Input::RelayEnded { flow, relayed })).expect("a report")
    }
}

fn connect_in(actions: &[Action]) -> Option<FlowId> {
    actions.iter().find_map(|action| match action {
        Action::Connect { flow, .. } => Some(*flow),
        _ => None,
    })
}

fn report_in(actions: &[Action]) -> Option<Report> {
    actions.iter().find_map(|action| match action {
        Action::Report(report) => Some(**report),
        _ => None,
    })
}

fn attempt(client: &str, isn: u32, option: SynOption) -> Syn {
    syn(addr(client), addr("203.0.113.1:7000"), isn, Some(option))
}

fn plain(client: &str, isn: u32) -> Syn {
    attempt(client, isn, v4_withheld(SERVER))
}

#[test]
fn the_saved_syn_is_the_authority() {
    let event = plain(CLIENT, 1);
    let other_isn = plain(CLIENT, 2);
    let other_destination = attempt(CLIENT, 1, v4_withheld(OTHER_SERVER));
    for saved in [other_isn, other_destination] {
        let mut it = Fixture::last_hop();
        let early = it.open_early(&event);
        let (verdict, actions) = it.accepted(&saved);
        let [
            Action::AbortDownstream { flow: aborted },
            Action::Report(report),
            Action::Connect { flow, .. },
        ] = &actions[..]
        else {
            panic!("{actions:?}");
        };
        assert_eq!(*aborted, early);
        assert_eq!(report.outcome, Outcome::ClientVanished);
        assert_eq!(verdict, Verdict::Flow(*flow));
        assert_ne!(*flow, early);
    }
}

#[test]
fn an_option_that_differs_elsewhere_changes_nothing() {
    let mut it = Fixture::last_hop();
    let early = it.open_early(&attempt(CLIENT, 1, v4_option("10.0.0.1:1", SERVER, None)));
    let saved = attempt(CLIENT, 1, v4_option("10.0.0.2:1", SERVER, None));
    assert_eq!(it.accepted(&saved).0, Verdict::Flow(early));
}

#[test]
fn a_repeated_syn_does_nothing() {
    let mut it = Fixture::last_hop();
    let event = plain(CLIENT, 1);
    let flow = it.open_early(&event);
    assert_eq!(it.on(Input::Syn(event)), []);
    it.connected(flow);
    assert_eq!(it.on(Input::Syn(event)), []);
    it.accepted(&event);
    assert_eq!(it.on(Input::Syn(event)), []);
    it.close(flow);
    assert_eq!(it.on(Input::Syn(event)), [], "even after the end");
    assert_eq!(it.node.counters().syn_repeated, 4);
    assert_eq!(it.node.counters().opened(), 1);
}

#[test]
fn a_new_attempt_of_a_leg_supplants_the_pending_one() {
    let mut it = Fixture::last_hop();
    let first = it.open_early(&plain(CLIENT, 1));
    let actions = it.on(Input::Syn(plain(CLIENT, 2)));
    assert!(actions.contains(&Action::AbortDownstream { flow: first }));
    let second = connect_in(&actions).expect("the new attempt");
    // An event of the former one that comes late does not bring it back.
    assert_eq!(it.on(Input::Syn(plain(CLIENT, 1))), []);
    assert_eq!(it.accepted(&plain(CLIENT, 2)).0, Verdict::Flow(second));
}

#[test]
fn a_slow_client_is_served_late() {
    let mut it = Fixture::last_hop();
    let event = plain(CLIENT, 1);
    let early = it.open_early(&event);
    assert_eq!(it.wait(Duration::from_micros(9_999_999)), []);
    let actions = it.wait(Duration::from_micros(1));
    assert_eq!(actions[0], Action::AbortDownstream { flow: early });
    assert_eq!(
        report_in(&actions).map(|report| report.outcome),
        Some(Outcome::ClientVanished)
    );
    assert_eq!(it.on(Input::Syn(event)), [], "its retransmission");
    let (verdict, actions) = it.accepted(&event);
    assert_eq!(connect_in(&actions).map(Verdict::Flow), Some(verdict));
}

#[test]
fn a_reused_port_is_a_new_flow() {
    let mut it = Fixture::last_hop();
    let old = it.relay(&plain(CLIENT, 1));
    // The shell has not told of the old one's end yet.
    let new = it.open_early(&plain(CLIENT, 2));
    assert_eq!(it.accepted(&plain(CLIENT, 2)).0, Verdict::Flow(new));
    assert_eq!(it.close(old).outcome, Outcome::Closed);
    // Neither has its end taken the new one out of the table.
    assert_eq!(it.on(Input::Syn(plain(CLIENT, 2))), []);
    assert!(matches!(it.connected(new)[..], [Action::StartRelay { .. }]));
}

#[test]
fn an_event_ends_no_accepted_flow() {
    let mut it = Fixture::last_hop();
    let (Verdict::Flow(joining), _) = it.accepted(&plain(CLIENT, 1)) else {
        panic!("the flow was rejected");
    };
    // Only an accept shows that the leg has begun anew: events are hints.
    let early = it.open_early(&plain(CLIENT, 2));
    assert_eq!(it.node.flows(), 2);
    let (verdict, actions) = it.accepted(&plain(CLIENT, 2));
    assert_eq!((verdict, actions), (Verdict::Flow(early), Vec::new()));
    assert!(matches!(
        it.connected(joining)[..],
        [Action::StartRelay { .. }]
    ));

    // An accept without an event shows it, too.
    let (Verdict::Flow(joining), _) = it.accepted(&plain(OTHER_CLIENT, 3)) else {
        panic!("the flow was rejected");
    };
    let (_, actions) = it.accepted(&plain(OTHER_CLIENT, 4));
    assert_eq!(actions[0], Action::ResetUpstream { flow: joining });
    assert_eq!(actions[1], Action::AbortDownstream { flow: joining });
    let report = report_in(&actions).expect("a report");
    assert_eq!(report.outcome, Outcome::ResetByClient);
}

#[test]
fn an_old_id_does_not_hit_the_new_flow_of_its_slot() {
    let mut it = Fixture::last_hop();
    let old = it.relay(&plain(CLIENT, 1));
    it.close(old);
    let new = it.relay(&plain(OTHER_CLIENT, 2));
    assert_ne!(old, new);
    let relayed = Relayed {
        end: RelayEnd::Closed,
        up_octets: 0,
        down_octets: 0,
    };
    assert_eq!(it.on(Input::RelayEnded { flow: old, relayed }), []);
    assert_eq!(it.node.counters().stale_inputs, 1);
    assert_eq!(it.node.flows(), 1);
}

#[test]
fn a_full_table_rejects_and_spares_what_is_there() {
    let limits = Limits {
        flows: 1,
        pending: 1,
        ..Limits::default()
    };
    let settings = Settings {
        limits,
        ..open_settings()
    };
    let mut it = Fixture::new(NextHop::Destination, settings);
    let flow = it.relay(&plain(CLIENT, 1));
    assert_eq!(it.on(Input::Syn(plain(OTHER_CLIENT, 2))), []);
    assert_eq!(it.node.counters().late_table_full, 1);
    let (verdict, actions) = it.accepted(&plain(OTHER_CLIENT, 2));
    assert_eq!(verdict, Verdict::Reject(Outcome::TableFull));
    let report = report_in(&actions).expect("a report");
    assert_eq!((report.flow, report.outcome), (None, Outcome::TableFull));
    assert_eq!(it.node.counters().outcome(Outcome::TableFull), 1);
    assert_eq!(it.close(flow).outcome, Outcome::Closed);
    it.relay(&plain(OTHER_CLIENT, 3));
}

#[test]
fn above_the_pending_cap_flows_are_late() {
    let limits = Limits {
        pending: 1,
        ..Limits::default()
    };
    let settings = Settings {
        limits,
        ..open_settings()
    };
    let mut it = Fixture::new(NextHop::Destination, settings);
    let first = it.open_early(&plain(CLIENT, 1));
    assert_eq!(it.on(Input::Syn(plain(OTHER_CLIENT, 2))), []);
    assert_eq!(it.node.counters().late_pending_full, 1);
    let second = it.relay(&plain(OTHER_CLIENT, 2));
    assert_eq!(it.close(second).mode, Some(Mode::Late));
    it.accepted(&plain(CLIENT, 1));
    assert_eq!(it.node.pending(), 0);
    it.connected(first);
    assert_eq!(it.close(first).mode, Some(Mode::Early));
    it.open_early(&plain(OTHER_CLIENT, 3));
}

#[test]
fn a_completed_handshake_vouches_for_the_next_syn() {
    let settings = Settings {
        trusted: Vec::new(),
        ..open_settings()
    };
    let mut it = Fixture::new(NextHop::Destination, settings);
    assert_eq!(it.on(Input::Syn(plain(CLIENT, 1))), []);
    assert_eq!(it.node.counters().late_unproven, 1);
    it.relay(&plain(CLIENT, 1));
    it.open_early(&plain("192.0.2.1:40001", 2));
    assert_eq!(it.on(Input::Syn(plain(OTHER_CLIENT, 3))), []);
}

#[test]
fn a_refused_handshake_vouches_for_nothing() {
    let settings = Settings {
        trusted: Vec::new(),
        ..open_settings()
    };
    let mut it = Fixture::new(NextHop::Destination, settings);
    let refused = attempt(CLIENT, 1, v4_withheld("127.0.0.1:80"));
    let (verdict, _) = it.accepted(&refused);
    assert_eq!(verdict, Verdict::Reject(Outcome::DestinationNotAllowed));
    assert_eq!(it.on(Input::Syn(plain(CLIENT, 2))), []);
}

#[test]
fn timings_are_the_shells() {
    let mut it = Fixture::last_hop();
    let event = plain(CLIENT, 1);
    let flow = it.open_early(&event);
    it.wait(Duration::from_micros(70));
    it.on(Input::Connecting { flow });
    it.wait(Duration::from_micros(2001));
    it.connected(flow);
    it.wait(Duration::from_micros(500));
    let (_, actions) = it.accepted(&event);
    let idle_timeout = Duration::from_mins(124);
    assert_eq!(actions, [Action::StartRelay { flow, idle_timeout }]);
    it.wait(Duration::from_micros(10));
    let timings = it.close(flow).timings;
    let micros = Duration::from_micros;
    assert_eq!(timings.syn_to_connect, Some(micros(70)));
    assert_eq!(timings.downstream_handshake, Some(micros(2001)));
    assert_eq!(timings.upstream_handshake, Some(micros(2571)));
    assert_eq!(timings.duration, micros(2581));
}

#[test]
fn shutdown_spares_relays_for_a_while() {
    let mut it = Fixture::last_hop();
    let relaying = it.relay(&plain(CLIENT, 1));
    let pending = it.open_early(&plain(OTHER_CLIENT, 2));
    let actions = it.on(Input::Shutdown);
    assert_eq!(actions[0], Action::AbortDownstream { flow: pending });
    assert_eq!(
        report_in(&actions).map(|report| (report.flow, report.outcome)),
        Some((Some(pending), Outcome::Shutdown))
    );
    assert_eq!(it.on(Input::Syn(plain(OTHER_CLIENT, 3))), []);
    let (verdict, _) = it.accepted(&plain(OTHER_CLIENT, 3));
    assert_eq!(verdict, Verdict::Reject(Outcome::Shutdown));

    assert_eq!(
        it.node.next_deadline(),
        Some(it.now.after(Duration::from_secs(30)))
    );
    assert!(!it.node.is_drained());
    let actions = it.wait(Duration::from_secs(30));
    assert_eq!(actions, [Action::StopRelay { flow: relaying }]);
    let relayed = Relayed {
        end: RelayEnd::Stopped,
        up_octets: 5,
        down_octets: 6,
    };
    let actions = it.on(Input::RelayEnded {
        flow: relaying,
        relayed,
    });
    let report = report_in(&actions).expect("a report");
    assert_eq!(report.outcome, Outcome::Shutdown);
    assert_eq!((report.up_octets, report.down_octets), (5, 6));
    assert!(it.node.is_drained());
    assert_eq!(it.node.next_deadline(), None);
}

#[test]
fn a_syn_of_ours_that_comes_back_is_a_loop() {
    let mut it = Fixture::chained();
    let tuple = |hops| v4_option("10.0.0.1:5000", SERVER, hops);
    let flow = it.relay(&attempt(CLIENT, 1, tuple(None)));
    let back = |it: &mut Fixture, option| {
        let saved = attempt(OTHER_CLIENT, 2, option);
        it.accepted(&saved).0
    };
    // It was sent on with 7.
    for hops in [7, 6, 1] {
        let verdict = back(&mut it, tuple(Some(hops)));
        assert_eq!(verdict, Verdict::Reject(Outcome::Loop), "{hops}");
    }
    let event = attempt(OTHER_CLIENT, 2, tuple(Some(6)));
    assert_eq!(it.on(Input::Syn(event)), []);
    assert_eq!(it.node.counters().syn_refused, 1);

    // Its own leg again; another destination; hops that ours cannot have; and once it is over.
    let same_leg = attempt(CLIENT, 9, tuple(Some(6)));
    assert!(matches!(it.accepted(&same_leg).0, Verdict::Flow(_)));
    let elsewhere = v4_option("10.0.0.1:5000", OTHER_SERVER, Some(6));
    assert!(matches!(back(&mut it, elsewhere), Verdict::Flow(_)));
    assert!(matches!(back(&mut it, tuple(Some(8))), Verdict::Flow(_)));
    assert_eq!(it.close(flow).outcome, Outcome::Closed);
}

#[test]
fn once_a_flow_is_over_its_tuple_is_free() {
    let mut it = Fixture::chained();
    let option = v4_option("10.0.0.1:5000", SERVER, Some(7));
    let flow = it.relay(&attempt(CLIENT, 1, option));
    it.close(flow);
    let option = v4_option("10.0.0.1:5000", SERVER, Some(5));
    let again = attempt(OTHER_CLIENT, 2, option);
    assert!(matches!(it.accepted(&again).0, Verdict::Flow(_)));
}

#[test]
fn refusals_are_reported_with_what_is_known() {
    let mut it = Fixture::last_hop();
    let bare = Syn {
        option: Ok(None),
        isn: Isn(1),
        ..plain(CLIENT, 1)
    };
    assert_eq!(it.on(Input::Syn(bare)), []);
    let (verdict, actions) = it.accepted(&bare);
    assert_eq!(verdict, Verdict::Reject(Outcome::NoOption));
    let report = report_in(&actions).expect("a report");
    assert_eq!(report.destination, None);
    assert_eq!(report.mode, None);

    let claim = attempt(CLIENT, 2, v4_option("10.0.0.1:5", "127.0.0.1:80", None));
    let (_, actions) = it.accepted(&claim);
    let report = report_in(&actions).expect("a report");
    assert_eq!(report.claimed_source, Some(addr("10.0.0.1:5")));
    assert_eq!(report.destination, Some(addr("127.0.0.1:80")));
    assert_eq!(report.leg.client(), addr(CLIENT));
    assert_eq!(it.node.flows(), 0);
}
