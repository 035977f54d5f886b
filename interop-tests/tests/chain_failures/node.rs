//! A node's fault: it dies.

use std::time::Instant;

use crate::common::{
    Bystander, PROMPTLY, Traces, idle_nodes, start_nodes, synhop_run, turn, wait_for_flow,
};
use crate::expect::{
    DIRECT_TO_SECOND, SECOND_PREFIX, configured, lab, second_address, second_server, to,
    wait_for_flows,
};
use synhop_lab::{CurlSpec, ProcessBuilder, Via, wait_until};

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

const HUGE: u64 = 300_000_000;
