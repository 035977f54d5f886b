//! What the tests of the whole chain share.
//!
//! ```text
//!  client ──link 0── n1 ──link 1── n2 ── ... ── nk ──link k── server
//!    curl              synhop-node, each via the next           nginx
//! ```
#![allow(
    dead_code,
    unused_imports,
    reason = "each test program uses its own part"
)]

mod bystander;
mod fetches;
mod options;
mod report;
mod site;
mod vectors;
mod wire;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(crate) use bystander::Bystander;
pub(crate) use fetches::Fetches;
pub(crate) use options::{TcpOption, option_list, synhop_options};
pub(crate) use report::{FlowLine, flow_lines, outcomes, wait_for_flow};
pub(crate) use site::{
    Site, Traces, config_file, idle_nodes, route_to_server, start_nodes, synhop_run,
};
pub(crate) use vectors::{Vector, malformed_syns};
pub(crate) use wire::{Leg, Seen, rewrite_options};

use synhop_lab::skip_without_root;

/// One test at a time within a program, whatever the runner does: labs share the processors, and
/// starved link emulators spoil each other's timings. `None`: the test cannot run and has said so.
pub(crate) fn turn(test: &str) -> Option<MutexGuard<'static, ()>> {
    static TURN: Mutex<()> = Mutex::new(());
    if skip_without_root(test) {
        return None;
    }
    Some(TURN.lock().unwrap_or_else(PoisonError::into_inner))
}

/// For what should take milliseconds, on a machine that is busy with something else.
pub(crate) const PROMPTLY: Duration = Duration::from_secs(5);
