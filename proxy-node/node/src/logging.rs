//! Log lines on standard error: one for each flow, and never more than a disk can take.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use synhop_core::{Outcome, Report};
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Starts logging. `RUST_LOG` overrides the level, which is `info`.
pub fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_unset| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
}

/// Writes the flows' lines. Flows that were relayed always get theirs; refusals and failures,
/// which cost an attacker one packet, get as many as [`Budget`] gives.
#[derive(Debug)]
pub(crate) struct FlowLog {
    cheap: Budget,
}

impl FlowLog {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            cheap: Budget::new(now),
        }
    }

    /// Logs the end of a flow.
    pub(crate) fn report(&mut self, report: &Report, now: Instant) {
        if !is_cheap(report.outcome) || self.cheap.take(now) {
            write_line(report);
        }
        self.flush(now);
    }

    /// Whether a line about trouble of this machine may be written now.
    pub(crate) fn may_complain(&mut self, now: Instant) -> bool {
        self.cheap.take(now)
    }

    /// Says how many lines were left out, at most once a second.
    pub(crate) fn flush(&mut self, now: Instant) {
        if let Some(suppressed) = self.cheap.take_suppressed(now) {
            warn!(
                suppressed,
                "lines left out: flows that came to nothing are too many"
            );
        }
    }
}

/// Whether a few packets are enough to get such a line.
const fn is_cheap(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Closed
        | Outcome::ResetByClient
        | Outcome::ResetByServer
        | Outcome::IdleTimeout
        | Outcome::Shutdown => false,
        Outcome::Refused
        | Outcome::Unreachable
        | Outcome::ConnectTimeout
        | Outcome::NextHopSilent
        | Outcome::ClientVanished
        | Outcome::NoOption
        | Outcome::MalformedOption
        | Outcome::SourceNotAllowed
        | Outcome::DestinationNotAllowed
        | Outcome::DestinationIsSelf
        | Outcome::HopsExhausted
        | Outcome::Loop
        | Outcome::NoOptionRoom
        | Outcome::TableFull => true,
    }
}

fn write_line(report: &Report) {
    let micros = |duration: Option<Duration>| duration.map(|it| saturate(it.as_micros()));
    let timings = report.timings;
    info!(
        client = %report.leg.client(),
        claimed = report.claimed_source.map(display),
        destination = report.destination.map(display),
        next = report.next.map(display),
        mode = report.mode.map(display),
        outcome = %report.outcome,
        syn_to_connect_us = micros(timings.syn_to_connect),
        downstream_us = micros(timings.downstream_handshake),
        upstream_us = micros(timings.upstream_handshake),
        up_octets = report.up_octets,
        down_octets = report.down_octets,
        duration_ms = saturate(timings.duration.as_millis()),
        "flow"
    );
}

fn saturate(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// Lines per second in the long run.
const LINES_PER_SECOND: u32 = 50;
/// Lines at once after a quiet time.
const BURST_LINES: u32 = 200;
/// How often what was left out is told.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// A token bucket for log lines that counts what it refuses.
#[derive(Debug)]
struct Budget {
    lines: u32,
    filled_at: Instant,
    suppressed: u64,
    told_at: Instant,
}

impl Budget {
    const fn new(now: Instant) -> Self {
        Self {
            lines: BURST_LINES,
            filled_at: now,
            suppressed: 0,
            told_at: now,
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        self.fill(now);
        if self.lines > 0 {
            self.lines -= 1;
            return true;
        }
        self.suppressed = self.suppressed.saturating_add(1);
        false
    }

    fn fill(&mut self, now: Instant) {
        let per_line = Duration::from_secs(1) / LINES_PER_SECOND;
        let since = now.saturating_duration_since(self.filled_at);
        let earned = since.as_nanos() / per_line.as_nanos();
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        if earned >= BURST_LINES {
            self.lines = BURST_LINES;
            self.filled_at = now;
        } else if earned > 0 {
            self.lines = self.lines.saturating_add(earned).min(BURST_LINES);
            self.filled_at += per_line * earned;
        }
    }

    fn take_suppressed(&mut self, now: Instant) -> Option<u64> {
        let due = now.saturating_duration_since(self.told_at) >= TELL_EVERY;
        if self.suppressed == 0 || !due {
            return None;
        }
        self.told_at = now;
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_bounds_a_flood_and_counts_the_rest() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        let taken = (0..1000).filter(|_| budget.take(start)).count();
        assert_eq!(taken, 200);
        assert_eq!(budget.take_suppressed(start), None);
        let later = start + Duration::from_secs(1);
        assert_eq!(budget.take_suppressed(later), Some(800));
        let taken = (0..1000).filter(|_| budget.take(later)).count();
        assert_eq!(taken, 50);
    }
}
