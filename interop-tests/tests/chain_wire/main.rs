//! The wire format, pinned from captures of unmodified curl through chains of nodes.

#[path = "../common/mod.rs"]
mod common;
mod pins;

mod negotiation;
mod order;
mod retransmission;
