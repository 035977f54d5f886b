//! The node with its own TCP/IP in a node's place: a bridge joins its device to both links.
//!
//! ```text
//!   left ----+------- right        no address of the kernel's is left in the namespace
//!            | bridge
//!          node0                   synhop-hosted, or QEMU with the image: both links' addresses
//! ```

use std::path::PathBuf;
use std::process::Command;
use std::str::FromStr;

use crate::addressing::address;
use crate::{End, Lab, LabError, Namespace, Process, ProcessBuilder, find_binary};

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
    /// The bootable image in QEMU's microvm, which emulates the processor.
    Unikernel {
        /// All the memory that it has.
        memory_mib: u16,
    },
}

impl FromStr for Build {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "linux" => Ok(Self::Linux),
            "hosted" => Ok(Self::Hosted),
            "hosted-offload" => Ok(Self::HostedOffload),
            "unikernel" => Ok(Self::Unikernel { memory_mib: 6 }),
            _ => Err("linux, hosted, hosted-offload or unikernel is wanted".to_owned()),
        }
    }
}

impl Lab {
    /// Starts a node with its own TCP/IP, and waits until it listens. From then on the namespace
    /// forwards no packets: there is no direct way past it.
    pub(super) fn start_own_stack(
        &self,
        number: usize,
        spec: &ChainSpec,
        build: Build,
    ) -> Result<Process, LabError> {
        let namespace = self.node(number);
        let (left, right) = (number - 1, number);
        let mac = format!("02:53:48:ff:00:{number:02x}");
        namespace.ip(&format!(
            "link add bridge type bridge\n\
             addr flush dev left\n\
             addr flush dev right\n\
             link set left master bridge\n\
             link set right master bridge\n\
             link set bridge up\n\
             tuntap add dev {DEVICE} mode tap{}\n\
             link set {DEVICE} master bridge up\n",
            if build == Build::Hosted {
                ""
            } else {
                " vnet_hdr"
            }
        ))?;
        let mut command = program(namespace, build, &mac, &spec.arguments)?;
        command.args(self.words(number, spec));
        let process = ProcessBuilder::new(format!("{build:?} n{number}"), command)
            .log_to(self.node_log(number)?)
            .start()?;
        process.wait_for_line("listening", START_BOUND)?;
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

    /// Its configuration.
    fn words(&self, number: usize, spec: &ChainSpec) -> Vec<String> {
        let mut words = vec![
            format!("addr={}/30", address(number - 1, End::Right)),
            format!("addr={}/30", address(number, End::Left)),
            format!("listen={NODE_PORT}"),
        ];
        if number < self.nodes() {
            words.push(format!("via={}", self.node_listen_address(number + 1)));
        }
        let allow_to = self.allow_to(spec);
        for (key, values) in [
            ("allow-from", &spec.allow_from),
            ("allow-to", &allow_to),
            ("trust", &spec.trust),
        ] {
            words.extend(values.iter().map(|value| format!("{key}={value}")));
        }
        words
    }
}

/// The program, without its words.
fn program(
    namespace: &Namespace,
    build: Build,
    mac: &str,
    arguments: &[String],
) -> Result<Command, LabError> {
    match build {
        Build::Linux | Build::Hosted | Build::HostedOffload => {
            let mut command = namespace.command(find_binary("synhop-hosted")?);
            command.args(["--tap", DEVICE, "--mac", mac]);
            if build == Build::HostedOffload {
                command.arg("--offload");
            }
            command.args(arguments);
            Ok(command)
        }
        Build::Unikernel { memory_mib } => {
            let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../proxy-node/unikernel");
            let image = folder.join("target/image/synhop-unikernel");
            if !image.is_file() {
                return Err(LabError::NotBuilt {
                    name: "synhop-unikernel (make unikernel)".to_owned(),
                    looked_in: vec![image],
                });
            }
            let mut command = namespace.command(folder.join("run-qemu"));
            command.arg("--image").arg(image);
            command.args(["--tap", DEVICE, "--mac", mac]);
            command.arg("--memory").arg(format!("{memory_mib}M"));
            Ok(command)
        }
    }
}

const DEVICE: &str = "node0";
