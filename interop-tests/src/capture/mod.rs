//! What crossed the links: recorded by the link emulator's rings, at both
//! ends of every link, with timestamps of one clock.

mod packet;
mod pcap;

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::link::{Emulator, End};
use crate::sys::Frame;
use crate::{LabError, wait_until};

pub use packet::{Direction, Packet, Segment};

/// A place where frames are seen: one end of one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Interface {
    /// Links count from 0, at the client.
    pub link: usize,
    /// `Left` is the end towards the client.
    pub end: End,
}

/// Records frames while it lives.
pub struct Capture {
    recorder: Arc<Recorder>,
    emulator: Weak<Emulator>,
}

impl Capture {
    pub(crate) fn new(recorder: Arc<Recorder>, emulator: Weak<Emulator>) -> Self {
        Self { recorder, emulator }
    }

    /// Everything seen so far, in the order of the timestamps.
    pub fn packets(&self) -> Vec<Packet> {
        if let Some(emulator) = self.emulator.upgrade()
            && let Err(error) = emulator.settle()
        {
            tracing::warn!(%error, "the capture may lack its last frames");
        }
        let mut packets: Vec<_> = self
            .recorder
            .store()
            .seen
            .iter()
            .map(packet::parse)
            .collect();
        packets.sort_by_key(|packet| packet.timestamp_ns);
        packets
    }

    /// Waits until `find` finds what it looks for among all packets so far.
    pub fn wait_for<T>(
        &self,
        what: &str,
        bound: Duration,
        mut find: impl FnMut(&[Packet]) -> Option<T>,
    ) -> Result<T, LabError> {
        wait_until(what, bound, || find(&self.packets()))
    }

    /// Waits until nothing has been seen for as long as `silence`: nothing is under way then, if that
    /// is more than a round trip.
    pub fn wait_for_silence(&self, silence: Duration, bound: Duration) -> Result<(), LabError> {
        let mut seen = (self.packets().len(), Instant::now());
        wait_until("the links to be silent", bound, || {
            let count = self.packets().len();
            if count != seen.0 {
                seen = (count, Instant::now());
            }
            (seen.1.elapsed() > silence).then_some(())
        })
    }

    /// Forgets what was seen so far.
    pub fn clear(&self) {
        // What is still in the rings belongs to the past, too.
        drop(self.packets());
        *self.recorder.store() = Store::default();
    }

    /// Frames that were seen but not kept, because the capture was full.
    pub fn cut(&self) -> u64 {
        self.recorder.store().cut
    }

    /// Writes what was seen as a pcap file with nanosecond timestamps: of one
    /// interface, or of all of them in one file.
    pub fn write_pcap(&self, path: &Path, only: Option<Interface>) -> Result<(), LabError> {
        let what = format!("write {}", path.display());
        let write = || {
            let wanted = |packet: &Packet| only.is_none_or(|only| packet.interface == only);
            let packets = self.packets();
            let file = BufWriter::new(File::create(path)?);
            let snap = self.recorder.snap_octets;
            pcap::write(file, snap, packets.iter().filter(|packet| wanted(packet)))
        };
        write().map_err(LabError::system(what))
    }
}

/// Where the emulator's thread puts what it sees.
pub(crate) struct Recorder {
    snap_octets: u32,
    max_frames: usize,
    store: Mutex<Store>,
}

#[derive(Default)]
struct Store {
    seen: Vec<Seen>,
    cut: u64,
}

/// One frame as it was seen.
pub(crate) struct Seen {
    interface: Interface,
    direction: Direction,
    timestamp_ns: u64,
    original_len: usize,
    octets: Box<[u8]>,
}

impl Recorder {
    pub(crate) fn new(snap_octets: u32, max_frames: usize) -> Self {
        Self {
            snap_octets,
            max_frames,
            store: Mutex::default(),
        }
    }

    pub(crate) const fn snap_octets(&self) -> u32 {
        self.snap_octets
    }

    pub(crate) fn record(&self, interface: Interface, frame: &Frame<'_>) {
        let mut store = self.store();
        if store.seen.len() >= self.max_frames {
            store.cut += 1;
            return;
        }
        let keep = frame.octets.len().min(self.snap_octets as usize);
        store.seen.push(Seen {
            interface,
            direction: if frame.outgoing {
                Direction::Sent
            } else {
                Direction::Received
            },
            timestamp_ns: frame.timestamp_ns,
            original_len: frame.original_len,
            octets: frame.octets[..keep].into(),
        });
    }

    fn store(&self) -> std::sync::MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
