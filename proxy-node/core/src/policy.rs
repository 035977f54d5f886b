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

/// What is the node itself, and what is its machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// The addresses of this machine's interfaces.
    pub addresses: Vec<IpAddr>,
    /// Where the node listens: for flows, and for its status page. A wildcard (`0.0.0.0`, or `::`
    /// for both families) means all of `addresses` and all loopback addresses. One address means
    /// that one: others may listen on the same port of the next.
    pub listens: Vec<SocketAddr>,
}

impl Own {
    /// Whether `address` is of this machine. Loopback addresses that no interface lists do not
    /// count.
    fn has(&self, address: IpAddr) -> bool {
        self.addresses
            .iter()
            .any(|own| own.to_canonical() == address)
    }

    /// Whether the node itself listens there.
    pub(crate) fn listens_at(&self, address: IpAddr, port: u16) -> bool {
        self.listens.iter().any(|listen| {
            let here = listen.ip().to_canonical();
            listen.port() == port
                && (here == address || (covers(here, address) && self.is_local(address)))
        })
    }

    /// Whether a packet to `address` stays on this machine.
    fn is_local(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.has(address)
    }
}

/// Whether `wildcard` is one, and takes connections of the family of `address`. That `::` takes
/// IPv4's as well is Linux's default; where it does not, a flow too many is refused.
const fn covers(wildcard: IpAddr, address: IpAddr) -> bool {
    match wildcard {
        IpAddr::V4(wildcard) => wildcard.is_unspecified() && address.is_ipv4(),
        IpAddr::V6(wildcard) => wildcard.is_unspecified(),
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
        // SPEC section 6.1: neither port of the SYN may be 0, since it could not be sent on.
        if leg.client().port() == 0 || leg.local().port() == 0 {
            return Err(Outcome::SourceNotAllowed);
        }
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

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use ipnet::IpNet;
    use synhop_option::{Extra, HopsLeft, OptionError, SynOption, V4Destination, V6Destination};

    use super::{AllowTo, Own, Policy, PortRange};
    use crate::leg::{Isn, Leg};
    use crate::report::Outcome;
    use crate::syn::Syn;

    fn policy(allow_to: &[&str]) -> Policy {
        let allow_to = allow_to
            .iter()
            .map(|net| AllowTo::from(net.parse::<IpNet>().unwrap()));
        let own = Own {
            addresses: ["203.0.113.1", "2001:db8::1"]
                .map(|own| own.parse().unwrap())
                .into(),
            listens: ["203.0.113.1:7000", "[2001:db8::1]:7000"]
                .map(|listen| listen.parse().unwrap())
                .into(),
        };
        let allow_from = Vec::from(["192.0.2.0/24".parse().unwrap()]);
        Policy::new(allow_from, allow_to.collect(), own, HopsLeft::DEFAULT)
    }

    fn syn_from(client: &str, destination: &str, extra: Extra) -> Syn {
        let option = match destination.parse().unwrap() {
            core::net::SocketAddr::V4(destination) => SynOption::V4 {
                source: "10.9.8.7:6".parse().unwrap(),
                destination: V4Destination::new(destination).unwrap(),
                extra,
            },
            core::net::SocketAddr::V6(destination) => SynOption::V6 {
                destination: V6Destination::new(*destination.ip(), destination.port()).unwrap(),
                extra,
            },
        };
        Syn {
            leg: Leg::new(client.parse().unwrap(), "203.0.113.1:7000".parse().unwrap()),
            isn: Isn(1),
            option: Ok(Some(option)),
        }
    }

    fn verdict(allow_to: &[&str], destination: &str) -> Result<(), Outcome> {
        let syn = syn_from("192.0.2.1:1", destination, Extra::Nothing);
        policy(allow_to).judge(&syn).map(|_| ())
    }

    #[test]
    fn the_ip_header_authorises_not_the_claim() {
        let policy = policy(&["0.0.0.0/0"]);
        let stranger = syn_from("10.9.8.7:6", "198.51.100.1:80", Extra::Nothing);
        assert_eq!(
            policy.judge(&stranger).unwrap_err(),
            Outcome::SourceNotAllowed
        );
        let mapped = syn_from("[::ffff:192.0.2.1]:6", "198.51.100.1:80", Extra::Nothing);
        assert!(policy.judge(&mapped).is_ok());
    }

    #[test]
    fn without_a_legal_option_there_is_no_destination() {
        let mut syn = syn_from("192.0.2.1:1", "198.51.100.1:80", Extra::Nothing);
        syn.option = Ok(None);
        let policy = policy(&["0.0.0.0/0"]);
        assert_eq!(policy.judge(&syn).unwrap_err(), Outcome::NoOption);
        syn.option = Err(OptionError::Duplicate);
        assert_eq!(policy.judge(&syn).unwrap_err(), Outcome::MalformedOption);
    }

    #[test]
    fn destinations() {
        let no = Err(Outcome::DestinationNotAllowed);
        let all = ["0.0.0.0/0", "::/0"];
        assert_eq!(verdict(&all, "198.51.100.1:80"), Ok(()));
        assert_eq!(verdict(&all, "[2001:db8::80]:80"), Ok(()));
        assert_eq!(verdict(&["198.51.100.0/24"], "198.51.101.1:80"), no);
        assert_eq!(verdict(&["0.0.0.0/0"], "[2001:db8::80]:80"), no);
    }

    #[test]
    fn mapped_destinations_are_unmapped_first() {
        let no = Err(Outcome::DestinationNotAllowed);
        assert_eq!(
            verdict(&["198.51.100.0/24"], "[::ffff:198.51.100.1]:80"),
            Ok(())
        );
        assert_eq!(verdict(&["::/0"], "[::ffff:198.51.100.1]:80"), no);
        for hidden in ["0.0.0.1", "127.0.0.1", "169.254.169.254"] {
            let destination = alloc::format!("[::ffff:{hidden}]:80");
            assert_eq!(
                verdict(&["0.0.0.0/0", "::/0"], &destination),
                no,
                "{hidden}"
            );
        }
    }

    #[test]
    fn special_addresses_take_a_prefix_of_their_own() {
        let no = Err(Outcome::DestinationNotAllowed);
        let wide = [
            "0.0.0.0/0",
            "::/0",
            "126.0.0.0/7",
            "169.0.0.0/8",
            "fe00::/7",
        ];
        for (special, narrow) in [
            ("127.0.0.1:80", "127.0.0.0/8"),
            ("127.0.0.1:80", "127.0.0.1/32"),
            ("[::1]:80", "::1/128"),
            ("169.254.169.254:80", "169.254.0.0/16"),
            ("[fe80::1]:80", "fe80::/10"),
            ("0.0.0.1:80", "0.0.0.0/8"),
            ("[::192.0.2.1]:80", "::/96"),
        ] {
            assert_eq!(verdict(&wide, special), no, "{special}");
            assert_eq!(verdict(&[narrow], special), Ok(()), "{special} {narrow}");
        }
    }

    #[test]
    fn ports() {
        let mut policy = policy(&["198.51.100.0/24"]);
        policy.allow_to[0].ports = PortRange {
            first: 80,
            last: 443,
        };
        for (port, allowed) in [(79, false), (80, true), (443, true), (444, false)] {
            let to = alloc::format!("198.51.100.1:{port}");
            let syn = syn_from("192.0.2.1:1", &to, Extra::Nothing);
            assert_eq!(policy.judge(&syn).is_ok(), allowed, "{port}");
        }
    }

    #[test]
    fn the_node_itself() {
        let is_self = Err(Outcome::DestinationIsSelf);
        let all = ["0.0.0.0/0", "::/0", "203.0.113.1/32"];
        assert_eq!(verdict(&all, "203.0.113.1:7000"), is_self);
        assert_eq!(verdict(&all, "[2001:db8::1]:22"), is_self);
        // Named by a prefix of full length: the operator means it.
        assert_eq!(verdict(&all, "203.0.113.1:22"), Ok(()));
        assert_eq!(verdict(&all[..2], "203.0.113.1:22"), is_self);
    }

    #[test]
    fn a_wildcard_listener_is_every_loopback_address() {
        let loopback = "127.0.0.9".parse().unwrap();
        assert!(listening_on("0.0.0.0:7000").listens_at(loopback, 7000));
        assert!(!listening_on("0.0.0.0:7000").listens_at(loopback, 7001));
        assert!(!listening_on("127.0.0.1:7000").listens_at(loopback, 7000));
    }

    #[test]
    fn a_wildcard_listener_is_every_own_address_of_its_families() {
        let v4 = "10.0.0.2".parse().unwrap();
        let v6 = "2001:db8::2".parse().unwrap();
        let elsewhere = "10.0.0.3".parse().unwrap();
        for (listen, families) in [
            ("0.0.0.0:7000", (true, false)),
            ("[::]:7000", (true, true)),
            ("10.0.0.1:7000", (false, false)),
            ("10.0.0.2:7000", (true, false)),
            ("[::ffff:10.0.0.2]:7000", (true, false)),
        ] {
            let own = listening_on(listen);
            let found = (own.listens_at(v4, 7000), own.listens_at(v6, 7000));
            assert_eq!(found, families, "{listen}");
            assert!(!own.listens_at(elsewhere, 7000), "{listen}");
        }
    }

    fn listening_on(listen: &str) -> Own {
        Own {
            addresses: ["10.0.0.1", "10.0.0.2", "2001:db8::2"]
                .map(|own| own.parse().unwrap())
                .into(),
            listens: Vec::from([listen.parse().unwrap()]),
        }
    }

    /// The port of the status page on the next address is somebody else's.
    #[test]
    fn each_port_is_the_nodes_on_its_own_address_only() {
        let own = Own {
            listens: ["10.0.0.1:7000", "127.0.0.1:9404"]
                .map(|listen| listen.parse().unwrap())
                .into(),
            ..listening_on("0.0.0.0:1")
        };
        assert!(own.listens_at("127.0.0.1".parse().unwrap(), 9404));
        assert!(!own.listens_at("127.0.0.1".parse().unwrap(), 7000));
        assert!(!own.listens_at("10.0.0.1".parse().unwrap(), 9404));
    }

    #[test]
    fn hops() {
        let policy = policy(&["198.51.100.0/24"]);
        let hops_left = |extra| {
            let syn = syn_from("192.0.2.1:1", "198.51.100.1:80", extra);
            policy.judge(&syn).map(|permit| permit.hops_left.get())
        };
        assert_eq!(hops_left(Extra::Nothing), Ok(8));
        assert_eq!(hops_left(Extra::Hops(HopsLeft::new(1))), Ok(1));
        assert_eq!(
            hops_left(Extra::Hops(HopsLeft::new(0))),
            Err(Outcome::HopsExhausted)
        );
    }

    #[test]
    fn checks_come_in_order() {
        let policy = policy(&["203.0.113.0/24"]);
        let judge = |client, to, hops| {
            let extra = Extra::Hops(HopsLeft::new(hops));
            policy.judge(&syn_from(client, to, extra)).unwrap_err()
        };
        let (friend, stranger) = ("192.0.2.1:1", "192.0.3.1:1");
        assert_eq!(
            judge(stranger, "198.51.100.1:80", 0),
            Outcome::SourceNotAllowed
        );
        assert_eq!(
            judge(friend, "198.51.100.1:80", 0),
            Outcome::DestinationNotAllowed
        );
        assert_eq!(judge(friend, "203.0.113.1:7000", 0), Outcome::HopsExhausted);
        assert_eq!(
            judge(friend, "203.0.113.1:7000", 1),
            Outcome::DestinationIsSelf
        );
    }
}
