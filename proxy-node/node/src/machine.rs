//! What this machine and network namespace are like.

use std::io;
use std::net::IpAddr;

use crate::sys;

/// Descriptors that are neither sockets, for flows or spare, nor pipes: log, listener, maps, status page.
const OTHER_DESCRIPTORS: u64 = 96;
/// Sockets ready for onward SYNs, of each address family: as many as may come at once before the
/// node has had a moment to make more.
const SPARE_SOCKETS: u64 = 16;

/// Facts that settings are checked against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The addresses of its interfaces.
    pub addresses: Vec<IpAddr>,
    /// How many flows the limit of open files allows; at least 1.
    pub max_flows: u32,
    /// How many pipes it allows beside them.
    pub pipes: usize,
    /// How many sockets it allows to keep ready for onward SYNs, of each address family.
    pub spare_sockets: usize,
    /// Option space of a SYN that the kernel's own options leave.
    pub option_room_octets: usize,
}

impl Machine {
    /// Looks around. Raises the limit of open files to the hard limit on the way. `pipes` is how
    /// many pipes are wanted.
    pub fn survey(pipes: usize) -> io::Result<Self> {
        let open_files = sys::raise_open_files()?;
        // Flows come first: without a pipe they copy, without a socket they are refused.
        let pipes = u64::try_from(pipes).unwrap_or(u64::MAX).min(open_files / 8);
        let spare_sockets = SPARE_SOCKETS.min(open_files / 32);
        let others = pipes * 2 + spare_sockets * 2 + OTHER_DESCRIPTORS;
        let for_flows = open_files.saturating_sub(others);
        Ok(Self {
            addresses: sys::interface_addresses()?,
            max_flows: u32::try_from(for_flows / 2)
                .unwrap_or(u32::MAX)
                .clamp(1, synhop_core::Limits::MAX_FLOWS),
            pipes: usize::try_from(pipes).unwrap_or(usize::MAX),
            spare_sockets: usize::try_from(spare_sockets).unwrap_or(usize::MAX),
            option_room_octets: option_room_octets(),
        })
    }
}

/// Linux sends MSS, SACK-permitted, timestamps and window scale: 20 octets; without timestamps 12.
fn option_room_octets() -> usize {
    match std::fs::read_to_string("/proc/sys/net/ipv4/tcp_timestamps") {
        Ok(setting) if setting.trim() == "0" => 28,
        Ok(_) | Err(_) => 20,
    }
}

/// Twice the receive window that this namespace allows, in octets of payload.
///
/// Linux offers about half of the receive buffer as window (`net.ipv4.tcp_adv_win_scale` = 1), so
/// twice the window is the maximum of `net.ipv4.tcp_rmem`. A smaller send buffer stalls a round
/// trip from the third round of slow start on.
pub fn twice_the_receive_window() -> io::Result<u32> {
    /// The kernel doubles what it is told, and its counter is an int.
    const MAX: u32 = (1 << 30) - 1;
    let path = "/proc/sys/net/ipv4/tcp_rmem";
    let setting = std::fs::read_to_string(path)?;
    let max = setting.split_whitespace().nth(2);
    max.and_then(|octets| octets.parse().ok())
        .map(|octets: u32| octets.min(MAX))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("{path}: {setting:?}")))
}

/// What is missing that the node cannot do without, each with what to do about it.
pub fn missing_prerequisites() -> Vec<String> {
    let mut missing = Vec::new();
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let capabilities = capabilities(&read("/proc/self/status"));
    let has = |bit: u32| capabilities & (1 << bit) != 0;
    if !has(CAP_NET_ADMIN) {
        missing.push(
            "CAP_NET_ADMIN is missing: run as root, or with the capabilities of the systemd unit"
                .to_owned(),
        );
    }
    if !has(CAP_BPF) && !has(CAP_SYS_ADMIN) {
        missing.push(
            "CAP_BPF is missing (to load the program that reads and writes the TCP option): run \
             as root, or with the capabilities of the systemd unit"
                .to_owned(),
        );
    }
    let mounts = read("/proc/mounts");
    if !mounts
        .lines()
        .any(|mount| mount.split(' ').nth(2) == Some("cgroup2"))
    {
        missing.push(
            "no cgroup2 hierarchy is mounted: mount -t cgroup2 none /sys/fs/cgroup/unified \
             (`ip netns exec` hides it: use nsenter --net=/run/netns/NAME)"
                .to_owned(),
        );
    }
    missing
}

const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_BPF: u32 = 39;

/// The effective set, from `/proc/PID/status`.
fn capabilities(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read() {
        let status = "Name:\tx\nCapEff:\t0000008000001000\n";
        assert_eq!(capabilities(status), 1 << CAP_NET_ADMIN | 1 << CAP_BPF);
        assert_eq!(capabilities(""), 0);
    }

    #[test]
    fn a_survey_finds_room_and_no_wildcard() {
        let machine = Machine::survey(8).unwrap();
        assert!(!machine.addresses.iter().any(IpAddr::is_unspecified));
        assert!(machine.max_flows >= 1);
    }
}
