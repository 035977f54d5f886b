//! The node with its own TCP/IP in a chain: alone, among Linux's nodes, and three in a row.

#[path = "../common/mod.rs"]
mod common;
#[path = "../chain_wire/pins.rs"]
mod pins;

use std::time::Duration;

use common::{Fetches, Leg, PROMPTLY, Site, flow_lines, turn};
use pins::{BODY, check_area, check_early, check_silence_elsewhere, expected_options, whole_flow};
use synhop_lab::{Build, ChainSpec, Lab, LinkSpec, wait_until};

/// A chain of these builds. One fetch has gone through it: neighbours know each other.
fn site(builds: &[Build], link: Option<&LinkSpec>, sizes: &[u64]) -> Site {
    let mut lab = Lab::builder().nodes(builds.len()).rtt(RTT);
    if let Some(link) = link {
        lab = lab.link(link.clone());
    }
    let spec = ChainSpec {
        builds: builds.to_vec(),
        ..ChainSpec::default()
    };
    let mut sizes = sizes.to_vec();
    sizes.push(WARM_UP);
    let mut site = Site::new(lab, &spec, &sizes);
    site.fetch_intact(WARM_UP);
    wait_for_flows(&mut site, 1);
    site
}

/// Waits until every node has logged so many flows.
fn wait_for_flows(site: &mut Site, flows: usize) {
    for node in site.chain.nodes() {
        let enough = wait_until("the flows' log lines", PROMPTLY, || {
            (flow_lines(node).len() >= flows).then_some(())
        });
        assert!(enough.is_ok(), "{}", node.failure());
    }
}

fn pin(test: &str, builds: &[Build]) {
    let Some(_turn) = turn(test) else { return };
    let mut site = site(builds, None, &[BODY]);
    let nodes = builds.len();
    let capture = site.lab.capture().unwrap();
    // The first fetch's last segments are not of this flow.
    capture.wait_for_silence(5 * RTT, PROMPTLY).unwrap();
    capture.clear();
    site.fetch_intact(BODY);
    let packets = whole_flow(&capture, nodes);
    let legs: Vec<_> = (0..=nodes).map(|link| Leg::only(&packets, link)).collect();
    let flow = (legs[0].client, site.nginx.address());
    for leg in &legs {
        let expected = expected_options(leg.link, nodes, flow);
        let up = leg.sent_up(&packets);
        let syn = up.iter().find(|seen| seen.segment.is_syn());
        check_area(syn.expect("a SYN").segment, expected.syn.as_deref());
        let down = leg.sent_down(&packets);
        let syn_ack = down.iter().find(|seen| seen.segment.is_syn_ack());
        let syn_ack = syn_ack.expect("a SYN-ACK").segment;
        check_area(syn_ack, expected.syn_ack.as_deref());
        check_silence_elsewhere(&packets, leg);
    }
    check_early(&packets, &legs);
    wait_for_flows(&mut site, 2);
    for node in site.chain.nodes() {
        for line in flow_lines(node) {
            assert_eq!(
                (line.get("mode"), line.outcome()),
                ("early", "closed"),
                "{line}"
            );
        }
    }
    site.close();
}

#[test]
fn the_wire_format_alone() {
    pin("the_wire_format_alone", &[Build::Hosted]);
}

#[test]
fn the_wire_format_among_linux_nodes() {
    let builds = [Build::Linux, Build::Hosted, Build::Linux];
    pin("the_wire_format_among_linux_nodes", &builds);
}

#[test]
fn the_wire_format_of_three() {
    pin("the_wire_format_of_three", &[Build::Hosted; 3]);
}

#[test]
fn the_wire_format_with_offload() {
    pin("the_wire_format_with_offload", &[Build::HostedOffload]);
}

const UNIKERNEL: Build = Build::Unikernel { memory_mib: 6 };

#[test]
fn the_wire_format_of_the_image() {
    pin("the_wire_format_of_the_image", &[UNIKERNEL]);
}

#[test]
fn the_wire_format_of_the_image_among_linux_nodes() {
    let builds = [Build::Linux, UNIKERNEL, Build::Linux];
    pin("the_wire_format_of_the_image_among_linux_nodes", &builds);
}

/// Loss, reordering, duplicates and flipped bits on every link: the bodies stay what they are.
#[test]
fn bad_links_damage_nothing() {
    let Some(_turn) = turn("bad_links_damage_nothing") else {
        return;
    };
    for (build, seed) in [
        (Build::Hosted, 1),
        (Build::HostedOffload, 2),
        (UNIKERNEL, 3),
    ] {
        let link = LinkSpec {
            loss: 0.01,
            reorder: 0.02,
            duplicate: 0.02,
            corrupt: 0.01,
            seed,
            ..LinkSpec::default()
        };
        let mut site = site(&[Build::Linux, build], Some(&link), &[LARGE]);
        for _fetch in 0..5 {
            site.fetch_intact(LARGE);
        }
        site.close();
    }
}

/// What happens to one flow is its own matter, and told.
#[test]
fn refusals_are_resets_with_a_reason() {
    let Some(_turn) = turn("refusals_are_resets_with_a_reason") else {
        return;
    };
    let mut site = site(&[Build::Hosted], None, &[BODY]);
    let server = site.lab.server_address();
    for (url, outcome) in [
        (format!("http://{server}:9/"), "refused"),
        ("http://192.0.2.1/".to_owned(), "destination-not-allowed"),
    ] {
        assert!(!site.try_url(&url).is_success(), "{url}");
        let node = &site.chain.nodes()[0];
        let told = wait_until("the reason", PROMPTLY, || {
            let lines = flow_lines(node);
            lines
                .iter()
                .any(|line| line.outcome() == outcome)
                .then_some(())
        });
        assert!(told.is_ok(), "{outcome}: {}", node.failure());
    }
    site.fetch_intact(BODY);
    let stopped = site.chain.nodes()[0].stop(Duration::from_secs(10));
    assert!(stopped.is_ok_and(|status| status.success()));
    site.close();
}

#[test]
fn two_hundred_fetches_at_once() {
    let Some(_turn) = turn("two_hundred_fetches_at_once") else {
        return;
    };
    fetch_at_once(Build::HostedOffload, 200);
}

#[test]
fn a_hundred_fetches_at_once_through_six_megabytes() {
    let Some(_turn) = turn("a_hundred_fetches_at_once_through_six_megabytes") else {
        return;
    };
    fetch_at_once(UNIKERNEL, 100);
}

#[test]
fn two_hundred_large_fetches_through_six_megabytes() {
    let Some(_turn) = turn("two_hundred_large_fetches_through_six_megabytes") else {
        return;
    };
    fetch_through_memory(6144, LARGE);
}

#[test]
fn two_hundred_fetches_through_four_megabytes() {
    let Some(_turn) = turn("two_hundred_fetches_through_four_megabytes") else {
        return;
    };
    fetch_through_memory(4096, MEDIUM);
}

/// More flows than a small pool has windows for, over links that lose 1 %.
fn fetch_through_memory(memory_kib: u32, body: u64) {
    let link = LinkSpec {
        loss: 0.01,
        ..LinkSpec::default()
    };
    let spec = ChainSpec {
        builds: vec![Build::HostedOffload],
        arguments: vec!["--memory".to_owned(), memory_kib.to_string()],
        ..ChainSpec::default()
    };
    let lab = Lab::builder().nodes(1).link(link).rtt_ms(10);
    let mut site = Site::new(lab, &spec, &[body]);
    site.fetch_intact(body);
    wait_for_flows(&mut site, 1);
    check_at_once(site, body, 200);
}

fn fetch_at_once(build: Build, wanted: usize) {
    check_at_once(site(&[build], None, &[BODY]), BODY, wanted);
}

fn check_at_once(mut site: Site, body: u64, wanted: usize) {
    let most = wanted.to_string();
    let parallel = [
        "--parallel",
        "--parallel-immediate",
        "--parallel-max",
        &most,
    ];
    let fetches = Fetches::start(&site, &[body], wanted, &parallel);
    fetches.check(&site, Duration::from_mins(3));
    wait_for_flows(&mut site, wanted + 1);
    site.close();
}

const RTT: Duration = Duration::from_millis(40);
const WARM_UP: u64 = 1000;
const MEDIUM: u64 = 300_000;
const LARGE: u64 = 2_000_000;
