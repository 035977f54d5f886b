//! Many fetches through a chain: every body right, and nothing left behind in any node.

mod common;

use std::fs;
use std::path::Path;
use std::time::Duration;

use common::{Fetches, PROMPTLY, Site, outcomes, turn};
use synhop_lab::{ChainSpec, Lab, LinkSpec, Process, wait_until};

#[test]
fn a_thousand_fetches_one_after_the_other() {
    let Some(_turn) = turn("a_thousand_fetches_one_after_the_other") else {
        return;
    };
    let mut site = site(LinkSpec::default());
    let before = Descriptors::settled(&mut site);
    let fetches = Fetches::start(&site, &SIZES, 1000, &[]);
    fetches.check(&site, Duration::from_mins(3));
    check_nothing_is_left(&mut site, &before, 1000);
    site.close();
}

#[test]
fn two_hundred_fetches_at_once() {
    let Some(_turn) = turn("two_hundred_fetches_at_once") else {
        return;
    };
    // Slow enough that all are under way when the first could end.
    let mut site = site(LinkSpec::new(Duration::ZERO, Some(100_000_000)));
    let before = Descriptors::settled(&mut site);
    let parallel = [
        "--parallel",
        "--parallel-immediate",
        "--parallel-max",
        "200",
    ];
    let mut fetches = Fetches::start(&site, &SIZES, 200, &parallel);
    let mut most = 0;
    wait_until("200 fetches to end", Duration::from_mins(2), || {
        let status = site.lab.node_status(1).expect("a status page");
        most = most.max(status["flows"].as_u64().expect("a number"));
        fetches.process.status().expect("a status")
    })
    .unwrap();
    println!("at most {most} flows at once in node 1");
    assert!(
        most >= 150,
        "only {most} flows at once: this proves nothing"
    );
    fetches.check(&site, PROMPTLY);
    check_nothing_is_left(&mut site, &before, 200);
    site.close();
}

fn site(link: LinkSpec) -> Site {
    let lab = Lab::builder().nodes(3).link(link).rtt_ms(6);
    Site::new(lab, &ChainSpec::default(), &SIZES)
}

/// What the nodes have open. Pipes are counted apart: a node keeps up to [`SPARE_PIPES`] of them
/// for its next flows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Descriptors {
    pipes: Vec<usize>,
    others: Vec<usize>,
}

impl Descriptors {
    fn of(site: &mut Site) -> Self {
        let nodes = site.chain.nodes().iter();
        let (pipes, others) = nodes.map(count).unzip();
        Self { pipes, others }
    }

    /// When the nodes have nothing to do any more: the status page of the last look at them is
    /// closed.
    fn settled(site: &mut Site) -> Self {
        site.wait_until_idle(PROMPTLY);
        let mut last = Self::of(site);
        let mut same = 0;
        wait_until("the nodes to settle", PROMPTLY, || {
            let now = Self::of(site);
            same = if now == last { same + 1 } else { 0 };
            last = now;
            (same >= SETTLED_LOOKS).then(|| last.clone())
        })
        .expect("settled nodes")
    }
}

/// A process's pipes, and everything else.
fn count(node: &Process) -> (usize, usize) {
    let folder = Path::new("/proc").join(node.id().to_string()).join("fd");
    let entries = fs::read_dir(folder).expect("its descriptors").flatten();
    // One that has been closed meanwhile does not count.
    let targets = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    let (pipes, others): (Vec<_>, Vec<_>) =
        targets.partition(|it| it.to_string_lossy().starts_with("pipe:"));
    (pipes.len(), others.len())
}

/// No flows, no descriptors, and every flow of each node has ended as it should.
fn check_nothing_is_left(site: &mut Site, before: &Descriptors, flows: u64) {
    let after = Descriptors::settled(site);
    assert_eq!(after.others, before.others, "descriptors");
    for (after, before) in after.pipes.iter().zip(&before.pipes) {
        assert!(*after <= before + 2 * SPARE_PIPES, "{after} pipe ends");
    }
    for number in 1..=site.lab.nodes() {
        let status = site.lab.node_status(number).expect("a status page");
        assert_eq!(status["pipes"], 0, "node {number}: {status}");
        let expected = [("closed".to_owned(), flows)];
        assert_eq!(outcomes(&status), expected, "node {number}: {status}");
        assert_eq!(status["dropped_events"], 0, "node {number}: {status}");
    }
}

const SIZES: [u64; 5] = [1_000, 25_000, 60_000, 150_000, 500_000];
/// Empty pipes that a node keeps for the next flow.
const SPARE_PIPES: usize = 64;
const SETTLED_LOOKS: u32 = 20;
