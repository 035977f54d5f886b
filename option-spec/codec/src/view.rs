//! Framing: one TCP option after another (RFC 9293 section 3.1), meaning untouched.

use crate::error::ListError;

/// Option kind 0: the list ends here.
const END: u8 = 0;
/// Option kind 1: padding.
const NOP: u8 = 1;

/// One framed TCP option: its length is checked, its meaning is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View<'a> {
    /// The kind octet.
    pub kind: u8,
    /// What follows kind and length; empty for END and NOP.
    pub data: &'a [u8],
}

impl<'a> View<'a> {
    /// The octet that pads between and behind options.
    pub const NOP: u8 = NOP;

    /// Whether the list ends here.
    pub const fn is_end(&self) -> bool {
        self.kind == END
    }

    /// Whether this is padding.
    pub const fn is_nop(&self) -> bool {
        self.kind == NOP
    }

    /// Splits the first option off `octets`. Total: no input panics.
    pub fn split(octets: &'a [u8]) -> Result<(Self, &'a [u8]), ListError> {
        match octets {
            [kind @ (END | NOP), rest @ ..] => Ok((
                Self {
                    kind: *kind,
                    data: &[],
                },
                rest,
            )),
            [kind, len @ 2..=u8::MAX, ..] => {
                let split = octets.split_at_checked(usize::from(*len));
                let (option, rest) = split.ok_or(ListError::Truncated {
                    kind: *kind,
                    left_octets: octets.len(),
                })?;
                Ok((
                    Self {
                        kind: *kind,
                        data: &option[2..],
                    },
                    rest,
                ))
            }
            [kind, len, ..] => Err(ListError::BadLength {
                kind: *kind,
                len: *len,
            }),
            [kind] => Err(ListError::Truncated {
                kind: *kind,
                left_octets: 1,
            }),
            [] => Err(ListError::Empty),
        }
    }

    /// The length octet: kind, length and data; 1 for END and NOP, which have no length octet.
    pub fn len_octets(&self) -> usize {
        match self.kind {
            END | NOP => 1,
            _ => self.data.len() + 2,
        }
    }
}

/// The options of a segment in their order, padding skipped, up to END, the octets' end, or the
/// first framing error, which is yielded once and last.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    rest: &'a [u8],
}

impl<'a> Options<'a> {
    /// The options in `octets`: the TCP header from its 20th octet to its data offset.
    pub const fn new(octets: &'a [u8]) -> Self {
        Self { rest: octets }
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = Result<View<'a>, ListError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            match View::split(self.rest) {
                Ok((View { kind: NOP, .. }, rest)) => self.rest = rest,
                Ok((View { kind: END, .. }, _)) => self.rest = &[],
                Ok((view, rest)) => {
                    self.rest = rest;
                    return Some(Ok(view));
                }
                Err(error) => {
                    self.rest = &[];
                    return Some(Err(error));
                }
            }
        }
        None
    }
}
