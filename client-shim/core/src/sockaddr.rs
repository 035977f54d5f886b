//! `struct sockaddr` as octets, as far as the shim looks into it.

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

/// The address families of Linux that occur here (`sys/socket.h`).
const AF_UNSPEC: u16 = 0;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// What the octets of a `struct sockaddr` mean to the shim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SockAddr {
    /// An IPv4 endpoint, in one of the two ways to write it.
    V4(Endpoint),
    /// An IPv6 endpoint that is not a v4-mapped one.
    V6(SocketAddrV6),
    /// `AF_UNSPEC`: dissolves an association (connect(2)).
    Unspecified,
}

/// An IPv4 endpoint, and how the program writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Address and port.
    pub address: SocketAddrV4,
    /// How it is written.
    pub form: Form,
}

/// The two ways to write an IPv4 endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `struct sockaddr_in`.
    Plain,
    /// `struct sockaddr_in6` with `::ffff:a.b.c.d` (RFC 4291 section 2.5.5.2).
    Mapped,
}

impl SockAddr {
    /// The longest that is parsed or emitted: `struct sockaddr_in6`.
    pub const MAX_OCTETS: usize = 28;

    /// Reads what a program hands to connect(2), or gets from getpeername(2). `None` for other
    /// families and for lengths that the kernel refuses: none of the shim's business.
    pub fn parse(octets: &[u8]) -> Option<Self> {
        let (family, rest) = octets.split_first_chunk::<2>()?;
        match u16::from_ne_bytes(*family) {
            AF_UNSPEC => Some(Self::Unspecified),
            // The kernel wants all 16 octets, the 8 of padding too.
            AF_INET if octets.len() >= 16 => {
                let (port, rest) = rest.split_first_chunk::<2>()?;
                let (address, _) = rest.split_first_chunk::<4>()?;
                let port = u16::from_be_bytes(*port);
                Some(Self::V4(Endpoint {
                    address: SocketAddrV4::new(Ipv4Addr::from(*address), port),
                    form: Form::Plain,
                }))
            }
            AF_INET6 => Self::parse_v6(rest),
            _ => None,
        }
    }

    fn parse_v6(rest: &[u8]) -> Option<Self> {
        let (port, rest) = rest.split_first_chunk::<2>()?;
        let (flow, rest) = rest.split_first_chunk::<4>()?;
        let (address, rest) = rest.split_first_chunk::<16>()?;
        // The scope id was added by RFC 2553; the kernel still takes addresses without it.
        let scope = rest.first_chunk::<4>().copied().unwrap_or_default();
        let port = u16::from_be_bytes(*port);
        let address = Ipv6Addr::from(*address);
        Some(match address.to_ipv4_mapped() {
            Some(v4) => Self::V4(Endpoint {
                address: SocketAddrV4::new(v4, port),
                form: Form::Mapped,
            }),
            None => Self::V6(SocketAddrV6::new(
                address,
                port,
                u32::from_be_bytes(*flow),
                u32::from_ne_bytes(scope),
            )),
        })
    }
}

impl Endpoint {
    /// The same way to write it, for another endpoint.
    #[must_use]
    pub const fn with_address(self, address: SocketAddrV4) -> Self {
        Self { address, ..self }
    }

    /// Writes the `struct sockaddr` to the front of `out` and returns its length in octets.
    pub fn emit(&self, out: &mut [u8; SockAddr::MAX_OCTETS]) -> usize {
        *out = [0; SockAddr::MAX_OCTETS];
        let port = self.address.port().to_be_bytes();
        out[2..4].copy_from_slice(&port);
        match self.form {
            Form::Plain => {
                out[..2].copy_from_slice(&AF_INET.to_ne_bytes());
                out[4..8].copy_from_slice(&self.address.ip().octets());
                16
            }
            Form::Mapped => {
                out[..2].copy_from_slice(&AF_INET6.to_ne_bytes());
                let mapped = self.address.ip().to_ipv6_mapped();
                out[8..24].copy_from_slice(&mapped.octets());
                SockAddr::MAX_OCTETS
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;

    use super::*;

    quickcheck! {
        fn emit_then_parse_is_identity(address: u32, port: u16, mapped: bool) -> bool {
            let endpoint = Endpoint {
                address: SocketAddrV4::new(Ipv4Addr::from(address), port),
                form: if mapped { Form::Mapped } else { Form::Plain },
            };
            let mut out = [0xa5; SockAddr::MAX_OCTETS];
            let len = endpoint.emit(&mut out);
            SockAddr::parse(&out[..len]) == Some(SockAddr::V4(endpoint))
        }

        fn no_octets_panic(octets: alloc::vec::Vec<u8>) -> bool {
            let _ = SockAddr::parse(&octets);
            true
        }
    }

    #[test]
    fn what_the_kernel_refuses_is_none() {
        let mut out = [0; SockAddr::MAX_OCTETS];
        let plain = Endpoint {
            address: SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 80),
            form: Form::Plain,
        };
        let len = plain.emit(&mut out);
        assert_eq!(SockAddr::parse(&out[..len - 1]), None);
        // AF_UNIX
        assert_eq!(SockAddr::parse(&[1, 0, b'/', b'x']), None);
        assert_eq!(SockAddr::parse(&[]), None);
    }

    #[test]
    fn other_ipv6_and_unspec_are_told_apart() {
        let mut octets = [0; 28];
        octets[..2].copy_from_slice(&AF_INET6.to_ne_bytes());
        octets[23] = 1;
        assert!(matches!(SockAddr::parse(&octets), Some(SockAddr::V6(a)) if a.ip().is_loopback()));
        assert_eq!(SockAddr::parse(&[0; 16]), Some(SockAddr::Unspecified));
    }
}
