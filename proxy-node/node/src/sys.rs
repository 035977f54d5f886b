//! What neither std nor socket2 wraps: the only module with unsafe code.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

use libc::{c_int, c_uint};
use synhop_sockets::SynEvents;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Moves up to `len` octets between a pipe and a socket without copying them (splice(2)).
///
/// Never waits, whatever the pipe's own flags say; the socket must be non-blocking.
pub(crate) fn splice(from: &impl AsFd, to: &impl AsFd, len: usize) -> io::Result<usize> {
    // No SPLICE_F_MORE: it would hold a small message back until more follows it.
    const FLAGS: c_uint = libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK;
    let from = from.as_fd().as_raw_fd();
    let to = to.as_fd().as_raw_fd();
    // SAFETY: both descriptors are borrowed, so they are open; null offsets are legal for pipes
    // and sockets, and the call touches no memory of ours.
    let moved = unsafe {
        libc::splice(
            from,
            std::ptr::null_mut(),
            to,
            std::ptr::null_mut(),
            len,
            FLAGS,
        )
    };
    usize::try_from(moved).map_err(|_negative| io::Error::last_os_error())
}

/// Copies queued octets into `buffer` and leaves them queued; 0 means that the peer has finished.
pub(crate) fn peek(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    let fd = socket.as_fd().as_raw_fd();
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: pointer and length describe `buffer`, which we hold exclusively during the call.
    let octets = unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), flags) };
    usize::try_from(octets).map_err(|_negative| io::Error::last_os_error())
}

/// Takes up to `octets` off the receive queue of a TCP socket without copying them (tcp(7)).
pub(crate) fn discard(socket: &impl AsFd, octets: usize) -> io::Result<usize> {
    let fd = socket.as_fd().as_raw_fd();
    let flags = libc::MSG_TRUNC | libc::MSG_DONTWAIT;
    // SAFETY: with MSG_TRUNC a TCP socket writes nothing, so a null buffer is legal.
    let octets = unsafe { libc::recv(fd, std::ptr::null_mut(), octets, flags) };
    usize::try_from(octets).map_err(|_negative| io::Error::last_os_error())
}

/// Asks for a pipe of `octets` and returns what it got (`F_SETPIPE_SZ`).
pub(crate) fn set_pipe_size(pipe: &impl AsFd, octets: c_int) -> io::Result<usize> {
    let fd = pipe.as_fd().as_raw_fd();
    // SAFETY: the descriptor is borrowed, so it is open; F_SETPIPE_SZ takes an int.
    let size = unsafe { libc::fcntl(fd, libc::F_SETPIPE_SZ, octets) };
    usize::try_from(size).map_err(|_negative| io::Error::last_os_error())
}

/// `SO_SNDBUFFORCE`: as `SO_SNDBUF`, and `net.core.wmem_max` does not limit it. Needs
/// `CAP_NET_ADMIN`. The kernel doubles the value to pay for its own bookkeeping (socket(7)).
pub(crate) fn force_send_buffer(socket: &impl AsFd, octets: c_int) -> io::Result<()> {
    #[expect(clippy::cast_possible_truncation, reason = "an int has 4 octets")]
    const LEN: libc::socklen_t = size_of::<c_int>() as libc::socklen_t;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the option takes an int; pointer and length describe `octets`, which outlives the
    // call, and the descriptor is borrowed, so it is open.
    let result = unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_SNDBUFFORCE,
            std::ptr::from_ref(&octets).cast(),
            LEN,
        )
    };
    check(result)
}

/// Raises the limit of open descriptors to the hard limit and returns it.
pub(crate) fn raise_open_files() -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to a writable rlimit that outlives the call.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the pointer is to a readable rlimit that outlives the call.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })?;
    Ok(limit.rlim_cur)
}

/// Has the runtime watch for SYN events.
pub(crate) fn watch(events: SynEvents) -> io::Result<AsyncFd<SynEvents>> {
    // SAFETY: `SynEvents` owns one ring for all its life and gives that ring's descriptor, and the
    // node never replaces it inside the `AsyncFd`.
    let watched = unsafe { AsyncFd::register_with_interest(events, Interest::READABLE) };
    Ok(watched?)
}

fn check(result: c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The addresses of all interfaces of this network namespace (getifaddrs(3)).
pub(crate) fn interface_addresses() -> io::Result<Vec<IpAddr>> {
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: the pointer is to a writable pointer; on success the list is ours to free.
    check(unsafe { libc::getifaddrs(&raw mut list) })?;
    let mut addresses = Vec::new();
    let mut next = list;
    // SAFETY: `next` is null or points to an entry of the list, which is freed after the loop.
    while let Some(entry) = unsafe { next.as_ref() } {
        addresses.extend(ip_address(entry.ifa_addr));
        next = entry.ifa_next;
    }
    // SAFETY: the list came from getifaddrs and no reference into it is left.
    unsafe { libc::freeifaddrs(list) };
    Ok(addresses)
}

/// `address` is null or points to a socket address as long as its family says.
fn ip_address(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: getifaddrs gives null or a valid socket address.
    let family = unsafe { address.as_ref() }?.sa_family;
    match c_int::from(family) {
        libc::AF_INET => {
            // SAFETY: the family says that it is a sockaddr_in.
            let address = unsafe { address.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(IpAddr::from(address.sin_addr.s_addr.to_ne_bytes()))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that it is a sockaddr_in6.
            let address = unsafe { address.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(IpAddr::from(address.sin6_addr.s6_addr))
        }
        _ => None,
    }
}
