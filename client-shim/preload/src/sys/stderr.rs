//! The stderr that the program was started with.

use std::mem::{self, MaybeUninit};
use std::ptr;

use libc::c_int;

use super::errno::Errno;

/// A descriptor of the library's own: the program may close 2 or use it for something else.
#[derive(Debug)]
pub(crate) struct Stderr {
    fd: c_int,
    file: File,
}

/// What file a descriptor refers to.
#[derive(Debug, PartialEq, Eq)]
struct File {
    device: libc::dev_t,
    inode: libc::ino_t,
}

/// Where programs rarely have theirs, highest first: a limit can be in the way.
const FROM: [c_int; 3] = [1000, 200, 20];

/// How long a line may wait for a reader that is behind.
const PATIENCE_MS: c_int = 100;

impl Stderr {
    /// `None`: there is none.
    pub(crate) fn open() -> Option<Self> {
        let fd = FROM.into_iter().find_map(|from| {
            // SAFETY: no pointers.
            let fd = unsafe { libc::fcntl(libc::STDERR_FILENO, libc::F_DUPFD_CLOEXEC, from) };
            (fd >= 0).then_some(fd)
        })?;
        let file = File::of(fd)?;
        Some(Self { fd, file })
    }

    /// One write(2). The line is lost when nobody reads, when the reader is too far behind, and
    /// when the program has closed this descriptor, too, as some do with all that they find.
    pub(crate) fn write(&self, line: &[u8]) {
        if File::of(self.fd).as_ref() == Some(&self.file) && self.has_room() {
            // SAFETY: the pointer and the length are those of a slice.
            without_sigpipe(|| unsafe { libc::write(self.fd, line.as_ptr().cast(), line.len()) });
        }
    }

    fn has_room(&self) -> bool {
        let mut descriptor = libc::pollfd {
            fd: self.fd,
            events: libc::POLLOUT,
            revents: 0,
        };
        // SAFETY: one descriptor, and its count.
        let ready = unsafe { libc::poll(&raw mut descriptor, 1, PATIENCE_MS) };
        ready > 0 && descriptor.revents & libc::POLLOUT != 0
    }
}

impl Drop for Stderr {
    fn drop(&mut self) {
        // SAFETY: opened here, at the library's start, and closed nowhere else.
        unsafe { libc::close(self.fd) };
    }
}

impl File {
    fn of(fd: c_int) -> Option<Self> {
        let mut status = MaybeUninit::<libc::stat>::zeroed();
        // SAFETY: room for a stat.
        if unsafe { libc::fstat(fd, status.as_mut_ptr()) } != 0 {
            return None;
        }
        // SAFETY: all octets were zeroed, which is a valid stat, before the kernel wrote some.
        let status = unsafe { status.assume_init() };
        Some(Self {
            device: status.st_dev,
            inode: status.st_ino,
        })
    }
}

/// Writes to a pipe that nobody reads raise SIGPIPE, which ends most programs. It is blocked in
/// this thread meanwhile, and taken back if it came.
fn without_sigpipe(write: impl FnOnce() -> isize) {
    let mut sigpipe = empty_set();
    // SAFETY: an initialised set and a signal that exists.
    unsafe { libc::sigaddset(&raw mut sigpipe, libc::SIGPIPE) };
    let mut pending = empty_set();
    // SAFETY: a place for a set.
    unsafe { libc::sigpending(&raw mut pending) };
    // SAFETY: an initialised set and a signal that exists.
    let was_pending = unsafe { libc::sigismember(&raw const pending, libc::SIGPIPE) } == 1;
    let mut before = empty_set();
    // SAFETY: two initialised sets.
    let failed =
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const sigpipe, &raw mut before) };
    if failed != 0 {
        return;
    }
    if write() < 0 && Errno::last() == Errno::BROKEN_PIPE && !was_pending {
        // SAFETY: all zero is a timespec: do not wait.
        let at_once: libc::timespec = unsafe { mem::zeroed() };
        // SAFETY: an initialised set, no place for information, an initialised timespec.
        unsafe { libc::sigtimedwait(&raw const sigpipe, ptr::null_mut(), &raw const at_once) };
    }
    // SAFETY: the set that was in force; null is allowed.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut()) };
}

fn empty_set() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: a place for a set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: sigemptyset initialises all of it.
    unsafe { set.assume_init() }
}
