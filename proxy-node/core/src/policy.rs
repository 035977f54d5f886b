//! Who may go where: every check on a SYN that does not depend on other flows.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use synhop_option::{HopsLeft, SynOption, V4Destination, V6Destination};

use crate::leg::{Leg, canonical};
use crate::report::Outcome;
use crate::syn::Syn;

/// Destinations that may be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllowTo {
    /// Their addresses. Host bits are ignored.
    pub prefix: IpNet,
    /// Their ports.
    pub ports: PortRange,
}

impl From<IpNet> for AllowTo {
    /// Every port.
    fn from(prefix: IpNet) -> Self {
        Self {
            prefix,
            ports: PortRange::ALL,
        }
    }
}

/// Ports from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// The first of them.
    pub first: u16,
    /// The last of them; not below `first`.
    pub last: u16,
}

impl PortRange {
    /// Every port that a flow can have.
    pub const ALL: Self = Self {
        first: 1,
        last: u16::MAX,
    };

    const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

/// The addresses and ports that are the node itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// Every address of this machine that a flow could come back to. A wildcard (`0.0.0.0`, `::`)
    /// adds all loopback addresses; the addresses of the interfaces have to be listed.
    pub addresses: Vec<IpAddr>,
    /// The ports the node listens on: for flows, and for its status page.
    pub ports: Vec<u16>,
}

impl Own {
    /// Whether `address` is of this machine.
    fn has(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|own| {
            let own = own.to_canonical();
            own == address || (own.is_unspecified() && address.is_loopback())
        })
    }

    /// Whether the node itself listens there.
    pub(crate) fn listens_at(&self, address: IpAddr, port: u16) -> bool {
        self.ports.contains(&port) && self.has(address)
    }
}

/// The node's rules, and their order: that of the checks in [`Policy::judge`].
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    allow_from: Vec<IpNet>,
    allow_to: Vec<AllowTo>,
    own: Own,
    hop_limit: HopsLeft,
}

/// What a SYN that passed every check asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Permit {
    /// The option, as received.
    pub option: SynOption,
    /// Where the flow is going, unmapped.
    pub destination: SocketAddr,
    /// How many more nodes may forward it, this one included; not 0.
    pub hops_left: HopsLeft,
}

impl Policy {
    pub(crate) const fn new(
        allow_from: Vec<IpNet>,
        allow_to: Vec<AllowTo>,
        own: Own,
        hop_limit: HopsLeft,
    ) -> Self {
        Self {
            allow_from,
            allow_to,
            own,
            hop_limit,
        }
    }

    /// Checks, in this order: the option is there and legal; the source in the IP header may use
    /// the node; the destination, unmapped, is one a flow can have and may be reached; hops are
    /// left; the destination is not the node itself.
    pub(crate) fn judge(&self, syn: &Syn) -> Result<Permit, Outcome> {
        let option = match syn.option {
            Ok(Some(option)) => option,
            Ok(None) => return Err(Outcome::NoOption),
            Err(_) => return Err(Outcome::MalformedOption),
        };
        self.check_source(&syn.leg)?;
        let destination = canonical(option.destination(syn.leg.local().port()));
        self.check_destination(destination)?;
        let hops_left = option.hops_left().unwrap_or(self.hop_limit);
        if hops_left.get() == 0 {
            return Err(Outcome::HopsExhausted);
        }
        self.check_not_self(destination)?;
        Ok(Permit {
            option,
            destination,
            hops_left,
        })
    }

    fn check_source(&self, leg: &Leg) -> Result<(), Outcome> {
        let source = leg.source();
        if self.allow_from.iter().any(|net| net.contains(&source)) {
            Ok(())
        } else {
            Err(Outcome::SourceNotAllowed)
        }
    }

    fn check_destination(&self, destination: SocketAddr) -> Result<(), Outcome> {
        // Unmapping may have uncovered an address that the codec refuses.
        let legal = match destination {
            SocketAddr::V4(address) => V4Destination::new(address).is_ok(),
            SocketAddr::V6(address) => V6Destination::new(*address.ip(), address.port()).is_ok(),
        };
        let allowed = self
            .allow_to
            .iter()
            .any(|allow| allows(allow, destination.ip(), destination.port()));
        if legal && allowed {
            Ok(())
        } else {
            Err(Outcome::DestinationNotAllowed)
        }
    }

    /// Where the node listens is refused whatever is allowed: the flow would come back. Its other
    /// ports are refused unless a prefix of full length names the address.
    fn check_not_self(&self, destination: SocketAddr) -> Result<(), Outcome> {
        let (address, port) = (destination.ip(), destination.port());
        let named = || {
            self.allow_to.iter().any(|allow| {
                allow.prefix.prefix_len() == allow.prefix.max_prefix_len()
                    && allows(allow, address, port)
            })
        };
        let local = || self.own.has(address) && !address.is_loopback() && !named();
        if self.own.listens_at(address, port) || local() {
            Err(Outcome::DestinationIsSelf)
        } else {
            Ok(())
        }
    }
}

/// Whether `allow` lets a flow go there. Loopback and link-local addresses mean the node's own
/// machine and links, which `0.0.0.0/0` is not meant to open: they take a prefix that lies wholly
/// within the special range (`127.0.0.1/32`, `127.0.0.0/8`, `::1/128`, `169.254.0.0/16`,
/// `fe80::/10`).
fn allows(allow: &AllowTo, address: IpAddr, port: u16) -> bool {
    allow.ports.contains(port)
        && allow.prefix.contains(&address)
        && (!is_special(address) || within_special(&allow.prefix))
}

fn is_special(address: IpAddr) -> bool {
    match address {
        // 0.0.0.0/8 is "this network" (RFC 1122 section 3.2.1.3): Linux takes some of it for itself.
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local() || v4.octets()[0] == 0,
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local() || is_compatible(v6),
    }
}

/// `::/96`, the v4-compatible addresses that RFC 4291 section 2.5.5.1 gave up.
fn is_compatible(address: Ipv6Addr) -> bool {
    address.to_bits() >> 32 == 0
}

fn within_special(prefix: &IpNet) -> bool {
    is_special(prefix.network())
        && is_special(prefix.broadcast())
        && match prefix {
            IpNet::V4(net) => net.prefix_len() >= 8,
            IpNet::V6(net) => net.prefix_len() >= 10,
        }
}
