//! Reads the table.

use std::fmt::Write as _;

use super::host::State;

/// Segments of one kind, and what each state makes of them.
pub(super) struct Group {
    pub name: String,
    pub segments: Vec<Segment>,
    pub lines: Vec<Line>,
}

/// One state.
pub(super) struct Line {
    pub state: State,
    pub cells: Vec<String>,
}

/// A segment to be sent: `R. N+1 X` has RST and ACK, begins one octet after RCV.NXT and
/// acknowledges up to SND.NXT; `P. N..N+10 X` carries ten octets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub flags: u8,
    pub seq: Point,
    pub octets: u16,
    pub ack: Option<Point>,
}

/// A sequence number in terms of a connection's variables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub of: Variable,
    pub plus: i32,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Variable {
    /// `I`: the number of the peer's SYN.
    Irs,
    /// `N`: RCV.NXT.
    RcvNxt,
    /// `E`: the right edge of our window.
    Edge,
    /// `U`: SND.UNA.
    SndUna,
    /// `X`: SND.NXT.
    SndNxt,
}

pub(super) fn groups(text: &str) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let mut words = line.split_whitespace();
        let Some(first) = words.next() else { continue };
        if let Some(name) = line.strip_prefix("== ") {
            groups.push(Group {
                name: name.to_owned(),
                segments: Vec::new(),
                lines: Vec::new(),
            });
            continue;
        }
        let group = groups.last_mut().expect("a group comes first");
        if first.len() == 1 {
            group.segments.push(segment(&words.collect::<Vec<_>>()));
        } else if let Some(state) = State::named(first) {
            let cells: Vec<String> = words.map(str::to_owned).collect();
            assert_eq!(cells.len(), group.segments.len(), "{line}");
            group.lines.push(Line { state, cells });
        } else {
            assert_eq!(first, "state", "{line}");
        }
    }
    groups
}

/// A line as it stands in the table.
pub(super) fn write(state: State, cells: &[String]) -> String {
    let mut line = format!("{:<12}", state.name());
    for cell in cells {
        let _ = write!(line, " {cell:<11}");
    }
    line.trim_end().to_owned()
}

fn segment(words: &[&str]) -> Segment {
    let [flags, seq, ack @ ..] = words else {
        panic!("{words:?}");
    };
    let flags = flags.chars().map(|flag| match flag {
        'F' => 0x01,
        'S' => 0x02,
        'R' => 0x04,
        'P' => 0x08,
        '.' => 0x10,
        '-' => 0,
        other => panic!("the flag {other}"),
    });
    let flags = flags.sum();
    let (seq, octets) = match seq.split_once("..") {
        None => (point(seq), 0),
        Some((from, to)) => {
            let (from, to) = (point(from), point(to));
            (from, u16::try_from(to.plus - from.plus).expect("few"))
        }
    };
    let ack = (flags & 0x10 != 0).then(|| point(ack.first().expect("an ACK number")));
    Segment {
        flags,
        seq,
        octets,
        ack,
    }
}

fn point(text: &str) -> Point {
    let (variable, plus) = text.split_at(1);
    let of = match variable {
        "I" => Variable::Irs,
        "N" => Variable::RcvNxt,
        "E" => Variable::Edge,
        "U" => Variable::SndUna,
        "X" => Variable::SndNxt,
        other => panic!("the variable {other}"),
    };
    let plus = if plus.is_empty() {
        0
    } else {
        plus.parse().expect("a number")
    };
    Point { of, plus }
}
