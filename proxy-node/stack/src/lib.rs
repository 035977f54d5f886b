//! A synhop node on a stack of its own: Ethernet frames and time in, frames and log lines out.
//!
//! The decisions are [`synhop_core`]'s, the connections are [`synhop_engine`]'s; here are the layers
//! below (ARP, NDP, IPv4, IPv6, ICMP) and the shell that joins the two. The unikernel and the hosted
//! build run this same code.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod checksum;
mod frame;
mod icmp;
mod inbound;
mod links;
mod neighbours;
mod node;
mod outbound;
mod settings;
mod stack;

pub use frame::{Checksum, Frame, Gso, Offload, Partial};
pub use settings::{Settings, SettingsError};
pub use stack::{Counters, Stack};
pub use synhop_engine::{Instant, Octets, Page, Payload, Pool};
