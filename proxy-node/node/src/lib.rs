//! The parts of `synhop-node`, a synhop proxy node on Linux.
//!
//! What is decided (SPEC section 6) is decided by `synhop-core`; this crate does the I/O.

pub mod relay;
mod sys;
