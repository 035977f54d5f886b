//! Drawing and shrinking what the properties are about.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use quickcheck::{Arbitrary, Gen};
use synhop_option::{
    Cookie, ExId, Extra, Family, HopsLeft, Kind, Segment, SynAckOption, SynOption, V4Destination,
    V6Destination, V6Host, View,
};

/// Either kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnyKind(pub(crate) Kind);

/// Any segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnySegment(pub(crate) Segment);

/// Any form of a SYN.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnySyn(pub(crate) SynOption);

/// Any form of a SYN-ACK.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnySynAck(pub(crate) SynAckOption);

/// A sound list of options without a synhop option: standard, unknown and foreign ones, padding.
#[derive(Clone, Debug)]
pub(crate) struct OtherOptions(pub(crate) Vec<OtherOption>);

/// One of them.
#[derive(Clone, Debug)]
pub(crate) enum OtherOption {
    Nop,
    MaximumSegmentSize,
    SackPermitted,
    Timestamps,
    WindowScale,
    Unknown {
        kind: u8,
        data: Vec<u8>,
    },
    ForeignExperiment {
        kind: Kind,
        ex_id: u16,
        data: Vec<u8>,
    },
}

impl Arbitrary for AnyKind {
    fn arbitrary(g: &mut Gen) -> Self {
        Self(choose(g, &[Kind::Experiment1, Kind::Experiment2]))
    }
}

impl Arbitrary for AnySegment {
    fn arbitrary(g: &mut Gen) -> Self {
        Self(choose(g, &[Segment::Syn, Segment::SynAck, Segment::Other]))
    }
}

impl Arbitrary for AnySyn {
    fn arbitrary(g: &mut Gen) -> Self {
        Self(match u8::arbitrary(g) % 5 {
            0 => SynOption::V4 {
                source: SocketAddrV4::new(Ipv4Addr::arbitrary(g), port(g)),
                destination: v4_destination(g),
                extra: extra(g),
            },
            1 => SynOption::V4Withheld {
                destination: v4_destination(g),
                cookie: bool::arbitrary(g).then(|| cookie(g)),
            },
            2 => SynOption::V6Address {
                host: until(g, |g| V6Host::new(Ipv6Addr::arbitrary(g)).ok()),
            },
            3 => SynOption::V6 {
                destination: v6_destination(g),
                extra: extra(g),
            },
            _ => SynOption::V6Tuple {
                source: SocketAddrV6::new(Ipv6Addr::arbitrary(g), port(g), 0, 0),
                destination: v6_destination(g),
            },
        })
    }

    /// Towards the shortest form of the family: what a failure needs to show is seldom the extra.
    fn shrink(&self) -> Box<dyn Iterator<Item = Self>> {
        let smaller = match self.0 {
            SynOption::V4 {
                destination,
                extra: Extra::Nothing,
                ..
            }
            | SynOption::V4Withheld {
                destination,
                cookie: Some(_),
            } => Some(SynOption::V4Withheld {
                destination,
                cookie: None,
            }),
            SynOption::V4 {
                source,
                destination,
                extra: Extra::Cookie(_) | Extra::Hops(_),
            } => Some(SynOption::V4 {
                source,
                destination,
                extra: Extra::Nothing,
            }),
            SynOption::V6 {
                destination,
                extra: Extra::Cookie(_) | Extra::Hops(_),
            }
            | SynOption::V6Tuple { destination, .. } => Some(SynOption::V6 {
                destination,
                extra: Extra::Nothing,
            }),
            SynOption::V6 {
                destination,
                extra: Extra::Nothing,
            } => V6Host::new(*destination.get().ip())
                .ok()
                .map(|host| SynOption::V6Address { host }),
            SynOption::V4Withheld { cookie: None, .. } | SynOption::V6Address { .. } => None,
        };
        Box::new(smaller.map(Self).into_iter())
    }
}

impl Arbitrary for AnySynAck {
    fn arbitrary(g: &mut Gen) -> Self {
        Self(SynAckOption {
            family: choose(g, &[Family::V4, Family::V6]),
            cookie: bool::arbitrary(g).then(|| cookie(g)),
        })
    }

    fn shrink(&self) -> Box<dyn Iterator<Item = Self>> {
        let SynAckOption { family, cookie } = self.0;
        Box::new(cookie.into_iter().map(move |_| {
            Self(SynAckOption {
                family,
                cookie: None,
            })
        }))
    }
}

impl Arbitrary for OtherOptions {
    fn arbitrary(g: &mut Gen) -> Self {
        let len = usize::arbitrary(g) % 5;
        Self((0..len).map(|_| OtherOption::arbitrary(g)).collect())
    }

    fn shrink(&self) -> Box<dyn Iterator<Item = Self>> {
        Box::new(self.0.shrink().map(Self))
    }
}

impl OtherOptions {
    pub(crate) fn octets(&self) -> Vec<u8> {
        self.0.iter().flat_map(OtherOption::octets).collect()
    }
}

impl Arbitrary for OtherOption {
    fn arbitrary(g: &mut Gen) -> Self {
        match u8::arbitrary(g) % 7 {
            0 => Self::Nop,
            1 => Self::MaximumSegmentSize,
            2 => Self::SackPermitted,
            3 => Self::Timestamps,
            4 => Self::WindowScale,
            5 => Self::Unknown {
                kind: until(g, |g| {
                    let kind = u8::arbitrary(g);
                    (kind > View::NOP && Kind::from_octet(kind).is_none()).then_some(kind)
                }),
                data: short_data(g),
            },
            _ => Self::ForeignExperiment {
                kind: AnyKind::arbitrary(g).0,
                ex_id: until(g, |g| {
                    let ex_id = u16::arbitrary(g);
                    let family = ExId::from_octets(ex_id.to_be_bytes()).family();
                    family.is_none().then_some(ex_id)
                }),
                data: short_data(g),
            },
        }
    }

    fn shrink(&self) -> Box<dyn Iterator<Item = Self>> {
        match self {
            Self::Nop => Box::new(std::iter::empty()),
            _ => Box::new(std::iter::once(Self::Nop)),
        }
    }
}

impl OtherOption {
    fn octets(&self) -> Vec<u8> {
        match self {
            Self::Nop => vec![View::NOP],
            Self::MaximumSegmentSize => vec![2, 4, 0x05, 0xb4],
            Self::SackPermitted => vec![4, 2],
            Self::Timestamps => vec![8, 10, 1, 2, 3, 4, 0, 0, 0, 0],
            Self::WindowScale => vec![3, 3, 7],
            Self::Unknown { kind, data } => with_head(*kind, data),
            Self::ForeignExperiment { kind, ex_id, data } => {
                let mut contents = ex_id.to_be_bytes().to_vec();
                contents.extend(data);
                with_head(kind.octet(), &contents)
            }
        }
    }
}

/// Kind, length and `contents`.
pub(crate) fn with_head(kind: u8, contents: &[u8]) -> Vec<u8> {
    let len = u8::try_from(contents.len() + 2).expect("a short option");
    let mut octets = vec![kind, len];
    octets.extend(contents);
    octets
}

fn v4_destination(g: &mut Gen) -> V4Destination {
    until(g, |g| {
        V4Destination::new(SocketAddrV4::new(Ipv4Addr::arbitrary(g), port(g))).ok()
    })
}

fn v6_destination(g: &mut Gen) -> V6Destination {
    until(g, |g| {
        V6Destination::new(Ipv6Addr::arbitrary(g), port(g)).ok()
    })
}

fn extra(g: &mut Gen) -> Extra {
    match u8::arbitrary(g) % 3 {
        0 => Extra::Nothing,
        1 => Extra::Cookie(cookie(g)),
        _ => Extra::Hops(HopsLeft::new(u8::arbitrary(g))),
    }
}

fn cookie(g: &mut Gen) -> Cookie {
    Cookie::from_octets(u32::arbitrary(g).to_be_bytes())
}

fn port(g: &mut Gen) -> u16 {
    u16::arbitrary(g).max(1)
}

fn short_data(g: &mut Gen) -> Vec<u8> {
    let len = usize::arbitrary(g) % 8;
    (0..len).map(|_| u8::arbitrary(g)).collect()
}

fn choose<T: Copy>(g: &mut Gen, from: &[T]) -> T {
    *g.choose(from).expect("something to choose from")
}

/// Draws until one is legal; nearly every draw is.
fn until<T>(g: &mut Gen, draw: impl Fn(&mut Gen) -> Option<T>) -> T {
    loop {
        if let Some(drawn) = draw(g) {
            return drawn;
        }
    }
}
