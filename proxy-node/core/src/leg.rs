//! What tells one connection attempt of the upstream leg from another.

use core::net::{IpAddr, SocketAddr};

/// The upstream leg: the client (or the node before this one) and the node's own end, as both
/// stand in the headers of the SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Leg {
    client: SocketAddr,
    local: SocketAddr,
}

impl Leg {
    /// The leg between these two ends.
    ///
    /// Both are brought into one notation, so that what a packet says equals what a socket says:
    /// v4-mapped addresses become IPv4, scope and flow label become 0.
    pub fn new(client: SocketAddr, local: SocketAddr) -> Self {
        Self {
            client: canonical(client),
            local: canonical(local),
        }
    }

    /// The far end: source address and port of the SYN.
    pub const fn client(&self) -> SocketAddr {
        self.client
    }

    /// The node's end: destination address and port of the SYN.
    pub const fn local(&self) -> SocketAddr {
        self.local
    }

    /// The far end's address, for authorisation and admission.
    pub const fn source(&self) -> IpAddr {
        self.client.ip()
    }
}

/// Initial sequence number of a SYN (RFC 9293 section 3.4.1). With the leg it tells a
/// retransmission (the same) from a new attempt (another).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Isn(pub u32);

/// v4-mapped addresses as IPv4; scope and flow label 0.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
