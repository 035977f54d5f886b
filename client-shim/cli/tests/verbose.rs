//! `--verbose` in programs that do unusual things to their stderr.

mod common;

use common::{NODE, World};

const HELLO: &str = "hello from 198.51.100.1:8000";

#[test]
fn a_stderr_that_nobody_reads_does_not_end_the_program() {
    let Some(world) = World::new("a_stderr_that_nobody_reads_does_not_end_the_program") else {
        return;
    };
    // A program with SIGPIPE's default disposition, started with such a stderr.
    let script = "
import signal, subprocess
reader, writer = os.pipe()
os.close(reader)
inner = '''
import signal, socket
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
socket.create_connection((\"198.51.100.1\", 8000))
print(signal.sigpending())
'''
print(subprocess.run([sys.executable, '-c', inner], stderr=writer, stdout=subprocess.PIPE, text=True))
";
    let ran = world.python(NODE, &[], script);
    assert!(
        ran.stdout.contains("returncode=0, stdout='set()"),
        "{ran:#?}"
    );
    world.node.has_flows(1);
}

#[test]
fn a_pipe_that_is_full_does_not_stop_the_program() {
    let Some(world) = World::new("a_pipe_that_is_full_does_not_stop_the_program") else {
        return;
    };
    let script = "
import subprocess
reader, writer = os.pipe()
os.set_blocking(writer, False)
try:
    while True:
        os.write(writer, bytes(4096))
except BlockingIOError:
    os.set_blocking(writer, True)
inner = 'import socket; socket.create_connection((\"198.51.100.1\", 8000)); print(1)'
subprocess.run([sys.executable, '-c', inner], stderr=writer)
";
    world.python(NODE, &[], script).printed("1");
    world.node.has_flows(1);
}

#[test]
fn a_reused_descriptor_is_not_written_to() {
    let Some(world) = World::new("a_reused_descriptor_is_not_written_to") else {
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("database");
    // First only 2 is reused: the report goes to where stderr was. Then every other descriptor.
    let script = format!(
        "
os.close(2)
assert os.open('{}', os.O_RDWR | os.O_CREAT) == 2
print(fetch(socket.create_connection(SERVER)))
for fd in os.listdir('/proc/self/fd'):
    if int(fd) > 2:
        try:
            os.dup2(2, int(fd))
        except OSError:
            pass
print(fetch(socket.create_connection(SERVER)))
print(os.fstat(2).st_size)
",
        file.display()
    );
    let ran = world.python(NODE, &[], &script);
    ran.printed(&format!("{HELLO}\n{HELLO}\n0")).said("through");
    assert_eq!(ran.stderr.matches("through").count(), 1, "{ran:#?}");
}
