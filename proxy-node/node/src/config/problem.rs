//! What is wrong with a configuration, and where.

use std::fmt;

/// A place in a file, counted from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Place {
    /// The place of the octet at `offset` in `text`.
    pub fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count();
        Self {
            line: before.matches('\n').count() + 1,
            column: column + 1,
        }
    }
}

/// One mistake in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands; `None` when something is missing or came by a flag.
    pub place: Option<Place>,
    /// What is wrong and what to do about it.
    pub message: String,
}

/// Every mistake found, the file's in the order of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// The file's name as given; `None` without a file.
    pub file: Option<String>,
    /// At least one.
    pub problems: Vec<Problem>,
}

impl fmt::Display for Problems {
    /// One line each: `file:line:column: message`, or `error: message` without a file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            match (&self.file, problem.place) {
                (Some(file), Some(place)) => {
                    write!(f, "{file}:{}:{}: ", place.line, place.column)?;
                }
                (Some(file), None) => write!(f, "{file}: ")?,
                (None, _) => f.write_str("error: ")?,
            }
            f.write_str(&problem.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
