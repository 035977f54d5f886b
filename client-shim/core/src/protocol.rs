//! The messages between a client and `synhop helper`, on a unix `SOCK_SEQPACKET` socket.
//!
//! A connection carries one request, with the TCP socket's descriptor (`SCM_RIGHTS`), and one
//! answer. All integers are in network byte order; addresses take 16 octets, IPv4 ones v4-mapped,
//! so that IPv6 flows need no new layout.
//!
//! ```text
//! request   0      4        5   6        7     8            24    26    28     44    46    48
//!           "SYNH" version  op  outcome  zero  destination  port  zero  proxy  port  zero
//! answer    0      4        5       6         7     8                    24    26    28
//!           "SYNH" version  status  progress  zero  destination address  port  zero
//! ```
//!
//! Fields that an operation does not use are zero and not looked at.

use core::net::{Ipv6Addr, SocketAddrV4};

use synhop_option::V4Destination;

/// The length of every request.
pub const REQUEST_OCTETS: usize = 48;
/// The length of every answer.
pub const ANSWER_OCTETS: usize = 28;

const MAGIC: [u8; 4] = *b"SYNH";
const VERSION: u8 = 1;

const OP_MARK: u8 = 1;
const OP_STATE: u8 = 2;
const OP_UNMARK: u8 = 3;

const OUTCOME_ASKED: u8 = 0;
const OUTCOME_PUBLISHED: u8 = 1;

/// The socket's `TCP_SYNCNT` once it is established with a node, when [`Outcome::Published`] was
/// asked for and there is nothing more to know.
pub const PUBLISHED_UNDERSTOOD: u8 = 121;

const STATUS_DONE: u8 = 0;
const STATUS_FLOW: u8 = 1;
const STATUS_UNMARKED: u8 = 2;
/// From here on: refusals.
const STATUS_REFUSED: u8 = 16;

/// What a client asks of the helper, about the TCP socket that it sends along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// The socket's next SYN shall carry the option that names `destination`.
    Mark {
        /// Where the flow is going.
        destination: V4Destination,
        /// The node that the SYN will be sent to.
        proxy: SocketAddrV4,
        /// How the client will learn what became of it.
        outcome: Outcome,
    },
    /// What became of the mark?
    State,
    /// No SYN of the socket shall carry an option.
    Unmark,
}

/// How a client learns what became of its mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// By [`Request::State`].
    Asked,
    /// If a node took the flow, by [`PUBLISHED_UNDERSTOOD`] on the socket; otherwise by
    /// [`Request::State`].
    Published,
}

/// The helper's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Marked or unmarked, as asked.
    Done,
    /// The socket is marked: its state.
    Flow(Flow),
    /// The socket is not marked.
    Unmarked,
    /// The helper did nothing.
    Refused(Refusal),
}

/// A marked socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// How far its connection is.
    pub progress: Progress,
    /// Where the flow is going.
    pub destination: V4Destination,
}

/// How far the connection of a marked socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// No SYN was seen: `connect()` was not called, or the program is not effective.
    Marked,
    /// The SYN with the option is sent.
    SynSent,
    /// Established, and the SYN-ACK did not carry the reply: the peer is no node.
    Silent,
    /// Established with a node.
    Understood,
}

/// Why the helper did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The message is none of this protocol.
    #[error("the helper does not understand the request")]
    BadRequest,
    /// The message is of another version.
    #[error("the helper speaks another version of the protocol")]
    Version,
    /// Not exactly one descriptor came along, or it is no TCP socket.
    #[error("the descriptor is not a TCP socket")]
    NotTcp,
    /// The helper's operator did not allow this user.
    #[error("the helper does not serve this user")]
    Denied,
    /// The kernel refused.
    #[error("the helper could not mark the socket")]
    Failed,
}

/// The octets are no message of this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// Another length than the layout's.
    #[error("message of {0} octets")]
    Length(usize),
    /// Not "SYNH" in front.
    #[error("not a message of this protocol")]
    Magic,
    /// A version that is not spoken here.
    #[error("protocol version {0}")]
    Version(u8),
    /// An operation, outcome, status or progress that does not exist.
    #[error("unknown code {0}")]
    Code(u8),
    /// An address that is not IPv4, or none that a flow can have.
    #[error("address that no flow can have")]
    Address,
}

impl Request {
    /// The message.
    pub fn emit(&self) -> [u8; REQUEST_OCTETS] {
        let mut out = [0; REQUEST_OCTETS];
        match self {
            Self::Mark {
                destination,
                proxy,
                outcome,
            } => {
                put_head(&mut out, OP_MARK);
                out[6] = match outcome {
                    Outcome::Asked => OUTCOME_ASKED,
                    Outcome::Published => OUTCOME_PUBLISHED,
                };
                put_address(&mut out[8..26], destination.get());
                put_address(&mut out[28..46], *proxy);
            }
            Self::State => put_head(&mut out, OP_STATE),
            Self::Unmark => put_head(&mut out, OP_UNMARK),
        }
        out
    }

    /// Reads a message. Total: no octets panic.
    pub fn parse(octets: &[u8]) -> Result<Self, ProtocolError> {
        let octets: &[u8; REQUEST_OCTETS] = exactly(octets)?;
        match head(octets)? {
            OP_MARK => Ok(Self::Mark {
                destination: destination(&octets[8..26])?,
                proxy: address(&octets[28..46])?,
                outcome: match octets[6] {
                    OUTCOME_ASKED => Outcome::Asked,
                    OUTCOME_PUBLISHED => Outcome::Published,
                    other => return Err(ProtocolError::Code(other)),
                },
            }),
            OP_STATE => Ok(Self::State),
            OP_UNMARK => Ok(Self::Unmark),
            other => Err(ProtocolError::Code(other)),
        }
    }
}

impl Answer {
    /// The message.
    pub fn emit(&self) -> [u8; ANSWER_OCTETS] {
        let mut out = [0; ANSWER_OCTETS];
        match self {
            Self::Done => put_head(&mut out, STATUS_DONE),
            Self::Flow(flow) => {
                put_head(&mut out, STATUS_FLOW);
                out[6] = flow.progress.code();
                put_address(&mut out[8..26], flow.destination.get());
            }
            Self::Unmarked => put_head(&mut out, STATUS_UNMARKED),
            Self::Refused(refusal) => put_head(&mut out, refusal.code()),
        }
        out
    }

    /// Reads a message. Total: no octets panic.
    pub fn parse(octets: &[u8]) -> Result<Self, ProtocolError> {
        let octets: &[u8; ANSWER_OCTETS] = exactly(octets)?;
        match head(octets)? {
            STATUS_DONE => Ok(Self::Done),
            STATUS_FLOW => Ok(Self::Flow(Flow {
                progress: Progress::from_code(octets[6])?,
                destination: destination(&octets[8..26])?,
            })),
            STATUS_UNMARKED => Ok(Self::Unmarked),
            other => Refusal::from_code(other).map(Self::Refused),
        }
    }
}

impl Progress {
    const fn code(self) -> u8 {
        match self {
            Self::Marked => 1,
            Self::SynSent => 2,
            Self::Silent => 3,
            Self::Understood => 4,
        }
    }

    const fn from_code(code: u8) -> Result<Self, ProtocolError> {
        match code {
            1 => Ok(Self::Marked),
            2 => Ok(Self::SynSent),
            3 => Ok(Self::Silent),
            4 => Ok(Self::Understood),
            other => Err(ProtocolError::Code(other)),
        }
    }
}

impl Refusal {
    const fn code(self) -> u8 {
        STATUS_REFUSED
            + match self {
                Self::BadRequest => 0,
                Self::Version => 1,
                Self::NotTcp => 2,
                Self::Denied => 3,
                Self::Failed => 4,
            }
    }

    const fn from_code(code: u8) -> Result<Self, ProtocolError> {
        match code.checked_sub(STATUS_REFUSED) {
            Some(0) => Ok(Self::BadRequest),
            Some(1) => Ok(Self::Version),
            Some(2) => Ok(Self::NotTcp),
            Some(3) => Ok(Self::Denied),
            Some(4) => Ok(Self::Failed),
            Some(_) | None => Err(ProtocolError::Code(code)),
        }
    }
}

impl From<ProtocolError> for Refusal {
    fn from(error: ProtocolError) -> Self {
        match error {
            ProtocolError::Version(_) => Self::Version,
            ProtocolError::Length(_)
            | ProtocolError::Magic
            | ProtocolError::Code(_)
            | ProtocolError::Address => Self::BadRequest,
        }
    }
}

fn put_head(out: &mut [u8], code: u8) {
    out[..4].copy_from_slice(&MAGIC);
    out[4] = VERSION;
    out[5] = code;
}

/// `out` has the 18 octets of an address and a port.
fn put_address(out: &mut [u8], address: SocketAddrV4) {
    out[..16].copy_from_slice(&address.ip().to_ipv6_mapped().octets());
    out[16..18].copy_from_slice(&address.port().to_be_bytes());
}

fn exactly<const N: usize>(octets: &[u8]) -> Result<&[u8; N], ProtocolError> {
    octets
        .try_into()
        .map_err(|_| ProtocolError::Length(octets.len()))
}

/// The operation or status behind magic and version.
fn head(octets: &[u8]) -> Result<u8, ProtocolError> {
    match octets {
        [b'S', b'Y', b'N', b'H', VERSION, code, ..] => Ok(*code),
        [b'S', b'Y', b'N', b'H', version, ..] => Err(ProtocolError::Version(*version)),
        _ => Err(ProtocolError::Magic),
    }
}

fn address(octets: &[u8]) -> Result<SocketAddrV4, ProtocolError> {
    let (address, rest) = octets
        .split_first_chunk::<16>()
        .ok_or(ProtocolError::Address)?;
    let port = rest.first_chunk::<2>().ok_or(ProtocolError::Address)?;
    let address = Ipv6Addr::from(*address)
        .to_ipv4_mapped()
        .ok_or(ProtocolError::Address)?;
    Ok(SocketAddrV4::new(address, u16::from_be_bytes(*port)))
}

fn destination(octets: &[u8]) -> Result<V4Destination, ProtocolError> {
    V4Destination::new(address(octets)?).map_err(|_| ProtocolError::Address)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use core::net::Ipv4Addr;

    use quickcheck::{Arbitrary, Gen, quickcheck};

    use super::*;

    fn v4(text: &str) -> SocketAddrV4 {
        text.parse().unwrap()
    }

    fn any_destination(g: &mut Gen) -> V4Destination {
        loop {
            let ip = Ipv4Addr::from(u32::arbitrary(g));
            if let Ok(destination) = V4Destination::new(SocketAddrV4::new(ip, u16::arbitrary(g))) {
                return destination;
            }
        }
    }

    impl Arbitrary for Request {
        fn arbitrary(g: &mut Gen) -> Self {
            match u8::arbitrary(g) % 3 {
                0 => Self::Mark {
                    destination: any_destination(g),
                    proxy: SocketAddrV4::new(u32::arbitrary(g).into(), u16::arbitrary(g)),
                    outcome: *g.choose(&[Outcome::Asked, Outcome::Published]).unwrap(),
                },
                1 => Self::State,
                _ => Self::Unmark,
            }
        }
    }

    impl Arbitrary for Answer {
        fn arbitrary(g: &mut Gen) -> Self {
            let progress = [
                Progress::Marked,
                Progress::SynSent,
                Progress::Silent,
                Progress::Understood,
            ];
            let refusals = [
                Refusal::BadRequest,
                Refusal::Version,
                Refusal::NotTcp,
                Refusal::Denied,
                Refusal::Failed,
            ];
            match u8::arbitrary(g) % 4 {
                0 => Self::Done,
                1 => Self::Unmarked,
                2 => Self::Refused(*g.choose(&refusals).unwrap()),
                _ => Self::Flow(Flow {
                    progress: *g.choose(&progress).unwrap(),
                    destination: any_destination(g),
                }),
            }
        }
    }

    quickcheck! {
        fn a_request_survives_the_wire(request: Request) -> bool {
            Request::parse(&request.emit()) == Ok(request)
        }

        fn an_answer_survives_the_wire(answer: Answer) -> bool {
            Answer::parse(&answer.emit()) == Ok(answer)
        }

        fn no_octets_panic(octets: Vec<u8>) -> bool {
            let _ = Request::parse(&octets);
            let _ = Answer::parse(&octets);
            true
        }

        fn no_octets_of_the_right_length_panic(octets: Vec<u8>, code: u8) -> bool {
            let mut message: Vec<u8> = octets.into_iter().chain([0; REQUEST_OCTETS]).collect();
            message[..4].copy_from_slice(&MAGIC);
            message[4] = VERSION;
            message[5] = code % 24;
            let _ = Request::parse(&message[..REQUEST_OCTETS]);
            let _ = Answer::parse(&message[..ANSWER_OCTETS]);
            true
        }
    }

    #[test]
    fn golden_mark() {
        let request = Request::Mark {
            destination: V4Destination::new(v4("198.51.100.1:443")).unwrap(),
            proxy: v4("192.0.2.7:7000"),
            outcome: Outcome::Published,
        };
        let golden = b"SYNH\x01\x01\x01\0\
            \0\0\0\0\0\0\0\0\0\0\xff\xff\xc6\x33\x64\x01\x01\xbb\0\0\
            \0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x07\x1b\x58\0\0";
        assert_eq!(&request.emit(), golden);
        assert_eq!(Request::parse(golden), Ok(request));
    }

    #[test]
    fn golden_flow() {
        let answer = Answer::Flow(Flow {
            progress: Progress::Understood,
            destination: V4Destination::new(v4("198.51.100.1:443")).unwrap(),
        });
        let golden = b"SYNH\x01\x01\x04\0\
            \0\0\0\0\0\0\0\0\0\0\xff\xff\xc6\x33\x64\x01\x01\xbb\0\0";
        assert_eq!(&answer.emit(), golden);
        assert_eq!(Answer::parse(golden), Ok(answer));
    }

    #[test]
    fn malformed_messages_say_what_is_wrong() {
        let state = Request::State.emit();
        assert_eq!(Request::parse(&state[..47]), Err(ProtocolError::Length(47)));
        let mut other = state;
        other[0] = b'X';
        assert_eq!(Request::parse(&other), Err(ProtocolError::Magic));
        let mut other = state;
        other[4] = 2;
        assert_eq!(Request::parse(&other), Err(ProtocolError::Version(2)));
        let mut other = state;
        other[5] = 9;
        assert_eq!(Request::parse(&other), Err(ProtocolError::Code(9)));
        // A mark with no destination.
        other[5] = OP_MARK;
        assert_eq!(Request::parse(&other), Err(ProtocolError::Address));
    }
}
