//! Network namespaces with names, removed when dropped.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::{LabError, sys};

/// A named network namespace of this process's making.
///
/// It shows in `ip netns`, so that people can look inside while it lives.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    handle: Arc<OwnedFd>,
}

impl Namespace {
    /// Makes namespace `synhop-<pid>-<lab>-<role>` with loopback up and the
    /// lab's TCP settings.
    pub(crate) fn create(lab: u32, role: &str) -> Result<Self, LabError> {
        let name = format!("{PREFIX}{}-{lab}-{role}", std::process::id());
        {
            let _making = making();
            run_ip(Command::new("ip").args(["netns", "add", &name]))?;
        }
        // From here on Drop removes it, whatever fails.
        let handle = File::open(Path::new(NETNS_DIR).join(&name));
        let handle = handle.map_err(|source| {
            remove(&name);
            LabError::System {
                what: format!("open namespace {name}"),
                source,
            }
        })?;
        let namespace = Self {
            name,
            handle: Arc::new(handle.into()),
        };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// The name, as `ip netns` shows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run inside, and that is killed should the thread
    /// that spawns it end first.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        sys::run_inside(&mut command, Arc::clone(&self.handle));
        command
    }

    /// Runs `work` inside, on a thread of its own.
    ///
    /// Sockets that it opens stay inside wherever they go afterwards. Do not
    /// spawn children in it: they would be killed when it returns.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        let inside = || {
            sys::enter_network_namespace(self.handle.as_fd())
                .map_err(LabError::system(format!("enter namespace {}", self.name)))?;
            Ok(work())
        };
        thread::scope(|scope| match scope.spawn(inside).join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// Sets sysctls inside; keys as `net.ipv4.ip_forward`.
    pub fn set_sysctls(&self, settings: &[(&str, &str)]) -> Result<(), LabError> {
        self.enter(|| {
            for (key, value) in settings {
                let path = Path::new("/proc/sys").join(key.replace('.', "/"));
                fs::write(&path, value)
                    .map_err(LabError::system(format!("set {key} = {value}")))?;
            }
            Ok(())
        })?
    }

    /// Reads one sysctl inside.
    pub fn sysctl(&self, key: &str) -> Result<String, LabError> {
        let path = Path::new("/proc/sys").join(key.replace('.', "/"));
        let text = self.enter(|| fs::read_to_string(path))?;
        Ok(text
            .map_err(LabError::system(format!("read {key}")))?
            .trim()
            .to_owned())
    }

    /// Runs lines of `ip` commands (without the word `ip`) inside.
    pub fn ip(&self, batch: &str) -> Result<(), LabError> {
        let mut command = self.command("ip");
        command
            .args(["-batch", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .map_err(LabError::system("start ip (iproute2)"))?;
        if let Some(mut input) = child.stdin.take() {
            input
                .write_all(batch.as_bytes())
                .map_err(LabError::system("write to ip"))?;
        }
        let output = child
            .wait_with_output()
            .map_err(LabError::system("wait for ip"))?;
        check(&output, || {
            format!("ip -batch, in {}, of {batch:?}", self.name)
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Whether this process may make namespaces.
pub fn is_privileged() -> bool {
    sys::is_root()
}

/// For tests: prints a SKIP line and says true where the lab cannot run.
pub fn skip_without_root(test: &str) -> bool {
    let skip = !is_privileged();
    if skip {
        println!("SKIP {test}: needs root, to make network namespaces and TAP devices");
    }
    skip
}

/// Removes the namespaces of labs whose process is gone (killed by a signal
/// that it could not catch).
pub(crate) fn remove_orphans() {
    for (name, owner) in ours() {
        if !Path::new("/proc").join(owner.to_string()).exists() {
            remove(&name);
        }
    }
}

/// Removes the namespaces of this process: the last thing before it exits on
/// a signal, when no Drop will run. From now on this process makes none.
pub(crate) fn remove_own() {
    // Never given back: a lab that is being built waits here until the exit.
    std::mem::forget(making());
    let own = std::process::id();
    for (name, owner) in ours() {
        if owner == own {
            remove(&name);
        }
    }
}

/// Held while a namespace is being made, lest one appear behind [`remove_own`].
fn making() -> MutexGuard<'static, ()> {
    static MAKING: Mutex<()> = Mutex::new(());
    MAKING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The lab namespaces on this machine, with the pid of their makers.
fn ours() -> Vec<(String, u32)> {
    let entries = fs::read_dir(NETNS_DIR).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter_map(|name| owner(&name).map(|pid| (name, pid)))
        .collect()
}

fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

/// Best effort: what cannot be removed now, the next lab tries again.
fn remove(name: &str) {
    let mut command = Command::new("ip");
    command
        .args(["netns", "delete", name])
        .stderr(Stdio::null());
    if !command.status().is_ok_and(|status| status.success()) {
        let path: PathBuf = Path::new(NETNS_DIR).join(name);
        tracing::debug!(path = %path.display(), "namespace was not removed");
    }
}

fn run_ip(command: &mut Command) -> Result<(), LabError> {
    let output = command
        .output()
        .map_err(LabError::system("start ip (iproute2)"))?;
    check(&output, || format!("{command:?}"))
}

fn check(output: &Output, program: impl Fn() -> String) -> Result<(), LabError> {
    if output.status.success() {
        return Ok(());
    }
    Err(LabError::ProgramFailed {
        program: program(),
        status: output.status.to_string(),
        output: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

const PREFIX: &str = "synhop-";
/// Where `ip netns` keeps names.
const NETNS_DIR: &str = "/run/netns";

#[cfg(test)]
mod tests {
    use super::owner;

    #[test]
    fn names_carry_their_owner() {
        assert_eq!(owner("synhop-1234-0-client"), Some(1234));
        assert_eq!(owner("synhop-x-0-client"), None);
        assert_eq!(owner("other-1234"), None);
    }
}
