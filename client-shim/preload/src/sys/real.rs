//! The functions that the hooks stand in front of: the next ones in the linker's order, which
//! need not be the C library's.

use std::ffi::CStr;
use std::mem;
use std::sync::atomic::{AtomicPtr, Ordering};

use libc::{c_int, c_void, sockaddr, socklen_t};

use super::errno::Errno;

type Connect = unsafe extern "C-unwind" fn(c_int, *const sockaddr, socklen_t) -> c_int;
type GetPeerName = unsafe extern "C-unwind" fn(c_int, *mut sockaddr, *mut socklen_t) -> c_int;
type GetSockOpt =
    unsafe extern "C-unwind" fn(c_int, c_int, c_int, *mut c_void, *mut socklen_t) -> c_int;

static CONNECT: Symbol = Symbol::new(c"connect");
static GET_PEER_NAME: Symbol = Symbol::new(c"getpeername");
static GET_SOCK_OPT: Symbol = Symbol::new(c"getsockopt");

/// A symbol that is looked up once. Two threads may both look; they find the same.
struct Symbol {
    name: &'static CStr,
    address: AtomicPtr<c_void>,
}

impl Symbol {
    const fn new(name: &'static CStr) -> Self {
        Self {
            name,
            address: AtomicPtr::new(std::ptr::null_mut()),
        }
    }

    /// `None` when there is no further one: `errno` is `ENOSYS` then.
    fn get(&self) -> Option<*mut c_void> {
        let mut address = self.address.load(Ordering::Acquire);
        if address.is_null() {
            // SAFETY: a NUL-terminated name; RTLD_NEXT is a valid pseudo handle.
            address = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
            self.address.store(address, Ordering::Release);
        }
        if address.is_null() {
            Errno::NOT_SUPPORTED.set();
            return None;
        }
        Some(address)
    }
}

/// Looks all of them up, before the host has threads.
pub(super) fn look_up() {
    for symbol in [&CONNECT, &GET_PEER_NAME, &GET_SOCK_OPT] {
        symbol.get();
    }
}

/// # Safety
/// The contract of connect(2).
pub(super) unsafe fn connect(fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int {
    let Some(symbol) = CONNECT.get() else {
        return -1;
    };
    // SAFETY: the symbol of that name has this signature (POSIX).
    let real = unsafe { mem::transmute::<*mut c_void, Connect>(symbol) };
    // SAFETY: the caller's arguments, unchanged.
    unsafe { real(fd, address, len) }
}

/// # Safety
/// The contract of getpeername(2).
pub(super) unsafe fn getpeername(fd: c_int, address: *mut sockaddr, len: *mut socklen_t) -> c_int {
    let Some(symbol) = GET_PEER_NAME.get() else {
        return -1;
    };
    // SAFETY: the symbol of that name has this signature (POSIX).
    let real = unsafe { mem::transmute::<*mut c_void, GetPeerName>(symbol) };
    // SAFETY: the caller's arguments, unchanged.
    unsafe { real(fd, address, len) }
}

/// # Safety
/// The contract of getsockopt(2).
pub(super) unsafe fn getsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *mut c_void,
    len: *mut socklen_t,
) -> c_int {
    let Some(symbol) = GET_SOCK_OPT.get() else {
        return -1;
    };
    // SAFETY: the symbol of that name has this signature (POSIX).
    let real = unsafe { mem::transmute::<*mut c_void, GetSockOpt>(symbol) };
    // SAFETY: the caller's arguments, unchanged.
    unsafe { real(fd, level, name, value, len) }
}
