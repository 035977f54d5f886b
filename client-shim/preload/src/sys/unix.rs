//! The connection to the helper.

use std::mem;

use libc::{c_int, c_void, socklen_t};

use super::errno::{Errno, result};
use super::real;
use super::socket::Socket;

/// How long connecting, sending and receiving may take, each.
static TIMEOUT: libc::timeval = libc::timeval {
    tv_sec: 1,
    tv_usec: 0,
};

/// How often a call is repeated that a signal of the host's interrupted.
const RETRIES: usize = 16;

/// Room for one descriptor as a control message, aligned as `struct cmsghdr` wants it.
#[repr(C)]
union Control {
    header: libc::cmsghdr,
    octets: [u8; 32],
}

/// The address of the helper's socket.
pub(crate) struct HelperAddress(libc::sockaddr_un);

impl HelperAddress {
    /// `None` when the path does not fit (107 octets) or is empty.
    pub(crate) fn new(path: &str) -> Option<Self> {
        let family = libc::sa_family_t::try_from(libc::AF_UNIX).ok()?;
        let mut address = libc::sockaddr_un {
            sun_family: family,
            sun_path: [0; 108],
        };
        if path.is_empty() || path.len() >= address.sun_path.len() {
            return None;
        }
        for (to, from) in address.sun_path.iter_mut().zip(path.bytes()) {
            *to = from.cast_signed();
        }
        Some(Self(address))
    }
}

/// A connection for one request and one answer; closed on drop.
pub(crate) struct HelperConnection(c_int);

impl HelperConnection {
    /// Connects. `None`: nobody listens there, or not in time.
    pub(crate) fn open(address: &HelperAddress) -> Option<Self> {
        let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
        // SAFETY: no pointers.
        let fd = unsafe { libc::socket(libc::AF_UNIX, kind, 0) };
        if fd < 0 {
            return None;
        }
        let connection = Self(fd);
        connection.bound(libc::SO_RCVTIMEO)?;
        connection.bound(libc::SO_SNDTIMEO)?;
        let place = (&raw const address.0).cast();
        let len = socklen_t::try_from(mem::size_of::<libc::sockaddr_un>()).ok()?;
        retry(|| {
            // SAFETY: a sockaddr_un of that length.
            let connected = result(unsafe { real::connect(fd, place, len) });
            connected.map(|()| 0)
        })?;
        Some(connection)
    }

    /// Sends a message with the socket's descriptor.
    pub(crate) fn send(&self, message: &[u8], socket: Socket) -> Option<()> {
        let mut part = libc::iovec {
            iov_base: message.as_ptr().cast_mut().cast(),
            iov_len: message.len(),
        };
        let mut control = Control { octets: [0; 32] };
        // SAFETY: all zero is a valid msghdr: no name, no parts, no control.
        let mut header: libc::msghdr = unsafe { mem::zeroed() };
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = (&raw mut control).cast();
        let fd_octets = u32::try_from(mem::size_of::<c_int>()).ok()?;
        // SAFETY: arithmetic only.
        header.msg_controllen = unsafe { libc::CMSG_SPACE(fd_octets) } as usize;
        // SAFETY: the header's control points to `control`, which has that much room (asserted
        // below).
        let first = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
        // SAFETY: arithmetic only.
        let cmsg_len = unsafe { libc::CMSG_LEN(fd_octets) } as usize;
        let content = libc::cmsghdr {
            cmsg_len,
            cmsg_level: libc::SOL_SOCKET,
            cmsg_type: libc::SCM_RIGHTS,
        };
        // SAFETY: `first` is the aligned start of `control`.
        unsafe { first.write(content) };
        // SAFETY: `first` is inside `control`, with room for data behind it.
        let data = unsafe { libc::CMSG_DATA(first) };
        // SAFETY: CMSG_SPACE has room for one c_int there, of any alignment.
        unsafe { data.cast::<c_int>().write_unaligned(socket.fd()) };
        retry(|| {
            // SAFETY: `header` and all it points to live here.
            let sent = unsafe { libc::sendmsg(self.0, &raw const header, libc::MSG_NOSIGNAL) };
            usize::try_from(sent).map_err(|_| Errno::last())
        })?;
        Some(())
    }

    /// Receives a message and tells its length in octets.
    pub(crate) fn receive(&self, message: &mut [u8]) -> Option<usize> {
        let place = message.as_mut_ptr().cast::<c_void>();
        retry(|| {
            // SAFETY: the pointer and the length are those of a slice.
            let received = unsafe { libc::recv(self.0, place, message.len(), 0) };
            usize::try_from(received).map_err(|_| Errno::last())
        })
    }

    /// Sets one of the two timeouts.
    fn bound(&self, name: c_int) -> Option<()> {
        let place = (&raw const TIMEOUT).cast();
        let len = socklen_t::try_from(mem::size_of::<libc::timeval>()).ok()?;
        // SAFETY: a timeval of that length.
        result(unsafe { libc::setsockopt(self.0, libc::SOL_SOCKET, name, place, len) }).ok()
    }
}

impl Drop for HelperConnection {
    fn drop(&mut self) {
        // SAFETY: opened here, and closed nowhere else.
        unsafe { libc::close(self.0) };
    }
}

/// A control message with one descriptor fits.
const _: () = assert!(mem::size_of::<Control>() >= mem::size_of::<libc::cmsghdr>() + 8);

fn retry(mut call: impl FnMut() -> Result<usize, Errno>) -> Option<usize> {
    for _ in 0..RETRIES {
        match call() {
            Err(Errno::INTERRUPTED) => {}
            outcome => return outcome.ok(),
        }
    }
    None
}
