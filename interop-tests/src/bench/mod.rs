//! `synhop-lab bench`: figures against the bounds that the project has set itself.

mod engine;
mod forward;
mod throughput;
mod ttfb;

use crate::rig::BUSY;
use crate::wakeful::{Idle, Wakeful};
use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;
use synhop_lab::DirectionStats;
use synhop_lab::stats::millis;

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where to put the figures.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = "bench-output"
    )]
    out: PathBuf,
    /// What idle processors do meanwhile: asleep, they take long to wake.
    #[arg(long, global = true, value_enum, default_value_t)]
    processors: Idle,
    #[command(subcommand)]
    bench: Option<Bench>,
}

/// One of the measurements; all of them, one after the other, when none is named.
#[derive(Debug, clap::Subcommand)]
enum Bench {
    /// First and last octet at an RTT of 100 ms, directly and through 1 to 3 nodes.
    Ttfb(ttfb::Arguments),
    /// The own TCP engine and Linux's in turns over the same bad links.
    Engine(engine::Arguments),
    /// How long each node takes from a SYN's arrival to its own onward SYN.
    Forward(forward::Arguments),
    /// One flow over veth through synhop-node, haproxy and socat, in turns (needs iperf3).
    Throughput(throughput::Arguments),
}

/// Runs it.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    synhop_lab::signals::clean_up_on_signals().context("listen for signals")?;
    let out = &arguments.out;
    let (_until_the_end, idle) = Wakeful::ask(arguments.processors);
    match &arguments.bench {
        Some(Bench::Ttfb(arguments)) => ttfb::run(arguments, out, idle),
        Some(Bench::Engine(arguments)) => engine::run(arguments, out, idle),
        Some(Bench::Forward(arguments)) => forward::run(arguments, out, idle),
        Some(Bench::Throughput(arguments)) => throughput::run(arguments, out, idle),
        None => {
            ttfb::run(&ttfb::Arguments::default(), out, idle)?;
            println!();
            forward::run(&forward::Arguments::default(), out, idle)
        }
    }
}

/// The machine that figures come from: they mean little without it.
#[derive(Clone, Debug, Serialize)]
struct Machine {
    kernel: String,
    processors: usize,
    idle: Idle,
    /// Runnable threads over the last minute when the measurement began.
    load: String,
    /// How late the emulated links delivered 99 % of their frames: what the machine had to spare.
    links_late_p99_ms: f64,
}

impl Machine {
    fn this(idle: Idle) -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self {
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            processors: thread::available_parallelism().map_or(1, usize::from),
            idle,
            load: read("/proc/loadavg")
                .split_whitespace()
                .next()
                .unwrap_or_default()
                .to_owned(),
            links_late_p99_ms: 0.0,
        }
    }

    /// Takes note of what a rig's links did.
    fn add_links(&mut self, links: &DirectionStats) {
        let late = millis(Duration::from_nanos(links.late_p99_ns));
        self.links_late_p99_ms = self.links_late_p99_ms.max(late);
    }

    fn print(&self) {
        println!(
            "Linux {}, {} processors ({} when idle), load {}; the links delivered 99 % of all frames at most \
             {:.2} ms late.",
            self.kernel, self.processors, self.idle, self.load, self.links_late_p99_ms,
        );
        if self.links_late_p99_ms > millis(BUSY) {
            println!("  That is much: this machine was busy, and the figures are worse for it.");
        }
    }
}

/// Whether a figure keeps a bound.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
enum Verdict {
    /// It does.
    Pass,
    /// It is beyond by so many milliseconds.
    Over {
        /// More than allowed.
        by_ms: f64,
    },
}

impl Verdict {
    /// Judges how far a figure is from what it should be.
    fn of(off: Duration, allowed: Duration) -> Self {
        match off.checked_sub(allowed) {
            None | Some(Duration::ZERO) => Self::Pass,
            Some(over) => Self::Over {
                by_ms: millis(over),
            },
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pass => out.write_str("PASS"),
            Self::Over { by_ms } => write!(out, "over by {by_ms:.2} ms"),
        }
    }
}

/// A bar on a terminal; nothing elsewhere.
fn progress(fetches: usize) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:32} {pos}/{len} fetches, {elapsed}  {msg}")?;
    Ok(ProgressBar::new(u64::try_from(fetches)?).with_style(style))
}

/// Saves a result as JSON and says where.
fn save(folder: &Path, name: &str, result: &impl Serialize) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    let path = folder.canonicalize()?.join(name);
    let text = serde_json::to_string_pretty(result)?;
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    println!("Saved: {}", path.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_itself_passes() {
        let ms = Duration::from_millis;
        assert_eq!(Verdict::of(ms(2), ms(2)), Verdict::Pass);
        assert_eq!(Verdict::of(ms(1), ms(2)), Verdict::Pass);
        assert_eq!(Verdict::of(ms(3), ms(2)).to_string(), "over by 1.00 ms");
    }
}
