//! The proxy is none, or not there, or the helper goes.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use common::{Helper, NOBODY, NODE, PLAIN, PYTHON, SERVER, World, synhop, wait_for};

const HELLO: &str = "hello from 198.51.100.1:8000";

const BLOCKING: &str = "
try:
    s = socket.create_connection(SERVER)
    print(s.getpeername()[0], fetch(s))
except OSError as error:
    print(errno.errorcode[error.errno])
";

const ASYNCIO: &str = "
async def one():
    reader, writer = await asyncio.open_connection(*SERVER)
    writer.write(b'GET / HTTP/1.0\\r\\n\\r\\n')
    data = await reader.read()
    print(writer.get_extra_info('peername')[0], data.split(b'\\r\\n\\r\\n')[1].decode())
try:
    asyncio.run(one())
except OSError as error:
    print(errno.errorcode[error.errno])
";

const CONNECT_TWICE: &str = "
s = socket.socket()
s.setblocking(False)
while True:
    error = s.connect_ex(SERVER)
    if error not in (errno.EINPROGRESS, errno.EALREADY):
        break
    select.select([], [s], [])
if error and error != errno.EISCONN:
    print(errno.errorcode[error])
else:
    s.setblocking(True)
    print(s.getpeername()[0], fetch(s))
";

const PEER_NAME: &str = "
s = socket.socket()
s.setblocking(False)
s.connect_ex(SERVER)
select.select([], [s], [])
try:
    peer = s.getpeername()[0]
    s.setblocking(True)
    print(peer, fetch(s))
except OSError as error:
    print(errno.errorcode[error.errno])
";

const WAYS: [(&str, &str); 3] = [
    ("blocking", BLOCKING),
    ("asyncio", ASYNCIO),
    ("connect twice", CONNECT_TWICE),
];

#[test]
fn a_plain_server_in_the_proxys_place_gets_nothing() {
    let Some(world) = World::new("a_plain_server_in_the_proxys_place_gets_nothing") else {
        return;
    };
    for (way, script) in WAYS.into_iter().chain([("peer name", PEER_NAME)]) {
        println!("{way}");
        let direct = world.python(PLAIN, &[], script);
        direct
            .printed(&format!("198.51.100.1 {HELLO}"))
            .said("direct (192.0.2.8:7000: no reply to the option)");
        let fail = world.python(PLAIN, &["--fallback", "fail"], script);
        fail.printed("ECONNREFUSED")
            .said("failed (192.0.2.8:7000: no reply");
    }
    let url = format!("http://{SERVER}/");
    world
        .run_through(PLAIN, &["--", "curl", "-sS", &url])
        .printed(HELLO);
    let fail = world.run_through(PLAIN, &["--fallback", "fail", "--", "curl", "-sS", &url]);
    fail.ended(7);
    // Its accept() may lag behind.
    wait_for("the connections", || world.plain.connections() == 10);
    assert_eq!(world.plain.requests(), 0);
}

#[test]
fn an_unreachable_proxy_is_left_out() {
    let Some(world) = World::new("an_unreachable_proxy_is_left_out") else {
        return;
    };
    for (way, script) in WAYS {
        println!("{way}");
        let direct = world.python(NOBODY, &[], script);
        direct
            .printed(&format!("198.51.100.1 {HELLO}"))
            .said("direct (192.0.2.9:7000: proxy not reachable, errno 111)");
        let fail = world.python(NOBODY, &["--fallback", "fail"], script);
        fail.printed("ECONNREFUSED").said("failed (");
    }
    let peer = world.python(NOBODY, &[], PEER_NAME);
    peer.printed(&format!("198.51.100.1 {HELLO}"))
        .said("direct (192.0.2.9:7000: proxy not reachable, errno 111)");
    // As a failed connect looks: no peer, and the error is still to be fetched.
    let script = "
s = socket.socket()
s.setblocking(False)
s.connect_ex(SERVER)
select.select([], [s], [])
try:
    s.getpeername()
except OSError as error:
    error = errno.errorcode[error.errno]
    print(error, errno.errorcode[s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)])
";
    let fail = world.python(NOBODY, &["--fallback", "fail"], script);
    fail.printed("ENOTCONN ECONNREFUSED");
    // No route at all: connect() fails at once, also without blocking.
    let nowhere = "203.0.113.1:7000";
    for (_, script) in WAYS {
        let direct = world.python(nowhere, &[], script);
        direct
            .printed(&format!("198.51.100.1 {HELLO}"))
            .said("errno 101");
    }
}

#[test]
fn a_verdict_is_remembered() {
    let Some(world) = World::new("a_verdict_is_remembered") else {
        return;
    };
    let script = "
for _ in range(3):
    print(fetch(socket.create_connection(SERVER)))
";
    let ran = world.python(PLAIN, &[], script);
    ran.printed(&[HELLO; 3].join("\n"))
        .said("left out for a minute");
    wait_for("the connection", || world.plain.connections() == 1);
}

#[test]
fn a_dual_stack_socket_falls_back_too() {
    let Some(world) = World::new("a_dual_stack_socket_falls_back_too") else {
        return;
    };
    let script = "
s = socket.socket(socket.AF_INET6)
s.connect(('::ffff:198.51.100.1', 8000))
print(s.getpeername()[0], fetch(s))
";
    let expected = format!("::ffff:198.51.100.1 {HELLO}");
    world.python(PLAIN, &[], script).printed(&expected);
}

#[test]
fn a_helper_that_goes_leaves_programs_running() {
    let Some(world) = World::new("a_helper_that_goes_leaves_programs_running") else {
        return;
    };
    for (fallback, then) in [("direct", HELLO), ("fail", "ECONNREFUSED")] {
        let mut helper = Helper::start(&[]);
        let script = "
import errno, socket
def get():
    try:
        s = socket.create_connection(('198.51.100.1', 8000))
        s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')
        return s.makefile().read().split('\\n')[-1]
    except OSError as error:
        return errno.errorcode[error.errno]
print(get(), flush=True)
input()
print(get(), flush=True)
";
        let mut command = synhop();
        command.args(["run", "--proxy", NODE, "--fallback", fallback]);
        command.args(["--helper", &helper.path(), "--", PYTHON, "-c", script]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), HELLO);
        assert_eq!(helper.stop(), Some(0));
        assert!(!std::path::Path::new(&helper.path()).exists());
        child.stdin.take().unwrap().write_all(b"\n").unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), then);
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(world.node.flows().len(), 2);
}
