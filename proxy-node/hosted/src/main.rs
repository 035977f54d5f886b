//! `synhop-hosted`: the node of the unikernel as a Linux process, on a TAP device.
//!
//! For tests, benchmarks and profiling: all of it but the device is what boots on Xen.

mod signals;
mod sys;
mod tap;

use std::io;
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::time::Instant as Clock;

use anyhow::{Context, anyhow};
use clap::Parser;
use synhop_stack::{Instant, Offload, Pool, Settings, Stack};

use tap::{Mode, Tap};

/// A synhop node with its own TCP/IP, on a TAP device.
#[derive(Debug, Parser)]
#[command(version, about, after_help = EXAMPLE)]
struct Cli {
    /// The TAP device; made if there is none of that name.
    #[arg(long, value_name = "NAME")]
    tap: String,
    /// Its Ethernet address.
    #[arg(long, default_value = "02:00:00:00:00:02", value_parser = mac)]
    mac: Mac,
    /// Leave checksums and segmentation to the other side of the device.
    #[arg(long)]
    offload: bool,
    /// Memory for frames, in KiB; with --offload half of it for large ones.
    #[arg(long, default_value_t = 131_072, value_name = "KIB", value_parser = memory)]
    memory: usize,
    /// The node: addr=10.0.0.2/24 allow-from=10.0.0.0/8 allow-to=any ...
    #[arg(required = true, value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

const EXAMPLE: &str = "\
Keys: addr=ADDRESS/PREFIX gw=ADDRESS listen=PORT mtu=OCTETS allow-from=CIDR allow-to=CIDR[:PORTS]|any
      trust=CIDR via=ADDRESS:PORT route=CIDR,ADDRESS:PORT

Example:
  synhop-hosted --tap node0 addr=10.0.0.2/24 allow-from=10.0.0.0/24 trust=10.0.0.0/24 allow-to=any";

#[derive(Clone, Copy, Debug)]
struct Mac([u8; 6]);

fn mac(text: &str) -> Result<Mac, String> {
    let mut octets = [0; 6];
    let mut parts = text.split(':');
    for octet in &mut octets {
        let part = parts.next().unwrap_or_default();
        *octet = u8::from_str_radix(part, 16).map_err(|_| "six octets are wanted".to_owned())?;
    }
    if parts.next().is_some() || octets[0] & 1 != 0 {
        return Err("a unicast address of six octets is wanted".to_owned());
    }
    Ok(Mac(octets))
}

fn memory(text: &str) -> Result<usize, String> {
    let kib = text.parse().ok();
    kib.filter(|kib| MEMORY_KIB.contains(kib)).ok_or_else(|| {
        format!(
            "a number from {} to {} is wanted",
            MEMORY_KIB.start(),
            MEMORY_KIB.end()
        )
    })
}

fn main() -> ExitCode {
    match serve(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("synhop-hosted: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(cli: &Cli) -> anyhow::Result<()> {
    let settings = Settings::parse(&cli.settings.join(" "))?;
    let listens = settings.core.own.listens.clone();
    let memory = cli.memory * 1024;
    let (mode, large, offload) = if cli.offload {
        let offload = Offload {
            checksum: true,
            frame_octets_most: tap::FRAME_OCTETS_MOST,
        };
        (Mode::Offload, memory / 2, offload)
    } else {
        (Mode::Plain, 0, Offload::default())
    };
    let clock = Clock::now();
    let now = || {
        let micros = clock.elapsed().as_micros();
        Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    };
    let mut seed = [0; 32];
    sys::random(&mut seed).context("random numbers")?;
    let pool = Pool::new((memory - large) / PAGE_OCTETS, PAGE_OCTETS);
    // Before the device: wrong words are told without it.
    let mut stack = Stack::new(settings, cli.mac.0, offload, pool, seed, now())?;
    let tap = Tap::open(&cli.tap, mode, large)
        .map_err(|error| anyhow!("TAP device {}: {}", cli.tap, reason(&error)))?;
    let stop = signals::watch().context("signals")?;
    for listen in listens {
        eprintln!("listening on {listen}");
    }
    run(&mut stack, &tap, &stop, now)
}

/// What to do about it, where the system's words do not say.
fn reason(error: &io::Error) -> String {
    let advice = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            "it takes access to /dev/net/tun, and CAP_NET_ADMIN or to be its owner"
        }
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => "there is no /dev/net/tun",
        Some(libc::EBUSY) => "somebody has it open",
        Some(libc::EINVAL) => "there is one of that name that is no TAP device of one queue",
        _ => return error.to_string(),
    };
    format!("{advice} ({error})")
}

fn run(
    stack: &mut Stack,
    tap: &Tap,
    stop: &signals::Watch,
    now: impl Fn() -> Instant,
) -> anyhow::Result<()> {
    while !stack.is_stopped() {
        for _frame in 0..FRAMES_PER_TURN {
            let Some((frame, checksum)) = tap.receive(stack.pool())? else {
                break;
            };
            stack.receive(frame, checksum, now());
        }
        stack.tick(now());
        while let Some(frame) = stack.poll_frame(now()) {
            // A full device loses frames, as links do.
            tap.send(&frame)?;
        }
        while let Some(line) = stack.next_line() {
            eprintln!("{line}");
        }
        let left = stack.next_deadline().map(|at| at.since(now()));
        if sys::wait(tap, stop, left)? == sys::Woken::Stop {
            stop.take();
            stack.stop(now());
        }
    }
    let counters = stack.counters();
    eprintln!("stopped: {counters:?} {:?}", stack.engine_counters());
    Ok(())
}

const PAGE_OCTETS: usize = 2048;
/// A reserve and a few segments; a TiB is more than any machine's.
const MEMORY_KIB: RangeInclusive<usize> = 256..=1 << 30;
/// So that what is received is answered before all of it is read.
const FRAMES_PER_TURN: usize = 64;
