//! Framing: one TCP option after another (RFC 9293 section 3.1), meaning untouched.

use crate::error::ListError;

/// One framed TCP option: its length is checked, its meaning is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View<'a> {
    /// The kind octet.
    pub kind: u8,
    /// What follows kind and length; empty for END and NOP.
    pub data: &'a [u8],
}

impl<'a> View<'a> {
    /// Kind 0, a single octet: the list ends here (RFC 9293 section 3.2).
    pub const END: u8 = 0;
    /// Kind 1, a single octet: padding between and behind options (RFC 9293 section 3.2).
    pub const NOP: u8 = 1;

    /// Whether the list ends here.
    pub const fn is_end(&self) -> bool {
        self.kind == Self::END
    }

    /// Whether this is padding.
    pub const fn is_nop(&self) -> bool {
        self.kind == Self::NOP
    }

    /// Splits the first option off `octets`. Total: no input panics.
    pub fn split(octets: &'a [u8]) -> Result<(Self, &'a [u8]), ListError> {
        match octets {
            [kind @ (Self::END | Self::NOP), rest @ ..] => Ok((
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

    /// What the option takes on the wire: kind, length and data; 1 for END and NOP, which are a
    /// kind octet alone.
    pub fn len_octets(&self) -> usize {
        match self.kind {
            Self::END | Self::NOP => 1,
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
            let split = View::split(self.rest);
            self.rest = match split {
                Ok((view, _)) if view.is_end() => &[],
                Ok((_, rest)) => rest,
                Err(_) => &[],
            };
            match split {
                Ok((view, _)) if view.is_end() || view.is_nop() => {}
                Ok((view, _)) => return Some(Ok(view)),
                Err(error) => return Some(Err(error)),
            }
        }
        None
    }
}
