//! The server's fault: it refuses, cannot be reached, or says nothing.

use std::net::SocketAddr;
use std::time::Duration;

use crate::common::{Bystander, FlowLine, PROMPTLY, Site, route_to_server, turn};
use crate::expect::{check_no_detour, configured, end, expect_reset, flow_to, lab, to};
use synhop_lab::ChainSpec;

#[test]
fn a_server_that_refuses() {
    let Some(_turn) = turn("a_server_that_refuses") else {
        return;
    };
    let mut site = Site::new(lab(2), &ChainSpec::default(), &[]);
    let capture = site.lab.capture().unwrap();
    let bystander = Bystander::of_server(&site.lab, site.via());
    let closed = SocketAddr::from((site.lab.server_address(), 81));
    expect_reset(&mut site, closed);
    let last = flow_to(&mut site, 2, closed);
    assert_eq!(last.outcome(), "refused", "{last}");
    assert!(last.duration() < PROMPTLY, "{last}");
    // It saw a node that had understood, and then a reset, whatever came first.
    let first = flow_to(&mut site, 1, closed);
    assert!(
        ["reset-by-server", "refused"].contains(&first.outcome()),
        "{first}"
    );
    bystander.finish();
    check_no_detour(&site, &capture);
    end(site);
}

#[test]
fn a_destination_without_a_route() {
    let Some(_turn) = turn("a_destination_without_a_route") else {
        return;
    };
    let mut site = Site::new(lab(2), &to(&["10.96.0.1/32"]), &[]);
    fail(&mut site, "10.96.0.1:80", "unreachable");
    end(site);
}

/// The router behind the last node says that the host cannot be reached (ICMP).
#[test]
fn a_destination_that_is_said_to_be_unreachable() {
    let Some(_turn) = turn("a_destination_that_is_said_to_be_unreachable") else {
        return;
    };
    let mut site = Site::new(lab(2), &to(&["10.95.0.1/32"]), &[]);
    route_to_server(&site.lab, "10.95.0.1/32");
    site.lab
        .server()
        .ip("route add unreachable 10.95.0.1/32\n")
        .unwrap();
    fail(&mut site, "10.95.0.1:80", "unreachable");
    end(site);
}

#[test]
fn a_destination_that_never_answers() {
    let Some(_turn) = turn("a_destination_that_never_answers") else {
        return;
    };
    let lab = lab(2).build().unwrap();
    let mut spec = to(&["10.94.0.1/32"]);
    spec.arguments = configured(&lab, "[timeouts]\nconnect_ms = 700\n");
    let mut site = Site::on(lab, &spec, &[]);
    route_to_server(&site.lab, "10.94.0.1/32");
    site.lab
        .server()
        .ip("route add blackhole 10.94.0.1/32\n")
        .unwrap();
    let last = fail(&mut site, "10.94.0.1:80", "connect-timeout");
    assert!(last.duration() >= Duration::from_millis(700), "{last}");
    end(site);
}

/// Asks for what cannot be had, beside a bystander: the last node soon says why.
fn fail(site: &mut Site, destination: &str, outcome: &str) -> FlowLine {
    let destination = destination.parse().unwrap();
    let bystander = Bystander::of_server(&site.lab, site.via());
    expect_reset(site, destination);
    let last = flow_to(site, 2, destination);
    assert_eq!(last.outcome(), outcome, "{last}");
    assert!(last.duration() < PROMPTLY, "{last}");
    bystander.finish();
    last
}
