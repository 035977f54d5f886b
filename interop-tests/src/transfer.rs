//! A transfer in both directions at once, in which either end checks every
//! octet: the `serve` and `transfer` subcommands.
//!
//! The client opens with a header of two 64-bit numbers, how much it will
//! send and how much it wants; both then send at once. The client closes its
//! direction when done (a half-close, which must cross the chain). The server
//! ends with one octet: whether everything arrived as it was sent.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::pattern::Pattern;

/// How a transfer went, as the client saw it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct TransferReport {
    /// Octets sent.
    pub sent_octets: u64,
    /// Octets received.
    pub received_octets: u64,
    /// Whether what was received is what the server sent, all of it.
    pub received_intact: bool,
    /// Whether the server says so of what was sent.
    pub sent_intact: bool,
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
            Ok(()) => {}
            Err(error) => eprintln!("transfer failed: {error}"),
        });
    }
    Ok(())
}

/// Sends and receives so many octets, at once.
pub fn transfer(address: SocketAddr, send: u64, receive: u64) -> io::Result<TransferReport> {
    let start = Instant::now();
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    (&stream).write_all(&send.to_be_bytes())?;
    (&stream).write_all(&receive.to_be_bytes())?;
    let (received_intact, sent_intact) = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            send_octets(&stream, CLIENT_LANE, send)?;
            stream.shutdown(Shutdown::Write)
        });
        let received_intact = receive_octets(&stream, SERVER_LANE, receive)?;
        sender
            .join()
            .map_err(|_| io::Error::other("the sending thread panicked"))??;
        let mut verdict = [0];
        (&stream).read_exact(&mut verdict)?;
        io::Result::Ok((received_intact, verdict == INTACT))
    })?;
    Ok(TransferReport {
        sent_octets: send,
        received_octets: receive,
        received_intact,
        sent_intact,
        duration_us: u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX),
    })
}

fn answer(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let expected = read_number(stream)?;
    let wanted = read_number(stream)?;
    thread::scope(|scope| {
        let sender = scope.spawn(|| send_octets(stream, SERVER_LANE, wanted));
        let intact = receive_octets(stream, CLIENT_LANE, expected)?;
        // The client's half-close must be seen, too.
        let ended = (&mut &*stream).read(&mut [0])? == 0;
        sender
            .join()
            .map_err(|_| io::Error::other("the sending thread panicked"))??;
        (&mut &*stream).write_all(if intact && ended { &INTACT } else { &BROKEN })
    })
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

fn receive_octets(mut stream: &TcpStream, lane: u64, octets: u64) -> io::Result<bool> {
    let mut pattern = Pattern::new(lane);
    let mut buffer = vec![0; CHUNK_OCTETS];
    let mut left = octets;
    let mut intact = true;
    while left > 0 {
        let room = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(CHUNK_OCTETS);
        let count = stream.read(&mut buffer[..room])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        intact &= pattern.matches(&buffer[..count]);
        left -= count as u64;
    }
    Ok(intact)
}

const CLIENT_LANE: u64 = 1;
const SERVER_LANE: u64 = 2;
const CHUNK_OCTETS: usize = 1 << 16;
const INTACT: [u8; 1] = [1];
const BROKEN: [u8; 1] = [0];
