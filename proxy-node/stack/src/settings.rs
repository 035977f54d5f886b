//! Settings as a line of words, as on a kernel's command line.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use synhop_core::{AllowTo, Limits, NextHop, Own, PortRange, Route};

/// What a node on this stack is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Our addresses, with the prefixes of their links.
    pub addresses: Vec<IpNet>,
    /// Routers, at most one of each family.
    pub gateways: Vec<IpAddr>,
    /// The port that flows come to, on all addresses.
    pub port: u16,
    /// The link's MTU in octets, 576 to 9000.
    pub mtu: u16,
    /// What the node's core is told.
    pub core: synhop_core::Settings,
}

/// Why a line is no settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingsError {
    /// A word is not `key=value`.
    NotAPair {
        /// The word.
        word: String,
    },
    /// There is no such key.
    UnknownKey {
        /// What stands there.
        key: String,
    },
    /// A value cannot be read.
    BadValue {
        /// Of which key.
        key: &'static str,
        /// What stands there.
        value: String,
        /// What should.
        wanted: &'static str,
    },
    /// Something has to be there and is not.
    Missing {
        /// What.
        key: &'static str,
    },
    /// The core refuses.
    Core(String),
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAPair { word } => write!(f, "`{word}` is not of the form key=value"),
            Self::UnknownKey { key } => write!(f, "no such key: {key} (there are {KEYS})"),
            Self::BadValue { key, value, wanted } => {
                write!(f, "{key}={value}: {wanted} is wanted")
            }
            Self::Missing { key } => write!(f, "{key}=... is missing"),
            Self::Core(error) => f.write_str(error),
        }
    }
}

impl core::error::Error for SettingsError {}

impl From<synhop_core::ConfigError> for SettingsError {
    fn from(error: synhop_core::ConfigError) -> Self {
        Self::Core(error.to_string())
    }
}

impl Settings {
    /// Reads words separated by blanks:
    ///
    /// ```text
    /// addr=10.0.0.2/24     an address of ours with its prefix; several
    /// gw=10.0.0.1          a router; one of each family
    /// listen=4460          the port that flows come to (4460 if not given)
    /// allow-from=CIDR      who may use the node; several, one at least
    /// allow-to=CIDR[:PORT[-PORT]] | any    what may be reached; several, one at least
    /// trust=CIDR           whose bare SYNs are acted on; several
    /// via=ADDR:PORT        the next node; without it the destination itself
    /// route=CIDR,ADDR:PORT the next node for some destinations; several
    /// mtu=1500
    /// ```
    ///
    /// A word that begins with a key unknown to us is an error; one without `=` too, but those that
    /// begin with `-`, which kernels' loaders add. What the core refuses [`Stack::new`] tells.
    ///
    /// [`Stack::new`]: crate::Stack::new
    pub fn parse(line: &str) -> Result<Self, SettingsError> {
        let mut settings = Self {
            addresses: Vec::new(),
            gateways: Vec::new(),
            port: DEFAULT_PORT,
            mtu: 1500,
            core: synhop_core::Settings {
                limits: Limits {
                    flows: 1024,
                    pending: 512,
                    pending_per_source: 256,
                    sources: 1024,
                    ..Limits::default()
                },
                ..synhop_core::Settings::default()
            },
        };
        for word in line
            .split_ascii_whitespace()
            .filter(|word| !word.starts_with('-'))
        {
            let Some((key, value)) = word.split_once('=') else {
                let word = word.to_string();
                return Err(SettingsError::NotAPair { word });
            };
            settings.take(key, value)?;
        }
        settings.finish()
    }

    fn take(&mut self, key: &str, value: &str) -> Result<(), SettingsError> {
        match key {
            "addr" => {
                let net: IpNet = read("addr", value, "ADDRESS/PREFIX")?;
                if !is_host(net.addr()) {
                    return Err(bad("addr", value, "the address of a host"));
                }
                self.addresses.push(net);
            }
            "gw" => self.gateways.push(read("gw", value, "an address")?),
            "listen" => self.port = read("listen", value, "a port")?,
            "mtu" => self.mtu = read("mtu", value, "a number of octets")?,
            "allow-from" => self.core.allow_from.push(prefix("allow-from", value)?),
            "trust" => self.core.trusted.push(prefix("trust", value)?),
            "allow-to" => self.take_allow_to(value)?,
            "via" => {
                self.core.default_route = NextHop::Node(read("via", value, "ADDRESS:PORT")?);
            }
            "route" => {
                let wanted = "CIDR,ADDRESS:PORT";
                let (to, next) = value
                    .split_once(',')
                    .ok_or_else(|| bad("route", value, wanted))?;
                self.core.routes.push(Route {
                    prefix: prefix("route", to)?,
                    next: NextHop::Node(read("route", next, wanted)?),
                });
            }
            _ => {
                let key = key.to_string();
                return Err(SettingsError::UnknownKey { key });
            }
        }
        Ok(())
    }

    fn take_allow_to(&mut self, value: &str) -> Result<(), SettingsError> {
        const WANTED: &str = "CIDR, CIDR:PORT, CIDR:PORT-PORT or any";
        if value == "any" {
            for all in ["0.0.0.0/0", "::/0"] {
                self.core.allow_to.push(prefix("allow-to", all)?.into());
            }
            return Ok(());
        }
        if let Ok(net) = value.parse::<IpNet>() {
            self.core.allow_to.push(net.into());
            return Ok(());
        }
        let wrong = || bad("allow-to", value, WANTED);
        let (net, ports) = value.rsplit_once(':').ok_or_else(wrong)?;
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        self.core.allow_to.push(AllowTo {
            prefix: net.parse().map_err(|_| wrong())?,
            ports: PortRange {
                first: first.parse().map_err(|_| wrong())?,
                last: last.parse().map_err(|_| wrong())?,
            },
        });
        Ok(())
    }

    fn finish(mut self) -> Result<Self, SettingsError> {
        if self.addresses.is_empty() {
            return Err(SettingsError::Missing { key: "addr" });
        }
        if !(576..=9000).contains(&self.mtu) {
            return Err(bad("mtu", &self.mtu.to_string(), "576 to 9000"));
        }
        if self.port == 0 {
            return Err(bad("listen", "0", "a port from 1 to 65535"));
        }
        for (index, gateway) in self.gateways.iter().enumerate() {
            let value = gateway.to_string();
            if !self.addresses.iter().any(|net| net.contains(gateway)) {
                return Err(bad("gw", &value, "an address in the prefix of an addr="));
            }
            let mut earlier = self.gateways.iter().take(index);
            if earlier.any(|other| other.is_ipv4() == gateway.is_ipv4()) {
                return Err(bad("gw", &value, "one router of each family"));
            }
        }
        let addresses: Vec<_> = self.addresses.iter().map(IpNet::addr).collect();
        self.core.own = Own {
            listens: addresses
                .iter()
                .map(|address| SocketAddr::new(*address, self.port))
                .collect(),
            addresses,
        };
        Ok(self)
    }
}

/// Whether a host can have this address.
fn is_host(address: IpAddr) -> bool {
    let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !address.is_unspecified() && !address.is_multicast() && !address.is_loopback() && !is_broadcast
}

/// A prefix, or an address as a prefix of its whole length.
fn prefix(key: &'static str, value: &str) -> Result<IpNet, SettingsError> {
    match value.parse::<IpAddr>() {
        Ok(address) => Ok(address.into()),
        Err(_) => read(key, value, "CIDR"),
    }
}

fn read<T: core::str::FromStr>(
    key: &'static str,
    value: &str,
    wanted: &'static str,
) -> Result<T, SettingsError> {
    value.parse().map_err(|_| bad(key, value, wanted))
}

fn bad(key: &'static str, value: &str, wanted: &'static str) -> SettingsError {
    SettingsError::BadValue {
        key,
        value: value.to_string(),
        wanted,
    }
}

const KEYS: &str = "addr gw listen mtu allow-from allow-to trust via route";
/// Also the Linux node's.
const DEFAULT_PORT: u16 = 4460;

#[cfg(test)]
mod tests {
    use synhop_core::Config;

    use super::*;

    const GOOD: &str = "addr=10.0.0.2/24 gw=10.0.0.1 allow-from=10.0.0.0/8 allow-to=any";

    #[test]
    fn a_line_is_read() {
        let more = "trust=10.0.0.0/8 via=10.0.9.9:4460 route=10.2.0.0/16,10.0.0.7:4460";
        let line = [GOOD, more, "allow-to=[2001:db8::/32]:1-5"].join(" ");
        assert!(Settings::parse(&line).is_err());
        let settings = Settings::parse(&[GOOD, more, "-- "].join(" ")).expect("right");
        assert_eq!((settings.port, settings.mtu), (4460, 1500));
        assert_eq!(settings.core.routes.len(), 1);
        assert_eq!(
            settings.core.own.listens,
            ["10.0.0.2:4460".parse().expect("an address")]
        );
    }

    #[test]
    fn mistakes_are_told() {
        let error = |line: &str| Settings::parse(line).expect_err("wrong").to_string();
        assert_eq!(error("addr"), "`addr` is not of the form key=value");
        assert_eq!(
            error("addr=10.0.0.2"),
            "addr=10.0.0.2: ADDRESS/PREFIX is wanted"
        );
        assert_eq!(error("allow-to=any"), "addr=... is missing");
        assert!(error("adr=1").starts_with("no such key: adr (there are addr gw"));
        assert_eq!(
            error("addr=0.0.0.0/0"),
            "addr=0.0.0.0/0: the address of a host is wanted"
        );
        let more = |words: &str| error(&[GOOD, words].join(" "));
        assert!(more("gw=10.0.0.3").ends_with("one router of each family is wanted"));
        assert!(more("gw=fd00::1").ends_with("an address in the prefix of an addr= is wanted"));
    }

    #[test]
    fn what_the_core_refuses_is_told_in_its_words() {
        let error = |line: &str| {
            let settings = Settings::parse(line).expect("right so far");
            let error = Config::new(settings.core).expect_err("wrong");
            SettingsError::from(error).to_string()
        };
        assert!(error("addr=10.0.0.2/24 allow-to=any").contains("allow_from"));
        let error = error(&[GOOD, "via=10.0.0.2:4460"].join(" "));
        assert!(error.contains("10.0.0.2:4460"), "{error}");
    }
}
