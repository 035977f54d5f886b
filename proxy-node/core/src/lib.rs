//! What a synhop node decides: policy, routes, admission, the flow table and the state machine of
//! Early SYN Forwarding.
//!
//! A [`Node`] takes [`Input`]s and gives [`Action`]s. It has no clock, no sockets and no
//! randomness: the Linux node, the unikernel and the tests are shells around the same decisions.
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
