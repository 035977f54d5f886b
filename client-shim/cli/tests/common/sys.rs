//! What the tests need of the kernel beside sockets.

use std::io;

/// Gives this thread, and what it starts, a network of its own.
pub(crate) fn unshare_network() -> io::Result<()> {
    // SAFETY: no pointers; the thread has no sockets yet.
    match unsafe { libc::unshare(libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

pub(crate) fn is_root() -> bool {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Sends a signal to a process that the test has started and not waited for.
pub(crate) fn kill(pid: u32, signal: i32) {
    let pid = libc::pid_t::try_from(pid).expect("a pid");
    // SAFETY: no pointers.
    unsafe { libc::kill(pid, signal) };
}
