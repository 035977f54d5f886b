//! Where the hosted engine's time goes: its stacks as perf samples them, sorted into groups.

use super::groups::Group;
use super::relay::{Load, Relay};
use super::{STOP_BOUND, finish};
use anyhow::{Context, ensure};
use serde::Serialize;
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use synhop_lab::table::{Align, Table};
use synhop_lab::{Lab, ProcessBuilder};

/// What became of one run.
#[derive(Debug, Serialize)]
pub(super) struct Profile {
    /// While perf watched.
    gbit_s: f64,
    samples: usize,
    /// Of one processor: the rest is idle, or another's turn.
    busy_percent: f64,
    groups: Vec<Share>,
}

#[derive(Debug, Serialize)]
struct Share {
    group: &'static str,
    of: &'static str,
    /// Of the samples.
    percent: f64,
    /// The functions most often met there.
    most: Vec<String>,
}

/// Runs the load once more, through the hosted engine with perf at its side. `None`, and a line for
/// people, where that cannot be.
pub(super) fn take(lab: &Lab, load: Load) -> anyhow::Result<Option<Profile>> {
    let can = Command::new("perf").arg("version").output();
    if !can.is_ok_and(|output| output.status.success()) {
        println!("No profile: perf is not installed (Debian's package linux-perf).");
        return Ok(None);
    }
    if let Some(missing) = Relay::Hosted.missing() {
        println!("No profile: {} is {missing}.", Relay::Hosted.name());
        return Ok(None);
    }
    let data = lab.directory().join("perf.data");
    let mut processes = Relay::Hosted.start(lab)?;
    let node = processes.first().context("a lab without nodes")?.id();
    let mut client = ProcessBuilder::new("iperf3", Relay::Hosted.client(lab, load)?).start()?;
    let began = (Instant::now(), processor_time(node)?);
    // As long as the flow, less than what it needs to begin.
    let watched = load.seconds.saturating_sub(1).max(1).to_string();
    let mut perf = Command::new("perf");
    perf.args(["record", "-q", "-e", "cpu-clock", "-F", FREQUENCY, "-g"]);
    perf.args(["-p", &node.to_string(), "-o"]).arg(&data);
    perf.args(["--", "sleep", &watched]);
    let mut perf = ProcessBuilder::new("perf record", perf).start()?;
    let status = perf.wait(Duration::from_secs(load.seconds.into()) + PERF_BOUND)?;
    let (wall, used) = (began.0.elapsed(), processor_time(node)?);
    let gbit_s = finish(&mut client, Relay::Hosted, load)?;
    for process in &mut processes {
        process.stop(STOP_BOUND)?;
    }
    if !status.success() {
        println!("No profile: {}", perf.failure());
        return Ok(None);
    }
    let stacks = stacks(&data)?;
    ensure!(!stacks.is_empty(), "perf saw nothing of the hosted engine");
    let used = used.saturating_sub(began.1);
    let profile = Profile {
        gbit_s,
        samples: stacks.len(),
        busy_percent: percent(used.as_secs_f64(), wall.as_secs_f64()),
        groups: shares(&stacks),
    };
    println!("{profile}");
    Ok(Some(profile))
}

/// User and system time of a process so far.
fn processor_time(process: u32) -> anyhow::Result<Duration> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).context("read its times")?;
    // Behind the name in brackets: state is field 3, utime 14, stime 15.
    let fields = text.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at - 3).and_then(|it| it.parse::<u64>().ok());
    let (user, system) = ticks(14).zip(ticks(15)).context("read its times")?;
    Ok(Duration::from_millis((user + system) * MILLIS_OF_A_TICK))
}

/// Each sample's functions, the innermost first.
fn stacks(data: &Path) -> anyhow::Result<Vec<Vec<String>>> {
    let mut command = Command::new("perf");
    command.args(["script", "-F", "ip,sym", "-i"]).arg(data);
    let output = command.output().context("start perf script")?;
    ensure!(output.status.success(), "perf script failed");
    Ok(split(&String::from_utf8_lossy(&output.stdout)))
}

/// Samples are paragraphs; a line of one is an address and a function.
fn split(text: &str) -> Vec<Vec<String>> {
    let function = |line: &str| {
        let (_address, function) = line.trim().split_once(' ')?;
        Some(function.trim().to_owned())
    };
    text.split("\n\n")
        .map(|sample| sample.lines().filter_map(function).collect())
        .filter(|stack: &Vec<String>| !stack.is_empty())
        .collect()
}

fn shares(stacks: &[Vec<String>]) -> Vec<Share> {
    Group::ALL
        .into_iter()
        .map(|group| {
            let own = stacks.iter().filter(|stack| Group::of(stack) == group);
            let leaves: Vec<&str> = own
                .filter_map(|stack| stack.first())
                .map(String::as_str)
                .collect();
            Share {
                group: group.name(),
                of: group.side(),
                percent: percent(count(leaves.len()), count(stacks.len())),
                most: most(leaves),
            }
        })
        .collect()
}

/// The most frequent, with their parts of the whole list.
fn most(mut leaves: Vec<&str>) -> Vec<String> {
    let all = count(leaves.len());
    leaves.sort_unstable();
    let mut runs: Vec<(usize, &str)> = leaves
        .chunk_by(|one, next| one == next)
        .filter_map(|run| Some((run.len(), *run.first()?)))
        .collect();
    runs.sort_unstable_by(|one, other| other.cmp(one));
    runs.into_iter()
        .take(MOST)
        .map(|(times, name)| {
            // Of a path of Rust's the last name says enough.
            let name = name.rsplit("::").next().unwrap_or(name);
            format!("{name} {:.0} %", percent(count(times), all))
        })
        .collect()
}

fn percent(part: f64, whole: f64) -> f64 {
    if whole > 0.0 {
        100.0 * part / whole
    } else {
        0.0
    }
}

#[expect(clippy::cast_precision_loss, reason = "numbers of samples")]
const fn count(number: usize) -> f64 {
    number as f64
}

impl fmt::Display for Profile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "Where the hosted engine's time goes: {:.1} Gbit/s meanwhile, {} samples, {:.0} % of one \
             processor",
            self.gbit_s, self.samples, self.busy_percent
        )?;
        let mut table = Table::new(&[
            ("in", Align::Left),
            ("for", Align::Left),
            ("%", Align::Right),
            ("mostly", Align::Left),
        ]);
        for share in self.groups.iter().filter(|share| share.percent > 0.0) {
            table.row(vec![
                share.of.to_owned(),
                share.group.to_owned(),
                format!("{:.1}", share.percent),
                share.most.join(", "),
            ]);
        }
        write!(out, "{table}")
    }
}

/// Samples in a second, off the kernel's own beat.
const FREQUENCY: &str = "1999";
/// Linux counts in hundredths of a second for all its users (`USER_HZ`).
const MILLIS_OF_A_TICK: u64 = 10;
const PERF_BOUND: Duration = Duration::from_secs(30);
/// Functions that are named of each group.
const MOST: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_are_stacks() {
        let text = "\tffffffff81b6ac04 _copy_to_iter\n\t  3d259 synhop_hosted::main\n\n\n  \
                    f6233 malloc\n";
        let expected = [vec!["_copy_to_iter", "synhop_hosted::main"], vec!["malloc"]];
        assert_eq!(split(text), expected);
    }

    #[test]
    fn the_most_frequent_come_first() {
        assert_eq!(
            most(vec!["a::b", "a", "a::b", "a::b"]),
            ["b 75 %", "a 25 %"]
        );
    }
}
