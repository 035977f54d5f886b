//! A link's end: the TAP device that frames are written to, and the ring that
//! they are picked up from.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use crate::sys::{self, PacketRing};
use crate::{Interface, LabError, Namespace};

/// One end of a link, in its namespace.
pub(crate) struct Port {
    pub(crate) interface: Interface,
    pub(crate) ring: PacketRing,
    tap: File,
}

impl Port {
    /// Makes the device inside `namespace`, down and without an address.
    pub(crate) fn create(
        namespace: &Namespace,
        device: &str,
        interface: Interface,
    ) -> Result<Self, LabError> {
        let made = namespace.enter(|| {
            let tap = OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
                .open("/dev/net/tun")?;
            sys::make_tap(&tap, device)?;
            let ring = PacketRing::open(sys::interface_index(device)?)?;
            io::Result::Ok((tap, ring))
        })?;
        let what = format!("make TAP device {device} in {}", namespace.name());
        let (tap, ring) = made.map_err(LabError::system(what))?;
        Ok(Self {
            interface,
            ring,
            tap,
        })
    }

    /// Gives a frame to the namespace, which handles it before this returns.
    pub(crate) fn write(&self, frame: &[u8]) -> io::Result<()> {
        (&self.tap).write(frame).map(drop)
    }

    pub(crate) fn poll_entry(&self) -> libc::pollfd {
        poll_entry(self.ring.as_fd())
    }
}

pub(crate) fn poll_entry(descriptor: BorrowedFd<'_>) -> libc::pollfd {
    libc::pollfd {
        fd: descriptor.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    }
}
