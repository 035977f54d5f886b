//! The listener, and `accept()` that survives a want of descriptors.

use std::fs::File;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use anyhow::Context as _;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use synhop_sockets::Attachment;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until};
use tracing::{error, warn};

use super::connect::set_send_buffer;
use crate::relay::abort;

/// Pause after `accept()` failed and nothing could be done about it.
const PAUSE: Duration = Duration::from_millis(100);
/// Accepts in a row before everything else gets its turn.
const ACCEPTS_PER_TURN: u32 = 32;
/// How often a lasting trouble is told.
const TELL_EVERY: Duration = Duration::from_secs(10);

pub(super) struct Acceptor {
    listener: TcpListener,
    /// Given up to accept, and so refuse, a connection when descriptors run out. Otherwise it
    /// would stay in the queue and `accept()` would fail on it for ever.
    reserve: Option<File>,
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
        attachment: &Attachment,
    ) -> anyhow::Result<Self> {
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_reuse_address(true)?;
        // Accepted sockets inherit both.
        set_send_buffer(&socket, send_buffer)?;
        socket.set_tcp_nodelay(true)?;
        socket.bind(&address.into()).context("bind")?;
        attachment.listen(&socket, backlog)?;
        Ok(Self {
            listener: TcpListener::from_std(socket.into())?,
            reserve: reserve(),
            paused_until: None,
            told_at: None,
            in_a_row: 0,
        })
    }

    /// The next connection. Dropping the future loses none.
    pub(super) async fn next(&mut self) -> TcpStream {
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
                Ok((stream, _peer)) => {
                    self.in_a_row += 1;
                    return stream;
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
        match error.raw_os_error() {
            // The connection went before it was accepted (accept(2)).
            Some(libc::ECONNABORTED | libc::EINTR | libc::EPROTO) => {}
            Some(libc::EMFILE | libc::ENFILE) => {
                self.tell(error);
                self.refuse_one();
            }
            Some(_) | None => {
                self.tell(error);
                self.paused_until = Some(Instant::now() + PAUSE);
            }
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
