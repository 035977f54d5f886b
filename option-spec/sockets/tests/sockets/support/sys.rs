//! The system calls the tests need; their only unsafe code.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Instant;

use libc::{c_int, socklen_t};
use socket2::{SockFilter, Socket};

/// Gives the calling thread a network namespace of its own.
pub(crate) fn unshare_network() -> io::Result<()> {
    // SAFETY: unshare(2) takes flags alone; CLONE_NEWNET concerns the calling thread only.
    let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    check(result)
}

/// Takes root's privileges from the calling thread for good.
pub(crate) fn become_nobody() -> io::Result<()> {
    const NOBODY: libc::c_long = 65534;
    // SAFETY: setresuid(2) takes three integers; the raw call concerns the calling thread only.
    let result = unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) };
    check(c_int::try_from(result).unwrap_or(-1))
}

/// Has a packet socket see each packet on loopback once instead of twice.
pub(crate) fn ignore_outgoing(socket: &Socket) -> io::Result<()> {
    let on: c_int = 1;
    // SAFETY: `on` lives through the call and the length is its own.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_IGNORE_OUTGOING,
            (&raw const on).cast(),
            socklen_t::try_from(size_of::<c_int>()).unwrap_or(0),
        )
    };
    check(result)
}

/// Whether `fd` becomes readable before `deadline`.
pub(crate) fn readable(fd: impl AsFd, deadline: Instant) -> bool {
    let left = deadline.saturating_duration_since(Instant::now());
    let mut fds = libc::pollfd {
        fd: fd.as_fd().as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: `fds` is one live entry that the kernel may write to.
    let ready = unsafe {
        libc::poll(
            &raw mut fds,
            1,
            i32::try_from(left.as_millis()).unwrap_or(i32::MAX),
        )
    };
    ready > 0
}

/// How often the kernel would send the socket's SYN again.
pub(crate) fn syn_count(socket: &Socket) -> c_int {
    let mut count: c_int = 0;
    let mut len = socklen_t::try_from(size_of::<c_int>()).unwrap_or(0);
    // SAFETY: `count` is writable for `len` octets, and both live through the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_SYNCNT,
            (&raw mut count).cast(),
            &raw mut len,
        )
    };
    check(result).expect("TCP_SYNCNT");
    count
}

/// Ends the socket's association, so that it can connect again.
pub(crate) fn dissolve(socket: &Socket) -> io::Result<()> {
    // All zero: AF_UNSPEC.
    let address = [0_u64; 2];
    // SAFETY: 16 octets that say AF_UNSPEC, the size of a struct sockaddr.
    check(unsafe { libc::connect(socket.as_raw_fd(), address.as_ptr().cast(), 16) })
}

/// A classic BPF program that drops every packet.
pub(crate) fn drop_all() -> [SockFilter; 1] {
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    [SockFilter::new(RETURN, 0, 0, 0)]
}

fn check(result: c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
