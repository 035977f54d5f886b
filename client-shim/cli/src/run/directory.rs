//! The directory of an own helper's socket, and those that nobody removed.

use std::fs::{self, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tracing::debug;

use crate::sys;

/// What the directories' names begin with.
const PREFIX: &str = "synhop-run-";
/// The socket in it.
const SOCKET: &str = "helper.sock";
/// How often to make another one when a sweeper was faster.
const ATTEMPTS: usize = 8;
/// How much of a crowded directory is looked through for orphans.
const MAX_ENTRIES: usize = 10_000;

/// A directory that goes with its owner. After SIGKILL it stays: it is locked for as long as its
/// owner lives, so that the next one can tell. (A process number in its name could not: another
/// container's processes have others.)
pub(super) struct Directory {
    path: TempDir,
    /// Held for its lock.
    _lock: File,
}

impl Directory {
    /// Makes one in `parent`, and removes there what others of this user have left.
    pub(super) fn make(parent: &Path) -> Result<Self> {
        sweep(parent);
        for _ in 0..ATTEMPTS {
            // Searchable, not listable: a program that gives up root still reaches the socket.
            let path = tempfile::Builder::new()
                .prefix(PREFIX)
                .permissions(Permissions::from_mode(0o711))
                .tempdir_in(parent)?;
            if let Some(lock) = lock(path.path()).context("locking it")? {
                return Ok(Self { path, _lock: lock });
            }
        }
        bail!("somebody removes each one in {}", parent.display())
    }

    /// Where the socket is to be.
    pub(super) fn socket(&self) -> PathBuf {
        self.path.path().join(SOCKET)
    }
}

/// Locks a directory; `None`: somebody else has, or it is gone.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    // Never through a symbolic link: it could lead anywhere.
    options
        .read(true)
        .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW);
    let directory = match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        directory => directory?,
    };
    match directory.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // Removed between the two.
    let is_there = directory.metadata()?.nlink() > 0;
    Ok(is_there.then_some(directory))
}

/// Removes this user's directories that nobody has locked. Nothing here is worth an error.
fn sweep(parent: &Path) {
    let uid = sys::effective_uid();
    let is_own = |it: Metadata| it.uid() == uid;
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.take(MAX_ENTRIES).flatten() {
        if !entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(PREFIX.as_bytes())
        {
            continue;
        }
        let path = entry.path();
        // Others' are not even locked: their owners may be about to.
        if entry.metadata().is_ok_and(is_own)
            && let Ok(Some(orphan)) = lock(&path)
            && orphan.metadata().is_ok_and(is_own)
        {
            debug!(path = %path.display(), "removing what a killed run has left");
            // By way of the descriptor: the path may have become something else.
            let socket = format!("/proc/self/fd/{}/{SOCKET}", orphan.as_raw_fd());
            let _ = fs::remove_file(socket);
            // Takes only an empty directory, and no symbolic link.
            let _ = fs::remove_dir(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn it_goes_with_its_owner() {
        let parent = tempfile::tempdir().unwrap();
        let directory = Directory::make(parent.path()).unwrap();
        let _listener = UnixListener::bind(directory.socket()).unwrap();
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
        drop(directory);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn orphans_are_swept_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let at = |name: &str| parent.path().join(name);
        let elsewhere = tempfile::tempdir().unwrap();
        let bystander = elsewhere.path().join(SOCKET);
        fs::write(&bystander, "").unwrap();
        symlink(elsewhere.path(), at("synhop-run-link")).unwrap();
        fs::create_dir(at("synhop-run-full")).unwrap();
        fs::write(at("synhop-run-full").join("file"), "").unwrap();
        fs::create_dir(at("other")).unwrap();
        fs::write(at("synhop-run-file"), "").unwrap();
        let used = Directory::make(parent.path()).unwrap();
        for orphan in ["synhop-run-1", "synhop-run-2"] {
            fs::create_dir(at(orphan)).unwrap();
            drop(UnixListener::bind(at(orphan).join(SOCKET)).unwrap());
        }

        let directory = Directory::make(parent.path()).unwrap();
        assert!(!at("synhop-run-1").exists() && !at("synhop-run-2").exists());
        assert!(used.socket().parent().unwrap().exists());
        assert!(directory.socket().parent().unwrap().exists());
        assert!(bystander.exists() && at("synhop-run-link").is_symlink());
        assert!(at("synhop-run-full/file").exists());
        assert!(at("other").exists() && at("synhop-run-file").exists());
    }
}
