//! The network device (virtio 1.1 section 5.1).

use core::fmt;

use synhop_stack::{Checksum, Frame, Octets, Offload, Page, Payload, Pool};

use super::features;
use super::mmio::{Found, Place, Register, Transport};
use super::queue::{Buffer, Part, Queue};

/// The device's kind.
const NETWORK: u32 = 1;

/// Steps of the set-up.
mod status {
    pub(super) const ACKNOWLEDGE: u32 = 1;
    pub(super) const DRIVER: u32 = 2;
    pub(super) const DRIVER_OK: u32 = 4;
    pub(super) const FEATURES_OK: u32 = 8;
}

/// Descriptors of a queue at most: half of a page of them, so that a small machine has room.
const QUEUE_SIZE: u16 = 256;

/// Octets of the header before each frame.
const HEADER_OCTETS: usize = 12;
/// Header flag: the checksum is to be finished, or need not be checked.
const NEEDS_CHECKSUM: u8 = 1;
/// Header flag: the checksum was found right.
const VALID: u8 = 2;
/// Header: how to cut.
const CUT_TCP4: u8 = 1;
const CUT_TCP6: u8 = 4;

/// The most octets of a frame that is to be cut: those of an IP packet.
const CUT_OCTETS_MOST: u32 = 65_535;

/// A part of the pool's pages at most is with the device to be filled: one in this many.
const POOL_SHARE: usize = 4;

/// So many pages stay for the device: as many as its longest frame takes, and some. When the pool
/// has no more, the octets of frames are not kept; else a frame that waits for pages would hold
/// back the acknowledgements behind it, which alone set pages free.
const RESERVE: usize = 40;

// The longest frame that is merged fits, with its header, into pages of the pool's size.
const _: () = assert!(RESERVE * 2048 >= 65_535 + 14 + HEADER_OCTETS);

/// Frames up to this long are copied when only the reserve is left: those without data.
const COPIED_OCTETS_MOST: usize = 256;

/// Why there is no network device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NetError {
    /// No transport has one.
    None,
    /// There is one that can only be used by the legacy interface.
    Legacy,
    /// It does not accept the features that this driver needs.
    Features,
    /// A queue is missing, or there is no memory for it.
    Queue,
}

impl fmt::Display for NetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "no virtio-net device on a virtio-mmio transport",
            Self::Legacy => {
                "the virtio-mmio transport is a legacy one (QEMU: -global virtio-mmio.force-legacy=false)"
            }
            Self::Features => "the device refuses virtio version 1",
            Self::Queue => "the device's queues cannot be set up",
        })
    }
}

/// A page that the device fills.
#[derive(Debug)]
struct Empty(Page);

// SAFETY: the part is the whole page, which belongs to `self` alone.
unsafe impl Buffer for Empty {
    fn count(&self) -> usize {
        1
    }

    fn parts(&mut self, mut add: impl FnMut(Part)) {
        if let Some(part) = Part::write(self.0.octets_mut()) {
            add(part);
        }
    }
}

/// A frame that the device sends.
#[derive(Debug)]
struct Outgoing {
    header: [u8; HEADER_OCTETS],
    frame: Frame,
}

// SAFETY: header and head lie in `self`; the payload's octets are shared, so nobody writes to them,
// and `self` holds references to them.
unsafe impl Buffer for Outgoing {
    fn count(&self) -> usize {
        2 + self.frame.payload.parts().len()
    }

    fn parts(&mut self, mut add: impl FnMut(Part)) {
        let own = [self.header.as_slice(), self.frame.head()];
        let payload = self.frame.payload.parts().iter().map(Octets::as_slice);
        own.into_iter()
            .chain(payload)
            .filter_map(Part::read)
            .for_each(&mut add);
    }
}

/// What is kept of a frame that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    /// The pages that it came in.
    Pages,
    /// A copy; its pages are for the next frames.
    Copy,
    /// Nothing.
    Nothing,
}

impl Keep {
    /// For a frame of so many octets, with so many pages left for those to come; see [`RESERVE`].
    const fn of(octets: usize, pages_left: usize) -> Self {
        if pages_left >= RESERVE {
            Self::Pages
        } else if octets <= COPIED_OCTETS_MOST {
            Self::Copy
        } else {
            Self::Nothing
        }
    }
}

/// A frame of which some buffers have not been looked at yet.
#[derive(Debug)]
struct Assembly {
    frame: Payload,
    checksum: Checksum,
    missing: u16,
}

/// The device, running.
#[derive(Debug)]
pub(crate) struct Net {
    transport: Transport,
    line: Option<u32>,
    features: u64,
    mac: [u8; 6],
    receive: Queue<Empty>,
    send: Queue<Outgoing>,
    /// Buffers that the device has for frames to come.
    posted: usize,
    /// Frames that were not kept for want of pages.
    dropped: u64,
    assembly: Option<Assembly>,
    /// A frame did not fit: room is to be reported.
    blocked: bool,
    /// The pool had fewer pages than the device could have: sent ones are waited for.
    short: bool,
}

impl Net {
    /// Finds the first network device at `places` and starts it. `fallback` is its address if it
    /// has none itself.
    ///
    /// # Safety
    /// The places must be what [`Place::all`] finds, mapped, and nobody else's.
    pub(crate) unsafe fn start(
        places: impl Iterator<Item = Place>,
        fallback: [u8; 6],
    ) -> Result<Self, NetError> {
        let mut error = NetError::None;
        for place in places {
            // SAFETY: the caller's contract.
            match unsafe { Transport::probe(place) } {
                Found::Device(transport, NETWORK) => {
                    return Self::start_device(transport, place.line, fallback);
                }
                Found::Legacy => error = NetError::Legacy,
                Found::Device(_, _) | Found::Nothing => {}
            }
        }
        Err(error)
    }

    fn start_device(
        transport: Transport,
        line: Option<u32>,
        fallback: [u8; 6],
    ) -> Result<Self, NetError> {
        let mut steps = status::ACKNOWLEDGE;
        let mut advance = |step| {
            steps |= step;
            transport.write(Register::Status, steps);
        };
        transport.write(Register::Status, 0);
        advance(status::ACKNOWLEDGE);
        advance(status::DRIVER);
        let used = features::choose(features::offered(&transport));
        features::accept(&transport, used);
        advance(status::FEATURES_OK);
        let accepted = transport.read(Register::Status) & status::FEATURES_OK != 0;
        if used & features::VERSION_1 == 0 || !accepted {
            return Err(NetError::Features);
        }
        let receive = Queue::new(&transport, 0, QUEUE_SIZE).ok_or(NetError::Queue)?;
        let send = Queue::new(&transport, 1, QUEUE_SIZE).ok_or(NetError::Queue)?;
        advance(status::DRIVER_OK);
        let mac = if used & features::MAC == 0 {
            fallback
        } else {
            [0, 1, 2, 3, 4, 5].map(|n| transport.configuration(n))
        };
        Ok(Self {
            transport,
            line,
            features: used,
            mac,
            receive,
            send,
            posted: 0,
            dropped: 0,
            assembly: None,
            blocked: false,
            short: false,
        })
    }

    /// Its Ethernet address.
    pub(crate) const fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// Its interrupt line, if that is known.
    pub(crate) const fn line(&self) -> Option<u32> {
        self.line
    }

    /// What it finishes.
    pub(crate) const fn offload(&self) -> Offload {
        let cuts = features::HOST_TSO4 | features::HOST_TSO6;
        Offload {
            checksum: self.features & features::CHECKSUM != 0,
            frame_octets_most: if self.features & cuts == cuts {
                CUT_OCTETS_MOST
            } else {
                0
            },
        }
    }

    /// Frames that were dropped for want of pages.
    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The next frame that has come.
    pub(crate) fn receive(&mut self, pool: &Pool) -> Option<(Payload, Checksum)> {
        self.reap();
        while let Some(done) = self.receive.pop() {
            self.posted -= 1;
            if let Some((frame, checksum)) = self.take_buffer(done.buffer.0, done.octets)
                && let Some(frame) = self.keep(frame, pool)
            {
                return Some((frame, checksum));
            }
        }
        self.post(pool);
        None
    }

    /// The frame, unless its pages are needed for others; see [`RESERVE`].
    fn keep(&mut self, frame: Payload, pool: &Pool) -> Option<Payload> {
        match Keep::of(frame.len(), self.posted + pool.free()) {
            Keep::Pages => Some(frame),
            Keep::Copy => Some(Octets::copy_of(&frame.to_vec()).into()),
            Keep::Nothing => {
                self.dropped += 1;
                None
            }
        }
    }

    /// Adds a filled buffer to the frame that it belongs to; that frame if it is whole now.
    fn take_buffer(&mut self, mut page: Page, octets: u32) -> Option<(Payload, Checksum)> {
        let end = usize::try_from(octets).unwrap_or(usize::MAX);
        let mut assembly = if let Some(mut assembly) = self.assembly.take() {
            assembly.frame.push(page.freeze(0..end));
            assembly.missing -= 1;
            assembly
        } else {
            let header = page.octets_mut().first_chunk::<HEADER_OCTETS>()?;
            let flags = header[0];
            let buffers = u16::from_le_bytes([header[10], header[11]]);
            let merged = self.features & features::MERGED_BUFFERS != 0;
            Assembly {
                checksum: if flags & (NEEDS_CHECKSUM | VALID) == 0 {
                    Checksum::Unverified
                } else {
                    Checksum::Valid
                },
                frame: page.freeze(HEADER_OCTETS..end).into(),
                missing: if merged { buffers.saturating_sub(1) } else { 0 },
            }
        };
        if assembly.missing > 0 {
            self.assembly = Some(assembly);
            return None;
        }
        let frame = core::mem::take(&mut assembly.frame);
        Some((frame, assembly.checksum))
    }

    /// Gives the device pages to fill.
    fn post(&mut self, pool: &Pool) {
        let wanted = self
            .receive
            .size()
            .min((pool.total() / POOL_SHARE).max(RESERVE));
        while self.posted < wanted
            && let Some(page) = pool.take()
            && self.receive.push(Empty(page)).is_ok()
        {
            self.posted += 1;
        }
        self.short = self.posted < wanted;
        self.receive.notify(&self.transport);
    }

    /// Sends a frame, with the next [`flush`](Self::flush); it comes back if there is no room.
    #[expect(clippy::result_large_err, reason = "as in `Platform`")]
    pub(crate) fn send(&mut self, mut frame: Frame) -> Result<(), Frame> {
        self.reap();
        if 2 + frame.payload.parts().len() > self.send.size() {
            // It would never fit.
            frame.payload = Octets::copy_of(&frame.payload.to_vec()).into();
        }
        let header = header(&frame);
        let refused = self.send.push(Outgoing { header, frame });
        self.blocked = refused.is_err();
        refused.map_err(|outgoing| outgoing.frame)
    }

    /// Lets go of what was sent: its pages go back to the pool.
    fn reap(&mut self) {
        while self.send.pop().is_some() {}
    }

    /// Tells the device what there is to send.
    pub(crate) fn flush(&mut self) {
        self.send.notify(&self.transport);
    }

    /// Takes note of the device's interrupts and asks for new ones. Whether it is safe to sleep:
    /// nothing has come meanwhile.
    pub(crate) fn prepare_sleep(&mut self) -> bool {
        self.transport.acknowledge();
        self.receive.want_interrupts(true);
        let waits = self.blocked || self.short;
        self.send.want_interrupts(waits);
        let has_room = waits && self.send.has_done();
        !self.receive.has_done() && !has_room
    }

    /// Wants no more interrupts.
    pub(crate) fn awake(&mut self) {
        self.receive.want_interrupts(false);
        self.send.want_interrupts(false);
    }
}

/// The header of a frame to be sent.
fn header(frame: &Frame) -> [u8; HEADER_OCTETS] {
    let mut header = [0; HEADER_OCTETS];
    let mut put = |at: usize, value: u16| {
        header[at..at + 2].copy_from_slice(&value.to_le_bytes());
    };
    if let Some(checksum) = frame.checksum {
        put(6, checksum.start);
        put(8, checksum.offset);
    }
    if let Some(gso) = frame.gso {
        put(2, gso.header_octets);
        put(4, gso.segment_octets);
    }
    header[0] = if frame.checksum.is_some() {
        NEEDS_CHECKSUM
    } else {
        0
    };
    header[1] = match frame.gso {
        None => 0,
        Some(gso) if gso.is_ipv4 => CUT_TCP4,
        Some(_) => CUT_TCP6,
    };
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_carries_no_data_is_kept_to_the_last_page() {
        assert_eq!(Keep::of(65_549, RESERVE), Keep::Pages);
        assert_eq!(Keep::of(1514, RESERVE - 1), Keep::Nothing);
        assert_eq!(Keep::of(14 + 40 + 60, 0), Keep::Copy);
    }
}
