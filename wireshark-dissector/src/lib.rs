//! What the tests of `synhop.lua` are made of: the golden vectors, captures with one segment for
//! each, and tshark run over them with nothing of the user's own configuration.
//!
//! The dissector is the script; this crate only tests it.
#![forbid(unsafe_code)]

pub mod capture;
pub mod committed;
pub mod expectation;
pub mod frame;
pub mod pcap;
pub mod surroundings;
pub mod tshark;
pub mod vector;
