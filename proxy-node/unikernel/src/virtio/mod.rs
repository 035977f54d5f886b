//! Virtio 1.1 over MMIO: the transport, queues, the network device.

mod features;
mod mmio;
mod net;
mod queue;

pub(crate) use mmio::Place;
pub(crate) use net::{Net, NetError};
