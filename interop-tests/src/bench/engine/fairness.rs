//! Two flows at once over one bottleneck, from one sender each.
//!
//! ```text
//!                            ┌─ the engine: 10.99.0.2 ── 10.99.1.1 ─┐
//!  client ──the bottleneck──┤                                       ├──clean── server
//!                            └─ synhop-node: 10.98.0.2 ─ 10.98.1.1 ─┘
//! ```
//!
//! Both nodes are on the bridge of one namespace, so that nothing but who sends differs.

use std::fmt;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Serialize;
use synhop_lab::{
    LinkSpec, Plan, Process, ProcessBuilder, Queue, Transfer, TransferSpec, Via, find_binary,
};

use super::Arguments;
use super::place::Place;
use super::row::{BDP_OCTETS, rtt_ms};

/// The row that it belongs to.
pub(super) const ROW: u8 = 14;

/// Shares of what two flows got, 0 to 1. Whoever starts first has the better of it for a while, so
/// both take turns at that.
#[derive(Debug, Serialize)]
pub(super) struct Fairness {
    seconds: u64,
    queue_octets: u64,
    /// The engine's share beside Linux.
    engine_beside_linux: Shares,
    /// For comparison: one Linux flow's beside another.
    linux_beside_linux: Shares,
}

#[derive(Debug, Serialize)]
struct Shares {
    /// Of the runs in which it started first, seed by seed.
    first: Vec<f64>,
    first_median: f64,
    /// And second.
    second: Vec<f64>,
    second_median: f64,
    /// The mean of both medians.
    share: f64,
    /// Jain's index of that: 1 is even, 0.5 is one takes all.
    jain: f64,
    /// What both got, of the bottleneck, at the median.
    used: f64,
}

/// One of the two senders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    Engine,
    Linux,
}

/// Runs all pairs with all seeds.
pub(super) fn measure(arguments: &Arguments) -> anyhow::Result<Fairness> {
    let bottleneck = LinkSpec {
        rate_bits_per_second: Some(RATE_BIT_S),
        queue: Queue::Octets(BDP_OCTETS),
        ..rtt_ms(40)
    };
    let place = Place::new(arguments.build, &bottleneck, &arguments.congestion_control)?;
    let beside = start_beside(&place, &arguments.congestion_control)?;
    let mut outcomes = [const { [Vec::new(), Vec::new()] }; 2];
    for seed in arguments.seeds() {
        for (pair, outcomes) in PAIRS.iter().zip(&mut outcomes) {
            for (order, outcomes) in [[0, 1], [1, 0]].into_iter().zip(outcomes) {
                outcomes.push(together(&place, *pair, order, seed)?);
            }
        }
    }
    drop(beside);
    let [engine_beside_linux, linux_beside_linux] = outcomes.map(|roles| Shares::of(&roles));
    Ok(Fairness {
        seconds: TOGETHER.as_secs(),
        queue_octets: BDP_OCTETS,
        engine_beside_linux,
        linux_beside_linux,
    })
}

/// The Linux node on the engine's bridge.
fn start_beside(place: &Place, congestion_control: &str) -> anyhow::Result<Process> {
    let lab = &place.lab;
    let (client, node, server) = (lab.client(), lab.node(1), lab.server());
    let near = |own: &str, device: &str, network: &str| {
        format!(
            "addr add {own}/30 dev {device}\nroute change {network}/30 dev {device} src {own} \
             proto kernel scope link congctl {congestion_control}\n"
        )
    };
    client.ip(&near("10.98.0.1", lab.right_device(), "10.98.0.0"))?;
    node.ip(&near("10.98.0.2", "bridge", "10.98.0.0"))?;
    node.ip(&near("10.98.1.1", "bridge", "10.98.1.0"))?;
    server.ip(&near("10.98.1.2", lab.left_device(), "10.98.1.0"))?;
    let mut command = node.command(find_binary("synhop-node")?);
    command.args(["--listen", LINUX_NODE, "--allow-from", "10.98.0.0/30"]);
    command.args(["--trust", "10.98.0.0/30", "--allow-to", "10.98.1.0/30"]);
    let process = ProcessBuilder::new("synhop-node beside", command).start()?;
    process.wait_for_line("listening", START_BOUND)?;
    Ok(process)
}

/// Octets that each of a pair received; they start in this order.
fn together(
    place: &Place,
    pair: [Sender; 2],
    order: [usize; 2],
    seed: u64,
) -> anyhow::Result<[f64; 2]> {
    let mut flows = [None, None];
    for which in order {
        flows[which] = Some(start(place, pair[which])?);
        // The second comes upon a flow that is under way, at another moment with each seed.
        thread::sleep(Duration::from_millis(50 + 37 * (seed % 7)));
    }
    let mut octets = [0.0; 2];
    for (octets, flow) in octets.iter_mut().zip(flows) {
        let report = flow.context("both were started")?.wait()?;
        ensure!(report.received_intact, "damaged: {report:?}");
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let received = report.received_octets as f64;
        *octets = received;
    }
    Ok(octets)
}

fn start(place: &Place, sender: Sender) -> anyhow::Result<Transfer> {
    let (entry, server) = match sender {
        Sender::Engine => {
            let entry = place.chain.entry().context("there is a node")?;
            (
                entry,
                SocketAddr::from((place.lab.server_address(), synhop_lab::PEER_PORT)),
            )
        }
        Sender::Linux => {
            let server = ([10, 98, 1, 2], synhop_lab::PEER_PORT);
            (LINUX_NODE.parse()?, SocketAddr::from(server))
        }
    };
    let spec = TransferSpec {
        plan: Plan {
            receive: u64::MAX,
            leave_after: Some(TOGETHER),
            ..Plan::default()
        },
        via: Via::Synhop(entry),
        bound: 2 * TOGETHER,
    };
    Ok(place.lab.start_transfer(server, &spec)?)
}

impl Shares {
    fn of([first, second]: &[Vec<[f64; 2]>; 2]) -> Self {
        let shares = |runs: &[[f64; 2]]| -> Vec<f64> {
            runs.iter().map(|[one, two]| one / (one + two)).collect()
        };
        let (first_shares, second_shares) = (shares(first), shares(second));
        let (first_median, second_median) =
            (median(first_shares.clone()), median(second_shares.clone()));
        let share = f64::midpoint(first_median, second_median);
        let sums = first.iter().chain(second).map(|[one, two]| one + two);
        Self {
            first: first_shares,
            first_median,
            second: second_shares,
            second_median,
            share,
            // (x + y)^2 / (2 (x^2 + y^2)) with x + y = 1.
            jain: 0.5 / (share * share + (1.0 - share) * (1.0 - share)),
            used: median(sums.collect()) / (TOGETHER.as_secs_f64() * RATE_OCTETS_S),
        }
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => figures[odd / 2],
        even => f64::midpoint(figures[even / 2 - 1], figures[even / 2]),
    }
}

impl fmt::Display for Fairness {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "Two flows at once, {} s, {} Mbit/s, RTT 40 ms, a queue of {} octets",
            self.seconds,
            RATE_BIT_S / 1_000_000,
            self.queue_octets
        )?;
        let list = |shares: &[f64]| -> String {
            let words: Vec<_> = shares.iter().map(|share| format!("{share:.2}")).collect();
            words.join(" ")
        };
        for (name, shares) in [
            ("The engine's share beside Linux", &self.engine_beside_linux),
            ("Linux's share beside Linux", &self.linux_beside_linux),
        ] {
            writeln!(
                out,
                "  {name}: {:.2} (Jain {:.3}), {:.0} % of the rate used\n    \
                 starting first {:.2}: {}\n    starting second {:.2}: {}",
                shares.share,
                shares.jain,
                shares.used * 100.0,
                shares.first_median,
                list(&shares.first),
                shares.second_median,
                list(&shares.second),
            )?;
        }
        Ok(())
    }
}

const PAIRS: [[Sender; 2]; 2] = [
    [Sender::Engine, Sender::Linux],
    [Sender::Linux, Sender::Linux],
];
const RATE_BIT_S: u64 = 50_000_000;
const RATE_OCTETS_S: f64 = 6_250_000.0;
const TOGETHER: Duration = Duration::from_secs(10);
const LINUX_NODE: &str = "10.98.0.2:4460";
const START_BOUND: Duration = Duration::from_secs(20);
