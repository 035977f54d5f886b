//! Why an attachment failed, and what to do about it.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use aya::EbpfError;
use aya::maps::MapError;
use aya::programs::ProgramError;

use crate::self_test::SelfTestError;

/// Which step of attaching failed. Each message ends with what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The helpers that the programs need came with Linux 5.15.
    #[error("Linux {release} is too old: 5.15 or later is needed")]
    KernelTooOld {
        /// The running kernel's release.
        release: String,
    },
    /// No mount of type cgroup2.
    #[error(
        "no cgroup2 hierarchy is mounted: mount one (mount -t cgroup2 none /sys/fs/cgroup/unified)"
    )]
    NoCgroup2,
    /// The cgroup cannot be opened or found.
    #[error("cgroup {}: {source}; is /proc mounted, does the group still exist?", path.display())]
    Cgroup {
        /// What could not be read.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel does not let this process load or attach programs.
    #[error(
        "not permitted to {step}: run as root, or with CAP_BPF and CAP_NET_ADMIN; in a container \
         these have to be those of the initial user namespace"
    )]
    NotPermitted {
        /// What was refused.
        step: &'static str,
    },
    /// The object or its maps were refused.
    #[error(
        "loading the maps: {}; does the kernel have CONFIG_BPF_SYSCALL and \
         CONFIG_CGROUP_BPF?",
        Chain(source)
    )]
    Load {
        /// What was refused.
        source: Box<EbpfError>,
    },
    /// The verifier refused the program.
    #[error(
        "loading the program: {}; please report this with the kernel's release",
        Chain(source)
    )]
    Verify {
        /// The verifier's words.
        source: Box<ProgramError>,
    },
    /// The kernel did not attach the program.
    #[error(
        "attaching to cgroup {}: {}; does the group still exist, or does a program that \
         tolerates no other hang above it (bpftool cgroup tree)?", path.display(), Chain(source)
    )]
    Attach {
        /// The cgroup.
        path: PathBuf,
        /// What the kernel said.
        source: Box<ProgramError>,
    },
    /// The compiled object lacks something: a fault of this crate.
    #[error("the BPF object has no usable `{name}`: this build is broken")]
    Object {
        /// The map or program.
        name: &'static str,
    },
    /// All is attached and has no effect.
    #[error("the self-test failed: {0}")]
    SelfTest(#[from] SelfTestError),
}

/// An error with its causes: those of aya do not name them.
struct Chain<'a>(&'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        causes(self.0)
            .skip(1)
            .try_for_each(|cause| write!(f, ": {cause}"))
    }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// What the kernel said of a map.
pub(crate) fn map_io(error: MapError) -> io::Error {
    match error {
        MapError::SyscallError(error) => error.io_error,
        MapError::KeyNotFound | MapError::ElementNotFound => {
            io::Error::from_raw_os_error(libc::ENOENT)
        }
        error => io::Error::other(error),
    }
}

/// Whether the kernel said EPERM or EACCES somewhere below `error`.
pub(crate) fn is_not_permitted(error: &(dyn Error + 'static)) -> bool {
    causes(error)
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::PermissionDenied)
}
