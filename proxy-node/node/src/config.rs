//! What the operator wants: flags over file over defaults.

mod draft;
mod file;
mod problem;
mod value;

use std::net::SocketAddr;

use ipnet::IpNet;
use synhop_core::{AllowTo, Capabilities, ConfigError, NextHop, Own, Route, Timeouts};
use synhop_option::{HopsLeft, Kind};

pub use draft::Draft;
pub use file::read;
pub use problem::{Place, Problem, Problems};
pub use value::{LogFormat, SendBuffer, parse_allow_to, parse_prefix};

use crate::machine::Machine;

/// A complete, checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where clients and nodes before this one connect to.
    pub listen: SocketAddr,
    /// The node that flows without a matching route go to; `None`: to their destination.
    pub via: Option<SocketAddr>,
    /// Exceptions to `via`, longest prefix first served.
    pub routes: Vec<Route>,
    /// Sources (of the IP header) that may use this node; not empty.
    pub allow_from: Vec<IpNet>,
    /// Destinations that may be reached through it; not empty.
    pub allow_to: Vec<AllowTo>,
    /// Sources whose SYNs are forwarded before their handshake is complete.
    pub trust: Vec<IpNet>,
    /// The option kind in use.
    pub kind: Kind,
    /// Send buffer of both legs.
    pub send_buffer: SendBuffer,
    /// Where the status page is served, if anywhere.
    pub status: Option<SocketAddr>,
    /// How log lines look.
    pub log_format: LogFormat,
    /// What bounds the node's tables.
    pub limits: Limits,
    /// What bounds its waiting.
    pub timeouts: Timeouts,
}

/// Bounds of tables and queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Flows at once; `None`: as many as descriptors allow.
    pub flows: Option<u32>,
    /// What else the core bounds; its `flows` does not count.
    pub core: synhop_core::Limits,
    /// Hops that a flow may take from here on when its SYN does not say.
    pub hops: HopsLeft,
    /// Connections that wait to be accepted (the backlog of listen(2)).
    pub backlog: i32,
    /// Pipes for relaying, two descriptors each; flows beyond copy.
    pub pipes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            flows: None,
            core: synhop_core::Limits::default(),
            hops: HopsLeft::DEFAULT,
            backlog: 4096,
            pipes: 512,
        }
    }
}

impl Settings {
    /// What the core is told. Fails where settings contradict each other or this machine.
    pub fn core(&self, machine: &Machine) -> Result<synhop_core::Config, ConfigError> {
        let listens = [self.listen].into_iter().chain(self.status).collect();
        let flows = match self.limits.flows {
            Some(flows) => flows.min(machine.max_flows),
            None => machine.max_flows,
        };
        let mut limits = self.limits.core;
        limits.flows = flows;
        if limits.pending == synhop_core::Limits::default().pending {
            limits.pending = limits.pending.min(flows);
        }
        synhop_core::Config::new(synhop_core::Settings {
            allow_from: self.allow_from.clone(),
            allow_to: self.allow_to.clone(),
            trusted: self.trust.clone(),
            own: Own {
                addresses: machine.addresses.clone(),
                listens,
            },
            routes: self.routes.clone(),
            default_route: self.via.map_or(NextHop::Destination, NextHop::Node),
            hop_limit: self.limits.hops,
            capabilities: Capabilities {
                room_octets: machine.option_room_octets,
                ..Capabilities::default()
            },
            limits,
            timeouts: self.timeouts,
        })
    }
}
