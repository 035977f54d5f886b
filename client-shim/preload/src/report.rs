//! `--verbose`: one line on stderr for every `connect()`, and complaints at the start.

use std::fmt::{self, Write};
use std::net::SocketAddrV4;

use crate::state::State;
use crate::sys::Stderr;

/// A line of bounded length, on the stack.
pub(crate) struct Line {
    octets: [u8; 160],
    used: usize,
}

impl Line {
    /// `synhop: ` and `text`; what does not fit is cut off.
    pub(crate) fn new(text: fmt::Arguments<'_>) -> Self {
        let mut line = Self {
            octets: [0; 160],
            used: 0,
        };
        // Errs when the line is full: then it is cut off.
        let _ = write!(line, "synhop: {text}");
        line
    }

    /// By a single write(2), so that lines do not mix.
    pub(crate) fn write(mut self, stderr: &Stderr) {
        let end = self.used.min(self.octets.len() - 1);
        if let Some(newline) = self.octets.get_mut(end) {
            *newline = b'\n';
        }
        stderr.write(self.octets.get(..=end).unwrap_or_default());
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.octets.get_mut(self.used..).unwrap_or_default();
        let len = text.len().min(room.len());
        for (to, from) in room.iter_mut().zip(text.bytes()) {
            *to = from;
        }
        self.used += len;
        if len == text.len() {
            Ok(())
        } else {
            Err(fmt::Error)
        }
    }
}

/// What became of the program's connect to `destination`, if the user wants to know.
pub(crate) fn report(state: &State, destination: SocketAddrV4, what: fmt::Arguments<'_>) {
    if let Some(stderr) = &state.stderr {
        Line::new(format_args!("{destination}: {what}")).write(stderr);
    }
}
