//! Marking a socket before `connect()`, and what became of it.

use std::io;
use std::net::SocketAddr;

use synhop_option::{BufferTooSmall, Cookie, Kind, Segment, SynOption, syn_option};

use crate::abi::{self, FILL_SOURCE, FRESH, Mark, OPTION_MAX_OCTETS, PUBLISH};

/// Where the source in a form that has one comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceFill {
    /// The kernel's choice for this socket at `connect()`, address and port. The source in the option
    /// given to [`mark`](crate::Attachment::mark) counts only if the leg is IPv6, where the socket
    /// has no IPv4 source; if its port is 0 then, the SYN goes without an option.
    ///
    /// Forms without a source are sent as they are.
    FromSocket,
    /// What the option says: a node names its client, not itself.
    AsGiven,
}

/// How one learns what became of a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// By [`mark_state`](crate::Attachment::mark_state) alone: for those who have the attachment.
    Asked,
    /// On the socket itself, too, for a process that has the socket and not the attachment, without
    /// privilege: once established with a node that gave no cookie, the socket's `TCP_SYNCNT` reads
    /// [`PUBLISHED_UNDERSTOOD`]. Anything else says nothing: ask.
    ///
    /// `TCP_SYNCNT` has no effect on an established connection, but on a later `connect()` of the
    /// same socket: whoever reads the outcome has to put the value back that was there before. If
    /// that was the sentinel, the outcome cannot be read and must not be published.
    Published,
}

/// What `TCP_SYNCNT` reads when the outcome is [published](Outcome::Published). The greatest value
/// that can be set is 127; 121 retransmissions of a SYN would take four hours.
pub const PUBLISHED_UNDERSTOOD: u8 = abi::PUBLISHED_UNDERSTOOD;

/// How far a marked socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// No SYN with the option has gone out. Still so after `connect()` succeeded: the program is not
    /// effective for this socket (it was made in a cgroup outside of the attachment's), the SYN had
    /// no room, or there was no source (see [`SourceFill::FromSocket`]). Then the peer knows nothing
    /// of the flow's destination. (With `TCP_FASTOPEN_CONNECT` the SYN waits for the first data.)
    Marked,
    /// A SYN with the option has gone out and nothing came back yet.
    SynSent,
    /// A SYN-ACK without a reply: the peer is no node. What a mirrored option is, too.
    Silent,
    /// The SYN-ACK says "understood".
    Understood {
        /// To be used with this node next time, if it gave one.
        cookie: Option<Cookie>,
    },
}

/// What [`mark_state`](crate::Attachment::mark_state) tells of a marked socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkState {
    /// The option. From `connect()` on with the source that was filled in, if any.
    pub option: SynOption,
    /// How far the socket is.
    pub progress: Progress,
}

impl MarkState {
    /// Where the flow is going. `peer_port` is the port that the socket connects to: the form
    /// without a port means that one.
    pub const fn destination(&self, peer_port: u16) -> SocketAddr {
        self.option.destination(peer_port)
    }
}

/// Why a socket was not marked.
#[derive(Debug, thiserror::Error)]
pub enum MarkError {
    /// Not an IPv4 or IPv6 socket of TCP.
    #[error("not a TCP socket")]
    NotTcp,
    /// Linux puts at least the 4 octets of the MSS into each SYN: this form needs a raw sender.
    #[error("an option of {len_octets} octets never fits beside the kernel's own")]
    NoRoom {
        /// What the option takes on the wire.
        len_octets: usize,
    },
    /// The source was to be sent as given and its port is 0.
    #[error("source port 0")]
    SourcePortZero,
    /// The kernel refused.
    #[error("marking the socket: {0}")]
    Io(#[from] io::Error),
}

/// What the kernel leaves at best: it always sends the MSS.
const ROOM_MAX_OCTETS: usize = 36;
/// The source port of the E5F4 forms that have one, and of no other: behind kind, length, `ExID`
/// and two addresses.
const SOURCE_PORT: std::ops::Range<usize> = 12..14;

/// What hangs on the socket to have `option` sent.
pub(crate) fn encode(
    option: &SynOption,
    source: SourceFill,
    outcome: Outcome,
    kind: Kind,
) -> Result<Mark, MarkError> {
    let len_octets = option.len_octets();
    if len_octets > ROOM_MAX_OCTETS {
        return Err(MarkError::NoRoom { len_octets });
    }
    let port_is_zero = option.claimed_source().is_some_and(|it| it.port() == 0);
    let source_flag = match (source, option) {
        (SourceFill::AsGiven, _) if port_is_zero => return Err(MarkError::SourcePortZero),
        (SourceFill::FromSocket, SynOption::V4 { .. }) => FILL_SOURCE,
        (SourceFill::AsGiven | SourceFill::FromSocket, _) => 0,
    };
    let outcome_flag = match outcome {
        Outcome::Asked => 0,
        Outcome::Published => PUBLISH,
    };
    let mut mark = Mark {
        flags: source_flag | outcome_flag,
        phase: FRESH,
        progress: abi::progress::MARKED,
        cookie_len: 0,
        callbacks: 0,
        zero: [0; 3],
        cookie: [0; 4],
        option: [0; OPTION_MAX_OCTETS],
    };
    match option.emit(kind, &mut mark.option) {
        Ok(_) => Ok(mark),
        Err(BufferTooSmall { needed_octets, .. }) => Err(MarkError::NoRoom {
            len_octets: needed_octets,
        }),
    }
}

/// What `mark` says; `None` if it is none of ours.
pub(crate) fn decode(mark: &Mark, kind: Kind) -> Option<MarkState> {
    let mut octets = mark.option;
    // The codec refuses port 0, which stands here until connect() fills it in.
    let unfilled = mark.flags & FILL_SOURCE != 0 && octets[SOURCE_PORT] == [0, 0];
    if unfilled {
        octets[SOURCE_PORT].copy_from_slice(&[0, 1]);
    }
    let octets = octets.get(..usize::from(octets[1]))?;
    let mut option = syn_option(Segment::Syn, octets, kind).ok().flatten()?;
    if let (true, SynOption::V4 { source, .. }) = (unfilled, &mut option) {
        source.set_port(0);
    }
    Some(MarkState {
        option,
        progress: progress(mark)?,
    })
}

fn progress(mark: &Mark) -> Option<Progress> {
    match mark.progress {
        abi::progress::MARKED => Some(Progress::Marked),
        abi::progress::SYN_SENT => Some(Progress::SynSent),
        abi::progress::SILENT => Some(Progress::Silent),
        abi::progress::UNDERSTOOD => Some(Progress::Understood {
            cookie: (mark.cookie_len == 4).then(|| Cookie::from_octets(mark.cookie)),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4, SocketAddrV6};

    use synhop_option::{Extra, HopsLeft, V4Destination, V6Destination, V6Host};

    use super::*;

    const KIND: Kind = Kind::Experiment2;

    fn v4(source: SocketAddrV4, extra: Extra) -> SynOption {
        let destination = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 1), 443);
        SynOption::V4 {
            source,
            destination: V4Destination::new(destination).expect("legal"),
            extra,
        }
    }

    fn unfilled() -> SynOption {
        v4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0), Extra::Nothing)
    }

    #[test]
    fn what_is_marked_is_read_back() {
        let host = "2001:db8::1".parse().expect("an address");
        let source = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 54_321);
        let hops = Extra::Hops(HopsLeft::DEFAULT);
        let options = [
            v4(source, Extra::Nothing),
            v4(source, Extra::Cookie(Cookie::from_octets([1, 2, 3, 4]))),
            v4(source, hops),
            SynOption::V6Address {
                host: V6Host::new(host).expect("legal"),
            },
            SynOption::V6 {
                destination: V6Destination::new(host, 443).expect("legal"),
                extra: hops,
            },
        ];
        for option in options {
            for source in [SourceFill::FromSocket, SourceFill::AsGiven] {
                let mark = encode(&option, source, Outcome::Published, KIND).expect("fits");
                let expected = MarkState {
                    option,
                    progress: Progress::Marked,
                };
                assert_eq!(decode(&mark, KIND), Some(expected));
            }
        }
    }

    #[test]
    fn a_source_yet_to_be_filled_in_may_be_missing() {
        let mark = encode(&unfilled(), SourceFill::FromSocket, Outcome::Asked, KIND).expect("fits");
        let state = decode(&mark, KIND).expect("ours");
        assert_eq!(state.option, unfilled());
        let error = encode(&unfilled(), SourceFill::AsGiven, Outcome::Asked, KIND);
        assert!(matches!(error, Err(MarkError::SourcePortZero)), "{error:?}");
    }

    #[test]
    fn the_full_ipv6_tuple_has_no_room() {
        let host = "2001:db8::1".parse().expect("an address");
        let option = SynOption::V6Tuple {
            source: SocketAddrV6::new(host, 54_321, 0, 0),
            destination: V6Destination::new(host, 443).expect("legal"),
        };
        let error = encode(&option, SourceFill::AsGiven, Outcome::Asked, KIND);
        assert!(
            matches!(error, Err(MarkError::NoRoom { len_octets: 40 })),
            "{error:?}"
        );
    }

    #[test]
    fn progress_is_read_with_its_cookie() {
        let mut mark =
            encode(&unfilled(), SourceFill::FromSocket, Outcome::Asked, KIND).expect("fits");
        let mut progress = |number, cookie_len| {
            (mark.progress, mark.cookie_len, mark.cookie) = (number, cookie_len, [1, 2, 3, 4]);
            decode(&mark, KIND).map(|state| state.progress)
        };
        assert_eq!(progress(1, 0), Some(Progress::SynSent));
        assert_eq!(progress(2, 0), Some(Progress::Silent));
        let cookie = None;
        assert_eq!(progress(3, 0), Some(Progress::Understood { cookie }));
        let cookie = Some(Cookie::from_octets([1, 2, 3, 4]));
        assert_eq!(progress(3, 4), Some(Progress::Understood { cookie }));
        assert_eq!(progress(4, 0), None);
    }
}
