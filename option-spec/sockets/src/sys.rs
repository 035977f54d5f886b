//! The system calls that no crate wraps, and what aya may copy as octets. All unsafe code is here.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd};

use libc::{c_int, socklen_t};

use crate::abi::{ListenerKey, Mark};

// SAFETY: `repr(C)`, octets only: no padding, every bit pattern is a value.
unsafe impl aya::Pod for Mark {}

// SAFETY: `repr(C)`, integers only, `zero` names the padding, every bit pattern is a value.
unsafe impl aya::Pod for ListenerKey {}

/// The id of the network namespace that the socket belongs to (`SO_NETNS_COOKIE`).
pub(crate) fn netns_cookie(fd: impl AsFd) -> io::Result<u64> {
    let mut cookie = [0_u8; size_of::<u64>()];
    getsockopt(fd, libc::SOL_SOCKET, libc::SO_NETNS_COOKIE, &mut cookie)?;
    Ok(u64::from_ne_bytes(cookie))
}

/// IP and TCP header of the SYN that made this accepted socket, written to the front of `headers`;
/// returns their length in octets. The kernel gives them once: then, and when the listener did not
/// save them, the length is 0.
pub(crate) fn take_saved_syn(fd: impl AsFd, headers: &mut [u8]) -> io::Result<usize> {
    getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_SAVED_SYN, headers)
}

/// Makes a listener keep the headers of each SYN for [`take_saved_syn`].
pub(crate) fn save_syn(fd: impl AsFd) -> io::Result<()> {
    let on: c_int = 1;
    // SAFETY: `on` lives through the call and the length is its own.
    let result = unsafe {
        libc::setsockopt(
            fd.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_SAVE_SYN,
            (&raw const on).cast(),
            length(size_of::<c_int>()),
        )
    };
    check(result)
}

/// Returns once what the kernel was doing with this TCP socket at the time of the call is done:
/// `TCP_INFO` takes the socket's lock, which the handshake's processing holds.
pub(crate) fn wait_for_socket_lock(fd: impl AsFd) -> io::Result<()> {
    let mut state = [0_u8; 1];
    getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, &mut state).map(drop)
}

/// Waits until one of `fds` has an event or the time is over; returns whether one has.
pub(crate) fn poll(fds: &mut [libc::pollfd], timeout_ms: c_int) -> io::Result<bool> {
    let count = libc::nfds_t::try_from(fds.len()).unwrap_or(0);
    // SAFETY: `fds` is a live array of `count` entries that the kernel may write to.
    let ready = unsafe { libc::poll(fds.as_mut_ptr(), count, timeout_ms) };
    check(ready)?;
    Ok(ready > 0)
}

/// The running kernel's release, such as `6.1.0-13-amd64`.
pub(crate) fn kernel_release() -> io::Result<String> {
    let mut names = MaybeUninit::<libc::utsname>::zeroed();
    // SAFETY: the pointer is to room for a `utsname`.
    let result = unsafe { libc::uname(names.as_mut_ptr()) };
    check(result)?;
    // SAFETY: all octets were zeroed, which is a valid `utsname`, before the kernel wrote some.
    let names = unsafe { names.assume_init() };
    Ok(names
        .release
        .iter()
        .take_while(|octet| **octet != 0)
        .map(|octet| char::from(octet.cast_unsigned()))
        .collect())
}

/// getsockopt(2) into `value`; returns how many octets the kernel wrote.
fn getsockopt(fd: impl AsFd, level: c_int, name: c_int, value: &mut [u8]) -> io::Result<usize> {
    let mut len = length(value.len());
    // SAFETY: `value` is writable for `len` octets, and `len` lives through the call.
    let result = unsafe {
        libc::getsockopt(
            fd.as_fd().as_raw_fd(),
            level,
            name,
            value.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    check(result)?;
    Ok(usize::try_from(len).unwrap_or(0).min(value.len()))
}

fn check(result: c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

fn length(octets: usize) -> socklen_t {
    socklen_t::try_from(octets).unwrap_or(socklen_t::MAX)
}
