//! What a synhop node decides: policy, routes, admission, the flow table and the state machine of
//! Early SYN Forwarding.
//!
//! A [`Node`] takes [`Input`]s and gives [`Action`]s. It has no clock, no sockets and no
//! randomness: the Linux node, the unikernel and the tests are shells around the same decisions.
//!
//! ```
//! use synhop_core::{Action, Config, Input, Isn, Leg, Node, Settings, Syn, Time};
//! use synhop_option::{Extra, SynOption, V4Destination};
//!
//! // Clients from 192.0.2.0/24 may go anywhere, and their bare SYNs are acted on.
//! let clients = "192.0.2.0/24".parse::<ipnet::IpNet>()?;
//! let anywhere = "0.0.0.0/0".parse::<ipnet::IpNet>()?;
//! let mut node = Node::new(Config::new(Settings {
//!     allow_from: vec![clients],
//!     allow_to: vec![anywhere.into()],
//!     trusted: vec![clients],
//!     ..Settings::default()
//! })?);
//!
//! // A SYN comes in, with the 4-tuple of its flow ...
//! let syn = Syn {
//!     leg: Leg::new("192.0.2.1:54321".parse()?, "203.0.113.1:7000".parse()?),
//!     isn: Isn(1),
//!     option: Ok(Some(SynOption::V4 {
//!         source: "192.0.2.1:54321".parse()?,
//!         destination: V4Destination::new("198.51.100.1:443".parse()?)?,
//!         extra: Extra::Nothing,
//!     })),
//! };
//! let mut actions = Vec::new();
//! node.on(Input::Syn(syn), Time::ZERO, &mut |action| actions.push(action));
//!
//! // ... and another goes out at once: here to the destination itself, so without an option.
//! let [Action::Connect { to, option: None, .. }] = actions[..] else {
//!     panic!("{actions:?}");
//! };
//! assert_eq!(to, "198.51.100.1:443".parse()?);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod admission;
mod config;
mod counters;
mod ended;
mod event;
mod flow;
mod flow_table;
mod leg;
mod node;
mod onward;
mod policy;
mod report;
mod routes;
mod sources;
mod syn;
mod time;

pub use config::{Config, ConfigError, Limits, Settings, Timeouts};
pub use counters::Counters;
pub use event::{Action, ConnectFailure, Input, RelayEnd, Relayed, Reply, Verdict};
pub use flow_table::FlowId;
pub use leg::{Isn, Leg};
pub use node::Node;
pub use onward::{AddressForm, Capabilities};
pub use policy::{AllowTo, Own, PortRange};
pub use report::{Mode, Outcome, Report, Timings};
pub use routes::{NextHop, Route, Routes, RoutesError};
pub use syn::Syn;
pub use time::Time;
