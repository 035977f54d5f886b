//! What stands in the middle: the programs, and how each is set up.
//!
//! Each gets one thread for a flow and large buffers, as its manual advises for relays.

use super::line::{Line, TAP, own_addresses};
use anyhow::Context;
use clap::ValueEnum;
use serde::Serialize;
use std::fs;
use std::process::Command;
use std::time::Duration;
use synhop_lab::{Lab, LabError, Namespace, Process, ProcessBuilder, find_binary};

/// One of the peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Relay {
    /// Nothing: the hosts in the middle route.
    #[value(name = "routed")]
    None,
    /// The node on Linux's sockets.
    SynhopNode,
    /// The same on the way that the hosted engine has.
    SynhopNodeBridged,
    /// The node on its own TCP, on a TAP device with offloads.
    Hosted,
    /// haproxy in TCP mode, with splice.
    HaproxySplice,
    /// haproxy in TCP mode, copying.
    HaproxyCopy,
    /// socat.
    Socat,
}

/// What is asked of iperf3.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) direction: Direction,
    /// At once.
    pub(super) flows: u8,
    pub(super) seconds: u16,
}

/// Where the octets go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Direction {
    /// From server to client.
    #[default]
    Download,
    /// From client to server.
    Upload,
}

impl std::fmt::Display for Direction {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Download => "from server to client",
            Self::Upload => "from client to server",
        })
    }
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
    pub(super) const ALL: [Self; 7] = [
        Self::None,
        Self::SynhopNode,
        Self::SynhopNodeBridged,
        Self::Hosted,
        Self::HaproxySplice,
        Self::HaproxyCopy,
        Self::Socat,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::None => "none (routed)",
            Self::SynhopNode => "synhop-node",
            Self::SynhopNodeBridged => "synhop-node, bridged",
            Self::Hosted => "hosted engine, GSO TAP",
            Self::HaproxySplice => "haproxy, splice",
            Self::HaproxyCopy => "haproxy, copy",
            Self::Socat => "socat",
        }
    }

    /// Why it cannot run here: the other programs are not always there.
    pub(super) fn missing(self) -> Option<String> {
        match self {
            Self::None => None,
            Self::SynhopNode | Self::SynhopNodeBridged => not_built("synhop-node"),
            Self::Hosted => not_built("synhop-hosted"),
            Self::HaproxySplice | Self::HaproxyCopy => not_installed("haproxy"),
            Self::Socat => not_installed("socat"),
        }
    }

    const fn line(self) -> Line {
        match self {
            Self::None
            | Self::SynhopNode
            | Self::HaproxySplice
            | Self::HaproxyCopy
            | Self::Socat => Line::Veth,
            Self::SynhopNodeBridged | Self::Hosted => Line::Bridge,
        }
    }

    pub(super) fn setup(self) -> Setup {
        let version = match self {
            Self::None | Self::SynhopNode | Self::SynhopNodeBridged | Self::Hosted => String::new(),
            Self::HaproxySplice | Self::HaproxyCopy => version(&["haproxy", "-v"]),
            Self::Socat => version(&["socat", "-V"]),
        };
        let settings = match self {
            Self::None => "IP forwarding, no relay",
            Self::SynhopNode => "as it comes: 1 thread, splice, pipes of 512 KiB",
            Self::SynhopNodeBridged => "the same, its addresses on a bridge of both links",
            Self::Hosted => {
                "as it comes: 1 thread, --offload (vnet_hdr, TSO and checksums of the device), on \
                 a TAP device in that bridge"
            }
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
            let process = ProcessBuilder::new(self.name(), command).start()?;
            match self.port() {
                Some(port) => wait_for_listener(lab.node(number), port)?,
                // No socket of the kernel's shows it.
                None => drop(process.wait_for_line("listening", START_BOUND)?),
            }
            processes.push(process);
        }
        Ok(processes)
    }

    fn command(self, lab: &Lab, number: usize) -> anyhow::Result<Option<Command>> {
        let command = match self {
            Self::None => return Ok(None),
            Self::SynhopNode | Self::SynhopNodeBridged => node_command(lab, number, self.line())?,
            Self::Hosted => hosted_command(lab, number)?,
            Self::HaproxySplice => haproxy_command(lab, number, &HAPROXY_SPLICE)?,
            Self::HaproxyCopy => haproxy_command(lab, number, &HAPROXY_COPY)?,
            Self::Socat => {
                let mut command = lab.node(number).command("socat");
                let near = self.line().left_of(number);
                let listen = format!("TCP-LISTEN:{PORT},bind={near},fork,reuseaddr,nodelay");
                let next = format!("TCP:{}:{PORT},nodelay", self.line().left_of(number + 1));
                command.args(["-b", "262144", &listen, &next]);
                command
            }
        };
        Ok(Some(command))
    }

    /// Where the kernel listens for it.
    const fn port(self) -> Option<u16> {
        match self {
            Self::SynhopNode | Self::SynhopNodeBridged => Some(NODE_PORT),
            Self::None | Self::HaproxySplice | Self::HaproxyCopy | Self::Socat => Some(PORT),
            Self::Hosted => None,
        }
    }

    /// The client's command.
    pub(super) fn client(self, lab: &Lab, load: Load) -> Result<Command, LabError> {
        let client = lab.client();
        let (entry, server) = (self.line().left_of(1), self.line().left_of(lab.nodes() + 1));
        let through = |entry: &str| {
            let mut command = client.command(find_binary("synhop")?);
            let proxy = format!("{entry}:{NODE_PORT}");
            command.args(["run", "--proxy", &proxy, "--", "iperf3"]);
            Ok::<_, LabError>(command)
        };
        let (mut command, target) = match self {
            Self::None => (client.command("iperf3"), server),
            Self::SynhopNode | Self::SynhopNodeBridged => (through(&entry)?, server),
            Self::Hosted => (through(&own_addresses(1)[0])?, server),
            Self::HaproxySplice | Self::HaproxyCopy | Self::Socat => {
                (client.command("iperf3"), entry)
            }
        };
        command.args(["--client", &target, "--port", &PORT.to_string(), "--json"]);
        command.args(["--time", &load.seconds.to_string()]);
        command.args(["--parallel", &load.flows.to_string()]);
        match load.direction {
            Direction::Download => drop(command.arg("--reverse")),
            Direction::Upload => {}
        }
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

fn not_built(program: &str) -> Option<String> {
    find_binary(program).err().map(|_| "not built".to_owned())
}

fn not_installed(program: &str) -> Option<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    (!found).then(|| "not installed".to_owned())
}

fn node_command(lab: &Lab, number: usize, line: Line) -> Result<Command, LabError> {
    let mut command = lab.node(number).command(find_binary("synhop-node")?);
    let (near, onward) = (line.network(number - 1), line.network(lab.nodes()));
    let listen = format!("{}:{NODE_PORT}", line.left_of(number));
    command.args(["--listen", &listen]);
    command.args(["--allow-from", &near, "--allow-to", &onward]);
    command.args(["--trust", &near]).env("NO_COLOR", "1");
    if number < lab.nodes() {
        let next = format!("{}:{NODE_PORT}", line.left_of(number + 1));
        command.args(["--via", &next]);
    }
    Ok(command)
}

fn hosted_command(lab: &Lab, number: usize) -> Result<Command, LabError> {
    let mut command = lab.node(number).command(find_binary("synhop-hosted")?);
    let line = Line::Bridge;
    let (near, onward) = (line.network(number - 1), line.network(lab.nodes()));
    command.args(["--tap", TAP, "--offload"]);
    command.args(["--mac", &format!("02:53:48:fe:00:{number:02x}")]);
    command.args(own_addresses(number).map(|address| format!("addr={address}/29")));
    command.arg(format!("listen={NODE_PORT}"));
    command.arg(format!("allow-from={near}"));
    command.arg(format!("trust={near}"));
    command.arg(format!("allow-to={onward}"));
    if number < lab.nodes() {
        command.arg(format!("via={}:{NODE_PORT}", own_addresses(number + 1)[0]));
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
        Line::Veth.left_of(number),
        Line::Veth.left_of(number + 1),
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
