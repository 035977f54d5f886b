//! The option of the onward SYN: which form, and what it says.

use core::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use synhop_option::{Extra, HopsLeft, SynOption, V4Destination, V6Destination, V6Host};

use crate::leg::canonical;
use crate::policy::Permit;
use crate::report::Outcome;
use crate::routes::NextHop;

/// What the shell's SYNs can carry.
///
/// On Linux the default options leave 20 octets: enough for an IPv4 flow (18), not for an IPv6
/// flow that counts hops (24), which needs `net.ipv4.tcp_timestamps = 0` (28 octets left).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Octets of option space that the stack's own options leave; 18 to 40, default 20.
    pub room_octets: usize,
    /// Whether an IPv6 flow may go on in the form of length 20 when there is no room for 24.
    pub address_form: AddressForm,
}

impl Capabilities {
    /// What an IPv4 flow takes.
    pub const MIN_ROOM_OCTETS: usize = 18;
    /// The option space of a TCP header (RFC 9293 section 3.1).
    pub const MAX_ROOM_OCTETS: usize = 40;
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            room_octets: 20,
            address_form: AddressForm::Never,
        }
    }
}

/// Whether to use the form of length 20 for an IPv6 flow towards another node.
///
/// It counts no hops and names no source, so a ring of nodes that use it goes round until a flow
/// table is full. Therefore it is off unless the operator, who knows the chain, turns it on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressForm {
    /// Refuse the flow with [`Outcome::NoOptionRoom`] instead.
    #[default]
    Never,
    /// Use it, and send the SYN to the destination's port on the next node's address: that node
    /// listens on every port of it.
    NextNodeTakesEveryPort,
}

/// Where the onward SYN goes, and with which option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Onward {
    /// Address and port to connect to.
    pub to: SocketAddr,
    /// The option to put on the SYN; `None` on the last leg.
    pub option: Option<SynOption>,
}

impl Onward {
    /// Chooses the best form that fits.
    ///
    /// `client` is the far end of the upstream leg: it becomes the source when the option withheld
    /// it. An IPv4 flow whose client came over IPv6 and withheld its source goes on with the
    /// unspecified address and the client's port: "unknown", but the hops still count.
    pub(crate) fn new(
        permit: &Permit,
        client: SocketAddr,
        next: NextHop,
        capabilities: Capabilities,
    ) -> Result<Self, Outcome> {
        let node = match next {
            NextHop::Destination => {
                return Ok(Self {
                    to: permit.destination,
                    option: None,
                });
            }
            NextHop::Node(node) => node,
        };
        // SPEC section 6.3: decremented by each node.
        let hops = permit
            .hops_left
            .decremented()
            .ok_or(Outcome::HopsExhausted)?;
        match permit.destination {
            SocketAddr::V4(destination) => {
                let source = permit.option.claimed_source().unwrap_or(client);
                let option = SynOption::V4 {
                    source: v4_source(source),
                    destination: V4Destination::new(destination)
                        .map_err(|_| Outcome::DestinationNotAllowed)?,
                    extra: Extra::Hops(hops),
                };
                fitting(node, option, capabilities)
            }
            SocketAddr::V6(destination) => {
                let option = SynOption::V6 {
                    destination: V6Destination::new(*destination.ip(), destination.port())
                        .map_err(|_| Outcome::DestinationNotAllowed)?,
                    extra: Extra::Hops(hops),
                };
                fitting(node, option, capabilities)
                    .or_else(|_| by_address(node, &permit.destination, capabilities))
            }
        }
    }

    /// The hops the option says; `None` when it has none.
    pub(crate) fn hops_left(&self) -> Option<HopsLeft> {
        self.option.and_then(|option| option.hops_left())
    }
}

fn fitting(
    node: SocketAddr,
    option: SynOption,
    capabilities: Capabilities,
) -> Result<Onward, Outcome> {
    if option.len_octets() <= capabilities.room_octets {
        Ok(Onward {
            to: node,
            option: Some(option),
        })
    } else {
        Err(Outcome::NoOptionRoom)
    }
}

/// The form of length 20: its port is the SYN's own.
fn by_address(
    node: SocketAddr,
    destination: &SocketAddr,
    capabilities: Capabilities,
) -> Result<Onward, Outcome> {
    match (capabilities.address_form, destination) {
        (AddressForm::NextNodeTakesEveryPort, SocketAddr::V6(address)) => {
            let to = SocketAddr::new(node.ip(), address.port());
            let host = V6Host::new(*address.ip()).map_err(|_| Outcome::DestinationNotAllowed)?;
            let option = SynOption::V6Address { host };
            fitting(to, option, capabilities)
        }
        (AddressForm::NextNodeTakesEveryPort, SocketAddr::V4(_)) | (AddressForm::Never, _) => {
            Err(Outcome::NoOptionRoom)
        }
    }
}

/// `source` as IPv4; the unspecified address when it has none.
fn v4_source(source: SocketAddr) -> SocketAddrV4 {
    match canonical(source) {
        SocketAddr::V4(source) => source,
        SocketAddr::V6(source) => SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, source.port()),
    }
}

#[cfg(test)]
mod tests {
    use core::net::SocketAddr;

    use synhop_option::{Cookie, Extra, HopsLeft, SynOption, V4Destination, V6Destination};

    use super::{AddressForm, Capabilities, Onward};
    use crate::policy::Permit;
    use crate::report::Outcome;
    use crate::routes::NextHop;

    const NODE: &str = "203.0.113.2:7000";

    fn node() -> NextHop {
        NextHop::Node(addr(NODE))
    }

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn v4(text: &str) -> V4Destination {
        V4Destination::new(text.parse().unwrap()).unwrap()
    }

    fn permit(option: SynOption, hops_left: u8) -> Permit {
        Permit {
            option,
            destination: option.destination(7000),
            hops_left: HopsLeft::new(hops_left),
        }
    }

    fn v4_tuple() -> SynOption {
        SynOption::V4 {
            source: "192.0.2.1:5".parse().unwrap(),
            destination: v4("198.51.100.1:80"),
            extra: Extra::Cookie(Cookie::from_octets([1; 4])),
        }
    }

    fn v4_withheld() -> SynOption {
        SynOption::V4Withheld {
            destination: v4("198.51.100.1:80"),
            cookie: None,
        }
    }

    fn v6() -> SynOption {
        SynOption::V6 {
            destination: V6Destination::new("2001:db8::80".parse().unwrap(), 80).unwrap(),
            extra: Extra::Nothing,
        }
    }

    fn onward(option: SynOption, client: &str, room_octets: usize) -> Result<Onward, Outcome> {
        let capabilities = Capabilities {
            room_octets,
            ..Capabilities::default()
        };
        Onward::new(&permit(option, 8), addr(client), node(), capabilities)
    }

    fn emitted(source: &str, hops: u8) -> Onward {
        Onward {
            to: addr(NODE),
            option: Some(SynOption::V4 {
                source: source.parse().unwrap(),
                destination: v4("198.51.100.1:80"),
                extra: Extra::Hops(HopsLeft::new(hops)),
            }),
        }
    }

    #[test]
    fn the_last_leg_has_no_option() {
        let permit = permit(v4_tuple(), 1);
        let client = addr("192.0.2.9:9");
        let onward = Onward::new(
            &permit,
            client,
            NextHop::Destination,
            Capabilities::default(),
        );
        assert_eq!(
            onward,
            Ok(Onward {
                to: addr("198.51.100.1:80"),
                option: None
            })
        );
    }

    #[test]
    fn the_full_tuple_goes_on_whatever_came() {
        let client = "192.0.2.9:9";
        assert_eq!(
            onward(v4_tuple(), client, 18),
            Ok(emitted("192.0.2.1:5", 7))
        );
        assert_eq!(onward(v4_withheld(), client, 18), Ok(emitted(client, 7)));
        assert_eq!(
            onward(v4_withheld(), "[2001:db8::9]:9", 18),
            Ok(emitted("0.0.0.0:9", 7))
        );
        assert_eq!(onward(v4_tuple(), client, 17), Err(Outcome::NoOptionRoom));
    }

    #[test]
    fn the_last_hop_left_is_said() {
        let onward = Onward::new(
            &permit(v4_tuple(), 1),
            addr("192.0.2.9:9"),
            node(),
            Capabilities::default(),
        );
        assert_eq!(onward, Ok(emitted("192.0.2.1:5", 0)));
    }

    #[test]
    fn ipv6_needs_room_or_the_operator() {
        let client = "[2001:db8::9]:9";
        let counted = onward(v6(), client, 24).unwrap();
        assert_eq!(counted.to, addr(NODE));
        assert_eq!(counted.hops_left(), Some(HopsLeft::new(7)));
        assert_eq!(onward(v6(), client, 20), Err(Outcome::NoOptionRoom));

        let capabilities = Capabilities {
            room_octets: 20,
            address_form: AddressForm::NextNodeTakesEveryPort,
        };
        let by_address = Onward::new(&permit(v6(), 8), addr(client), node(), capabilities).unwrap();
        assert_eq!(by_address.to, addr("203.0.113.2:80"));
        let option = by_address.option.unwrap();
        assert_eq!(option.len_octets(), 20);
        assert_eq!(option.destination(80), addr("[2001:db8::80]:80"));
    }
}
