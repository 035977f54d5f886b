//! A bounded memory of source addresses.

use alloc::collections::{BTreeMap, BTreeSet};
use core::net::IpAddr;

use crate::time::Time;

/// Something noted about each of the sources heard last. When it is full, the one not heard for
/// the longest time makes room.
#[derive(Debug)]
pub(crate) struct Sources<T> {
    notes: BTreeMap<IpAddr, (Time, T)>,
    by_age: BTreeSet<(Time, IpAddr)>,
    capacity: usize,
}

impl<T> Sources<T> {
    pub(crate) const fn new(capacity: usize) -> Self {
        Self {
            notes: BTreeMap::new(),
            by_age: BTreeSet::new(),
            capacity,
        }
    }

    /// The note about `source`, and when it was made.
    pub(crate) fn get(&self, source: IpAddr) -> Option<&(Time, T)> {
        self.notes.get(&source)
    }

    /// Replaces the note about `source`.
    pub(crate) fn note(&mut self, source: IpAddr, now: Time, note: T) {
        if let Some((heard, _)) = self.notes.remove(&source) {
            self.by_age.remove(&(heard, source));
        }
        while self.notes.len() >= self.capacity
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.notes.remove(&oldest);
        }
        self.notes.insert(source, (now, note));
        self.by_age.insert((now, source));
    }
}

#[cfg(test)]
mod tests {
    use core::net::{IpAddr, Ipv4Addr};

    use super::Sources;
    use crate::time::Time;

    #[test]
    fn the_longest_unheard_makes_room() {
        let source = |n| IpAddr::V4(Ipv4Addr::new(192, 0, 2, n));
        let mut sources = Sources::new(2);
        sources.note(source(1), Time::from_micros(1), 'a');
        sources.note(source(2), Time::from_micros(2), 'b');
        sources.note(source(1), Time::from_micros(3), 'c');
        sources.note(source(3), Time::from_micros(4), 'd');
        assert_eq!(sources.get(source(2)), None);
        assert_eq!(sources.get(source(1)), Some(&(Time::from_micros(3), 'c')));
        assert_eq!(sources.get(source(3)), Some(&(Time::from_micros(4), 'd')));
    }
}
