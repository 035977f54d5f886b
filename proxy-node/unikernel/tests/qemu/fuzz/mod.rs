//! A million forged segments through the booted image: noise, broken and odd options, and segments
//! aimed at connections whose numbers are known, on both legs of a flow.
//!
//! None is lost on the way there, and what shows it is the image's own count of frames.

mod dice;
mod forger;
mod options;

use std::time::{Duration, Instant};

use crate::frames::{arp_request, echo, is_arp_reply, ping};
use crate::machine::{Machine, PATIENCE, STATUS, STOP};
use forger::{Ending, Forger, handshake};

const FORGED: u64 = 1_000_000;
const WORDS: &str = "addr=10.0.0.2/24 addr=fd00::2/64 listen=4460 allow-from=10.0.0.0/8 \
    allow-from=fd00::/64 allow-to=any trust=10.0.0.11/32 trust=10.0.0.12/32 trust=fd00::/64";
/// As many frames go out before the next answer to a ping is waited for: two such batches fit into
/// the smallest usual socket buffer, so that none is dropped there.
const BATCH: u64 = 64;
/// Half-open flows end after 10 s by themselves, those that connect after 30 s.
const FLOWS_END: Duration = Duration::from_secs(45);

/// How the node is, from its report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Status {
    received: u64,
    dropped: u64,
    flows: u64,
    flows_most: u64,
    heap_kib: u64,
    pages_free: u64,
}

/// The machine under fire.
struct Range {
    machine: Machine,
    forger: Forger,
    pings: u16,
    /// Frames sent, all and forged.
    sent: u64,
    forged: u64,
}

impl Range {
    fn send(&mut self, frame: &[u8]) {
        self.machine.wire.send(frame).expect("it runs");
        self.sent += 1;
    }

    /// Asks for a sign of life.
    fn ping(&mut self) {
        self.pings = self.pings.wrapping_add(1);
        self.send(&ping(self.pings));
    }

    /// Takes what comes, and answers it, until the answer to ping number `last` is among it.
    fn wait_for(&mut self, last: u16) {
        let wanted = echo(0, last);
        let begin = Instant::now();
        let mut frame = [0; 2048];
        loop {
            match self.machine.wire.recv(&mut frame) {
                Ok(len) if frame[..len].ends_with(&wanted) => return,
                Ok(len) => {
                    if let Some(answer) = self.forger.answer(&frame[..len]) {
                        self.send(&answer);
                    }
                }
                // The answer was lost here, or the machine is slow.
                Err(_) => self.send(&ping(last)),
            }
            assert!(
                begin.elapsed() < PATIENCE,
                "no answer; the console:\n{}",
                self.machine.tail()
            );
        }
    }

    /// Sends forged frames, with never more than two batches on the way.
    fn forge(&mut self, count: u64) {
        let goal = self.forged + count;
        let mut before = None;
        while self.forged < goal {
            for _ in 0..BATCH.min(goal - self.forged) {
                let frame = self.forger.forge();
                self.send(&frame);
                self.forged += 1;
            }
            self.ping();
            if let Some(before) = before.replace(self.pings) {
                self.wait_for(before);
            }
        }
        self.wait_for(self.pings);
    }

    /// Ends what connections there are, until the node has few flows left: of some neither the forger
    /// nor the node knows the right number, and they end by their timeouts.
    fn end_flows(&mut self) -> Status {
        let begin = Instant::now();
        loop {
            for step in [Ending::Probe, Ending::Reset] {
                for frames in self.forger.endings(step).chunks(64) {
                    for frame in frames {
                        self.send(frame);
                    }
                    self.ping();
                    self.wait_for(self.pings);
                }
            }
            let status = self.status();
            if status.flows <= status.flows_most / 4 {
                return status;
            }
            assert!(
                begin.elapsed() < FLOWS_END,
                "{status:?}; the console:\n{}",
                self.machine.tail()
            );
        }
    }

    fn status(&mut self) -> Status {
        let from = self.machine.printed();
        self.machine.press(STATUS);
        let begin = Instant::now();
        loop {
            let found = self.machine.text(|all| {
                let line = all[from..]
                    .lines()
                    .find(|line| line.contains(" frames dropped, "));
                line.filter(|line| line.ends_with('}')).map(str::to_owned)
            });
            if let Some(line) = found {
                return read_status(&line).unwrap_or_else(|| panic!("what is this? {line}"));
            }
            assert!(
                begin.elapsed() < PATIENCE,
                "no report; the console:\n{}",
                self.machine.tail()
            );
            std::thread::yield_now();
        }
    }
}

fn read_status(line: &str) -> Option<Status> {
    let before = |what: &str| {
        let words = line.split_once(what)?.0;
        words
            .rsplit([' ', ':'])
            .find(|word| !word.is_empty())?
            .parse()
            .ok()
    };
    let of = |what: &str| {
        let words = line.split_once(what)?.0;
        words
            .rsplit_once(" of ")?
            .0
            .rsplit(' ')
            .next()?
            .parse()
            .ok()
    };
    let received = line.split_once("{ received: ")?.1;
    Some(Status {
        received: received.split_once(',')?.0.parse().ok()?,
        dropped: before(" frames dropped")?,
        flows: of(" flows")?,
        flows_most: before(" flows")?,
        heap_kib: before(" KiB of heap free")?,
        pages_free: of(" pages free")?,
    })
}

#[test]
fn a_million_forged_segments_do_nothing_bad() {
    let seed = std::env::var("SYNHOP_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(1);
    println!("seed {seed} (SYNHOP_SEED=N for another)");
    let name = "a_million_forged_segments_do_nothing_bad";
    let Some(machine) = Machine::start(name, "4M", WORDS) else {
        return;
    };
    machine.ask(&arp_request(), is_arp_reply);
    let mut range = Range {
        machine,
        forger: Forger::new(seed),
        pings: 0,
        sent: 0,
        forged: 0,
    };
    // What was asked again is through, so that from now on every frame counts.
    range.ping();
    range.wait_for(range.pings);
    let first = range.status();
    (range.sent, range.forged) = (0, 0);

    let begin = Instant::now();
    let mut least = first;
    while range.forged < FORGED {
        range.forge((FORGED / 10).min(FORGED - range.forged));
        let status = range.status();
        assert!(status.flows <= status.flows_most, "{status:?}");
        least.heap_kib = least.heap_kib.min(status.heap_kib);
        println!(
            "{} forged in {:?}: {status:?}",
            range.forged,
            begin.elapsed()
        );
    }
    let end = range.status();
    let came = end.received - first.received + end.dropped - first.dropped;
    println!(
        "{} forged, {} sent in all, {came} came, {} SYNs and {} SYN-ACKs of its answered, {} KiB of heap at least",
        range.forged,
        range.sent,
        range.forger.syns_answered,
        range.forger.syn_acks_answered,
        least.heap_kib
    );
    let others = range.sent - range.forged;
    assert!(came - others >= FORGED, "{end:?}");
    assert!(range.forger.syns_answered > 1000 && range.forger.syn_acks_answered > 1000);

    let quiet = range.end_flows();
    println!("most flows ended: {quiet:?}, at first: {first:?}");
    range.ping();
    range.wait_for(range.pings);
    let (syn, is_understood) = handshake();
    range.machine.ask(&syn, is_understood);
    for _ in 0..2 {
        range.machine.press(STOP);
    }
    let (exit, console) = range.machine.end();
    assert_eq!(exit.code(), Some(1), "{}", console.len());
    for bad in ["panicked", "fault: ", "overflow"] {
        assert!(!console.contains(bad), "{bad}");
    }
    assert!(console.ends_with("synhop: stopped\n"));
    let report = console.lines().rev().nth(1).and_then(read_status);
    assert_eq!(report.map(|report| report.flows), Some(0), "at its end");
}
