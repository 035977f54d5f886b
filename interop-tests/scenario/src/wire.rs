//! TCP segments in octets, as they are: what the engine's own parser does is part of what is tested,
//! so it is not used here.

/// A segment without its IP header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Segment {
    pub source_port: u16,
    pub destination_port: u16,
    pub seq: u32,
    pub ack: u32,
    pub flags: Flags,
    pub window: u16,
    pub options: Vec<TcpOption>,
    pub payload: Vec<u8>,
}

/// The control bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags(pub u8);

impl Flags {
    pub(crate) const FIN: u8 = 0x01;
    pub(crate) const SYN: u8 = 0x02;
    pub(crate) const RST: u8 = 0x04;
    pub(crate) const PSH: u8 = 0x08;
    pub(crate) const ACK: u8 = 0x10;
    /// The letters of scripts, in the order in which they are printed.
    pub(crate) const LETTERS: [(char, u8); 5] = [
        ('S', Self::SYN),
        ('F', Self::FIN),
        ('R', Self::RST),
        ('P', Self::PSH),
        ('.', Self::ACK),
    ];

    pub(crate) const fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }

    /// Without PSH, which says nothing that a peer must heed.
    pub(crate) const fn that_matter(self) -> u8 {
        self.0 & (Self::FIN | Self::SYN | Self::RST | Self::ACK)
    }
}

/// An option; padding is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TcpOption {
    Mss(u16),
    WindowScale(u8),
    SackPermitted,
    Timestamps { value: u32, echo: u32 },
    Sack(Vec<(u32, u32)>),
    Other(Vec<u8>),
}

impl Segment {
    /// The octets; the checksum is 0.
    pub(crate) fn emit(&self) -> Vec<u8> {
        let mut options = Vec::new();
        for option in &self.options {
            option.emit(&mut options);
        }
        options.resize(options.len().next_multiple_of(4).min(40), NOP);
        let mut octets = Vec::with_capacity(20 + options.len() + self.payload.len());
        octets.extend(self.source_port.to_be_bytes());
        octets.extend(self.destination_port.to_be_bytes());
        octets.extend(self.seq.to_be_bytes());
        octets.extend(self.ack.to_be_bytes());
        let words = u8::try_from(5 + options.len() / 4).unwrap_or(15);
        octets.extend([words << 4, self.flags.0]);
        octets.extend(self.window.to_be_bytes());
        octets.extend([0; 4]);
        octets.extend(options);
        octets.extend(&self.payload);
        octets
    }

    /// Reads a segment; `None` if it is cut off.
    pub(crate) fn parse(octets: &[u8]) -> Option<Self> {
        let fixed = octets.first_chunk::<20>()?;
        let header_octets = usize::from(fixed[12] >> 4) * 4;
        let options = octets.get(20..header_octets)?;
        let half = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
        let word = |at: usize| (u32::from(half(at)) << 16) | u32::from(half(at + 2));
        Some(Self {
            source_port: half(0),
            destination_port: half(2),
            seq: word(4),
            ack: word(8),
            flags: Flags(fixed[13]),
            window: half(14),
            options: parse_options(options),
            payload: octets.get(header_octets..)?.to_vec(),
        })
    }

    pub(crate) fn timestamp(&self) -> Option<u32> {
        self.options.iter().find_map(|option| match option {
            TcpOption::Timestamps { value, .. } => Some(*value),
            TcpOption::Mss(_)
            | TcpOption::WindowScale(_)
            | TcpOption::SackPermitted
            | TcpOption::Sack(_)
            | TcpOption::Other(_) => None,
        })
    }
}

impl TcpOption {
    fn emit(&self, out: &mut Vec<u8>) {
        match self {
            Self::Mss(mss) => {
                out.extend([MSS, 4]);
                out.extend(mss.to_be_bytes());
            }
            Self::WindowScale(shift) => out.extend([NOP, WINDOW_SCALE, 3, *shift]),
            Self::SackPermitted => out.extend([SACK_PERMITTED, 2]),
            Self::Timestamps { value, echo } => {
                out.extend([TIMESTAMPS, 10]);
                out.extend(value.to_be_bytes());
                out.extend(echo.to_be_bytes());
            }
            Self::Sack(blocks) => {
                let len = u8::try_from(2 + 8 * blocks.len()).unwrap_or(u8::MAX);
                out.extend([SACK, len]);
                for (start, end) in blocks {
                    out.extend(start.to_be_bytes());
                    out.extend(end.to_be_bytes());
                }
            }
            Self::Other(octets) => out.extend(octets),
        }
    }

    fn parse(kind: u8, data: &[u8]) -> Self {
        let word = |at: usize| {
            data.get(at..)
                .and_then(<[u8]>::first_chunk::<4>)
                .map_or(0, |four| u32::from_be_bytes(*four))
        };
        match (kind, data.len()) {
            (MSS, 2) => Self::Mss(u16::from_be_bytes([data[0], data[1]])),
            (WINDOW_SCALE, 1) => Self::WindowScale(data[0]),
            (SACK_PERMITTED, 0) => Self::SackPermitted,
            (TIMESTAMPS, 8) => Self::Timestamps {
                value: word(0),
                echo: word(4),
            },
            (SACK, len) if len % 8 == 0 => {
                let starts = (0..len).step_by(8);
                Self::Sack(starts.map(|at| (word(at), word(at + 4))).collect())
            }
            (_, _) => Self::Other([&[kind], data].concat()),
        }
    }
}

fn parse_options(mut octets: &[u8]) -> Vec<TcpOption> {
    let mut options = Vec::new();
    loop {
        octets = match octets {
            [NOP, rest @ ..] => rest,
            [kind @ 2..=u8::MAX, len @ 2..=u8::MAX, ..] if usize::from(*len) <= octets.len() => {
                let (option, rest) = octets.split_at(usize::from(*len));
                options.push(TcpOption::parse(*kind, &option[2..]));
                rest
            }
            [] | [END, ..] => return options,
            [_, ..] => {
                options.push(TcpOption::Other(octets.to_vec()));
                return options;
            }
        };
    }
}

/// The Internet checksum of octets (RFC 1071).
pub(crate) fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for part in parts {
        for pair in part.chunks(2) {
            let low = pair.get(1).copied().unwrap_or(0);
            sum += u32::from(u16::from_be_bytes([pair[0], low]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// The octet that both sides send at an offset of their stream, the first being at 1.
pub(crate) fn stream_octet(offset: u32) -> u8 {
    let [low, next, ..] = offset.to_le_bytes();
    low.wrapping_mul(31).wrapping_add(next)
}

const END: u8 = 0;
const NOP: u8 = 1;
const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;
const TIMESTAMPS: u8 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let segment = Segment {
            source_port: 1,
            destination_port: 2,
            seq: 0x0102_0304,
            ack: 0xa0a0_b0b0,
            flags: Flags(Flags::SYN | Flags::ACK),
            window: 77,
            options: vec![
                TcpOption::Mss(1460),
                TcpOption::SackPermitted,
                TcpOption::Timestamps { value: 5, echo: 6 },
                TcpOption::WindowScale(7),
                TcpOption::Sack(vec![(1, 2)]),
            ],
            payload: vec![1, 2, 3],
        };
        assert_eq!(Segment::parse(&segment.emit()), Some(segment));
    }
}
