//! What the emulator counts.

use serde::Serialize;

use super::histogram::Histogram;

/// One link's counts since the lab was made.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LinkStats {
    /// Client towards server.
    pub to_server: DirectionStats,
    /// Server towards client.
    pub to_client: DirectionStats,
}

/// One direction's counts.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DirectionStats {
    /// Frames delivered, copies counted.
    pub forwarded: u64,
    /// Their octets.
    pub forwarded_octets: u64,
    /// Frames that the dice lost.
    pub lost: u64,
    /// Frames that found the link's queue full.
    pub queue_dropped: u64,
    /// Frames that a middlebox dropped.
    pub middlebox_dropped: u64,
    /// Frames held back for later ones to overtake.
    pub reordered: u64,
    /// Second copies made.
    pub duplicated: u64,
    /// Frames with a flipped bit.
    pub corrupted: u64,
    /// Frames that the emulator itself could not carry: its ring overran, its
    /// memory bound was reached, or the device refused. 0 in a valid run.
    pub failed: u64,
    /// Half of all frames were delivered this late at most, against the time
    /// that the spec asks for. Nanoseconds.
    pub late_p50_ns: u64,
    /// 99 % of all frames were delivered this late at most. Nanoseconds.
    pub late_p99_ns: u64,
    /// The latest frame's lateness. Nanoseconds.
    pub late_max_ns: u64,
}

/// What the emulator keeps for one direction.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    pub(crate) stats: DirectionStats,
    pub(crate) lateness: Histogram,
}

impl Counts {
    pub(crate) fn new() -> Self {
        Self {
            stats: DirectionStats::default(),
            lateness: Histogram::new(),
        }
    }

    pub(crate) fn delivered(&mut self, len_octets: usize, late_ns: u64) {
        self.stats.forwarded += 1;
        self.stats.forwarded_octets += len_octets as u64;
        self.lateness.record(late_ns);
    }

    pub(crate) fn summary(&self) -> DirectionStats {
        with_lateness(&self.stats, &self.lateness)
    }
}

/// All directions of a lab in one.
pub(crate) fn total<'a>(all: impl Iterator<Item = &'a Counts>) -> DirectionStats {
    let mut sum = DirectionStats::default();
    let mut lateness = Histogram::new();
    for Counts {
        stats,
        lateness: one,
    } in all
    {
        sum.forwarded += stats.forwarded;
        sum.forwarded_octets += stats.forwarded_octets;
        sum.lost += stats.lost;
        sum.queue_dropped += stats.queue_dropped;
        sum.middlebox_dropped += stats.middlebox_dropped;
        sum.reordered += stats.reordered;
        sum.duplicated += stats.duplicated;
        sum.corrupted += stats.corrupted;
        sum.failed += stats.failed;
        lateness.merge(one);
    }
    with_lateness(&sum, &lateness)
}

fn with_lateness(stats: &DirectionStats, lateness: &Histogram) -> DirectionStats {
    DirectionStats {
        late_p50_ns: lateness.percentile(50),
        late_p99_ns: lateness.percentile(99),
        late_max_ns: lateness.max(),
        ..stats.clone()
    }
}
