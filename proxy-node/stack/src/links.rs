//! Where we are, and which way leads where (RFC 1122 section 3.3).

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// The host's addresses, with the prefixes of their links, and its routers.
#[derive(Debug)]
pub(crate) struct Links {
    nets: Vec<IpNet>,
    gateways: Vec<IpAddr>,
}

impl Links {
    pub(crate) const fn new(nets: Vec<IpNet>, gateways: Vec<IpAddr>) -> Self {
        Self { nets, gateways }
    }

    /// Our addresses.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.nets.iter().map(IpNet::addr)
    }

    /// Whether an address is ours.
    pub(crate) fn owns(&self, ip: IpAddr) -> bool {
        self.addresses().any(|own| own == ip)
    }

    pub(crate) fn own_v4(&self) -> Option<Ipv4Addr> {
        self.addresses().find_map(|address| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        })
    }

    pub(crate) fn own_v6(&self) -> Option<Ipv6Addr> {
        self.addresses().find_map(|address| match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(address),
        })
    }

    /// The neighbour to give a packet to: the destination itself on our links, else a router.
    pub(crate) fn next_hop(&self, to: IpAddr) -> Option<IpAddr> {
        if self.net_of(to).is_some() {
            return Some(to);
        }
        let mut gateways = self.gateways.iter().copied();
        gateways.find(|gateway| gateway.is_ipv4() == to.is_ipv4())
    }

    /// The address to connect from: that of the link which leads there (RFC 1122 section 3.3.4.3).
    pub(crate) fn source_for(&self, to: IpAddr) -> Option<IpAddr> {
        let next = self.next_hop(to)?;
        self.net_of(next).map(IpNet::addr)
    }

    fn net_of(&self, ip: IpAddr) -> Option<&IpNet> {
        self.nets.iter().find(|net| net.contains(&ip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_has_its_neighbour_and_its_source() {
        let net = |text: &str| text.parse().expect("a prefix");
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let nets = ["10.0.1.2/24", "10.0.2.1/24", "fd00::2/64"].map(net);
        let links = Links::new(nets.into(), alloc::vec![ip("10.0.1.1")]);
        for (to, next, source) in [
            ("10.0.1.9", Some("10.0.1.9"), Some("10.0.1.2")),
            ("10.0.2.9", Some("10.0.2.9"), Some("10.0.2.1")),
            ("192.0.2.1", Some("10.0.1.1"), Some("10.0.1.2")),
            ("fd00::9", Some("fd00::9"), Some("fd00::2")),
            ("2001:db8::1", None, None),
        ] {
            assert_eq!(links.next_hop(ip(to)), next.map(ip), "{to}");
            assert_eq!(links.source_for(ip(to)), source.map(ip), "{to}");
        }
        assert!(links.owns(ip("10.0.2.1")) && !links.owns(ip("10.0.2.9")));
    }
}
