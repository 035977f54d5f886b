//! First and last octet against what the arithmetic allows.

use super::{Machine, Verdict};
use crate::rig::{Fetched, Rig, RigSpec};
use crate::wakeful::Idle;
use anyhow::Context;
use serde::Serialize;
use std::path::Path as Folder;
use std::time::Duration;
use synhop_lab::Build;
use synhop_lab::model::{Handshakes, Path};
use synhop_lab::plot::path_name;
use synhop_lab::stats::{Summary, SummaryMs, millis};
use synhop_lab::table::{Align, Table};

/// How often.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Fetches of each size over each path.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Congestion control of all hosts.
    #[arg(long, default_value = crate::rig::CONGESTION_CONTROL, value_name = "NAME")]
    congestion_control: String,
    /// The nodes' builds, from the client on: linux, hosted, hosted-offload or unikernel.
    #[arg(long, value_delimiter = ',', value_name = "BUILD")]
    builds: Vec<Build>,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            runs: 20,
            congestion_control: crate::rig::CONGESTION_CONTROL.to_owned(),
            builds: Vec::new(),
        }
    }
}

/// A figure that is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    /// The first octet of 10 KB, within 2 ms of what the delays alone make it.
    FirstOf10,
    /// The last octet of 25 KB, within 3 ms of two rounds by the delays alone.
    LastOf25,
    /// The last octet of 500 KB, within 4 % of the rounds and the serialisation.
    LastOf500,
}

impl Goal {
    const ALL: [Self; 3] = [Self::FirstOf10, Self::LastOf25, Self::LastOf500];

    const fn body_octets(self) -> u64 {
        match self {
            Self::FirstOf10 => 10 * 1024,
            Self::LastOf25 => 25 * 1024,
            Self::LastOf500 => 500 * 1024,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::FirstOf10 => "10 KB, first octet",
            Self::LastOf25 => "25 KB, complete",
            Self::LastOf500 => "500 KB, complete",
        }
    }

    fn by_capture(self, fetched: &Fetched) -> Duration {
        match self {
            Self::FirstOf10 => fetched.wire.first_octet,
            Self::LastOf25 | Self::LastOf500 => fetched.wire.last_octet,
        }
    }

    fn by_curl(self, fetched: &Fetched) -> Duration {
        match self {
            Self::FirstOf10 => fetched.curl_first,
            Self::LastOf25 | Self::LastOf500 => fetched.curl_last,
        }
    }

    /// What the median should be, and how far it may be from that.
    fn target(self, path: &Path, header_octets: u64) -> (Duration, Duration) {
        let first = path.first_octet(Handshakes::Parallel);
        match self {
            Self::FirstOf10 => (first, Duration::from_millis(2)),
            // Two rounds: one more round trip of the longest leg.
            Self::LastOf25 => (first + path.longest_leg(), Duration::from_millis(3)),
            Self::LastOf500 => {
                let reply = self.body_octets() + header_octets;
                let last = path.predict(Handshakes::Parallel, reply).last_octet;
                (last, last / 25)
            }
        }
    }
}

#[derive(Debug, Serialize)]
struct Judged {
    figure: &'static str,
    nodes: u8,
    capture_ms: SummaryMs,
    curl_ms: SummaryMs,
    target_ms: f64,
    allowed_ms: f64,
    #[serde(flatten)]
    verdict: Verdict,
}

#[derive(Debug, Serialize)]
struct Saved {
    machine: Machine,
    rtt_ms: f64,
    rate_bit_s: u64,
    congestion_control: String,
    results: Vec<Judged>,
}

/// Measures, prints and saves.
pub(super) fn run(arguments: &Arguments, out: &Folder, idle: Idle) -> anyhow::Result<()> {
    let spec = RigSpec {
        rtt: RTT,
        rate_bit_s: RATE_BIT_S,
        congestion_control: arguments.congestion_control.clone(),
        builds: arguments.builds.clone(),
        sizes: Goal::ALL.map(Goal::body_octets).to_vec(),
    };
    let mut machine = Machine::this(idle);
    let runs = usize::from(arguments.runs);
    let progress = super::progress(usize::from(MOST_NODES + 1) * Goal::ALL.len() * runs)?;
    let mut results = Vec::new();
    for nodes in 0..=MOST_NODES {
        let path = Path::even(spec.rtt, nodes, spec.rate_bit_s).context("a rate of 0")?;
        let mut rig = Rig::new(&spec, nodes)?;
        for goal in Goal::ALL {
            progress.set_message(format!("{}: {}", path_name(nodes), goal.name()));
            let mut fetches = Vec::with_capacity(runs);
            for _ in 0..runs {
                fetches.push(rig.fetch(goal.body_octets())?);
                progress.inc(1);
            }
            results.push(judge(goal, nodes, &path, &fetches).context("nothing was fetched")?);
        }
        machine.add_links(&rig.links());
    }
    progress.finish_and_clear();
    results.sort_by_key(|judged| {
        Goal::ALL
            .iter()
            .position(|goal| goal.name() == judged.figure)
    });
    println!(
        "Medians of {runs} fetches: RTT {:.0} ms, {} Mbit/s, {}",
        millis(spec.rtt),
        spec.rate_bit_s / 1_000_000,
        spec.congestion_control,
    );
    println!("{}", table(&results));
    machine.print();
    let saved = Saved {
        machine,
        rtt_ms: millis(spec.rtt),
        rate_bit_s: spec.rate_bit_s,
        congestion_control: spec.congestion_control,
        results,
    };
    super::save(out, "ttfb.json", &saved)
}

fn judge(goal: Goal, nodes: u8, path: &Path, fetches: &[Fetched]) -> Option<Judged> {
    let times = |get: fn(Goal, &Fetched) -> Duration| {
        fetches
            .iter()
            .map(|fetched| get(goal, fetched))
            .collect::<Vec<_>>()
    };
    let capture = Summary::of(&times(Goal::by_capture))?;
    let (target, allowed) = goal.target(path, fetches.first()?.header_octets);
    Some(Judged {
        figure: goal.name(),
        nodes,
        capture_ms: capture.into(),
        curl_ms: Summary::of(&times(Goal::by_curl))?.into(),
        target_ms: millis(target),
        allowed_ms: millis(allowed),
        verdict: Verdict::of(capture.median.abs_diff(target), allowed),
    })
}

fn table(results: &[Judged]) -> Table {
    let mut table = Table::new(&[
        ("figure", Align::Left),
        ("path", Align::Left),
        ("capture, ms", Align::Right),
        ("curl, ms", Align::Right),
        ("target, ms", Align::Right),
        ("off by", Align::Right),
        ("allowed", Align::Right),
        ("verdict", Align::Left),
    ]);
    for group in results.chunk_by(|a, b| a.figure == b.figure) {
        table.group();
        for judged in group {
            table.row(vec![
                judged.figure.to_owned(),
                path_name(judged.nodes),
                format!("{:.2}", judged.capture_ms.median),
                format!("{:.2}", judged.curl_ms.median),
                format!("{:.2}", judged.target_ms),
                format!("{:+.2}", judged.capture_ms.median - judged.target_ms),
                format!("{:.2}", judged.allowed_ms),
                judged.verdict.to_string(),
            ]);
        }
    }
    table
}

const RTT: Duration = Duration::from_millis(100);
const RATE_BIT_S: u64 = 100_000_000;
const MOST_NODES: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn target_ms(goal: Goal, nodes: u8) -> f64 {
        let path = Path::even(RTT, nodes, RATE_BIT_S).expect("a rate");
        millis(goal.target(&path, 256).0)
    }

    #[test]
    fn targets_are_those_of_the_acceptance() {
        for (nodes, first, last) in [
            (0, 200.0, 300.0),
            (1, 150.0, 200.0),
            (2, 133.33, 166.67),
            (3, 125.0, 150.0),
        ] {
            assert!((target_ms(Goal::FirstOf10, nodes) - first).abs() < 0.01);
            assert!((target_ms(Goal::LastOf25, nodes) - last).abs() < 0.01);
        }
        assert!((target_ms(Goal::LastOf500, 3) - 255.7).abs() < 0.2);
    }
}
