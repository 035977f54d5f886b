//! Real programs, ready to be run in a lab.

mod chain;
mod curl;
mod find;
mod nginx;
mod own_stack;
mod peer;

pub use chain::{Chain, ChainSpec, NODE_PORT, STATUS_PORT};
pub use curl::{CurlOutcome, CurlSpec, Via};
pub use find::find_binary;
pub use nginx::{Nginx, NginxFile, WEB_PORT};
pub use own_stack::Build;
pub use peer::{PEER_PORT, Peer, Transfer, TransferSpec};
