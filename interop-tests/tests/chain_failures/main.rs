//! What goes wrong: the reason in the log, a bounded lifetime, and no effect on a healthy flow
//! that goes through the same node meanwhile. A file for each whose fault it is.

#[path = "../common/mod.rs"]
mod common;
mod expect;

mod client;
mod configuration;
mod malformed;
mod node;
mod server;
