//! The only place with `unsafe`: what std has no call for.

#![expect(unsafe_code, reason = "the crate's one named place for it")]

mod ring;

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use ring::{Frame, PacketRing};

/// The wall clock in nanoseconds since 1970: the clock of the kernel's packet
/// timestamps, and so of every timestamp in this crate.
pub fn realtime_ns() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is a live timespec that the call fills in.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut now) };
    // Both fields are non-negative after 1970.
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

/// Whether the effective user is root.
pub(crate) fn is_root() -> bool {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Moves the calling thread into a network namespace.
pub(crate) fn enter_network_namespace(namespace: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: a borrowed, open descriptor and a constant; no memory involved.
    check(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) }).map(drop)
}

/// Makes `command` start inside `namespace`, and die when the thread that
/// spawns it dies.
pub(crate) fn run_inside(command: &mut Command, namespace: Arc<OwnedFd>) {
    let prepare = move || {
        die_with_parent()?;
        // SAFETY: as in `enter_network_namespace`; the Arc keeps it open.
        check(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) }).map(drop)
    };
    // SAFETY: the closure makes only async-signal-safe system calls and does
    // not allocate: io::Error from errno is a plain value.
    unsafe { command.pre_exec(prepare) };
}

/// Makes `command` die when the thread that spawns it dies.
pub(crate) fn bind_to_spawner(command: &mut Command) {
    // SAFETY: as in `run_inside`.
    unsafe { command.pre_exec(die_with_parent) };
}

fn die_with_parent() -> io::Result<()> {
    // SAFETY: integer arguments only.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) }).map(drop)
}

/// Sends `signal` to one process; 0 only asks whether it is there.
pub(crate) fn send_signal(pid: u32, signal: i32) -> io::Result<()> {
    let pid = i32::try_from(pid).map_err(io::Error::other)?;
    // kill(2) gives 0 and negative numbers a meaning: whole groups.
    if pid <= 0 {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    // SAFETY: integer arguments only.
    check(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// Turns a freshly opened `/dev/net/tun` into the TAP device `name`, which
/// appears in the namespace that the file was opened in.
///
/// The device drops what the kernel sends to it, *after* packet sockets have
/// seen it: frames are picked up there, with timestamps, and nobody has to
/// read the device to keep it from stalling.
pub(crate) fn make_tap(tun: &File, name: &str) -> io::Result<()> {
    let mut request = interface_request(name)?;
    request.ifr_ifru.ifru_flags = TAP_WITHOUT_HEADER;
    // SAFETY: TUNSETIFF reads and writes one ifreq, which `request` is.
    check(unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF, &raw mut request) })?;
    let drop_all = [instruction(BPF_RETURN, 0, 0, 0)];
    let program = filter_program(&drop_all);
    // SAFETY: TUNATTACHFILTER reads one sock_fprog and the instructions that
    // it points to; both outlive the call.
    check(unsafe { libc::ioctl(tun.as_raw_fd(), TUNATTACHFILTER, &raw const program) }).map(drop)
}

/// The index of interface `name` in the calling thread's namespace.
pub(crate) fn interface_index(name: &str) -> io::Result<i32> {
    let name = std::ffi::CString::new(name)?;
    // SAFETY: a NUL-terminated string that lives across the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    match i32::try_from(index) {
        Ok(0) | Err(_) => Err(io::Error::last_os_error()),
        Ok(index) => Ok(index),
    }
}

/// How the calling thread came to be scheduled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// `SCHED_FIFO`: woken ahead of every ordinary program.
    Realtime,
    /// As everybody: the system refused more.
    Ordinary,
}

/// Asks for prompt wake-ups of the calling thread.
pub(crate) fn ask_for_promptness() -> Priority {
    // SAFETY: integer arguments only. Failure leaves the default of 50 us.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
    let parameters = libc::sched_param { sched_priority: 10 };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: reads one sched_param; pid 0 is the calling thread.
    match unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) } {
        0 => Priority::Realtime,
        _ => Priority::Ordinary,
    }
}

/// Takes the error that waits on a socket, so that it waits no longer.
pub(crate) fn take_socket_error(socket: RawFd) -> io::Result<()> {
    let mut error: libc::c_int = 0;
    let mut len = 4; // Octets of a c_int.
    // SAFETY: the kernel writes at most `len` octets to `error`.
    check(unsafe {
        libc::getsockopt(
            socket,
            libc::SOL_SOCKET,
            libc::SO_ERROR,
            (&raw mut error).cast(),
            &raw mut len,
        )
    })?;
    if error == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(error))
    }
}

/// The calling thread's id, as `/proc/self/task` names it.
pub(crate) fn thread_id() -> u32 {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::gettid() }.cast_unsigned()
}

/// Sleeps until one of `descriptors` is readable or `timeout` has passed;
/// says whether one is.
pub(crate) fn wait_readable(
    descriptors: &mut [libc::pollfd],
    timeout: Option<Duration>,
) -> io::Result<bool> {
    let limit = timeout.map(|left| libc::timespec {
        tv_sec: left.as_secs().cast_signed(),
        tv_nsec: left.subsec_nanos().into(),
    });
    let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let count = descriptors.len() as libc::nfds_t;
    // SAFETY: `descriptors` is an exclusive slice of `count` entries; `limit`
    // is null or points to a timespec that lives until the call returns.
    let ready = unsafe { libc::ppoll(descriptors.as_mut_ptr(), count, limit, std::ptr::null()) };
    match check(ready) {
        Ok(ready) => Ok(ready > 0),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
        Err(error) => Err(error),
    }
}

/// A new eventfd, by which other threads wake a sleeping one.
pub(crate) fn event() -> io::Result<OwnedFd> {
    // SAFETY: integer arguments only.
    let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
    // SAFETY: a descriptor that was just made and that nobody else owns.
    Ok(unsafe { std::os::fd::FromRawFd::from_raw_fd(fd) })
}

/// Frames as they are, without a header of the device's own.
#[expect(
    clippy::cast_possible_truncation,
    reason = "0x1002: the field's type is narrower"
)]
const TAP_WITHOUT_HEADER: libc::c_short = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;

/// Instruction classes of classic BPF, as `<linux/filter.h>` composes them.
const BPF_RETURN: u16 = code(libc::BPF_RET | libc::BPF_K);
const BPF_LOAD_WORD: u16 = code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS);
const BPF_JUMP_EQUAL: u16 = code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K);

#[expect(clippy::cast_possible_truncation, reason = "codes are 16 bits wide")]
const fn code(bits: u32) -> u16 {
    bits as u16
}

/// `_IOW('T', 213, struct sock_fprog)`; libc has no name for it.
const TUNATTACHFILTER: libc::c_ulong =
    (1 << 30) | ((size_of::<libc::sock_fprog>() as libc::c_ulong) << 16) | (0x54 << 8) | 0xd5;

const fn instruction(code: u16, if_true: u8, if_false: u8, value: u32) -> libc::sock_filter {
    libc::sock_filter {
        code,
        jt: if_true,
        jf: if_false,
        k: value,
    }
}

/// A program for the kernel to copy; it borrows `instructions`, so use it
/// before they go.
fn filter_program(instructions: &[libc::sock_filter]) -> libc::sock_fprog {
    libc::sock_fprog {
        len: u16::try_from(instructions.len()).unwrap_or(u16::MAX),
        filter: instructions.as_ptr().cast_mut(),
    }
}

fn interface_request(name: &str) -> io::Result<libc::ifreq> {
    // SAFETY: ifreq is plain data for which zero octets are a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last octet stays 0: the kernel wants a terminated name.
    if name.len() >= request.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    Ok(request)
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
