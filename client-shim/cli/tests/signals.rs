//! Signals, and what else the program has of its caller.

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use common::programs::build_library;
use common::{NODE, PYTHON, Ran, World, finish, kill, synhop};

#[test]
fn signals_reach_the_program() {
    let Some(_world) = World::new("signals_reach_the_program") else {
        return;
    };
    for (name, number) in [
        ("TERM", libc::SIGTERM),
        ("HUP", libc::SIGHUP),
        ("INT", libc::SIGINT),
    ] {
        let script = format!(
            "trap 'echo got {name}; exit 9' {name}; echo ready; while :; do sleep 0.05; done"
        );
        let mut command = synhop();
        command.args(["run", "--proxy", NODE, "--", "sh", "-c", &script]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        kill(child.id(), number);
        assert_eq!(lines.next().unwrap().unwrap(), format!("got {name}"));
        assert_eq!(child.wait().unwrap().code(), Some(9));
    }
}

#[test]
fn the_program_starts_with_its_callers_signals_and_libraries() {
    let Some(world) = World::new("the_program_starts_with_its_callers_signals_and_libraries")
    else {
        return;
    };
    let script = "grep SigBlk /proc/self/status; echo $LD_PRELOAD";
    let mut command = synhop();
    command.env("LD_PRELOAD", "libc.so.6");
    let ran = finish(command.args(["run", "--proxy", NODE, "--", "sh", "-c", script]));
    ran.ended(0);
    assert!(
        ran.stdout.starts_with("SigBlk:\t0000000000000000\n"),
        "{ran:?}"
    );
    assert!(
        ran.stdout
            .trim()
            .ends_with("libsynhop_preload.so:libc.so.6"),
        "{ran:?}"
    );
    // The helper's directory goes with it.
    let ran = world.run(&[
        "--",
        "sh",
        "-c",
        "test -S $SYNHOP_HELPER && echo $SYNHOP_HELPER",
    ]);
    ran.ended(0);
    assert!(!std::path::Path::new(ran.stdout.trim()).exists());
}

/// Runs the Python program `inner` by `synhop run`, which the Python program `outer` starts: its
/// arguments are the command.
fn run_from(outer: &str, inner: &str) -> Ran {
    let mut command = Command::new(PYTHON);
    command.env("SYNHOP_PRELOAD", build_library());
    let executable = env!("CARGO_BIN_EXE_synhop");
    command.args(["-c", outer, executable, "run", "--proxy", NODE]);
    finish(command.args(["--", PYTHON, "-c", inner]))
}

/// A Python program that runs its arguments on a terminal and then `script`, which can wait
/// `until(word)` was seen there.
fn on_terminal(script: &str) -> String {
    const PRELUDE: &str = "
import os, pty, signal, sys, time
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[1], sys.argv[1:])
seen = b''
def until(word):
    global seen
    while word not in seen:
        try:
            seen += os.read(terminal, 1000)
        except OSError:
            sys.exit(f'all have gone: {seen}')
";
    [PRELUDE, script].concat()
}

#[test]
fn a_program_whose_caller_ignores_its_children_does_so_too() {
    let Some(world) = World::new("a_program_whose_caller_ignores_its_children_does_so_too") else {
        return;
    };
    let script = "
import os, signal, subprocess, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.execv(sys.argv[1], sys.argv[1:])
";
    let inner = "import signal; print(signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN)";
    run_from(script, inner).printed("True");
    // And usually it does not.
    world.run(&["--", PYTHON, "-c", inner]).printed("False");
}

#[test]
fn what_the_terminal_sends_arrives_once() {
    let Some(_world) = World::new("what_the_terminal_sends_arrives_once") else {
        return;
    };
    // Ctrl-C, then SIGTERM to `synhop run`, which forwards what it forwards in order.
    let outer = "
until(b'ready')
os.write(terminal, bytes([3]))
until(b'interrupted')
os.kill(child, signal.SIGTERM)
until(b'times')
print(seen.split(b'terminated ')[1].split()[0].decode(), os.waitpid(child, 0)[1])
";
    let inner = "
import os, signal
count = 0
def interrupted(*_):
    global count
    count += 1
    os.write(1, b'interrupted\\n')
def terminated(*_):
    os.write(1, b'terminated %d times\\n' % count)
    os._exit(0)
signal.signal(signal.SIGINT, interrupted)
signal.signal(signal.SIGTERM, terminated)
os.write(1, b'ready\\n')
while True:
    signal.pause()
";
    run_from(&on_terminal(outer), inner).printed("1 0");
}

#[test]
fn what_the_program_sends_its_group_does_not_come_back() {
    let Some(_world) = World::new("what_the_program_sends_its_group_does_not_come_back") else {
        return;
    };
    // `trap 'kill 0' TERM` is common: it must not go round for ever. The session is the two's own.
    let outer = "
def is_pending():
    status = open(f'/proc/{child}/status').read()
    return int(status.split('ShdPnd:')[1].split()[0], 16) != 0
until(b'ready')
os.kill(child, signal.SIGTERM)
until(b'2')
while is_pending():
    time.sleep(0.01)
os.kill(child, signal.SIGHUP)
until(b'times')
print(seen.split(b'hung up ')[1].split()[0].decode(), os.waitpid(child, 0)[1])
";
    let inner = "
import os, signal
count = 0
def terminated(*_):
    global count
    count += 1
    os.write(1, b'%d\\n' % count)
    if count == 1:
        os.kill(0, signal.SIGTERM)
def hung_up(*_):
    os.write(1, b'hung up %d times\\n' % count)
    os._exit(0)
signal.signal(signal.SIGTERM, terminated)
signal.signal(signal.SIGHUP, hung_up)
os.write(1, b'ready\\n')
while True:
    signal.pause()
";
    run_from(&on_terminal(outer), inner).printed("2 0");
}
