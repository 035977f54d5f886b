//! What stands in the middle: the programs, and how each is set up.
//!
//! Each gets one thread for a flow and large buffers, as its manual advises for relays.

use super::line::{left_of, network};
use anyhow::Context;
use serde::Serialize;
use std::fs;
use std::process::Command;
use std::time::Duration;
use synhop_lab::{Lab, LabError, Namespace, Process, ProcessBuilder, find_binary};

/// One of the peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relay {
    /// Nothing: the hosts in the middle route.
    None,
    SynhopNode,
    /// haproxy in TCP mode, with splice.
    HaproxySplice,
    /// haproxy in TCP mode, copying.
    HaproxyCopy,
    Socat,
}

/// How a relay is set up: figures mean little without it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Setup {
    /// As the program itself says; empty where it is ours.
    version: String,
    /// The settings that matter.
    settings: &'static str,
}

impl Relay {
    pub(super) const ALL: [Self; 5] = [
        Self::None,
        Self::SynhopNode,
        Self::HaproxySplice,
        Self::HaproxyCopy,
        Self::Socat,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::None => "none (routed)",
            Self::SynhopNode => "synhop-node",
            Self::HaproxySplice => "haproxy, splice",
            Self::HaproxyCopy => "haproxy, copy",
            Self::Socat => "socat",
        }
    }

    /// The other programs are not always there.
    pub(super) fn is_installed(self) -> bool {
        let Some(program) = self.program() else {
            return true;
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    }

    const fn program(self) -> Option<&'static str> {
        match self {
            Self::None | Self::SynhopNode => None,
            Self::HaproxySplice | Self::HaproxyCopy => Some("haproxy"),
            Self::Socat => Some("socat"),
        }
    }

    pub(super) fn setup(self) -> Setup {
        let version = match self {
            Self::None | Self::SynhopNode => String::new(),
            Self::HaproxySplice | Self::HaproxyCopy => version(&["haproxy", "-v"]),
            Self::Socat => version(&["socat", "-V"]),
        };
        let settings = match self {
            Self::None => "IP forwarding, no relay",
            Self::SynhopNode => "as it comes: 1 thread, splice, pipes of 512 KiB",
            Self::HaproxySplice => HAPROXY_SPLICE.summary,
            Self::HaproxyCopy => HAPROXY_COPY.summary,
            Self::Socat => "1 process a flow, -b 262144, nodelay",
        };
        Setup { version, settings }
    }

    /// Starts it on every node of the line, the last first.
    pub(super) fn start(self, lab: &Lab) -> anyhow::Result<Vec<Process>> {
        let mut processes = Vec::new();
        for number in (1..=lab.nodes()).rev() {
            let Some(command) = self.command(lab, number)? else {
                continue;
            };
            processes.push(ProcessBuilder::new(self.name(), command).start()?);
            wait_for_listener(lab.node(number), self.port())?;
        }
        Ok(processes)
    }

    fn command(self, lab: &Lab, number: usize) -> anyhow::Result<Option<Command>> {
        let command = match self {
            Self::None => return Ok(None),
            Self::SynhopNode => node_command(lab, number)?,
            Self::HaproxySplice => haproxy_command(lab, number, &HAPROXY_SPLICE)?,
            Self::HaproxyCopy => haproxy_command(lab, number, &HAPROXY_COPY)?,
            Self::Socat => {
                let mut command = lab.node(number).command("socat");
                let near = left_of(number);
                let listen = format!("TCP-LISTEN:{PORT},bind={near},fork,reuseaddr,nodelay");
                let next = format!("TCP:{}:{PORT},nodelay", left_of(number + 1));
                command.args(["-b", "262144", &listen, &next]);
                command
            }
        };
        Ok(Some(command))
    }

    const fn port(self) -> u16 {
        match self {
            Self::SynhopNode => NODE_PORT,
            Self::None | Self::HaproxySplice | Self::HaproxyCopy | Self::Socat => PORT,
        }
    }

    /// The client's command.
    pub(super) fn client(self, lab: &Lab, seconds: u16) -> Result<Command, LabError> {
        let client = lab.client();
        let (entry, server) = (left_of(1), left_of(lab.nodes() + 1));
        let (mut command, target) = match self {
            Self::None => (client.command("iperf3"), server),
            Self::SynhopNode => {
                let mut command = client.command(find_binary("synhop")?);
                let proxy = format!("{entry}:{NODE_PORT}");
                command.args(["run", "--proxy", &proxy, "--", "iperf3"]);
                (command, server)
            }
            Self::HaproxySplice | Self::HaproxyCopy | Self::Socat => {
                (client.command("iperf3"), entry)
            }
        };
        command.args(["--client", &target, "--port", &PORT.to_string(), "--json"]);
        // From server to client, as downloads go.
        command.args(["--reverse", "--time", &seconds.to_string()]);
        Ok(command)
    }
}

impl std::fmt::Display for Setup {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.settings)?;
        if self.version.is_empty() {
            return Ok(());
        }
        write!(out, " ({})", self.version)
    }
}

/// `NAME version NUMBER`, as a program says; empty if it does not.
fn version(command: &[&str]) -> String {
    let output = Command::new(command[0]).args(&command[1..]).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let text = text.unwrap_or_default();
    let line = text.lines().find(|line| line.contains(" version "));
    let words = line.unwrap_or_default().split_whitespace().take(3);
    words.collect::<Vec<_>>().join(" ")
}

fn node_command(lab: &Lab, number: usize) -> Result<Command, LabError> {
    let mut command = lab.node(number).command(find_binary("synhop-node")?);
    let (near, onward) = (network(number - 1), network(lab.nodes()));
    command.args(["--listen", &format!("{}:{NODE_PORT}", left_of(number))]);
    command.args(["--allow-from", &near, "--allow-to", &onward]);
    command.args(["--trust", &near]).env("NO_COLOR", "1");
    if number < lab.nodes() {
        let next = format!("{}:{NODE_PORT}", left_of(number + 1));
        command.args(["--via", &next]);
    }
    Ok(command)
}

/// One way of setting haproxy up.
struct Haproxy {
    summary: &'static str,
    global: &'static str,
    defaults: &'static str,
}

/// Its manual: `splice-request` and `splice-response` splice whenever possible, `splice-auto` only
/// where a heuristic expects a gain; larger pipes help where they are not filled at once.
const HAPROXY_SPLICE: Haproxy = Haproxy {
    summary: "mode tcp, nbthread 1, maxconn 1000, option splice-request and splice-response, \
              tune.pipesize 524288",
    global: "  tune.pipesize 524288\n",
    defaults: "  option splice-request\n  option splice-response\n",
};
/// Its default buffer of 16 KiB is for HTTP's headers; the same as socat's for a relay.
const HAPROXY_COPY: Haproxy = Haproxy {
    summary: "mode tcp, nbthread 1, maxconn 1000, nosplice, tune.bufsize 262144",
    global: "  nosplice\n  tune.bufsize 262144\n",
    defaults: "",
};

fn haproxy_command(lab: &Lab, number: usize, setup: &Haproxy) -> anyhow::Result<Command> {
    let path = lab.directory().join(format!("haproxy-{number}.cfg"));
    let text = format!(
        "global\n  nbthread 1\n  maxconn 1000\n{}\
         defaults\n  mode tcp\n  maxconn 1000\n  timeout connect 5s\n  timeout client 60s\n  \
         timeout server 60s\n{}\
         listen relay\n  bind {}:{PORT}\n  server next {}:{PORT}\n",
        setup.global,
        setup.defaults,
        left_of(number),
        left_of(number + 1),
    );
    fs::write(&path, text).context("configure haproxy")?;
    let mut command = lab.node(number).command("haproxy");
    // In the foreground.
    command.args(["-db", "-q", "-f"]).arg(path);
    Ok(command)
}

/// Waits until something in a namespace listens on a port, without connecting to it.
pub(super) fn wait_for_listener(namespace: &Namespace, port: u16) -> Result<(), LabError> {
    synhop_lab::wait_until(&format!("a listener on port {port}"), START_BOUND, || {
        let mut command = namespace.command("ss");
        command.args(["-Hltn", &format!("sport = :{port}")]);
        let output = command.output().ok()?;
        (!output.stdout.is_empty()).then_some(())
    })
}

/// Where iperf3 and the other relays listen.
pub(super) const PORT: u16 = 5201;
const NODE_PORT: u16 = 4460;
const START_BOUND: Duration = Duration::from_secs(10);
