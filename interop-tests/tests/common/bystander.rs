//! A flow that has nothing to do with what goes wrong beside it, and has to live through it.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use synhop_lab::{Lab, Namespace, Process, ProcessBuilder, Via, pattern_octets, wait_until};

use super::{PROMPTLY, synhop_run};

/// A slow download by curl through a chain. Its server trickles until [`Bystander::finish`] is
/// called, so that it lasts as long as the trouble does.
pub(crate) struct Bystander {
    curl: Process,
    body: PathBuf,
    release: Sender<()>,
    server: JoinHandle<std::io::Result<()>>,
}

impl Bystander {
    /// Starts it, from `host` at `address`, and waits until octets have arrived.
    pub(crate) fn start(lab: &Lab, via: Via, host: &Namespace, address: SocketAddr) -> Self {
        let listener = host.enter(|| TcpListener::bind(address));
        let listener = listener.expect("enter").expect("bind");
        let (release, released) = mpsc::channel();
        let server = thread::spawn(move || serve(&listener, &released));
        let body = lab.directory().join("bystander");
        let mut command = synhop_run(lab, via);
        command.args([
            "curl",
            "--disable",
            "--silent",
            "--show-error",
            "--no-buffer",
        ]);
        command.args(["--noproxy", "*", "--output"]).arg(&body);
        command.arg(format!("http://{address}/"));
        let curl = ProcessBuilder::new("bystander", command);
        let curl = curl.start().expect("curl starts");
        let arrived = wait_until("the bystander's first octets", PROMPTLY, || {
            let len = fs::metadata(&body).ok()?.len();
            (len > 0).then_some(())
        });
        arrived.unwrap_or_else(|error| panic!("{error}: {}", curl.failure()));
        Self {
            curl,
            body,
            release,
            server,
        }
    }

    /// From the server of the lab, through the chain.
    pub(crate) fn of_server(lab: &Lab, via: Via) -> Self {
        let address = SocketAddr::from((lab.server_address(), PORT));
        Self::start(lab, via, lab.server(), address)
    }

    /// Lets the download come to its end, and checks it.
    ///
    /// # Panics
    /// When it ended before, or is not what was sent.
    pub(crate) fn finish(mut self) {
        let early = self.curl.status().expect("a status");
        assert!(early.is_none(), "bystander: {}", self.curl.failure());
        self.release.send(()).expect("the server is there");
        let status = self.curl.wait(FINISH_BOUND).expect("curl ends");
        assert!(status.success(), "bystander: {}", self.curl.failure());
        let served = self.server.join().expect("the server's thread");
        served.expect("the server could send all");
        let body = fs::read(&self.body).expect("a body");
        let expected = pattern_octets(LANE, OCTETS);
        assert!(body == expected, "the bystander's body is damaged");
    }
}

fn serve(listener: &TcpListener, released: &Receiver<()>) -> std::io::Result<()> {
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    read_request(&mut stream)?;
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {OCTETS}\r\n\r\n"
    )?;
    let body = pattern_octets(LANE, OCTETS);
    let mut rest = body.as_slice();
    loop {
        let count = CHUNK.min(rest.len().saturating_sub(KEPT));
        let (chunk, later) = rest.split_at(count);
        stream.write_all(chunk)?;
        rest = later;
        // Not a wait for anything: the pace of the trickle.
        match released.recv_timeout(PACE) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    stream.write_all(rest)
}

fn read_request(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(FINISH_BOUND))?;
    let mut request = Vec::new();
    let mut octet = [0];
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut octet)?;
        request.push(octet[0]);
    }
    Ok(())
}

/// Where bystanders are served.
pub(crate) const PORT: u16 = 8000;
const LANE: u64 = 77;
const OCTETS: usize = 1 << 20;
const CHUNK: usize = 256;
/// What is sent at the end at least.
const KEPT: usize = OCTETS / 2;
const PACE: Duration = Duration::from_millis(5);
const FINISH_BOUND: Duration = Duration::from_secs(20);
