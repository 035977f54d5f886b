//! What can be wrong, one enum per operation; variants carry the offending value.

use core::fmt;

use crate::units::Family;

/// The list of options is not framed as RFC 9293 section 3.1 says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListError {
    /// There is no option to split off.
    Empty,
    /// The octets end before the option does.
    Truncated {
        /// The option's kind.
        kind: u8,
        /// How many octets of it are there.
        left_octets: usize,
    },
    /// The length counts the kind and length octets, so it is at least 2.
    BadLength {
        /// The option's kind.
        kind: u8,
        /// The length it claims.
        len: u8,
    },
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("no option left"),
            Self::Truncated { kind, left_octets } => {
                write!(
                    f,
                    "option of kind {kind} is cut off after {left_octets} octets"
                )
            }
            Self::BadLength { kind, len } => {
                write!(
                    f,
                    "option of kind {kind} has length {len}, which is below 2"
                )
            }
        }
    }
}

impl core::error::Error for ListError {}

/// The destination is none that a flow can have (SPEC section 4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DestinationError {
    /// Port 0.
    PortZero,
    /// 0.0.0.0 or `::`.
    Unspecified,
    /// 224.0.0.0/4 or `ff00::/8`.
    Multicast,
    /// 255.255.255.255.
    Broadcast,
}

impl fmt::Display for DestinationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PortZero => "port 0",
            Self::Unspecified => "unspecified destination",
            Self::Multicast => "multicast destination",
            Self::Broadcast => "broadcast destination",
        })
    }
}

impl core::error::Error for DestinationError {}

/// A synhop option whose contents are none of the forms of SPEC section 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormError {
    /// No form in this segment has this length (kind and length octets counted).
    BadLength {
        /// The flow's family, from the `ExID`.
        family: Family,
        /// The length octet.
        len: u8,
    },
    /// The destination is refused.
    Destination(DestinationError),
    /// The source carries port 0.
    SourcePortZero,
}

impl FormError {
    /// No form has the length of this `body`: what follows kind, length and `ExID`.
    pub(crate) fn bad_length(family: Family, body: &[u8]) -> Self {
        let len = u8::try_from(body.len() + 4).unwrap_or(u8::MAX);
        Self::BadLength { family, len }
    }
}

impl fmt::Display for FormError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadLength {
                family: Family::V4,
                len,
            } => {
                write!(f, "no form of ExID 0xE5F4 has length {len} here")
            }
            Self::BadLength {
                family: Family::V6,
                len,
            } => {
                write!(f, "no form of ExID 0xE5F6 has length {len} here")
            }
            Self::Destination(error) => error.fmt(f),
            Self::SourcePortZero => f.write_str("source port 0"),
        }
    }
}

impl core::error::Error for FormError {}

impl From<DestinationError> for FormError {
    fn from(error: DestinationError) -> Self {
        Self::Destination(error)
    }
}

/// Why the option of a segment was refused (SPEC section 4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionError {
    /// The option list itself is broken.
    List(ListError),
    /// The option is there and has no legal form.
    Form(FormError),
    /// The segment carries the option more than once.
    Duplicate,
    /// The segment is not the SYN or SYN-ACK that the option belongs to.
    WrongSegment,
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(error) => error.fmt(f),
            Self::Form(error) => error.fmt(f),
            Self::Duplicate => f.write_str("the option occurs more than once"),
            Self::WrongSegment => f.write_str("the option is on a segment it does not belong to"),
        }
    }
}

impl core::error::Error for OptionError {}

impl From<ListError> for OptionError {
    fn from(error: ListError) -> Self {
        Self::List(error)
    }
}

impl From<FormError> for OptionError {
    fn from(error: FormError) -> Self {
        Self::Form(error)
    }
}

/// The buffer cannot hold what is to be emitted. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferTooSmall {
    /// How many octets are needed.
    pub needed_octets: usize,
    /// How many the buffer has.
    pub room_octets: usize,
}

impl fmt::Display for BufferTooSmall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            needed_octets,
            room_octets,
        } = self;
        write!(f, "{needed_octets} octets do not fit into {room_octets}")
    }
}

impl core::error::Error for BufferTooSmall {}

/// Why an option could not join an existing list. The list is untouched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendError {
    /// The existing list is broken.
    List(ListError),
    /// List and option together exceed the 40 octets of a TCP header (RFC 9293 section 3.1).
    NoRoom {
        /// What the existing options take, padding removed.
        used_octets: usize,
        /// What the new option takes.
        needed_octets: usize,
    },
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(error) => error.fmt(f),
            Self::NoRoom {
                used_octets,
                needed_octets,
            } => write!(
                f,
                "{needed_octets} octets of option do not fit beside {used_octets} in 40"
            ),
        }
    }
}

impl core::error::Error for AppendError {}

impl From<ListError> for AppendError {
    fn from(error: ListError) -> Self {
        Self::List(error)
    }
}
