//! Every state against every kind of segment: what is answered, and what state follows.
//!
//! What has to happen stands in `segments.table`, to be read beside RFC 9293 section 3.10.7; what
//! does happen is written in the same form and compared, line by line.

mod host;
mod table;

use host::{Host, State};
use table::{Group, Line};

#[test]
fn every_state_and_every_segment() {
    let mut wrong = Vec::new();
    for group in table::groups(include_str!("segments.table")) {
        for line in &group.lines {
            let got = answers(&group, line);
            if got != line.cells {
                wrong.push(format!(
                    "{}\n  table: {}\n  is:    {}",
                    group.name,
                    table::write(line.state, &line.cells),
                    table::write(line.state, &got)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Each state stands in each group once.
#[test]
fn the_table_is_whole() {
    let groups = table::groups(include_str!("segments.table"));
    assert!(groups.len() >= 5);
    for group in groups {
        let states: Vec<State> = group.lines.iter().map(|line| line.state).collect();
        assert_eq!(states, State::ALL, "{}", group.name);
    }
}

fn answers(group: &Group, line: &Line) -> Vec<String> {
    let segments = group.segments.iter();
    segments
        .map(|segment| Host::in_state(line.state).meets(segment))
        .collect()
}
