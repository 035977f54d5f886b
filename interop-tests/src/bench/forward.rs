//! What a node adds: from the arrival of a SYN to its onward SYN, by captures at both interfaces.

use super::{Machine, Verdict};
use crate::rig::{Rig, RigSpec};
use crate::wakeful::Idle;
use anyhow::Context;
use serde::Serialize;
use std::path::Path;
use std::time::Duration;
use synhop_lab::Build;
use synhop_lab::stats::{Summary, SummaryMs, millis};
use synhop_lab::table::{Align, Table};

/// How often.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Fetches through the chain, one after the other.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// The three nodes' builds, from the client on: linux, hosted, hosted-offload or unikernel.
    #[arg(long, value_delimiter = ',', value_name = "BUILD")]
    builds: Vec<Build>,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            runs: 200,
            builds: Vec::new(),
        }
    }
}

#[derive(Debug, Serialize)]
struct Position {
    node: u8,
    forwarding_ms: SummaryMs,
    median: Verdict,
    p99: Verdict,
}

#[derive(Debug, Serialize)]
struct Saved {
    machine: Machine,
    median_bound_ms: f64,
    p99_bound_ms: f64,
    results: Vec<Position>,
}

/// Measures, prints and saves.
pub(super) fn run(arguments: &Arguments, out: &Path, idle: Idle) -> anyhow::Result<()> {
    let spec = RigSpec {
        rtt: RTT,
        rate_bit_s: RATE_BIT_S,
        congestion_control: crate::rig::CONGESTION_CONTROL.to_owned(),
        builds: arguments.builds.clone(),
        sizes: vec![BODY_OCTETS],
    };
    let mut machine = Machine::this(idle);
    let mut rig = Rig::new(&spec, NODES)?;
    let progress = super::progress(arguments.runs.into())?;
    let mut times = vec![Vec::new(); usize::from(NODES)];
    for _ in 0..arguments.runs {
        let fetched = rig.fetch(BODY_OCTETS)?;
        for (position, time) in times.iter_mut().zip(&fetched.forwarding) {
            position.push(*time);
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    machine.add_links(&rig.links());
    let summaries = times.iter().map(|times| Summary::of(times));
    let summaries: Vec<Summary> = summaries
        .collect::<Option<_>>()
        .context("the captures lack the nodes' SYNs")?;
    let results: Vec<Position> = (1..).zip(summaries).map(judge).collect();
    println!(
        "From a SYN's arrival at a node to its onward SYN, {} fetches through {NODES} nodes",
        arguments.runs,
    );
    println!("{}", table(&results));
    machine.print();
    let saved = Saved {
        machine,
        median_bound_ms: millis(MEDIAN_BOUND),
        p99_bound_ms: millis(P99_BOUND),
        results,
    };
    super::save(out, "forward.json", &saved)
}

fn judge((node, summary): (u8, Summary)) -> Position {
    Position {
        node,
        forwarding_ms: summary.into(),
        median: Verdict::of(summary.median, MEDIAN_BOUND),
        p99: Verdict::of(summary.p99, P99_BOUND),
    }
}

fn table(results: &[Position]) -> Table {
    let mut table = Table::new(&[
        ("node", Align::Right),
        ("fetches", Align::Right),
        ("median, us", Align::Right),
        ("p99, us", Align::Right),
        ("max, us", Align::Right),
        ("median < 200 us", Align::Left),
        ("p99 < 1000 us", Align::Left),
    ]);
    for position in results {
        let SummaryMs {
            count,
            median,
            p99,
            max,
            ..
        } = position.forwarding_ms;
        let us = |ms: f64| format!("{:.0}", ms * 1e3);
        table.row(vec![
            position.node.to_string(),
            count.to_string(),
            us(median),
            us(p99),
            us(max),
            position.median.to_string(),
            position.p99.to_string(),
        ]);
    }
    table
}

/// Short, as the nodes' work does not depend on it.
const RTT: Duration = Duration::from_millis(20);
const RATE_BIT_S: u64 = 100_000_000;
const NODES: u8 = 3;
const BODY_OCTETS: u64 = 10 * 1024;
const MEDIAN_BOUND: Duration = Duration::from_micros(200);
const P99_BOUND: Duration = Duration::from_millis(1);
