//! The server's fault: it refuses, cannot be reached, or says nothing.

use std::net::SocketAddr;
use std::time::Duration;

use crate::common::{Bystander, PROMPTLY, Site, route_to_server, turn};
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
    let bystander = Bystander::of_server(&site.lab, site.via());
    let nowhere = "10.96.0.1:80".parse().unwrap();
    expect_reset(&mut site, nowhere);
    let last = flow_to(&mut site, 2, nowhere);
    assert_eq!(last.outcome(), "unreachable", "{last}");
    assert!(last.duration() < PROMPTLY, "{last}");
    bystander.finish();
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
    let bystander = Bystander::of_server(&site.lab, site.via());
    let unreachable = "10.95.0.1:80".parse().unwrap();
    expect_reset(&mut site, unreachable);
    let last = flow_to(&mut site, 2, unreachable);
    assert_eq!(last.outcome(), "unreachable", "{last}");
    assert!(last.duration() < PROMPTLY, "{last}");
    bystander.finish();
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
    let bystander = Bystander::of_server(&site.lab, site.via());
    let silent = "10.94.0.1:80".parse().unwrap();
    expect_reset(&mut site, silent);
    let last = flow_to(&mut site, 2, silent);
    assert_eq!(last.outcome(), "connect-timeout", "{last}");
    let lived = last.duration();
    assert!(
        lived >= Duration::from_millis(700) && lived < PROMPTLY,
        "{last}"
    );
    bystander.finish();
    end(site);
}
