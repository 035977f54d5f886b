//! Cleaning up when a signal ends the process.

use std::io;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::{netns, process, scratch};

/// From now on SIGINT, SIGTERM and SIGHUP stop every [`Process`](crate::Process),
/// remove every namespace and temporary folder of this process, and exit with 128 + the signal.
///
/// For binaries: call it first thing in `main`. Links go with the process.
pub fn clean_up_on_signals() -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            if let Some(signal) = signals.forever().next() {
                process::kill_all();
                netns::remove_own();
                scratch::remove_own();
                std::process::exit(128 + signal);
            }
        })?;
    Ok(())
}
