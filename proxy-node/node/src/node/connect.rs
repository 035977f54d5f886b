//! The downstream leg, from `socket()` to established.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use socket2::Domain;
use synhop_core::{ConnectFailure, Reply};
use synhop_option::SynOption;
use synhop_sockets::{Attachment, MarkError, Outcome, Progress, SourceFill, TcpSocket};
use tokio::net::TcpStream;

use super::socket_stock::SocketStock;

/// Why the SYN did not go out.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// The kernel refused at once.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The option could not be put on it.
    #[error("{0}")]
    Mark(#[from] MarkError),
}

impl ConnectError {
    pub(super) fn cause(&self) -> ConnectFailure {
        match self {
            Self::Io(error) => failure(error),
            Self::Mark(_) => ConnectFailure::Local,
        }
    }
}

/// Sends the SYN and returns without waiting for an answer.
pub(super) fn start(
    to: SocketAddr,
    option: Option<&SynOption>,
    stock: &SocketStock,
    attachment: &Attachment,
) -> Result<TcpStream, ConnectError> {
    let socket = stock.take(Domain::for_address(to))?;
    if let Some(option) = option {
        let socket = TcpSocket::made_by_caller(socket.as_fd());
        attachment.mark_tcp(socket, option, SourceFill::AsGiven, Outcome::Asked)?;
    }
    match socket.connect(&to.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(TcpStream::from_std(socket.into())?)
}

/// Waits for the answer to the SYN.
pub(super) async fn established(stream: &TcpStream) -> io::Result<()> {
    stream.writable().await?;
    match stream.take_error()? {
        None => Ok(()),
        Some(error) => Err(error),
    }
}

/// Whether the far end of an established leg said that it is a node. `None`: the SYN went out
/// without the option, so the far end knows no destination.
pub(super) fn reply(
    stream: &TcpStream,
    option: Option<&SynOption>,
    attachment: &Attachment,
) -> io::Result<Option<Reply>> {
    if option.is_none() {
        return Ok(Some(Reply::NotAsked));
    }
    let state = attachment.mark_state(stream)?;
    Ok(state.and_then(|state| match state.progress {
        Progress::Understood { cookie } => Some(Reply::Understood { cookie }),
        Progress::Silent => Some(Reply::Silent),
        Progress::Marked | Progress::SynSent => None,
    }))
}

/// What the kernel's error means to the core.
pub(super) fn failure(error: &io::Error) -> ConnectFailure {
    match error.raw_os_error() {
        // ECONNRESET: it answered and thought better of it before the relay began.
        Some(libc::ECONNREFUSED | libc::ECONNRESET) => ConnectFailure::Refused,
        Some(libc::ETIMEDOUT) => ConnectFailure::TimedOut,
        Some(
            libc::EHOSTUNREACH
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::ENETDOWN
            | libc::ENOPROTOOPT
            | libc::EPROTO,
        ) => ConnectFailure::Unreachable,
        Some(_) | None => ConnectFailure::Local,
    }
}
