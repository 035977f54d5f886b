//! The lab's hosts, joined by veth beside the lab's own links, in two ways.
//!
//! ```text
//!  Veth    client right ────── left node right ────── left server
//!
//!  Bridge  client bright ───── bleft     bright ───── bleft server
//!                                 bridge ── node0 (TAP with offloads)
//! ```
//!
//! A TAP device needs a bridge to both links. The kernel has addresses on that bridge too, so that
//! the node on Linux can be measured on the same way.

use synhop_lab::{Lab, LabError, Namespace};

/// Which of the two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Each link is a veth pair.
    Veth,
    /// The same with a bridge in each node.
    Bridge,
}

/// Joins client, nodes and server both ways: link `i` lies between hosts `i` and `i + 1`.
pub(super) fn join(lab: &Lab) -> Result<(), LabError> {
    let hosts: Vec<&Namespace> = std::iter::once(lab.client())
        .chain((1..=lab.nodes()).map(|number| lab.node(number)))
        .chain([lab.server()])
        .collect();
    for (link, pair) in hosts.windows(2).enumerate() {
        let [near, far] = pair else { continue };
        join_by_veth(link, near, far)?;
        join_by_bridge(lab, link, near, far)?;
    }
    for (position, host) in hosts.iter().enumerate() {
        for link in 0..=lab.nodes() {
            let next = if link > position {
                Line::Veth.left_of(position + 1)
            } else if link + 1 < position {
                Line::Veth.right_of(position - 1)
            } else {
                continue;
            };
            let network = Line::Veth.network(link);
            host.ip(&format!("route add {network} via {next}\n"))?;
        }
    }
    Ok(())
}

fn join_by_veth(link: usize, near: &Namespace, far: &Namespace) -> Result<(), LabError> {
    let way = Line::Veth;
    near.ip(&format!(
        "link add vright type veth peer name vleft netns {}\n\
         addr add {}/30 dev vright\nlink set vright up\n",
        far.name(),
        way.right_of(link)
    ))?;
    far.ip(&format!(
        "addr add {}/30 dev vleft\nlink set vleft up\n",
        way.left_of(link + 1)
    ))
}

/// Client and server have no bridge.
fn join_by_bridge(
    lab: &Lab,
    link: usize,
    near: &Namespace,
    far: &Namespace,
) -> Result<(), LabError> {
    let way = Line::Bridge;
    near.ip(&format!(
        "link add bright type veth peer name bleft netns {}\nlink set bright up\n",
        far.name()
    ))?;
    far.ip("link set bleft up\n")?;
    let near_device = if link == 0 { "bright" } else { "bridge" };
    if link > 0 {
        near.ip("link set bright master bridge\n")?;
    }
    near.ip(&format!(
        "addr add {}/29 dev {near_device}\n",
        way.right_of(link)
    ))?;
    let far_device = if link == lab.nodes() {
        "bleft"
    } else {
        far.ip(&format!(
            "link add bridge type bridge\nlink set bridge up\n\
             link set bleft master bridge\n\
             tuntap add dev {TAP} mode tap vnet_hdr\n\
             link set {TAP} master bridge up\n"
        ))?;
        // What is bridged need not pass the packet filter, of which there is none. Kernels without
        // that filter have no such setting.
        let _ = far.set_sysctls(&BRIDGE_SYSCTLS);
        "bridge"
    };
    far.ip(&format!(
        "addr add {}/29 dev {far_device}\n",
        way.left_of(link + 1)
    ))
}

impl Line {
    /// A host's address towards the client; the client is host 0 and has none.
    pub(super) fn left_of(self, host: usize) -> String {
        self.address(host - 1, 2)
    }

    /// A host's address towards the server.
    fn right_of(self, host: usize) -> String {
        self.address(host, 1)
    }

    /// A link's network.
    pub(super) fn network(self, link: usize) -> String {
        match self {
            Self::Veth => format!("{}/30", self.address(link, 0)),
            Self::Bridge => format!("{}/29", self.address(link, 0)),
        }
    }

    fn address(self, link: usize, last: u8) -> String {
        match self {
            Self::Veth => format!("10.98.{link}.{last}"),
            Self::Bridge => format!("10.97.{link}.{last}"),
        }
    }
}

/// The addresses of a node on the TAP device, towards client and server.
pub(super) fn own_addresses(host: usize) -> [String; 2] {
    [
        Line::Bridge.address(host - 1, 3),
        Line::Bridge.address(host, 4),
    ]
}

const BRIDGE_SYSCTLS: [(&str, &str); 2] = [
    ("net.bridge.bridge-nf-call-iptables", "0"),
    ("net.bridge.bridge-nf-call-arptables", "0"),
];
/// The TAP device of each node.
pub(super) const TAP: &str = "node0";
