//! tshark goes on when a script fails. The tests must not.

use std::fs;

use synhop_dissector::tshark::{Failure, Tshark, shipped_script};
use synhop_dissector::{capture, vector};

#[test]
fn syntax_error_is_a_failure() {
    let Some(tshark) = broken("syntax_error_is_a_failure", "end", "ennd") else {
        return;
    };
    let capture = tshark.write(&capture::file(&vector::load("valid")));
    let outcome = tshark.trees(&capture);
    assert!(matches!(outcome, Err(Failure::Stderr(_))), "{outcome:?}");
}

#[test]
fn error_while_loading_is_a_failure() {
    let line = "register_postdissector(synhop)";
    let broken_line = "register_postdissector(synhop)\nerror(\"deliberate\")";
    let Some(tshark) = broken("error_while_loading_is_a_failure", line, broken_line) else {
        return;
    };
    let capture = tshark.write(&capture::file(&vector::load("valid")));
    let outcome = tshark.trees(&capture);
    assert!(matches!(outcome, Err(Failure::Stderr(_))), "{outcome:?}");
}

#[test]
fn error_while_dissecting_is_a_failure() {
    let line = "local segment = segment_of(header.range)";
    let broken_line = "local segment = segment_of(header.no_such_thing.range)";
    let Some(tshark) = broken("error_while_dissecting_is_a_failure", line, broken_line) else {
        return;
    };
    let capture = tshark.write(&capture::file(&vector::load("valid")));
    for failure in [
        tshark.trees(&capture).map(drop),
        tshark.pdml(&capture).map(drop),
        tshark.fields(&capture, "", &["frame.number"]).map(drop),
    ] {
        assert!(matches!(failure, Err(Failure::LuaError(_))), "{failure:?}");
    }
}

/// tshark with a copy of the script in which the last `sound` is replaced.
fn broken(test: &str, sound: &str, replacement: &str) -> Option<Tshark> {
    let script = fs::read_to_string(shipped_script()).unwrap();
    let at = script
        .rfind(sound)
        .unwrap_or_else(|| panic!("`{sound}` is not in the script"));
    let mut copy = script;
    copy.replace_range(at..at + sound.len(), replacement);
    let tshark = Tshark::plain(test)?;
    let path = tshark.home().join("broken.lua");
    fs::write(&path, copy).unwrap();
    Some(tshark.script(path))
}
