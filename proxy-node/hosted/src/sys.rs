//! The system calls that std does not wrap: the only module with unsafe code.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// Makes the open `/dev/net/tun` the TAP device `name`.
pub(crate) fn make_tap(tun: &File, name: &str, offload: bool) -> io::Result<()> {
    // SAFETY: all zeroes is a legal ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let is_odd = |octet: u8| octet.is_ascii_whitespace() || b"/:%".contains(&octet);
    if name.len() >= request.ifr_name.len() || name.is_empty() || name.bytes().any(is_odd) {
        return Err(io::Error::other(
            "its name must have 1 to 15 octets, and no blank, slash, colon or percent sign",
        ));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    let header = if offload { libc::IFF_VNET_HDR } else { 0 };
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | header;
    request.ifr_ifru.ifru_flags = i16::try_from(flags).map_err(io::Error::other)?;
    // SAFETY: the request takes a pointer to an ifreq, which outlives the call.
    check(unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF, &raw mut request) })?;
    if offload {
        let all = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6;
        // SAFETY: the request takes an integer.
        check(unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETOFFLOAD, all) })?;
    }
    Ok(())
}

/// A descriptor that becomes readable with one of these signals, which do nothing else any more.
pub(crate) fn signals(numbers: &[libc::c_int]) -> io::Result<OwnedFd> {
    // SAFETY: all zeroes is a legal sigset_t.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    for number in numbers {
        // SAFETY: the set is ours and writable.
        check(unsafe { libc::sigaddset(&raw mut set, *number) })?;
    }
    // SAFETY: the set is readable, and a null pointer for the old one is legal.
    check(unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) })?;
    // SAFETY: the set is readable.
    let fd = check(unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC) })?;
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// A frame, or time.
    Work,
    /// A signal.
    Stop,
}

/// Waits for either descriptor, at most `most`.
pub(crate) fn wait(tap: &impl AsFd, stop: &impl AsFd, most: Option<Duration>) -> io::Result<Woken> {
    let entry = |fd: &dyn AsRawFd| libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let mut entries = [entry(&tap.as_fd()), entry(&stop.as_fd())];
    let most = most.map(|most| libc::timespec {
        tv_sec: libc::time_t::try_from(most.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: most.subsec_nanos().into(),
    });
    let timeout = most.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: two entries that are ours, a readable or null timeout, no signal mask.
    let result = unsafe { libc::ppoll(entries.as_mut_ptr(), 2, timeout, std::ptr::null()) };
    match check(result) {
        Ok(_) if entries[1].revents != 0 => Ok(Woken::Stop),
        Ok(_) => Ok(Woken::Work),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Woken::Work),
        Err(error) => Err(error),
    }
}

/// Fills `octets` with what nobody can predict.
pub(crate) fn random(octets: &mut [u8]) -> io::Result<()> {
    io::Read::read_exact(&mut File::open("/dev/urandom")?, octets)
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}
