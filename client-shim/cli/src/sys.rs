//! All that is unsafe: signals, and what socket2 does not wrap.

use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use libc::{c_int, socklen_t};
use socket2::{MaybeUninitSlice, MsgHdrMut, SockRef, Socket};

/// Signals that are waited for, instead of being delivered.
pub(crate) struct Signals {
    set: libc::sigset_t,
    before: libc::sigset_t,
    /// Whether the caller had SIGCHLD ignored.
    ignores_children: bool,
}

/// A signal that came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signal {
    pub(crate) number: c_int,
    pub(crate) sender: Sender,
}

/// Who sent a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// The terminal or the kernel: the whole process group has got it.
    Kernel,
    /// A process.
    Process(libc::pid_t),
}

impl Signals {
    /// Blocks them in this thread, and in those that it starts from now on.
    pub(crate) fn block(numbers: &[c_int]) -> io::Result<Self> {
        let mut signals = Self {
            set: empty_set(),
            before: empty_set(),
            ignores_children: false,
        };
        for number in numbers {
            // SAFETY: an initialised set; a bad number is refused.
            check(unsafe { libc::sigaddset(&raw mut signals.set, *number) })?;
        }
        // An ignored SIGCHLD would have the kernel swallow the child's status.
        if numbers.contains(&libc::SIGCHLD) {
            // SAFETY: the default disposition runs no code of ours.
            let before = unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
            signals.ignores_children = before == libc::SIG_IGN;
        }
        let how = libc::SIG_BLOCK;
        // SAFETY: two initialised sets.
        let error =
            unsafe { libc::pthread_sigmask(how, &raw const signals.set, &raw mut signals.before) };
        if error == 0 {
            Ok(signals)
        } else {
            Err(io::Error::from_raw_os_error(error))
        }
    }

    /// The next of them.
    pub(crate) fn wait(&self) -> Signal {
        loop {
            // SAFETY: all zero is a valid siginfo_t.
            let mut info: libc::siginfo_t = unsafe { mem::zeroed() };
            // SAFETY: an initialised set, and a place for the information.
            let number = unsafe { libc::sigwaitinfo(&raw const self.set, &raw mut info) };
            if number > 0 {
                let sender = if info.si_code == libc::SI_KERNEL {
                    Sender::Kernel
                } else {
                    // SAFETY: the kernel fills it in for every signal that a process sends, and
                    // for SIGCHLD; elsewhere it is a number, too.
                    Sender::Process(unsafe { info.si_pid() })
                };
                return Signal { number, sender };
            }
        }
    }

    /// Has the child start with what was in force before: std hands the parent's on.
    pub(crate) fn restore_in(&self, command: &mut Command) {
        let (before, ignores_children) = (self.before, self.ignores_children);
        let restore = move || {
            let how = libc::SIG_SETMASK;
            // SAFETY: an initialised set; null is allowed.
            unsafe { libc::pthread_sigmask(how, &raw const before, std::ptr::null_mut()) };
            if ignores_children {
                // SAFETY: this disposition runs no code at all.
                unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
            }
            Ok(())
        };
        // SAFETY: pthread_sigmask and signal are all that runs between fork and exec; they are
        // async-signal-safe and take no lock.
        unsafe { command.pre_exec(restore) };
    }
}

fn empty_set() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: a place for a set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: sigemptyset initialises all of it.
    unsafe { set.assume_init() }
}

/// Sends a signal to a child that is not waited for yet. It may have ended: then nobody gets it.
pub(crate) fn forward(child: &std::process::Child, number: c_int) {
    if let Ok(pid) = libc::pid_t::try_from(child.id()) {
        // SAFETY: no pointers. The child is ours and not reaped: the number is still its own.
        unsafe { libc::kill(pid, number) };
    }
}

/// Who owns what this process makes.
pub(crate) fn effective_uid() -> u32 {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::geteuid() }
}

/// Who is at the other end of a unix socket.
pub(crate) struct Peer {
    pub(crate) uid: u32,
    pub(crate) pid: i32,
}

/// Who connected to us, as of `connect()`.
pub(crate) fn peer_credentials(socket: &Socket) -> Option<Peer> {
    let mut credentials = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut len = socklen_t::try_from(mem::size_of::<libc::ucred>()).ok()?;
    let (level, name) = (libc::SOL_SOCKET, libc::SO_PEERCRED);
    let place = (&raw mut credentials).cast();
    // SAFETY: a place of that length.
    let done = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, place, &raw mut len) };
    check(done).ok()?;
    Some(Peer {
        uid: credentials.uid,
        pid: credentials.pid,
    })
}

/// The number of the network namespace that a socket lives in (Linux 5.14).
pub(crate) fn netns_cookie(fd: impl AsFd) -> Option<u64> {
    const SO_NETNS_COOKIE: c_int = 71;
    let mut cookie = 0_u64;
    let mut len = socklen_t::try_from(mem::size_of::<u64>()).ok()?;
    let (fd, level) = (fd.as_fd().as_raw_fd(), libc::SOL_SOCKET);
    let place = (&raw mut cookie).cast();
    // SAFETY: a place of that length.
    let done = unsafe { libc::getsockopt(fd, level, SO_NETNS_COOKIE, place, &raw mut len) };
    check(done).ok().map(|()| cookie)
}

/// Which of `fds` are readable, or closed by their peers. `None`: waits for as long as it takes.
pub(crate) fn poll_readable(fds: &[BorrowedFd<'_>], timeout: Option<Duration>) -> Vec<bool> {
    let mut polled: Vec<_> = fds
        .iter()
        .map(|fd| libc::pollfd {
            fd: fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    // Rounded up: a timeout of less than a millisecond must not become a busy loop.
    let timeout_ms = timeout.map_or(-1, |timeout| {
        c_int::try_from(timeout.as_millis() + 1).unwrap_or(c_int::MAX)
    });
    let count = polled.len() as libc::nfds_t;
    // SAFETY: that many descriptors. An error (EINTR) leaves them all not ready.
    unsafe { libc::poll(polled.as_mut_ptr(), count, timeout_ms) };
    polled.iter().map(|it| it.revents != 0).collect()
}

/// How many descriptors a message may bring (`SCM_MAX_FD`). There is room for all of them: the
/// kernel would close the others on the spot, which may take long.
const MAX_DESCRIPTORS: usize = 253;
const FD_OCTETS: usize = mem::size_of::<c_int>();
/// `struct cmsghdr`: length, level, type.
const CONTROL_HEAD_OCTETS: usize = mem::size_of::<libc::cmsghdr>();

/// Receives a message and the descriptors that came with it. Length 0: the peer has closed.
pub(crate) fn receive(socket: &Socket, message: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut control = [MaybeUninit::new(0); CONTROL_HEAD_OCTETS + MAX_DESCRIPTORS * FD_OCTETS];
    let mut octets = [MaybeUninit::new(0); 64];
    let room = message.len().min(octets.len());
    let mut parts = [MaybeUninitSlice::new(&mut octets[..room])];
    let mut header = MsgHdrMut::new()
        .with_buffers(&mut parts)
        .with_control(&mut control);
    let len = SockRef::from(socket).recvmsg(&mut header, libc::MSG_CMSG_CLOEXEC)?;
    let control_len = header.control_len();
    // SAFETY: written to as a whole above.
    let control = control.map(|octet| unsafe { octet.assume_init() });
    for (to, from) in message.iter_mut().zip(octets.iter().take(len)) {
        // SAFETY: written to as a whole above.
        *to = unsafe { from.assume_init() };
    }
    Ok((
        len,
        descriptors(control.get(..control_len).unwrap_or_default()),
    ))
}

/// The descriptors in the one control message that a unix socket without options delivers.
fn descriptors(control: &[u8]) -> Vec<OwnedFd> {
    const LEN: usize = mem::size_of::<usize>();
    let int = |octets: &[u8]| octets.first_chunk().copied().map(c_int::from_ne_bytes);
    let head = |at| control.get(at..).and_then(int);
    let len = control.first_chunk().copied().map(usize::from_ne_bytes);
    let is_rights =
        head(LEN) == Some(libc::SOL_SOCKET) && head(LEN + FD_OCTETS) == Some(libc::SCM_RIGHTS);
    let data = len.and_then(|len| control.get(CONTROL_HEAD_OCTETS..len));
    data.filter(|_| is_rights)
        .unwrap_or_default()
        .chunks_exact(FD_OCTETS)
        .filter_map(int)
        // SAFETY: the kernel has just made these descriptors for us; nobody else knows them.
        .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
        .collect()
}

/// Lets this process have as many descriptors as it may: a login shell's soft limit is 1,024, and
/// a user's requests can take up that many. Not for a process that hands its limits on.
pub(crate) fn raise_descriptor_limit() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: a place for the limits.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0 {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: initialised limits. A refusal leaves what was there.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    }
}

/// Sends a message with a descriptor.
pub(crate) fn send_with(socket: &Socket, message: &[u8], fd: BorrowedFd<'_>) -> io::Result<()> {
    let mut control = Vec::with_capacity(CONTROL_HEAD_OCTETS + 8);
    control.extend((CONTROL_HEAD_OCTETS + FD_OCTETS).to_ne_bytes());
    control.extend(libc::SOL_SOCKET.to_ne_bytes());
    control.extend(libc::SCM_RIGHTS.to_ne_bytes());
    control.extend(fd.as_raw_fd().to_ne_bytes());
    control.resize(control.capacity(), 0);
    let parts = [io::IoSlice::new(message)];
    let header = socket2::MsgHdr::new()
        .with_buffers(&parts)
        .with_control(&control);
    socket.sendmsg(&header, libc::MSG_NOSIGNAL).map(drop)
}

/// Tells a service manager that waits for it (`NOTIFY_SOCKET`, `sd_notify(3)`) that we serve.
pub(crate) fn notify_ready() {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    // Best effort: a manager that does not hear us says so itself.
    if let Ok(socket) = std::os::unix::net::UnixDatagram::unbound() {
        let _ = socket.send_to(b"READY=1", path);
    }
}

fn check(returned: c_int) -> io::Result<()> {
    if returned == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
