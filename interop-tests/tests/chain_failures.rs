//! What goes wrong: the reason in the log, a bounded lifetime, and no effect on a healthy flow
//! that goes through the same node meanwhile.

mod common;

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::{
    Bystander, FlowLine, PROMPTLY, Site, Traces, Vector, config_file, flow_lines, idle_nodes,
    malformed_syns, outcomes, rewrite_options, route_to_server, start_nodes, synhop_options,
    synhop_run, turn, wait_for_flow,
};
use synhop_lab::link::Verdict;
use synhop_lab::{
    Capture, ChainSpec, CurlOutcome, CurlSpec, End, Heading, Lab, Packet, ProcessBuilder, Segment,
    Via, wait_until,
};

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

/// The node in the middle of three is killed during a transfer. Its neighbours clean up, and flows
/// pass again as soon as there is a new one. The bystander leaves the chain at the first node.
#[test]
fn a_node_that_is_killed() {
    let Some(_turn) = turn("a_node_that_is_killed") else {
        return;
    };
    let lab = lab(3).build().unwrap();
    second_server(&lab);
    let plain = to(&[SECOND_PREFIX]);
    let mut first = plain.clone();
    first.arguments = configured(&lab, DIRECT_TO_SECOND);
    let traces = Traces::of(&lab, Vec::new());
    let nginx = lab.start_nginx(&[1_000, HUGE]).unwrap();
    let mut nodes = start_nodes(&lab, &[first, plain.clone(), plain.clone()]);
    let via = Via::Synhop(lab.node_listen_address(1));
    let bystander = Bystander::start(&lab, via, lab.server(), second_address());

    let mut command = synhop_run(&lab, via);
    command.args([
        "curl",
        "--disable",
        "--silent",
        "--show-error",
        "--noproxy",
        "*",
    ]);
    command.args(["--output", "/dev/null"]).arg(nginx.url(HUGE));
    let mut curl = ProcessBuilder::new("curl", command).start().unwrap();
    wait_until("the transfer to be under way", PROMPTLY, || {
        let carried = lab.link_stats()[3].to_client.forwarded_octets;
        (carried > 2_000_000).then_some(())
    })
    .unwrap();
    assert!(curl.status().unwrap().is_none(), "{}", curl.failure());
    nodes[1].signal(9).unwrap();
    let killed = Instant::now();
    let status = curl.wait(PROMPTLY).expect("the client learns of it");
    println!(
        "the client ended {:?} after the kill: {status}",
        killed.elapsed()
    );
    // 18: the connection ended within the body. 56: it was reset.
    assert!(matches!(status.code(), Some(18 | 56)), "{}", curl.failure());
    nodes[1].wait(PROMPTLY).unwrap();
    let address = nginx.address();
    for neighbour in [0, 2] {
        let line = wait_for_flow(&nodes[neighbour], PROMPTLY, |line| line.is_to(address));
        let expected = ["closed", "reset-by-server", "reset-by-client"];
        assert!(expected.contains(&line.outcome()), "{line}");
    }
    wait_for_flows(&lab, 1, 1);
    wait_for_flows(&lab, 3, 0);

    nodes[1] = lab.start_node(2, &plain).unwrap();
    nodes[1].wait_for_line("listening", PROMPTLY).unwrap();
    let spec = CurlSpec {
        expect_octets: Some(1_000),
        ..CurlSpec::new(nginx.url(1_000), via)
    };
    let again = lab.curl(&spec).unwrap();
    assert!(again.is_success(), "{again:?}");
    wait_for_flow(&nodes[1], PROMPTLY, |line| line.outcome() == "closed");
    bystander.finish();
    idle_nodes(&lab, PROMPTLY);
    drop((curl, nodes, nginx, lab));
    traces.check_gone();
}

/// Nothing but a client's SYN arrives: what the node has begun for it ends within the configured
/// time, along the whole chain.
#[test]
fn a_client_that_vanishes_after_its_syn() {
    let Some(_turn) = turn("a_client_that_vanishes_after_its_syn") else {
        return;
    };
    let lab = lab(2).build().unwrap();
    let spec = ChainSpec {
        arguments: configured(&lab, "[timeouts]\nhandshake_ms = 800\n"),
        ..ChainSpec::default()
    };
    let mut site = Site::on(lab, &spec, &[1_000]);
    let bystander = Bystander::of_server(&site.lab, site.via());
    let capture = site.lab.capture().unwrap();
    let cut = |frame: &mut Vec<u8>| match Packet::tcp_of(frame) {
        Some(segment) if segment.source.port() == VANISHING_PORT && !segment.is_syn() => {
            Verdict::Drop
        }
        Some(_) | None => Verdict::Pass,
    };
    let result = site
        .lab
        .set_middlebox(0, Heading::ToServer, Some(Box::new(cut)));
    result.unwrap();
    let mut command = synhop_run(&site.lab, site.via());
    command.args([
        "curl",
        "--disable",
        "--silent",
        "--noproxy",
        "*",
        "--local-port",
    ]);
    command.arg(VANISHING_PORT.to_string());
    command
        .args(["--output", "/dev/null"])
        .arg(site.nginx.url(1_000));
    let mut curl = ProcessBuilder::new("curl", command).start().unwrap();
    let web = site.nginx.address();
    let first = flow_to(&mut site, 1, web);
    assert_eq!(first.outcome(), "client-vanished", "{first}");
    assert_eq!(first.get("mode"), "early", "{first}");
    let lived = first.duration();
    assert!(
        lived >= Duration::from_millis(800) && lived < PROMPTLY,
        "{first}"
    );
    let second = flow_to(&mut site, 2, web);
    assert_eq!(second.outcome(), "reset-by-client", "{second}");
    capture
        .wait_for("a reset towards the server", PROMPTLY, |packets| {
            let mut segments = packets.iter().filter(|it| it.interface.link == 2);
            segments
                .find(|it| is_tcp(it, |it| it.is_reset() && it.destination == web))
                .map(drop)
        })
        .unwrap();
    bystander.finish();
    // Not killed: `synhop run` removes its helper's folder.
    curl.stop(PROMPTLY).unwrap();
    end(site);
}

/// Each malformed vector, put on the SYN of a plain client by a middlebox.
#[test]
fn malformed_options() {
    let Some(_turn) = turn("malformed_options") else {
        return;
    };
    let mut site = Site::new(lab(1), &ChainSpec::default(), &[]);
    let bystander = Bystander::of_server(&site.lab, site.via());
    let capture = site.lab.capture().unwrap();
    let area = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::clone(&area);
    let rewrite = move |frame: &mut Vec<u8>| {
        if Packet::tcp_of(frame).is_some_and(|segment| segment.is_syn()) {
            let area = shared.lock().unwrap_or_else(PoisonError::into_inner);
            rewrite_options(frame, &area);
        }
        Verdict::Pass
    };
    let result = site
        .lab
        .set_middlebox(0, Heading::ToServer, Some(Box::new(rewrite)));
    result.unwrap();
    let node = site.lab.node_listen_address(1);
    let vectors = malformed_syns();
    let mut dropped = 0;
    assert!(vectors.len() > 50, "only {} vectors", vectors.len());
    for vector in &vectors {
        area.lock().unwrap().clone_from(&vector.options);
        capture.clear();
        let Some(client) = expect_reset_of_plain_client(&site.lab, node, patience(vector)) else {
            // Kernels that know TCP-AO drop a SYN whose option list is broken: no node sees it.
            let answered = capture
                .packets()
                .iter()
                .any(|it| is_tcp(it, Segment::is_syn_ack));
            assert!(is_broken_list(vector) && !answered, "{}", vector.name);
            dropped += 1;
            continue;
        };
        let line = wait_for_flow(site.chain.node(1), PROMPTLY, |line| {
            line.get("client") == client.to_string()
        });
        assert_eq!(
            line.outcome(),
            "malformed-option",
            "{}: {line}",
            vector.name
        );
        assert!(line.duration() < PROMPTLY, "{}: {line}", vector.name);
        let packets = capture.packets();
        let answers = packets.iter().filter(|it| is_tcp(it, Segment::is_syn_ack));
        for answer in answers.filter_map(|packet| packet.tcp.as_ref()) {
            // SPEC section 6.1: no reply to what has not the length of a form.
            let is_reply = !synhop_options(&answer.options).is_empty();
            assert!(!is_reply || vector.error != "bad-length", "{}", vector.name);
        }
        let onward = packets
            .iter()
            .find(|it| it.interface.link == 1 && is_tcp(it, Segment::is_syn));
        assert!(onward.is_none(), "{}: {onward:?}", vector.name);
    }
    let status = site.lab.node_status(1).unwrap();
    // The bystander.
    assert_eq!(status["opened_total"], 1, "{status}");
    assert_eq!(status["flows"], 1, "{status}");
    let refused = u64::try_from(vectors.len()).unwrap() - dropped;
    assert_eq!(
        outcomes(&status),
        [("malformed-option".to_owned(), refused)]
    );
    println!("malformed SYNs: {refused} refused by the node, {dropped} dropped by the kernel");
    bystander.finish();
    end(site);
}

#[test]
fn a_client_without_the_option() {
    let Some(_turn) = turn("a_client_without_the_option") else {
        return;
    };
    let mut site = Site::new(lab(1), &ChainSpec::default(), &[]);
    let bystander = Bystander::of_server(&site.lab, site.via());
    let node = site.lab.node_listen_address(1);
    let spec = CurlSpec::new(format!("http://{node}/"), Via::Direct);
    let outcome = site.lab.curl(&spec).unwrap();
    check_reset(&outcome);
    let line = wait_for_flow(site.chain.node(1), PROMPTLY, |line| {
        line.outcome() == "no-option"
    });
    let client = SocketAddr::from((site.lab.client_address(), outcome.local_port));
    assert_eq!(line.get("client"), client.to_string(), "{line}");
    assert!(line.duration() < PROMPTLY, "{line}");
    bystander.finish();
    end(site);
}

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

fn lab(nodes: usize) -> synhop_lab::LabBuilder {
    Lab::builder().nodes(nodes).rtt_ms(12)
}

/// A chain whose nodes may also connect to `more`.
fn to(more: &[&str]) -> ChainSpec {
    let server = ["10.99.0.0/16"].iter().chain(more);
    ChainSpec {
        allow_to: server.map(|it| (*it).to_owned()).collect(),
        ..ChainSpec::default()
    }
}

/// The arguments that have a node read this file.
fn configured(lab: &Lab, toml: &str) -> Vec<String> {
    let path = config_file(lab, "node.toml", toml);
    vec!["--config".to_owned(), path.display().to_string()]
}

/// A second address of the server, for flows that take another way through the same node.
fn second_server(lab: &Lab) {
    let address = format!("addr add {SECOND_PREFIX} dev lo\n");
    lab.server().ip(&address).unwrap();
    route_to_server(lab, SECOND_PREFIX);
}

fn second_address() -> SocketAddr {
    SocketAddr::from(([10, 97, 0, 1], 8000))
}

/// Fetches from `destination` through the chain; the client sees a reset, and soon.
fn expect_reset(site: &mut Site, destination: SocketAddr) {
    let outcome = site.try_url(format!("http://{destination}/"));
    check_reset(&outcome);
    let took = Duration::from_micros(outcome.total_us);
    assert!(took < PROMPTLY, "{outcome:?}\n{}", site.logs());
}

fn check_reset(outcome: &CurlOutcome) {
    assert_ne!(outcome.exit_code, Some(0), "{outcome:?}");
    let text = outcome.messages.join("\n").to_lowercase();
    let told = text.contains("reset") || text.contains("refused");
    assert!(told, "{outcome:?}");
}

/// Connects without a shim; gives the client's address. `None`: no answer within `patience`.
fn expect_reset_of_plain_client(
    lab: &Lab,
    node: SocketAddr,
    patience: Duration,
) -> Option<SocketAddr> {
    let attempt = || {
        let mut stream = TcpStream::connect_timeout(&node, patience)?;
        stream.set_read_timeout(Some(PROMPTLY))?;
        let client = stream.local_addr()?;
        Ok::<_, std::io::Error>((client, stream.read(&mut [0]).map_err(|it| it.kind())))
    };
    match lab.client().enter(attempt).unwrap() {
        Ok((client, read)) => {
            assert_eq!(read, Err(ErrorKind::ConnectionReset));
            Some(client)
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
            None
        }
    }
}

/// How long to wait for the answer to this SYN.
fn patience(vector: &Vector) -> Duration {
    if is_broken_list(vector) {
        Duration::from_millis(500)
    } else {
        PROMPTLY
    }
}

/// Whether other options than synhop's cannot be read either.
fn is_broken_list(vector: &Vector) -> bool {
    ["truncated", "bad-list-length"].contains(&vector.error.as_str())
}

/// The line of a node's flow to `destination`.
fn flow_to(site: &mut Site, node: usize, destination: SocketAddr) -> FlowLine {
    wait_for_flow(site.chain.node(node), PROMPTLY, |line| {
        line.is_to(destination)
    })
}

/// The line of a node's flow that ended so.
fn flow_to_any(site: &mut Site, node: usize, outcome: &str) -> FlowLine {
    wait_for_flow(site.chain.node(node), PROMPTLY, |line| {
        line.outcome() == outcome
    })
}

fn wait_for_flows(lab: &Lab, node: usize, flows: u64) {
    let what = format!("node {node} to have {flows} flows");
    wait_until(&what, PROMPTLY, || {
        let status = lab.node_status(node).expect("a status page");
        (status["flows"] == flows).then_some(())
    })
    .unwrap();
}

/// Whatever the client sent went to the first node.
fn check_no_detour(site: &Site, capture: &Capture) {
    let entry = site.chain.entry();
    for packet in capture.packets() {
        let from_client = packet.interface.link == 0 && is_tcp(&packet, Segment::is_syn);
        let to = packet.tcp.as_ref().map(|segment| segment.destination);
        assert!(!from_client || to == entry, "{packet:?}");
    }
}

fn is_tcp(packet: &Packet, is_it: impl Fn(&Segment) -> bool) -> bool {
    packet.tcp.as_ref().is_some_and(is_it)
}

/// No flow is left, nor anything of the lab.
fn end(site: Site) {
    site.wait_until_idle(PROMPTLY);
    site.close();
}

const SECOND_PREFIX: &str = "10.97.0.1/32";
const DIRECT_TO_SECOND: &str = "[[route]]\nprefix = \"10.97.0.1/32\"\nvia = \"direct\"\n";
const VANISHING_PORT: u16 = 61_234;
const HUGE: u64 = 300_000_000;
