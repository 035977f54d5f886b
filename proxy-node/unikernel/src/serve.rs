//! The loop that every host drives the node with.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;

use synhop_stack::{Frame, Instant, Pool, Settings, SettingsError, Stack};

use crate::boot::Boot;
use crate::console::{self, line};
use crate::fault;
use crate::flow_log::{FlowLog, Line};
use crate::journal::Journal;
use crate::memory;
use crate::platform::Platform;
use crate::power::Outcome;
use crate::seed;

/// Octets of a page of the pool: a frame of 1514 octets and a device's header.
const PAGE_OCTETS: usize = 2048;

/// Of the free heap, this many hundredths become the pool; the rest is for flows and tables.
const POOL_SHARE: usize = 44;

/// More pages than this help no more: 64 MiB.
const PAGES_MOST: usize = 32_768;

/// Frames that are taken in before those that they caused go out, at most.
const BATCH_MOST: usize = 64;

/// Frames that go out before the next are taken in. More would have been sent if this is reached,
/// so that there is no sleep then.
const SENT_MOST: usize = 1024;

/// Octets of the free heap that a flow may need: two connections of 900 octets with their queues and
/// places in tables, which are copied as they grow, what is left of two in TIME-WAIT, a source. The
/// tests measure 7 KiB with every table full.
const FLOW_OCTETS: usize = 8 * 1024;

/// Whether the host asked for an end is looked up this often while frames keep coming.
const LOOK_EVERY: u32 = 256;

/// Words of the command line that are for this image, not for the node.
const OWN_WORDS: [&str; 4] = ["virtio_mmio.device", "tsc-khz", "seed", "fault"];

/// Runs the node until the host asks for an end.
pub(crate) fn serve(mut platform: impl Platform, boot: &Boot) -> Outcome {
    let pages = (memory::free() / 100 * POOL_SHARE / PAGE_OCTETS).min(PAGES_MOST);
    let pool = Pool::new(pages, PAGE_OCTETS);
    let (mac, offload) = (platform.mac(), platform.offload());
    line!(
        "synhop: {:?}, {} KiB of memory, {} KiB free, {pages} pages, mac {}, {offload:?}, up after {} us",
        boot.host,
        boot.memory.octets() / 1024,
        memory::free() / 1024,
        Mac(mac),
        platform.now().as_micros(),
    );
    if let Some(kind) = boot.command_line.values("fault").last() {
        fault::provoke(kind);
    }
    if boot.command_line.is_cut() {
        line!("synhop: the command line is too long");
        return Outcome::Failed;
    }
    match build(&platform, boot, pool) {
        Ok(stack) => run(&mut platform, stack),
        Err(error) => {
            line!("synhop: {error}");
            Outcome::Failed
        }
    }
}

/// Makes the stack as the command line says. Its making takes much room on the stack of calls, which
/// is free again after; hence a call of its own, and a box.
#[inline(never)]
fn build(platform: &impl Platform, boot: &Boot, pool: Pool) -> Result<Box<Stack>, SettingsError> {
    let words = boot.command_line.words().filter(|word| is_the_nodes(word));
    let line = words.fold(String::new(), |all, word| all + word + " ");
    let mut settings = Settings::parse(&line)?;
    limit(&mut settings);
    let mac = platform.mac();
    let seed = seed::seed(boot, mac);
    let stack = Stack::new(
        settings,
        mac,
        platform.offload(),
        pool,
        seed,
        platform.now(),
    )?;
    Ok(Box::new(stack))
}

/// Allows no more flows than there is memory for: running out of it is the end of all of them.
fn limit(settings: &mut Settings) {
    let limits = &mut settings.core.limits;
    let most = u32::try_from(memory::free() / FLOW_OCTETS).unwrap_or(u32::MAX);
    limits.flows = limits.flows.min(most);
    limits.pending = limits.pending.min(most);
    limits.pending_per_source = limits.pending_per_source.min(most);
    limits.sources = limits.sources.min(most);
    line!("synhop: at most {} flows", limits.flows);
}

fn is_the_nodes(word: &str) -> bool {
    let key = word.split_once('=').map_or(word, |(key, _)| key);
    !OWN_WORDS.contains(&key)
}

fn run(platform: &mut impl Platform, mut stack: Box<Stack>) -> Outcome {
    let pool = stack.pool().clone();
    let mut kept = None;
    let mut journal = Journal::default();
    let mut log = FlowLog::new(platform.now());
    let mut rounds: u32 = 0;
    // The first frame after a silence goes on at once; the more follow, the more at a time.
    let mut batch = 1;
    let mut served = false;
    line!("synhop: listening, {} KiB left", memory::free() / 1024);
    while !stack.is_stopped() {
        let now = platform.now();
        let came = (0..batch)
            .map_while(|_| platform.receive(&pool))
            .map(|(frame, checksum)| stack.receive(frame, checksum, now))
            .count();
        batch = if came < batch {
            1
        } else {
            BATCH_MOST.min(2 * batch)
        };
        stack.tick(now);
        let sent = send_all(platform, &mut stack, &mut kept, now);
        if !served && stack.node().counters().opened() > 0 {
            served = true;
            let at = platform.now().as_micros();
            journal.add(&format!("synhop: first flow {at} us after the entry"));
        }
        take_lines(&mut stack, &mut log, &mut journal, now);
        while journal.is_full() {
            journal.write_some(console::write);
        }
        rounds = rounds.wrapping_add(1);
        let look = came == 0 || rounds.is_multiple_of(LOOK_EVERY);
        if look && platform.stop_asked() {
            journal.write_all(console::write);
            line!("synhop: asked to stop");
            stack.stop(now);
        } else if look && platform.status_asked() {
            journal.write_all(console::write);
            report(platform, &stack);
        } else if came == 0 && sent == Sent::All {
            if journal.is_empty() {
                platform.wait(stack.next_deadline());
            } else {
                journal.write_some(console::write);
            }
        }
    }
    journal.write_all(console::write);
    report(platform, &stack);
    line!("synhop: stopped");
    Outcome::Done
}

/// Puts the lines about flows where they wait for the console, as far as they are admitted.
fn take_lines(stack: &mut Stack, log: &mut FlowLog, journal: &mut Journal, now: Instant) {
    while let Some(text) = stack.next_line() {
        match log.admit(now) {
            Line::Write { left_out: 0 } => {}
            Line::Write { left_out } => {
                journal.add(&format!("synhop: {left_out} lines left out"));
            }
            Line::Omit => continue,
        }
        journal.add(&text);
    }
}

/// Tells how things are.
fn report(platform: &impl Platform, stack: &Stack) {
    line!(
        "synhop: {} of {} flows, {} of {} pages free, {} KiB of heap free, {} frames dropped, {:?}, {:?}",
        stack.node().flows(),
        stack.node().config().limits().flows,
        stack.pool().free(),
        stack.pool().total(),
        memory::free() / 1024,
        platform.dropped(),
        stack.counters(),
        stack.engine_counters(),
    );
}

/// What came of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// There is no more to send, or the device is full.
    All,
    /// There may be more.
    Some,
}

/// Sends what the stack has, until the device is full; the frame that it refused is kept.
fn send_all(
    platform: &mut impl Platform,
    stack: &mut Stack,
    kept: &mut Option<Frame>,
    now: Instant,
) -> Sent {
    let mut sent = Sent::Some;
    for number in 0..SENT_MOST {
        let Some(frame) = kept.take().or_else(|| stack.poll_frame(now)) else {
            sent = Sent::All;
            break;
        };
        if let Err(frame) = platform.send(frame) {
            *kept = Some(frame);
            sent = Sent::All;
            break;
        }
        if number == 0 {
            // The device begins with it while the others are made.
            platform.flush();
        }
    }
    platform.flush();
    sent
}

/// An Ethernet address as it is written.
struct Mac([u8; 6]);

impl core::fmt::Display for Mac {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for (n, octet) in self.0.iter().enumerate() {
            let colon = if n == 0 { "" } else { ":" };
            write!(f, "{colon}{octet:02x}")?;
        }
        Ok(())
    }
}
