//! Which proxy serves which destination: the longest prefix decides.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;
use core::net::{Ipv4Addr, SocketAddrV4};
use core::str::FromStr;

use ipnet::Ipv4Net;

/// How many routes there may be.
pub const MAX_ROUTES: usize = 1024;

/// Where the SYN of a flow goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextHop {
    /// To this node, with the option.
    Proxy(SocketAddrV4),
    /// To the destination itself.
    Direct,
}

/// The destinations of one prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The destinations.
    pub prefix: Ipv4Net,
    /// Where their SYNs go.
    pub next_hop: NextHop,
}

/// Routes, at most [`MAX_ROUTES`], no prefix twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    /// Longest prefix first: the first that matches is the longest that does.
    routes: Vec<Route>,
}

/// Routes that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// More than [`MAX_ROUTES`].
    #[error("{0} routes, more than {MAX_ROUTES}")]
    TooMany(usize),
    /// A prefix has two next hops.
    #[error("two routes for {0}")]
    Twice(Ipv4Net),
    /// A proxy address that no SYN can be sent to.
    #[error("{0} cannot be a proxy's address")]
    Proxy(SocketAddrV4),
    /// Not `PREFIX=ADDR:PORT` or `PREFIX=direct`.
    #[error("not a route (PREFIX=ADDR:PORT or PREFIX=direct): {0:?}")]
    Syntax(alloc::string::String),
}

impl Routes {
    /// Every destination through one proxy.
    pub fn all_through(proxy: SocketAddrV4) -> Result<Self, RouteError> {
        Self::new(alloc::vec![Route {
            prefix: Ipv4Net::default(),
            next_hop: NextHop::Proxy(proxy),
        }])
    }

    /// Checks and sorts `routes`. Host bits of a prefix are dropped.
    pub fn new(mut routes: Vec<Route>) -> Result<Self, RouteError> {
        if routes.len() > MAX_ROUTES {
            return Err(RouteError::TooMany(routes.len()));
        }
        for route in &mut routes {
            route.prefix = route.prefix.trunc();
            if let NextHop::Proxy(proxy) = route.next_hop
                && synhop_option::V4Destination::new(proxy).is_err()
            {
                return Err(RouteError::Proxy(proxy));
            }
        }
        routes.sort_by_key(|route| {
            let len = u8::MAX - route.prefix.prefix_len();
            (len, route.prefix.addr())
        });
        for pair in routes.windows(2) {
            if let [a, b] = pair
                && a.prefix == b.prefix
            {
                return Err(RouteError::Twice(a.prefix));
            }
        }
        Ok(Self { routes })
    }

    /// Where the SYN of a flow to `destination` goes. No route: to the destination itself.
    pub fn next_hop(&self, destination: Ipv4Addr) -> NextHop {
        self.routes
            .iter()
            .find(|route| route.prefix.contains(&destination))
            .map_or(NextHop::Direct, |route| route.next_hop)
    }

    /// Whether a route leads to this proxy.
    pub fn is_proxy(&self, address: SocketAddrV4) -> bool {
        self.routes
            .iter()
            .any(|route| route.next_hop == NextHop::Proxy(address))
    }

    /// Whether no route leads to a proxy.
    pub fn is_all_direct(&self) -> bool {
        self.routes
            .iter()
            .all(|route| route.next_hop == NextHop::Direct)
    }
}

/// `PREFIX=ADDR:PORT` or `PREFIX=direct`.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.next_hop {
            NextHop::Proxy(proxy) => write!(f, "{}={proxy}", self.prefix),
            NextHop::Direct => write!(f, "{}=direct", self.prefix),
        }
    }
}

impl FromStr for Route {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, RouteError> {
        let syntax = || RouteError::Syntax(text.to_string());
        let (prefix, next_hop) = text.split_once('=').ok_or_else(syntax)?;
        let prefix = prefix.parse().map_err(|_| syntax())?;
        let next_hop = match next_hop {
            "direct" => NextHop::Direct,
            proxy => NextHop::Proxy(proxy.parse().map_err(|_| syntax())?),
        };
        Ok(Self { prefix, next_hop })
    }
}

/// Routes with commas between them.
impl fmt::Display for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, route) in self.routes.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            route.fmt(f)?;
        }
        Ok(())
    }
}

impl FromStr for Routes {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, RouteError> {
        let routes = text.split(',').filter(|route| !route.is_empty());
        Self::new(routes.map(str::parse).collect::<Result<_, _>>()?)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use quickcheck::quickcheck;

    use super::*;

    fn routes(text: &str) -> Routes {
        text.parse().unwrap()
    }

    fn hop(text: &str) -> NextHop {
        NextHop::Proxy(text.parse().unwrap())
    }

    #[test]
    fn the_longest_prefix_decides() {
        let routes = routes("0.0.0.0/0=192.0.2.1:1,10.0.0.0/8=direct,10.1.0.0/16=192.0.2.2:2");
        let at = |text: &str| routes.next_hop(text.parse().unwrap());
        assert_eq!(at("198.51.100.1"), hop("192.0.2.1:1"));
        assert_eq!(at("10.2.0.1"), NextHop::Direct);
        assert_eq!(at("10.1.9.9"), hop("192.0.2.2:2"));
        assert!(routes.is_proxy("192.0.2.2:2".parse().unwrap()));
        assert!(!routes.is_proxy("192.0.2.2:3".parse().unwrap()));
    }

    #[test]
    fn no_route_is_direct() {
        let routes = routes("10.0.0.0/8=192.0.2.1:1");
        assert_eq!(routes.next_hop([11, 0, 0, 1].into()), NextHop::Direct);
        assert!(Routes::default().is_all_direct());
    }

    #[test]
    fn impossible_routes_are_named() {
        let twice = "10.0.0.0/8=192.0.2.1:1,10.9.9.9/8=direct".parse::<Routes>();
        assert_eq!(twice, Err(RouteError::Twice("10.0.0.0/8".parse().unwrap())));
        let port = "0.0.0.0/0=192.0.2.1:0".parse::<Routes>();
        assert_eq!(port, Err(RouteError::Proxy("192.0.2.1:0".parse().unwrap())));
        assert!(matches!(
            "nonsense".parse::<Routes>(),
            Err(RouteError::Syntax(_))
        ));
        let many = Routes::new(alloc::vec!["0.0.0.0/0=direct".parse().unwrap(); MAX_ROUTES + 1]);
        assert_eq!(many, Err(RouteError::TooMany(MAX_ROUTES + 1)));
    }

    quickcheck! {
        fn text_and_back_is_identity(prefixes: Vec<(u32, u8, Option<u16>)>) -> bool {
            let routes = prefixes.iter().map(|(address, len, port)| Route {
                prefix: Ipv4Net::new((*address).into(), len % 33).unwrap(),
                next_hop: port.map_or(NextHop::Direct, |port| {
                    NextHop::Proxy(SocketAddrV4::new([192, 0, 2, 1].into(), port.max(1)))
                }),
            });
            let Ok(routes) = Routes::new(routes.collect()) else { return true };
            routes.to_string().parse() == Ok(routes)
        }

        fn the_match_is_the_longest(prefixes: Vec<(u32, u8)>, destination: u32) -> bool {
            let all: Vec<Route> = prefixes.iter().enumerate().map(|(index, (address, len))| Route {
                prefix: Ipv4Net::new((address & 0xf000_0000).into(), len % 6).unwrap(),
                next_hop: hop(&alloc::format!("192.0.2.1:{}", index + 1)),
            }).collect();
            let Ok(routes) = Routes::new(all.clone()) else { return true };
            let destination = Ipv4Addr::from(destination);
            let longest = all.iter()
                .filter(|route| route.prefix.contains(&destination))
                .max_by_key(|route| route.prefix.prefix_len());
            routes.next_hop(destination) == longest.map_or(NextHop::Direct, |r| r.next_hop)
        }
    }
}
