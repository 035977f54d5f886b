//! What settings can have wrong with them.

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

use ipnet::IpNet;

use super::limits::Timeouts;
use crate::onward::Capabilities;
use crate::policy::AllowTo;
use crate::routes::RoutesError;

/// What is wrong with [`crate::Settings`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// `allow_from` is empty: nobody could use the node. To let everybody, say so (`0.0.0.0/0`).
    NoAllowFrom,
    /// `allow_to` is empty: nothing could be reached.
    NoAllowTo,
    /// A prefix within `::ffff:0:0/96`: addresses are unmapped first, so it would never match.
    MappedPrefix {
        /// The prefix.
        prefix: IpNet,
    },
    /// The ports of an `allow_to` entry run backwards.
    EmptyPortRange {
        /// The entry.
        allow: AllowTo,
    },
    /// The routing table cannot be built.
    Routes(RoutesError),
    /// A next node that no SYN can be sent to: port 0, or an unspecified, multicast or broadcast
    /// address.
    BadNextHop {
        /// Its address.
        node: SocketAddr,
    },
    /// A next node that is this node.
    NextHopIsSelf {
        /// Its address.
        node: SocketAddr,
    },
    /// `hop_limit` is 0: every SYN without hops would be refused.
    NoHops,
    /// A limit is 0 or above its most.
    Limit {
        /// The field of [`crate::Limits`].
        name: &'static str,
        /// Its value.
        value: u32,
        /// The most it may be.
        most: u32,
    },
    /// A timeout is 0 or above [`Timeouts::MAX`].
    Timeout {
        /// The field of [`Timeouts`].
        name: &'static str,
        /// Its value.
        value: Duration,
    },
    /// The room for the option is not 18 to 40 octets.
    OptionRoom {
        /// The room.
        room_octets: usize,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAllowFrom => f.write_str("allow_from is empty: nobody could use the node"),
            Self::NoAllowTo => f.write_str("allow_to is empty: nothing could be reached"),
            Self::MappedPrefix { prefix } => write!(
                f,
                "prefix {prefix} is of v4-mapped addresses: write it as IPv4"
            ),
            Self::EmptyPortRange { allow } => write!(
                f,
                "ports {}-{} of {} run backwards",
                allow.ports.first, allow.ports.last, allow.prefix
            ),
            Self::Routes(error) => error.fmt(f),
            Self::BadNextHop { node } => write!(f, "no SYN can be sent to the next node {node}"),
            Self::NextHopIsSelf { node } => write!(f, "the next node {node} is this node"),
            Self::NoHops => f.write_str("hop_limit is 0: it is 1 to 255"),
            Self::Limit { name, value, most } => {
                write!(f, "limit {name} is {value}: it is 1 to {most}")
            }
            Self::Timeout { name, value } => write!(
                f,
                "timeout {name} is {value:?}: it is above 0 and at most {:?}",
                Timeouts::MAX
            ),
            Self::OptionRoom { room_octets } => write!(
                f,
                "room for the option is {room_octets} octets: it is {} to {}",
                Capabilities::MIN_ROOM_OCTETS,
                Capabilities::MAX_ROOM_OCTETS
            ),
        }
    }
}

impl core::error::Error for ConfigError {}

impl From<RoutesError> for ConfigError {
    fn from(error: RoutesError) -> Self {
        Self::Routes(error)
    }
}
