//! What the engine says, and what can go wrong.

use core::fmt;
use core::net::SocketAddr;

use synhop_option::{OptionError, SynAckOption, SynOption};

use crate::connection::{Failure, Tuple};
use crate::seq::Seq;
use crate::table::slab::ConnId;

/// A SYN that has come to a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syn {
    /// Who sent it.
    pub client: SocketAddr,
    /// To which of our addresses.
    pub local: SocketAddr,
    /// Its sequence number.
    pub isn: Seq,
    /// Our option, if it has one.
    pub option: Result<Option<SynOption>, OptionError>,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A SYN has come; the answer goes out by itself.
    Syn(Syn),
    /// The handshake that began with this SYN is complete.
    Accepted {
        /// The new connection.
        connection: ConnId,
        /// Its SYN.
        syn: Syn,
    },
    /// A client went away before its handshake was complete.
    Abandoned {
        /// Its SYN, without the option.
        client: SocketAddr,
        /// To which of our addresses.
        local: SocketAddr,
        /// Its sequence number.
        isn: Seq,
    },
    /// A connection that we opened is established.
    Connected {
        /// Which.
        connection: ConnId,
        /// The peer's reply to our option.
        reply: Option<SynAckOption>,
    },
    /// A connection outside of a pair ended before its time, and is gone.
    Failed {
        /// Which.
        connection: ConnId,
        /// Why.
        failure: Failure,
    },
    /// A connection outside of a pair finished in both directions, and is gone.
    Closed {
        /// Which.
        connection: ConnId,
    },
    /// A pair is over, and both of its connections are gone.
    PairEnded(PairEnd),
}

/// The end of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairEnd {
    /// The first of the two given to [`Engine::join`](crate::Engine::join).
    pub first: ConnId,
    /// The second.
    pub second: ConnId,
    /// Which of them ended it before its time, and why.
    pub broken: Option<(ConnId, Failure)>,
    /// Octets that passed from the first to the second.
    pub forth_octets: u64,
    /// Octets that passed from the second to the first.
    pub back_octets: u64,
}

/// The TCP segment that an ICMP error quotes: we sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// Its ends, ours as local.
    pub tuple: Tuple,
    /// Its sequence number.
    pub seq: Seq,
}

/// Why no SYN went out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// The table of connections is full.
    TooMany,
    /// All ephemeral ports to this destination are in use.
    NoPort,
    /// Our address and the destination are of different families.
    Families,
    /// The option does not fit beside the others.
    NoRoom {
        /// What it takes.
        len_octets: usize,
    },
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => f.write_str("the table of connections is full"),
            Self::NoPort => f.write_str("every port to this destination is in use"),
            Self::Families => f.write_str("no address of the destination's family"),
            Self::NoRoom { len_octets } => {
                write!(
                    f,
                    "an option of {len_octets} octets does not fit into the SYN"
                )
            }
        }
    }
}

impl core::error::Error for ConnectError {}

/// Totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Segments taken.
    pub received: u64,
    /// Octets that are no segment.
    pub malformed: u64,
    /// Segments of no connection.
    pub stray: u64,
    /// SYNs for which there was no room.
    pub syns_dropped: u64,
    /// Segments that would have been sent outside of any connection.
    pub answers_dropped: u64,
    /// Connections whose octets behind holes were dropped for memory, each time.
    pub reneged: u64,
}
