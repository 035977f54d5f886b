//! The program as a child: this process stays for its helper's sake, and stands in for it.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus};

use anyhow::{Context, Result};
use synhop_client_core::Settings;

use super::own_helper::OwnHelper;
use super::{OWN_FAILURE, cannot_execute};
use crate::sys::{self, Signal, Signals};

/// What others send to us is meant for the program.
const HANDLED: [libc::c_int; 7] = [
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGCHLD,
];

/// Starts an own helper and the program, and waits for the program's end. The program stays in
/// this process group: the terminal's signals, and its job control, reach both.
pub(super) fn run(
    mut command: Command,
    settings: impl FnOnce(&Path) -> Result<Settings>,
) -> Result<ExitCode> {
    // Before the helper's thread starts: it must not take the signals.
    let signals = Signals::block(&HANDLED).context("blocking signals")?;
    let helper = OwnHelper::start()?;
    command.envs(settings(&helper.path())?.to_variables());
    signals.restore_in(&mut command);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Ok(cannot_execute(&command, &error)),
    };
    Ok(exit_code(wait(&mut child, &signals)?))
}

fn wait(child: &mut Child, signals: &Signals) -> Result<ExitStatus> {
    loop {
        match signals.wait() {
            Signal {
                number: libc::SIGCHLD,
                ..
            } => {
                if let Some(status) = child.try_wait().context("waiting for the program")? {
                    return Ok(status);
                }
            }
            // The terminal has sent it to the program, too.
            Signal {
                is_from_kernel: true,
                ..
            } => {}
            Signal { number, .. } => sys::forward(child, number),
        }
    }
}

/// As a shell says it.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => i32::from(OWN_FAILURE),
    };
    u8::try_from(code).unwrap_or(OWN_FAILURE).into()
}
