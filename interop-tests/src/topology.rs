//! The line: client, nodes, server, and the links between neighbours.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use crate::addressing::{LEFT_DEVICE, RIGHT_DEVICE, address, addressing};
use crate::capture::Recorder;
use crate::link::{Control, Emulator, Middlebox, Port, Priority};
use crate::{
    Capture, DirectionStats, End, Heading, Interface, LabError, LinkSpec, LinkStats, Namespace,
    netns, scratch,
};

/// What a line shall be like.
#[derive(Clone, Debug)]
pub struct LabBuilder {
    nodes: usize,
    link: LinkSpec,
    rtt: Option<Duration>,
    overrides: Vec<(usize, LinkSpec)>,
    congestion_control: Option<String>,
    sysctls: Vec<(String, String)>,
}

impl LabBuilder {
    /// How many nodes stand between client and server: 0 to 8, default 1.
    #[must_use]
    pub fn nodes(mut self, nodes: usize) -> Self {
        self.nodes = nodes;
        self
    }

    /// What every link is like, unless [`Self::link_at`] says otherwise.
    #[must_use]
    pub fn link(mut self, spec: LinkSpec) -> Self {
        self.link = spec;
        self
    }

    /// The round-trip time from client to server, split evenly: it takes the
    /// place of the delay of [`Self::link`].
    #[must_use]
    pub fn rtt(mut self, rtt: Duration) -> Self {
        self.rtt = Some(rtt);
        self
    }

    /// The same in milliseconds.
    #[must_use]
    pub fn rtt_ms(self, rtt_ms: u64) -> Self {
        self.rtt(Duration::from_millis(rtt_ms))
    }

    /// What one link is like (0 is the client's), delay included.
    #[must_use]
    pub fn link_at(mut self, link: usize, spec: LinkSpec) -> Self {
        self.overrides.push((link, spec));
        self
    }

    /// The congestion control everywhere. Default: `cubic` where namespaces
    /// may have it, otherwise `reno`.
    #[must_use]
    pub fn congestion_control(mut self, name: impl Into<String>) -> Self {
        self.congestion_control = Some(name.into());
        self
    }

    /// One more sysctl to be set in every namespace.
    #[must_use]
    pub fn sysctl(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.sysctls.push((key.into(), value.into()));
        self
    }

    /// Makes the line.
    pub fn build(self) -> Result<Lab, LabError> {
        Lab::build(&self)
    }

    fn links(&self) -> Result<Vec<LinkSpec>, LabError> {
        if self.nodes > MAX_NODES {
            return Err(LabError::BadSpec(format!(
                "{} nodes: at most {MAX_NODES}",
                self.nodes
            )));
        }
        let count = self.nodes + 1;
        let mut link = self.link.clone();
        if let Some(rtt) = self.rtt {
            // At most 9 links, two ways each.
            link.delay = rtt / (2 * u32::try_from(count).unwrap_or(u32::MAX));
        }
        let mut specs = vec![link; count];
        for (at, spec) in &self.overrides {
            let slot = specs.get_mut(*at);
            *slot.ok_or_else(|| LabError::BadSpec(format!("there is no link {at}")))? =
                spec.clone();
        }
        specs.iter().try_for_each(LinkSpec::check)?;
        Ok(specs)
    }
}

/// A line of namespaces, ready for programs. Dropping it removes everything.
pub struct Lab {
    /// First, so that it is dropped first: frames stop before namespaces go.
    emulator: Arc<Emulator>,
    /// Client, nodes, server.
    namespaces: Vec<Namespace>,
    specs: Vec<LinkSpec>,
    directory: tempfile::TempDir,
}

impl Lab {
    /// A line of one node with perfect links, to be changed as needed.
    pub fn builder() -> LabBuilder {
        LabBuilder {
            nodes: 1,
            link: LinkSpec::default(),
            rtt: None,
            overrides: Vec::new(),
            congestion_control: None,
            sysctls: Vec::new(),
        }
    }

    fn build(builder: &LabBuilder) -> Result<Self, LabError> {
        let specs = builder.links()?;
        if !netns::is_privileged() {
            return Err(LabError::NotRoot);
        }
        SWEEP.call_once(|| {
            netns::remove_orphans();
            scratch::remove_orphans();
        });
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let namespaces = roles(builder.nodes)
            .map(|role| Namespace::create(number, &role))
            .collect::<Result<Vec<_>, _>>()?;
        let mut ports = Vec::with_capacity(specs.len() * 2);
        for link in 0..specs.len() {
            let left = Interface {
                link,
                end: End::Left,
            };
            let right = Interface {
                link,
                end: End::Right,
            };
            ports.push(Port::create(&namespaces[link], RIGHT_DEVICE, left)?);
            ports.push(Port::create(&namespaces[link + 1], LEFT_DEVICE, right)?);
        }
        for (position, namespace) in namespaces.iter().enumerate() {
            configure(namespace, builder)?;
            namespace.ip(&addressing(position, specs.len()))?;
        }
        let emulator = Arc::new(Emulator::start(ports, &specs)?);
        let directory = scratch::create().map_err(LabError::system("make a temporary folder"))?;
        Ok(Self {
            emulator,
            namespaces,
            specs,
            directory,
        })
    }

    /// The client's namespace.
    pub fn client(&self) -> &Namespace {
        &self.namespaces[0]
    }

    /// The server's namespace.
    pub fn server(&self) -> &Namespace {
        &self.namespaces[self.specs.len()]
    }

    /// A node's namespace; nodes count from 1, at the client's side.
    ///
    /// # Panics
    /// When there is no such node.
    pub fn node(&self, number: usize) -> &Namespace {
        assert!(
            (1..=self.nodes()).contains(&number),
            "there is no node {number}"
        );
        &self.namespaces[number]
    }

    /// A host by its place in the line: 0 is the client, the last one the server.
    pub(crate) fn host(&self, position: usize) -> &Namespace {
        &self.namespaces[position.min(self.specs.len())]
    }

    /// How many nodes there are.
    pub const fn nodes(&self) -> usize {
        self.specs.len() - 1
    }

    /// How many links there are: one more than nodes.
    pub const fn links(&self) -> usize {
        self.specs.len()
    }

    /// What the links were built like, from the client on.
    pub fn specs(&self) -> &[LinkSpec] {
        &self.specs
    }

    /// The client's address.
    pub const fn client_address(&self) -> Ipv4Addr {
        address(0, End::Left)
    }

    /// The server's address.
    pub const fn server_address(&self) -> Ipv4Addr {
        address(self.specs.len() - 1, End::Right)
    }

    /// The address at which a node is reached from the client's side.
    pub const fn node_address(&self, number: usize) -> Ipv4Addr {
        address(number - 1, End::Right)
    }

    /// The address with which a node connects onward.
    pub const fn node_onward_address(&self, number: usize) -> Ipv4Addr {
        address(number, End::Left)
    }

    /// The device in a namespace that leads towards the client.
    pub const fn left_device(&self) -> &'static str {
        LEFT_DEVICE
    }

    /// The device in a namespace that leads towards the server.
    pub const fn right_device(&self) -> &'static str {
        RIGHT_DEVICE
    }

    /// A folder for configurations and logs, removed with the lab.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Starts recording on all links; headers only, a million frames at most.
    pub fn capture(&self) -> Result<Capture, LabError> {
        self.capture_with(SNAP_OCTETS, CAPTURE_FRAMES)
    }

    /// Starts recording on all links: so much of each frame, so many frames.
    pub fn capture_with(&self, snap_octets: u32, frames: usize) -> Result<Capture, LabError> {
        let recorder = Arc::new(Recorder::new(snap_octets, frames));
        self.emulator
            .order(Control::Record(Arc::clone(&recorder)))?;
        Ok(Capture::new(recorder, Arc::downgrade(&self.emulator)))
    }

    /// Changes a link while it runs. Frames on the way are not affected.
    pub fn set_link(&self, link: usize, spec: LinkSpec) -> Result<(), LabError> {
        self.check_link(link, &spec)?;
        self.emulator.order(Control::Spec { link, spec })
    }

    /// Changes one direction of a link while it runs.
    pub fn set_link_direction(
        &self,
        link: usize,
        heading: Heading,
        spec: LinkSpec,
    ) -> Result<(), LabError> {
        self.check_link(link, &spec)?;
        self.emulator.order(Control::DirectionSpec {
            link,
            heading,
            spec,
        })
    }

    /// Puts a middlebox into one direction of a link: it may drop or change
    /// frames. `None` takes it out.
    pub fn set_middlebox(
        &self,
        link: usize,
        heading: Heading,
        middlebox: Option<Middlebox>,
    ) -> Result<(), LabError> {
        self.check_link(link, &LinkSpec::default())?;
        self.emulator.order(Control::Middlebox {
            link,
            heading,
            middlebox,
        })
    }

    /// What each link has carried and lost, and how late it was.
    pub fn link_stats(&self) -> Vec<LinkStats> {
        self.emulator.stats()
    }

    /// The sum over all links and directions.
    pub fn total_stats(&self) -> DirectionStats {
        self.emulator.total()
    }

    /// The congestion control in force.
    pub fn congestion_control(&self) -> Result<String, LabError> {
        self.client().sysctl(CONGESTION_CONTROL)
    }

    /// How the emulator's thread is scheduled.
    pub fn emulator_priority(&self) -> Priority {
        self.emulator.priority()
    }

    /// Processor time that the emulator's thread has used, in steps of 10 ms.
    /// It includes what the kernel does with the frames that it delivers.
    pub fn emulator_cpu_time(&self) -> Result<Duration, LabError> {
        self.emulator.cpu_time()
    }

    fn check_link(&self, link: usize, spec: &LinkSpec) -> Result<(), LabError> {
        if link >= self.links() {
            return Err(LabError::BadSpec(format!("there is no link {link}")));
        }
        spec.check()
    }
}

fn roles(nodes: usize) -> impl Iterator<Item = String> {
    let between = (1..=nodes).map(|node| format!("n{node}"));
    std::iter::once("client".to_owned())
        .chain(between)
        .chain(["server".to_owned()])
}

fn configure(namespace: &Namespace, builder: &LabBuilder) -> Result<(), LabError> {
    namespace.set_sysctls(SYSCTLS)?;
    match &builder.congestion_control {
        Some(name) => namespace.set_sysctls(&[(CONGESTION_CONTROL, name)])?,
        None => prefer_congestion_control(namespace)?,
    }
    let more: Vec<_> = builder
        .sysctls
        .iter()
        .map(|(key, value)| (&**key, &**value))
        .collect();
    namespace.set_sysctls(&more)
}

/// A namespace may only take what the machine's administrator allows: bbr on
/// some machines, where reno stays as the other one with a plain slow start.
fn prefer_congestion_control(namespace: &Namespace) -> Result<(), LabError> {
    let mut tried = PREFERRED_CONGESTION_CONTROLS.iter();
    let found = tried.any(|name| namespace.set_sysctls(&[(CONGESTION_CONTROL, name)]).is_ok());
    if found {
        return Ok(());
    }
    Err(LabError::BadSpec(format!(
        "none of {PREFERRED_CONGESTION_CONTROLS:?} can be chosen"
    )))
}

/// Numbers the labs of this process.
static COUNTER: AtomicU32 = AtomicU32::new(0);
static SWEEP: Once = Once::new();

/// What every namespace gets: Linux's own defaults where the machine's may be
/// tuned, so that results can be compared, and silence besides TCP.
const SYSCTLS: &[(&str, &str)] = &[
    ("net.ipv4.ip_forward", "1"),
    ("net.ipv4.conf.all.rp_filter", "0"),
    ("net.ipv4.conf.default.rp_filter", "0"),
    ("net.ipv4.tcp_rmem", "4096 131072 6291456"),
    ("net.ipv4.tcp_wmem", "4096 16384 4194304"),
    // Otherwise a destination's metrics of one run change the next.
    ("net.ipv4.tcp_no_metrics_save", "1"),
    ("net.ipv6.conf.all.disable_ipv6", "1"),
];

const CONGESTION_CONTROL: &str = "net.ipv4.tcp_congestion_control";
const PREFERRED_CONGESTION_CONTROLS: [&str; 2] = ["cubic", "reno"];
const MAX_NODES: usize = 8;
/// Ethernet, and IPv4 and TCP headers at their longest: 134.
const SNAP_OCTETS: u32 = 160;
const CAPTURE_FRAMES: usize = 1_000_000;
