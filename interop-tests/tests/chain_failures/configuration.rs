//! The configuration's fault, or its will: who may come, whereto, and by which way.

use std::net::SocketAddr;

use crate::common::{
    Bystander, PROMPTLY, Site, Traces, flow_lines, idle_nodes, start_nodes, synhop_options, turn,
    wait_for_flow,
};
use crate::expect::{
    DIRECT_TO_SECOND, SECOND_PREFIX, check_no_detour, check_reset, configured, end, expect_reset,
    flow_to, flow_to_any, is_tcp, lab, second_address, second_server, to, wait_for_flows,
};
use synhop_lab::{ChainSpec, CurlSpec, End, Segment, Via};

#[test]
fn a_destination_that_is_not_allowed() {
    let Some(_turn) = turn("a_destination_that_is_not_allowed") else {
        return;
    };
    let mut site = Site::new(lab(2), &ChainSpec::default(), &[]);
    let capture = site.lab.capture().unwrap();
    let bystander = Bystander::of_server(&site.lab, site.via());
    let forbidden = SocketAddr::from((site.lab.node_address(2), 80));
    expect_reset(&mut site, forbidden);
    let line = flow_to_any(&mut site, 1, "destination-not-allowed");
    assert!(line.duration() < PROMPTLY, "{line}");
    // It ended at the first node.
    assert!(
        !flow_lines(site.chain.node(2))
            .iter()
            .any(|line| line.is_to(forbidden))
    );
    bystander.finish();
    check_no_detour(&site, &capture);
    end(site);
}

/// The same client with an address that may not use the node, whatever its option claims.
#[test]
fn a_source_that_is_not_allowed() {
    let Some(_turn) = turn("a_source_that_is_not_allowed") else {
        return;
    };
    let mut site = Site::new(lab(1), &ChainSpec::default(), &[1_000]);
    site.lab
        .client()
        .ip("addr add 10.98.0.1/32 dev lo\n")
        .unwrap();
    let back = format!("route add 10.98.0.1/32 via {}\n", site.lab.client_address());
    site.lab.node(1).ip(&back).unwrap();
    let bystander = Bystander::of_server(&site.lab, site.via());
    let mut spec = CurlSpec::new(site.nginx.url(1_000), site.via());
    spec.synhop_arguments = ["--fallback", "fail"].map(str::to_owned).to_vec();
    spec.arguments = ["--interface", "10.98.0.1"].map(str::to_owned).to_vec();
    let outcome = site.lab.curl(&spec).unwrap();
    check_reset(&outcome);
    let line = flow_to_any(&mut site, 1, "source-not-allowed");
    assert!(line.get("client").starts_with("10.98.0.1:"), "{line}");
    assert!(line.duration() < PROMPTLY, "{line}");
    bystander.finish();
    end(site);
}

/// SPEC section 6.4: a plain server in the place of the next node gets no octet of the flow.
#[test]
fn a_next_hop_that_is_no_node() {
    let Some(_turn) = turn("a_next_hop_that_is_no_node") else {
        return;
    };
    let lab = lab(1).build().unwrap();
    second_server(&lab);
    let mut spec = to(&[SECOND_PREFIX]);
    let via = format!("via = \"{}:80\"\n{DIRECT_TO_SECOND}", lab.server_address());
    spec.arguments = configured(&lab, &via);
    let mut site = Site::on(lab, &spec, &[1_000]);
    let (entry, host) = (site.via(), site.lab.server());
    let bystander = Bystander::start(&site.lab, entry, host, second_address());
    let capture = site.lab.capture().unwrap();
    let web = site.nginx.address();
    expect_reset(&mut site, web);
    let line = flow_to(&mut site, 1, web);
    assert_eq!(line.outcome(), "next-hop-silent", "{line}");
    assert!(line.duration() < PROMPTLY, "{line}");
    let packets = capture.packets();
    let asked = |it: &Segment| it.destination == web;
    let onward: Vec<_> = packets.iter().filter(|it| is_tcp(it, asked)).collect();
    assert!(onward.iter().any(|it| is_tcp(it, |it| it.is_syn()
        && !synhop_options(&it.options).is_empty())));
    assert!(
        onward.iter().any(|it| is_tcp(it, Segment::is_reset)),
        "no reset"
    );
    assert!(
        onward.iter().all(|it| is_tcp(it, |it| it.payload_len == 0)),
        "octets"
    );
    bystander.finish();
    end(site);
}

/// Two nodes, each via the other: a flow goes round once and is refused.
#[test]
fn a_loop_of_nodes() {
    let Some(_turn) = turn("a_loop_of_nodes") else {
        return;
    };
    let lab = lab(2).build().unwrap();
    second_server(&lab);
    let traces = Traces::of(&lab, Vec::new());
    let mut first = to(&[SECOND_PREFIX]);
    first.arguments = configured(&lab, DIRECT_TO_SECOND);
    let mut second = ChainSpec::default();
    let back = lab.node_listen_address(1).to_string();
    second.arguments = vec!["--via".to_owned(), back];
    let nodes = start_nodes(&lab, &[first, second]);
    let via = Via::Synhop(lab.node_listen_address(1));
    let bystander = Bystander::start(&lab, via, lab.server(), second_address());
    let capture = lab.capture().unwrap();
    let server = SocketAddr::from((lab.server_address(), 80));
    let mut spec = CurlSpec::new(format!("http://{server}/"), via);
    spec.synhop_arguments = ["--fallback", "fail"].map(str::to_owned).to_vec();
    let outcome = lab.curl(&spec).unwrap();
    check_reset(&outcome);
    let line = wait_for_flow(&nodes[0], PROMPTLY, |line| line.outcome() == "loop");
    assert!(line.is_to(server), "{line}");
    wait_for_flows(&lab, 1, 1);
    wait_for_flows(&lab, 2, 0);
    let packets = capture.packets();
    let mut asked: Vec<_> = packets
        .iter()
        .filter(|it| it.interface.end == End::Left && is_tcp(it, Segment::is_syn))
        .filter_map(|it| it.tcp.as_ref().map(|it| (it.source, it.destination)))
        .collect();
    asked.sort();
    asked.dedup();
    println!("legs of the loop: {asked:?}");
    assert!(asked.len() <= 3, "{asked:?}");
    bystander.finish();
    idle_nodes(&lab, PROMPTLY);
    drop((nodes, lab));
    traces.check_gone();
}
