//! Patterns and segments: making one from the other, comparing them, printing segments as patterns.

use std::fmt::Write as _;

use crate::script::{Echo, Field, OptionPattern, Options, Others, Pattern};
use crate::wire::{Flags, Segment, TcpOption, stream_octet};

/// Where relative numbers count from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Perspective {
    /// What is injected.
    pub injected_isn: u32,
    /// What comes from the host under test; unknown until its SYN.
    pub host_isn: Option<u32>,
    /// The last timestamp that came.
    pub last_timestamp: u32,
    /// The host's port, and that of what is injected.
    pub host_port: u16,
    pub remote_port: u16,
}

impl Perspective {
    fn host(&self, relative: i64) -> u32 {
        add(self.host_isn.unwrap_or(0), relative)
    }

    /// The octets' sequence number on the wire, of a segment of the host's.
    pub(crate) fn host_seq(&self, relative: i64) -> u32 {
        self.host(relative)
    }

    /// The segment that a pattern without anything open describes.
    pub(crate) fn make(&self, pattern: &Pattern) -> Segment {
        let (start, end) = match pattern.range {
            Field::Is(range) => range,
            Field::Any => (0, 0),
        };
        let ack = match pattern.ack {
            Some(Field::Is(ack)) => self.host(ack),
            Some(Field::Any) | None => 0,
        };
        let options = match &pattern.options {
            Options::Usual => Vec::new(),
            Options::Listed { options, .. } => options.iter().map(|one| self.option(one)).collect(),
        };
        Segment {
            source_port: self.remote_port,
            destination_port: self.host_port,
            seq: add(self.injected_isn, start),
            ack,
            flags: pattern.flags,
            window: given(pattern.window),
            options,
            payload: (start..end).map(|at| stream_octet(add(0, at))).collect(),
        }
    }

    fn option(&self, pattern: &OptionPattern) -> TcpOption {
        match pattern {
            OptionPattern::Mss(mss) => TcpOption::Mss(given(*mss)),
            OptionPattern::WindowScale(shift) => TcpOption::WindowScale(given(*shift)),
            OptionPattern::SackPermitted => TcpOption::SackPermitted,
            OptionPattern::Timestamps(value, echo) => TcpOption::Timestamps {
                value: given(*value),
                echo: match echo {
                    Echo::Is(echo) => *echo,
                    Echo::Last => self.last_timestamp,
                    Echo::Any => 0,
                },
            },
            OptionPattern::Sack(blocks) => {
                let block = |(start, end): &(i64, i64)| (self.host(*start), self.host(*end));
                TcpOption::Sack(blocks.iter().map(block).collect())
            }
            OptionPattern::Raw(octets) => TcpOption::Other(octets.clone()),
        }
    }

    /// What differs; empty when the segment is as the pattern says.
    pub(crate) fn differences(&self, pattern: &Pattern, segment: &Segment) -> Vec<String> {
        let mut differ = Vec::new();
        if pattern.flags.that_matter() != segment.flags.that_matter() {
            differ.push("flags".to_owned());
        }
        if let Field::Is((start, end)) = pattern.range {
            if segment.seq != self.host(start) {
                differ.push("sequence number".to_owned());
            }
            if i64::try_from(segment.payload.len()) != Ok(end - start) {
                differ.push(format!("length ({} octets came)", segment.payload.len()));
            } else if !self.is_stream(segment) {
                differ.push("data".to_owned());
            }
        }
        if let Some(Field::Is(ack)) = pattern.ack
            && segment.ack != add(self.injected_isn, ack)
            // What acknowledges nothing of ours is absolute.
            && i64::from(segment.ack) != ack
        {
            differ.push("acknowledgement".to_owned());
        }
        if !pattern.window.fits(&segment.window) {
            differ.push("window".to_owned());
        }
        differ.extend(self.option_differences(&pattern.options, &segment.options));
        differ
    }

    fn is_stream(&self, segment: &Segment) -> bool {
        let first = segment.seq.wrapping_sub(self.host_isn.unwrap_or(0));
        let mut offsets = (0..).map(|at: u32| first.wrapping_add(at));
        segment
            .payload
            .iter()
            .all(|octet| offsets.next().map(stream_octet) == Some(*octet))
    }

    fn option_differences(&self, wanted: &Options, came: &[TcpOption]) -> Vec<String> {
        let (patterns, others) = match wanted {
            Options::Usual => {
                let odd = came
                    .iter()
                    .filter(|option| !matches!(option, TcpOption::Timestamps { .. }));
                return odd.map(|option| format!("extra {option:?}")).collect();
            }
            Options::Listed { options, others } => (options, others),
        };
        let mut left: Vec<&TcpOption> = came.iter().collect();
        let mut differ = Vec::new();
        for pattern in patterns {
            let found = left
                .iter()
                .position(|option| self.option_fits(pattern, option));
            match found {
                Some(index) => {
                    left.remove(index);
                }
                None => differ.push(format!("no {pattern:?}")),
            }
        }
        if *others == Others::None {
            differ.extend(left.iter().map(|option| format!("extra {option:?}")));
        }
        differ
    }

    fn option_fits(&self, pattern: &OptionPattern, option: &TcpOption) -> bool {
        match (pattern, option) {
            (OptionPattern::Mss(wanted), TcpOption::Mss(mss)) => wanted.fits(mss),
            (OptionPattern::WindowScale(wanted), TcpOption::WindowScale(shift)) => {
                wanted.fits(shift)
            }
            (OptionPattern::SackPermitted, TcpOption::SackPermitted) => true,
            (
                OptionPattern::Timestamps(wanted, wanted_echo),
                TcpOption::Timestamps { value, echo },
            ) => {
                let echo_fits = match wanted_echo {
                    Echo::Any => true,
                    Echo::Is(wanted) => wanted == echo,
                    Echo::Last => *echo == self.last_timestamp,
                };
                wanted.fits(value) && echo_fits
            }
            (OptionPattern::Sack(wanted), TcpOption::Sack(blocks)) => {
                let absolute = wanted.iter().map(|(start, end)| {
                    (add(self.injected_isn, *start), add(self.injected_isn, *end))
                });
                absolute.eq(blocks.iter().copied())
            }
            (_, _) => false,
        }
    }

    /// A segment of the host's, in the script's words.
    pub(crate) fn describe(&self, segment: &Segment) -> String {
        words(segment, self.host_isn.unwrap_or(0), self.injected_isn)
    }

    /// An injected one.
    pub(crate) fn describe_injected(&self, segment: &Segment) -> String {
        words(segment, self.injected_isn, self.host_isn.unwrap_or(0))
    }
}

fn words(segment: &Segment, from: u32, to: u32) -> String {
    let flags: String = Flags::LETTERS
        .iter()
        .filter(|(_, bit)| segment.flags.has(*bit))
        .map(|(letter, _)| *letter)
        .collect();
    let start = relative(segment.seq, from);
    let end = start + i64::try_from(segment.payload.len()).unwrap_or(i64::MAX);
    let mut words = format!("{flags} {start}:{end}");
    if segment.flags.has(Flags::ACK) {
        let _ = write!(words, " ack {}", relative(segment.ack, to));
    }
    let _ = write!(words, " win {}", segment.window);
    let options = segment
        .options
        .iter()
        .map(|option| option_words(option, to));
    let options: Vec<String> = options.collect();
    if !options.is_empty() {
        let _ = write!(words, " <{}>", options.join(", "));
    }
    words
}

fn option_words(option: &TcpOption, to: u32) -> String {
    match option {
        TcpOption::Mss(mss) => format!("mss {mss}"),
        TcpOption::WindowScale(shift) => format!("ws {shift}"),
        TcpOption::SackPermitted => "sackOK".to_owned(),
        TcpOption::Timestamps { value, echo } => format!("ts {value} {echo}"),
        TcpOption::Sack(blocks) => {
            let blocks = blocks
                .iter()
                .map(|(start, end)| format!(" {}:{}", relative(*start, to), relative(*end, to)));
            format!("sack{}", blocks.collect::<String>())
        }
        TcpOption::Other(octets) => format!("other {octets:02x?}"),
    }
}

fn given<T: Default>(field: Field<T>) -> T {
    match field {
        Field::Is(value) => value,
        Field::Any => T::default(),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sequence numbers are modulo 2^32"
)]
const fn add(base: u32, relative: i64) -> u32 {
    base.wrapping_add(relative as u32)
}

#[expect(clippy::cast_possible_wrap, reason = "what is before is negative")]
const fn relative(number: u32, base: u32) -> i64 {
    number.wrapping_sub(base) as i32 as i64
}
