//! What came of a scenario.

use std::fmt;
use std::time::Duration;

/// What came of a scenario.
#[derive(Debug)]
pub enum Outcome {
    /// Everything was as it says.
    Passed,
    /// A statement was not true.
    Failed(Box<Fault>),
}

/// The first statement that was not true.
#[derive(Debug)]
pub struct Fault {
    /// The scenario.
    pub name: String,
    /// Its line, from 1.
    pub line: usize,
    /// What it says.
    pub text: String,
    /// Since the start.
    pub at: Duration,
    /// What happened in its place.
    pub what: String,
    /// What went before, a segment a line.
    pub trace: Vec<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            line,
            text,
            at,
            what,
            trace,
        } = self;
        writeln!(f, "{name}.tcp:{line}: at {:.4} s: {what}", at.as_secs_f64())?;
        write!(f, "    expected: {text}")?;
        for line in trace {
            write!(f, "\n    {line}")?;
        }
        Ok(())
    }
}
