//! The relay: two established legs become one flow.
//!
//! Octets go from socket to socket by splice(2) through a pipe. A FIN passes on when everything
//! before it has; a reset passes on at once, as a reset; a full sink stops the reading of its
//! source, so that TCP's own flow control reaches back to the sender.

mod direction;
mod pipe;

use std::io;
use std::rc::Rc;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use direction::{Broken, Direction, Wait};
pub use pipe::PipePool;

/// The leg of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Towards who opened the flow.
    Client,
    /// Towards the next hop.
    Server,
}

/// How a relay came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayEnd {
    /// Both ends finished and everything was passed on.
    Closed,
    /// This leg was reset or failed.
    Reset(Side),
    /// Nothing moved for the idle timeout.
    Idle,
    /// The node stopped. [`Relay::run`] never says so: it is dropped then.
    Cut,
}

/// Two legs and what moves between them.
#[derive(Debug)]
pub struct Relay {
    client: TcpStream,
    server: TcpStream,
    up: Direction,
    down: Direction,
    pool: Rc<PipePool>,
    idle: Duration,
}

impl Relay {
    /// Joins two connected TCP sockets. Both are to have `TCP_NODELAY` set: small messages wait a
    /// round trip otherwise.
    pub const fn new(
        client: TcpStream,
        server: TcpStream,
        pool: Rc<PipePool>,
        idle: Duration,
    ) -> Self {
        Self {
            client,
            server,
            up: Direction::new(),
            down: Direction::new(),
            pool,
            idle,
        }
    }

    /// Octets passed from client to server.
    pub const fn up_octets(&self) -> u64 {
        self.up.octets()
    }

    /// Octets passed from server to client.
    pub const fn down_octets(&self) -> u64 {
        self.down.octets()
    }

    /// Relays until the flow ends. May be dropped at any time; the sockets stay with the relay.
    pub async fn run(&mut self) -> RelayEnd {
        let sleep = sleep_until(Instant::now() + self.idle);
        tokio::pin!(sleep);
        let mut active_at = Instant::now();
        let mut octets = 0;
        loop {
            let (up, down) = match self.pump() {
                Ok((Wait::Done, Wait::Done)) => return RelayEnd::Closed,
                Ok(waits) => waits,
                Err(side) => return RelayEnd::Reset(side),
            };
            let octets_now = self.up_octets() + self.down_octets();
            if octets_now != octets {
                octets = octets_now;
                active_at = Instant::now();
            }
            if up == Wait::Turn || down == Wait::Turn {
                tokio::task::yield_now().await;
                continue;
            }
            let broken = tokio::select! {
                broken = watch(&self.client, interest(up, down)) => broken.then_some(Side::Client),
                broken = watch(&self.server, interest(down, up)) => broken.then_some(Side::Server),
                () = &mut sleep => {
                    // Moved lazily: touching the timer at every message would cost more.
                    let until = active_at + self.idle;
                    if until <= Instant::now() {
                        return RelayEnd::Idle;
                    }
                    sleep.as_mut().reset(until);
                    None
                }
            };
            if let Some(side) = broken {
                return RelayEnd::Reset(side);
            }
        }
    }

    /// Closes both legs as the end asks for: a flow that did not finish ends in resets.
    pub fn close(self, end: RelayEnd) {
        match end {
            // The kernels still deliver what is queued.
            RelayEnd::Closed => {}
            RelayEnd::Reset(_) | RelayEnd::Idle | RelayEnd::Cut => {
                abort(self.client);
                abort(self.server);
            }
        }
    }

    fn pump(&mut self) -> Result<(Wait, Wait), Side> {
        let up = self.up.pump(&self.client, &self.server, &self.pool);
        let up = up.map_err(|broken| match broken {
            Broken::Source(_error) => Side::Client,
            Broken::Sink(_error) => Side::Server,
        })?;
        let down = self.down.pump(&self.server, &self.client, &self.pool);
        let down = down.map_err(|broken| match broken {
            Broken::Source(_error) => Side::Server,
            Broken::Sink(_error) => Side::Client,
        })?;
        Ok((up, down))
    }
}

/// Closes the socket with a reset (`SO_LINGER` of 0) in place of a FIN.
pub fn abort(socket: TcpStream) {
    // It fails on a bad descriptor only; close() follows in any case.
    let _ = SockRef::from(&socket).set_linger(Some(Duration::ZERO));
    drop(socket);
}

/// What to ask of a leg, given what the directions from it and to it wait for.
fn interest(from: Wait, to: Wait) -> Interest {
    // Errors always: a reset must be seen while back-pressure keeps us from reading.
    let mut interest = Interest::ERROR;
    if from == Wait::Source {
        interest |= Interest::READABLE;
    }
    if to == Wait::Sink {
        interest |= Interest::WRITABLE;
    }
    interest
}

/// Waits for the leg; true when it has failed.
async fn watch(leg: &TcpStream, interest: Interest) -> bool {
    let Ok(ready) = leg.ready(interest).await else {
        return true;
    };
    // What came before the reset is still to be read; reading then finds the error itself. Ready is
    // only what was asked for: readable means that a direction waits to read, so it will, and this
    // does not come round again at once.
    if !ready.is_error() || ready.is_readable() {
        return false;
    }
    let pending: io::Result<()> = leg.try_io(Interest::ERROR, || match leg.take_error() {
        // Makes the runtime forget the readiness.
        Ok(None) => Err(io::ErrorKind::WouldBlock.into()),
        Ok(Some(error)) | Err(error) => Err(error),
    });
    pending.is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock)
}
