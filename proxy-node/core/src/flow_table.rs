//! The flows there are: a bounded slab and the indices into it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;

use synhop_option::{HopsLeft, SynOption};

use crate::flow::{Peer, State};
use crate::leg::{Isn, Leg};
use crate::onward::Onward;
use crate::report::Mode;
use crate::syn::Syn;
use crate::time::Time;

/// Names a flow. The generation tells it from others that had or will have the same slot, so an
/// id that outlives its flow hits nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId {
    index: u32,
    generation: u32,
}

impl fmt::Display for FlowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

/// What is fixed about a flow from its beginning.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) leg: Leg,
    pub(crate) isn: Isn,
    pub(crate) option: SynOption,
    pub(crate) destination: SocketAddr,
    pub(crate) onward: Onward,
    pub(crate) mode: Mode,
    pub(crate) opened_at: Time,
}

impl Facts {
    pub(crate) const fn peer(&self) -> Peer {
        match self.onward.option {
            Some(_) => Peer::Node,
            None => Peer::Server,
        }
    }

    /// What the onward SYN says of the flow. A SYN that says the same with no more hops may be it,
    /// come back.
    fn mark(&self) -> Option<Mark> {
        let source = self.onward.option?.claimed_source()?;
        Mark::new(source, self.destination, self.onward.hops_left()?)
    }

    /// Whether `syn` is the SYN that began this flow, or its retransmission, and goes where the
    /// flow goes. Should their options differ otherwise, the first one counts (SPEC section 6.6).
    pub(crate) fn is_of(&self, syn: &Syn) -> bool {
        self.leg == syn.leg && self.isn == syn.isn && syn.destination() == Some(self.destination)
    }
}

/// A flow's 4-tuple as options tell it, and the hops that were left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    source: SocketAddr,
    destination: SocketAddr,
    hops_left: HopsLeft,
}

impl Mark {
    /// `None` when the source is the unspecified address: it stands for many.
    pub(crate) fn new(
        source: SocketAddr,
        destination: SocketAddr,
        hops_left: HopsLeft,
    ) -> Option<Self> {
        (!source.ip().is_unspecified()).then_some(Self {
            source,
            destination,
            hops_left,
        })
    }
}

/// One flow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    pub(crate) facts: Facts,
    pub(crate) state: State,
    /// When the shell began to connect, if it told.
    pub(crate) connecting_at: Option<Time>,
}

/// The flows there are. Ordered maps, because without randomness a hash table would be an
/// invitation to collide in it.
#[derive(Debug)]
pub(crate) struct FlowTable {
    slots: Vec<Slot>,
    free: Vec<u32>,
    capacity: usize,
    /// The newest flow of each leg. An older one may still be relaying: its port was reused before
    /// the shell had told of its end.
    by_leg: BTreeMap<Leg, FlowId>,
    marks: BTreeSet<(Mark, FlowId)>,
    deadlines: BTreeSet<(Time, FlowId)>,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    flow: Option<Flow>,
}

impl FlowTable {
    pub(crate) const fn new(capacity: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            capacity,
            by_leg: BTreeMap::new(),
            marks: BTreeSet::new(),
            deadlines: BTreeSet::new(),
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) const fn is_full(&self) -> bool {
        self.len() >= self.capacity
    }

    /// Adds `flow`; `None` when the table is full.
    pub(crate) fn insert(&mut self, flow: &Flow) -> Option<FlowId> {
        if self.is_full() {
            return None;
        }
        let index = match self.free.pop() {
            Some(index) => index,
            None => self.grow()?,
        };
        let slot = self.slots.get_mut(slab_index(index))?;
        slot.flow = Some(*flow);
        let id = FlowId {
            index,
            generation: slot.generation,
        };
        self.by_leg.insert(flow.facts.leg, id);
        if let Some(mark) = flow.facts.mark() {
            self.marks.insert((mark, id));
        }
        if let Some(deadline) = flow.state.deadline() {
            self.deadlines.insert((deadline, id));
        }
        Some(id)
    }

    pub(crate) fn get(&self, id: FlowId) -> Option<&Flow> {
        let slot = self.slots.get(slab_index(id.index))?;
        slot.flow
            .as_ref()
            .filter(|_| slot.generation == id.generation)
    }

    pub(crate) fn set_state(&mut self, id: FlowId, state: State) {
        let Some(flow) = self.get_mut(id) else {
            return;
        };
        let before = flow.state.deadline();
        flow.state = state;
        if before == state.deadline() {
            return;
        }
        if let Some(before) = before {
            self.deadlines.remove(&(before, id));
        }
        if let Some(deadline) = state.deadline() {
            self.deadlines.insert((deadline, id));
        }
    }

    /// Notes when the shell began to connect; the first time counts.
    pub(crate) fn set_connecting(&mut self, id: FlowId, now: Time) {
        if let Some(flow) = self.get_mut(id) {
            flow.connecting_at.get_or_insert(now);
        }
    }

    pub(crate) fn remove(&mut self, id: FlowId) -> Option<Flow> {
        let slot = self
            .slots
            .get_mut(slab_index(id.index))
            .filter(|slot| slot.generation == id.generation)?;
        let flow = slot.flow.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.index);
        if self.by_leg.get(&flow.facts.leg) == Some(&id) {
            self.by_leg.remove(&flow.facts.leg);
        }
        if let Some(mark) = flow.facts.mark() {
            self.marks.remove(&(mark, id));
        }
        if let Some(deadline) = flow.state.deadline() {
            self.deadlines.remove(&(deadline, id));
        }
        Some(flow)
    }

    /// The newest flow of `leg`.
    pub(crate) fn find(&self, leg: &Leg) -> Option<(FlowId, &Flow)> {
        let id = *self.by_leg.get(leg)?;
        Some((id, self.get(id)?))
    }

    /// Whether a SYN on `leg` that carries `mark` is one of ours, come back: an active flow of
    /// another leg was sent on with the same 4-tuple and at least as many hops.
    ///
    /// The hops are what tells a loop from a port that was reused, or from two clients that have
    /// the same address behind different NATs: these arrive with more than we send.
    pub(crate) fn is_loop(&self, leg: &Leg, mark: Mark) -> bool {
        let least = FlowId {
            index: 0,
            generation: 0,
        };
        self.marks
            .range((mark, least)..)
            .take_while(|(other, _)| {
                (other.source, other.destination) == (mark.source, mark.destination)
            })
            .filter_map(|(_, id)| self.get(*id))
            .any(|flow| flow.facts.leg != *leg)
    }

    pub(crate) fn first_deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// The flows whose deadline is `now` or was before.
    pub(crate) fn due(&self, now: Time) -> Vec<FlowId> {
        self.deadlines
            .iter()
            .take_while(|(deadline, _)| *deadline <= now)
            .map(|(_, id)| *id)
            .collect()
    }

    /// Every flow.
    pub(crate) fn ids(&self) -> Vec<FlowId> {
        (0u32..)
            .zip(&self.slots)
            .filter(|(_, slot)| slot.flow.is_some())
            .map(|(index, slot)| FlowId {
                index,
                generation: slot.generation,
            })
            .collect()
    }

    fn get_mut(&mut self, id: FlowId) -> Option<&mut Flow> {
        let slot = self.slots.get_mut(slab_index(id.index))?;
        slot.flow
            .as_mut()
            .filter(|_| slot.generation == id.generation)
    }

    fn grow(&mut self) -> Option<u32> {
        let index = u32::try_from(self.slots.len()).ok()?;
        self.slots.push(Slot {
            generation: 0,
            flow: None,
        });
        Some(index)
    }
}

/// Where `index` points; past the end on a machine whose addresses are narrower.
fn slab_index(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
