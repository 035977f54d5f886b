//! Who has which address, and which way is whose.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use crate::End;

/// The address of a link's end: 10.99.link.1 left, 10.99.link.2 right.
pub(crate) const fn address(link: usize, end: End) -> Ipv4Addr {
    let host = match end {
        End::Left => 1,
        End::Right => 2,
    };
    #[expect(clippy::cast_possible_truncation, reason = "there are 9 links at most")]
    let link = link as u8;
    Ipv4Addr::new(10, 99, link, host)
}

/// Made-up, locally administered and fixed, so that neighbours need no ARP:
/// it would cost the first SYN of a flow a round trip.
fn hardware_address(link: usize, end: End) -> String {
    let host = match end {
        End::Left => 1,
        End::Right => 2,
    };
    format!("02:53:48:{link:02x}:00:{host:02x}")
}

/// The `ip` commands for the namespace at `position` of a line of `links`.
pub(crate) fn addressing(position: usize, links: usize) -> String {
    let mut batch = String::new();
    if let Some(link) = position.checked_sub(1) {
        batch += &device(LEFT_DEVICE, link, End::Right);
        // Everything between the client and the link to the left.
        for further in 0..link {
            let via = address(link, End::Left);
            let _ = writeln!(batch, "route add 10.99.{further}.0/30 via {via}");
        }
    }
    if position < links {
        batch += &device(RIGHT_DEVICE, position, End::Left);
        for further in position + 1..links {
            let via = address(position, End::Right);
            let _ = writeln!(batch, "route add 10.99.{further}.0/30 via {via}");
        }
    }
    batch
}

/// The `ip` commands that set up one device.
fn device(name: &str, link: usize, end: End) -> String {
    let own = address(link, end);
    let own_hardware = hardware_address(link, end);
    let peer = address(link, end.opposite());
    let peer_hardware = hardware_address(link, end.opposite());
    format!(
        "link set {name} address {own_hardware} mtu 1500\n\
         addr add {own}/30 dev {name}\n\
         link set {name} up\n\
         neigh replace {peer} lladdr {peer_hardware} nud permanent dev {name}\n"
    )
}

/// The device that leads towards the client.
pub(crate) const LEFT_DEVICE: &str = "left";
/// The device that leads towards the server.
pub(crate) const RIGHT_DEVICE: &str = "right";
