//! A TAP device, with or without offloads (virtio 1.2 section 5.1.6's header).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use synhop_stack::{Checksum, Frame, Octets, Page, Payload, Pool};

use crate::sys;

/// What the device does for us, and we for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Whole frames with their checksums.
    Plain,
    /// Checksums left out, and frames of many segments.
    Offload,
}

/// One end of the link; the kernel has the other.
#[derive(Debug)]
pub(crate) struct Tap {
    file: File,
    mode: Mode,
}

impl Tap {
    pub(crate) fn open(name: &str, mode: Mode) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/net/tun")?;
        sys::make_tap(&file, name, mode == Mode::Offload)?;
        Ok(Self { file, mode })
    }

    /// The next frame, in pages of the pool; `None` when there is none. When the pool is empty it
    /// is lost, but not a small one: acknowledgements are what sets pages free.
    pub(crate) fn receive(&self, pool: &Pool) -> io::Result<Option<(Payload, Checksum)>> {
        let wanted = match self.mode {
            Mode::Plain => 1,
            Mode::Offload => FRAME_OCTETS_MOST as usize / pool.page_octets() + 1,
        };
        let mut pages: Vec<Page> = (0..wanted).map_while(|_| pool.take()).collect();
        let mut header = [0; HEADER_OCTETS];
        // Where a frame goes that nobody has room for.
        let mut scratch = [0; 2048];
        let buffers: Vec<&mut [u8]> = if pages.is_empty() {
            vec![&mut scratch]
        } else {
            pages.iter_mut().map(Page::octets_mut).collect()
        };
        let read = match self.mode {
            Mode::Plain => sys::read_vectored(&self.file, None, buffers),
            Mode::Offload => sys::read_vectored(&self.file, Some(&mut header), buffers),
        };
        let mut left = match read {
            Ok(octets) => octets,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        if self.mode == Mode::Offload {
            left = left.saturating_sub(HEADER_OCTETS);
        }
        let mut frame = Payload::new();
        if pages.is_empty() && left <= SMALL_OCTETS {
            frame.push(Octets::copy_of(&scratch[..left]));
        }
        for page in pages {
            let octets = left.min(pool.page_octets());
            left -= octets;
            if octets > 0 {
                frame.push(page.freeze(0..octets));
            }
        }
        let is_valid = header[0] & (NEEDS_CHECKSUM | CHECKSUM_IS_VALID) != 0;
        let checksum = if is_valid {
            Checksum::Valid
        } else {
            Checksum::Unverified
        };
        Ok(Some((frame, checksum)))
    }

    /// Sends a frame; a full device drops it.
    pub(crate) fn send(&self, frame: &Frame) -> io::Result<()> {
        let header = offload_header(frame);
        let mut parts: Vec<&[u8]> = Vec::with_capacity(8);
        match self.mode {
            Mode::Plain => {}
            Mode::Offload => parts.push(&header),
        }
        parts.push(frame.head());
        parts.extend(frame.payload.parts().iter().map(Octets::as_slice));
        match sys::write_vectored(&self.file, &parts) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            // The device is down: as a link without a cable.
            Err(error) if error.raw_os_error() == Some(libc::EIO) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn offload_header(frame: &Frame) -> [u8; HEADER_OCTETS] {
    let mut header = [0; HEADER_OCTETS];
    if let Some(partial) = frame.checksum {
        header[0] = NEEDS_CHECKSUM;
        header[6..8].copy_from_slice(&partial.start.to_le_bytes());
        header[8..10].copy_from_slice(&partial.offset.to_le_bytes());
    }
    if let Some(gso) = frame.gso {
        header[1] = if gso.is_ipv4 { GSO_TCPV4 } else { GSO_TCPV6 };
        header[2..4].copy_from_slice(&gso.header_octets.to_le_bytes());
        header[4..6].copy_from_slice(&gso.segment_octets.to_le_bytes());
    }
    header
}

/// Headers with all options, and a little.
const SMALL_OCTETS: usize = 256;
/// What an IP packet can be, and Ethernet's header.
pub(crate) const FRAME_OCTETS_MOST: u32 = 65_535;
const HEADER_OCTETS: usize = 10;
const NEEDS_CHECKSUM: u8 = 1;
const CHECKSUM_IS_VALID: u8 = 2;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
