//! One flow, or several, through relays over veth: both builds of the node beside haproxy and socat.
//!
//! ```text
//!  client ──veth── node 1 ──veth── ... ──veth── server
//! ```
//!
//! The node with its own TCP stands behind a TAP device, which a bridge joins to the links: so the
//! node on Linux takes its turn on both ways (`line`).
//!
//! No emulated link is in the way: what is measured is the relays' work on the machine's
//! processors, so only figures of one run can be compared, as ratios. Machines change their pace
//! from minute to minute, so all relays take a turn in each round, and the ratios are of one round.

mod groups;
mod line;
mod profile;
mod relay;
mod report;
mod spread;

use super::Machine;
use crate::wakeful::Idle;
use anyhow::Context;
use relay::{Direction, Load, PORT, Relay, wait_for_listener};
use report::{Judgement, Outcome, Saved};
use std::path::Path;
use std::time::Duration;
use synhop_lab::{Lab, Process, ProcessBuilder};

/// How long, and through how many.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=600))]
    seconds: u16,
    /// Measurements of each relay, in turns.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Relays between client and server, all of one kind.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=8))]
    nodes: u8,
    /// Flows at once.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    flows: u8,
    /// Where the octets go: a download is from server to client.
    #[arg(long, value_enum, default_value_t)]
    direction: Direction,
    /// Only these relays, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "RELAY")]
    relays: Vec<Relay>,
    /// Afterwards show where the hosted engine's time goes (needs perf).
    #[arg(long)]
    profile: bool,
}

/// Measures, prints and saves.
pub(super) fn run(arguments: &Arguments, out: &Path, idle: Idle) -> anyhow::Result<()> {
    let machine = Machine::this(idle);
    let lab = Lab::builder().nodes(arguments.nodes.into()).build()?;
    line::join(&lab)?;
    let mut server = lab.server().command("iperf3");
    server.args(["--server", "--port", &PORT.to_string()]);
    let _server = ProcessBuilder::new("iperf3 server", server).start()?;
    wait_for_listener(lab.server(), PORT)?;

    let results = Outcome::all(&measure_all(&lab, arguments)?);
    let judgement = Judgement::of(&results);
    println!(
        "{} over veth, {}; relays in a row: {}; {} rounds of {} s each: median (lowest–highest); \
         load {} on {} processors",
        match arguments.flows {
            1 => "One flow".to_owned(),
            flows => format!("{flows} flows at once"),
        },
        arguments.direction,
        arguments.nodes,
        arguments.rounds,
        arguments.seconds,
        machine.load,
        machine.processors,
    );
    println!("{}", report::table(&results));
    if let Some(judgement) = &judgement {
        println!("{judgement}");
    }
    println!("Set up as:");
    for outcome in &results {
        println!("  {}: {}", outcome.relay, outcome.setup);
    }
    let profile = if arguments.profile {
        profile::take(&lab, arguments.load())?
    } else {
        None
    };
    let saved = Saved {
        machine,
        nodes: arguments.nodes,
        flows: arguments.flows,
        direction: arguments.direction,
        seconds: arguments.seconds,
        results,
        judgement,
        profile,
    };
    super::save(out, &arguments.file_name(), &saved)
}

impl Arguments {
    const fn load(&self) -> Load {
        Load {
            direction: self.direction,
            flows: self.flows,
            seconds: self.seconds,
        }
    }

    fn wants(&self, relay: Relay) -> bool {
        self.relays.is_empty() || self.relays.contains(&relay)
    }

    /// Different measurements do not overwrite each other.
    fn file_name(&self) -> String {
        let nodes = (self.nodes > 1).then(|| format!("-{}-nodes", self.nodes));
        let flows = (self.flows > 1).then(|| format!("-{}-flows", self.flows));
        let direction = match self.direction {
            Direction::Download => "",
            Direction::Upload => "-upload",
        };
        let [nodes, flows] = [nodes, flows].map(Option::unwrap_or_default);
        format!("throughput{nodes}{flows}{direction}.json")
    }
}

/// Gbit/s by round of each relay that was asked for, or why there are none.
fn measure_all(lab: &Lab, arguments: &Arguments) -> anyhow::Result<Vec<(Relay, Figures)>> {
    let asked = Relay::ALL.into_iter().filter(|it| arguments.wants(*it));
    let mut all: Vec<(Relay, Figures)> = asked
        .map(|relay| (relay, relay.missing().map_or(Ok(Vec::new()), Err)))
        .collect();
    let rounds = usize::from(arguments.rounds);
    let progress = super::progress(rounds * all.len())?;
    for round in 0..rounds {
        for turn in 0..all.len() {
            // Nobody always comes after the same other one.
            let place = (turn + round) % all.len();
            let (relay, figures) = &mut all[place];
            progress.set_message(relay.name());
            if let Ok(figures) = figures {
                figures.push(measure(lab, *relay, arguments.load())?);
            }
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    Ok(all)
}

fn measure(lab: &Lab, relay: Relay, load: Load) -> anyhow::Result<f64> {
    let mut processes = relay.start(lab)?;
    let mut client = ProcessBuilder::new("iperf3", relay.client(lab, load)?).start()?;
    let gbit_s = finish(&mut client, relay, load)?;
    for process in &mut processes {
        process.stop(STOP_BOUND)?;
    }
    Ok(gbit_s)
}

/// Waits for the client's end, and reads Gbit/s from what it says.
fn finish(client: &mut Process, relay: Relay, load: Load) -> anyhow::Result<f64> {
    client.wait(Duration::from_secs(load.seconds.into()) + CLIENT_BOUND)?;
    let report: serde_json::Value =
        serde_json::from_str(&client.lines().join("\n")).unwrap_or_default();
    let bits = report["end"]["sum_received"]["bits_per_second"].as_f64();
    let said = || format!("iperf3 through {}: {}", relay.name(), client.failure());
    Ok(bits.with_context(said)? / 1e9)
}

/// One for each round, or why there are none.
type Figures = Result<Vec<f64>, String>;

const STOP_BOUND: Duration = Duration::from_secs(5);
const CLIENT_BOUND: Duration = Duration::from_secs(30);
