//! Temporary folders that name their owner, so that none is left behind.

use std::fs;
use std::io;
use std::path::Path;

use tempfile::TempDir;

/// Makes a folder that is removed when dropped.
pub(crate) fn create() -> io::Result<TempDir> {
    tempfile::Builder::new()
        .prefix(&format!("{PREFIX}{}-", std::process::id()))
        .tempdir()
}

/// Removes the folders of processes that are gone.
pub(crate) fn remove_orphans() {
    remove_where(|owner| !Path::new("/proc").join(owner.to_string()).exists());
}

/// Removes the folders of this process, when no Drop will run.
pub(crate) fn remove_own() {
    remove_where(|owner| owner == std::process::id());
}

fn remove_where(is_meant: impl Fn(u32) -> bool) {
    for entry in fs::read_dir(std::env::temp_dir())
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name();
        let owner = name.to_str().and_then(owner);
        // Not a link that somebody put there: file_type() does not follow.
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && owner.is_some_and(&is_meant) {
            // Best effort: the next lab tries again.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

const PREFIX: &str = "synhop-lab-";
