//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use ipnet::IpNet;
use synhop_core::AllowTo;
use synhop_option::Kind;

use crate::config::{Draft, LogFormat, SendBuffer, parse_allow_to, parse_prefix};

const AFTER_HELP: &str = "\
Flags override the file; a list given by flags replaces the file's list.

Examples:
  One node, for the clients of one network:
    synhop-node --listen 198.51.100.1:4040 --allow-from 198.51.100.0/24 \\
        --allow-to 0.0.0.0/0 --trust 198.51.100.0/24
  The same with a second node behind it; --via is all that is added:
    synhop-node --listen 198.51.100.1:4040 --allow-from 198.51.100.0/24 \\
        --allow-to 0.0.0.0/0 --trust 198.51.100.0/24 --via 192.0.2.1:4040
  That second node, which only the first one may use:
    synhop-node --listen 192.0.2.1:4040 --allow-from 198.51.100.1/32 \\
        --allow-to 0.0.0.0/0 --trust 198.51.100.1/32

Signals: SIGTERM and SIGINT stop accepting and let the flows finish, for timeouts.shutdown_grace_ms
at most; a second one ends them. SIGHUP does nothing: restart the node for a new configuration.
Exit codes: 0 stopped as asked or the check found nothing, 1 the node failed, 2 wrong
configuration or command line.";

/// An explicit TCP proxy that forwards a SYN before its own handshake is complete.
///
/// It learns the destination from the synhop option of the SYN and relays to the next node, or to
/// the destination itself. Needs root or `CAP_NET_ADMIN` and `CAP_BPF`.
#[derive(Clone, Debug, Parser)]
#[command(name = "synhop-node", version, after_help = AFTER_HELP)]
pub struct Cli {
    /// Where clients and the nodes before this one connect to
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
    /// The next node; without it flows go to their destination itself
    #[arg(long, value_name = "ADDR:PORT")]
    pub via: Option<SocketAddr>,
    /// Who may use this node, by source address, the node before this one included; required
    #[arg(long, value_name = "CIDR", num_args = 1.., value_delimiter = ',', value_parser = parse_prefix)]
    pub allow_from: Vec<IpNet>,
    /// What may be reached through it; required. "CIDR PORT" and "CIDR FIRST-LAST" limit the ports
    #[arg(long, value_name = "CIDR", num_args = 1.., value_delimiter = ',', value_parser = parse_allow_to)]
    pub allow_to: Vec<AllowTo>,
    /// Sources whose SYNs are forwarded at once; others wait for their first handshake
    #[arg(long, value_name = "CIDR", num_args = 1.., value_delimiter = ',', value_parser = parse_prefix)]
    pub trust: Vec<IpNet>,
    /// Serve JSON at / and Prometheus metrics at /metrics there; it has no access control
    #[arg(long, value_name = "ADDR:PORT")]
    pub status: Option<SocketAddr>,
    /// Read the configuration from this TOML file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Check the configuration, explain every mistake, and exit
    #[arg(long)]
    pub check: bool,
    /// Send buffer of each leg: "auto" (twice the receive window) or octets
    #[arg(long, value_name = "OCTETS")]
    pub send_buffer: Option<SendBuffer>,
    /// The option's kind: 253 or 254, the same along the chain
    #[arg(long, value_name = "KIND", value_parser = parse_kind)]
    pub kind: Option<Kind>,
    /// How log lines on standard error look
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

impl Cli {
    /// What the flags say.
    pub fn draft(&self) -> Draft {
        Draft {
            listen: self.listen,
            via: self.via,
            allow_from: self.allow_from.clone(),
            allow_to: self.allow_to.clone(),
            trust: self.trust.clone(),
            kind: self.kind,
            send_buffer: self.send_buffer,
            status: self.status,
            log_format: self.log_format,
            ..Draft::default()
        }
    }
}

fn parse_kind(text: &str) -> Result<Kind, String> {
    let kind = text.parse().ok().and_then(Kind::from_octet);
    kind.ok_or_else(|| format!("{text:?} is neither 253 nor 254"))
}
