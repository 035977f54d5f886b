//! Which connections go through a proxy.

use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddrV4;
use core::str::FromStr;

use ipnet::Ipv4Net;
use synhop_option::V4Destination;

use crate::routes::{NextHop, Routes};
use crate::sockaddr::Endpoint;

/// The client's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Which proxy serves which destination.
    pub routes: Routes,
    /// Destinations that no route applies to.
    pub bypass: Vec<Ipv4Net>,
    /// What to do when the proxy turns out to be none.
    pub fallback: Fallback,
}

/// What to do when the proxy is no node, or cannot be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fallback {
    /// Connect to the destination itself.
    #[default]
    Direct,
    /// `connect()` fails.
    Fail,
}

/// The kind of a socket, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketKind {
    /// TCP.
    Tcp,
    /// TCP whose `connect()` sends no SYN, but the first write (`TCP_FASTOPEN_CONNECT`): whether
    /// the peer is a node is not known before the data are on their way.
    DeferredTcp,
    /// Everything else, MPTCP too.
    Other,
}

/// What is to be done with a `connect()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Mark the socket with `destination`, connect it to `proxy`.
    Proxy {
        /// The node.
        proxy: SocketAddrV4,
        /// Where the flow is going.
        destination: V4Destination,
    },
    /// Leave it alone.
    Pass(PassReason),
}

/// Why a `connect()` is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassReason {
    /// Not a TCP socket.
    NotTcp,
    /// `TCP_FASTOPEN_CONNECT`.
    Deferred,
    /// Port 0, or an unspecified, multicast or broadcast address.
    NoDestination,
    /// 127.0.0.0/8.
    Loopback,
    /// 169.254.0.0/16: means something else at the proxy.
    LinkLocal,
    /// The proxy itself.
    ProxyItself,
    /// On the bypass list.
    Bypass,
    /// No route leads to a proxy.
    NoRoute,
}

impl Policy {
    /// What is to be done with a `connect()` of a `kind` socket to `endpoint`.
    pub fn decide(&self, kind: SocketKind, endpoint: Endpoint) -> Decision {
        let address = endpoint.address;
        let Ok(destination) = V4Destination::new(address) else {
            return Decision::Pass(PassReason::NoDestination);
        };
        match (kind, self.exempt(address)) {
            (SocketKind::Other, _) => Decision::Pass(PassReason::NotTcp),
            (SocketKind::Tcp | SocketKind::DeferredTcp, Some(reason)) => Decision::Pass(reason),
            (SocketKind::DeferredTcp, None) => Decision::Pass(PassReason::Deferred),
            (SocketKind::Tcp, None) => match self.routes.next_hop(*address.ip()) {
                NextHop::Proxy(proxy) => Decision::Proxy { proxy, destination },
                NextHop::Direct => Decision::Pass(PassReason::NoRoute),
            },
        }
    }

    fn exempt(&self, address: SocketAddrV4) -> Option<PassReason> {
        if address.ip().is_loopback() {
            Some(PassReason::Loopback)
        } else if address.ip().is_link_local() {
            Some(PassReason::LinkLocal)
        } else if self.routes.is_proxy(address) {
            Some(PassReason::ProxyItself)
        } else if self.bypass.iter().any(|net| net.contains(address.ip())) {
            Some(PassReason::Bypass)
        } else {
            None
        }
    }
}

impl fmt::Display for PassReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotTcp => "not TCP",
            Self::Deferred => "TCP Fast Open",
            Self::NoDestination => "no unicast destination",
            Self::Loopback => "loopback",
            Self::LinkLocal => "link-local",
            Self::ProxyItself => "the proxy itself",
            Self::Bypass => "bypass list",
            Self::NoRoute => "no route to a proxy",
        })
    }
}

impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct",
            Self::Fail => "fail",
        })
    }
}

impl FromStr for Fallback {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "direct" => Ok(Self::Direct),
            "fail" => Ok(Self::Fail),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sockaddr::Form;

    fn policy() -> Policy {
        Policy {
            routes: Routes::all_through("192.0.2.1:7000".parse().unwrap()).unwrap(),
            bypass: alloc::vec!["10.0.0.0/8".parse().unwrap()],
            fallback: Fallback::Direct,
        }
    }

    fn decide(kind: SocketKind, address: &str) -> Decision {
        let address = address.parse().unwrap();
        policy().decide(
            kind,
            Endpoint {
                address,
                form: Form::Plain,
            },
        )
    }

    #[test]
    fn tcp_to_elsewhere_is_proxied() {
        let expected = Decision::Proxy {
            proxy: "192.0.2.1:7000".parse().unwrap(),
            destination: V4Destination::new("198.51.100.1:443".parse().unwrap()).unwrap(),
        };
        assert_eq!(decide(SocketKind::Tcp, "198.51.100.1:443"), expected);
        // Another port of the proxy's host is a destination like others.
        let other_port = decide(SocketKind::Tcp, "192.0.2.1:22");
        assert!(matches!(other_port, Decision::Proxy { .. }));
    }

    #[test]
    fn what_must_pass_passes() {
        for (kind, address, reason) in [
            (SocketKind::Other, "198.51.100.1:53", PassReason::NotTcp),
            (
                SocketKind::DeferredTcp,
                "198.51.100.1:53",
                PassReason::Deferred,
            ),
            (
                SocketKind::DeferredTcp,
                "127.0.0.1:53",
                PassReason::Loopback,
            ),
            (SocketKind::Tcp, "127.9.9.9:80", PassReason::Loopback),
            (SocketKind::Tcp, "169.254.169.254:80", PassReason::LinkLocal),
            (SocketKind::Tcp, "0.0.0.0:80", PassReason::NoDestination),
            (SocketKind::Tcp, "224.0.0.1:80", PassReason::NoDestination),
            (
                SocketKind::Tcp,
                "255.255.255.255:80",
                PassReason::NoDestination,
            ),
            (SocketKind::Tcp, "198.51.100.1:0", PassReason::NoDestination),
            (SocketKind::Tcp, "192.0.2.1:7000", PassReason::ProxyItself),
            (SocketKind::Tcp, "10.1.2.3:80", PassReason::Bypass),
        ] {
            assert_eq!(decide(kind, address), Decision::Pass(reason), "{address}");
        }
    }

    #[test]
    fn without_routes_everything_passes() {
        let endpoint = Endpoint {
            address: "198.51.100.1:443".parse().unwrap(),
            form: Form::Mapped,
        };
        let decision = Policy::default().decide(SocketKind::Tcp, endpoint);
        assert_eq!(decision, Decision::Pass(PassReason::NoRoute));
    }
}
