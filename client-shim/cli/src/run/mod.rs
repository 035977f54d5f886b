//! `synhop run`: the program, the preload library, and a helper for it.

mod child;
mod directory;
mod library;
mod own_helper;

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, anyhow, bail};
use socket2::{Domain, SockAddr, Socket, Type};
use synhop_client_core::{ANSWER_OCTETS, Answer, Policy, Request, Routes, Settings};

use crate::args::{self, DEFAULT_SOCKET, Marker, Via};
use crate::{config, sys};

/// Exit codes as those of env(1) and timeout(1).
const OWN_FAILURE: u8 = 125;
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;
/// A wrong command line, as clap's.
const USAGE: u8 = 2;

/// Runs the program; the exit code is the program's, or one of those above.
pub(crate) fn run(args: args::Run) -> ExitCode {
    if let Some(what) = not_built(&args) {
        eprintln!("synhop run: {what} is not built yet");
        return USAGE.into();
    }
    match prepare_and_run(args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("synhop run: {error:#}");
            OWN_FAILURE.into()
        }
    }
}

fn not_built(args: &args::Run) -> Option<&'static str> {
    match (args.via, args.marker) {
        (Via::Cgroup, _) => Some("--via cgroup"),
        (Via::Auto | Via::Preload, Marker::Raw) => Some("--marker raw"),
        (Via::Auto | Via::Preload, Marker::Auto | Marker::Bpf) => None,
    }
}

fn prepare_and_run(args: args::Run) -> Result<ExitCode> {
    let policy = policy(&args)?;
    let library = library::find()?;
    let mut command = args.command.into_iter();
    let program = command.next().context("no command")?;
    let mut command = {
        let mut it = Command::new(&program);
        it.args(command);
        it
    };
    library::warn_if_ineffective(&program);
    preload(&mut command, &library);
    let is_own = args.helper.is_none() && own_helper::is_privileged();
    if is_own {
        return child::run(command, |path| settings(policy, path, args.verbose));
    }
    let path = args.helper.unwrap_or_else(|| PathBuf::from(DEFAULT_SOCKET));
    check_helper(&path)?;
    command.envs(settings(policy, &path, args.verbose)?.to_variables());
    // The helper is somebody else's: nothing is left to do here.
    // Returns only on failure.
    let error = command.exec();
    Ok(cannot_execute(&command, &error))
}

fn cannot_execute(command: &Command, error: &std::io::Error) -> ExitCode {
    let program = command.get_program().display();
    eprintln!("synhop run: {program}: {error}");
    if error.kind() == std::io::ErrorKind::NotFound {
        NOT_FOUND.into()
    } else {
        NOT_EXECUTABLE.into()
    }
}

fn policy(args: &args::Run) -> Result<Policy> {
    let mut policy = match (&args.config, args.proxy) {
        (Some(path), _) => config::read(path)?,
        (None, Some(proxy)) => Policy {
            routes: Routes::all_through(proxy)?,
            ..Policy::default()
        },
        (None, None) => bail!("neither --proxy nor --config"),
    };
    policy.bypass.extend(&args.bypass);
    if let Some(fallback) = args.fallback {
        policy.fallback = fallback.into();
    }
    Ok(policy)
}

fn settings(policy: Policy, helper: &Path, verbose: bool) -> Result<Settings> {
    let absolute = std::path::absolute(helper)?;
    let helper = absolute
        .to_str()
        .with_context(|| format!("{}: not UTF-8", helper.display()))?;
    Ok(Settings {
        policy,
        helper: helper.to_owned(),
        verbose,
    })
}

/// Puts the library in front of those that the user preloads already.
fn preload(command: &mut Command, library: &Path) {
    let mut value = library.as_os_str().to_owned();
    if let Some(others) = std::env::var_os("LD_PRELOAD").filter(|others| !others.is_empty()) {
        value.push(":");
        value.push(others);
    }
    command.env("LD_PRELOAD", value);
}

/// Asks the helper about a fresh socket, so that a helper that is not there, refuses us or
/// speaks another version is found out now and not at the program's first connection.
fn check_helper(path: &Path) -> Result<()> {
    let name = path.display();
    let answer = ask_helper(path).with_context(|| {
        format!(
            "no helper at {name}: have an administrator start `synhop helper` (or the service \
             synhop-helper), or run this command as root"
        )
    })?;
    match answer {
        Answer::Unmarked => Ok(()),
        Answer::Refused(refusal) => Err(anyhow!("the helper at {name}: {refusal}")),
        Answer::Done | Answer::Flow(_) => Err(anyhow!("the helper at {name} answers nonsense")),
    }
}

fn ask_helper(path: &Path) -> Result<Answer> {
    let timeout = Some(std::time::Duration::from_secs(2));
    let fresh = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let helper = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
    helper.set_read_timeout(timeout)?;
    helper.set_write_timeout(timeout)?;
    helper.connect(&SockAddr::unix(path)?)?;
    // A helper with too many clients closes at once.
    let sent = sys::send_with(
        &helper,
        &Request::State.emit(),
        std::os::fd::AsFd::as_fd(&fresh),
    );
    let mut answer = [0; ANSWER_OCTETS + 1];
    let len = match std::io::Read::read(&mut &helper, &mut answer) {
        Ok(len) => len,
        Err(error) => return Err(sent.err().unwrap_or(error).into()),
    };
    Ok(Answer::parse(&answer[..len])?)
}

/// The environment of a search path, or its default.
fn search_path() -> OsString {
    std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into())
}
