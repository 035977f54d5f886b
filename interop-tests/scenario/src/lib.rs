//! Scenarios of TCP segments, run against the Linux kernel in real time and against the engine in
//! virtual time: the kernel shows that a scenario is right, then the engine has to do the same.
//!
//! A scenario is a text file; [`script`] says how it reads. [`run`] plays the remote host: it
//! injects segments, and expects others in their time, from the host under test, which is a
//! [`Backend`].

#![deny(unsafe_code)]

pub mod backend;
mod matching;
mod outcome;
mod runner;
pub mod script;
mod wire;

pub use backend::{Backend, On};
pub use outcome::{Fault, Outcome};
pub use runner::run;
pub use script::{ParseError, Scenario};
