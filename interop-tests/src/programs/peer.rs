//! The lab's own transfer server and client, see [`crate::transfer`].

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::Via;
use super::nginx::wait_for_port;
use crate::transfer::TransferReport;
use crate::{Lab, LabError, Process, ProcessBuilder, find_binary};

/// A running transfer server; killed when dropped.
pub struct Peer {
    process: Process,
    address: SocketAddr,
}

impl Peer {
    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    pub const fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// A transfer in both directions at once.
#[derive(Clone, Copy, Debug)]
pub struct TransferSpec {
    /// Octets from client to server.
    pub send: u64,
    /// Octets from server to client.
    pub receive: u64,
    /// Which way.
    pub via: Via,
    /// The most that it may take.
    pub bound: Duration,
}

impl Lab {
    /// Starts the transfer server in the server's namespace.
    pub fn start_peer(&self) -> Result<Peer, LabError> {
        let mut command = self.server().command(find_binary("synhop-lab")?);
        command
            .arg("serve")
            .arg(SocketAddr::from((Ipv4Addr::UNSPECIFIED, PEER_PORT)).to_string());
        let mut process = ProcessBuilder::new("synhop-lab serve", command).start()?;
        wait_for_port(self.server(), PEER_PORT, &mut process)?;
        Ok(Peer {
            process,
            address: SocketAddr::from((self.server_address(), PEER_PORT)),
        })
    }

    /// Runs one transfer from the client's namespace.
    pub fn transfer(&self, peer: &Peer, spec: &TransferSpec) -> Result<TransferReport, LabError> {
        let lab = find_binary("synhop-lab")?;
        let mut command = match spec.via {
            Via::Direct => self.client().command(lab),
            Via::Synhop(proxy) => {
                let mut command = self.client().command(find_binary("synhop")?);
                command
                    .arg("run")
                    .arg("--proxy")
                    .arg(proxy.to_string())
                    .arg("--")
                    .arg(lab);
                command
            }
        };
        command.arg("transfer").arg(peer.address.to_string());
        command.arg("--send").arg(spec.send.to_string());
        command.arg("--receive").arg(spec.receive.to_string());
        let mut process = ProcessBuilder::new("synhop-lab transfer", command).start()?;
        process.wait(spec.bound)?;
        let report = process
            .lines()
            .iter()
            .rev()
            .find_map(|line| serde_json::from_str(line).ok());
        report.ok_or_else(|| process.failure())
    }
}

/// Where the transfer server listens.
pub const PEER_PORT: u16 = 5001;
