//! How often a connection costs a word with the helper, and what is left on its socket.

mod common;

use common::{Helper, NODE, PLAIN, PYTHON, Ran, SERVER, World, finish, synhop};

const PRELUDE: &str = "
import ctypes, errno, select, socket, sys
SERVER = ('198.51.100.1', 8000)
SYN_COUNT = 7
libc = ctypes.CDLL(None, use_errno=True)
def count(s):
    return s.getsockopt(socket.IPPROTO_TCP, SYN_COUNT)
def blocking(s):
    s.connect(SERVER)
def by_error(s):
    s.setblocking(False)
    assert s.connect_ex(SERVER) == errno.EINPROGRESS
    select.select([], [s], [])
    assert s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
def by_peer(s):
    s.setblocking(False)
    assert s.connect_ex(SERVER) == errno.EINPROGRESS
    select.select([], [s], [])
    s.getpeername()
def by_connect(s):
    s.setblocking(False)
    while s.connect_ex(SERVER) in (errno.EINPROGRESS, errno.EALREADY):
        select.select([], [s], [])
way = globals()[sys.argv[1]]
def fetch(s):
    s.setblocking(True)
    s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')
    return s.makefile().read().split('\\n')[-1]
";

const WAYS: [&str; 4] = ["blocking", "by_error", "by_peer", "by_connect"];

/// Runs the script; how many requests the helper had.
fn requests(proxy: &str, way: &str, script: &str) -> (Ran, usize) {
    let helper = Helper::start(&[]);
    let script = format!("{PRELUDE}{script}");
    let mut command = synhop();
    command.args(["run", "-v", "--proxy", proxy, "--helper", &helper.path()]);
    let ran = finish(command.args(["--", PYTHON, "-c", &script, way]));
    // One is `synhop run`'s own, at the start.
    (ran, helper.answered() - 1)
}

#[test]
fn a_proxied_connection_costs_one_request() {
    let Some(world) = World::new("a_proxied_connection_costs_one_request") else {
        return;
    };
    for way in WAYS {
        println!("{way}");
        let script = "
for preset in (None, 3):
    s = socket.socket()
    if preset:
        s.setsockopt(socket.IPPROTO_TCP, SYN_COUNT, preset)
    before = count(s)
    way(s)
    print(before == count(s), fetch(s))
";
        let (ran, requests) = requests(NODE, way, script);
        let line = format!("True hello from {SERVER}");
        ran.printed(&format!("{line}\n{line}")).said("through");
        assert_eq!(requests, 2);
    }
    world.node.has_flows(8);
}

#[test]
fn a_program_that_uses_the_sentinel_itself_is_asked_for() {
    let Some(world) = World::new("a_program_that_uses_the_sentinel_itself_is_asked_for") else {
        return;
    };
    let script = "
s = socket.socket()
s.setsockopt(socket.IPPROTO_TCP, SYN_COUNT, 121)
way(s)
print(count(s), fetch(s))
";
    for way in WAYS {
        println!("{way}");
        let (ran, through) = requests(NODE, way, script);
        ran.printed(&format!("121 hello from {SERVER}"))
            .said("through");
        assert_eq!(through, 2);
        let (ran, _) = requests(PLAIN, way, script);
        ran.printed(&format!("121 hello from {SERVER}"))
            .said("no reply to the option");
    }
    assert_eq!(world.plain.requests(), 0);
}

#[test]
fn what_nobody_read_does_not_count_for_the_next_connection() {
    let Some(world) = World::new("what_nobody_read_does_not_count_for_the_next_connection") else {
        return;
    };
    // The first outcome is not asked for; then the socket is dissolved and goes on: through the
    // node, or direct.
    let script = "
for destination in (SERVER, ('192.0.2.7', 7000)):
    s = socket.socket()
    before = count(s)
    s.setblocking(False)
    assert s.connect_ex(SERVER) == errno.EINPROGRESS
    select.select([], [s], [])
    unread = count(s)
    assert libc.connect(s.fileno(), bytes(16), 16) == 0
    s.setblocking(True)
    s.connect(destination)
    print(unread, before == count(s), s.getpeername()[0])
";
    let (ran, _) = requests(NODE, "blocking", script);
    ran.printed("121 True 198.51.100.1\n121 True 192.0.2.7");
    world.node.has_flows(3);
}
