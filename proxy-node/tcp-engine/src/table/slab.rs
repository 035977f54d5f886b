//! Values under identities that are not used twice.

use alloc::vec::Vec;
use core::marker::PhantomData;

/// A place and the count of values that have had it.
#[derive(Debug)]
pub(crate) struct Id<T> {
    index: u32,
    generation: u32,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Id<T> {}

impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.index, self.generation) == (other.index, other.generation)
    }
}

impl<T> Eq for Id<T> {}

impl<T> core::hash::Hash for Id<T> {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        state.write_u32(self.index);
        state.write_u32(self.generation);
    }
}

/// A connection of an engine. It is never used for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnId(pub(crate) Id<crate::connection::Connection>);

/// A bounded table.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    capacity: usize,
    len: usize,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slab<T> {
    pub(crate) const fn new(capacity: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            capacity,
            len: 0,
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn is_full(&self) -> bool {
        self.len >= self.capacity
    }

    /// `None` when the table is full.
    pub(crate) fn insert(&mut self, value: T) -> Option<Id<T>> {
        if self.is_full() {
            return None;
        }
        let index = if let Some(index) = self.free.pop() {
            index
        } else {
            let index = u32::try_from(self.slots.len()).ok()?;
            self.grow();
            self.slots.push(Slot {
                generation: 0,
                value: None,
            });
            index
        };
        let slot = self.slots.get_mut(index as usize)?;
        slot.value = Some(value);
        self.len += 1;
        Some(Id {
            index,
            generation: slot.generation,
            of: PhantomData,
        })
    }

    /// Makes room for one more: twice as many as there are, but never for more than there may be.
    fn grow(&mut self) {
        let len = self.slots.len();
        if len == self.slots.capacity() {
            let more = len.max(4).min(self.capacity - len);
            self.slots.reserve_exact(more);
        }
    }

    pub(crate) fn get(&self, id: Id<T>) -> Option<&T> {
        let slot = self.slots.get(id.index as usize)?;
        slot.value
            .as_ref()
            .filter(|_| slot.generation == id.generation)
    }

    pub(crate) fn get_mut(&mut self, id: Id<T>) -> Option<&mut T> {
        let slot = self.slots.get_mut(id.index as usize)?;
        slot.value
            .as_mut()
            .filter(|_| slot.generation == id.generation)
    }

    pub(crate) fn remove(&mut self, id: Id<T>) -> Option<T> {
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.index);
        self.len -= 1;
        Some(value)
    }

    /// All values, in no order.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().filter_map(|slot| slot.value.as_mut())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_never_another_ones() {
        let mut slab = Slab::new(1);
        let first = slab.insert('a').expect("room");
        assert_eq!(slab.insert('b'), None);
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert('c').expect("room");
        assert_eq!((slab.get(first), slab.get(second)), (None, Some(&'c')));
        assert_eq!((slab.remove(first), slab.len()), (None, 1));
    }
}
