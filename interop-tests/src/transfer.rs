//! A transfer in which either end checks every octet: the `serve` and `transfer` subcommands.
//!
//! The client opens with a header of three 64-bit numbers: how much it will send, how much it wants,
//! and the [`Order`] of the two. Whoever has sent all closes its direction (a half-close, which must
//! cross the chain), but for the server when it is the last to speak: it ends with one octet,
//! whether everything arrived as it was sent.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::pattern::Pattern;

/// Who sends when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Order {
    /// Both at once.
    #[default]
    AtOnce,
    /// The server when it has seen the client's end.
    ClientFirst,
    /// The client when it has seen the server's end. The server then says on standard error alone
    /// whether what it received was intact.
    ServerFirst,
}

/// What is to be transferred, and how.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plan {
    /// Octets from client to server.
    pub send: u64,
    /// Octets from server to client.
    pub receive: u64,
    /// Who begins.
    pub order: Order,
    /// Where the client stops reading for a while.
    pub stall: Option<Stall>,
    /// When the client goes away, from `connect()` on, with whatever it has received until then.
    pub leave_after: Option<Duration>,
}

impl Plan {
    /// So many octets from server to client, and none back.
    pub const fn down(octets: u64) -> Self {
        Self {
            send: 0,
            receive: octets,
            order: Order::AtOnce,
            stall: None,
            leave_after: None,
        }
    }

    /// So many octets from client to server, and none back.
    pub const fn up(octets: u64) -> Self {
        Self {
            send: octets,
            ..Self::down(0)
        }
    }
}

/// A pause of a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    /// Octets that are read before.
    pub after: u64,
    /// How long it lasts.
    pub pause: Duration,
}

/// How a transfer went, as the client saw it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct TransferReport {
    /// Octets sent.
    pub sent_octets: u64,
    /// Octets received.
    pub received_octets: u64,
    /// Whether what was received is what the server sent, all of it (without
    /// [`Plan::leave_after`]).
    pub received_intact: bool,
    /// Whether the server says so of what was sent; true where it cannot say.
    pub sent_intact: bool,
    /// From `connect()` to the last octet received, in microseconds.
    pub received_us: u64,
    /// From `connect()` to the server's verdict, in microseconds.
    pub duration_us: u64,
}

/// Serves transfers, each on a thread of its own, until it is killed.
pub fn serve(address: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    eprintln!("listening on {}", listener.local_addr()?);
    for stream in listener.incoming() {
        let stream = stream?;
        thread::spawn(move || match answer(&stream) {
            Ok(true) => eprintln!("{RECEIVED_INTACT}"),
            Ok(false) => eprintln!("transfer failed: what was received is damaged"),
            Err(error) => eprintln!("transfer failed: {error}"),
        });
    }
    Ok(())
}

/// Carries a plan out.
pub fn transfer(address: SocketAddr, plan: &Plan) -> io::Result<TransferReport> {
    let start = Instant::now();
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let header = [plan.send, plan.receive, plan.order as u64].map(u64::to_be_bytes);
    (&stream).write_all(header.as_flattened())?;
    let send = || {
        send_octets(&stream, CLIENT_LANE, plan.send)?;
        stream.shutdown(Shutdown::Write)
    };
    let mut reader = Reader {
        stream: &stream,
        stall: plan.stall,
        leave_at: plan.leave_after.map(|after| start + after),
    };
    let received = match plan.order {
        Order::AtOnce | Order::ClientFirst => thread::scope(|scope| {
            let sender = scope.spawn(send);
            let received = reader.receive(SERVER_LANE, plan.receive)?;
            let left = plan.leave_after.is_some();
            if left {
                // The sender must not wait for a reader that is leaving, too.
                let _ = stream.shutdown(Shutdown::Both);
            }
            let end = sender.join().map_err(|_| panicked())?;
            if left {
                Ok(received)
            } else {
                end.map(|()| received)
            }
        })?,
        Order::ServerFirst => {
            let received = reader.receive(SERVER_LANE, plan.receive)?;
            expect_end(&stream)?;
            send()?;
            received
        }
    };
    let received_us = micros(start);
    let mut verdict = INTACT;
    if plan.order != Order::ServerFirst && plan.leave_after.is_none() {
        (&stream).read_exact(&mut verdict)?;
    }
    Ok(TransferReport {
        sent_octets: plan.send,
        received_octets: received.octets,
        received_intact: received.intact,
        sent_intact: verdict == INTACT,
        received_us,
        duration_us: micros(start),
    })
}

/// Serves one transfer: whether what came was intact.
fn answer(stream: &TcpStream) -> io::Result<bool> {
    stream.set_nodelay(true)?;
    let expected = read_number(stream)?;
    let wanted = read_number(stream)?;
    let order = read_number(stream)?;
    let mut reader = Reader {
        stream,
        stall: None,
        leave_at: None,
    };
    let send = || send_octets(stream, SERVER_LANE, wanted);
    // The client's half-close must be seen, too.
    let mut receive = || {
        let received = reader.receive(CLIENT_LANE, expected)?;
        expect_end(stream)?;
        Ok(received.intact)
    };
    if order == Order::ServerFirst as u64 {
        send()?;
        stream.shutdown(Shutdown::Write)?;
        return receive();
    }
    let intact = if order == Order::ClientFirst as u64 {
        let intact = receive()?;
        send()?;
        intact
    } else {
        thread::scope(|scope| {
            let sender = scope.spawn(send);
            let intact = receive()?;
            sender.join().map_err(|_| panicked())??;
            io::Result::Ok(intact)
        })?
    };
    (&mut &*stream).write_all(if intact { &INTACT } else { &BROKEN })?;
    Ok(intact)
}

fn expect_end(mut stream: &TcpStream) -> io::Result<()> {
    match stream.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(io::Error::other("octets came after the end")),
    }
}

fn panicked() -> io::Error {
    io::Error::other("the sending thread panicked")
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn read_number(mut stream: &TcpStream) -> io::Result<u64> {
    let mut octets = [0; 8];
    stream.read_exact(&mut octets)?;
    Ok(u64::from_be_bytes(octets))
}

fn send_octets(mut stream: &TcpStream, lane: u64, octets: u64) -> io::Result<()> {
    let mut pattern = Pattern::new(lane);
    let mut buffer = vec![0; CHUNK_OCTETS];
    let mut left = octets;
    while left > 0 {
        let count = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(CHUNK_OCTETS);
        pattern.fill(&mut buffer[..count]);
        stream.write_all(&buffer[..count])?;
        left -= count as u64;
    }
    Ok(())
}

/// How an end reads.
struct Reader<'a> {
    stream: &'a TcpStream,
    stall: Option<Stall>,
    leave_at: Option<Instant>,
}

struct Received {
    octets: u64,
    intact: bool,
}

impl Reader<'_> {
    fn receive(&mut self, lane: u64, octets: u64) -> io::Result<Received> {
        let mut pattern = Pattern::new(lane);
        let mut buffer = vec![0; CHUNK_OCTETS];
        let mut received = Received {
            octets: 0,
            intact: true,
        };
        while received.octets < octets && self.stays()? {
            let left = usize::try_from(octets - received.octets).unwrap_or(usize::MAX);
            let count = match self.stream.read(&mut buffer[..left.min(CHUNK_OCTETS)]) {
                Ok(count) => count,
                Err(error) if self.leave_at.is_some() && is_late(&error) => break,
                Err(error) => return Err(error),
            };
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            received.octets += count as u64;
            received.intact &= pattern.matches(&buffer[..count]);
            let stall = self.stall.take_if(|stall| received.octets >= stall.after);
            if let Some(stall) = stall {
                // Not a wait for anything: it is what was asked for.
                thread::sleep(stall.pause);
            }
        }
        Ok(received)
    }

    /// Whether it is not yet time to leave. Reads end then.
    fn stays(&self) -> io::Result<bool> {
        let Some(leave_at) = self.leave_at else {
            return Ok(true);
        };
        let left = leave_at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        self.stream.set_read_timeout(Some(left))?;
        Ok(true)
    }
}

fn is_late(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

/// What the server says of what it received.
pub(crate) const RECEIVED_INTACT: &str = "all received, intact";
const CLIENT_LANE: u64 = 1;
const SERVER_LANE: u64 = 2;
const CHUNK_OCTETS: usize = 1 << 16;
const INTACT: [u8; 1] = [1];
const BROKEN: [u8; 1] = [0];
