//! A running machine with the image, its wire and its console.

use std::io::{Read, Write};
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// A question without an answer is asked again after so long.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// Control-C: an orderly end.
pub(crate) const STOP: u8 = 3;
/// Asks how the node is.
pub(crate) const STATUS: u8 = b's';

/// A running machine; it ends with its owner.
pub(crate) struct Machine {
    child: Child,
    keys: ChildStdin,
    console: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    pub(crate) wire: UdpSocket,
}

impl Machine {
    /// `None`, with a word of why, if there is no QEMU or no image.
    pub(crate) fn start(test: &str, memory: &str, words: &str) -> Option<Self> {
        let image = image();
        if !image.exists() {
            eprintln!("SKIP {test}: no image at {}", image.display());
            return None;
        }
        if !has_qemu() {
            eprintln!("SKIP {test}: no qemu-system-x86_64");
            return None;
        }
        let wire = UdpSocket::bind("127.0.0.1:0").expect("a port");
        // Free a moment ago: QEMU takes it right away.
        let theirs = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let ports = [&theirs, &wire].map(|socket| socket.local_addr().expect("bound").port());
        wire.connect(("127.0.0.1", ports[0])).expect("loopback");
        wire.set_read_timeout(Some(ASK_AGAIN)).expect("not zero");
        drop(theirs);
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("run-qemu");
        let mut child = Command::new(script)
            .arg("--image")
            .arg(image)
            .args(["--memory", memory, "--dgram"])
            .arg(format!("{}:{}", ports[0], ports[1]))
            .arg(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the script runs");
        let keys = child.stdin.take().expect("piped");
        let mut output = child.stdout.take().expect("piped");
        let console = Arc::new(Mutex::new(String::new()));
        let shared = Arc::clone(&console);
        // Read all the time: a full pipe would hold the machine up.
        let reader = std::thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(len @ 1..) = output.read(&mut part) {
                let said = String::from_utf8_lossy(&part[..len]);
                shared
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push_str(&said);
            }
        });
        Some(Self {
            child,
            keys,
            console,
            reader: Some(reader),
            wire,
        })
    }

    /// Sends `question` until a frame comes for which `is_answer` holds.
    pub(crate) fn ask(&self, question: &[u8], is_answer: impl Fn(&[u8]) -> bool) {
        let mut frame = [0; 2048];
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            // Refused while nobody listens yet.
            let _refused = self.wire.send(question);
            while let Ok(len) = self.wire.recv(&mut frame) {
                if is_answer(&frame[..len]) {
                    return;
                }
            }
            std::thread::yield_now();
        }
        panic!("no answer; the console:\n{}", self.tail());
    }

    /// Types a key.
    pub(crate) fn press(&mut self, key: u8) {
        self.keys.write_all(&[key]).expect("it runs");
        self.keys.flush().expect("it runs");
    }

    /// Octets that are on the console.
    pub(crate) fn printed(&self) -> usize {
        self.text(str::len)
    }

    /// What `look` makes of the console, from its first octet.
    pub(crate) fn text<T>(&self, look: impl FnOnce(&str) -> T) -> T {
        look(&self.console.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The last of the console.
    pub(crate) fn tail(&self) -> String {
        self.text(|all| {
            let lines: Vec<_> = all.lines().collect();
            lines[lines.len().saturating_sub(20)..].join("\n")
        })
    }

    /// Waits for the end; what was on the console.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("our child") {
                break status;
            }
            assert!(
                begin.elapsed() < PATIENCE,
                "it does not end; the console:\n{}",
                self.tail()
            );
            std::thread::sleep(Duration::from_millis(10));
        };
        if let Some(reader) = self.reader.take() {
            reader.join().expect("it only reads");
        }
        (status, self.text(str::to_owned))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

fn has_qemu() -> bool {
    let version = Command::new("qemu-system-x86_64")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    version.is_ok_and(|status| status.success())
}

fn image() -> PathBuf {
    let built = || {
        let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target");
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or(own, PathBuf::from);
        target.join("image/synhop-unikernel")
    };
    std::env::var_os("SYNHOP_UNIKERNEL").map_or_else(built, PathBuf::from)
}
