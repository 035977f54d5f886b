//! Why a text is no scenario.

use std::path::PathBuf;

/// Why a text is no scenario.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// The file cannot be read.
    #[error("{path}: {error}", path = path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A line says nothing that is known.
    #[error("{name}.tcp:{line}: {complaint}, in: {text}")]
    Line {
        /// The scenario.
        name: String,
        /// Its line, from 1.
        line: usize,
        /// What is there.
        text: String,
        /// What is wrong.
        complaint: Complaint,
    },
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Complaint {
    /// The verb is none.
    #[error("unknown statement `{0}`")]
    UnknownStatement(String),
    /// `set` of something else.
    #[error("unknown setting `{0}`")]
    UnknownSetting(String),
    /// `set` after a statement.
    #[error("settings come before all statements")]
    LateSetting,
    /// `assert` of something else.
    #[error("unknown claim `{0}`")]
    UnknownClaim(String),
    /// A flag is none of `S F R P .`.
    #[error("unknown flag `{0}`")]
    UnknownFlag(char),
    /// An option has no such name.
    #[error("unknown option `{0}`")]
    UnknownOption(String),
    /// Something that is no number of the range.
    #[error("`{0}` is no number that fits")]
    BadNumber(String),
    /// A number is missing.
    #[error("a number is missing")]
    MissingNumber,
    /// Something that is no time.
    #[error("`{0}` is no time in seconds")]
    BadTime(String),
    /// Something that is not `FIRST:END`.
    #[error("`{0}` is no range of sequence numbers")]
    BadRange(String),
    /// There is more on the line.
    #[error("`{0}` is too much")]
    Trailing(String),
    /// The list of options has no end.
    #[error("the list of options is not closed")]
    UnclosedOptions,
    /// An injected segment leaves something open.
    #[error("what is injected cannot have `{0}`")]
    OpenInjection(&'static str),
    /// A flag says ACK, or there is an `ack`, but not both.
    #[error("`.` and `ack` go together")]
    AckMismatch,
}
