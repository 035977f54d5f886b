//! `synhop-lab demo` and `bench` as a user runs them.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use synhop_lab::{find_binary, skip_without_root, wait_until};

#[test]
fn demo_saves_what_it_says() {
    if skip_without_root("demo_saves_what_it_says") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let output = run(
        &["demo", "--runs", "1", "--nodes", "2", "--out"],
        folder.path(),
    );
    let text = String::from_utf8_lossy(&output.stdout);
    for name in [
        "transfer-times.svg",
        "transfer-times.png",
        "handshakes.svg",
        "handshakes.png",
        "figures.csv",
    ] {
        let path = folder.path().join(name);
        assert!(
            path.metadata().is_ok_and(|file| file.len() > 500),
            "{name} is there"
        );
        assert!(
            text.contains(&*path.to_string_lossy()),
            "{name} is named:\n{text}"
        );
    }
    // Six sizes over three paths, and the headings.
    let table = fs::read_to_string(folder.path().join("figures.csv")).expect("a table");
    assert_eq!(table.lines().count(), 1 + 6 * 3, "{table}");
    let figures = fs::read_to_string(folder.path().join("figures.json")).expect("figures");
    let figures: serde_json::Value = serde_json::from_str(&figures).expect("JSON");
    let first = |nodes: u64| {
        let cells = figures["cells"].as_array().expect("cells").iter();
        let mut of_path = cells.filter(|cell| cell["nodes"] == nodes);
        of_path.all(|cell| {
            cell["first_octet_ms"]["min"]
                .as_f64()
                .is_some_and(|ms| ms >= 100.0)
        })
    };
    // Faster than the speed of the links would mean that something else was measured.
    assert!((0..=2).all(first), "{figures}");
    let handshakes = fs::read_to_string(folder.path().join("handshakes.svg")).expect("a picture");
    assert!(handshakes.contains("SYN + synhop option"));
    assert!(handshakes.contains("SYN-ACK + reply"));
}

#[test]
fn forward_bench_judges_each_node() {
    if skip_without_root("forward_bench_judges_each_node") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    run(&["bench", "forward", "--runs", "3", "--out"], folder.path());
    let saved = fs::read_to_string(folder.path().join("forward.json")).expect("figures");
    let saved: serde_json::Value = serde_json::from_str(&saved).expect("JSON");
    let results = saved["results"].as_array().expect("results");
    assert_eq!(results.len(), 3);
    assert!(
        results
            .iter()
            .all(|node| node["forwarding_ms"]["count"] == 3),
        "{saved}"
    );
}

#[test]
fn an_interrupted_demo_leaves_nothing() {
    if skip_without_root("an_interrupted_demo_leaves_nothing") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let demo = command(&["demo", "--runs", "1", "--out"], folder.path()).spawn();
    let mut demo = Reaped(demo.expect("the demo starts"));
    let own = format!("synhop-{}-", demo.0.id());
    let scratch = format!("synhop-lab-{}-", demo.0.id());
    let chain = wait_until("a running chain", BOUND, || {
        let folders = names(std::env::temp_dir());
        let mut own = folders.iter().filter(|name| name.starts_with(&scratch));
        let log = own
            .next()
            .map(|name| std::env::temp_dir().join(name).join("nodes/n1.log"))?;
        fs::read_to_string(log)
            .is_ok_and(|log| log.contains("listening"))
            .then_some(())
    });
    chain.expect("a node that listens");
    let kill = Command::new("kill")
        .arg("-INT")
        .arg(demo.0.id().to_string())
        .status();
    assert!(kill.expect("kill runs").success());
    let status = wait_until("the demo to end", BOUND, || demo.0.try_wait().transpose());
    let status = status.expect("an end").expect("a status");
    assert!(
        !status.success(),
        "an interrupted demo does not claim success"
    );
    let left: Vec<String> = names("/run/netns")
        .into_iter()
        .filter(|name| name.starts_with(&own))
        .chain(
            names(std::env::temp_dir())
                .into_iter()
                .filter(|name| name.starts_with(&scratch)),
        )
        .collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    assert!(names(folder.path()).is_empty(), "half a result was saved");
}

/// Ends a child with the test, whatever becomes of that.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(arguments: &[&str], out: &Path) -> Command {
    let mut command = Command::new(find_binary("synhop-lab").expect("built"));
    command
        .args(arguments)
        .arg(out)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

#[track_caller]
fn run(arguments: &[&str], out: &Path) -> Output {
    let output = command(arguments, out).output().expect("synhop-lab starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    output
}

/// The names in a folder; none if it is not there.
fn names(folder: impl AsRef<Path>) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

const BOUND: Duration = Duration::from_mins(1);
