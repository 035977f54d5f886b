//! Many fetches through a chain: every body right, and nothing left behind in any node.

mod common;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{PROMPTLY, Site, outcomes, synhop_run, turn};
use sha2::{Digest, Sha256};
use synhop_lab::{ChainSpec, Lab, LinkSpec, Process, ProcessBuilder, wait_until};

#[test]
fn a_thousand_fetches_one_after_the_other() {
    let Some(_turn) = turn("a_thousand_fetches_one_after_the_other") else {
        return;
    };
    let mut site = site(LinkSpec::default());
    let before = Descriptors::settled(&mut site);
    let fetches = Fetches::start(&site, 1000, &[]);
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
    let mut fetches = Fetches::start(&site, 200, &parallel);
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

/// One curl with many transfers, each on a connection of its own.
struct Fetches {
    process: Process,
    bodies: Vec<(u64, PathBuf)>,
}

impl Fetches {
    fn start(site: &Site, count: usize, arguments: &[&str]) -> Self {
        let folder = site.lab.directory();
        let sizes = SIZES.iter().copied().cycle();
        let name = |number| folder.join(format!("many-{number}"));
        let bodies: Vec<_> = sizes.zip((0..count).map(name)).collect();
        let mut config = String::new();
        for (size, path) in &bodies {
            let _ = writeln!(config, "url = \"{}\"", site.nginx.url(*size));
            let _ = writeln!(config, "output = \"{}\"", path.display());
        }
        let list = folder.join("many.conf");
        fs::write(&list, config).expect("write curl's list");
        let mut command = synhop_run(&site.lab, site.via());
        command.args(["curl", "--disable", "--silent", "--show-error"]);
        command.args(["--noproxy", "*", "--header", "Connection: close"]);
        command.args(["--write-out", "done %{http_code} %{num_connects}\\n"]);
        command.args(arguments).arg("--config").arg(&list);
        let process = ProcessBuilder::new("curl", command).start();
        Self {
            process: process.expect("curl starts"),
            bodies,
        }
    }

    /// Waits for the end; every body has to be right.
    fn check(mut self, site: &Site, bound: Duration) {
        let status = self.process.wait(bound).expect("curl ends");
        assert!(status.success(), "{}", self.process.failure());
        let lines = self.process.lines();
        let connected = lines.iter().filter(|line| *line == "done 200 1").count();
        assert_eq!(connected, self.bodies.len(), "{}", self.process.failure());
        for (octets, path) in &self.bodies {
            let body = fs::read(path).expect("a body");
            let hash = hex::encode(Sha256::digest(&body));
            let files = site.nginx.files().iter();
            let file = files.clone().find(|file| file.octets == *octets);
            let expected = &file.expect("nginx serves it").sha256;
            assert_eq!(&hash, expected, "{} of {octets} octets", path.display());
        }
    }
}

const SIZES: [u64; 5] = [1_000, 25_000, 60_000, 150_000, 500_000];
/// Empty pipes that a node keeps for the next flow.
const SPARE_PIPES: usize = 64;
const SETTLED_LOOKS: u32 = 20;
