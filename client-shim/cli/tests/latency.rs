//! What the library adds to `connect()`. Measures, and asserts only that it works:
//! `cargo test --release -p synhop --test latency -- --ignored --nocapture`

mod common;

use common::{NODE, PYTHON, World, finish};

/// Medians are of this many connections each.
const SCRIPT: &str = "
import socket, statistics, struct, sys, time
host, port = sys.argv[1].split(':')
took = []
for _ in range(2000):
    s = socket.socket()
    if sys.argv[2:]:
        s.setsockopt(socket.IPPROTO_TCP, 7, int(sys.argv[2]))
    start = time.perf_counter_ns()
    s.connect((host, int(port)))
    took.append(time.perf_counter_ns() - start)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    s.close()
cuts = statistics.quantiles(took, n=100)
names = ((10, 'p10'), (50, 'median'), (90, 'p90'), (99, 'p99'))
print(', '.join(f'{name} {cuts[cut - 1] / 1000:.1f} us' for cut, name in names))
";

#[test]
#[ignore = "a measurement"]
fn what_the_library_adds_to_connect() {
    let Some(world) = World::new("what_the_library_adds_to_connect") else {
        return;
    };
    let python = [PYTHON, "-c", SCRIPT];
    // 192.0.2.8:7000 accepts and does nothing: the handshake alone.
    let plain = "192.0.2.8:7000";
    let without = finish(std::process::Command::new(PYTHON).args(["-c", SCRIPT, plain]));
    let bypass = [&["--bypass", "192.0.2.0/24", "--"], &python[..], &[plain]].concat();
    let mut quiet = common::synhop();
    let passed = finish(quiet.args(["run", "--proxy", NODE]).args(bypass));
    let mut quiet = common::synhop();
    let through = [&["--"], &python[..], &[plain]].concat();
    let proxied = finish(quiet.args(["run", "--proxy", NODE]).args(through));
    // A TCP_SYNCNT that keeps the outcome from being published there: the helper is asked for it.
    let mut quiet = common::synhop();
    let asking = [&["--"], &python[..], &[plain, "121"]].concat();
    let asked = finish(quiet.args(["run", "--proxy", NODE]).args(asking));
    println!("without the library:  {}", without.stdout.trim());
    println!("on the bypass list:   {}", passed.stdout.trim());
    println!("through the node:     {}", proxied.stdout.trim());
    println!("the same, asking:     {}", asked.stdout.trim());
    for ran in [without, passed, proxied, asked] {
        ran.ended(0);
    }
    world.node.has_flows(4000);
}
