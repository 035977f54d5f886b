//! The command line without a network: exit codes and messages.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

fn node(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_synhop-node"));
    command.args(arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A configuration file that goes with the test.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let name = format!("synhop-node-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, text).unwrap();
        Self(path)
    }

    fn name(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn open_proxy_is_refused() {
    let output = node(&["--listen", "127.0.0.1:4040", "--allow-to", "0.0.0.0/0"]);
    assert_eq!(output.status.code(), Some(2));
    let message = stderr(&output);
    assert!(message.contains("--allow-from"), "{message}");
    assert!(message.contains("open proxy"), "{message}");
}

#[test]
fn check_names_file_line_and_column() {
    let file = File::new("bad.toml", "listen = \"127.0.0.1:4040\"\nalow_to = []\n");
    let output = node(&["--config", file.name(), "--check"]);
    assert_eq!(output.status.code(), Some(2));
    let message = stderr(&output);
    let expected = format!("{}:2:1: unknown key `alow_to`", file.name());
    assert!(message.contains(&expected), "{message}");
    assert!(message.contains("is `allow_to` meant?"), "{message}");
    assert!(message.contains("--allow-from"), "{message}");
}

#[test]
fn check_passes_the_example() {
    let file = File::new("good.toml", include_str!("../examples/node.toml"));
    let output = node(&["--config", file.name(), "--check"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn missing_file_is_named() {
    let output = node(&["--config", "/nonexistent/node.toml", "--check"]);
    assert_eq!(output.status.code(), Some(2));
    let message = stderr(&output);
    assert!(
        message.contains("/nonexistent/node.toml: No such file"),
        "{message}"
    );
}

/// A node listens where it was told to, not on its machine's other addresses.
#[test]
fn next_hop_may_be_a_neighbour_not_the_node() {
    let check = |listen, via| {
        let lists = ["--allow-from", "127.0.0.0/8", "--allow-to", "127.0.0.0/8"];
        let hops = ["--check", "--listen", listen, "--via", via];
        let output = node(&[&hops[..], &lists[..]].concat());
        (output.status.code(), stderr(&output))
    };
    let (code, message) = check("127.0.0.1:7000", "127.0.0.2:7000");
    assert_eq!(code, Some(0), "{message}");
    for listen in ["127.0.0.2:7000", "0.0.0.0:7000", "[::]:7000"] {
        let (code, message) = check(listen, "127.0.0.2:7000");
        assert_eq!(code, Some(2), "{message}");
        assert!(message.contains("this node"), "{message}");
    }
}

#[test]
fn wrong_flags_are_explained() {
    let output = node(&["--allow-from", "10.0.0.1/8"]);
    assert_eq!(output.status.code(), Some(2));
    let message = stderr(&output);
    assert!(message.contains("is 10.0.0.0/8 meant?"), "{message}");
}

/// What the help shows can be copied.
#[test]
fn examples_of_the_help_pass_the_check() {
    let output = node(&["--help"]);
    let help = String::from_utf8_lossy(&output.stdout).replace("\\\n", " ");
    let examples = help.lines().filter_map(|line| {
        let arguments = line.strip_prefix("    synhop-node ")?;
        Some(arguments.split_whitespace().collect::<Vec<_>>())
    });
    let mut checked = 0;
    for mut example in examples {
        example.push("--check");
        let output = node(&example);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        checked += 1;
    }
    assert_eq!(checked, 3);
}

#[test]
fn help_names_every_flag_of_the_contract() {
    let output = node(&["--help"]);
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    for flag in [
        "--listen",
        "--via",
        "--allow-from",
        "--allow-to",
        "--trust",
        "--status",
        "--config",
        "--check",
        "--send-buffer",
        "--log-format",
        "--kind",
        "Exit codes",
    ] {
        assert!(help.contains(flag), "{flag} is not in the help");
    }
}
