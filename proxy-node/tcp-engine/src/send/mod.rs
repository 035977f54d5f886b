//! The sending half: what is queued, what is on its way, and how much may be.

pub(crate) mod cubic;
pub(crate) mod prr;
pub(crate) mod queue;
pub(crate) mod rack;
pub(crate) mod rtt;
pub(crate) mod scoreboard;
