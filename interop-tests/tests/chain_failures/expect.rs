//! What the failures share: labs with another way to go, and what is to be seen of a failure.

use std::net::SocketAddr;
use std::time::Duration;

use crate::common::{FlowLine, PROMPTLY, Site, config_file, route_to_server, wait_for_flow};
use synhop_lab::{Capture, ChainSpec, CurlOutcome, Lab, Packet, Segment, wait_until};

pub(crate) fn lab(nodes: usize) -> synhop_lab::LabBuilder {
    Lab::builder().nodes(nodes).rtt_ms(12)
}

/// A chain whose nodes may also connect to `more`.
pub(crate) fn to(more: &[&str]) -> ChainSpec {
    let server = ["10.99.0.0/16"].iter().chain(more);
    ChainSpec {
        allow_to: server.map(|it| (*it).to_owned()).collect(),
        ..ChainSpec::default()
    }
}

/// The arguments that have a node read this file.
pub(crate) fn configured(lab: &Lab, toml: &str) -> Vec<String> {
    let path = config_file(lab, "node.toml", toml);
    vec!["--config".to_owned(), path.display().to_string()]
}

/// A second address of the server, for flows that take another way through the same node.
pub(crate) fn second_server(lab: &Lab) {
    let address = format!("addr add {SECOND_PREFIX} dev lo\n");
    lab.server().ip(&address).unwrap();
    route_to_server(lab, SECOND_PREFIX);
}

pub(crate) fn second_address() -> SocketAddr {
    SocketAddr::from(([10, 97, 0, 1], 8000))
}

/// Fetches from `destination` through the chain; the client sees a reset, and soon.
pub(crate) fn expect_reset(site: &mut Site, destination: SocketAddr) {
    let outcome = site.try_url(format!("http://{destination}/"));
    check_reset(&outcome);
    let took = Duration::from_micros(outcome.total_us);
    assert!(took < PROMPTLY, "{outcome:?}\n{}", site.logs());
}

pub(crate) fn check_reset(outcome: &CurlOutcome) {
    assert_ne!(outcome.exit_code, Some(0), "{outcome:?}");
    let text = outcome.messages.join("\n").to_lowercase();
    let told = text.contains("reset") || text.contains("refused");
    assert!(told, "{outcome:?}");
}

/// The line of a node's flow to `destination`.
pub(crate) fn flow_to(site: &mut Site, node: usize, destination: SocketAddr) -> FlowLine {
    wait_for_flow(site.chain.node(node), PROMPTLY, |line| {
        line.is_to(destination)
    })
}

/// The line of a node's flow that ended so.
pub(crate) fn flow_to_any(site: &mut Site, node: usize, outcome: &str) -> FlowLine {
    wait_for_flow(site.chain.node(node), PROMPTLY, |line| {
        line.outcome() == outcome
    })
}

pub(crate) fn wait_for_flows(lab: &Lab, node: usize, flows: u64) {
    let what = format!("node {node} to have {flows} flows");
    wait_until(&what, PROMPTLY, || {
        let status = lab.node_status(node).expect("a status page");
        (status["flows"] == flows).then_some(())
    })
    .unwrap();
}

/// Whatever the client sent went to the first node.
pub(crate) fn check_no_detour(site: &Site, capture: &Capture) {
    let entry = site.chain.entry();
    for packet in capture.packets() {
        let from_client = packet.interface.link == 0 && is_tcp(&packet, Segment::is_syn);
        let to = packet.tcp.as_ref().map(|segment| segment.destination);
        assert!(!from_client || to == entry, "{packet:?}");
    }
}

pub(crate) fn is_tcp(packet: &Packet, is_it: impl Fn(&Segment) -> bool) -> bool {
    packet.tcp.as_ref().is_some_and(is_it)
}

/// No flow is left, nor anything of the lab.
pub(crate) fn end(site: Site) {
    site.wait_until_idle(PROMPTLY);
    site.close();
}

pub(crate) const SECOND_PREFIX: &str = "10.97.0.1/32";
pub(crate) const DIRECT_TO_SECOND: &str =
    "[[route]]\nprefix = \"10.97.0.1/32\"\nvia = \"direct\"\n";
