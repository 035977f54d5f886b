//! Processors that stay awake while something is timed.
//!
//! All hosts of a lab share the processors of one machine, which is idle between two frames of one
//! fetch. Waking a processor out of its sleep takes tens of microseconds, most of all in a virtual
//! machine, and a fetch through three nodes does it dozens of times: that would be measured, not
//! the nodes. The kernel keeps its processors out of deep idle states for as long as somebody holds
//! `/dev/cpu_dma_latency` (its interface for latency wanted), and returns to its ways when that is closed.

use std::fs::{File, OpenOptions};
use std::io::Write;

use serde::Serialize;

/// What idle processors do meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Idle {
    /// They wait for work without sleeping, where the kernel can be asked to.
    #[default]
    Awake,
    /// They sleep as the machine's settings say.
    Asleep,
}

impl std::fmt::Display for Idle {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Awake => "awake",
            Self::Asleep => "asleep",
        })
    }
}

/// Keeps the processors as wanted until it is dropped.
#[derive(Debug)]
pub(crate) struct Wakeful {
    _request: Option<File>,
}

impl Wakeful {
    /// Asks for it. Says what is so: without the device the processors sleep.
    pub(crate) fn ask(wanted: Idle) -> (Self, Idle) {
        let request = match wanted {
            Idle::Awake => request().ok(),
            Idle::Asleep => None,
        };
        let is = match request {
            Some(_) => Idle::Awake,
            None => Idle::Asleep,
        };
        (Self { _request: request }, is)
    }
}

fn request() -> std::io::Result<File> {
    let mut device = OpenOptions::new()
        .write(true)
        .open("/dev/cpu_dma_latency")?;
    // The longest wake-up that is tolerated, microseconds.
    device.write_all(&0_i32.to_ne_bytes())?;
    Ok(device)
}
