//! The node with its own TCP/IP over links and with peers that fail: what arrives is what was sent.
//! How long that may take is measured by `synhop-lab bench engine`.
//!
//! ```text
//!  client ──bad── node ──clean── server
//! ```

mod common;

use std::thread;
use std::time::Duration;

use common::turn;
use synhop_lab::{
    Build, Chain, ChainSpec, Lab, LinkSpec, Order, Peer, Plan, Stall, TransferReport, TransferSpec,
    Via, wait_until,
};

/// Processes first, so that they are dropped before their namespaces.
struct Place {
    chain: Chain,
    peer: Peer,
    lab: Lab,
}

impl Place {
    /// One transfer has gone through while the link was still good: neighbours know each other.
    fn new(build: Build, link: &LinkSpec) -> Self {
        let good = LinkSpec::new(link.delay, link.rate_bits_per_second);
        let lab = Lab::builder()
            .nodes(1)
            .link_at(0, good)
            .link_at(1, LinkSpec::default())
            .build()
            .expect("a lab");
        let peer = lab.start_peer().expect("a server");
        let spec = ChainSpec {
            builds: vec![build],
            ..ChainSpec::default()
        };
        let chain = lab.start_chain(&spec).expect("a node");
        let place = Self { chain, peer, lab };
        place.check(&place.transfer(Plan {
            receive: 1,
            ..Plan::default()
        }));
        place.lab.set_link(0, link.clone()).expect("the bad link");
        place
    }

    fn spec(&self, plan: Plan) -> TransferSpec {
        TransferSpec {
            plan,
            via: Via::Synhop(self.chain.entry().expect("a node")),
            bound: BOUND,
        }
    }

    fn transfer(&self, plan: Plan) -> TransferReport {
        let report = self.lab.transfer(&self.peer, &self.spec(plan));
        report.unwrap_or_else(|error| panic!("{error}"))
    }

    fn check(&self, report: &TransferReport) {
        let intact = report.received_intact && report.sent_intact;
        assert!(intact, "{report:?}, {:?}", self.lab.total_stats());
    }
}

#[test]
fn connects_get_through_where_three_of_ten_are_lost() {
    let Some(_turn) = turn("connects_get_through_where_three_of_ten_are_lost") else {
        return;
    };
    let link = LinkSpec {
        loss: 0.3,
        ..link()
    };
    let place = Place::new(Build::HostedOffload, &link);
    let plan = Plan {
        send: 500,
        receive: 500,
        ..Plan::default()
    };
    let start = || {
        let transfer = place
            .lab
            .start_transfer(place.peer.address(), &place.spec(plan));
        transfer.expect("a transfer starts")
    };
    let transfers: Vec<_> = (0..6).map(|_| start()).collect();
    for transfer in transfers {
        place.check(&transfer.wait().expect("it gets through"));
    }
}

#[test]
fn a_transfer_outlives_a_dead_link() {
    let Some(_turn) = turn("a_transfer_outlives_a_dead_link") else {
        return;
    };
    let place = Place::new(Build::HostedOffload, &link());
    for plan in [Plan::down(3 * MB), Plan::up(3 * MB)] {
        let carried = || {
            let stats = place.lab.total_stats();
            stats.forwarded_octets
        };
        let enough = carried() + MB;
        let transfer = place
            .lab
            .start_transfer(place.peer.address(), &place.spec(plan))
            .expect("a transfer starts");
        wait_until("the middle", BOUND, || (carried() >= enough).then_some(())).expect("octets");
        let dead = LinkSpec {
            loss: 1.0,
            ..link()
        };
        place.lab.set_link(0, dead).expect("the link is cut");
        // Not a wait for anything: the time without a link.
        thread::sleep(Duration::from_secs(3));
        place.lab.set_link(0, link()).expect("the link is back");
        place.check(&transfer.wait().expect("it goes on"));
    }
}

#[test]
fn a_reader_that_stalls_gets_everything() {
    let Some(_turn) = turn("a_reader_that_stalls_gets_everything") else {
        return;
    };
    let place = Place::new(Build::HostedOffload, &link());
    let plan = Plan {
        stall: Some(Stall {
            after: MB,
            pause: Duration::from_secs(1),
        }),
        // More than the client's kernel takes for a reader that does not read: its window closes.
        ..Plan::down(12 * MB)
    };
    place.check(&place.transfer(plan));
}

#[test]
fn either_side_may_finish_first() {
    let Some(_turn) = turn("either_side_may_finish_first") else {
        return;
    };
    let lossy = LinkSpec {
        loss: 0.03,
        ..link()
    };
    for build in [Build::Hosted, Build::HostedOffload] {
        let place = Place::new(build, &lossy);
        for order in [Order::ClientFirst, Order::ServerFirst] {
            let plan = Plan {
                send: MB / 5,
                order,
                ..Plan::down(MB / 5)
            };
            place.check(&place.transfer(plan));
        }
    }
}

#[test]
fn both_directions_overtake_themselves() {
    let Some(_turn) = turn("both_directions_overtake_themselves") else {
        return;
    };
    let unruly = LinkSpec {
        reorder: 0.05,
        ..link()
    };
    for build in [Build::Hosted, Build::HostedOffload] {
        let place = Place::new(build, &unruly);
        let plan = Plan {
            send: 5 * MB,
            ..Plan::down(5 * MB)
        };
        place.check(&place.transfer(plan));
        assert!(place.lab.total_stats().reordered > 100);
    }
}

fn link() -> LinkSpec {
    LinkSpec::new(Duration::from_millis(5), Some(50_000_000))
}

const MB: u64 = 1_000_000;
const BOUND: Duration = Duration::from_mins(1);
