//! The lab's hosts, joined by veth beside the lab's own links.

use synhop_lab::{Lab, LabError, Namespace};

/// Joins client, nodes and server: link `i` lies between hosts `i` and `i + 1`.
pub(super) fn join(lab: &Lab) -> Result<(), LabError> {
    let hosts: Vec<&Namespace> = std::iter::once(lab.client())
        .chain((1..=lab.nodes()).map(|number| lab.node(number)))
        .chain([lab.server()])
        .collect();
    for (link, pair) in hosts.windows(2).enumerate() {
        let [near, far] = pair else { continue };
        let peer = far.name();
        near.ip(&format!(
            "link add vright type veth peer name vleft netns {peer}\n\
             addr add {}/30 dev vright\nlink set vright up\n",
            right_of(link)
        ))?;
        let address = left_of(link + 1);
        far.ip(&format!(
            "addr add {address}/30 dev vleft\nlink set vleft up\n"
        ))?;
    }
    for (position, host) in hosts.iter().enumerate() {
        for link in 0..=lab.nodes() {
            let next = if link > position {
                left_of(position + 1)
            } else if link + 1 < position {
                right_of(position - 1)
            } else {
                continue;
            };
            host.ip(&format!("route add {} via {next}\n", network(link)))?;
        }
    }
    Ok(())
}

/// A host's address towards the client; the client is host 0 and has none.
pub(super) fn left_of(host: usize) -> String {
    format!("10.98.{}.2", host - 1)
}

/// A host's address towards the server.
fn right_of(host: usize) -> String {
    format!("10.98.{host}.1")
}

/// A link's network.
pub(super) fn network(link: usize) -> String {
    format!("10.98.{link}.0/30")
}
