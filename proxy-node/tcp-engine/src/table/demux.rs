//! From the two ends of a segment to what it belongs to.

use core::hash::BuildHasher;

use hashbrown::HashMap;
use siphasher::sip::SipHasher13;

use crate::connection::Tuple;

/// Keyed by the engine's seed: nobody can choose addresses that collide.
#[derive(Clone, Debug)]
pub(crate) struct Keyed {
    keys: (u64, u64),
}

impl Keyed {
    pub(crate) const fn new(keys: (u64, u64)) -> Self {
        Self { keys }
    }
}

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.keys.0, self.keys.1)
    }
}

/// Bounded by what its values point to.
pub(crate) type Demux<T> = HashMap<Tuple, T, Keyed>;
