//! The header (RFC 9293 section 3.1).

use core::fmt;

use synhop_option::MAX_OPTIONS_OCTETS;

use super::options::Options;
use crate::pool::{Octets, Payload};
use crate::seq::Seq;

/// The control bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// No more data from the sender.
    pub const FIN: Self = Self(0x01);
    /// Synchronize sequence numbers.
    pub const SYN: Self = Self(0x02);
    /// Reset the connection.
    pub const RST: Self = Self(0x04);
    /// Push.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgement number counts.
    pub const ACK: Self = Self(0x10);

    /// Both sets of bits.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all bits of `other` are set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The octet in the header.
    pub const fn octet(self) -> u8 {
        self.0
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Self::SYN, 'S'),
            (Self::FIN, 'F'),
            (Self::RST, 'R'),
            (Self::PSH, 'P'),
            (Self::ACK, '.'),
        ];
        for (flag, name) in names {
            if self.has(flag) {
                write!(f, "{name}")?;
            }
        }
        Ok(())
    }
}

/// A segment between two known addresses.
#[derive(Clone, Debug)]
pub struct Segment {
    /// The sender's port.
    pub source_port: u16,
    /// The receiver's port.
    pub destination_port: u16,
    /// Sequence number of the first octet, or of the SYN.
    pub seq: Seq,
    /// The next octet that the sender expects; counts with [`Flags::ACK`].
    pub ack: Seq,
    /// Control bits.
    pub flags: Flags,
    /// The window as it is in the header, not scaled.
    pub window: u16,
    /// What the options say.
    pub options: Options,
    /// The octets of the option list.
    pub raw_options: Octets,
    /// The data.
    pub payload: Payload,
}

/// Why octets are no segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// There are fewer octets than the header takes.
    Truncated {
        /// How many there are.
        len_octets: usize,
    },
    /// The data offset counts less than the fixed header.
    BadDataOffset {
        /// In words of 4 octets.
        words: u8,
    },
    /// A port of 0 (RFC 9293 does not forbid it; nothing listens there).
    PortZero,
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { len_octets } => {
                write!(f, "the TCP header is cut off after {len_octets} octets")
            }
            Self::BadDataOffset { words } => write!(f, "a data offset of {words} words"),
            Self::PortZero => f.write_str("a port of 0"),
        }
    }
}

impl core::error::Error for HeaderError {}

impl Segment {
    /// Reads a segment whose checksum is known to be right. The whole header must lie in the first
    /// part.
    pub fn parse(mut octets: Payload) -> Result<Self, HeaderError> {
        let head = octets.parts().first().cloned();
        let head = head.unwrap_or_else(|| Octets::copy_of(&[]));
        let truncated = HeaderError::Truncated {
            len_octets: head.len(),
        };
        let fixed = head.as_slice().first_chunk::<FIXED_OCTETS>();
        let fixed = *fixed.ok_or(truncated)?;
        let words = fixed[12] >> 4;
        let header_octets = usize::from(words) * 4;
        if header_octets < FIXED_OCTETS {
            return Err(HeaderError::BadDataOffset { words });
        }
        if head.len() < header_octets {
            return Err(truncated);
        }
        let half = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
        let word = |at: usize| (u32::from(half(at)) << 16) | u32::from(half(at + 2));
        if half(0) == 0 || half(2) == 0 {
            return Err(HeaderError::PortZero);
        }
        let raw_options = head.slice(FIXED_OCTETS..header_octets);
        octets.trim_start(header_octets);
        Ok(Self {
            source_port: half(0),
            destination_port: half(2),
            seq: Seq::new(word(4)),
            ack: Seq::new(word(8)),
            flags: Flags(fixed[13] & 0x1f),
            window: half(14),
            options: Options::parse(raw_options.as_slice()),
            raw_options,
            payload: octets,
        })
    }

    /// Octets of sequence space: the data, the SYN and the FIN.
    pub fn len(&self) -> u32 {
        let data = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        data + u32::from(self.flags.has(Flags::SYN)) + u32::from(self.flags.has(Flags::FIN))
    }

    /// Whether it takes no sequence space.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether answering it by an ACK each time could go on for ever, the other side doing the same:
    /// what carries data or a FIN is never an answer.
    pub(crate) fn may_be_part_of_a_loop(&self) -> bool {
        self.flags.has(Flags::SYN) || (self.payload.is_empty() && !self.flags.has(Flags::FIN))
    }

    /// The sequence number behind it.
    pub fn end(&self) -> Seq {
        self.seq.plus(self.len())
    }
}

/// A header to be sent; its checksum field is 0.
#[derive(Clone, Copy)]
pub struct Header {
    octets: [u8; MAX_HEADER_OCTETS],
    len: usize,
}

impl Header {
    /// The octets.
    pub fn as_slice(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
    }

    /// The octets, to fill the checksum in at offset 16.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.octets.get_mut(..self.len).unwrap_or_default()
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut head = Payload::new();
        head.push(Octets::copy_of(self.as_slice()));
        match Segment::parse(head) {
            Ok(segment) => segment.fmt(f),
            Err(error) => error.fmt(f),
        }
    }
}

/// The fields of a header to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    pub source_port: u16,
    pub destination_port: u16,
    pub seq: Seq,
    pub ack: Seq,
    pub flags: Flags,
    pub window: u16,
    pub options: &'a Options,
    /// An option in octets that follows the others; left out if there is no room.
    pub appended: &'a [u8],
}

/// Writes a header.
pub(crate) fn emit(fields: &Fields<'_>) -> Header {
    let mut own = [0; MAX_OPTIONS_OCTETS];
    let own_octets = fields.options.emit(&mut own);
    let mut all = [0; MAX_OPTIONS_OCTETS];
    let own = own.get(..own_octets).unwrap_or_default();
    let options_octets = if fields.appended.is_empty() {
        all[..own.len()].copy_from_slice(own);
        own.len()
    } else {
        append(own, fields.appended, &mut all)
    };
    let len = FIXED_OCTETS + options_octets;
    let mut octets = [0; MAX_HEADER_OCTETS];
    octets[0..2].copy_from_slice(&fields.source_port.to_be_bytes());
    octets[2..4].copy_from_slice(&fields.destination_port.to_be_bytes());
    octets[4..8].copy_from_slice(&fields.seq.get().to_be_bytes());
    octets[8..12].copy_from_slice(&fields.ack.get().to_be_bytes());
    #[expect(clippy::cast_possible_truncation, reason = "at most 60 octets")]
    {
        octets[12] = ((len / 4) as u8) << 4;
    }
    octets[13] = fields.flags.octet();
    octets[14..16].copy_from_slice(&fields.window.to_be_bytes());
    octets[FIXED_OCTETS..len].copy_from_slice(&all[..options_octets]);
    Header { octets, len }
}

/// Puts an option behind others; both padded to words. Returns the length.
fn append(own: &[u8], option: &[u8], all: &mut [u8; MAX_OPTIONS_OCTETS]) -> usize {
    let len = own.len() + option.len().next_multiple_of(4);
    if len > all.len() {
        all[..own.len()].copy_from_slice(own);
        return own.len();
    }
    all[..own.len()].copy_from_slice(own);
    all[own.len()..own.len() + option.len()].copy_from_slice(option);
    all[own.len() + option.len()..len].fill(synhop_option::View::NOP);
    len
}

const FIXED_OCTETS: usize = 20;
const MAX_HEADER_OCTETS: usize = FIXED_OCTETS + MAX_OPTIONS_OCTETS;
