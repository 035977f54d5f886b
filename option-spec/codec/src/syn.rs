//! The option of a SYN: every form of SPEC section 4.2.

use core::net::{SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::cursor::{Reader, Writer};
use crate::destination::{V4Destination, V6Destination, V6Host};
use crate::error::{BufferTooSmall, FormError};
use crate::units::{Cookie, ExId, Family, HopsLeft, Kind};

/// What the option of a SYN says. The variants are the forms; no other combination exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SynOption {
    /// Length 16, 20 (cookie) or 18 (hops): the IPv4 flow's 4-tuple.
    V4 {
        /// Who the sender says it is: a claim. Port 0 stands only for a source that is filled in
        /// before the SYN leaves: receivers refuse it.
        source: SocketAddrV4,
        /// Where the flow is going.
        destination: V4Destination,
        /// What follows the 4-tuple.
        extra: Extra,
    },
    /// Length 10 or 14 (cookie): an IPv4 flow whose source is withheld.
    V4Withheld {
        /// Where the flow is going.
        destination: V4Destination,
        /// The cookie of the node addressed, if the sender has one.
        cookie: Option<Cookie>,
    },
    /// `ExID` 0xE5F6, length 20: the destination port is the SYN's own.
    V6Address {
        /// Where the flow is going; the port stands in the TCP header.
        host: V6Host,
    },
    /// `ExID` 0xE5F6, length 22, 26 (cookie) or 24 (hops).
    V6 {
        /// Where the flow is going.
        destination: V6Destination,
        /// What follows the destination.
        extra: Extra,
    },
    /// `ExID` 0xE5F6, length 40: the full IPv6 4-tuple, the SYN's only option.
    V6Tuple {
        /// Who the sender says it is: a claim. Port as in [`SynOption::V4`]; scope and flow label,
        /// which are not sent, are 0 when parsed.
        source: SocketAddrV6,
        /// Where the flow is going.
        destination: V6Destination,
    },
}

/// What a form carries behind its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extra {
    /// Nothing: the base form.
    Nothing,
    /// Client to first node.
    Cookie(Cookie),
    /// Node to node, followed by a flags octet: sent as 0, ignored on receipt (SPEC section 4.2).
    Hops(HopsLeft),
}

impl SynOption {
    /// The length of the longest form: it fills the option space (RFC 9293 section 3.1).
    pub const MAX_OCTETS: usize = 40;

    /// Parses what follows kind, length and `ExID` in an option of a SYN.
    pub fn parse(family: Family, body: &[u8]) -> Result<Self, FormError> {
        match family {
            Family::V4 => Self::parse_v4(body),
            Family::V6 => Self::parse_v6(body),
        }
    }

    /// The family of the flow.
    pub const fn family(&self) -> Family {
        match self {
            Self::V4 { .. } | Self::V4Withheld { .. } => Family::V4,
            Self::V6Address { .. } | Self::V6 { .. } | Self::V6Tuple { .. } => Family::V6,
        }
    }

    /// The source the sender claims; `None` when it withholds it or there is no room for it.
    pub const fn claimed_source(&self) -> Option<SocketAddr> {
        match self {
            Self::V4 { source, .. } => Some(SocketAddr::V4(*source)),
            Self::V6Tuple { source, .. } => Some(SocketAddr::V6(*source)),
            Self::V4Withheld { .. } | Self::V6Address { .. } | Self::V6 { .. } => None,
        }
    }

    /// Where the flow is going. `syn_port` is the destination port of the SYN's own TCP header:
    /// the form without a port means that one.
    pub const fn destination(&self, syn_port: u16) -> SocketAddr {
        match self {
            Self::V4 { destination, .. } | Self::V4Withheld { destination, .. } => {
                SocketAddr::V4(destination.get())
            }
            Self::V6Address { host } => {
                SocketAddr::V6(SocketAddrV6::new(host.get(), syn_port, 0, 0))
            }
            Self::V6 { destination, .. } | Self::V6Tuple { destination, .. } => {
                SocketAddr::V6(destination.get())
            }
        }
    }

    /// The cookie, in the forms that carry one.
    pub const fn cookie(&self) -> Option<Cookie> {
        match self {
            Self::V4Withheld { cookie, .. } => *cookie,
            Self::V4 {
                extra: Extra::Cookie(cookie),
                ..
            }
            | Self::V6 {
                extra: Extra::Cookie(cookie),
                ..
            } => Some(*cookie),
            Self::V4 {
                extra: Extra::Nothing | Extra::Hops(_),
                ..
            }
            | Self::V6 {
                extra: Extra::Nothing | Extra::Hops(_),
                ..
            }
            | Self::V6Address { .. }
            | Self::V6Tuple { .. } => None,
        }
    }

    /// The hops left, in the forms that carry them.
    pub const fn hops_left(&self) -> Option<HopsLeft> {
        match self {
            Self::V4 {
                extra: Extra::Hops(hops),
                ..
            }
            | Self::V6 {
                extra: Extra::Hops(hops),
                ..
            } => Some(*hops),
            Self::V4 {
                extra: Extra::Nothing | Extra::Cookie(_),
                ..
            }
            | Self::V6 {
                extra: Extra::Nothing | Extra::Cookie(_),
                ..
            }
            | Self::V4Withheld { .. }
            | Self::V6Address { .. }
            | Self::V6Tuple { .. } => None,
        }
    }

    /// What the option takes on the wire, kind and length octets counted: 10 to 40.
    pub const fn len_octets(&self) -> usize {
        const HEAD: usize = 4;
        HEAD + match self {
            Self::V4 { extra, .. } => 12 + extra.len_octets(),
            Self::V4Withheld { cookie: None, .. } => 6,
            Self::V4Withheld {
                cookie: Some(_), ..
            } => 10,
            Self::V6Address { .. } => 16,
            Self::V6 { extra, .. } => 18 + extra.len_octets(),
            Self::V6Tuple { .. } => 36,
        }
    }

    /// Writes the option to the front of `buffer` and returns its length in octets.
    pub fn emit(&self, kind: Kind, buffer: &mut [u8]) -> Result<usize, BufferTooSmall> {
        let len = self.len_octets();
        let room_octets = buffer.len();
        let option = buffer.get_mut(..len).ok_or(BufferTooSmall {
            needed_octets: len,
            room_octets,
        })?;
        let mut out = Writer::new(option);
        // At most MAX_OCTETS, so the length fits an octet.
        out.put(&[kind.octet(), u8::try_from(len).unwrap_or(u8::MAX)]);
        out.put(&ExId::of(self.family()).octets());
        self.emit_body(&mut out);
        Ok(len)
    }

    fn emit_body(&self, out: &mut Writer<'_>) {
        match self {
            Self::V4 {
                source,
                destination,
                extra,
            } => {
                let destination = destination.get();
                out.put(&source.ip().octets());
                out.put(&destination.ip().octets());
                out.put(&source.port().to_be_bytes());
                out.put(&destination.port().to_be_bytes());
                extra.emit(out);
            }
            Self::V4Withheld {
                destination,
                cookie,
            } => {
                let destination = destination.get();
                out.put(&destination.ip().octets());
                out.put(&destination.port().to_be_bytes());
                if let Some(cookie) = cookie {
                    out.put(&cookie.octets());
                }
            }
            Self::V6Address { host } => out.put(&host.get().octets()),
            Self::V6 { destination, extra } => {
                let destination = destination.get();
                out.put(&destination.ip().octets());
                out.put(&destination.port().to_be_bytes());
                extra.emit(out);
            }
            Self::V6Tuple {
                source,
                destination,
            } => {
                let destination = destination.get();
                out.put(&source.ip().octets());
                out.put(&destination.ip().octets());
                out.put(&source.port().to_be_bytes());
                out.put(&destination.port().to_be_bytes());
            }
        }
    }

    fn parse_v4(body: &[u8]) -> Result<Self, FormError> {
        let no_form = FormError::bad_length(Family::V4, body);
        let mut reader = Reader::new(body, no_form);
        match body.len() {
            12 | 14 | 16 => {
                let (source, destination) = (reader.ipv4()?, reader.ipv4()?);
                let (source_port, destination_port) = (reader.port()?, reader.port()?);
                let destination = SocketAddrV4::new(destination, destination_port);
                Ok(Self::V4 {
                    destination: V4Destination::new(destination)?,
                    source: SocketAddrV4::new(source, checked_source_port(source_port)?),
                    extra: Extra::parse(&mut reader, body.len() - 12)?,
                })
            }
            6 | 10 => {
                let destination = SocketAddrV4::new(reader.ipv4()?, reader.port()?);
                Ok(Self::V4Withheld {
                    destination: V4Destination::new(destination)?,
                    cookie: match body.len() {
                        10 => Some(Cookie::from_octets(reader.array()?)),
                        _ => None,
                    },
                })
            }
            _ => Err(no_form),
        }
    }

    fn parse_v6(body: &[u8]) -> Result<Self, FormError> {
        let no_form = FormError::bad_length(Family::V6, body);
        let mut reader = Reader::new(body, no_form);
        match body.len() {
            16 => Ok(Self::V6Address {
                host: V6Host::new(reader.ipv6()?)?,
            }),
            18 | 20 | 22 => Ok(Self::V6 {
                destination: V6Destination::new(reader.ipv6()?, reader.port()?)?,
                extra: Extra::parse(&mut reader, body.len() - 18)?,
            }),
            36 => {
                let (source, destination) = (reader.ipv6()?, reader.ipv6()?);
                let (source_port, destination_port) = (reader.port()?, reader.port()?);
                Ok(Self::V6Tuple {
                    destination: V6Destination::new(destination, destination_port)?,
                    source: SocketAddrV6::new(source, checked_source_port(source_port)?, 0, 0),
                })
            }
            _ => Err(no_form),
        }
    }
}

impl Extra {
    const fn len_octets(self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Cookie(_) => 4,
            Self::Hops(_) => 2,
        }
    }

    /// The extra of `len` octets: the length alone tells which (SPEC section 4.2).
    fn parse(reader: &mut Reader<'_>, len: usize) -> Result<Self, FormError> {
        match len {
            2 => {
                let [hops_left, _flags] = reader.array()?;
                Ok(Self::Hops(HopsLeft::new(hops_left)))
            }
            4 => Ok(Self::Cookie(Cookie::from_octets(reader.array()?))),
            _ => Ok(Self::Nothing),
        }
    }

    fn emit(self, out: &mut Writer<'_>) {
        match self {
            Self::Nothing => {}
            Self::Cookie(cookie) => out.put(&cookie.octets()),
            Self::Hops(hops) => out.put(&[hops.get(), 0]),
        }
    }
}

/// A source port as it may stand on the wire: no flow comes from port 0.
const fn checked_source_port(port: u16) -> Result<u16, FormError> {
    match port {
        0 => Err(FormError::SourcePortZero),
        port => Ok(port),
    }
}
