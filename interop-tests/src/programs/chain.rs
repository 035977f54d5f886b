//! A chain of synhop nodes, one in each node's namespace.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use crate::{Lab, LabError, Process, ProcessBuilder, find_binary};

use super::own_stack::Build;

/// How the nodes of a chain are to be started.
#[derive(Clone, Debug)]
pub struct ChainSpec {
    /// Whose SYNs are acted on at once: `--trust`. Default: the whole lab.
    pub trust: Vec<String>,
    /// Who may use the nodes: `--allow-from`. Default: the whole lab.
    pub allow_from: Vec<String>,
    /// Where they may connect to: `--allow-to`. Default: the server.
    pub allow_to: Vec<String>,
    /// Which build runs in which node, from node 1 on; the rest are Linux's.
    pub builds: Vec<Build>,
    /// More arguments for every node; the unikernel takes none.
    pub arguments: Vec<String>,
    /// `RUST_LOG` of the nodes.
    pub log: String,
}

impl Default for ChainSpec {
    fn default() -> Self {
        Self {
            trust: vec![LAB_NETWORK.to_owned()],
            allow_from: vec![LAB_NETWORK.to_owned()],
            allow_to: Vec::new(),
            builds: Vec::new(),
            arguments: Vec::new(),
            log: "info".to_owned(),
        }
    }
}

/// Running nodes; killed when dropped.
pub struct Chain {
    nodes: Vec<Process>,
    entry: Option<SocketAddr>,
}

impl Chain {
    /// The first node's address, for `--proxy`; `None` without nodes.
    pub const fn entry(&self) -> Option<SocketAddr> {
        self.entry
    }

    /// A node's process; nodes count from 1, at the client's side.
    ///
    /// # Panics
    /// When there is no such node.
    pub fn node(&mut self, number: usize) -> &mut Process {
        &mut self.nodes[number - 1]
    }

    /// All processes, from the client's side on.
    pub fn nodes(&mut self) -> &mut [Process] {
        &mut self.nodes
    }

    /// Stops all nodes (SIGTERM, SIGKILL after `bound`).
    pub fn stop(&mut self, bound: Duration) -> Result<(), LabError> {
        self.nodes
            .iter_mut()
            .try_for_each(|node| node.stop(bound).map(drop))
    }
}

impl Lab {
    /// Starts a node in every node's namespace, each with the next one as its
    /// `--via`, and waits until all of them accept flows.
    pub fn start_chain(&self, spec: &ChainSpec) -> Result<Chain, LabError> {
        let nodes: Vec<_> = (1..=self.nodes())
            .map(|number| self.start_node(number, spec))
            .collect::<Result<_, _>>()?;
        for node in &nodes {
            node.wait_for_line("listening", START_BOUND)?;
        }
        let entry = (self.nodes() > 0).then(|| self.node_listen_address(1));
        Ok(Chain { nodes, entry })
    }

    /// Starts one node of a chain; it may not listen yet when this returns.
    pub fn start_node(&self, number: usize, spec: &ChainSpec) -> Result<Process, LabError> {
        match spec.builds.get(number - 1).copied().unwrap_or_default() {
            Build::Linux => self.start_linux(number, spec),
            build @ (Build::Hosted | Build::HostedOffload | Build::Unikernel { .. }) => {
                self.start_own_stack(number, spec, build)
            }
        }
    }

    fn start_linux(&self, number: usize, spec: &ChainSpec) -> Result<Process, LabError> {
        let mut command = self.node(number).command(find_binary("synhop-node")?);
        command.env("RUST_LOG", &spec.log).env("NO_COLOR", "1");
        command
            .arg("--listen")
            .arg(self.node_listen_address(number).to_string());
        if number < self.nodes() {
            command
                .arg("--via")
                .arg(self.node_listen_address(number + 1).to_string());
        }
        let allow_to = self.allow_to(spec);
        for (flag, values) in [
            ("--allow-from", &spec.allow_from),
            ("--allow-to", &allow_to),
            ("--trust", &spec.trust),
        ] {
            for value in values {
                command.arg(flag).arg(value);
            }
        }
        let status = SocketAddr::from((Ipv4Addr::LOCALHOST, STATUS_PORT));
        command
            .arg("--status")
            .arg(status.to_string())
            .args(&spec.arguments);
        ProcessBuilder::new(format!("synhop-node n{number}"), command)
            .log_to(self.node_log(number)?)
            .start()
    }

    /// What the nodes may reach: by default the server.
    pub(super) fn allow_to(&self, spec: &ChainSpec) -> Vec<String> {
        if spec.allow_to.is_empty() {
            vec![format!("{}/32", self.server_address())]
        } else {
            spec.allow_to.clone()
        }
    }

    pub(super) fn node_log(&self, number: usize) -> Result<PathBuf, LabError> {
        let folder = self.directory().join("nodes");
        fs::create_dir_all(&folder).map_err(LabError::system("make the nodes' log folder"))?;
        Ok(folder.join(format!("n{number}.log")))
    }

    /// Where a node of a chain listens.
    pub const fn node_listen_address(&self, number: usize) -> SocketAddr {
        SocketAddr::new(std::net::IpAddr::V4(self.node_address(number)), NODE_PORT)
    }

    /// A node's status page (`/`), parsed.
    pub fn node_status(&self, number: usize) -> Result<serde_json::Value, LabError> {
        let fetch = || -> std::io::Result<serde_json::Value> {
            let mut page = TcpStream::connect((Ipv4Addr::LOCALHOST, STATUS_PORT))?;
            page.set_read_timeout(Some(STATUS_BOUND))?;
            page.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
            let mut text = String::new();
            page.take(STATUS_OCTETS).read_to_string(&mut text)?;
            // The body is the only place with braces, however it is framed.
            let body = text
                .find('{')
                .zip(text.rfind('}'))
                .map(|(from, to)| &text[from..=to]);
            Ok(serde_json::from_str(body.unwrap_or_default())?)
        };
        let status = self.node(number).enter(fetch)?;
        status.map_err(LabError::system(format!(
            "read the status page of node {number}"
        )))
    }
}

/// Where the nodes of a chain listen.
pub const NODE_PORT: u16 = 4460;
/// Where their status pages are, on each one's loopback.
pub const STATUS_PORT: u16 = 4461;
const LAB_NETWORK: &str = "10.99.0.0/16";
pub(super) const START_BOUND: Duration = Duration::from_secs(20);
const STATUS_BOUND: Duration = Duration::from_secs(5);
const STATUS_OCTETS: u64 = 1 << 20;
