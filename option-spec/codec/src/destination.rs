//! Where a flow can go: what SPEC section 4.4 refuses cannot be built.

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use crate::error::DestinationError;

/// A destination that an IPv4 flow can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct V4Destination(SocketAddrV4);

impl V4Destination {
    /// Refuses port 0 and unspecified, multicast and broadcast addresses (SPEC section 4.4).
    pub const fn new(destination: SocketAddrV4) -> Result<Self, DestinationError> {
        if destination.port() == 0 {
            return Err(DestinationError::PortZero);
        }
        match check_v4(*destination.ip()) {
            Ok(()) => Ok(Self(destination)),
            Err(error) => Err(error),
        }
    }

    /// Address and port.
    pub const fn get(self) -> SocketAddrV4 {
        self.0
    }
}

/// A destination address that an IPv6 flow can have; its port stands elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct V6Host(Ipv6Addr);

impl V6Host {
    /// Refuses unspecified and multicast addresses, and IPv4-mapped ones whose IPv4 address
    /// [`V4Destination::new`] refuses (SPEC section 4.4).
    pub const fn new(address: Ipv6Addr) -> Result<Self, DestinationError> {
        let checked = match address.to_ipv4_mapped() {
            Some(mapped) => check_v4(mapped),
            None if address.is_unspecified() => Err(DestinationError::Unspecified),
            None if address.is_multicast() => Err(DestinationError::Multicast),
            None => Ok(()),
        };
        match checked {
            Ok(()) => Ok(Self(address)),
            Err(error) => Err(error),
        }
    }

    /// The address.
    pub const fn get(self) -> Ipv6Addr {
        self.0
    }
}

/// A destination that an IPv6 flow can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct V6Destination {
    host: V6Host,
    port: u16,
}

impl V6Destination {
    /// Refuses port 0 and what [`V6Host::new`] refuses.
    pub const fn new(address: Ipv6Addr, port: u16) -> Result<Self, DestinationError> {
        if port == 0 {
            return Err(DestinationError::PortZero);
        }
        match V6Host::new(address) {
            Ok(host) => Ok(Self { host, port }),
            Err(error) => Err(error),
        }
    }

    /// Address and port; scope and flow label are 0.
    pub const fn get(self) -> SocketAddrV6 {
        SocketAddrV6::new(self.host.0, self.port, 0, 0)
    }
}

/// Refuses the addresses that no IPv4 flow goes to (SPEC section 4.4).
const fn check_v4(address: Ipv4Addr) -> Result<(), DestinationError> {
    if address.is_unspecified() {
        Err(DestinationError::Unspecified)
    } else if address.is_multicast() {
        Err(DestinationError::Multicast)
    } else if address.is_broadcast() {
        Err(DestinationError::Broadcast)
    } else {
        Ok(())
    }
}
