//! Listeners: where they are, so that the programs know the SYNs that are theirs.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Socket};

use crate::abi::ListenerKey;
use crate::sys;

/// Why a socket does not listen for options.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The socket has no port yet.
    #[error("bind the socket before it listens")]
    NotBound,
    /// The socket listens already: the kernel calls the program when it starts to, and only then.
    #[error("the socket listens already; leave listen() to the attachment")]
    ListensAlready,
    /// The program did not see the socket start to listen. It listens, without options.
    #[error(
        "the socket belongs to a cgroup outside of the attachment's: make it in a process within, or \
         attach further up"
    )]
    NotEffective,
    /// Not an IPv4 or IPv6 socket.
    #[error("not a TCP socket")]
    NotTcp,
    /// The table is full of listeners.
    #[error("no more than {limit} listeners; take some back with unlisten()")]
    TooMany {
        /// How many addresses there may be; a dual-stack listener on any address takes two.
        limit: u32,
    },
    /// The kernel refused.
    #[error("{step}: {source}")]
    Io {
        /// What was being done.
        step: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl ListenError {
    pub(crate) fn io(step: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { step, source }
    }
}

/// The keys under which SYNs to this bound socket are found: one, or two when it takes both
/// families.
pub(crate) fn keys(socket: &Socket) -> Result<Vec<ListenerKey>, ListenError> {
    let address = socket
        .local_addr()
        .map_err(ListenError::io("getsockname"))?
        .as_socket()
        .ok_or(ListenError::NotTcp)?;
    if address.port() == 0 {
        return Err(ListenError::NotBound);
    }
    let netns_cookie = sys::netns_cookie(socket).map_err(ListenError::io("SO_NETNS_COOKIE"))?;
    let key = |ip| ListenerKey {
        netns_cookie,
        address: on_the_wire(ip).octets(),
        port: address.port(),
        zero: [0; 6],
    };
    let mut keys = vec![key(address.ip())];
    if takes_both_families(socket, address).map_err(ListenError::io("IPV6_V6ONLY"))? {
        keys.push(key(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
    }
    Ok(keys)
}

fn takes_both_families(socket: &Socket, address: SocketAddr) -> io::Result<bool> {
    Ok(socket.domain()? == Domain::IPV6 && address.ip().is_unspecified() && !socket.only_v6()?)
}

/// IPv4 as `::ffff:a.b.c.d`, whatever the socket calls it.
const fn on_the_wire(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}
