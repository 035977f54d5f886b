//! Files that are committed and can be made again: captures and expected output.

use std::fs;
use std::path::{Path, PathBuf};

/// Set to 1, the tests write the committed files instead of comparing with them.
pub const UPDATE: &str = "UPDATE_EXPECTED";

/// A committed file of this crate.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Compares `made` with the committed file `name`, or writes it there when asked to.
///
/// # Panics
/// When they differ, with the first line that does.
pub fn check(name: &str, made: &[u8]) {
    let path = path(name);
    if std::env::var(UPDATE).is_ok_and(|value| value == "1") {
        fs::write(&path, made).unwrap_or_else(|error| panic!("{name}: {error}"));
        return;
    }
    let advice = format!("If the change is meant: {UPDATE}=1 cargo test -p synhop-dissector");
    let committed = fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}. {advice}"));
    if committed != made {
        let difference = difference(&committed, made);
        panic!("{name} is not what is made now: {difference}\n{advice}");
    }
}

/// Where `made` differs from `committed`, for a person to read.
pub fn first_difference(committed: &str, made: &str) -> String {
    let mut made_lines = made.lines();
    for (number, old) in (1..).zip(committed.lines()) {
        let new = made_lines.next().unwrap_or("(nothing)");
        if old != new {
            return format!("line {number}\n  expected: {old}\n  made now: {new}");
        }
    }
    let more = made_lines.next().unwrap_or("(nothing)");
    format!("after the last line\n  made now: {more}")
}

fn difference(committed: &[u8], made: &[u8]) -> String {
    if let (Ok(committed), Ok(made)) = (str::from_utf8(committed), str::from_utf8(made)) {
        return first_difference(committed, made);
    }
    let same = committed
        .iter()
        .zip(made)
        .take_while(|(old, new)| old == new)
        .count();
    format!("octet {same} differs")
}
