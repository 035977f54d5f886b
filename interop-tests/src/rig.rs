//! A line with nginx and a chain on it, in which one fetch after the other is made and timed.

use anyhow::{Context, bail};
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;
use synhop_lab::flow::{self, ClientTimes};
use synhop_lab::plot::{Arrow, path_name};
use synhop_lab::{
    Build, Capture, Chain, ChainSpec, CurlOutcome, CurlSpec, DirectionStats, Lab, LinkSpec, Nginx,
    Via,
};

/// What a rig shall be like.
#[derive(Clone, Debug)]
pub(crate) struct RigSpec {
    /// From client to server and back, split evenly.
    pub(crate) rtt: Duration,
    /// Of every link, both ways.
    pub(crate) rate_bit_s: u64,
    /// Of all hosts.
    pub(crate) congestion_control: String,
    /// Which build runs in which node; the rest are Linux's.
    pub(crate) builds: Vec<Build>,
    /// Bodies that can be fetched, in octets.
    pub(crate) sizes: Vec<u64>,
}

/// See the module. Processes first, so that they are dropped before their namespaces.
pub(crate) struct Rig {
    chain: Chain,
    nginx: Nginx,
    capture: Capture,
    lab: Lab,
    nodes: u8,
}

/// One fetch's times.
#[derive(Clone, Debug)]
pub(crate) struct Fetched {
    /// By the capture at the client's interface.
    pub(crate) wire: ClientTimes,
    /// First octet by curl.
    pub(crate) curl_first: Duration,
    /// Last octet by curl.
    pub(crate) curl_last: Duration,
    /// Octets of the reply before the body.
    pub(crate) header_octets: u64,
    /// Of each node, from its SYN's arrival to its own SYN, by captures at its two interfaces.
    pub(crate) forwarding: Vec<Duration>,
}

impl Fetched {
    /// The most that curl and the capture differ.
    pub(crate) fn disagreement(&self) -> Duration {
        let first = self.curl_first.abs_diff(self.wire.first_octet);
        first.max(self.curl_last.abs_diff(self.wire.last_octet))
    }
}

impl Rig {
    /// Builds a line of `nodes` nodes (0: the client's only link leads to the server).
    pub(crate) fn new(spec: &RigSpec, nodes: u8) -> anyhow::Result<Self> {
        let lab = Lab::builder()
            .nodes(nodes.into())
            .link(LinkSpec::new(Duration::ZERO, Some(spec.rate_bit_s)))
            .rtt(spec.rtt)
            .build()?;
        use_congestion_control(&lab, &spec.congestion_control)?;
        let nginx = lab.start_nginx(&spec.sizes)?;
        let chain = lab.start_chain(&ChainSpec {
            builds: spec.builds.clone(),
            ..ChainSpec::default()
        })?;
        let capture = lab.capture()?;
        let mut rig = Self {
            chain,
            nginx,
            capture,
            lab,
            nodes,
        };
        if let (Some(octets), false) = (spec.sizes.first(), spec.builds.is_empty()) {
            // Nodes with their own TCP/IP get to know their neighbours.
            rig.fetch(*octets)?;
            rig.settle()?;
        }
        Ok(rig)
    }

    /// Fetches a body. A fetch that fails, is damaged, or does not go the way it was sent is an
    /// error that quotes curl and the nodes.
    pub(crate) fn fetch(&mut self, body_octets: u64) -> anyhow::Result<Fetched> {
        self.capture.clear();
        let via = self.chain.entry().map_or(Via::Direct, Via::Synhop);
        let spec = CurlSpec {
            expect_octets: Some(body_octets),
            max_time: FETCH_BOUND,
            ..CurlSpec::new(self.nginx.url(body_octets), via)
        };
        let what = format!("{}, {}", spec.url, path_name(self.nodes));
        let result = self.lab.curl(&spec).map_err(anyhow::Error::from);
        let result = result.and_then(|outcome| self.judge(&outcome, body_octets));
        result.with_context(|| format!("{what}\n{}", self.logs()))
    }

    /// Waits until the links are silent, so that the next fetch is alone in its capture.
    pub(crate) fn settle(&self) -> anyhow::Result<()> {
        let links = self.lab.specs().iter();
        let round_trip = links.map(|link| link.delay * 2).sum::<Duration>();
        Ok(self
            .capture
            .wait_for_silence(round_trip * 2, SETTLE_BOUND)?)
    }

    /// The last fetch's segments, for a ladder.
    pub(crate) fn arrows(&self) -> Vec<Arrow> {
        flow::arrows(&self.capture.packets(), self.lab.links())
    }

    /// What the links did, all in one.
    pub(crate) fn links(&self) -> DirectionStats {
        self.lab.total_stats()
    }

    /// The last fetch's packets on all links, as a pcap file's octets.
    pub(crate) fn pcap(&self) -> anyhow::Result<Vec<u8>> {
        let path = self.lab.directory().join("flow.pcap");
        self.capture.write_pcap(&path, None)?;
        fs::read(&path).with_context(|| format!("read {}", path.display()))
    }

    fn judge(&self, outcome: &CurlOutcome, body_octets: u64) -> anyhow::Result<Fetched> {
        if !outcome.is_success() {
            bail!(
                "curl: exit code {:?}, HTTP status {}, {} octets, body {}: {}",
                outcome.exit_code,
                outcome.status,
                outcome.octets,
                if outcome.intact { "intact" } else { "damaged" },
                outcome.messages.join("; "),
            );
        }
        let packets = self.capture.packets();
        let wire = flow::client_times(&packets).context("the capture lacks the flow")?;
        let destination = self.chain.entry().unwrap_or(self.nginx.address());
        if wire.destination != destination {
            bail!(
                "the SYN went to {} and not to {destination}",
                wire.destination
            );
        }
        let forwarding = (1..=self.lab.nodes()).map(|node| flow::forwarding_time(&packets, node));
        let forwarding: Option<Vec<Duration>> = forwarding.collect();
        Ok(Fetched {
            curl_first: Duration::from_micros(outcome.first_byte_us),
            curl_last: Duration::from_micros(outcome.total_us),
            header_octets: wire.reply_octets.saturating_sub(body_octets),
            forwarding: forwarding.context("the capture lacks a node's SYN")?,
            wire,
        })
    }

    /// What the nodes printed last.
    fn logs(&mut self) -> String {
        let mut text = String::new();
        for node in self.chain.nodes() {
            let _ = writeln!(text, "--- {} printed:", node.name());
            let lines = node.lines();
            for line in lines.iter().skip(lines.len().saturating_sub(LOG_LINES)) {
                let _ = writeln!(text, "    {line}");
            }
        }
        text
    }
}

/// Has all hosts of a lab use a congestion control: by their routes, as a namespace's own default may
/// only be one of those that the machine's administrator allows to everybody.
pub(crate) fn use_congestion_control(lab: &Lab, name: &str) -> anyhow::Result<()> {
    let nodes = (1..=lab.nodes()).map(|node| lab.node(node));
    for namespace in [lab.client(), lab.server()].into_iter().chain(nodes) {
        let routes = namespace.command("ip").args(["route", "show"]).output()?;
        let routes = String::from_utf8_lossy(&routes.stdout).into_owned();
        let change = |route: &str| format!("route change {route} congctl {name}\n");
        let batch: String = routes.lines().map(change).collect();
        namespace
            .ip(&batch)
            .with_context(|| format!("use congestion control {name}"))?;
    }
    Ok(())
}

/// What the hosts' TCP uses unless told otherwise: every kernel has it, and its slow start is the
/// plain one of RFC 5681, without cubic's early exits.
pub(crate) const CONGESTION_CONTROL: &str = "reno";
/// Lateness of a link's frames from which on figures suffer.
pub(crate) const BUSY: Duration = Duration::from_micros(500);
const SETTLE_BOUND: Duration = Duration::from_secs(5);
/// Far beyond any fetch here; far below a user's patience.
const FETCH_BOUND: Duration = Duration::from_secs(20);
const LOG_LINES: usize = 15;
