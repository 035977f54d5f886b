//! The lab's own transfer server and client, see [`crate::transfer`].

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::ValueEnum;

use super::Via;
use super::nginx::wait_for_port;
use crate::transfer::{Order, Plan, RECEIVED_INTACT, TransferReport};
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

/// A transfer.
#[derive(Clone, Copy, Debug)]
pub struct TransferSpec {
    /// What and how.
    pub plan: Plan,
    /// Which way.
    pub via: Via,
    /// The most that it may take.
    pub bound: Duration,
}

/// A transfer under way; killed when dropped.
pub struct Transfer {
    process: Process,
    bound: Duration,
}

impl Transfer {
    /// Waits for its end.
    pub fn wait(mut self) -> Result<TransferReport, LabError> {
        self.process.wait(self.bound)?;
        let report = self
            .process
            .lines()
            .iter()
            .rev()
            .find_map(|line| serde_json::from_str(line).ok());
        report.ok_or_else(|| self.process.failure())
    }
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
        let from = peer.process.line_count();
        let report = self.start_transfer(peer.address, spec)?.wait()?;
        if spec.plan.order == Order::ServerFirst {
            // It has no way left to say so to the client.
            peer.process
                .wait_for_line_from(from, RECEIVED_INTACT, VERDICT_BOUND)?;
        }
        Ok(report)
    }

    /// Starts one, with a server at this address.
    pub fn start_transfer(
        &self,
        server: SocketAddr,
        spec: &TransferSpec,
    ) -> Result<Transfer, LabError> {
        let lab = find_binary("synhop-lab")?;
        let mut command = match spec.via {
            Via::Direct => self.client().command(lab),
            Via::Synhop(proxy) => {
                let mut command = self.client().command(find_binary("synhop")?);
                command.arg("run").arg("--proxy").arg(proxy.to_string());
                // A transfer that goes round the chain would pass for one through it.
                command.args(["--fallback", "fail", "--"]).arg(lab);
                command
            }
        };
        command.arg("transfer").arg(server.to_string());
        command.args(arguments(&spec.plan));
        let process = ProcessBuilder::new("synhop-lab transfer", command).start()?;
        Ok(Transfer {
            process,
            bound: spec.bound,
        })
    }
}

fn arguments(plan: &Plan) -> Vec<String> {
    let mut words = vec![
        format!("--send={}", plan.send),
        format!("--receive={}", plan.receive),
    ];
    if let Some(order) = plan.order.to_possible_value() {
        words.push(format!("--order={}", order.get_name()));
    }
    if let Some(stall) = plan.stall {
        words.push(format!("--stall-after={}", stall.after));
        words.push(format!("--stall-ms={}", stall.pause.as_millis()));
    }
    if let Some(after) = plan.leave_after {
        words.push(format!("--leave-after-ms={}", after.as_millis()));
    }
    words
}

/// Where the transfer server listens.
pub const PEER_PORT: u16 = 5001;
const VERDICT_BOUND: Duration = Duration::from_secs(20);
