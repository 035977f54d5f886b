//! From the compiled object to an attached program and its maps.

use std::sync::{Arc, Mutex};

use aya::maps::{Array, HashMap, Map, MapData, RingBuf, SkStorage};
use aya::programs::{CgroupAttachMode, ProgramError, SockOps};
use aya::util::KernelVersion;
use aya::{Ebpf, EbpfLoader};

use synhop_option::Kind;

use crate::abi::{EVENT_OCTETS, ListenerKey, Mark};
use crate::attachment::Config;
use crate::counters::CounterMap;
use crate::error::{AttachError, is_not_permitted};
use crate::sys;

/// What the loader makes.
pub(crate) struct Loaded {
    /// Holds the program and its link: dropping it detaches.
    pub(crate) program: Ebpf,
    pub(crate) marks: Mutex<SkStorage<MapData, Mark>>,
    pub(crate) listener_marks: Mutex<SkStorage<MapData, u8>>,
    pub(crate) listeners: Mutex<HashMap<MapData, ListenerKey, u8>>,
    pub(crate) counters: Arc<CounterMap>,
    pub(crate) ring: RingBuf<MapData>,
}

/// How many listeners there may be: the size of the map in `bpf/listen.bpf.h`.
pub(crate) const LISTENERS_MAX: u32 = 1024;

/// Loads and attaches.
pub(crate) fn load(config: Config) -> Result<Loaded, AttachError> {
    require_kernel()?;
    let (path, cgroup) = config.cgroup.open()?;
    let mut object = load_object(config.kind, config.event_capacity)?;
    let program: &mut SockOps = object
        .program_mut(PROGRAM)
        .and_then(|program| program.try_into().ok())
        .ok_or(AttachError::Object { name: PROGRAM })?;
    program.load().map_err(|source| match source {
        source if is_not_permitted(&source) && !is_verdict(&source) => AttachError::NotPermitted {
            step: "load a BPF program",
        },
        source => AttachError::Verify {
            source: Box::new(source),
        },
    })?;
    program
        // A link always tolerates others beside it, and the kernel refuses to be told so.
        .attach(&cgroup, CgroupAttachMode::Single)
        .map_err(|source| AttachError::Attach {
            path,
            source: Box::new(source),
        })?;
    Ok(Loaded {
        marks: Mutex::new(take(&mut object, "marks")?),
        listener_marks: Mutex::new(take(&mut object, "listener_marks")?),
        listeners: Mutex::new(take(&mut object, "listeners")?),
        counters: Arc::new(CounterMap::new(take::<Array<_, _>>(
            &mut object,
            "counters",
        )?)),
        ring: take(&mut object, "events")?,
        program: object,
    })
}

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/synhop.bpf.o"));
const PROGRAM: &str = "synhop";

/// A record of the ring with the kernel's own 8 octets before it, aligned to 8.
const RECORD_OCTETS: usize = (EVENT_OCTETS + 8).next_multiple_of(8);
const PAGE_OCTETS: usize = 4096;
const RING_MAX_OCTETS: usize = 1 << 24;

fn load_object(kind: Kind, event_capacity: usize) -> Result<Ebpf, AttachError> {
    EbpfLoader::new()
        .override_global("synhop_kind", &kind.octet(), true)
        .map_max_entries("events", ring_octets(event_capacity))
        .load(OBJECT)
        .map_err(|source| {
            if is_not_permitted(&source) {
                AttachError::NotPermitted {
                    step: "make BPF maps",
                }
            } else {
                AttachError::Load {
                    source: Box::new(source),
                }
            }
        })
}

/// A power of 2 and whole pages, as the kernel wants it.
fn ring_octets(capacity: usize) -> u32 {
    let octets = capacity
        .saturating_mul(RECORD_OCTETS)
        .clamp(PAGE_OCTETS, RING_MAX_OCTETS)
        .next_power_of_two();
    u32::try_from(octets).unwrap_or(u32::MAX)
}

/// Locked memory needs no care: since 5.11 maps are charged to the memory cgroup instead.
fn require_kernel() -> Result<(), AttachError> {
    // What cannot be told is not refused: loading will.
    let Ok(version) = KernelVersion::current() else {
        return Ok(());
    };
    if version < KernelVersion::new(5, 15, 0) {
        let release = sys::kernel_release().unwrap_or_default();
        return Err(AttachError::KernelTooOld { release });
    }
    Ok(())
}

/// The verifier says EACCES as well, but has something to say.
fn is_verdict(error: &ProgramError) -> bool {
    matches!(error, ProgramError::LoadError { verifier_log, .. }
        if !verifier_log.to_string().trim().is_empty())
}

fn take<M: TryFrom<Map>>(object: &mut Ebpf, name: &'static str) -> Result<M, AttachError> {
    object
        .take_map(name)
        .and_then(|map| M::try_from(map).ok())
        .ok_or(AttachError::Object { name })
}
