//! `synhop` as a command: users, exit codes, what it leaves, the library's exports.

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use common::programs::build_library;
use common::{Helper, NODE, SERVER, World, finish, synhop};

const HELLO: &str = "hello from 198.51.100.1:8000";

/// The command as an unprivileged user's.
fn as_nobody(command: &Command) -> Command {
    let mut changed = Command::new("setpriv");
    changed.args([
        "--reuid",
        "65534",
        "--regid",
        "65534",
        "--clear-groups",
        "--",
    ]);
    changed.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            changed.env(name, value);
        }
    }
    changed
}

#[test]
fn an_unprivileged_user_goes_through_the_helper() {
    let Some(world) = World::new("an_unprivileged_user_goes_through_the_helper") else {
        return;
    };
    let helper = Helper::start(&["--allow-uid", "65534"]);
    let url = format!("http://{SERVER}/");
    let mut command = synhop();
    command.args(["run", "-v", "--proxy", NODE, "--helper", &helper.path()]);
    command.args(["--", "curl", "-sS", &url]);
    finish(&mut as_nobody(&command))
        .printed(HELLO)
        .said("through");
    assert_eq!(world.node.flows().len(), 1);
    // Root is not on the list.
    let denied = finish(&mut command);
    denied
        .ended(125)
        .said("the helper does not serve this user");
}

#[test]
fn a_group_can_be_given_the_helper() {
    let Some(_world) = World::new("a_group_can_be_given_the_helper") else {
        return;
    };
    let helper = Helper::start(&["--group", "daemon"]);
    let mut command = synhop();
    command.args([
        "run",
        "--proxy",
        NODE,
        "--helper",
        &helper.path(),
        "--",
        "true",
    ]);
    finish(&mut as_nobody(&command))
        .ended(125)
        .said("Permission denied");
    finish(&mut command).ended(0);
}

#[test]
fn a_root_program_that_gives_up_root_stays_proxied() {
    let Some(world) = World::new("a_root_program_that_gives_up_root_stays_proxied") else {
        return;
    };
    let url = format!("http://{SERVER}/");
    let ran = world.run(&[
        "--",
        "setpriv",
        "--reuid",
        "65534",
        "--clear-groups",
        "curl",
        "-sS",
        &url,
    ]);
    ran.printed(HELLO).said("through");
}

#[test]
fn without_helper_and_privilege_both_ways_out_are_named() {
    let Some(_world) = World::new("without_helper_and_privilege_both_ways_out_are_named") else {
        return;
    };
    let mut command = synhop();
    command.args([
        "run",
        "--proxy",
        NODE,
        "--helper",
        "/nonexistent/sock",
        "--",
        "true",
    ]);
    let ran = finish(&mut as_nobody(&command));
    ran.ended(125).said("synhop helper").said("as root");
}

#[test]
fn exit_codes_are_those_of_a_wrapper() {
    let Some(world) = World::new("exit_codes_are_those_of_a_wrapper") else {
        return;
    };
    world.run(&["--", "sh", "-c", "exit 7"]).ended(7);
    world
        .run(&["--", "sh", "-c", "kill -KILL $$"])
        .ended(128 + 9);
    world
        .run(&["--", "no-such-program"])
        .ended(127)
        .said("no-such-program");
    world.run(&["--", "/etc/passwd"]).ended(126);
    world
        .run(&["--via", "cgroup", "--", "true"])
        .ended(2)
        .said("not built yet");
    world
        .run(&["--marker", "raw", "--", "true"])
        .ended(2)
        .said("not built yet");
    world.run(&[]).ended(2);
    world.run(&["--bypass", "nonsense", "--", "true"]).ended(2);
    world
        .run_through("[2001:db8::1]:7000", &["--", "true"])
        .ended(2)
        .said("IPv6");
    let mut command = synhop();
    finish(command.args(["run", "--config", "/nonexistent.toml", "--", "true"])).ended(125);
    // By way of exec, with somebody else's helper.
    let helper = Helper::start(&[]);
    let path = helper.path();
    world
        .run(&["--helper", &path, "--", "sh", "-c", "exit 7"])
        .ended(7);
    world
        .run(&["--helper", &path, "--", "no-such-program"])
        .ended(127);
    world
        .run(&["--helper", &path, "--", "/etc/passwd"])
        .ended(126);
}

#[test]
fn what_a_killed_run_leaves_goes_with_the_next() {
    let Some(_world) = World::new("what_a_killed_run_leaves_goes_with_the_next") else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let left = || std::fs::read_dir(directory.path()).unwrap().count();
    let mut command = synhop();
    command.env("TMPDIR", directory.path());
    command.args(["run", "--proxy", NODE, "--", "sh", "-c", "echo; read _"]);
    let start = |command: &mut Command| {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        assert_eq!(stdout.read_line(&mut line).unwrap(), 1);
        child
    };
    let mut killed = start(&mut command);
    let mut living = start(&mut command);
    assert_eq!(left(), 2);
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(left(), 2);
    let mut third = start(&mut command);
    assert_eq!(left(), 2);
    for child in [&mut living, &mut third] {
        drop(child.stdin.take());
        child.wait().unwrap();
    }
    assert_eq!(left(), 0);
}

#[test]
fn a_second_helper_leaves_the_first_alone() {
    let Some(_world) = World::new("a_second_helper_leaves_the_first_alone") else {
        return;
    };
    let mut helper = Helper::start(&[]);
    let mut second = synhop();
    let ran = finish(second.args(["helper", "--socket", &helper.path()]));
    ran.ended(1).said("another helper listens here");
    assert_eq!(helper.stop(), Some(0));
}

#[test]
fn the_library_exports_its_three_hooks_only() {
    let library = build_library();
    let Ok(output) = Command::new("nm")
        .args(["-D", "--defined-only"])
        .arg(&library)
        .output()
    else {
        println!("SKIP the_library_exports_its_three_hooks_only: needs nm");
        return;
    };
    let text = String::from_utf8(output.stdout).unwrap();
    let names = text.lines().filter_map(|line| line.split(' ').next_back());
    assert_eq!(
        names.collect::<Vec<_>>(),
        ["connect", "getpeername", "getsockopt"]
    );
}

#[test]
fn a_program_that_nobody_configured_is_left_alone() {
    let library = build_library();
    let mut command = Command::new("true");
    let ran = finish(command.env("LD_PRELOAD", &library));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    command.env("SYNHOP_ROUTES", "nonsense");
    finish(&mut command)
        .ended(0)
        .said("synhop: SYNHOP_ROUTES: not a route");
}

#[test]
fn decode_explains_and_complains() {
    let run = |args: &[&str]| finish(synhop().arg("decode").args(args));
    let sound = run(&["fd10e5f4", "c0000201c6336401d43101bb"]);
    sound.ended(0);
    assert!(sound.stdout.contains("198.51.100.1:443"));
    let malformed = run(&["fd11e5f4c0000201c6336401d43101bb00"]);
    malformed.ended(1);
    assert!(malformed.stdout.contains("octet 1: malformed"));
    run(&["xyz"]).ended(2).said("octet 0");
    run(&["some.pcap"]).ended(2).said("not built yet");
    run(&[]).ended(2);
}
