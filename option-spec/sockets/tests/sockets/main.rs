//! The option on real sockets, each test in a network namespace of its own. They need root; without
//! it they say SKIP.

mod forms;
mod latency;
mod limits;
mod once;
mod outcome;
mod peers;
mod support;
mod wire;
