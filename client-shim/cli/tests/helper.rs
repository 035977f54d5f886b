//! Clients that the helper has to survive.

mod common;

use std::process::Command;

use common::{Helper, PYTHON, World, finish, wait_for};

/// What every abuse has in common.
const PRELUDE: &str = "
import socket, sys, time
path = sys.argv[1]
STATE = b'SYNH\\x01\\x02' + bytes(42)
def client():
    c = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    c.settimeout(10)
    c.connect(path)
    return c
def ask(message, *sockets):
    c = client()
    socket.send_fds(c, [message], [s.fileno() for s in sockets])
    return c.recv(99)[5]
tcp = socket.socket()
";

fn abuse(helper: &Helper, script: &str, expected: &str) {
    let script = format!("{PRELUDE}{script}");
    let path = helper.path();
    let pid = helper.pid().to_string();
    let ran = finish(Command::new(PYTHON).args(["-c", &script, &path, &pid]));
    ran.printed(expected);
}

#[test]
fn bad_requests_are_refused_and_leave_nothing() {
    let Some(_world) = World::new("bad_requests_are_refused_and_leave_nothing") else {
        return;
    };
    let helper = Helper::start(&[]);
    let before = helper.descriptors();
    let script = "
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
unix, _ = socket.socketpair()
file = open('/dev/null')
mark = b'SYNH\\x01\\x01' + bytes(42)
print(ask(STATE, tcp), ask(STATE), ask(STATE, tcp, tcp), ask(STATE, *[tcp] * 50))
print(ask(STATE, udp), ask(STATE, unix), ask(STATE, file))
print(ask(b'x' * 48, tcp), ask(b'x', tcp), ask(STATE + b'x', tcp), ask(bytes(1000), tcp))
print(ask(b'SYNH\\x02' + STATE[5:], tcp), ask(mark, tcp))
";
    // 2: unmarked; 16: bad request, 17: version, 18: not one TCP socket.
    let expected = "2 18 18 18\n18 18 18\n16 16 16 16\n17 16";
    for _ in 0..10 {
        abuse(&helper, script, expected);
    }
    wait_for("the descriptors", || helper.descriptors() == before);
}

#[test]
fn dawdlers_do_not_keep_others_waiting() {
    let Some(_world) = World::new("dawdlers_do_not_keep_others_waiting") else {
        return;
    };
    let helper = Helper::start(&[]);
    let before = helper.descriptors();
    // Fewer than one user may have; then as many as there is room for and more, until the
    // helper gives them up.
    let script = "
some = [client() for _ in range(100)]
start = time.monotonic()
print(ask(STATE, tcp), time.monotonic() - start < 0.5)
more = [client() for _ in range(400)]
def patiently():
    for _ in range(50):
        try:
            return ask(STATE, tcp)
        except OSError:
            time.sleep(0.1)
print(patiently())
";
    abuse(&helper, script, "2 True\n2");
    wait_for("the descriptors", || helper.descriptors() == before);
}

#[test]
fn a_burst_of_one_users_programs_is_served() {
    let Some(_world) = World::new("a_burst_of_one_users_programs_is_served") else {
        return;
    };
    let helper = Helper::start(&[]);
    let before = helper.descriptors();
    // More than one user may have waiting, all at once: a pipe that closes sends them off.
    let script = "
import os
start, go = os.pipe()
def run():
    os.close(go)
    os.read(start, 1)
    ok = all(ask(STATE, tcp) == 2 for _ in range(10))
    os._exit(0 if ok else 1)
programs = []
for _ in range(300):
    program = os.fork()
    if program == 0:
        try:
            run()
        finally:
            os._exit(1)
    programs.append(program)
os.close(go)
print(sum(os.waitpid(program, 0)[1] != 0 for program in programs))
";
    abuse(&helper, script, "0");
    wait_for("the descriptors", || helper.descriptors() == before);
}

#[test]
fn a_close_that_lingers_keeps_its_own_user_waiting_only() {
    let Some(_world) = World::new("a_close_that_lingers_keeps_its_own_user_waiting_only") else {
        return;
    };
    let helper = Helper::start(&[]);
    let before = helper.descriptors();
    // Sockets with data that a full peer does not take, and whose last owner is the helper: it is
    // stopped until the one before has gone. Some have not even been received by then.
    let script = "
import os, signal, struct
helper = int(sys.argv[2])
full = socket.create_server(('127.0.0.1', 0), backlog=100)
LINGER_SECONDS = 4
def as_child(work):
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(1)
    return child
def poison():
    s = socket.create_connection(full.getsockname())
    s.setblocking(False)
    try:
        while True:
            s.send(bytes(65536))
    except BlockingIOError:
        pass
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, LINGER_SECONDS))
    c = client()
    # More than one is refused.
    socket.send_fds(c, [STATE], [s.fileno()] * how_many)
    os._exit(0)
os.kill(helper, signal.SIGSTOP)
for how_many in (1, 2, 5, 1, 1, 1, 1, 1):
    os.waitpid(as_child(poison), 0)
start = time.monotonic()
os.kill(helper, signal.SIGCONT)
def other():
    os.setresuid(65534, 65534, 65534)
    ok = all(ask(STATE, tcp) == 2 for _ in range(100))
    os._exit(0 if ok else 1)
# Until all places of this user are taken.
while True:
    try:
        ask(STATE, tcp)
    except (IndexError, OSError):
        break
stuck = time.monotonic()
print(os.waitpid(as_child(other), 0)[1], time.monotonic() - stuck < 1)
print(stuck - start < LINGER_SECONDS)
def patiently():
    while time.monotonic() < start + 15:
        try:
            return ask(STATE, tcp)
        except (IndexError, OSError):
            time.sleep(0.1)
print(patiently())
";
    abuse(&helper, script, "0 True\nTrue\n2");
    wait_for("the descriptors", || helper.descriptors() == before);
}
