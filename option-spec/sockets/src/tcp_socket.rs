//! The proof that a socket is one of TCP.

use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, Protocol, SockRef};

use crate::mark::MarkError;

/// A TCP socket over IPv4 or IPv6: the only kind that sends a SYN. The kernel would store a mark
/// on any socket, to no effect.
#[derive(Clone, Copy, Debug)]
pub struct TcpSocket<'fd>(BorrowedFd<'fd>);

impl<'fd> TcpSocket<'fd> {
    /// Asks the kernel, by two system calls: for sockets that come from elsewhere.
    pub fn check(fd: &'fd impl AsFd) -> Result<Self, MarkError> {
        let socket = SockRef::from(fd);
        let domain = socket.domain()?;
        if (domain == Domain::IPV4 || domain == Domain::IPV6)
            && socket.protocol()? == Some(Protocol::TCP)
        {
            Ok(Self(fd.as_fd()))
        } else {
            Err(MarkError::NotTcp)
        }
    }

    /// Takes the caller's word: for sockets that it has made itself, with `AF_INET` or `AF_INET6`,
    /// `SOCK_STREAM` and `IPPROTO_TCP`.
    ///
    /// If that is wrong, nothing breaks: no SYN carries the option, and
    /// [`mark_state`](crate::Attachment::mark_state) says [`Marked`](crate::Progress::Marked) for
    /// ever.
    pub const fn made_by_caller(fd: BorrowedFd<'fd>) -> Self {
        Self(fd)
    }
}

impl AsFd for TcpSocket<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0
    }
}
