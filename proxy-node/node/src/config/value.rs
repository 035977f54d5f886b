//! The values that flags and file share.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::str::FromStr;

use ipnet::IpNet;
use synhop_core::{AllowTo, PortRange};

/// How large the send buffers are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SendBuffer {
    /// Twice the receive window that this network namespace allows.
    #[default]
    Auto,
    /// This many octets of payload.
    Octets(NonZeroU32),
}

impl FromStr for SendBuffer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let octets = text.parse().ok().and_then(Self::octets);
        octets.ok_or_else(|| format!("{text:?} is neither \"auto\" nor octets, 4096 to 1073741823"))
    }
}

impl SendBuffer {
    /// A fixed size; the kernel doubles it, so it must stay below 2^30.
    pub(super) fn octets(octets: u64) -> Option<Self> {
        let octets = u32::try_from(octets).ok()?;
        (4096..1 << 30)
            .contains(&octets)
            .then(|| NonZeroU32::new(octets).map(Self::Octets))
            .flatten()
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("{text:?} is neither \"text\" nor \"json\"")),
        }
    }
}

/// A prefix in CIDR notation; an address alone means only itself.
pub fn parse_prefix(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address));
    }
    let prefix: IpNet = text
        .parse()
        .map_err(|_error| format!("{text:?} is no prefix such as 192.0.2.0/24 or 2001:db8::/32"))?;
    let mapped = match prefix {
        IpNet::V4(_) => false,
        IpNet::V6(v6) => v6.prefix_len() >= 96 && v6.addr().to_ipv4_mapped().is_some(),
    };
    if mapped {
        // Addresses are unmapped before they are compared, so it would never match.
        Err(format!(
            "{text:?} is of v4-mapped addresses; write it as IPv4"
        ))
    } else if prefix == prefix.trunc() {
        Ok(prefix)
    } else {
        // More likely a slip than a wish: refuse before it allows too much.
        let meant = prefix.trunc();
        Err(format!(
            "{text:?} has bits set behind the prefix; is {meant} meant?"
        ))
    }
}

/// `PREFIX`, `PREFIX PORT` or `PREFIX FIRST-LAST`.
pub fn parse_allow_to(text: &str) -> Result<AllowTo, String> {
    let (prefix, ports) = match text.split_once(' ') {
        None => (text, PortRange::ALL),
        Some((prefix, ports)) => (prefix, parse_ports(ports.trim())?),
    };
    Ok(AllowTo {
        prefix: parse_prefix(prefix)?,
        ports,
    })
}

fn parse_ports(text: &str) -> Result<PortRange, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if 1 <= first && first <= last => Ok(PortRange { first, last }),
        _ => Err(format!(
            "{text:?} is no port or range of ports such as 443 or 8000-8999"
        )),
    }
}
