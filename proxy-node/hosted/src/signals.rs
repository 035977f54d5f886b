//! SIGTERM and SIGINT as a descriptor.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};

use crate::sys;

/// Readable when somebody wants us to stop.
#[derive(Debug)]
pub(crate) struct Watch(File);

/// Takes the signals out of their usual way.
pub(crate) fn watch() -> io::Result<Watch> {
    sys::signals(&[libc::SIGTERM, libc::SIGINT]).map(|fd| Watch(fd.into()))
}

impl Watch {
    /// Forgets one signal.
    pub(crate) fn take(&self) {
        // Which of them it was makes no difference.
        let _ = (&self.0).read(&mut [0; 128]);
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
