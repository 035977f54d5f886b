//! `errno`, and keeping the host's.

/// A value of `errno`, never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(i32);

impl Errno {
    pub(crate) const ALREADY: Self = Self(libc::EALREADY);
    pub(crate) const BROKEN_PIPE: Self = Self(libc::EPIPE);
    pub(crate) const CONNECTION_ABORTED: Self = Self(libc::ECONNABORTED);
    pub(crate) const CONNECTION_REFUSED: Self = Self(libc::ECONNREFUSED);
    pub(crate) const CONNECTION_RESET: Self = Self(libc::ECONNRESET);
    pub(crate) const INTERRUPTED: Self = Self(libc::EINTR);
    pub(crate) const IN_PROGRESS: Self = Self(libc::EINPROGRESS);
    pub(crate) const IS_CONNECTED: Self = Self(libc::EISCONN);
    pub(crate) const NOT_SUPPORTED: Self = Self(libc::ENOSYS);
    pub(crate) const TIMED_OUT: Self = Self(libc::ETIMEDOUT);

    pub(crate) const fn new(errno: i32) -> Self {
        Self(errno)
    }

    pub(crate) const fn get(self) -> i32 {
        self.0
    }

    /// What the last call left.
    pub(super) fn last() -> Self {
        // SAFETY: the C library gives each thread a place that is always valid.
        let place = unsafe { libc::__errno_location() };
        // SAFETY: the place above, nobody else's.
        Self(unsafe { *place })
    }

    /// What the host will see.
    pub(super) fn set(self) {
        // SAFETY: the C library gives each thread a place that is always valid.
        let place = unsafe { libc::__errno_location() };
        // SAFETY: the place above, nobody else's.
        unsafe { *place = self.0 };
    }
}

/// `Ok` for 0, for a C function that returns -1 and sets `errno`.
pub(super) fn result(returned: libc::c_int) -> Result<(), Errno> {
    if returned == 0 {
        Ok(())
    } else {
        Err(Errno::last())
    }
}
