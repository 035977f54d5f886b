//! What the process tests run: node, echo server, client.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use synhop_option::{Extra, SynOption, V4Destination};
use synhop_sockets::{Attachment, Config, SourceFill};

/// No wait is longer than this; none is expected to come near it.
pub(crate) const BOUND: Duration = Duration::from_secs(20);

const INSIDE: &str = "SYNHOP_TEST_IN_NAMESPACE";

/// Runs `test`, the body of the test called `name`, in a network namespace of its own.
pub(crate) fn in_namespace(name: &str, test: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        let up = Command::new("ip")
            .args(["link", "set", "lo", "up"])
            .status();
        assert!(up.is_ok_and(|status| status.success()), "ip link set lo up");
        test();
        return;
    }
    let may = Command::new("unshare").args(["--net", "true"]).output();
    if !may.is_ok_and(|output| output.status.success()) {
        println!("SKIP {name}: making a network namespace takes root");
        return;
    }
    let own = env::current_exe().expect("own path");
    let output = Command::new("unshare")
        .arg("--net")
        .arg(own)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare");
    let printed = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    assert!(
        output.status.success(),
        "{}{}",
        printed(&output.stdout),
        printed(&output.stderr)
    );
    assert!(
        printed(&output.stdout).contains("1 passed"),
        "no test {name}"
    );
}

/// A node that is killed when dropped.
pub(crate) struct NodeProcess {
    child: Mutex<Child>,
    lines: Receiver<String>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl NodeProcess {
    /// Starts a node and waits until it listens.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::spawn(Command::new(env!("CARGO_BIN_EXE_synhop-node")).args(arguments))
    }

    /// The same with this many descriptors.
    pub(crate) fn start_with_descriptors(count: u32, arguments: &[&str]) -> Self {
        let node = env!("CARGO_BIN_EXE_synhop-node");
        let limit = format!("--nofile={count}:{count}");
        Self::spawn(Command::new("prlimit").arg(limit).arg(node).args(arguments))
    }

    /// Runs a node that is to fail; gives its exit code and its log.
    pub(crate) fn run(arguments: &[&str]) -> (Option<i32>, String) {
        let node = env!("CARGO_BIN_EXE_synhop-node");
        let output = Command::new(node).args(arguments).output().unwrap();
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), log)
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (line, lines) = mpsc::channel();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&seen);
        thread::spawn(move || {
            for text in stderr.lines().map_while(Result::ok) {
                all.lock().unwrap().push(text.clone());
                if line.send(text).is_err() {
                    return;
                }
            }
        });
        let node = Self {
            child: Mutex::new(child),
            lines,
            seen,
        };
        node.wait_for("listening");
        node
    }

    /// The next log line that contains `text`; lines before it are passed over.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        let started = Instant::now();
        while let Some(left) = BOUND.checked_sub(started.elapsed()) {
            match self.lines.recv_timeout(left) {
                Ok(line) if line.contains(text) => return line,
                Ok(_other) => {}
                Err(_ended) => break,
            }
        }
        panic!("no line with {text:?} in {:#?}", self.seen.lock().unwrap());
    }

    /// The line of the next flow that ends.
    pub(crate) fn flow_line(&self) -> String {
        self.wait_for(" flow ")
    }

    pub(crate) fn signal(&self, name: &str) {
        let kill = Command::new("kill")
            .args(["-s", name, &self.pid().to_string()])
            .status();
        assert!(kill.is_ok_and(|status| status.success()));
    }

    /// Ends it politely and expects that it ends well.
    pub(crate) fn stop(&self) {
        self.signal("TERM");
        assert_eq!(self.exit_code(), Some(0));
    }

    pub(crate) fn exit_code(&self) -> Option<i32> {
        let mut code = None;
        wait_until("the node ends", || {
            let status = self.child.lock().unwrap().try_wait().unwrap();
            code = status.and_then(|status| status.code());
            status.is_some()
        });
        code
    }

    pub(crate) fn descriptors(&self) -> usize {
        let path = format!("/proc/{}/fd", self.pid());
        std::fs::read_dir(path).unwrap().count()
    }

    /// From now on its descriptors are to be below `count`; those that it has stay.
    pub(crate) fn limit_descriptors(&self, count: usize) {
        let prlimit = Command::new("prlimit")
            .arg(format!("--pid={}", self.pid()))
            .arg(format!("--nofile={count}:1000"))
            .status();
        assert!(prlimit.is_ok_and(|status| status.success()));
    }

    fn pid(&self) -> u32 {
        self.child.lock().unwrap().id()
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        if let Ok(child) = self.child.get_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Sends back what it gets. New connections are refused once it is dropped.
pub(crate) struct EchoServer {
    address: SocketAddr,
    accepting: Option<thread::JoinHandle<()>>,
    stop: Arc<Mutex<bool>>,
}

impl EchoServer {
    pub(crate) fn start(address: &str) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(Mutex::new(false));
        let stopped = Arc::clone(&stop);
        let accepting = thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if *stopped.lock().unwrap() {
                    return;
                }
                thread::spawn(move || {
                    let _ = std::io::copy(&mut &stream, &mut &stream);
                    let _ = stream.shutdown(Shutdown::Write);
                });
            }
        });
        Self {
            address,
            accepting: Some(accepting),
            stop,
        }
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        *self.stop.lock().unwrap() = true;
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

/// Puts the option on its sockets.
pub(crate) struct Client(Attachment);

impl Client {
    pub(crate) fn new() -> Self {
        Self(Attachment::new(Config::default()).unwrap())
    }

    /// Connects to the node with `destination` in the option.
    pub(crate) fn connect(&self, node: &str, destination: &str) -> std::io::Result<TcpStream> {
        let node: SocketAddr = node.parse().unwrap();
        let destination: SocketAddrV4 = destination.parse().unwrap();
        let option = SynOption::V4 {
            source: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
            destination: V4Destination::new(destination).unwrap(),
            extra: Extra::Nothing,
        };
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        self.0
            .mark(&socket, &option, SourceFill::FromSocket)
            .unwrap();
        socket.connect(&node.into())?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(BOUND))?;
        stream.set_write_timeout(Some(BOUND))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// The body that a web server gives for `path`.
pub(crate) fn http_get(server: &str, path: &str) -> String {
    let mut stream = None;
    wait_until("the status page is there", || {
        stream = TcpStream::connect(server).ok();
        stream.is_some()
    });
    let mut stream = stream.unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    body.to_owned()
}

/// Waits until `condition` holds, looking every millisecond.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < BOUND, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(1));
    }
}
