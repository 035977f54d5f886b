//! The programs under test, in a folder that every user may enter: a checkout in root's home is
//! closed to the others that some tests become.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use tempfile::TempDir;

/// Copies of both programs, shared by the worlds of a test program; gone with the last of them.
pub(crate) struct Programs {
    folder: TempDir,
}

static SHARED: Mutex<Weak<Programs>> = Mutex::new(Weak::new());

impl Programs {
    pub(crate) fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let programs = Arc::new(Self::copy());
            *shared = Arc::downgrade(&programs);
            programs
        })
    }

    fn copy() -> Self {
        let folder = tempfile::Builder::new().prefix("synhop-test-").tempdir();
        let folder = folder.expect("a folder");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("open it");
        for original in [Path::new(SYNHOP), &build_library()] {
            let name = original.file_name().expect("a file");
            fs::copy(original, folder.path().join(name)).expect("copy a program");
        }
        Self { folder }
    }
}

/// The program under test: a copy, while there is a world.
pub(crate) fn synhop() -> Command {
    let shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    let copies = shared.upgrade();
    let folder = match &copies {
        Some(programs) => programs.folder.path().to_owned(),
        None => build_library().parent().expect("a folder").to_owned(),
    };
    let mut command = Command::new(folder.join("synhop"));
    command.env("SYNHOP_PRELOAD", folder.join(LIBRARY));
    command
}

/// The preload library is another package's: cargo does not build it for these tests.
pub(crate) fn build_library() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(build).clone()
}

fn build() -> PathBuf {
    let executable = Path::new(SYNHOP);
    let library = executable.with_file_name(LIBRARY);
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--package", "synhop-preload"]);
    if executable
        .parent()
        .is_some_and(|it| it.ends_with("release"))
    {
        build.arg("--release");
    }
    build.current_dir(env!("CARGO_MANIFEST_DIR"));
    assert!(
        build.status().expect("cargo").success(),
        "building the library"
    );
    assert!(library.is_file(), "{}", library.display());
    library
}

const SYNHOP: &str = env!("CARGO_BIN_EXE_synhop");
const LIBRARY: &str = "libsynhop_preload.so";
