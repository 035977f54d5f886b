//! The parts of `synhop-node`, a synhop proxy node on Linux.
//!
//! What is decided (SPEC section 6) is decided by `synhop-core`; this crate does the I/O.

pub mod cli;
pub mod config;
pub mod logging;
pub mod machine;
pub mod node;
pub mod relay;
pub mod status;
mod sys;
