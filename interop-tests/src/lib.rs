//! A line of network namespaces joined by emulated links, in which real
//! programs run and every frame is on record.
//!
//! ```text
//!  client ──link 0── n1 ──link 1── n2 ── ... ── nk ──link k── server
//! ```
//!
//! [`Lab::builder`] makes the line, [`Lab::capture`] records it, and
//! [`Process`], [`Nginx`], [`Chain`] and [`Lab::curl`] run programs in it.
//! Whatever is made is removed when the value is dropped, on panic, on
//! SIGINT and SIGTERM (see [`signals`]), and, should the process be killed
//! outright, by the next lab on the machine.
//!
//! Links are emulated in user space, by [`link`]'s one thread a lab. Only
//! that emulator is built: a kernel's own netem is not used even where there
//! is one.
//!
//! Needs root. IPv4 only so far.

mod addressing;
pub mod capture;
mod error;
pub mod flow;
pub mod link;
pub mod model;
mod netns;
mod pattern;
pub mod plot;
mod process;
pub mod programs;
mod scratch;
pub mod signals;
pub mod stats;
mod sys;
pub mod table;
mod topology;
pub mod transfer;
mod wait;

pub use capture::{Capture, Interface, Packet, Segment};
pub use error::LabError;
pub use link::{DirectionStats, End, Heading, LinkSpec, LinkStats, Queue};
pub use netns::{Namespace, is_privileged, skip_without_root};
pub use pattern::{Pattern, pattern_octets};
pub use process::{Process, ProcessBuilder};
pub use programs::{
    Build, Chain, ChainSpec, CurlOutcome, CurlSpec, Nginx, NginxFile, PEER_PORT, Peer, Transfer,
    TransferSpec, Via, find_binary,
};
pub use sys::realtime_ns;
pub use topology::{Lab, LabBuilder};
pub use transfer::{Order, Plan, Stall, TransferReport};
pub use wait::wait_until;
