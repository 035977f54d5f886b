//! The host under test.

mod engine;
mod kernel;
mod tun;

use std::time::Duration;

use crate::script::{Call, Claim, IcmpKind, Scenario};

/// Which host to test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// The Linux kernel's, over a TUN device in a network namespace of its own, in real time.
    Kernel,
    /// The engine, in virtual time.
    Engine,
}

/// A host under test. Times count from its start.
pub trait Backend {
    /// The time.
    fn now(&self) -> Duration;
    /// How much sooner or later than said a segment may come.
    fn tolerance(&self) -> Duration;
    /// Something comes from the network.
    fn inject(&mut self, injection: &Injection) -> Result<(), BackendError>;
    /// The next TCP segment that the host sends, and when it did; `None` when it is `until`.
    fn next_segment(
        &mut self,
        until: Duration,
    ) -> Result<Option<(Duration, Vec<u8>)>, BackendError>;
    /// The program on the host does something.
    fn call(&mut self, call: Call) -> Result<(), BackendError>;
    /// Whether something is true of the connection; an error says what is instead.
    fn claim(&mut self, claim: Claim) -> Result<(), BackendError>;
}

/// What comes from the network.
#[derive(Clone, Debug)]
pub enum Injection {
    /// A TCP segment, its checksum 0.
    Segment(Vec<u8>),
    /// An ICMP error that quotes a segment of the host's.
    Icmp {
        /// Which error.
        kind: IcmpKind,
        /// The host's port.
        host_port: u16,
        /// The other.
        remote_port: u16,
        /// The quoted segment's number.
        seq: u32,
    },
}

/// Why a host could not do something.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The machine does not let us.
    #[error("needs {0}")]
    Needs(String),
    /// The machine refused a step of ours.
    #[error("{step}: {error}")]
    System {
        /// Which.
        step: &'static str,
        /// Why.
        error: std::io::Error,
    },
    /// The scenario's call, or its claim, did not come true.
    #[error("{0}")]
    Call(String),
}

impl On {
    /// Runs a scenario on a new host.
    pub fn run(self, scenario: &Scenario) -> Result<crate::Outcome, BackendError> {
        match self {
            Self::Engine => {
                let mut host = engine::EngineHost::new(scenario.settings);
                crate::run(scenario, &mut host)
            }
            Self::Kernel => on_own_thread(scenario),
        }
    }
}

/// A thread may leave its network namespace alone, and takes it along when it ends.
fn on_own_thread(scenario: &Scenario) -> Result<crate::Outcome, BackendError> {
    std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            let mut host = kernel::KernelHost::new(scenario.settings)?;
            crate::run(scenario, &mut host)
        });
        running
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The host under test, in both backends.
pub(crate) const HOST: std::net::Ipv4Addr = std::net::Ipv4Addr::new(10, 0, 0, 1);
/// Who talks to it.
pub(crate) const REMOTE: std::net::Ipv4Addr = std::net::Ipv4Addr::new(10, 0, 0, 2);
/// Where its connections go.
pub(crate) const SERVER_PORT: u16 = 8080;
