//! What a scenario says.
//!
//! One statement a line; `#` begins a comment. The header comment `# row: 7` names the rows of the
//! conformance table that the scenario proves.
//!
//! ```text
//! # row: 7
//! # RFC 5961 section 3.2: a reset in the window, not at its edge, is challenged.
//! listen 80
//! < S 0:0 win 65535 <mss 1460, sackOK, ts 100 0, ws 7>
//! > S. 0:0 ack 1 <...>
//! < . 1:1 ack 1 win 512 <ts 101 E>
//! accept
//! +0.010 < R. 5:5 ack 1 win 0
//! > . 1:1 ack 1
//! assert established
//! ```
//!
//! **Times.** `+0.2` is 0.2 s after the statement before; `0.2` is 0.2 s after the start; `+0.04..0.2`
//! is a range, for expected segments alone. Without a time it is `+0`. An expected segment may come
//! a little sooner or later, how much the backend says.
//!
//! **Segments.** `<` is sent to the host under test, `>` is expected of it, `>?` may come or not.
//! Then the flags (`S F R P .`; `.` is ACK; PSH is not compared), first and last-plus-one sequence
//! number *of the data* relative to the SYN, `ack N`, `win N` (the field, not scaled) and the options
//! in `<>`. The ends of the data do not count SYN and FIN. `*` stands for anything. In what is
//! expected no `win` means any window, no `<>` means no option but timestamps, `<>` none at all, and
//! `...` at the end of the list any others. `E` in `ts 5 E` echoes the last timestamp that came.
//! Options: `mss N`, `ws N`, `sackOK`, `ts VALUE ECHO`, `sack 1:2 3:4`, `raw HEX` (injected only).
//! ` | ` parts alternatives that are equally right.
//!
//! **ICMP.** `< icmp unreachable SEQ`, `< icmp too-big MTU SEQ`: an error that quotes our segment SEQ.
//!
//! **Others.** `silence 0.3` expects nothing for a time. `listen PORT`, `accept`, `connect`,
//! `write N`, `read N` (exactly, and right octets; `read 0`: there is nothing), `shutdown` (sends a
//! FIN), `abort`. `assert established | closed | reset | timed-out | unreachable | finished` (all
//! was read, and the peer's FIN). `new-isn`: the next SYN that is expected is of a new connection.
//! `set NAME N`, first of all: `isn` (of what is injected), `syn-retries`, `syn-ack-retries`,
//! `receive-buffer`, and `kernel-buffer` where Linux needs another value for the same windows.
//!
//! A scenario ends with a short silence, of itself.

mod error;
mod line;
mod segment;

use std::path::Path;
use std::time::Duration;

use error::Complaint;
pub use error::ParseError;

use crate::wire::Flags;

/// A scenario that can be run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The file's stem.
    pub name: String,
    /// Rows of the conformance table.
    pub rows: Vec<u32>,
    /// What the host is set to, before anything else.
    pub(crate) settings: Settings,
    pub(crate) statements: Vec<Statement>,
}

impl Scenario {
    /// Reads the file at `path`.
    pub fn load(path: &Path) -> Result<Self, ParseError> {
        let text = std::fs::read_to_string(path).map_err(|error| ParseError::Unreadable {
            path: path.to_owned(),
            error,
        })?;
        let stem = path.file_stem().unwrap_or_default();
        Self::parse(&stem.to_string_lossy(), &text)
    }

    /// Reads a scenario's text.
    pub fn parse(name: &str, text: &str) -> Result<Self, ParseError> {
        let mut scenario = Self {
            name: name.to_owned(),
            rows: Vec::new(),
            settings: Settings::default(),
            statements: Vec::new(),
        };
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            scenario
                .take(number, line)
                .map_err(|complaint| ParseError::Line {
                    name: name.to_owned(),
                    line: number,
                    text: line.trim().to_owned(),
                    complaint,
                })?;
        }
        Ok(scenario)
    }

    fn take(&mut self, number: usize, line: &str) -> Result<(), Complaint> {
        if let Some(rows) = line.strip_prefix("# row:") {
            for row in rows.split(',') {
                self.rows.push(line::number(row.trim())?);
            }
            return Ok(());
        }
        let content = line.split('#').next().unwrap_or_default().trim();
        if content.is_empty() {
            return Ok(());
        }
        if let Some(setting) = content.strip_prefix("set ") {
            if !self.statements.is_empty() {
                return Err(Complaint::LateSetting);
            }
            return self.settings.take(setting);
        }
        self.statements.push(Statement {
            line: number,
            text: content.to_owned(),
            ..line::parse(content)?
        });
        Ok(())
    }
}

/// How the host is set up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The sequence number of the injected SYN.
    pub isn: Option<u32>,
    /// Retransmissions of a SYN.
    pub syn_retries: Option<u32>,
    /// Retransmissions of a SYN-ACK.
    pub syn_ack_retries: Option<u32>,
    /// Octets for what waits to be read.
    pub receive_buffer: Option<u32>,
    /// The same for Linux, which counts its overhead, where the numbers have to differ.
    pub kernel_buffer: Option<u32>,
}

impl Settings {
    fn take(&mut self, setting: &str) -> Result<(), Complaint> {
        let (name, value) = setting.split_once(' ').ok_or(Complaint::MissingNumber)?;
        let value = Some(line::number(value.trim())?);
        match name {
            "isn" => self.isn = value,
            "syn-retries" => self.syn_retries = value,
            "syn-ack-retries" => self.syn_ack_retries = value,
            "receive-buffer" => self.receive_buffer = value,
            "kernel-buffer" => self.kernel_buffer = value,
            _ => return Err(Complaint::UnknownSetting(name.to_owned())),
        }
        Ok(())
    }
}

/// A line.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    pub line: usize,
    pub text: String,
    pub when: When,
    pub what: What,
}

/// When something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct When {
    pub from: From,
    pub earliest: Duration,
    pub latest: Duration,
}

/// From when a time counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Start,
    StatementBefore,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Inject(Pattern),
    Icmp(Icmp),
    Expect(Vec<Pattern>),
    /// Like `Expect`, but it may stay away.
    MayCome(Vec<Pattern>),
    Silence(Duration),
    NewIsn,
    Call(Call),
    Assert(Claim),
}

/// What the program on the host does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Takes connections to a port.
    Listen(u16),
    /// Takes the connection that has come.
    Accept,
    /// Opens one to the remote host.
    Connect,
    /// Sends octets of the stream.
    Write(u32),
    /// Reads octets of the stream, exactly so many; none: there must be none.
    Read(u32),
    /// Finishes sending.
    Shutdown,
    /// Resets.
    Abort,
}

/// What is true of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Both sides may send.
    Established,
    /// It is gone, or in TIME-WAIT.
    Closed,
    /// The peer reset or refused it.
    Reset,
    /// The peer did not answer.
    TimedOut,
    /// The network refused it.
    Unreachable,
    /// All was read and the peer has finished.
    Finished,
}

/// An ICMP error about a segment of the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Icmp {
    pub kind: IcmpKind,
    /// Relative sequence number of the quoted segment.
    pub seq: i64,
}

/// Which ICMP error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpKind {
    /// Host unreachable.
    Unreachable,
    /// Fragmentation needed.
    TooBig {
        /// In octets.
        mtu: u16,
    },
}

/// A segment to be made, or to be compared.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    pub flags: Flags,
    /// Relative, of the data.
    pub range: Field<(i64, i64)>,
    pub ack: Option<Field<i64>>,
    pub window: Field<u16>,
    pub options: Options,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field<T> {
    Any,
    Is(T),
}

impl<T: PartialEq> Field<T> {
    pub(crate) fn fits(&self, value: &T) -> bool {
        match self {
            Self::Any => true,
            Self::Is(wanted) => wanted == value,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Options {
    /// None but timestamps.
    Usual,
    Listed {
        options: Vec<OptionPattern>,
        others: Others,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Others {
    None,
    Any,
}

#[derive(Clone, Debug)]
pub(crate) enum OptionPattern {
    Mss(Field<u16>),
    WindowScale(Field<u8>),
    SackPermitted,
    Timestamps(Field<u32>, Echo),
    Sack(Vec<(i64, i64)>),
    Raw(Vec<u8>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Echo {
    Any,
    Is(u32),
    /// The last that came.
    Last,
}
