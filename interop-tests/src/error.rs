//! What can go wrong in a lab.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why the lab could not do what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The operating system refused.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried, as an infinitive.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The lab needs root and does not have it.
    #[error("the lab makes network namespaces and TAP devices: run it as root")]
    NotRoot,
    /// A program of this workspace has not been built.
    #[error(
        "{name} not found (looked in {looked_in:?}): run `make`, or set SYNHOP_BIN_DIR \
         to the folder that holds it"
    )]
    NotBuilt {
        /// The program's file name.
        name: String,
        /// The folders that were searched.
        looked_in: Vec<PathBuf>,
    },
    /// A program ended with an error.
    #[error("{program} failed ({status}): {output}")]
    ProgramFailed {
        /// The program and what it was asked.
        program: String,
        /// How it ended.
        status: String,
        /// The end of what it printed.
        output: String,
    },
    /// Something did not happen within its bound.
    #[error("waited {bound:?} in vain for {what}; {detail}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        bound: Duration,
        /// What was seen instead.
        detail: String,
    },
    /// A value outside its range was given to a builder.
    #[error("{0}")]
    BadSpec(String),
}

impl LabError {
    /// Wraps an [`io::Error`] with what was being tried.
    pub(crate) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::System { what, source }
    }
}
