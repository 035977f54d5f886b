//! Several nodes in one process, chained, with a fake clock.
//!
//! ```text
//! client ---- node 0 ---- node 1 ---- node 2 ---- server        each leg: 10 ms one way
//! ```

#[path = "../common/mod.rs"]
mod common;
mod world;

use std::net::SocketAddr;
use std::time::Duration;

use synhop_core::{Mode, NextHop, Node, Outcome, Settings, Time};
use synhop_option::SynOption;

use common::{addr, node_at, open_settings, v4_option, v4_withheld, v6_option};
use world::{Clients, Events, Host, World};

const DELAY: Duration = Duration::from_millis(10);
const CLIENT: &str = "192.0.2.1:40000";
const SERVER: &str = "198.51.100.1:80";
const SERVER_V6: &str = "[2001:db8::80]:80";

fn node_address(at: usize) -> SocketAddr {
    addr(&format!("203.0.113.{}:7000", at + 1))
}

/// Room for the form of length 24, as without timestamps.
fn settings() -> Settings {
    let mut settings = open_settings();
    settings.capabilities.room_octets = 28;
    settings
}

/// Three nodes; `after_last` is where the last one sends everything.
fn chain(after_last: NextHop, events: Events, clients: Clients) -> World {
    let mut world = World::new(DELAY, events, clients);
    for at in 0..3 {
        let next = match at {
            2 => after_last,
            _ => NextHop::Node(node_address(at + 1)),
        };
        let config = node_at(node_address(at), next, settings());
        world.add_node(node_address(at), Node::new(config));
    }
    world
}

fn start(world: &mut World, option: SynOption) -> usize {
    world.connect(addr(CLIENT), node_address(0), option)
}

fn millis(millis: u64) -> Time {
    Time::ZERO.after(Duration::from_millis(millis))
}

fn assert_empty(world: &World) {
    for at in 0..3 {
        assert_eq!(world.node(at).flows(), 0, "node {at}");
        assert_eq!(world.node(at).pending(), 0, "node {at}");
        assert_eq!(world.node(at).next_deadline(), None, "node {at}");
    }
}

fn outcomes(world: &World) -> Vec<(usize, Outcome)> {
    let mut outcomes: Vec<_> = world
        .reports
        .iter()
        .map(|(at, report)| (*at, report.outcome))
        .collect();
    outcomes.sort();
    outcomes
}

#[test]
fn the_handshakes_run_in_parallel() {
    let mut world = chain(NextHop::Destination, Events::Delivered, Clients::Finish);
    world.add_host(addr(SERVER), Host::Server);
    start(&mut world, v4_withheld(SERVER));
    world.run();

    // A leg's SYN leaves when the one before it arrives, and is there one delay later: every
    // handshake is over when the last one is.
    assert_eq!(world.connections.len(), 4);
    for (leg, connection) in (0..).zip(&world.connections) {
        assert_eq!(connection.sent_at, millis(10 * leg), "leg {leg}");
        assert_eq!(
            connection.accepted_at,
            Some(millis(10 * leg + 30)),
            "leg {leg}"
        );
    }
    // What each leg's SYN says.
    let options: Vec<_> = world.connections.iter().map(|c| c.syn.option).collect();
    let hop = |hops| Ok(Some(v4_option(CLIENT, SERVER, Some(hops))));
    assert_eq!(
        options,
        [Ok(Some(v4_withheld(SERVER))), hop(7), hop(6), Ok(None)]
    );

    world.finish();
    assert_eq!(outcomes(&world), [0, 1, 2].map(|at| (at, Outcome::Closed)));
    for (_, report) in &world.reports {
        assert_eq!(report.mode, Some(Mode::Early));
        assert_eq!(report.timings.syn_to_connect, Some(Duration::ZERO));
        assert_eq!(report.timings.upstream_handshake, Some(2 * DELAY));
        assert_eq!(report.timings.downstream_handshake, Some(2 * DELAY));
        assert_eq!((report.up_octets, report.down_octets), (10, 20));
    }
    assert_empty(&world);
}

#[test]
fn lost_events_cost_time_only() {
    let mut world = chain(NextHop::Destination, Events::Lost, Clients::Finish);
    world.add_host(addr(SERVER), Host::Server);
    start(&mut world, v4_withheld(SERVER));
    world.run();
    for (leg, connection) in (0..).zip(&world.connections) {
        assert_eq!(connection.sent_at, millis(30 * leg), "leg {leg}");
    }
    world.finish();
    assert_eq!(outcomes(&world), [0, 1, 2].map(|at| (at, Outcome::Closed)));
    for (_, report) in &world.reports {
        assert_eq!(report.mode, Some(Mode::Late));
        assert_eq!(report.timings.syn_to_connect, None);
    }
    assert_empty(&world);
}

#[test]
fn a_refusal_comes_back_as_a_reset() {
    for events in [Events::Delivered, Events::Lost] {
        let mut world = chain(NextHop::Destination, events, Clients::Finish);
        world.add_host(addr(SERVER), Host::Refusing);
        let client = start(&mut world, v4_withheld(SERVER));
        world.run();
        assert!(world.connections[client].reset_at.is_some());
        let last = (2, Outcome::Refused);
        assert!(outcomes(&world).contains(&last), "{:?}", outcomes(&world));
        assert_eq!(world.reports.len(), 3);
        assert_empty(&world);
    }
}

#[test]
fn an_absent_server_is_given_up_in_time() {
    let mut world = chain(NextHop::Destination, Events::Delivered, Clients::Finish);
    let client = start(&mut world, v4_withheld(SERVER));
    world.run();
    assert!(world.connections[client].reset_at.is_some());
    // The default connect timeout, and the way back.
    assert!(world.now <= millis(30_000 + 100));
    assert!(outcomes(&world).contains(&(2, Outcome::ConnectTimeout)));
    assert_empty(&world);
}

#[test]
fn a_plain_server_is_not_taken_for_a_node() {
    let elsewhere = NextHop::Node(addr("203.0.113.50:7000"));
    let mut world = chain(elsewhere, Events::Delivered, Clients::Finish);
    world.add_host(addr("203.0.113.50:7000"), Host::Server);
    let client = start(&mut world, v4_withheld(SERVER));
    world.run();
    assert!(world.connections[client].reset_at.is_some());
    assert!(outcomes(&world).contains(&(2, Outcome::NextHopSilent)));
    assert_empty(&world);
}

#[test]
fn a_client_that_vanishes_takes_everything_with_it() {
    let mut world = chain(NextHop::Destination, Events::Delivered, Clients::Vanish);
    world.add_host(addr(SERVER), Host::Server);
    start(&mut world, v4_withheld(SERVER));
    world.run();
    assert_eq!(
        outcomes(&world),
        [
            (0, Outcome::ClientVanished),
            (1, Outcome::ResetByClient),
            (2, Outcome::ResetByClient),
        ]
    );
    // The default handshake timeout after the SYN's arrival, and the way of the reset.
    assert_eq!(world.now, millis(10 + 10_000 + 30));
    assert_empty(&world);
}

#[test]
fn a_ring_ends_where_the_flow_is_known() {
    for events in [Events::Delivered, Events::Lost] {
        let back = NextHop::Node(node_address(0));
        let mut world = chain(back, events, Clients::Finish);
        let client = start(&mut world, v4_withheld(SERVER));
        world.run();
        // The client's leg, three of the ring, and none more.
        assert_eq!(world.connections.len(), 4);
        assert!(world.connections[client].reset_at.is_some());
        assert!(outcomes(&world).contains(&(0, Outcome::Loop)));
        assert_eq!(world.reports.len(), 4);
        assert_empty(&world);
    }
}

#[test]
fn a_ring_ends_where_the_hops_do() {
    for events in [Events::Delivered, Events::Lost] {
        let back = NextHop::Node(node_address(0));
        let mut world = chain(back, events, Clients::Finish);
        // Nothing tells IPv6 flows from each other on the way: no room for their source.
        let client = start(&mut world, v6_option(SERVER_V6, None));
        world.run();
        // The client's SYN counts as 8 hops left, the ninth node gets 0.
        assert_eq!(world.connections.len(), 9);
        assert!(world.connections[client].reset_at.is_some());
        assert!(outcomes(&world).contains(&(2, Outcome::HopsExhausted)));
        assert_eq!(world.reports.len(), 9);
        assert_empty(&world);
    }
}

#[test]
fn equal_claims_of_two_clients_are_no_loop() {
    let mut world = chain(NextHop::Destination, Events::Delivered, Clients::Finish);
    world.add_host(addr(SERVER), Host::Server);
    // Both behind NATs of their own, with the same address inside.
    let claim = v4_option("10.0.0.1:5000", SERVER, None);
    for client in ["192.0.2.1:40000", "192.0.2.2:40000"] {
        world.connect(addr(client), node_address(0), claim);
    }
    world.run();
    world.finish();
    let closed = [0, 0, 1, 1, 2, 2].map(|at| (at, Outcome::Closed));
    assert_eq!(outcomes(&world), closed);
    assert_empty(&world);
}
