//! A lab leaves nothing behind, however it ends.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use synhop_lab::{Lab, Process, ProcessBuilder, skip_without_root, wait_until};

#[test]
fn dropping_removes_namespaces_processes_and_folders() {
    if skip_without_root("dropping_removes_namespaces_processes_and_folders") {
        return;
    }
    let lab = Lab::builder().nodes(2).build().unwrap();
    let names = [lab.client(), lab.node(1), lab.node(2), lab.server()];
    let names: Vec<_> = names
        .iter()
        .map(|namespace| path_of(namespace.name()))
        .collect();
    assert!(names.iter().all(|path| path.exists()));
    let folder = lab.directory().to_owned();
    let nginx = lab.start_nginx(&[1]).unwrap();
    drop(nginx);
    drop(lab);
    assert!(!names.iter().any(|path| path.exists()), "{names:?}");
    assert!(!folder.exists());
}

#[test]
fn a_panic_removes_the_namespaces() {
    if skip_without_root("a_panic_removes_the_namespaces") {
        return;
    }
    let mut name = None;
    let broken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let lab = Lab::builder().nodes(0).build().unwrap();
        name = Some(path_of(lab.client().name()));
        panic!("on purpose");
    }));
    assert!(broken.is_err());
    assert!(!name.unwrap().exists());
}

#[test]
fn signals_end_up_cleanly() {
    if skip_without_root("signals_end_up_cleanly") {
        return;
    }
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let mut up = start_up();
        assert!(!left_of(up.id()).is_empty());
        up.signal(signal).unwrap();
        let status = up.wait(BOUND).unwrap();
        assert_eq!(status.code(), Some(128 + signal));
        assert_eq!(left_of(up.id()), Vec::<PathBuf>::new());
    }
}

#[test]
fn what_a_killed_lab_leaves_the_next_one_removes() {
    if skip_without_root("what_a_killed_lab_leaves_the_next_one_removes") {
        return;
    }
    let mut killed = start_up();
    let nginx = children_of(killed.id());
    assert!(!nginx.is_empty());
    killed.signal(libc::SIGKILL).unwrap();
    killed.wait(BOUND).unwrap();
    wait_until("its children to die with it", BOUND, || {
        nginx.iter().all(|pid| !is_alive(*pid)).then_some(())
    })
    .unwrap();
    let mut next = start_up();
    assert_eq!(left_of(killed.id()), Vec::<PathBuf>::new());
    next.stop(BOUND).unwrap();
    assert_eq!(left_of(next.id()), Vec::<PathBuf>::new());
}

#[test]
fn a_process_is_watched_and_stopped() {
    if skip_without_root("a_process_is_watched_and_stopped") {
        return;
    }
    let lab = Lab::builder().nodes(0).build().unwrap();
    let mut command = lab.client().command("sh");
    command.args([
        "-c",
        "trap '' TERM; echo ready; ip -o link; while :; do sleep 1; done",
    ]);
    let mut process = ProcessBuilder::new("stubborn", command).start().unwrap();
    process.wait_for_line("ready", BOUND).unwrap();
    process.wait_for_line(lab.right_device(), BOUND).unwrap();
    assert!(process.open_descriptors().unwrap() >= 3);
    assert!(
        process
            .wait_for_line("never", Duration::from_millis(50))
            .is_err()
    );
    let status = process.stop(Duration::from_millis(200)).unwrap();
    assert_eq!(status.code(), None);
}

fn start_up() -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_synhop-lab"));
    command
        .args(["up", "--nodes", "1", "--no-chain"])
        .stdin(Stdio::null());
    let up = ProcessBuilder::new("synhop-lab up", command)
        .start()
        .unwrap();
    up.wait_for_line("Ctrl-C", BOUND).unwrap();
    up
}

/// What is on the machine in the name of a process: namespaces and folders.
fn left_of(pid: u32) -> Vec<PathBuf> {
    let folders = [Path::new("/run/netns").to_owned(), std::env::temp_dir()];
    let entries = folders
        .iter()
        .flat_map(std::fs::read_dir)
        .flatten()
        .flatten();
    let prefixes = [format!("synhop-{pid}-"), format!("synhop-lab-{pid}-")];
    let is_its = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        prefixes.iter().any(|prefix| name.starts_with(prefix))
    };
    entries.map(|entry| entry.path()).filter(is_its).collect()
}

fn children_of(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| {
            list.split_whitespace()
                .flat_map(str::parse)
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Zombies are not: their parent is gone, and init takes its time.
fn is_alive(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status
        .lines()
        .any(|line| line.starts_with("State:") && !line.contains('Z'))
}

fn path_of(namespace: &str) -> PathBuf {
    Path::new("/run/netns").join(namespace)
}

const BOUND: Duration = Duration::from_secs(30);
