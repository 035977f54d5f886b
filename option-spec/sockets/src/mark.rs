//! Marking a socket before `connect()`, and what became of it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use socket2::{Domain, Protocol, SockRef};
use synhop_option::{BufferTooSmall, Cookie, Kind, Segment, SynOption, syn_option};

use crate::abi::{self, FILL_SOURCE, Mark, OPTION_MAX_OCTETS};

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
    kind: Kind,
) -> Result<Mark, MarkError> {
    let len_octets = option.len_octets();
    if len_octets > ROOM_MAX_OCTETS {
        return Err(MarkError::NoRoom { len_octets });
    }
    let port_is_zero = option.claimed_source().is_some_and(|it| it.port() == 0);
    let flags = match (source, option) {
        (SourceFill::AsGiven, _) if port_is_zero => return Err(MarkError::SourcePortZero),
        (SourceFill::FromSocket, SynOption::V4 { .. }) => FILL_SOURCE,
        (SourceFill::AsGiven | SourceFill::FromSocket, _) => 0,
    };
    let mut mark = Mark {
        flags,
        armed: 0,
        progress: abi::progress::MARKED,
        cookie_len: 0,
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

/// Refuses what is no TCP socket: the kernel would store the mark on any socket, to no effect.
pub(crate) fn require_tcp(fd: &impl AsFd) -> Result<(), MarkError> {
    let socket = SockRef::from(fd);
    let domain = socket.domain()?;
    if (domain == Domain::IPV4 || domain == Domain::IPV6)
        && socket.protocol()? == Some(Protocol::TCP)
    {
        Ok(())
    } else {
        Err(MarkError::NotTcp)
    }
}
