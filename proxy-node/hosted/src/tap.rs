//! A TAP device, with or without offloads (virtio 1.2 section 5.1.6's header).

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
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
    /// A frame of many segments lies in one of these, in one piece, as long as there are any; the
    /// stack's own pages are for what is smaller, and for when there are none.
    large: Pool,
}

/// A frame that has come, and what is known of its checksum.
pub(crate) type Received = (Payload, Checksum);

impl Tap {
    /// `large_octets` is the memory for frames of many segments; only with offloads are there any.
    pub(crate) fn open(name: &str, mode: Mode, large_octets: usize) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/net/tun")?;
        sys::make_tap(&file, name, mode == Mode::Offload)?;
        let large = Pool::new(large_octets / LARGE_PAGE_OCTETS, LARGE_PAGE_OCTETS);
        Ok(Self { file, mode, large })
    }

    /// The next frame; `None` when there is none. When all pages are lent it is lost, but not a
    /// small one: acknowledgements are what sets pages free.
    pub(crate) fn receive(&self, pool: &Pool) -> io::Result<Option<Received>> {
        let mut header = [0; HEADER_OCTETS];
        let frame = match self.large.take() {
            Some(page) => self.receive_in_one(&mut header, page, pool)?,
            None => self.receive_in_pages(&mut header, pool)?,
        };
        let is_valid = header[0] & (NEEDS_CHECKSUM | CHECKSUM_IS_VALID) != 0;
        let checksum = if is_valid {
            Checksum::Valid
        } else {
            Checksum::Unverified
        };
        Ok(frame.map(|frame| (frame, checksum)))
    }

    /// Into a large page; from there into the pool's if it is small.
    fn receive_in_one(
        &self,
        header: &mut [u8],
        mut page: Page,
        pool: &Pool,
    ) -> io::Result<Option<Payload>> {
        let mut slices = [header, page.octets_mut()].map(io::IoSliceMut::new);
        let Some(octets) = self.read(&mut slices)? else {
            return Ok(None);
        };
        if octets > WORTH_A_LARGE_PAGE {
            return Ok(Some(page.freeze(0..octets).into()));
        }
        Ok(Some(copy(page.octets_mut().get(..octets), pool)))
    }

    fn receive_in_pages(&self, header: &mut [u8], pool: &Pool) -> io::Result<Option<Payload>> {
        let wanted = match self.mode {
            Mode::Plain => 1,
            Mode::Offload => LARGE_PAGE_OCTETS.div_ceil(pool.page_octets()),
        };
        let mut pages: Vec<Page> = (0..wanted).map_while(|_| pool.take()).collect();
        // Where a frame goes that nobody has room for.
        let mut scratch = [0; 2048];
        let mut slices = Vec::with_capacity(1 + pages.len());
        match self.mode {
            Mode::Plain => {}
            Mode::Offload => slices.push(io::IoSliceMut::new(header)),
        }
        if pages.is_empty() {
            slices.push(io::IoSliceMut::new(&mut scratch));
        }
        slices.extend(
            pages
                .iter_mut()
                .map(|page| io::IoSliceMut::new(page.octets_mut())),
        );
        let Some(mut left) = self.read(&mut slices)? else {
            return Ok(None);
        };
        if pages.is_empty() {
            return Ok(Some(copy(scratch.get(..left), pool)));
        }
        let mut frame = Payload::new();
        for page in pages {
            let octets = left.min(pool.page_octets());
            left -= octets;
            if octets > 0 {
                frame.push(page.freeze(0..octets));
            }
        }
        Ok(Some(frame))
    }

    /// Octets of the frame that was read, behind the header; `None` when there is none.
    fn read(&self, slices: &mut [io::IoSliceMut<'_>]) -> io::Result<Option<usize>> {
        let header_octets = match self.mode {
            Mode::Plain => 0,
            Mode::Offload => HEADER_OCTETS,
        };
        match (&self.file).read_vectored(slices) {
            Ok(octets) => Ok(Some(octets.saturating_sub(header_octets))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a frame; a full device drops it.
    pub(crate) fn send(&self, frame: &Frame) -> io::Result<()> {
        let header = offload_header(frame);
        let payload = frame.payload.parts();
        let mut slices = Vec::with_capacity(2 + payload.len());
        match self.mode {
            Mode::Plain => {}
            Mode::Offload => slices.push(io::IoSlice::new(&header)),
        }
        slices.push(io::IoSlice::new(frame.head()));
        slices.extend(payload.iter().map(|part| io::IoSlice::new(part.as_slice())));
        match (&self.file).write_vectored(&slices) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            // The device is down: as a link without a cable.
            Err(error) if error.raw_os_error() == Some(libc::EIO) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// A copy in pages of the pool. Nothing if there are too few, unless it is small.
fn copy(octets: Option<&[u8]>, pool: &Pool) -> Payload {
    let octets = octets.unwrap_or_default();
    let mut frame = Payload::new();
    for chunk in octets.chunks(pool.page_octets()) {
        match pool.take() {
            Some(mut page) => {
                page.octets_mut()[..chunk.len()].copy_from_slice(chunk);
                frame.push(page.freeze(0..chunk.len()));
            }
            None if octets.len() <= SMALL_OCTETS => frame.push(Octets::copy_of(chunk)),
            None => return Payload::new(),
        }
    }
    frame
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

/// A frame of [`FRAME_OCTETS_MOST`], and what is left of a page of the kernel's.
const LARGE_PAGE_OCTETS: usize = 17 * 4096;
/// Below that a copy costs less than what a large page is missed for.
const WORTH_A_LARGE_PAGE: usize = 8192;
/// Headers with all options, and a little.
const SMALL_OCTETS: usize = 256;
/// What an IP packet can be, and Ethernet's header.
pub(crate) const FRAME_OCTETS_MOST: u32 = 65_535;
const HEADER_OCTETS: usize = 10;
const NEEDS_CHECKSUM: u8 = 1;
const CHECKSUM_IS_VALID: u8 = 2;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_lies_in_pages_and_a_small_one_needs_none() {
        let pool = Pool::new(2, 2048);
        let octets: Vec<u8> = (0..=255).cycle().take(4000).collect();
        let kept = copy(Some(&octets), &pool);
        assert_eq!((kept.to_vec(), pool.free()), (octets.clone(), 0));
        assert!(copy(Some(&octets), &pool).is_empty());
        assert_eq!(copy(Some(&octets[..200]), &pool).to_vec(), octets[..200]);
        drop(kept);
        assert_eq!(pool.free(), 2);
    }
}
