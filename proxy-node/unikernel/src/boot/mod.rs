//! From the entry to Rust: what an entry hands over.

#[cfg(not(test))]
mod protect;
#[cfg(not(test))]
mod pvh;
mod regions;
mod start_info;

#[cfg(not(test))]
pub(crate) use protect::protect;
pub(crate) use regions::{Region, Regions};

use crate::command_line::CommandLine;

/// Who runs the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// A machine monitor with virtio devices (QEMU, Firecracker).
    Plain,
    /// Xen, in hardware-assisted containers.
    XenPvh,
    /// Xen, paravirtual: ring 3, with page tables of Xen's.
    XenPv,
}

/// What an entry learnt. All of it is a copy: the originals may lie in memory that becomes heap.
#[derive(Debug)]
pub(crate) struct Boot {
    /// Who runs the image.
    pub(crate) host: Host,
    /// Memory that may be used, mapped at its physical address.
    pub(crate) memory: Regions,
    /// The words given by the host's administrator.
    pub(crate) command_line: CommandLine,
    /// The time-stamp counter at the first instruction.
    pub(crate) entered: u64,
}
