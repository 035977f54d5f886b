//! One flow through one relay over veth: synhop-node beside haproxy and socat.
//!
//! ```text
//!  client ──veth── node 1 ──veth── server
//! ```
//!
//! No emulated link is in the way: what is measured is the relay's work on the machine's
//! processors, so only figures of one run can be compared, as ratios.

use super::Machine;
use anyhow::Context;
use serde::Serialize;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use synhop_lab::table::{Align, Table};
use synhop_lab::{Lab, LabError, Namespace, Process, ProcessBuilder, find_binary};

/// How long.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=600))]
    seconds: u16,
    /// Measurements of each relay, in turns; the best counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            seconds: 3,
            rounds: 3,
        }
    }
}

/// What stands in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relay {
    /// Nothing: the middle host routes.
    None,
    SynhopNode,
    /// haproxy in TCP mode, with splice.
    HaproxySplice,
    /// haproxy in TCP mode, copying.
    HaproxyCopy,
    Socat,
}

impl Relay {
    const ALL: [Self; 5] = [
        Self::None,
        Self::SynhopNode,
        Self::HaproxySplice,
        Self::HaproxyCopy,
        Self::Socat,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::None => "none (routed)",
            Self::SynhopNode => "synhop-node",
            Self::HaproxySplice => "haproxy, splice",
            Self::HaproxyCopy => "haproxy, copy",
            Self::Socat => "socat",
        }
    }

    /// Starts it in the middle. `None` where its program is not installed.
    fn start(self, lab: &Lab) -> anyhow::Result<Option<Process>> {
        let middle = lab.node(1);
        let command = match self {
            Self::None => return Ok(None),
            Self::SynhopNode => node_command(middle)?,
            Self::HaproxySplice => haproxy_command(lab, "  option splice-auto\n")?,
            Self::HaproxyCopy => haproxy_command(lab, "")?,
            Self::Socat => {
                let mut command = middle.command("socat");
                let listen = format!("TCP-LISTEN:{PORT},bind={NEAR},fork,reuseaddr,nodelay");
                command.args([
                    "-b",
                    "262144",
                    &listen,
                    &format!("TCP:{SERVER}:{PORT},nodelay"),
                ]);
                command
            }
        };
        let process = ProcessBuilder::new(self.name(), command).start()?;
        let port = if self == Self::SynhopNode {
            NODE_PORT
        } else {
            PORT
        };
        wait_for_listener(middle, port)?;
        Ok(Some(process))
    }

    /// The client's command.
    fn client(self, lab: &Lab, seconds: u16) -> Result<Command, LabError> {
        let client = lab.client();
        let (mut command, target) = match self {
            Self::None => (client.command("iperf3"), SERVER),
            Self::SynhopNode => {
                let mut command = client.command(find_binary("synhop")?);
                command.args([
                    "run",
                    "--proxy",
                    &format!("{NEAR}:{NODE_PORT}"),
                    "--",
                    "iperf3",
                ]);
                (command, SERVER)
            }
            Self::HaproxySplice | Self::HaproxyCopy | Self::Socat => {
                (client.command("iperf3"), NEAR)
            }
        };
        command.args(["--client", target, "--port", &PORT.to_string(), "--json"]);
        // From server to client, as downloads go.
        command.args(["--reverse", "--time", &seconds.to_string()]);
        Ok(command)
    }
}

#[derive(Debug, Serialize)]
struct Outcome {
    relay: &'static str,
    /// Best of all rounds; none if its program is not installed.
    gbit_s: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Saved {
    machine: Machine,
    results: Vec<Outcome>,
}

/// Measures, prints and saves.
pub(super) fn run(arguments: &Arguments, out: &Path) -> anyhow::Result<()> {
    let machine = Machine::this();
    let lab = Lab::builder().nodes(1).build()?;
    join_by_veth(&lab)?;
    let mut server = lab.server().command("iperf3");
    server.args(["--server", "--port", &PORT.to_string()]);
    let _server = ProcessBuilder::new("iperf3 server", server).start()?;
    wait_for_listener(lab.server(), PORT)?;
    let progress = super::progress(usize::from(arguments.rounds) * Relay::ALL.len())?;
    let mut best = [None; Relay::ALL.len()];
    for _ in 0..arguments.rounds {
        for (relay, best) in Relay::ALL.into_iter().zip(&mut best) {
            progress.set_message(relay.name());
            if relay.is_installed() {
                let gbit_s = measure(&lab, relay, arguments.seconds)?;
                *best = Some(best.map_or(gbit_s, |best: f64| best.max(gbit_s)));
            }
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    let outcome = |(relay, gbit_s): (Relay, Option<f64>)| Outcome {
        relay: relay.name(),
        gbit_s,
    };
    let results: Vec<Outcome> = Relay::ALL.into_iter().zip(best).map(outcome).collect();
    println!(
        "One flow over veth through one relay, best of {} times {} s; load {} on {} processors",
        arguments.rounds, arguments.seconds, machine.load, machine.processors,
    );
    println!("{}", table(&results));
    super::save(out, "throughput.json", &Saved { machine, results })
}

impl Relay {
    fn is_installed(self) -> bool {
        let program = match self {
            Self::None | Self::SynhopNode => return true,
            Self::HaproxySplice | Self::HaproxyCopy => "haproxy",
            Self::Socat => "socat",
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    }
}

fn measure(lab: &Lab, relay: Relay, seconds: u16) -> anyhow::Result<f64> {
    let mut process = relay.start(lab)?;
    let mut client = ProcessBuilder::new("iperf3", relay.client(lab, seconds)?).start()?;
    client.wait(Duration::from_secs(u64::from(seconds)) + CLIENT_BOUND)?;
    let report: serde_json::Value =
        serde_json::from_str(&client.lines().join("\n")).unwrap_or_default();
    let bits = report["end"]["sum_received"]["bits_per_second"].as_f64();
    if let Some(process) = &mut process {
        process.stop(STOP_BOUND)?;
    }
    let said = || format!("iperf3 through {}: {}", relay.name(), client.failure());
    Ok(bits.with_context(said)? / 1e9)
}

/// Joins client, middle and server by veth beside the lab's own links.
fn join_by_veth(lab: &Lab) -> Result<(), LabError> {
    let (middle, server) = (lab.node(1).name(), lab.server().name());
    lab.client().ip(&format!(
        "link add veth0 type veth peer name veth0 netns {middle}\n\
         addr add {CLIENT}/30 dev veth0\nlink set veth0 up\n"
    ))?;
    lab.node(1).ip(&format!(
        "link add veth1 type veth peer name veth0 netns {server}\n\
         addr add {NEAR}/30 dev veth0\nlink set veth0 up\n\
         addr add {FAR}/30 dev veth1\nlink set veth1 up\n"
    ))?;
    lab.server().ip(&format!(
        "addr add {SERVER}/30 dev veth0\nlink set veth0 up\nroute add {NEAR_NETWORK} via {FAR}\n"
    ))?;
    lab.client()
        .ip(&format!("route add {FAR_NETWORK} via {NEAR}\n"))
}

fn node_command(middle: &Namespace) -> Result<Command, LabError> {
    let mut command = middle.command(find_binary("synhop-node")?);
    command.args(["--listen", &format!("{NEAR}:{NODE_PORT}")]);
    command.args(["--allow-from", NEAR_NETWORK, "--allow-to", FAR_NETWORK]);
    command.args(["--trust", NEAR_NETWORK]).env("NO_COLOR", "1");
    Ok(command)
}

fn haproxy_command(lab: &Lab, options: &str) -> anyhow::Result<Command> {
    let path = lab.directory().join("haproxy.cfg");
    let text = format!(
        "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
         {options}listen relay\n  bind {NEAR}:{PORT}\n  server origin {SERVER}:{PORT}\n"
    );
    fs::write(&path, text).context("configure haproxy")?;
    let mut command = lab.node(1).command("haproxy");
    // In the foreground.
    command.args(["-db", "-q", "-f"]).arg(path);
    Ok(command)
}

/// Waits until something in a namespace listens on a port, without connecting to it.
fn wait_for_listener(namespace: &Namespace, port: u16) -> Result<(), LabError> {
    synhop_lab::wait_until(&format!("a listener on port {port}"), START_BOUND, || {
        let mut command = namespace.command("ss");
        command.args(["-Hltn", &format!("sport = :{port}")]);
        let output = command.output().ok()?;
        (!output.stdout.is_empty()).then_some(())
    })
}

fn table(results: &[Outcome]) -> Table {
    let rate = |relay: Relay| {
        results
            .iter()
            .find(|outcome| outcome.relay == relay.name())?
            .gbit_s
    };
    let mut table = Table::new(&[
        ("relay", Align::Left),
        ("Gbit/s", Align::Right),
        ("of routed", Align::Right),
        ("of haproxy, splice", Align::Right),
    ]);
    for outcome in results {
        let ratio = |of: Option<f64>| match (outcome.gbit_s, of) {
            (Some(rate), Some(of)) if of > 0.0 => format!("{:.2}", rate / of),
            _ => String::new(),
        };
        table.row(vec![
            outcome.relay.to_owned(),
            outcome
                .gbit_s
                .map_or("not installed".to_owned(), |rate| format!("{rate:.1}")),
            ratio(rate(Relay::None)),
            ratio(rate(Relay::HaproxySplice)),
        ]);
    }
    table
}

const CLIENT: &str = "10.98.0.1";
/// The middle's address towards the client.
const NEAR: &str = "10.98.0.2";
/// The middle's address towards the server.
const FAR: &str = "10.98.1.1";
const SERVER: &str = "10.98.1.2";
const NEAR_NETWORK: &str = "10.98.0.0/30";
const FAR_NETWORK: &str = "10.98.1.0/30";
const PORT: u16 = 5201;
const NODE_PORT: u16 = 4460;
const START_BOUND: Duration = Duration::from_secs(10);
const STOP_BOUND: Duration = Duration::from_secs(5);
const CLIENT_BOUND: Duration = Duration::from_secs(30);
