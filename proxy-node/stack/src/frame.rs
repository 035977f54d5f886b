//! Frames on their way to a device, and what devices do for us.

use synhop_engine::Payload;

/// What a device can do with what we send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// It finishes checksums ([`Partial`]).
    pub checksum: bool,
    /// The most octets of a frame that it cuts into segments; 0 if it cuts none.
    pub frame_octets_most: u32,
}

/// What a device says of a frame it received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// Nothing.
    Unverified,
    /// It is right, or never left this machine and needs none.
    Valid,
}

/// A checksum that the device finishes: from `start` to the end, put at `start + offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partial {
    /// Where the sum begins, octets from the start of the frame.
    pub start: u16,
    /// Where it goes, from `start`.
    pub offset: u16,
}

/// A frame that the device cuts into segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gso {
    /// Whether it is IPv4, else IPv6.
    pub is_ipv4: bool,
    /// Data octets of each.
    pub segment_octets: u16,
    /// The headers that each repeats.
    pub header_octets: u16,
}

/// A frame to be sent.
#[derive(Clone, Debug)]
pub struct Frame {
    head: [u8; MAX_HEAD_OCTETS],
    head_octets: usize,
    /// What follows the headers.
    pub payload: Payload,
    /// What the device is to do about the checksum.
    pub checksum: Option<Partial>,
    /// Whether and how it is to be cut.
    pub gso: Option<Gso>,
}

impl Frame {
    /// A frame of these headers. What does not fit is cut: ours all do.
    pub(crate) fn new(head: &[u8], payload: Payload) -> Self {
        let mut frame = Self {
            head: [0; MAX_HEAD_OCTETS],
            head_octets: head.len().min(MAX_HEAD_OCTETS),
            payload,
            checksum: None,
            gso: None,
        };
        frame.head[..frame.head_octets].copy_from_slice(&head[..frame.head_octets]);
        frame
    }

    /// The headers.
    pub fn head(&self) -> &[u8] {
        self.head.get(..self.head_octets).unwrap_or_default()
    }

    pub(crate) fn head_mut(&mut self) -> &mut [u8] {
        self.head.get_mut(..self.head_octets).unwrap_or_default()
    }

    /// Octets in all.
    pub fn len(&self) -> usize {
        self.head_octets + self.payload.len()
    }

    /// Never.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Ethernet, IPv6 and TCP with all options.
const MAX_HEAD_OCTETS: usize = 14 + 40 + 60;
