//! The node with its own TCP/IP in a node's place: a bridge joins its device to both links.
//!
//! ```text
//!   left ----+------- right        no address of the kernel's is left in the namespace
//!            | bridge
//!          node0                   synhop-hosted: both links' addresses
//! ```

use crate::addressing::address;
use crate::{End, Lab, LabError, Process, ProcessBuilder, find_binary};

use super::chain::{ChainSpec, NODE_PORT, START_BOUND};

/// Which build of the node runs in a node's namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Build {
    /// `synhop-node`.
    #[default]
    Linux,
    /// `synhop-hosted`, on a plain TAP device.
    Hosted,
    /// The same with checksums and segmentation left to the device.
    HostedOffload,
}

impl Lab {
    /// Starts `synhop-hosted` in place of a node, and waits until it listens. From then on the
    /// namespace forwards no packets: there is no direct way past it.
    pub(super) fn start_hosted(
        &self,
        number: usize,
        spec: &ChainSpec,
        build: Build,
    ) -> Result<Process, LabError> {
        let namespace = self.node(number);
        let (left, right) = (number - 1, number);
        let mac = format!("02:53:48:ff:00:{number:02x}");
        let mut command = namespace.command(find_binary("synhop-hosted")?);
        command.args(["--tap", DEVICE, "--mac", &mac]);
        if build == Build::HostedOffload {
            command.arg("--offload");
        }
        command
            .arg(format!("addr={}/30", address(left, End::Right)))
            .arg(format!("addr={}/30", address(right, End::Left)))
            .arg(format!("listen={NODE_PORT}"));
        if number < self.nodes() {
            command.arg(format!("via={}", self.node_listen_address(number + 1)));
        }
        let allow_to = self.allow_to(spec);
        for (key, values) in [
            ("allow-from", &spec.allow_from),
            ("allow-to", &allow_to),
            ("trust", &spec.trust),
        ] {
            for value in values {
                command.arg(format!("{key}={value}"));
            }
        }
        namespace.ip("link add bridge type bridge\n\
             addr flush dev left\n\
             addr flush dev right\n\
             link set left master bridge\n\
             link set right master bridge\n\
             link set bridge up\n")?;
        let log = self.node_log(number)?;
        let process = ProcessBuilder::new(format!("synhop-hosted n{number}"), command)
            .log_to(log)
            .start()?;
        process.wait_for_line("listening", START_BOUND)?;
        namespace.ip(&format!("link set {DEVICE} master bridge up\n"))?;
        // The neighbours' entries are fixed, so that no SYN waits for ARP.
        let entry = |link, end, device| {
            let ip = address(link, end);
            format!("neigh replace {ip} lladdr {mac} nud permanent dev {device}\n")
        };
        // A neighbour that is such a node itself has no such device: it asks.
        let _ = self.host(number - 1).ip(&entry(left, End::Right, "right"));
        let _ = self.host(number + 1).ip(&entry(right, End::Left, "left"));
        Ok(process)
    }
}

const DEVICE: &str = "node0";
