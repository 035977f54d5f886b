//! The own TCP engine and Linux's take turns in the same place: seed by seed, the same bad link.

mod fairness;
mod place;
mod row;

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use synhop_lab::Build;
use synhop_lab::stats::{Summary, SummaryMs};
use synhop_lab::table::{Align, Table};

use self::fairness::Fairness;
use self::place::Place;
use self::row::{Row, rows};
use super::Machine;
use crate::wakeful::Idle;

/// What, and how often.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Seeds; each is run with both builds.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    first_seed: u64,
    /// Only these rows of the table of requirements.
    #[arg(long, value_delimiter = ',', value_name = "NUMBER")]
    rows: Vec<u8>,
    /// Only these: transfers one by one, or two at once over a bottleneck.
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Linux's congestion control; the engine's is CUBIC.
    #[arg(long, default_value = "cubic", value_name = "NAME")]
    congestion_control: String,
    /// The build with the engine: hosted, hosted-offload or unikernel.
    #[arg(long, default_value = "hosted-offload", value_name = "BUILD")]
    build: Build,
}

/// The two kinds of measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Transfers,
    Fairness,
}

impl Arguments {
    fn seeds(&self) -> impl Iterator<Item = u64> {
        self.first_seed..self.first_seed.saturating_add(self.seeds)
    }

    fn wants(&self, part: Part, number: u8) -> bool {
        let part = self.only.is_none_or(|only| only == part);
        part && (self.rows.is_empty() || self.rows.contains(&number))
    }
}

/// A row's outcome.
#[derive(Debug, Serialize)]
struct Compared {
    row: u8,
    name: &'static str,
    engine_ms: SummaryMs,
    linux_ms: SummaryMs,
    /// Of the medians.
    engine_of_linux: f64,
    bound: Option<f64>,
    verdict: Verdict,
    /// Seed by seed.
    engine_each_ms: Vec<f64>,
    linux_each_ms: Vec<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    Pass,
    Fail,
    /// There is no bound: all octets were right.
    Intact,
}

impl Verdict {
    fn of(ratio: f64, bound: Option<f64>) -> Self {
        match bound {
            None => Self::Intact,
            Some(bound) if ratio <= bound => Self::Pass,
            Some(_) => Self::Fail,
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::Intact => "intact",
        })
    }
}

#[derive(Debug, Serialize)]
struct Saved {
    machine: Machine,
    congestion_control: String,
    build: String,
    first_seed: u64,
    seeds: u64,
    results: Vec<Compared>,
    fairness: Option<Fairness>,
}

/// Measures, prints and saves.
pub(super) fn run(arguments: &Arguments, out: &Path, idle: Idle) -> anyhow::Result<()> {
    let mut machine = Machine::this(idle);
    let mut results = Vec::new();
    println!(
        "{:?} and Linux with {} in turns, {} seeds from {}",
        arguments.build, arguments.congestion_control, arguments.seeds, arguments.first_seed,
    );
    for row in rows()
        .iter()
        .filter(|row| arguments.wants(Part::Transfers, row.number))
    {
        let compared = compare(row, arguments, &mut machine);
        results.push(compared.with_context(|| format!("row {}: {}", row.number, row.name))?);
    }
    if !results.is_empty() {
        println!("{}", table(&results));
    }
    let fairness = arguments
        .wants(Part::Fairness, fairness::ROW)
        .then(|| fairness::measure(arguments))
        .transpose()?;
    if let Some(fairness) = &fairness {
        println!("{fairness}");
    }
    machine.print();
    let saved = Saved {
        machine,
        congestion_control: arguments.congestion_control.clone(),
        build: format!("{:?}", arguments.build),
        first_seed: arguments.first_seed,
        seeds: arguments.seeds,
        results,
        fairness,
    };
    super::save(out, "engine.json", &saved)
}

fn compare(row: &Row, arguments: &Arguments, machine: &mut Machine) -> anyhow::Result<Compared> {
    let place = |build| Place::new(build, &row.link, &arguments.congestion_control);
    let places = [place(arguments.build)?, place(Build::Linux)?];
    let mut times = [Vec::new(), Vec::new()];
    for seed in arguments.seeds() {
        // Nobody always comes after the other.
        let order = if seed.is_multiple_of(2) {
            [0, 1]
        } else {
            [1, 0]
        };
        for which in order {
            let measured = places[which].measure(row, seed);
            times[which].extend(measured.with_context(|| format!("seed {seed}"))?);
        }
    }
    for place in &places {
        machine.add_links(&place.links());
    }
    let [engine, linux] = &times;
    judge(row, engine, linux).context("there are no seeds")
}

fn judge(row: &Row, engine: &[Duration], linux: &[Duration]) -> Option<Compared> {
    let summary = |times: &[Duration]| Summary::of(times).map(SummaryMs::from);
    let (engine_ms, linux_ms) = (summary(engine)?, summary(linux)?);
    let each = |times: &[Duration]| times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
    let engine_of_linux = engine_ms.median / linux_ms.median;
    Some(Compared {
        row: row.number,
        name: row.name,
        engine_ms,
        linux_ms,
        engine_of_linux,
        bound: row.bound,
        verdict: Verdict::of(engine_of_linux, row.bound),
        engine_each_ms: each(engine),
        linux_each_ms: each(linux),
    })
}

fn table(results: &[Compared]) -> Table {
    let mut table = Table::new(&[
        ("row", Align::Right),
        ("transfer", Align::Left),
        ("runs", Align::Right),
        ("engine, ms", Align::Right),
        ("(min–max)", Align::Left),
        ("Linux, ms", Align::Right),
        ("(min–max)", Align::Left),
        ("ratio", Align::Right),
        ("bound", Align::Right),
        ("", Align::Left),
    ]);
    let range = |times: &SummaryMs| format!("({:.0}–{:.0})", times.min, times.max);
    for result in results {
        table.row(vec![
            result.row.to_string(),
            result.name.to_owned(),
            result.engine_ms.count.to_string(),
            format!("{:.1}", result.engine_ms.median),
            range(&result.engine_ms),
            format!("{:.1}", result.linux_ms.median),
            range(&result.linux_ms),
            format!("{:.3}", result.engine_of_linux),
            result
                .bound
                .map(|bound| bound.to_string())
                .unwrap_or_default(),
            result.verdict.to_string(),
        ]);
    }
    table
}
