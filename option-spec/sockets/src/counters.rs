//! What the programs count.

use std::io;

use aya::maps::{Array, MapData};

use crate::abi::counter;
use crate::map_io;

/// How often each thing happened since the start of the [`Attachment`](crate::Attachment).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// SYNs with an option that went into the ring.
    pub events: u64,
    /// SYNs with an option that found the ring full.
    pub dropped: u64,
    /// SYNs with an option that the kernel answered with a SYN cookie: no reply, no event, no saved
    /// SYN, since it keeps nothing.
    pub syn_cookies: u64,
    /// A SYN or SYN-ACK had no room for the option.
    pub reserve_failed: u64,
    /// Room was there and the option could not be written.
    pub store_failed: u64,
    /// The kernel did not turn its header callbacks on or off.
    pub callbacks_failed: u64,
    /// A marked socket had no IPv4 source to fill in and none was given.
    pub source_unavailable: u64,
    /// SYNs at our listeners whose option has a length of no form, or is there for both families:
    /// no reply, but an event.
    pub malformed: u64,
    /// An outcome was to be published on its socket and the kernel refused.
    pub publish_failed: u64,
}

/// The map they are in.
pub(crate) struct CounterMap(Array<MapData, u64>);

impl CounterMap {
    pub(crate) const fn new(map: Array<MapData, u64>) -> Self {
        Self(map)
    }

    pub(crate) fn read(&self) -> io::Result<Counters> {
        Ok(Counters {
            events: self.get(counter::EVENTS)?,
            dropped: self.get(counter::DROPPED)?,
            syn_cookies: self.get(counter::SYN_COOKIES)?,
            reserve_failed: self.get(counter::RESERVE_FAILED)?,
            store_failed: self.get(counter::STORE_FAILED)?,
            callbacks_failed: self.get(counter::CALLBACKS_FAILED)?,
            source_unavailable: self.get(counter::SOURCE_UNAVAILABLE)?,
            malformed: self.get(counter::MALFORMED)?,
            publish_failed: self.get(counter::PUBLISH_FAILED)?,
        })
    }

    /// 0 if it cannot be read: an array has every index, so that does not happen.
    pub(crate) fn dropped(&self) -> u64 {
        self.get(counter::DROPPED).unwrap_or_else(|error| {
            tracing::warn!(%error, "the drop counter cannot be read");
            0
        })
    }

    fn get(&self, index: u32) -> io::Result<u64> {
        self.0.get(&index, 0).map_err(map_io)
    }
}
