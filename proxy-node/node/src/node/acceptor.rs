//! The listener, and `accept()` that survives a want of descriptors.

use std::fs::File;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use anyhow::Context as _;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use synhop_sockets::Attachment;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until};
use tracing::{error, warn};

use super::socket_stock::{SocketStock, is_want_of_descriptors, set_up_leg};
use crate::relay::abort;

/// Pause after `accept()` failed and nothing could be done about it.
const PAUSE: Duration = Duration::from_millis(100);
/// Accepts in a row before everything else gets its turn.
const ACCEPTS_PER_TURN: u32 = 32;
/// How often a lasting trouble is told.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// A connection whose handshake is complete.
pub(super) struct Accepted {
    pub(super) stream: TcpStream,
    /// Who it is from, known even if it has been reset since.
    pub(super) peer: SocketAddr,
}

pub(super) struct Acceptor {
    listener: TcpListener,
    /// Given up to accept, and so refuse, a connection when descriptors run out. Otherwise it
    /// would stay in the queue and `accept()` would fail on it for ever.
    reserve: Option<File>,
    /// Given up before any connection is.
    stock: Rc<SocketStock>,
    paused_until: Option<Instant>,
    told_at: Option<Instant>,
    in_a_row: u32,
}

impl Acceptor {
    /// Listens with the options of SYNs seen and answered.
    pub(super) fn listen(
        address: SocketAddr,
        backlog: i32,
        send_buffer: Option<u32>,
        stock: Rc<SocketStock>,
        attachment: &Attachment,
    ) -> anyhow::Result<Self> {
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_reuse_address(true)?;
        set_up_leg(&socket, send_buffer)?;
        socket.bind(&address.into()).context("bind")?;
        attachment.listen(&socket, backlog)?;
        Ok(Self {
            listener: TcpListener::from_std(socket.into())?,
            reserve: reserve(),
            stock,
            paused_until: None,
            told_at: None,
            in_a_row: 0,
        })
    }

    /// The next connection. Dropping the future loses none.
    pub(super) async fn next(&mut self) -> Accepted {
        loop {
            if let Some(until) = self.paused_until {
                sleep_until(until).await;
                self.paused_until = None;
            }
            if self.in_a_row >= ACCEPTS_PER_TURN {
                self.in_a_row = 0;
                tokio::task::yield_now().await;
            }
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    self.in_a_row += 1;
                    return Accepted { stream, peer };
                }
                Err(error) => self.failed(&error),
            }
        }
    }

    /// Stops listening: who waits in the queue is reset by the kernel.
    pub(super) fn close(self, attachment: &Attachment) {
        if let Err(error) = attachment.unlisten(&SockRef::from(&self.listener)) {
            warn!(%error, "the listener's address stays registered");
        }
    }

    fn failed(&mut self, error: &io::Error) {
        let gone = [libc::ECONNABORTED, libc::EINTR, libc::EPROTO];
        if error.raw_os_error().is_some_and(|it| gone.contains(&it)) {
            // The connection went before it was accepted (accept(2)).
            return;
        }
        if !is_want_of_descriptors(error) {
            self.tell(error);
            self.paused_until = Some(Instant::now() + PAUSE);
        } else if self.stock.release() == 0 {
            self.tell(error);
            self.refuse_one();
        }
    }

    /// Resets the connection at the head of the queue at the cost of the reserve.
    fn refuse_one(&mut self) {
        let had_reserve = self.reserve.take().is_some();
        if let Some(Ok((stream, _peer))) = poll_once(self.listener.accept()) {
            abort(stream);
        }
        self.reserve = reserve();
        if !had_reserve || self.reserve.is_none() {
            self.paused_until = Some(Instant::now() + PAUSE);
        }
    }

    fn tell(&mut self, error: &io::Error) {
        let now = Instant::now();
        if self
            .told_at
            .is_none_or(|told_at| now >= told_at + TELL_EVERY)
        {
            self.told_at = Some(now);
            error!(%error, "connections are refused: accept fails");
        }
    }
}

fn reserve() -> Option<File> {
    File::open("/dev/null").ok()
}

fn poll_once<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}
