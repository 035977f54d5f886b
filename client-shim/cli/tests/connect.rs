//! Unmodified programs through a node.

mod common;

use std::net::SocketAddr;

use common::{NODE, PLAIN, SERVER, World, finish, synhop};

const HELLO: &str = "hello from 198.51.100.1:8000";

#[test]
fn a_blocking_connect_goes_through_the_node() {
    let Some(world) = World::new("a_blocking_connect_goes_through_the_node") else {
        return;
    };
    let ran = world.python(
        NODE,
        &[],
        "
s = socket.create_connection(SERVER)
print(s.getpeername(), s.getsockname()[1], fetch(s))
",
    );
    ran.said("synhop: 198.51.100.1:8000: through 192.0.2.7:7000");
    let flows = world.node.flows();
    let [flow] = flows.as_slice() else {
        panic!("{flows:?}");
    };
    let option = flow.option.unwrap().unwrap();
    assert_eq!(option.destination(0), SERVER.parse::<SocketAddr>().unwrap());
    assert_eq!(option.claimed_source(), Some(flow.client));
    let port = flow.client.port();
    ran.printed(&format!("('198.51.100.1', 8000) {port} {HELLO}"));
}

#[test]
fn curl_goes_through_the_node() {
    let Some(world) = World::new("curl_goes_through_the_node") else {
        return;
    };
    let url = format!("http://{SERVER}/");
    let ran = world.run(&["--", "curl", "-sS", "-w", " %{remote_ip}", &url]);
    ran.printed(&format!("{HELLO} 198.51.100.1"))
        .said("through 192.0.2.7:7000");
    world.node.has_flows(1);
}

#[test]
fn asyncio_goes_through_the_node() {
    let Some(world) = World::new("asyncio_goes_through_the_node") else {
        return;
    };
    let script = "
async def one():
    reader, writer = await asyncio.open_connection(*SERVER)
    peer = writer.get_extra_info('peername')
    writer.write(b'GET / HTTP/1.0\\r\\n\\r\\n')
    data = await reader.read()
    return peer == SERVER and data.endswith(b'hello from 198.51.100.1:8000')
async def many():
    return await asyncio.gather(*(one() for _ in range(20)))
print(all(asyncio.run(many())))
";
    world.python(NODE, &[], script).printed("True");
    world.node.has_flows(20);
}

#[test]
fn libuv_goes_through_the_node() {
    let name = "libuv_goes_through_the_node";
    if std::process::Command::new("node")
        .arg("--version")
        .output()
        .is_err()
    {
        println!("SKIP {name}: needs node");
        return;
    }
    let Some(world) = World::new(name) else {
        return;
    };
    let script = "
const socket = require('net').connect(8000, '198.51.100.1', () => {
    console.log(socket.remoteAddress, socket.remotePort);
    socket.write('GET / HTTP/1.0\\r\\n\\r\\n');
});
socket.on('data', (data) => console.log(data.toString().split('\\r\\n\\r\\n')[1]));
";
    let ran = world.run(&["--", "node", "-e", script]);
    ran.printed(&format!("198.51.100.1 8000\n{HELLO}"))
        .said("through");
    let ran = world.run_through(PLAIN, &["--", "node", "-e", script]);
    ran.printed(&format!("198.51.100.1 8000\n{HELLO}"))
        .said("direct (192.0.2.8:7000: no reply");
    assert_eq!(world.plain.requests(), 0);
}

#[test]
fn threads_connect_side_by_side() {
    let Some(world) = World::new("threads_connect_side_by_side") else {
        return;
    };
    let script = "
from concurrent.futures import ThreadPoolExecutor
def one(_):
    s = socket.create_connection(SERVER)
    return s.getpeername() == SERVER and fetch(s).startswith('hello')
print(all(ThreadPoolExecutor(16).map(one, range(100))))
";
    world.python(NODE, &[], script).printed("True");
    world.node.has_flows(100);
}

#[test]
fn a_second_connect_tells_the_end() {
    let Some(world) = World::new("a_second_connect_tells_the_end") else {
        return;
    };
    let script = "
s = socket.socket()
s.setblocking(False)
seen = []
while True:
    error = s.connect_ex(SERVER)
    if not error or error == errno.EISCONN:
        break
    assert error in (errno.EINPROGRESS, errno.EALREADY), error
    select.select([], [s], [])
s.setblocking(True)
print(s.getpeername(), fetch(s))
";
    let expected = format!("('198.51.100.1', 8000) {HELLO}");
    world
        .python(NODE, &[], script)
        .printed(&expected)
        .said("through");
    world.node.has_flows(1);
}

#[test]
fn a_peer_name_tells_the_end() {
    let Some(world) = World::new("a_peer_name_tells_the_end") else {
        return;
    };
    let script = "
s = socket.socket()
s.setblocking(False)
print(s.connect_ex(SERVER) == errno.EINPROGRESS)
select.select([], [s], [])
s.setblocking(True)
print(s.getpeername(), fetch(s))
";
    let expected = format!("True\n('198.51.100.1', 8000) {HELLO}");
    world
        .python(NODE, &[], script)
        .printed(&expected)
        .said("through");
}

#[test]
fn a_dual_stack_socket_sees_mapped_addresses() {
    let Some(world) = World::new("a_dual_stack_socket_sees_mapped_addresses") else {
        return;
    };
    let script = "
s = socket.socket(socket.AF_INET6)
s.connect(('::ffff:198.51.100.1', 8000))
print(s.getpeername(), fetch(s))
s = socket.socket(socket.AF_INET6)
s.setblocking(False)
s.connect_ex(('::ffff:198.51.100.1', 8000))
select.select([], [s], [])
print(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), s.getpeername()[0])
";
    world.python(NODE, &[], script).printed(&format!(
        "('::ffff:198.51.100.1', 8000, 0, 0) {HELLO}\n0 ::ffff:198.51.100.1"
    ));
    world.node.has_flows(2);
}

#[test]
fn a_connection_survives_fork_and_exec() {
    let Some(world) = World::new("a_connection_survives_fork_and_exec") else {
        return;
    };
    let script = "
s = socket.create_connection(SERVER)
os.set_inheritable(s.fileno(), True)
copy = socket.socket(fileno=os.dup(s.fileno()))
if os.fork() == 0:
    print('fork', s.getpeername(), copy.getpeername(), flush=True)
    os.execv(sys.executable, [sys.executable, '-c', f'''
import socket
print('exec', socket.socket(fileno={s.fileno()}).getpeername())'''])
os.wait()
";
    let peer = "('198.51.100.1', 8000)";
    world
        .python(NODE, &[], script)
        .printed(&format!("fork {peer} {peer}\nexec {peer}"));
}

#[test]
fn the_destination_refuses_through_the_node() {
    let Some(world) = World::new("the_destination_refuses_through_the_node") else {
        return;
    };
    let script = "
try:
    s = socket.create_connection(('198.51.100.1', 8001))
    print(s.recv(1))
except ConnectionError as error:
    # By a reset, before or after the program knows of the connection.
    print(error.errno in (errno.ECONNREFUSED, errno.ECONNRESET))
";
    let ran = world.python(NODE, &[], script);
    ran.printed("True").said("through");
    assert!(!ran.stderr.contains("direct"), "{ran:?}");
}

#[test]
fn other_traffic_is_left_alone() {
    let Some(world) = World::new("other_traffic_is_left_alone") else {
        return;
    };
    let script = "
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.bind(('198.51.100.1', 5353))
c = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
c.connect(('198.51.100.1', 5353))
c.send(b'datagram')
print(u.recv(99), c.getpeername())
l = socket.create_server(('127.0.0.1', 0))
s = socket.create_connection(l.getsockname())
print(s.getpeername() == l.getsockname())
l = socket.create_server(('::1', 0), family=socket.AF_INET6)
s = socket.create_connection(l.getsockname()[:2])
print(s.getpeername() == l.getsockname())
a, b = socket.socketpair()
print(a.getpeername())
try:
    socket.socket().connect('not an address')
except TypeError:
    print('TypeError')
print(os.strerror(socket.socket().connect_ex(('224.0.0.1', 80))))
f = socket.socket()
f.setsockopt(socket.IPPROTO_TCP, 30, 1)
f.connect(SERVER)
print(fetch(f))
";
    let ran = world.python(NODE, &[], script);
    ran.printed(&format!(
        "b'datagram' ('198.51.100.1', 5353)\nTrue\nTrue\n\nTypeError\nNetwork is unreachable\n{HELLO}"
    ));
    ran.said("direct (loopback)").said("direct (TCP Fast Open)");
    assert!(world.node.flows().is_empty());
}

#[test]
fn the_bypass_list_and_the_configuration_decide() {
    let Some(world) = World::new("the_bypass_list_and_the_configuration_decide") else {
        return;
    };
    let url = format!("http://{SERVER}/");
    let bypass = world.run(&["--bypass", "198.51.100.0/24", "--", "curl", "-sS", &url]);
    bypass.printed(HELLO).said("direct (bypass list)");
    assert!(world.node.flows().is_empty());

    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("client.toml");
    let text = "[[route]]\nto = '198.51.100.0/24'\nproxy = '192.0.2.7:7000'\n\
                [[route]]\nto = '0.0.0.0/0'\nproxy = 'direct'\n";
    std::fs::write(&config, text).unwrap();
    let mut command = synhop();
    command.args(["run", "-v", "--config"]).arg(&config);
    let ran = finish(command.args(["--", "curl", "-sS", &url, "http://192.0.2.8:7000/"]));
    ran.printed(&format!("{HELLO}hello from 192.0.2.8:7000"));
    ran.said("through 192.0.2.7:7000")
        .said("192.0.2.8:7000: direct (no route to a proxy)");
}

#[test]
fn one_socket_for_one_destination_after_the_other() {
    let Some(world) = World::new("one_socket_for_one_destination_after_the_other") else {
        return;
    };
    let script = "
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
s = socket.create_connection(SERVER)
# Dissolved: the next destination is on the bypass list, its SYN must not carry the option.
assert libc.connect(s.fileno(), bytes(16), 16) == 0
s.connect(('192.0.2.7', 7000))
print(s.getpeername())
";
    world
        .python(NODE, &[], script)
        .printed("('192.0.2.7', 7000)")
        .said("direct (the proxy itself)");
    // The node takes only SYNs with an option for flows.
    world.node.has_flows(1);
}
