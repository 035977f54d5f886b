//! From the two ends of a segment to what it belongs to.

use core::hash::BuildHasher;

use hashbrown::HashTable;
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

/// Owners by the hash of their two ends. The ends themselves lie with the owner, which is needed
/// next anyway: so the table is small, and a look into it touches little. Bounded by its owners.
#[derive(Debug)]
pub(crate) struct Demux<T> {
    entries: HashTable<Entry<T>>,
    keyed: Keyed,
}

#[derive(Clone, Copy, Debug)]
struct Entry<T> {
    hash: u64,
    owner: T,
}

impl<T: Copy + PartialEq> Demux<T> {
    pub(crate) const fn new(keyed: Keyed) -> Self {
        Self {
            entries: HashTable::new(),
            keyed,
        }
    }

    /// The owner of `tuple`; `has_it` tells whether one that is asked about is.
    pub(crate) fn find(&self, tuple: &Tuple, has_it: impl Fn(T) -> bool) -> Option<T> {
        let hash = self.keyed.hash_one(tuple);
        let entry = self
            .entries
            .find(hash, |entry| entry.hash == hash && has_it(entry.owner));
        entry.map(|entry| entry.owner)
    }

    /// The tuple has no owner yet.
    pub(crate) fn insert(&mut self, tuple: &Tuple, owner: T) {
        let hash = self.keyed.hash_one(tuple);
        let entry = Entry { hash, owner };
        self.entries.insert_unique(hash, entry, |entry| entry.hash);
    }

    pub(crate) fn remove(&mut self, tuple: &Tuple, owner: T) {
        let hash = self.keyed.hash_one(tuple);
        if let Ok(entry) = self.entries.find_entry(hash, |entry| entry.owner == owner) {
            entry.remove();
        }
    }
}
