//! The program as a child: this process stays for its helper's sake, and stands in for it.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus};

use anyhow::{Context, Result};
use synhop_client_core::Settings;

use super::own_helper::OwnHelper;
use super::{OWN_FAILURE, cannot_execute};
use crate::sys::{self, Sender, Signal, Signals};

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

/// How far back a process's ancestors are looked at.
const MAX_GENERATIONS: usize = 64;

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
                sender: Sender::Kernel,
                ..
            } => {}
            // It has sent it to its process group, and would do so again.
            Signal {
                sender: Sender::Process(pid),
                ..
            } if is_of_program(child, pid) => {}
            Signal { number, .. } => sys::forward(child, number),
        }
    }
}

/// Whether a process is the program or one that it, or a process of its, has started.
fn is_of_program(program: &Child, pid: libc::pid_t) -> bool {
    let program = libc::pid_t::try_from(program.id()).ok();
    std::iter::successors(Some(pid), |pid| parent(*pid))
        .take(MAX_GENERATIONS)
        .any(|pid| Some(pid) == program)
}

/// `None`: there is no such process, or no more.
fn parent(pid: libc::pid_t) -> Option<libc::pid_t> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may contain anything.
    let (_, rest) = status.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
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
