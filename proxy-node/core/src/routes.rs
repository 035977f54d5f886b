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
