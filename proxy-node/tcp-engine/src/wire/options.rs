//! The options that the engine knows (RFC 9293 section 3.1, RFC 7323, RFC 2018).

use smallvec::SmallVec;
use synhop_option::{MAX_OPTIONS_OCTETS, Options as Views, View};

use crate::seq::Seq;

/// `TSval` and `TSecr` (RFC 7323 section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamps {
    /// The sender's clock.
    pub value: u32,
    /// The last clock that the sender saw from the other side; 0 without ACK.
    pub echo: u32,
}

/// Octets that have arrived out of order: from `start` up to, not including, `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SackBlock {
    /// The first octet.
    pub start: Seq,
    /// The one after the last.
    pub end: Seq,
}

/// At most four: what the option space holds (RFC 2018 section 3).
pub(crate) type SackBlocks = SmallVec<[SackBlock; 4]>;

/// The options of one segment. What is unknown or of a wrong length counts as absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Maximum segment size; only SYNs have it.
    pub mss: Option<u16>,
    /// Window scale, 0 to 14; only SYNs have it.
    pub window_scale: Option<u8>,
    /// Whether SACK may be used; only SYNs have it.
    pub sack_permitted: bool,
    /// Timestamps.
    pub timestamps: Option<Timestamps>,
    /// Selective acknowledgements.
    pub sack: SmallVec<[SackBlock; 4]>,
}

impl Options {
    /// Reads an option list. A malformed one is read up to the fault.
    pub fn parse(octets: &[u8]) -> Self {
        let mut options = Self::default();
        for view in Views::new(octets) {
            let Ok(view) = view else { break };
            options.take(&view);
        }
        options
    }

    fn take(&mut self, view: &View<'_>) {
        match (view.kind, view.data) {
            (MSS, &[high, low]) => self.mss = Some(u16::from_be_bytes([high, low])),
            // RFC 7323 section 2.3: more than 14 means 14.
            (WINDOW_SCALE, &[shift]) => self.window_scale = Some(shift.min(MAX_WINDOW_SCALE)),
            (SACK_PERMITTED, &[]) => self.sack_permitted = true,
            (TIMESTAMPS, data) => {
                if let (Some(value), Some(echo), 8) = (word(data, 0), word(data, 4), data.len()) {
                    self.timestamps = Some(Timestamps { value, echo });
                }
            }
            (SACK, data) if data.len() % 8 == 0 && data.len() <= 32 => {
                for block in data.chunks_exact(8) {
                    if let (Some(start), Some(end)) = (word(block, 0), word(block, 4)) {
                        let (start, end) = (Seq::new(start), Seq::new(end));
                        if end.is_after(start) {
                            self.sack.push(SackBlock { start, end });
                        }
                    }
                }
            }
            _ => {}
        }
    }

    /// Writes them, padded with NOP to a multiple of 4, and returns the length. SACK blocks that do
    /// not fit are left out; the rest always fits, being at most 20 octets.
    pub(crate) fn emit(&self, out: &mut [u8; MAX_OPTIONS_OCTETS]) -> usize {
        let mut writer = Writer { out, len: 0 };
        if let Some(mss) = self.mss {
            writer.put(&[MSS, 4]);
            writer.put(&mss.to_be_bytes());
        }
        if self.sack_permitted {
            // Before the timestamps, to align them.
            writer.put(&[SACK_PERMITTED, 2]);
        }
        if let Some(Timestamps { value, echo }) = self.timestamps {
            if !self.sack_permitted {
                writer.put(&[View::NOP, View::NOP]);
            }
            writer.put(&[TIMESTAMPS, 10]);
            writer.put(&value.to_be_bytes());
            writer.put(&echo.to_be_bytes());
        } else if self.sack_permitted {
            writer.put(&[View::NOP, View::NOP]);
        }
        if let Some(shift) = self.window_scale {
            writer.put(&[View::NOP, WINDOW_SCALE, 3, shift]);
        }
        writer.put_sack(&self.sack);
        writer.len
    }
}

struct Writer<'a> {
    out: &'a mut [u8; MAX_OPTIONS_OCTETS],
    len: usize,
}

impl Writer<'_> {
    fn put(&mut self, octets: &[u8]) {
        if let Some(room) = self.out.get_mut(self.len..self.len + octets.len()) {
            room.copy_from_slice(octets);
            self.len += octets.len();
        }
    }

    fn put_sack(&mut self, blocks: &[SackBlock]) {
        let fit = (MAX_OPTIONS_OCTETS - self.len).saturating_sub(4) / 8;
        let blocks = &blocks[..blocks.len().min(fit)];
        if blocks.is_empty() {
            return;
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most 4 blocks")]
        let len = (2 + blocks.len() * 8) as u8;
        self.put(&[View::NOP, View::NOP, SACK, len]);
        for block in blocks {
            self.put(&block.start.get().to_be_bytes());
            self.put(&block.end.get().to_be_bytes());
        }
    }
}

fn word(data: &[u8], at: usize) -> Option<u32> {
    let octets = data.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*octets))
}

const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;
const TIMESTAMPS: u8 = 8;
const MAX_WINDOW_SCALE: u8 = 14;

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use quickcheck::quickcheck;

    use super::*;

    #[test]
    fn malformed_options_are_absent() {
        // An MSS of length 3, then a good window scale, then one that is cut off.
        let options = Options::parse(&[2, 3, 5, 3, 3, 15, 8, 10, 1]);
        assert_eq!(options.window_scale, Some(14));
        assert_eq!((options.mss, options.timestamps), (None, None));
    }

    quickcheck! {
        fn what_is_written_is_read(
            mss: Option<u16>, shift: Option<u8>, permitted: bool, times: Option<(u32, u32)>,
            blocks: Vec<(u32, u16)>
        ) -> bool {
            let blocks = blocks.iter().filter(|(_, len)| *len > 0).take(4);
            let mut options = Options {
                mss,
                window_scale: shift.map(|shift| shift % 15),
                sack_permitted: permitted,
                timestamps: times.map(|(value, echo)| Timestamps { value, echo }),
                sack: SackBlocks::new(),
            };
            let mut out = [0xa5; MAX_OPTIONS_OCTETS];
            let fit = (MAX_OPTIONS_OCTETS - 4 - options.emit(&mut out)) / 8;
            options.sack = blocks.map(|(start, len)| SackBlock {
                start: Seq::new(*start),
                end: Seq::new(*start).plus(u32::from(*len)),
            }).collect();
            let mut out = [0xa5; MAX_OPTIONS_OCTETS];
            let len = options.emit(&mut out);
            options.sack.truncate(fit);
            let read = Options::parse(&out[..len]);
            len.is_multiple_of(4) && read == options
        }

        fn no_octets_panic(octets: Vec<u8>) -> bool {
            Options::parse(&octets).sack.len() <= 32
        }
    }
}
