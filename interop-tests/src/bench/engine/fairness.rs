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

/// The shares of the first of two flows, 0 to 1, seed by seed.
#[derive(Debug, Serialize)]
pub(super) struct Fairness {
    seconds: u64,
    queue_octets: u64,
    /// The engine's beside Linux; which of them starts first takes turns.
    engine_beside_linux: Shares,
    /// For comparison: the first one's of two Linux flows.
    linux_beside_linux: Shares,
    /// And of two of the engine's.
    engine_beside_engine: Shares,
}

#[derive(Debug, Serialize)]
struct Shares {
    each: Vec<f64>,
    median: f64,
    /// Jain's index of the median: 1 is even, 0.5 is one takes all.
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
    let mut outcomes = [const { Vec::new() }; 3];
    for seed in arguments.seeds() {
        for (pair, outcomes) in PAIRS.iter().zip(&mut outcomes) {
            outcomes.push(together(&place, *pair, seed)?);
        }
    }
    drop(beside);
    let [
        engine_beside_linux,
        linux_beside_linux,
        engine_beside_engine,
    ] = outcomes.map(|outcomes| Shares::of(&outcomes));
    Ok(Fairness {
        seconds: TOGETHER.as_secs(),
        queue_octets: BDP_OCTETS,
        engine_beside_linux,
        linux_beside_linux,
        engine_beside_engine,
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

/// Octets that each of a pair received.
fn together(place: &Place, pair: [Sender; 2], seed: u64) -> anyhow::Result<[f64; 2]> {
    let mut order = [0, 1];
    if seed.is_multiple_of(2) {
        order.reverse();
    }
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
    fn of(outcomes: &[[f64; 2]]) -> Self {
        let each: Vec<f64> = outcomes
            .iter()
            .map(|[one, two]| one / (one + two))
            .collect();
        let share = median(each.clone());
        let most =
            TOGETHER.as_secs_f64() * f64::from(u32::try_from(RATE_BIT_S / 8).unwrap_or(u32::MAX));
        Self {
            median: share,
            // (x + y)^2 / (2 (x^2 + y^2)) with x + y = 1.
            jain: 0.5 / (share * share + (1.0 - share) * (1.0 - share)),
            used: median(
                outcomes
                    .iter()
                    .map(|[one, two]| (one + two) / most)
                    .collect(),
            ),
            each,
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
            "Two flows at once, {} s, {} Mbit/s, RTT 40 ms, a queue of {} octets: the first one's share",
            self.seconds,
            RATE_BIT_S / 1_000_000,
            self.queue_octets
        )?;
        for (name, shares) in [
            ("engine beside Linux", &self.engine_beside_linux),
            ("Linux beside Linux", &self.linux_beside_linux),
            ("engine beside engine", &self.engine_beside_engine),
        ] {
            let each: Vec<String> = shares
                .each
                .iter()
                .map(|share| format!("{share:.2}"))
                .collect();
            writeln!(
                out,
                "  {name}: median {:.2} (Jain {:.3}), {:.0} % of the rate used; each {}",
                shares.median,
                shares.jain,
                shares.used * 100.0,
                each.join(" "),
            )?;
        }
        Ok(())
    }
}

const PAIRS: [[Sender; 2]; 3] = [
    [Sender::Engine, Sender::Linux],
    [Sender::Linux, Sender::Linux],
    [Sender::Engine, Sender::Engine],
];
const RATE_BIT_S: u64 = 50_000_000;
const TOGETHER: Duration = Duration::from_secs(10);
const LINUX_NODE: &str = "10.98.0.2:4460";
const START_BOUND: Duration = Duration::from_secs(20);
