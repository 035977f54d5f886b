//! A helper for one program, as long as it runs.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use synhop_sockets::{Attachment, Config};

use super::directory::Directory;
use crate::helper::{self, Users};

/// The helper's socket in a directory of its own, which goes with it.
pub(super) struct OwnHelper {
    directory: Directory,
}

impl OwnHelper {
    /// Attaches to the own cgroup, which is the program's too, and serves.
    pub(super) fn start() -> Result<Self> {
        let attachment = Attachment::new(Config::default())?;
        let directory = Directory::make(&std::env::temp_dir())
            .context("making a directory for the helper's socket")?;
        let own = Self { directory };
        helper::start(attachment, &own.path(), None, Users::new(Vec::new()))?;
        Ok(own)
    }

    /// The socket's path.
    pub(super) fn path(&self) -> PathBuf {
        self.directory.socket()
    }
}

/// Whether this process may load and attach programs.
pub(super) fn is_privileged() -> bool {
    const CAP_NET_ADMIN: u64 = 1 << 12;
    const CAP_SYS_ADMIN: u64 = 1 << 21;
    const CAP_BPF: u64 = 1 << 39;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0);
    let has = |capabilities| effective & capabilities == capabilities;
    has(CAP_NET_ADMIN) && (has(CAP_BPF) || has(CAP_SYS_ADMIN))
}
