//! The option of a SYN-ACK: "understood", and perhaps a cookie (SPEC section 4.3).

use crate::cursor::{Reader, Writer};
use crate::error::{BufferTooSmall, FormError};
use crate::units::{Cookie, ExId, Family, Kind};

/// A node's reply. Its lengths, 4 and 8, differ from every SYN form: a stack that mirrors
/// options does not look like a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SynAckOption {
    /// The family of the option that is answered.
    pub family: Family,
    /// The cookie to use next time, if the node issues one.
    pub cookie: Option<Cookie>,
}

impl SynAckOption {
    /// The length of the longer form.
    pub const MAX_OCTETS: usize = 8;

    /// Parses what follows kind, length and `ExID` in an option of a SYN-ACK.
    pub fn parse(family: Family, body: &[u8]) -> Result<Self, FormError> {
        let no_form = FormError::bad_length(family, body);
        let cookie = match body.len() {
            0 => None,
            4 => Some(Cookie::from_octets(Reader::new(body, no_form).array()?)),
            _ => return Err(no_form),
        };
        Ok(Self { family, cookie })
    }

    /// What the option takes on the wire: 4 or 8 octets.
    pub const fn len_octets(self) -> usize {
        match self.cookie {
            None => 4,
            Some(_) => Self::MAX_OCTETS,
        }
    }

    /// Writes the option to the front of `buffer` and returns its length in octets.
    pub fn emit(self, kind: Kind, buffer: &mut [u8]) -> Result<usize, BufferTooSmall> {
        let len = self.len_octets();
        let room_octets = buffer.len();
        let option = buffer.get_mut(..len).ok_or(BufferTooSmall {
            needed_octets: len,
            room_octets,
        })?;
        let mut out = Writer::new(option);
        out.put(&[kind.octet(), u8::try_from(len).unwrap_or(u8::MAX)]);
        out.put(&ExId::of(self.family).octets());
        if let Some(cookie) = self.cookie {
            out.put(&cookie.octets());
        }
        Ok(len)
    }
}
