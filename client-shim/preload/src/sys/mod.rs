//! All that is unsafe: the hooks' C side, and the system calls behind safe types.

mod errno;
mod hooks;
mod real;
mod socket;
mod stderr;
mod unix;

pub(crate) use errno::Errno;
pub(crate) use socket::{Socket, TcpState};
pub(crate) use stderr::Stderr;
pub(crate) use unix::{HelperAddress, HelperConnection};

/// Milliseconds of the monotonic clock.
pub(crate) fn now_ms() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is a timespec to write to.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds * 1_000 + nanoseconds / 1_000_000
}
