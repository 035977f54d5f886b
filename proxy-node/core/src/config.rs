//! What a node is told: [`Settings`] as the operator gave them, [`Config`] once they were checked.

use alloc::vec::Vec;
use core::net::IpAddr;

use ipnet::IpNet;
use synhop_option::HopsLeft;

use crate::onward::{AddressForm, Capabilities};
use crate::policy::{AllowTo, Own, Policy};
use crate::routes::{NextHop, Route, Routes};

mod error;
mod limits;

pub use error::ConfigError;
pub use limits::{Limits, Timeouts};

/// A node's settings, unchecked. [`Settings::default`] allows nobody anything: at least
/// `allow_from` and `allow_to` have to be filled in.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who may use the node, by the source address in the IP header. Not empty.
    pub allow_from: Vec<IpNet>,
    /// What may be reached through the node. Not empty.
    pub allow_to: Vec<AllowTo>,
    /// Sources whose bare SYN is acted on at once. They need `allow_from` as well.
    pub trusted: Vec<IpNet>,
    /// The node itself, so that no flow is sent back to it.
    pub own: Own,
    /// Where flows go next, by destination.
    pub routes: Vec<Route>,
    /// Where flows go that no route matches.
    pub default_route: NextHop,
    /// What `hops_left` starts from when a SYN has none; 1 to 255, default 8 (SPEC section 6.3).
    pub hop_limit: HopsLeft,
    /// What the shell's SYNs can carry.
    pub capabilities: Capabilities,
    /// How much there may be of everything.
    pub limits: Limits,
    /// How long everything may take.
    pub timeouts: Timeouts,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            allow_from: Vec::new(),
            allow_to: Vec::new(),
            trusted: Vec::new(),
            own: Own::default(),
            routes: Vec::new(),
            default_route: NextHop::Destination,
            hop_limit: HopsLeft::DEFAULT,
            capabilities: Capabilities::default(),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
        }
    }
}

/// Settings that make sense.
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) policy: Policy,
    pub(crate) routes: Routes,
    pub(crate) capabilities: Capabilities,
    pub(crate) trusted: Vec<IpNet>,
    pub(crate) limits: Limits,
    pub(crate) timeouts: Timeouts,
}

impl Config {
    /// Checks `settings`; the first thing found wrong is the error.
    pub fn new(settings: Settings) -> Result<Self, ConfigError> {
        check_prefixes(&settings)?;
        check_limits(&settings.limits)?;
        check_timeouts(&settings.timeouts)?;
        check_capabilities(settings.capabilities)?;
        if settings.hop_limit.get() == 0 {
            return Err(ConfigError::NoHops);
        }
        let routes = Routes::new(&settings.routes, settings.default_route)?;
        for next in routes.next_hops() {
            check_next_hop(next, &settings.own)?;
        }
        Ok(Self {
            policy: Policy::new(
                settings.allow_from,
                settings.allow_to,
                settings.own,
                settings.hop_limit,
            ),
            routes,
            capabilities: settings.capabilities,
            trusted: settings.trusted,
            limits: settings.limits,
            timeouts: settings.timeouts,
        })
    }

    /// How much there may be of everything.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How long everything may take.
    pub const fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }
}

fn check_prefixes(settings: &Settings) -> Result<(), ConfigError> {
    if settings.allow_from.is_empty() {
        return Err(ConfigError::NoAllowFrom);
    }
    if settings.allow_to.is_empty() {
        return Err(ConfigError::NoAllowTo);
    }
    let allow_to = settings.allow_to.iter().map(|allow| &allow.prefix);
    let routes = settings.routes.iter().map(|route| &route.prefix);
    let mut prefixes = settings
        .allow_from
        .iter()
        .chain(allow_to)
        .chain(&settings.trusted)
        .chain(routes);
    if let Some(prefix) = prefixes.find(|prefix| is_mapped(prefix)) {
        return Err(ConfigError::MappedPrefix { prefix: *prefix });
    }
    let mut ranges = settings.allow_to.iter();
    match ranges.find(|allow| allow.ports.first > allow.ports.last) {
        Some(allow) => Err(ConfigError::EmptyPortRange { allow: *allow }),
        None => Ok(()),
    }
}

fn is_mapped(prefix: &IpNet) -> bool {
    match prefix {
        IpNet::V4(_) => false,
        IpNet::V6(net) => net.prefix_len() >= 96 && net.addr().to_ipv4_mapped().is_some(),
    }
}

fn check_limits(limits: &Limits) -> Result<(), ConfigError> {
    let rows = [
        ("flows", limits.flows, Limits::MAX_FLOWS),
        ("pending", limits.pending, limits.flows),
        ("pending_per_source", limits.pending_per_source, Limits::MAX),
        (
            "syn_rate_per_source",
            limits.syn_rate_per_source,
            Limits::MAX,
        ),
        (
            "syn_burst_per_source",
            limits.syn_burst_per_source,
            Limits::MAX,
        ),
        ("sources", limits.sources, Limits::MAX),
    ];
    let mut wrong = rows
        .into_iter()
        .filter(|(_, value, most)| *value == 0 || value > most);
    match wrong.next() {
        Some((name, value, most)) => Err(ConfigError::Limit { name, value, most }),
        None => Ok(()),
    }
}

fn check_timeouts(timeouts: &Timeouts) -> Result<(), ConfigError> {
    let rows = [
        ("handshake", timeouts.handshake),
        ("connect", timeouts.connect),
        ("idle", timeouts.idle),
        ("shutdown_grace", timeouts.shutdown_grace),
        ("recent_handshake", timeouts.recent_handshake),
    ];
    let mut wrong = rows
        .into_iter()
        .filter(|(_, value)| value.is_zero() || *value > Timeouts::MAX);
    match wrong.next() {
        Some((name, value)) => Err(ConfigError::Timeout { name, value }),
        None => Ok(()),
    }
}

fn check_capabilities(capabilities: Capabilities) -> Result<(), ConfigError> {
    let Capabilities {
        room_octets,
        address_form: AddressForm::Never | AddressForm::NextNodeTakesEveryPort,
    } = capabilities;
    if (Capabilities::MIN_ROOM_OCTETS..=Capabilities::MAX_ROOM_OCTETS).contains(&room_octets) {
        Ok(())
    } else {
        Err(ConfigError::OptionRoom { room_octets })
    }
}

fn check_next_hop(next: NextHop, own: &Own) -> Result<(), ConfigError> {
    let node = match next {
        NextHop::Node(node) => node,
        NextHop::Destination => return Ok(()),
    };
    let address = node.ip().to_canonical();
    let broadcast = match address {
        IpAddr::V4(address) => address.is_broadcast(),
        IpAddr::V6(_) => false,
    };
    if node.port() == 0 || address.is_unspecified() || address.is_multicast() || broadcast {
        Err(ConfigError::BadNextHop { node })
    } else if own.listens_at(address, node.port()) {
        Err(ConfigError::NextHopIsSelf { node })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec::Vec;
    use core::time::Duration;

    use super::{Config, ConfigError, Settings};
    use crate::policy::{Own, PortRange};
    use crate::routes::{NextHop, Route, RoutesError};

    fn settings() -> Settings {
        Settings {
            allow_from: Vec::from(["10.0.0.0/8".parse().unwrap()]),
            allow_to: Vec::from(["0.0.0.0/0".parse::<ipnet::IpNet>().unwrap().into()]),
            own: Own {
                addresses: Vec::from(["10.0.0.1".parse().unwrap()]),
                listens: Vec::from(["10.0.0.1:7000".parse().unwrap()]),
            },
            ..Settings::default()
        }
    }

    fn wrong(change: impl FnOnce(&mut Settings)) -> ConfigError {
        let mut settings = settings();
        change(&mut settings);
        Config::new(settings).unwrap_err()
    }

    #[test]
    fn settings_that_make_sense() {
        assert!(Config::new(settings()).is_ok());
    }

    #[test]
    fn nothing_is_allowed_by_accident() {
        assert_eq!(wrong(|s| s.allow_from.clear()), ConfigError::NoAllowFrom);
        assert_eq!(wrong(|s| s.allow_to.clear()), ConfigError::NoAllowTo);
    }

    #[test]
    fn prefixes_that_would_never_match() {
        let prefix = "::ffff:10.0.0.0/104".parse().unwrap();
        let mapped = ConfigError::MappedPrefix { prefix };
        assert_eq!(wrong(|s| s.allow_from.push(prefix)), mapped);
        assert_eq!(wrong(|s| s.allow_to.push(prefix.into())), mapped);
        assert_eq!(wrong(|s| s.trusted.push(prefix)), mapped);
        let next = NextHop::Destination;
        assert_eq!(wrong(|s| s.routes.push(Route { prefix, next })), mapped);
    }

    #[test]
    fn ports_that_run_backwards() {
        let ports = PortRange { first: 2, last: 1 };
        let error = wrong(|s| s.allow_to[0].ports = ports);
        assert_eq!(error.to_string(), "ports 2-1 of 0.0.0.0/0 run backwards");
    }

    #[test]
    fn next_hops() {
        for bad in [
            "10.0.0.2:0",
            "0.0.0.0:1",
            "[ff02::1]:1",
            "255.255.255.255:1",
        ] {
            let node = bad.parse().unwrap();
            let error = wrong(|s| s.default_route = NextHop::Node(node));
            assert_eq!(error, ConfigError::BadNextHop { node });
        }
        let node = "[::ffff:10.0.0.1]:7000".parse().unwrap();
        let prefix = "10.1.0.0/16".parse().unwrap();
        let next = NextHop::Node(node);
        let neighbour = NextHop::Node("10.0.0.2:7000".parse().unwrap());
        let mut next_door = settings();
        next_door.own.addresses.push("10.0.0.2".parse().unwrap());
        next_door.default_route = neighbour;
        assert!(Config::new(next_door.clone()).is_ok());
        next_door.own.listens = Vec::from(["0.0.0.0:7000".parse().unwrap()]);
        assert!(Config::new(next_door).is_err());
        assert_eq!(
            wrong(|s| s.routes.push(Route { prefix, next })),
            ConfigError::NextHopIsSelf { node }
        );
        assert_eq!(
            wrong(|s| s.routes = Vec::from([Route { prefix, next }; 2])),
            ConfigError::Routes(RoutesError::Duplicate { prefix })
        );
    }

    #[test]
    fn limits_and_timeouts_are_named() {
        let error = wrong(|s| s.limits.sources = 0);
        assert_eq!(error.to_string(), "limit sources is 0: it is 1 to 1048576");
        let error = wrong(|s| s.limits.pending = s.limits.flows + 1);
        assert_eq!(error.to_string(), "limit pending is 4097: it is 1 to 4096");
        let error = wrong(|s| s.timeouts.idle = Duration::ZERO);
        assert_eq!(
            error.to_string(),
            "timeout idle is 0ns: it is above 0 and at most 2592000s"
        );
        let error = wrong(|s| s.capabilities.room_octets = 17);
        assert_eq!(
            error.to_string(),
            "room for the option is 17 octets: it is 18 to 40"
        );
        let error = wrong(|s| s.hop_limit = synhop_option::HopsLeft::new(0));
        assert_eq!(error, ConfigError::NoHops);
    }
}
