//! What a node has counted since it began.

use crate::report::Outcome;

/// Totals that only grow. Read them through [`crate::Node::counters`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// SYN events that came in, repeated ones included.
    pub syn_events: u64,
    /// SYN events of an attempt that was known already: retransmissions, and events that came
    /// after the accept.
    pub syn_repeated: u64,
    /// SYN events that policy, routes or the loop check refused. Their connections are refused
    /// (and reported) when they are accepted.
    pub syn_refused: u64,
    /// SYN events left to the accept because their source has proven nothing.
    pub late_unproven: u64,
    /// SYN events left to the accept because too many flows were pending in all.
    pub late_pending_full: u64,
    /// SYN events left to the accept because too many flows of their source were pending.
    pub late_source_full: u64,
    /// SYN events left to the accept because their source sent too many of late.
    pub late_rate: u64,
    /// SYN events left to the accept because the flow table was full.
    pub late_table_full: u64,
    /// Flows opened at the SYN.
    pub opened_early: u64,
    /// Flows opened at the accept.
    pub opened_late: u64,
    /// Inputs for flows that are over, as happens when a report and an action cross.
    pub stale_inputs: u64,
    outcomes: [u64; Outcome::ALL.len()],
}

impl Counters {
    /// Flows opened, early and late.
    pub const fn opened(&self) -> u64 {
        self.opened_early.saturating_add(self.opened_late)
    }

    /// How many reports had this outcome.
    pub fn outcome(&self, outcome: Outcome) -> u64 {
        self.outcomes.get(slot(outcome)).copied().unwrap_or(0)
    }

    /// Every outcome with its count, in the order of [`Outcome::ALL`].
    pub fn outcomes(&self) -> impl Iterator<Item = (Outcome, u64)> {
        let counts = self.outcomes;
        Outcome::ALL.into_iter().zip(counts)
    }

    pub(crate) fn count(&mut self, outcome: Outcome) {
        if let Some(count) = self.outcomes.get_mut(slot(outcome)) {
            *count = count.saturating_add(1);
        }
    }
}

/// [`Outcome::ALL`] lists the variants in their order of declaration; a test holds it to that.
const fn slot(outcome: Outcome) -> usize {
    outcome as usize
}

#[cfg(test)]
mod tests {
    use super::{Counters, slot};
    use crate::report::Outcome;

    #[test]
    fn every_outcome_has_its_slot() {
        for (at, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(slot(outcome), at, "{outcome}");
            let mut counters = Counters::default();
            counters.count(outcome);
            assert_eq!(counters.outcome(outcome), 1);
            assert_eq!(counters.outcomes().map(|(_, n)| n).sum::<u64>(), 1);
        }
    }
}
