//! The command line.
#![expect(
    clippy::doc_markdown,
    reason = "the texts of --help, which is no Markdown"
)]

use std::ffi::OsString;
use std::net::SocketAddrV4;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use ipnet::Ipv4Net;
use synhop_client_core::Fallback;
use synhop_option::Kind;

/// Where a system's helper listens.
pub(crate) const DEFAULT_SOCKET: &str = "/run/synhop/helper.sock";

/// Runs unmodified programs through synhop proxies.
///
/// A synhop proxy learns a connection's destination from a TCP option in its SYN, and connects
/// onward before the client's own handshake is done.
#[derive(Debug, Parser)]
#[command(name = "synhop", version, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(Run),
    Helper(Helper),
    Decode(Decode),
}

/// Run a program whose TCP connections go through a proxy
///
/// The program's connect() calls are redirected by an LD_PRELOAD library. UDP, unix sockets,
/// IPv6, loopback, link-local addresses and the bypass list are left alone.
///
/// As root, nothing else is needed. An unprivileged user needs a running `synhop helper`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit status: the program's own, 128+N if signal N ended it, 127 if it was not found, 126 if it \
cannot be executed, 125 if synhop itself failed, 2 for a wrong command line.

Examples:
  synhop run --proxy 192.0.2.7:7000 -- curl http://example.org/
  synhop run --config client.toml --fallback fail --verbose -- ./fetch-everything")]
pub(crate) struct Run {
    /// The proxy for every destination
    #[arg(long, value_name = "ADDR:PORT", value_parser = proxy, required_unless_present = "config")]
    pub(crate) proxy: Option<SocketAddrV4>,
    /// A TOML file that names the proxy for each destination prefix
    #[arg(long, value_name = "FILE", conflicts_with = "proxy")]
    pub(crate) config: Option<PathBuf>,
    /// How the program's connections are caught
    #[arg(long, value_enum, default_value_t = Via::Auto)]
    pub(crate) via: Via,
    /// How the option is put into the SYN
    #[arg(long, value_enum, default_value_t = Marker::Auto)]
    pub(crate) marker: Marker,
    /// What to do when the proxy is unreachable or no synhop proxy [default: direct]
    #[arg(long, value_enum)]
    pub(crate) fallback: Option<FallbackArg>,
    /// Destinations that are connected to directly; may be repeated
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = prefix)]
    pub(crate) bypass: Vec<Ipv4Net>,
    /// The socket of the helper to use [default: an own helper as root, else
    /// /run/synhop/helper.sock]
    #[arg(long, value_name = "PATH")]
    pub(crate) helper: Option<PathBuf>,
    /// Tell on stderr what becomes of each connection
    #[arg(long, short)]
    pub(crate) verbose: bool,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

/// Serve the privileged part to unprivileged `synhop run`
///
/// Needs CAP_BPF and CAP_NET_ADMIN. Serves until SIGTERM or SIGINT.
#[derive(Debug, clap::Args)]
pub(crate) struct Helper {
    /// Where to listen
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    pub(crate) socket: PathBuf,
    /// Let only this group (name or number) connect [default: everybody]
    #[arg(long)]
    pub(crate) group: Option<String>,
    /// Serve only these users, by number; may be repeated [default: everybody]
    #[arg(long, value_name = "UID", value_delimiter = ',')]
    pub(crate) allow_uid: Vec<u32>,
    /// The cgroup2 directory whose programs are served [default: all programs]
    #[arg(long, value_name = "PATH")]
    pub(crate) cgroup: Option<PathBuf>,
    /// The TCP option kind, 253 or 254: the same as the proxies'
    #[arg(long, default_value = "253", value_parser = kind)]
    pub(crate) kind: Kind,
}

/// Explain a synhop option, or a whole TCP option list, given in hexadecimal
///
/// Spaces, colons and 0x are skipped. With kind and length in front or, starting at the ExID,
/// without. Exit status 1 if it is malformed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  synhop decode fd10e5f4c0000201c6336401d43101bb")]
pub(crate) struct Decode {
    /// The octets
    #[arg(required = true, value_name = "HEX")]
    pub(crate) octets: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Via {
    /// What works here
    Auto,
    /// An LD_PRELOAD library
    Preload,
    /// Cgroup programs (not built yet)
    Cgroup,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Marker {
    /// What works here
    Auto,
    /// A sockops eBPF program
    Bpf,
    /// Raw sockets (not built yet)
    Raw,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FallbackArg {
    /// Connect to the destination without a proxy
    Direct,
    /// Let connect() fail
    Fail,
}

impl From<FallbackArg> for Fallback {
    fn from(arg: FallbackArg) -> Self {
        match arg {
            FallbackArg::Direct => Self::Direct,
            FallbackArg::Fail => Self::Fail,
        }
    }
}

pub(crate) fn proxy(text: &str) -> Result<SocketAddrV4, String> {
    match text.parse() {
        Ok(std::net::SocketAddr::V4(address)) => Ok(address),
        Ok(std::net::SocketAddr::V6(_)) => {
            Err("proxies with an IPv6 address are not supported yet".into())
        }
        Err(_) => Err("not an IPv4 address and a port, like 192.0.2.7:7000".into()),
    }
}

/// A bare address is a prefix of its own.
pub(crate) fn prefix(text: &str) -> Result<Ipv4Net, String> {
    let address = |text: &str| text.parse::<std::net::Ipv4Addr>().map(Ipv4Net::from);
    text.parse::<Ipv4Net>()
        .or_else(|_| address(text))
        .map_err(|_| "not an IPv4 prefix, like 10.0.0.0/8".into())
}

fn kind(text: &str) -> Result<Kind, String> {
    text.parse()
        .ok()
        .and_then(Kind::from_octet)
        .ok_or_else(|| "253 or 254".into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn addresses_are_checked() {
        assert!(proxy("192.0.2.7:7000").is_ok());
        assert!(proxy("[2001:db8::1]:7000").unwrap_err().contains("IPv6"));
        assert!(proxy("192.0.2.7").is_err());
        assert_eq!(prefix("10.1.2.3").unwrap().prefix_len(), 32);
        assert!(prefix("10.1.2.3/33").is_err());
    }
}
