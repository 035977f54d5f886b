//! Where a flow goes next: longest prefix match on its destination.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// Where the onward SYN is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum NextHop {
    /// To another node, which learns the destination from the option.
    Node(SocketAddr),
    /// To the destination itself, without an option: this is the last node.
    #[default]
    Destination,
}

/// One entry of the routing table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The destinations it is for. Host bits are ignored.
    pub prefix: IpNet,
    /// Where they go.
    pub next: NextHop,
}

/// A longest-prefix-match table for both families.
///
/// One ordered map per prefix length in use, longest first: a look-up costs at most 33 or 129 map
/// look-ups, and as many as there are different lengths in practice.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    v4: Family,
    v6: Family,
    default: NextHop,
}

impl Routes {
    /// More routes than anybody writes by hand; memory stays below some megabytes.
    pub const MAX_ROUTES: usize = 65_536;

    /// A table of `routes`; what matches none of them goes to `default`.
    pub fn new(routes: &[Route], default: NextHop) -> Result<Self, RoutesError> {
        if routes.len() > Self::MAX_ROUTES {
            return Err(RoutesError::TooMany {
                count: routes.len(),
            });
        }
        let mut table = Self {
            default,
            ..Self::default()
        };
        for route in routes {
            let prefix = route.prefix;
            let family = match prefix {
                IpNet::V4(_) => &mut table.v4,
                IpNet::V6(_) => &mut table.v6,
            };
            let level = family.level(prefix.prefix_len());
            if level.insert(bits(prefix.network()), route.next).is_some() {
                return Err(RoutesError::Duplicate { prefix });
            }
        }
        Ok(table)
    }

    /// Where a flow to `destination` goes next. The caller has unmapped v4-mapped addresses.
    pub fn next_hop(&self, destination: IpAddr) -> NextHop {
        let (family, width) = match destination {
            IpAddr::V4(_) => (&self.v4, 32),
            IpAddr::V6(_) => (&self.v6, 128),
        };
        family
            .lookup(bits(destination), width)
            .unwrap_or(self.default)
    }

    /// Every next hop in use, the default included.
    pub fn next_hops(&self) -> impl Iterator<Item = NextHop> + '_ {
        [&self.v4, &self.v6]
            .into_iter()
            .flat_map(|family| &family.levels)
            .flat_map(|level| level.entries.values().copied())
            .chain([self.default])
    }
}

/// Why a routing table cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoutesError {
    /// More than [`Routes::MAX_ROUTES`].
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// The prefix occurs twice.
    Duplicate {
        /// Its second occurrence.
        prefix: IpNet,
    },
}

impl core::fmt::Display for RoutesError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::TooMany { count } => write!(
                f,
                "{count} routes are more than the {} there may be",
                Routes::MAX_ROUTES
            ),
            Self::Duplicate { prefix } => write!(f, "route {prefix} is there twice"),
        }
    }
}

impl core::error::Error for RoutesError {}

/// The routes of one family, longest prefixes first.
#[derive(Clone, Debug, Default)]
struct Family {
    levels: Vec<Level>,
}

/// The routes of one prefix length, by their network address.
#[derive(Clone, Debug)]
struct Level {
    prefix_len: u8,
    entries: BTreeMap<u128, NextHop>,
}

impl Family {
    fn level(&mut self, prefix_len: u8) -> &mut BTreeMap<u128, NextHop> {
        let at = self
            .levels
            .partition_point(|level| level.prefix_len > prefix_len);
        if self
            .levels
            .get(at)
            .is_none_or(|l| l.prefix_len != prefix_len)
        {
            let entries = BTreeMap::new();
            self.levels.insert(
                at,
                Level {
                    prefix_len,
                    entries,
                },
            );
        }
        &mut self.levels[at].entries
    }

    fn lookup(&self, address: u128, width: u8) -> Option<NextHop> {
        self.levels.iter().find_map(|level| {
            let host_bits = u32::from(width - level.prefix_len);
            // A shift by all 128 bits is none that u128 knows.
            let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
            level.entries.get(&(address & mask)).copied()
        })
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

    use ipnet::{IpNet, Ipv4Net, Ipv6Net};
    use quickcheck::{Arbitrary, Gen, quickcheck};

    use super::{NextHop, Route, Routes, RoutesError};

    /// A route and an address, drawn from few bits so that they meet.
    #[derive(Clone, Debug)]
    struct Case {
        routes: Vec<Route>,
        address: IpAddr,
    }

    impl Arbitrary for Case {
        fn arbitrary(g: &mut Gen) -> Self {
            let routes = (0..usize::arbitrary(g) % 24)
                .map(|n| Route {
                    prefix: prefix(g),
                    next: hop(n),
                })
                .collect();
            let address = address(g);
            Self { routes, address }
        }

        fn shrink(&self) -> alloc::boxed::Box<dyn Iterator<Item = Self>> {
            let case = self.clone();
            alloc::boxed::Box::new((0..case.routes.len()).map(move |n| {
                let mut smaller = case.clone();
                smaller.routes.remove(n);
                smaller
            }))
        }
    }

    fn hop(n: usize) -> NextHop {
        let port = u16::try_from(n + 1).unwrap();
        NextHop::Node(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    fn address(g: &mut Gen) -> IpAddr {
        let high = u8::arbitrary(g) & 0x81;
        let low = u8::arbitrary(g) & 3;
        if bool::arbitrary(g) {
            Ipv4Addr::new(high, 0, 0, low).into()
        } else {
            let mut octets = [0; 16];
            octets[0] = high;
            octets[15] = low;
            Ipv6Addr::from(octets).into()
        }
    }

    fn prefix(g: &mut Gen) -> IpNet {
        match address(g) {
            IpAddr::V4(address) => {
                let len = *g.choose(&[0, 1, 7, 8, 30, 31, 32]).unwrap();
                Ipv4Net::new(address, len).unwrap().into()
            }
            IpAddr::V6(address) => {
                let len = *g.choose(&[0, 1, 8, 64, 126, 127, 128]).unwrap();
                Ipv6Net::new(address, len).unwrap().into()
            }
        }
    }

    fn naive(case: &Case) -> NextHop {
        case.routes
            .iter()
            .filter(|route| route.prefix.contains(&case.address))
            .max_by_key(|route| route.prefix.prefix_len())
            .map_or(NextHop::Destination, |route| route.next)
    }

    quickcheck! {
        fn longest_prefix_wins(case: Case) -> bool {
            let mut case = case;
            let mut seen = Vec::new();
            case.routes.retain(|route| {
                let prefix = route.prefix.trunc();
                let new = !seen.contains(&prefix);
                seen.push(prefix);
                new
            });
            let table = Routes::new(&case.routes, NextHop::Destination).unwrap();
            table.next_hop(case.address) == naive(&case)
        }
    }

    #[test]
    fn duplicates_are_named() {
        let route = |prefix: &str| Route {
            prefix: prefix.parse().unwrap(),
            next: NextHop::Destination,
        };
        // The same network: host bits do not count.
        let routes = [route("10.0.0.0/8"), route("10.1.2.3/8")];
        let prefix = "10.1.2.3/8".parse().unwrap();
        assert_eq!(
            Routes::new(&routes, NextHop::Destination).unwrap_err(),
            RoutesError::Duplicate { prefix }
        );
    }

    #[test]
    fn the_number_of_routes_is_bounded() {
        let routes: Vec<_> = (0..=65_536u32)
            .map(|n| Route {
                prefix: Ipv4Net::new(Ipv4Addr::from_bits(n), 32).unwrap().into(),
                next: NextHop::Destination,
            })
            .collect();
        assert_eq!(
            Routes::new(&routes, NextHop::Destination).unwrap_err(),
            RoutesError::TooMany { count: 65_537 }
        );
        assert!(Routes::new(&routes[1..], NextHop::Destination).is_ok());
    }
}
