//! The proxy node as a machine of its own.
//!
//! One ELF file boots in three ways: as a Xen PVH or PV guest with netfront, and on QEMU's microvm
//! (or another machine that starts PVH kernels) with virtio-net over MMIO. There is one processor,
//! one address space with physical addresses, and one loop ([`serve`]).
//!
//! Tests of what is plain logic run on the host; everything that only makes sense on the bare
//! machine (entries, descriptor tables, the allocator) is left out of them.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(
    test,
    allow(
        dead_code,
        reason = "the entries, from which all is used, are not there"
    )
)]

extern crate alloc;

mod boot;
mod clock;
mod command_line;
mod console;
mod cpu;
mod fault;
mod flow_log;
mod journal;
mod mem_functions;
mod memory;
mod plain;
mod platform;
mod power;
mod seed;
mod serve;
mod virtio;
mod xen;

pub use fault::panicked;

use boot::{Boot, Host};
use console::line;
use power::Outcome;

/// Where every entry ends up, with what it learnt of the machine.
pub(crate) fn start(boot: &Boot) -> ! {
    power::set_host(boot.host);
    console::set_host(boot.host);
    memory::add_all(&boot.memory);
    let result = match boot.host {
        Host::Plain => plain::Plain::attach(boot)
            .map_err(|error| line!("synhop: no network: {error}"))
            .map(|machine| serve::serve(machine, boot)),
        Host::XenPvh | Host::XenPv => xen::attach(boot)
            .map_err(|error| line!("synhop: no network: {error}"))
            .map(|machine| serve::serve(machine, boot)),
    };
    power::off(match result {
        Ok(outcome) => outcome,
        Err(()) => Outcome::Failed,
    })
}
