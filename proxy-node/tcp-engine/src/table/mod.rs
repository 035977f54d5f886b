//! What the engine finds connections by.

pub(crate) mod demux;
pub(crate) mod isn;
pub(crate) mod slab;
pub(crate) mod time_wait;
pub(crate) mod timer_wheel;
