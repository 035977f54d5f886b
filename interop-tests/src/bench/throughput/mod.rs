//! One flow through relays over veth: synhop-node beside haproxy and socat.
//!
//! ```text
//!  client ──veth── node 1 ──veth── ... ──veth── server
//! ```
//!
//! No emulated link is in the way: what is measured is the relays' work on the machine's
//! processors, so only figures of one run can be compared, as ratios. Machines change their pace
//! from minute to minute, so all relays take a turn in each round, and the ratios are of one round.

mod line;
mod relay;
mod spread;

use super::Machine;
use crate::wakeful::Idle;
use anyhow::Context;
use relay::{PORT, Relay, Setup, wait_for_listener};
use serde::Serialize;
use spread::Spread;
use std::path::Path;
use std::time::Duration;
use synhop_lab::table::{Align, Table};
use synhop_lab::{Lab, ProcessBuilder};

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
}

#[derive(Debug, Serialize)]
struct Outcome {
    relay: &'static str,
    setup: Setup,
    /// One for each round; none if its program is not installed.
    gbit_s: Vec<f64>,
    gbit_s_spread: Option<Spread>,
    of_routed: Option<Spread>,
    of_haproxy_splice: Option<Spread>,
}

#[derive(Debug, Serialize)]
struct Saved {
    machine: Machine,
    nodes: u8,
    seconds: u16,
    results: Vec<Outcome>,
}

/// Measures, prints and saves.
pub(super) fn run(arguments: &Arguments, out: &Path, idle: Idle) -> anyhow::Result<()> {
    let machine = Machine::this(idle);
    let figures = measure_all(arguments)?;
    let of = |relay: Relay| {
        let place = Relay::ALL.iter().position(|it| *it == relay);
        place.map_or(&[][..], |place| &figures[place])
    };
    let results: Vec<Outcome> = Relay::ALL
        .into_iter()
        .map(|relay| Outcome {
            relay: relay.name(),
            setup: relay.setup(),
            gbit_s: of(relay).to_vec(),
            gbit_s_spread: Spread::of(of(relay)),
            of_routed: Spread::of_ratios(of(relay), of(Relay::None)),
            of_haproxy_splice: Spread::of_ratios(of(relay), of(Relay::HaproxySplice)),
        })
        .collect();
    let Arguments {
        seconds,
        rounds,
        nodes,
    } = *arguments;
    println!(
        "One flow over veth; relays in a row: {nodes}; {rounds} rounds of {seconds} s each: median \
         (lowest–highest); load {} on {} processors",
        machine.load, machine.processors,
    );
    println!("{}", table(&results));
    println!("Set up as:");
    for outcome in &results {
        println!("  {}: {}", outcome.relay, outcome.setup);
    }
    let saved = Saved {
        machine,
        nodes,
        seconds,
        results,
    };
    let name = match nodes {
        1 => "throughput.json".to_owned(),
        _ => format!("throughput-{nodes}-nodes.json"),
    };
    super::save(out, &name, &saved)
}

/// Gbit/s by relay and round.
fn measure_all(arguments: &Arguments) -> anyhow::Result<[Vec<f64>; Relay::ALL.len()]> {
    let lab = Lab::builder().nodes(arguments.nodes.into()).build()?;
    line::join(&lab)?;
    let mut server = lab.server().command("iperf3");
    server.args(["--server", "--port", &PORT.to_string()]);
    let _server = ProcessBuilder::new("iperf3 server", server).start()?;
    wait_for_listener(lab.server(), PORT)?;
    let rounds = usize::from(arguments.rounds);
    let progress = super::progress(rounds * Relay::ALL.len())?;
    let mut figures = [const { Vec::new() }; Relay::ALL.len()];
    for round in 0..rounds {
        for turn in 0..Relay::ALL.len() {
            // Nobody always comes after the same other one.
            let place = (turn + round) % Relay::ALL.len();
            let relay = Relay::ALL[place];
            progress.set_message(relay.name());
            if relay.is_installed() {
                figures[place].push(measure(&lab, relay, arguments.seconds)?);
            }
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    Ok(figures)
}

fn measure(lab: &Lab, relay: Relay, seconds: u16) -> anyhow::Result<f64> {
    let mut processes = relay.start(lab)?;
    let mut client = ProcessBuilder::new("iperf3", relay.client(lab, seconds)?).start()?;
    client.wait(Duration::from_secs(u64::from(seconds)) + CLIENT_BOUND)?;
    let report: serde_json::Value =
        serde_json::from_str(&client.lines().join("\n")).unwrap_or_default();
    let bits = report["end"]["sum_received"]["bits_per_second"].as_f64();
    for process in &mut processes {
        process.stop(STOP_BOUND)?;
    }
    let said = || format!("iperf3 through {}: {}", relay.name(), client.failure());
    Ok(bits.with_context(said)? / 1e9)
}

fn table(results: &[Outcome]) -> Table {
    let mut table = Table::new(&[
        ("relay", Align::Left),
        ("Gbit/s", Align::Right),
        ("of routed", Align::Right),
        ("of haproxy, splice", Align::Right),
    ]);
    let text = |spread: Option<Spread>, digits| spread.map(|spread| spread.text(digits));
    for outcome in results {
        table.row(vec![
            outcome.relay.to_owned(),
            text(outcome.gbit_s_spread, 1).unwrap_or_else(|| "not installed".to_owned()),
            text(outcome.of_routed, 2).unwrap_or_default(),
            text(outcome.of_haproxy_splice, 2).unwrap_or_default(),
        ]);
    }
    table
}

const STOP_BOUND: Duration = Duration::from_secs(5);
const CLIENT_BOUND: Duration = Duration::from_secs(30);
