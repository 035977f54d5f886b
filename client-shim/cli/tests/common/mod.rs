//! A world to run programs in: a network namespace of the test thread's own, with
//!
//! ```text
//! 198.51.100.1:8000  the server
//! 198.51.100.1:8001  nobody
//! 192.0.2.7:7000     a node
//! 192.0.2.8:7000     a plain server where a node should be
//! 192.0.2.9:7000     nobody
//! ```
//!
//! all on the loopback interface. The namespace goes when the test's thread and children are gone.
#![allow(dead_code, reason = "every test file uses its part")]

pub(crate) mod node;
pub(crate) mod programs;
mod sys;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) use programs::synhop;
pub(crate) use sys::kill;

use programs::Programs;

pub(crate) const SERVER: &str = "198.51.100.1:8000";
pub(crate) const NODE: &str = "192.0.2.7:7000";
pub(crate) const PLAIN: &str = "192.0.2.8:7000";
pub(crate) const NOBODY: &str = "192.0.2.9:7000";
pub(crate) const PYTHON: &str = "/usr/bin/python3";

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The servers of the world.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) plain: Server,
    pub(crate) node: node::Node,
    programs: Arc<Programs>,
}

/// Answers every request, and counts.
pub(crate) struct Server {
    pub(crate) connections: Arc<AtomicUsize>,
    pub(crate) requests: Arc<AtomicUsize>,
}

impl World {
    /// `None`, and a line that says SKIP, where this cannot be tested.
    pub(crate) fn new(test: &str) -> Option<Self> {
        if !sys::is_root() {
            println!("SKIP {test}: needs root");
            return None;
        }
        if !Path::new(PYTHON).exists() {
            println!("SKIP {test}: needs {PYTHON}");
            return None;
        }
        sys::unshare_network().expect("a network namespace");
        for command in [
            "link set lo up",
            "addr add 198.51.100.1/32 dev lo",
            "addr add 192.0.2.7/32 dev lo",
            "addr add 192.0.2.8/32 dev lo",
            "addr add 192.0.2.9/32 dev lo",
        ] {
            let done = Command::new("ip").args(command.split(' ')).status();
            assert!(done.expect("ip").success(), "ip {command}");
        }
        Some(Self {
            server: Server::start(SERVER),
            plain: Server::start(PLAIN),
            node: node::Node::start(NODE),
            programs: Programs::shared(),
        })
    }

    /// `synhop run` with these arguments, through the node, verbose.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.run_through(NODE, args)
    }

    /// The same through another address.
    #[expect(
        clippy::unused_self,
        reason = "without a world there is nothing to run in"
    )]
    pub(crate) fn run_through(&self, proxy: &str, args: &[&str]) -> Ran {
        let mut command = synhop();
        command
            .args(["run", "--verbose", "--proxy", proxy])
            .args(args);
        finish(&mut command)
    }

    /// `synhop run ARGS -- python3 -c SCRIPT`.
    pub(crate) fn python(&self, proxy: &str, args: &[&str], script: &str) -> Ran {
        let mut all = args.to_vec();
        let script = format!("{PRELUDE}{script}");
        all.extend(["--", PYTHON, "-c", &script]);
        self.run_through(proxy, &all)
    }
}

/// What the scripts share.
const PRELUDE: &str = "
import asyncio, errno, os, select, socket, sys
SERVER = ('198.51.100.1', 8000)
def fetch(s):
    s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')
    data = b''
    while True:
        more = s.recv(4096)
        if not more:
            return data.split(b'\\r\\n\\r\\n')[1].decode()
        data += more
";

impl Server {
    fn start(address: &str) -> Self {
        let listener = TcpListener::bind(address).expect(address);
        let server = Self {
            connections: Arc::default(),
            requests: Arc::default(),
        };
        let connections = Arc::clone(&server.connections);
        let requests = Arc::clone(&server.requests);
        let address = address.to_owned();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                connections.fetch_add(1, Ordering::SeqCst);
                let (requests, address) = (Arc::clone(&requests), address.clone());
                thread::spawn(move || serve(stream, &address, &requests));
            }
        });
        server
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

fn serve(mut stream: TcpStream, address: &str, requests: &AtomicUsize) {
    let mut request = Vec::new();
    let mut octets = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut octets) {
            Ok(0) | Err(_) => return,
            Ok(len) => request.extend(&octets[..len]),
        }
    }
    requests.fetch_add(1, Ordering::SeqCst);
    let body = format!("hello from {address}");
    let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    // A client that has gone is the test's business.
    let _ = stream.write_all((head + &body).as_bytes());
}

/// What a program left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// It succeeded and printed `stdout`.
    #[track_caller]
    pub(crate) fn printed(&self, stdout: &str) -> &Self {
        assert_eq!(
            (self.code, self.stdout.trim()),
            (Some(0), stdout),
            "{self:#?}"
        );
        self
    }

    /// `words` stand on stderr.
    #[track_caller]
    pub(crate) fn said(&self, words: &str) -> &Self {
        assert!(self.stderr.contains(words), "no {words:?} in {self:#?}");
        self
    }

    /// It ended with `code`.
    #[track_caller]
    pub(crate) fn ended(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        Self {
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }
}

/// Runs to the end; kills what takes too long.
pub(crate) fn finish(command: &mut Command) -> Ran {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let pid = child.id();
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let watch = thread::spawn(move || {
        if is_done.recv_timeout(PATIENCE).is_err() {
            kill(pid, libc::SIGKILL);
        }
    });
    let output = child.wait_with_output().expect("output");
    let _ = done.send(());
    watch.join().expect("watch");
    output.into()
}

/// Waits until `condition` holds.
#[track_caller]
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not in time");
        thread::sleep(Duration::from_millis(5));
    }
}

/// `synhop helper` on a socket of its own.
pub(crate) struct Helper {
    child: Child,
    directory: tempfile::TempDir,
}

impl Helper {
    pub(crate) fn start(args: &[&str]) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().expect("a directory");
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(directory.path(), open).expect("permissions");
        let mut command = synhop();
        command
            .arg("helper")
            .arg("--socket")
            .arg(directory.path().join("sock"));
        let log = std::fs::File::create(directory.path().join("log")).expect("a log");
        let child = command
            .args(args)
            .env("SYNHOP_LOG", "synhop=debug")
            .stderr(log)
            .spawn()
            .expect("helper");
        let mut helper = Self { child, directory };
        let path = helper.path();
        wait_for("the helper", || {
            let ended = helper.child.try_wait().expect("wait");
            assert!(ended.is_none(), "the helper ended: {ended:?}");
            Path::new(&path).exists() && helper.log().contains("listening")
        });
        helper
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn path(&self) -> String {
        let path = self.directory.path().join("sock");
        path.to_str().expect("UTF-8").to_owned()
    }

    /// How many requests it has answered, those of `synhop run` itself too.
    pub(crate) fn answered(&self) -> usize {
        let log = self.log();
        log.lines().filter(|line| line.contains("answered")).count()
    }

    fn log(&self) -> String {
        let path = self.directory.path().join("log");
        std::fs::read_to_string(path).expect("the log")
    }

    /// How many descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        let directory = format!("/proc/{}/fd", self.child.id());
        std::fs::read_dir(directory).expect("descriptors").count()
    }

    /// Ends it as a service manager does; its exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        kill(self.child.id(), libc::SIGTERM);
        self.child.wait().expect("wait").code()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
