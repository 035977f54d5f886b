//! Configuration: every mistake is named with its place, and the example is right.

use synhop_core::NextHop;
use synhop_node::config::{Draft, LogFormat, Problem, SendBuffer, read};
use synhop_node::machine::Machine;

const EXAMPLE: &str = include_str!("../examples/node.toml");

fn lines(problems: &[Problem]) -> Vec<String> {
    let line = |problem: &Problem| match problem.place {
        Some(place) => format!("{}:{}: {}", place.line, place.column, problem.message),
        None => problem.message.clone(),
    };
    problems.iter().map(line).collect()
}

fn mistakes(text: &str) -> Vec<String> {
    lines(&read(text).1)
}

#[test]
fn example_is_right() {
    let (draft, problems) = read(EXAMPLE);
    assert_eq!(lines(&problems), [""; 0]);
    let settings = draft.finish(None).unwrap();
    assert_eq!(settings.routes.len(), 2);
    assert_eq!(settings.routes[0].next, NextHop::Destination);
    let machine = Machine::survey(settings.limits.pipes).unwrap();
    settings.core(&machine).unwrap();
}

/// The commented keys are real and show their defaults.
#[test]
fn example_shows_the_defaults() {
    let is_setting = |line: &str| {
        let key = line.split(" = ").next().unwrap_or_default();
        line.contains(" = ") && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
    };
    let mut shown = 0;
    let mut all = String::new();
    for line in EXAMPLE.lines() {
        let setting = line.strip_prefix("# ").filter(|line| is_setting(line));
        shown += usize::from(setting.is_some());
        all.push_str(setting.unwrap_or(line));
        all.push('\n');
    }
    assert!(shown > 12, "{shown} defaults are shown");
    let (draft, problems) = read(&all);
    assert_eq!(lines(&problems), [""; 0]);
    assert_eq!(draft.timeouts, Draft::default().timeouts);
    let mut limits = draft.limits;
    limits.flows = None;
    assert_eq!(limits, Draft::default().limits);
    assert_eq!(draft.send_buffer, Some(SendBuffer::Auto));
    assert_eq!(draft.log_format, Some(LogFormat::Text));
}

#[test]
fn all_mistakes_are_found_at_once() {
    let text = "\
listen = \"192.0.2.1\"
alow_from = [\"10.0.0.0/8\"]
allow_to = [\"10.0.0.1/8\", \"nonsense\", 5, \"::ffff:10.0.0.0/104\", \"10.0.0.0/8 0\"]
kind = 252
send_buffer = 100

[limits]
pending = 0
hops = 256

[[route]]
prefix = \"10.0.0.0/8\"

[[route]]
prefix = \"10.1.0.0/16\"
via = \"somewhere\"
colour = \"blue\"

[timeouts]
idle_ms = \"long\"
";
    let address = "an address and port such as \"192.0.2.1:4040\" or \"[2001:db8::1]:4040\"";
    let expected = [
        format!("1:10: \"192.0.2.1\" is not {address}"),
        "2:1: unknown key `alow_from`; is `allow_from` meant?".to_owned(),
        "3:13: \"10.0.0.1/8\" has bits set behind the prefix; is 10.0.0.0/8 meant?".to_owned(),
        "3:27: \"nonsense\" is no prefix such as 192.0.2.0/24 or 2001:db8::/32".to_owned(),
        "3:39: 5 is not a prefix such as \"192.0.2.0/24\"".to_owned(),
        "3:42: \"::ffff:10.0.0.0/104\" is of v4-mapped addresses; write it as IPv4".to_owned(),
        "3:65: \"0\" is no port or range of ports such as 443 or 8000-8999".to_owned(),
        "4:8: 252 is not a number from 253 to 254".to_owned(),
        "5:15: 100 is not a number from 4096 to 1073741823".to_owned(),
        "8:11: 0 is not a number from 1 to 1048576".to_owned(),
        "9:8: 256 is not a number from 1 to 255".to_owned(),
        "11:1: this route has no `via`".to_owned(),
        format!("16:7: \"somewhere\" is not \"direct\" or {address}"),
        "17:1: unknown key `colour`; known here: prefix, via".to_owned(),
        "20:11: \"long\" is not a number from 1 to 2592000000".to_owned(),
    ];
    assert_eq!(mistakes(text), expected);
}

#[test]
fn broken_toml_is_named_with_its_place() {
    let found = mistakes("listen = \nvia = \"10.0.0.1:4040\"\n[limits\n");
    assert!(found.len() >= 2, "{found:?}");
    assert!(found[0].starts_with("1:"), "{found:?}");
    assert!(found.iter().any(|line| line.starts_with("3:")), "{found:?}");
}

/// What is wrong is told once: neither as missing, too, nor for what followed broken TOML.
#[test]
fn mistakes_do_not_pull_others_along() {
    let text = "listen = \"192.0.2.1\"\nallow_from = 7\nallow_to = [\"all\"]\n";
    let (draft, problems) = read(text);
    assert_eq!(problems.len(), 3);
    assert_eq!(draft.problems(), []);
    let (draft, problems) = read("listen = \n");
    assert_eq!(problems.len(), 1);
    assert_eq!(draft.problems(), []);
}

#[test]
fn status_page_needs_a_port_of_its_own() {
    let address = Some("192.0.2.1:4040".parse().unwrap());
    let draft = Draft {
        listen: address,
        status: address,
        ..Draft::default()
    };
    let problems = draft.finish(None).unwrap_err().to_string();
    assert!(problems.contains("name another port"), "{problems}");
}

#[test]
fn second_route_for_a_prefix_is_a_mistake() {
    let route = "[[route]]\nprefix = \"10.0.0.0/8\"\nvia = \"direct\"\n";
    assert_eq!(
        mistakes(&route.repeat(2)),
        ["4:1: a second route for 10.0.0.0/8"]
    );
}

#[test]
fn nobody_is_allowed_by_default() {
    let problems = Draft::default().finish(None).unwrap_err().to_string();
    assert!(problems.contains("--allow-from"), "{problems}");
    assert!(problems.contains("open proxy"), "{problems}");
    assert!(problems.contains("--allow-to"), "{problems}");
    assert!(problems.contains("--listen"), "{problems}");
}

#[test]
fn flags_override_the_file() {
    let (file, _) = read(EXAMPLE);
    let flags = Draft {
        listen: Some("127.0.0.1:1".parse().unwrap()),
        allow_from: vec!["127.0.0.0/8".parse().unwrap()],
        ..Draft::default()
    };
    let settings = file.clone().overridden_by(flags).finish(None).unwrap();
    assert_eq!(settings.listen.to_string(), "127.0.0.1:1");
    assert_eq!(settings.allow_from.len(), 1);
    assert_eq!(settings.via, file.via);
    assert_eq!(settings.allow_to, file.allow_to);
}

#[test]
fn next_hop_must_be_another() {
    let draft = Draft {
        listen: Some("192.0.2.1:4040".parse().unwrap()),
        via: Some("192.0.2.1:4040".parse().unwrap()),
        ..Draft::default()
    };
    let problems = draft.finish(Some("node.toml")).unwrap_err().to_string();
    assert!(
        problems.contains("node.toml: via 192.0.2.1:4040: that is this node itself"),
        "{problems}"
    );
}
