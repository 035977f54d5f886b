//! One direction of a relay: from one leg's receive queue to the other leg's send queue.

use std::io;
use std::net::Shutdown;
use std::rc::Rc;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::pipe::{LentPipe, PipePool};
use crate::sys;

/// Rounds of fill and drain before the other flows, and SYNs, get their turn.
const ROUNDS_PER_TURN: usize = 4;

/// ```text
///         end of file          pipe empty, shutdown(WR)
///  Open -------------> Draining -------------> Done
/// ```
#[derive(Debug)]
enum State {
    /// The source may still send.
    Open,
    /// The source has finished; what it sent is not yet with the sink.
    Draining,
    /// The sink has been told that nothing follows.
    Done,
}

/// What a direction waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// The source must become readable.
    Source,
    /// The sink must become writable.
    Sink,
    /// Nothing: it only gives the others a turn.
    Turn,
    /// Nothing ever: the direction has finished.
    Done,
}

/// Which leg failed, seen from the direction.
#[derive(Debug)]
pub(super) enum Broken {
    /// The leg that octets are read from.
    Source(io::Error),
    /// The leg that octets are written to.
    Sink(io::Error),
}

/// Moves the octets of one direction and counts them.
#[derive(Debug)]
pub(super) struct Direction {
    state: State,
    /// Ours only while octets are in it (see [`PipePool`]).
    pipe: Option<LentPipe>,
    octets: u64,
}

impl Direction {
    pub(super) const fn new() -> Self {
        Self {
            state: State::Open,
            pipe: None,
            octets: 0,
        }
    }

    /// Octets handed to the sink's send queue.
    pub(super) const fn octets(&self) -> u64 {
        self.octets
    }

    /// Moves what can be moved now.
    pub(super) fn pump(
        &mut self,
        source: &TcpStream,
        sink: &TcpStream,
        pool: &Rc<PipePool>,
    ) -> Result<Wait, Broken> {
        for _round in 0..ROUNDS_PER_TURN {
            if let Some(pipe) = &mut self.pipe {
                match drain(pipe, sink)? {
                    Some(octets) => self.octets += octets,
                    None => return Ok(Wait::Sink),
                }
                if pipe.in_flight_octets() > 0 {
                    continue;
                }
            }
            match self.state {
                State::Open => {
                    if let Some(wait) = self.read(source, sink, pool)? {
                        return Ok(wait);
                    }
                }
                State::Draining => {
                    self.pipe = None;
                    SockRef::from(sink)
                        .shutdown(Shutdown::Write)
                        .map_err(Broken::Sink)?;
                    self.state = State::Done;
                }
                State::Done => return Ok(Wait::Done),
            }
        }
        Ok(Wait::Turn)
    }

    /// Takes octets from the source; `None` when there is more to do at once.
    fn read(
        &mut self,
        source: &TcpStream,
        sink: &TcpStream,
        pool: &Rc<PipePool>,
    ) -> Result<Option<Wait>, Broken> {
        let held = self.pipe.take();
        // Asked only when there is something to read, so that an idle flow owns no pipe.
        let filled = source.try_io(Interest::READABLE, || match held.or_else(|| pool.take()) {
            Some(mut pipe) => pipe.fill(source).map(|octets| Filled::Pipe(octets, pipe)),
            None => Ok(Filled::NoPipe),
        });
        match filled {
            Ok(Filled::Pipe(0, _empty)) => {
                self.state = State::Draining;
                Ok(None)
            }
            Ok(Filled::Pipe(_octets, pipe)) => {
                self.pipe = Some(pipe);
                Ok(None)
            }
            Ok(Filled::NoPipe) => self.copy(source, sink, pool),
            Err(error) => pause(error, Wait::Source, Broken::Source),
        }
    }

    /// The way without a pipe: look at what is queued, send it, and only then take what was sent
    /// off the queue. A flow holds no memory of ours while its sink stalls.
    fn copy(
        &mut self,
        source: &TcpStream,
        sink: &TcpStream,
        pool: &Rc<PipePool>,
    ) -> Result<Option<Wait>, Broken> {
        pool.with_scratch(|scratch| {
            let peeked = source.try_io(Interest::READABLE, || sys::peek(source, scratch));
            let octets = match peeked {
                Ok(0) => {
                    self.state = State::Draining;
                    return Ok(None);
                }
                Ok(octets) => octets,
                Err(error) => return pause(error, Wait::Source, Broken::Source),
            };
            let peeked = scratch.get(..octets).unwrap_or_default();
            let sent = match sink.try_write(peeked) {
                Ok(sent) => sent,
                Err(error) => return pause(error, Wait::Sink, Broken::Sink),
            };
            self.octets += sent as u64;
            sys::discard(source, sent).map_err(Broken::Source)?;
            Ok(None)
        })
    }
}

enum Filled {
    Pipe(usize, LentPipe),
    NoPipe,
}

/// Empties the pipe once; `None` when the sink takes nothing now.
fn drain(pipe: &mut LentPipe, sink: &TcpStream) -> Result<Option<u64>, Broken> {
    if pipe.in_flight_octets() == 0 {
        return Ok(Some(0));
    }
    match sink.try_io(Interest::WRITABLE, || pipe.drain(sink)) {
        Ok(octets) => Ok(Some(octets as u64)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Some(0)),
        Err(error) => Err(Broken::Sink(error)),
    }
}

/// What an error means that may be none: wait, try again at once, or give up.
fn pause(
    error: io::Error,
    wait: Wait,
    broken: fn(io::Error) -> Broken,
) -> Result<Option<Wait>, Broken> {
    match error.kind() {
        io::ErrorKind::WouldBlock => Ok(Some(wait)),
        io::ErrorKind::Interrupted => Ok(None),
        _ => Err(broken(error)),
    }
}
