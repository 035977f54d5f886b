//! The three exported functions.

use std::panic::{AssertUnwindSafe, catch_unwind};

use libc::{c_int, c_void, sockaddr, socklen_t};
use synhop_client_core::SockAddr;

use super::errno::Errno;
use super::real;
use super::socket::Socket;
use crate::connect::{Verdict, connect as decide_connect};
use crate::error_option::pending_error;
use crate::guard::Guard;
use crate::peer::{Peer, peer};
use crate::state::State;

/// No address is longer (`struct sockaddr_storage`).
const MAX_ADDRESS_OCTETS: usize = 128;

const PTHREAD_CANCEL_DISABLE: c_int = 1;

unsafe extern "C" {
    fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
}

/// The library's start: before the host has threads, so that nobody forks while it is going on.
#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = start;

extern "C" fn start() {
    let errno = Errno::last();
    let _ = catch_unwind(|| {
        // The hook of this library's own copy of std: a Rust host keeps its own.
        std::panic::set_hook(Box::new(|_| {}));
        real::look_up();
        State::get();
    });
    errno.set();
}

/// # Safety
/// The contract of connect(2).
#[unsafe(no_mangle)]
pub(super) unsafe extern "C-unwind" fn connect(
    fd: c_int,
    address: *const sockaddr,
    len: socklen_t,
) -> c_int {
    let verdict = at_work(|state| {
        let len = usize::try_from(len).ok()?;
        if address.is_null() || len > MAX_ADDRESS_OCTETS {
            return None;
        }
        // SAFETY: not null, and the caller vouches for `len` octets.
        let octets = unsafe { std::slice::from_raw_parts(address.cast::<u8>(), len) };
        match decide_connect(state, Socket::new(fd), octets) {
            Verdict::PassThrough => None,
            Verdict::Done(result) => Some(result),
        }
    });
    match verdict {
        Some(result) => give(result),
        // SAFETY: the host's arguments, forwarded unchanged.
        None => unsafe { real::connect(fd, address, len) },
    }
}

/// # Safety
/// The contract of getsockopt(2).
#[unsafe(no_mangle)]
pub(super) unsafe extern "C-unwind" fn getsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *mut c_void,
    len: *mut socklen_t,
) -> c_int {
    let error = if level == libc::SOL_SOCKET && name == libc::SO_ERROR {
        at_work(|state| {
            if value.is_null() || len.is_null() {
                return None;
            }
            // SAFETY: not null, and the caller vouches for it.
            let room = unsafe { len.read_unaligned() };
            if room < INT_OCTETS {
                return None;
            }
            pending_error(state, Socket::new(fd))
        })
    } else {
        None
    };
    match error {
        Some(error) => {
            let error = error.err().map_or(0, Errno::get);
            // SAFETY: `len` says that there is room for an int, of any alignment.
            unsafe { value.cast::<c_int>().write_unaligned(error) };
            // SAFETY: read from above.
            unsafe { len.write_unaligned(INT_OCTETS) };
            0
        }
        // SAFETY: the host's arguments, forwarded unchanged.
        None => unsafe { real::getsockopt(fd, level, name, value, len) },
    }
}

/// # Safety
/// The contract of getpeername(2).
#[unsafe(no_mangle)]
pub(super) unsafe extern "C-unwind" fn getpeername(
    fd: c_int,
    address: *mut sockaddr,
    len: *mut socklen_t,
) -> c_int {
    let answer = at_work(|state| {
        if address.is_null() || len.is_null() {
            return None;
        }
        match peer(state, Socket::new(fd)) {
            Peer::PassThrough => None,
            Peer::Is(endpoint) => Some(Ok(endpoint)),
            Peer::Gone(error) => Some(Err(error)),
        }
    });
    match answer {
        Some(Ok(endpoint)) => {
            let mut octets = [0; SockAddr::MAX_OCTETS];
            let needed = endpoint.emit(&mut octets);
            // SAFETY: not null, and the caller vouches for it.
            let room = unsafe { len.read_unaligned() };
            let copied = needed.min(usize::try_from(room).unwrap_or(0));
            // SAFETY: `len` says that there is room for `copied` octets; `octets` is our own.
            unsafe { address.cast::<u8>().copy_from(octets.as_ptr(), copied) };
            let needed = socklen_t::try_from(needed).unwrap_or(0);
            // SAFETY: read from above. As the kernel does: what would have been needed.
            unsafe { len.write_unaligned(needed) };
            0
        }
        Some(Err(error)) => give(Err(error)),
        // SAFETY: the host's arguments, forwarded unchanged.
        None => unsafe { real::getpeername(fd, address, len) },
    }
}

/// The length of an int option.
const INT_OCTETS: socklen_t = 4;
const _: () = assert!(size_of::<c_int>() == INT_OCTETS as usize);

/// Runs `work` unless the library is not configured, or at work in this thread already. Panics
/// and the thread's cancellation do not cross it, `errno` is as before.
fn at_work<T>(work: impl FnOnce(&'static State) -> Option<T>) -> Option<T> {
    let errno = Errno::last();
    let _guard = Guard::enter()?;
    let state = State::get()?;
    let mut cancel_state = 0;
    // SAFETY: a place to write to. Cancellation unwinds through frames that are not made for it.
    unsafe { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &raw mut cancel_state) };
    let outcome = catch_unwind(AssertUnwindSafe(|| work(state)));
    // SAFETY: null is allowed; the state is the one that was there.
    unsafe { pthread_setcancelstate(cancel_state, std::ptr::null_mut()) };
    errno.set();
    outcome.ok().flatten()
}

/// As a C function returns it.
fn give(result: Result<(), Errno>) -> c_int {
    match result {
        Ok(()) => 0,
        Err(error) => {
            error.set();
            -1
        }
    }
}
