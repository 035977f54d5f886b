//! `synhop-hosted`: the node of the unikernel as a Linux process, on a TAP device.
//!
//! For tests, benchmarks and profiling: all of it but the device is what boots on Xen.

mod signals;
mod sys;
mod tap;

use std::time::Instant as Clock;

use anyhow::Context;
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
    /// Memory for frames, in KiB.
    #[arg(long, default_value_t = 16_384, value_name = "KIB")]
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

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let settings = Settings::parse(&cli.settings.join(" "))?;
    let mode = if cli.offload {
        Mode::Offload
    } else {
        Mode::Plain
    };
    let memory = cli.memory * 1024;
    let large = match mode {
        Mode::Plain => 0,
        Mode::Offload => memory / 2,
    };
    let tap =
        Tap::open(&cli.tap, mode, large).with_context(|| format!("TAP device {}", cli.tap))?;
    let stop = signals::watch().context("signals")?;
    let clock = Clock::now();
    let now = || {
        let micros = clock.elapsed().as_micros();
        Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    };
    let pool = Pool::new((memory - large) / PAGE_OCTETS, PAGE_OCTETS);
    let offload = match mode {
        Mode::Plain => Offload::default(),
        Mode::Offload => Offload {
            checksum: true,
            frame_octets_most: tap::FRAME_OCTETS_MOST,
        },
    };
    let mut seed = [0; 32];
    sys::random(&mut seed).context("random numbers")?;
    let listens = settings.core.own.listens.clone();
    let mut stack = Stack::new(settings, cli.mac.0, offload, pool, seed, now())?;
    for listen in listens {
        eprintln!("listening on {listen}");
    }
    run(&mut stack, &tap, &stop, now)
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
/// So that what is received is answered before all of it is read.
const FRAMES_PER_TURN: usize = 64;
