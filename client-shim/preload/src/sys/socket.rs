//! The host's sockets. The calls made here go past the hooks.

use std::mem;
use std::num::NonZeroU8;

use libc::{c_int, socklen_t};
use synhop_client_core::{Endpoint, SockAddr, SocketKind};

use super::errno::{Errno, result};
use super::real;

/// A descriptor of the host's: borrowed for one call, and perhaps no socket at all.
#[derive(Clone, Copy)]
pub(crate) struct Socket(c_int);

/// A TCP socket's state, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TcpState {
    /// Never connected, or no longer.
    Closed,
    /// SYN-SENT.
    Connecting,
    /// Everything else.
    Other,
}

impl Socket {
    pub(super) const fn new(fd: c_int) -> Self {
        Self(fd)
    }

    pub(super) const fn fd(self) -> c_int {
        self.0
    }

    /// What kind of a socket it is.
    pub(crate) fn kind(self) -> SocketKind {
        // MPTCP has a number of its own.
        if self.int_option(libc::SOL_SOCKET, libc::SO_PROTOCOL) != Some(libc::IPPROTO_TCP) {
            return SocketKind::Other;
        }
        match self.int_option(libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT) {
            Some(0) | None => SocketKind::Tcp,
            Some(_) => SocketKind::DeferredTcp,
        }
    }

    /// Whether it takes `sockaddr_in6`.
    pub(crate) fn is_inet6(self) -> bool {
        self.int_option(libc::SOL_SOCKET, libc::SO_DOMAIN) == Some(libc::AF_INET6)
    }

    /// The kernel's number of the socket, never used again.
    pub(crate) fn cookie(self) -> Option<u64> {
        let mut octets = [0; 8];
        let len = self.option(libc::SOL_SOCKET, libc::SO_COOKIE, &mut octets)?;
        (len == octets.len()).then_some(u64::from_ne_bytes(octets))
    }

    /// How often the kernel sends the socket's SYN again (`TCP_SYNCNT`).
    pub(crate) fn syn_count(self) -> Option<NonZeroU8> {
        let count = self.int_option(libc::IPPROTO_TCP, libc::TCP_SYNCNT)?;
        NonZeroU8::new(u8::try_from(count).ok()?)
    }

    /// Sets it; the kernel takes up to 127.
    pub(crate) fn set_syn_count(self, count: NonZeroU8) {
        let count = c_int::from(count.get());
        let place = (&raw const count).cast();
        let len = socklen_t::try_from(mem::size_of::<c_int>()).unwrap_or(0);
        // SAFETY: an int of that length. A failure leaves a number that has no effect any more.
        unsafe { libc::setsockopt(self.0, libc::IPPROTO_TCP, libc::TCP_SYNCNT, place, len) };
    }

    /// The connection's state; `None` if it is no TCP socket.
    pub(crate) fn tcp_state(self) -> Option<TcpState> {
        // The first octet of struct tcp_info; the kernel writes as much as there is room for.
        const SYN_SENT: u8 = 2;
        const CLOSE: u8 = 7;
        let mut state = [0; 1];
        self.option(libc::IPPROTO_TCP, libc::TCP_INFO, &mut state)?;
        Some(match state {
            [CLOSE] => TcpState::Closed,
            [SYN_SENT] => TcpState::Connecting,
            [_] => TcpState::Other,
        })
    }

    /// connect(2).
    pub(crate) fn connect(self, endpoint: Endpoint) -> Result<(), Errno> {
        let mut octets = [0; SockAddr::MAX_OCTETS];
        let len = endpoint.emit(&mut octets);
        // At most 28.
        let len = socklen_t::try_from(len).unwrap_or(0);
        // SAFETY: `octets` holds a struct sockaddr of `len` octets.
        result(unsafe { real::connect(self.0, octets.as_ptr().cast(), len) })
    }

    /// Ends the association with its peer, so that the socket can be connected again.
    pub(crate) fn dissolve(self) -> Result<(), Errno> {
        // All zero: AF_UNSPEC.
        let address = [0_u64; 2];
        // SAFETY: 16 octets that say AF_UNSPEC, the size of a struct sockaddr.
        result(unsafe { real::connect(self.0, address.as_ptr().cast(), 16) })
    }

    /// Fetches and clears the pending error.
    pub(crate) fn take_error(self) -> Result<(), Errno> {
        match self.int_option(libc::SOL_SOCKET, libc::SO_ERROR) {
            Some(0) => Ok(()),
            Some(error) => Err(Errno::new(error)),
            None => Err(Errno::last()),
        }
    }

    /// The peer, if it has one.
    pub(crate) fn peer(self) -> Option<SockAddr> {
        let mut octets = [0; SockAddr::MAX_OCTETS];
        let room = socklen_t::try_from(octets.len()).ok()?;
        let mut len = room;
        let place = (&raw mut octets).cast();
        // SAFETY: `octets` has room for `len` octets; a struct sockaddr is written as octets.
        result(unsafe { real::getpeername(self.0, place, &raw mut len) }).ok()?;
        // A longer one was cut off; it is none that is parsed.
        let len = len.min(room);
        SockAddr::parse(octets.get(..usize::try_from(len).ok()?)?)
    }

    /// Waits until poll(2) calls the socket writable; false after `timeout_ms`.
    pub(crate) fn wait_writable(self, timeout_ms: u32) -> bool {
        let deadline_ms = super::now_ms() + u64::from(timeout_ms);
        loop {
            let left_ms = deadline_ms.saturating_sub(super::now_ms());
            let mut descriptor = libc::pollfd {
                fd: self.0,
                events: libc::POLLOUT,
                revents: 0,
            };
            let left = c_int::try_from(left_ms).unwrap_or(c_int::MAX);
            // SAFETY: one descriptor, and its count.
            let ready = unsafe { libc::poll(&raw mut descriptor, 1, left) };
            match ready {
                1.. => return true,
                // A signal of the host's: go on while there is time.
                ..0 if left_ms > 0 && Errno::last() == Errno::INTERRUPTED => {}
                ..=0 => return false,
            }
        }
    }

    fn int_option(self, level: c_int, name: c_int) -> Option<c_int> {
        let mut octets = [0; mem::size_of::<c_int>()];
        let len = self.option(level, name, &mut octets)?;
        (len == octets.len()).then_some(c_int::from_ne_bytes(octets))
    }

    /// getsockopt(2); returns how many octets of `value` were written.
    fn option(self, level: c_int, name: c_int, value: &mut [u8]) -> Option<usize> {
        let mut len = socklen_t::try_from(value.len()).ok()?;
        let place = value.as_mut_ptr().cast();
        // SAFETY: `place` has room for `len` octets.
        result(unsafe { real::getsockopt(self.0, level, name, place, &raw mut len) }).ok()?;
        usize::try_from(len).ok()
    }
}
