//! The facade: inputs in, actions out.

use crate::config::Config;
use crate::counters::Counters;
use crate::event::{Action, Input, Verdict};
use crate::report::Outcome;
use crate::syn::Syn;
use crate::time::Time;

/// Everything one node decides.
///
/// The shell calls it from one place at a time and carries out the actions in their order. `sink`
/// is called during the call, some number of times that is bounded by the number of flows.
#[derive(Debug)]
pub struct Node {
    config: Config,
    counters: Counters,
}

impl Node {
    /// A node without flows.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            counters: Counters::default(),
        }
    }

    /// Something happened at `now`.
    pub fn on(&mut self, _input: Input, _now: Time, _sink: &mut impl FnMut(Action)) {
        self.counters.stale_inputs += 1;
    }

    /// An upstream handshake is complete, and `syn` is the SYN saved with it: the authority, even
    /// where an event said otherwise.
    pub fn accepted(&mut self, syn: &Syn, _now: Time, _sink: &mut impl FnMut(Action)) -> Verdict {
        match self.config.policy.judge(syn) {
            Ok(_) => Verdict::Reject(Outcome::Shutdown),
            Err(outcome) => Verdict::Reject(outcome),
        }
    }

    /// When the next [`Input::Tick`] is due; `None` while nothing waits.
    pub fn next_deadline(&self) -> Option<Time> {
        None
    }

    /// Active flows, pending ones included.
    pub fn flows(&self) -> usize {
        0
    }

    /// Flows whose client has not finished its handshake.
    pub fn pending(&self) -> usize {
        0
    }

    /// Whether a shutdown was asked for and no flow is left.
    pub fn is_drained(&self) -> bool {
        false
    }

    /// The totals so far.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What the node was told.
    pub const fn config(&self) -> &Config {
        &self.config
    }
}
