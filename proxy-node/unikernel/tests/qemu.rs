//! The image on QEMU's microvm: it boots, answers, ends in order, and tells of faults.
//!
//! The network is a pair of UDP sockets on the loopback address: no root is needed. Set
//! `SYNHOP_UNIKERNEL` to the image, or build it before with `cargo build --profile image`.

use std::io::{Read, Write};
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);
const ASK_AGAIN: Duration = Duration::from_millis(50);
const HOST: [u8; 6] = [2, 0, 0, 0, 0, 1];
const GUEST: [u8; 6] = [2, 0, 0, 0, 0, 2];
const HOST_IP: [u8; 4] = [10, 0, 0, 1];
const GUEST_IP: [u8; 4] = [10, 0, 0, 2];
const WORDS: &str = "addr=10.0.0.2/24 listen=4460 allow-from=10.0.0.0/8 allow-to=any";

/// A running machine; it ends with its owner.
struct Machine {
    child: Child,
    wire: UdpSocket,
}

impl Machine {
    /// `None`, with a word of why, if there is no QEMU or no image.
    fn start(test: &str, memory: &str, words: &str) -> Option<Self> {
        let image = image();
        if !image.exists() {
            eprintln!("SKIP {test}: no image at {}", image.display());
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
        let spawned = Command::new(script)
            .arg("--image")
            .arg(image)
            .args(["--memory", memory, "--dgram"])
            .arg(format!("{}:{}", ports[0], ports[1]))
            .arg(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        match spawned {
            Ok(child) if has_qemu() => Some(Self { child, wire }),
            Ok(_) | Err(_) => {
                eprintln!("SKIP {test}: no qemu-system-x86_64");
                None
            }
        }
    }

    /// Sends `question` until a frame comes for which `is_answer` holds.
    fn ask(&self, question: &[u8], is_answer: impl Fn(&[u8]) -> bool) {
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
        panic!("no answer");
    }

    /// Waits for the end; what was on the console.
    fn end(mut self) -> (ExitStatus, String) {
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("our child") {
                break status;
            }
            assert!(begin.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        };
        let mut console = String::new();
        let mut output = self.child.stdout.take().expect("piped");
        output.read_to_string(&mut console).expect("text");
        (status, console)
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

fn ethernet(to: [u8; 6], kind: u16, body: &[u8]) -> Vec<u8> {
    [&to[..], &HOST, &kind.to_be_bytes(), body].concat()
}

fn arp_request() -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, 1];
    let body = [&head[..], &HOST, &HOST_IP, &[0; 6], &GUEST_IP].concat();
    ethernet([0xff; 6], 0x0806, &body)
}

fn is_arp_reply(frame: &[u8]) -> bool {
    let wanted = [&[0, 2][..], &GUEST, &GUEST_IP, &HOST, &HOST_IP].concat();
    frame.get(12..14) == Some(&[8, 6]) && frame.get(20..42) == Some(&wanted[..])
}

fn checksum(octets: &[u8]) -> [u8; 2] {
    let sum: u32 = octets
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    (!u16::try_from(folded).expect("16 bits")).to_be_bytes()
}

fn echo(kind: u8, sequence: u16) -> Vec<u8> {
    let data = [0x5a; 100];
    let mut icmp = [&[kind, 0, 0, 0, 0, 7][..], &sequence.to_be_bytes(), &data].concat();
    let sum = checksum(&icmp);
    icmp[2..4].copy_from_slice(&sum);
    icmp
}

fn ping(sequence: u16) -> Vec<u8> {
    let icmp = echo(8, sequence);
    let len = u16::try_from(20 + icmp.len()).expect("short").to_be_bytes();
    let mut ip = [0x45, 0, len[0], len[1], 0, 1, 0, 0, 64, 1, 0, 0].to_vec();
    ip.extend(HOST_IP);
    ip.extend(GUEST_IP);
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum);
    ethernet(GUEST, 0x0800, &[ip, icmp].concat())
}

#[test]
fn it_answers_and_ends_in_order() {
    for memory in ["2M", "4M", "64M"] {
        let Some(mut machine) = Machine::start("it_answers_and_ends_in_order", memory, WORDS)
        else {
            return;
        };
        machine.ask(&arp_request(), is_arp_reply);
        for sequence in 0..50 {
            let wanted = echo(0, sequence);
            machine.ask(&ping(sequence), |frame| frame.ends_with(&wanted));
        }
        let mut keys = machine.child.stdin.take().expect("piped");
        keys.write_all(&[3]).expect("it runs");
        let (status, console) = machine.end();
        assert_eq!(status.code(), Some(1), "{memory}: {console}");
        assert!(console.contains("synhop: stopped"), "{memory}: {console}");
    }
}

#[test]
fn it_tells_of_faults() {
    let told = [
        ("panic", "asked for by the command line"),
        ("null", "page fault (14)"),
        ("stack", "page fault (14)"),
    ];
    for (fault, wanted) in told {
        let words = format!("{WORDS} fault={fault}");
        let Some(machine) = Machine::start("it_tells_of_faults", "4M", &words) else {
            return;
        };
        let (status, console) = machine.end();
        assert_eq!(status.code(), Some(3), "{fault}: {console}");
        assert!(console.contains(wanted), "{fault}: {console}");
    }
}

#[test]
fn it_refuses_words_it_does_not_know() {
    let Some(machine) = Machine::start("it_refuses_words_it_does_not_know", "4M", "nonsense")
    else {
        return;
    };
    let (status, console) = machine.end();
    assert_eq!(status.code(), Some(3), "{console}");
    assert!(console.contains("nonsense"), "{console}");
}
