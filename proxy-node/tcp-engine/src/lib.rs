//! A TCP engine for proxies: segments and time in, segments and events out.
//!
//! It has no clock, no randomness, no sockets and no unsafe code. It is built around *pairs*: two
//! connections whose octets, FINs and resets pass from one to the other, by reference to the pages
//! that they came in. A SYN is an event of its own, before anything is answered by anybody, so that
//! another connection can be opened onward the moment it arrives.
//!
//! What it follows: RFC 9293, 1122, 1191, 1337, 2018, 2883, 3042, 5681, 5927, 5961, 6298, 6528,
//! 6582, 6675, 6691, 6928, 6937, 6994, 7323, 8985, 9438.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod config;
mod connection;
mod engine;
mod pool;
mod receive;
mod send;
mod seq;
mod table;
mod time;
mod wire;

pub use config::Config;
pub use connection::{Failure, IcmpError, State, Transmit, Tuple};
pub use engine::{ConnectError, Counters, Engine, Event, PairEnd, Quoted, Syn};
pub use pool::{Octets, Page, Payload, Pool};
pub use seq::Seq;
pub use table::slab::ConnId;
pub use time::Instant;
pub use wire::{Flags, Header, HeaderError, Options, SackBlock, Segment, Timestamps};
