//! A lab with nginx and a chain of nodes, and the check that nothing is left of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use synhop_lab::{
    Chain, ChainSpec, CurlOutcome, CurlSpec, Lab, LabBuilder, Nginx, Process, Via, find_binary,
    wait_until,
};

/// See the module. Processes come first, so that they are dropped before their namespaces.
pub(crate) struct Site {
    pub(crate) chain: Chain,
    pub(crate) nginx: Nginx,
    pub(crate) lab: Lab,
}

impl Site {
    pub(crate) fn new(lab: LabBuilder, spec: &ChainSpec, sizes: &[u64]) -> Self {
        Self::on(lab.build().expect("a lab"), spec, sizes)
    }

    /// The same on a lab that has been prepared.
    pub(crate) fn on(lab: Lab, spec: &ChainSpec, sizes: &[u64]) -> Self {
        let nginx = lab.start_nginx(sizes).expect("nginx");
        let chain = lab.start_chain(spec).expect("a chain");
        Self { chain, nginx, lab }
    }

    /// Through the whole chain.
    pub(crate) fn via(&self) -> Via {
        Via::Synhop(self.chain.entry().expect("a node"))
    }

    /// Fetches nginx's file of this size.
    pub(crate) fn fetch(&self, octets: u64, via: Via) -> CurlOutcome {
        let spec = CurlSpec {
            expect_octets: Some(octets),
            synhop_arguments: fail_arguments(),
            ..CurlSpec::new(self.nginx.url(octets), via)
        };
        self.lab.curl(&spec).expect("curl runs")
    }

    /// The same; it has to succeed.
    pub(crate) fn fetch_intact(&mut self, octets: u64) -> CurlOutcome {
        let outcome = self.fetch(octets, self.via());
        assert!(outcome.is_success(), "{outcome:?}\n{}", self.logs());
        outcome
    }

    /// Fetches a URL through the chain, whatever comes of it.
    pub(crate) fn try_url(&self, url: impl Into<String>) -> CurlOutcome {
        let spec = CurlSpec {
            synhop_arguments: fail_arguments(),
            max_time: Duration::from_secs(20),
            ..CurlSpec::new(url, self.via())
        };
        self.lab.curl(&spec).expect("curl runs")
    }

    /// Waits until no node has a flow.
    pub(crate) fn wait_until_idle(&self, bound: Duration) {
        idle_nodes(&self.lab, bound);
    }

    /// What the nodes printed last.
    pub(crate) fn logs(&mut self) -> String {
        let logs = self
            .chain
            .nodes()
            .iter()
            .map(|node| node.failure().to_string());
        logs.collect::<Vec<_>>().join("\n")
    }

    /// Removes everything, and makes sure of it.
    pub(crate) fn close(mut self) {
        let mut pids: Vec<_> = self.chain.nodes().iter().map(Process::id).collect();
        pids.push(self.nginx.process().id());
        let traces = Traces::of(&self.lab, pids);
        drop(self);
        traces.check_gone();
    }
}

/// What a lab has made outside of itself.
pub(crate) struct Traces {
    processes: Vec<PathBuf>,
    namespaces: Vec<PathBuf>,
    folder: PathBuf,
}

impl Traces {
    pub(crate) fn of(lab: &Lab, pids: Vec<u32>) -> Self {
        let nodes = (1..=lab.nodes()).map(|number| lab.node(number));
        let namespaces = [lab.client(), lab.server()].into_iter().chain(nodes);
        let process = |pid: u32| Path::new("/proc").join(pid.to_string());
        Self {
            processes: pids.into_iter().map(process).collect(),
            namespaces: namespaces
                .map(|it| Path::new("/run/netns").join(it.name()))
                .collect(),
            folder: lab.directory().to_owned(),
        }
    }

    /// To be called when everything has been dropped.
    pub(crate) fn check_gone(self) {
        let folder = [self.folder];
        let all = self.processes.iter().chain(&self.namespaces).chain(&folder);
        for path in all {
            assert!(!path.exists(), "{} is left", path.display());
        }
    }
}

/// Waits until no node has a flow.
pub(crate) fn idle_nodes(lab: &Lab, bound: Duration) {
    for number in 1..=lab.nodes() {
        let mut last = serde_json::Value::Null;
        let idle = wait_until("a node without flows", bound, || {
            last = lab.node_status(number).expect("a status page");
            (last["flows"] == 0 && last["pending"] == 0).then_some(())
        });
        assert!(idle.is_ok(), "node {number} after {bound:?}: {last}");
    }
}

/// Starts nodes that are not a line: one spec each, for the nodes 1, 2, ...
pub(crate) fn start_nodes(lab: &Lab, specs: &[ChainSpec]) -> Vec<Process> {
    let nodes: Vec<_> = specs
        .iter()
        .zip(1..)
        .map(|(spec, number)| lab.start_node(number, spec).expect("a node"))
        .collect();
    for node in &nodes {
        let listening = node.wait_for_line("listening", Duration::from_secs(20));
        listening.expect("a node that listens");
    }
    nodes
}

/// Has the client and all nodes look for `prefix` where the server is.
pub(crate) fn route_to_server(lab: &Lab, prefix: &str) {
    for position in 0..=lab.nodes() {
        let (namespace, next) = match position {
            0 => (lab.client(), lab.node_address(1)),
            last if last == lab.nodes() => (lab.node(last), lab.server_address()),
            node => (lab.node(node), lab.node_address(node + 1)),
        };
        let route = format!("route add {prefix} via {next}\n");
        namespace.ip(&route).expect("a route");
    }
}

/// `synhop run` through this node in the client's namespace, as far as the `--`.
pub(crate) fn synhop_run(lab: &Lab, via: Via) -> Command {
    let Via::Synhop(proxy) = via else {
        panic!("synhop run needs a proxy");
    };
    let synhop = find_binary("synhop").expect("synhop");
    let mut command = lab.client().command(synhop);
    command.arg("run").arg("--proxy").arg(proxy.to_string());
    command.args(fail_arguments()).arg("--");
    command
}

/// Writes a node's configuration file into the lab's folder.
pub(crate) fn config_file(lab: &Lab, name: &str, toml: &str) -> PathBuf {
    let path = lab.directory().join(name);
    fs::write(&path, toml).expect("write a configuration");
    path
}

/// A flow that goes round the chain would pass for one that went through it.
fn fail_arguments() -> Vec<String> {
    ["--fallback", "fail"].map(str::to_owned).to_vec()
}
