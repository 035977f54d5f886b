//! Where this workspace's programs are.

use std::env;
use std::path::PathBuf;

use crate::LabError;

/// Finds a program of this workspace: in `SYNHOP_BIN_DIR`, otherwise beside
/// the running executable (test executables are a folder deeper).
pub fn find_binary(name: &str) -> Result<PathBuf, LabError> {
    let folders = folders();
    let found = folders
        .iter()
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    found.ok_or_else(|| LabError::NotBuilt {
        name: name.to_owned(),
        looked_in: folders,
    })
}

fn folders() -> Vec<PathBuf> {
    if let Some(folder) = env::var_os("SYNHOP_BIN_DIR") {
        return vec![folder.into()];
    }
    let executable = env::current_exe().unwrap_or_default();
    executable
        .ancestors()
        .skip(1)
        .take(2)
        .map(PathBuf::from)
        .collect()
}
