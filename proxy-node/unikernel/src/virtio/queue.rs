//! Split virtqueues (virtio 1.1 section 2.6).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ptr::NonNull;
use core::sync::atomic::{Ordering, fence};

use super::mmio::{Register, Transport};
use crate::memory::{self, PAGE_OCTETS};

/// Descriptor flag: another follows.
const NEXT: u16 = 1;
/// Descriptor flag: the device writes there.
const DEVICE_WRITES: u16 = 2;
/// Flag of the available ring: the driver wants no interrupts.
const NO_INTERRUPT: u16 = 1;
/// Flag of the used ring: the device wants no notifications.
const NO_NOTIFICATION: u16 = 1;

/// Memory that the device reads or writes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    address: u64,
    octets: u32,
    flags: u16,
}

impl Part {
    /// For the device to read. `None` if it is longer than a descriptor can say.
    pub(super) fn read(octets: &[u8]) -> Option<Self> {
        Some(Self {
            address: octets.as_ptr().expose_provenance() as u64,
            octets: u32::try_from(octets.len()).ok()?,
            flags: 0,
        })
    }

    /// For the device to write. `None` if it is longer than a descriptor can say.
    pub(super) fn write(octets: &mut [u8]) -> Option<Self> {
        Some(Self {
            address: octets.as_mut_ptr().expose_provenance() as u64,
            octets: u32::try_from(octets.len()).ok()?,
            flags: DEVICE_WRITES,
        })
    }
}

/// Something that a device works on.
///
/// # Safety
/// Every part must be memory that `self` owns or keeps alive, and that nobody touches (nobody
/// writes, if the device only reads) for as long as `self` is neither moved nor used.
pub(super) unsafe trait Buffer {
    /// How many parts there are.
    fn count(&self) -> usize;
    /// Calls `add` for each of them, in order.
    fn parts(&mut self, add: impl FnMut(Part));
}

/// What the device is done with.
#[derive(Debug)]
pub(super) struct Done<T> {
    /// The buffer.
    pub(super) buffer: T,
    /// Octets that the device wrote.
    pub(super) octets: u32,
}

/// What the rings are made of.
trait Integer: Copy {}
impl Integer for u16 {}
impl Integer for u32 {}
impl Integer for u64 {}

/// A queue's memory: descriptors, the available ring, the used ring.
#[derive(Clone, Copy, Debug)]
struct Rings {
    base: NonNull<u8>,
    /// A power of two.
    size: u16,
}

impl Rings {
    const fn available_offset(size: u16) -> usize {
        16 * size as usize
    }

    const fn used_offset(size: u16) -> usize {
        (Self::available_offset(size) + 6 + 2 * size as usize).next_multiple_of(4)
    }

    /// All octets.
    const fn octets(size: u16) -> usize {
        Self::used_offset(size) + 6 + 8 * size as usize
    }

    /// For `size` descriptors, zeroed.
    fn new(size: u16) -> Option<Self> {
        let base = memory::pages(Self::octets(size).div_ceil(PAGE_OCTETS))?;
        Some(Self { base, size })
    }

    /// Inside of the rings for every number, as rings wrap.
    fn slot(self, number: u16) -> usize {
        usize::from(number & (self.size - 1))
    }

    fn write<V: Integer>(self, offset: usize, value: V) {
        debug_assert!(offset + size_of::<V>() <= Self::octets(self.size));
        let place = self.base.as_ptr().wrapping_byte_add(offset).cast::<V>();
        // SAFETY: every caller's offset is that of a part plus a slot's, so inside of `octets`,
        // and aligned as the parts are. Volatile, as the device reads there.
        unsafe { place.write_volatile(value) };
    }

    fn read<V: Integer>(self, offset: usize) -> V {
        debug_assert!(offset + size_of::<V>() <= Self::octets(self.size));
        let place = self.base.as_ptr().wrapping_byte_add(offset).cast::<V>();
        // SAFETY: as in `write`; `V` is an integer, for which every value is good.
        unsafe { place.read_volatile() }
    }

    fn describe(self, number: u16, part: Part, next: Option<u16>) {
        let at = 16 * self.slot(number);
        let chained = if next.is_some() { NEXT } else { 0 };
        self.write(at, part.address);
        self.write(at + 8, part.octets);
        self.write(at + 12, part.flags | chained);
        self.write(at + 14, next.unwrap_or(0));
    }

    fn set_available_flags(self, flags: u16) {
        self.write(Self::available_offset(self.size), flags);
    }

    fn set_available(self, index: u16, head: u16) {
        let at = Self::available_offset(self.size);
        self.write(at + 4 + 2 * self.slot(index), head);
        // The chain is there before the device is told of it.
        fence(Ordering::Release);
        self.write(at + 2, index.wrapping_add(1));
    }

    fn used_flags(self) -> u16 {
        self.read(Self::used_offset(self.size))
    }

    fn used_index(self) -> u16 {
        let index = self.read(Self::used_offset(self.size) + 2);
        // What the device wrote before it said so is read after.
        fence(Ordering::Acquire);
        index
    }

    /// The first descriptor of a chain, and the octets written.
    fn used(self, index: u16) -> (u32, u32) {
        let at = Self::used_offset(self.size) + 4 + 8 * self.slot(index);
        (self.read(at), self.read(at + 4))
    }
}

/// A queue with what the device works on.
#[derive(Debug)]
pub(super) struct Queue<T> {
    rings: Rings,
    number: u16,
    /// By a chain's first descriptor.
    buffers: Box<[Option<T>]>,
    /// By descriptor: the next of its chain. Our own copy: what the device sees, it may change.
    next: Box<[Option<u16>]>,
    free: Vec<u16>,
    /// Chains made available, ever.
    made: u16,
    /// Chains taken back, ever.
    taken: u16,
    /// `made` at the last notification.
    notified: u16,
}

impl<T: Buffer> Queue<T> {
    /// Sets up queue `number` of the device with at most `most` descriptors. `None` if the device
    /// has no such queue or there is no memory.
    pub(super) fn new(transport: &Transport, number: u16, most: u16) -> Option<Self> {
        transport.write(Register::QueueSelect, u32::from(number));
        let theirs = transport.read(Register::QueueSizeMost);
        let size = u16::try_from(theirs).unwrap_or(u16::MAX).min(most);
        // A power of two, as the running indices wrap.
        let size = 1_u16.checked_shl(size.checked_ilog2()?)?;
        let rings = Rings::new(size)?;
        transport.write(Register::QueueSize, u32::from(size));
        let address = rings.base.as_ptr().expose_provenance() as u64;
        let available = address + Rings::available_offset(size) as u64;
        let used = address + Rings::used_offset(size) as u64;
        // SAFETY: the rings are laid out so for this size, and are never given back.
        unsafe { transport.set_queue(address, available, used) };
        Some(Self::over(rings, number))
    }

    /// An empty queue.
    fn over(rings: Rings, number: u16) -> Self {
        let size = rings.size;
        let queue = Self {
            rings,
            number,
            buffers: (0..size).map(|_| None).collect(),
            next: (0..size).map(|_| None).collect(),
            free: (0..size).rev().collect(),
            made: 0,
            taken: 0,
            notified: 0,
        };
        queue.want_interrupts(false);
        queue
    }

    /// How many parts fit at most.
    pub(super) fn size(&self) -> usize {
        usize::from(self.rings.size)
    }

    /// Gives `buffer` to the device; it comes back if there is no room.
    pub(super) fn push(&mut self, buffer: T) -> Result<(), T> {
        if buffer.count() > self.free.len() {
            return Err(buffer);
        }
        let Some(&head) = self.free.last() else {
            return Err(buffer);
        };
        // First put where it stays, then asked for its addresses.
        let buffer = self.buffers[usize::from(head)].insert(buffer);
        let (rings, free, next) = (self.rings, &mut self.free, &mut self.next);
        let mut last: Option<(u16, Part)> = None;
        buffer.parts(|part| {
            let Some(number) = free.pop() else {
                return;
            };
            if let Some((before, part)) = last.replace((number, part)) {
                next[usize::from(before)] = Some(number);
                rings.describe(before, part, Some(number));
            }
        });
        let Some((number, part)) = last else {
            return self.buffers[usize::from(head)].take().map_or(Ok(()), Err);
        };
        rings.describe(number, part, None);
        rings.set_available(self.made, head);
        self.made = self.made.wrapping_add(1);
        Ok(())
    }

    /// What the device is done with next. A device that names no buffer of ours has it ignored.
    pub(super) fn pop(&mut self) -> Option<Done<T>> {
        while self.has_done() {
            let (head, octets) = self.rings.used(self.taken);
            self.taken = self.taken.wrapping_add(1);
            let buffer = usize::try_from(head)
                .ok()
                .and_then(|head| self.buffers.get_mut(head)?.take());
            if let (Some(buffer), Ok(head)) = (buffer, u16::try_from(head)) {
                self.release(head);
                return Some(Done { buffer, octets });
            }
        }
        None
    }

    /// Whether [`pop`](Self::pop) would find something.
    pub(super) fn has_done(&self) -> bool {
        self.rings.used_index() != self.taken
    }

    fn release(&mut self, head: u16) {
        let mut number = Some(head);
        while let Some(this) = number {
            number = self.next[usize::from(this)].take();
            self.free.push(this);
        }
    }

    /// Tells the device about what was pushed since the last time, if it wants to know.
    pub(super) fn notify(&mut self, transport: &Transport) {
        if self.made == self.notified {
            return;
        }
        self.notified = self.made;
        // What it wants is read after it could have seen what is there.
        fence(Ordering::SeqCst);
        if self.rings.used_flags() & NO_NOTIFICATION == 0 {
            transport.write(Register::QueueNotify, u32::from(self.number));
        }
    }

    /// Whether the device shall interrupt when it is done with something. When turned on, what it
    /// was done with before is to be looked for afterwards.
    pub(super) fn want_interrupts(&self, wanted: bool) {
        self.rings
            .set_available_flags(if wanted { 0 } else { NO_INTERRUPT });
        fence(Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three parts of which the last is for the device to write.
    #[derive(Debug, PartialEq)]
    struct Three(Box<[u8; 3]>);

    // SAFETY: the parts lie in the box.
    unsafe impl Buffer for Three {
        fn count(&self) -> usize {
            3
        }

        fn parts(&mut self, mut add: impl FnMut(Part)) {
            let (read, write) = self.0.split_at_mut(2);
            read.chunks(1).filter_map(Part::read).for_each(&mut add);
            Part::write(write).into_iter().for_each(add);
        }
    }

    fn three(n: u8) -> Three {
        Three(Box::new([n; 3]))
    }

    fn queue(size: u16) -> Queue<Three> {
        Queue::over(Rings::new(size).expect("memory"), 0)
    }

    /// What the device sees of the chain that was made available at `index`: octets and flags.
    fn chain(queue: &Queue<Three>, index: u16) -> (u16, Vec<(u32, u16)>) {
        let rings = queue.rings;
        let at = Rings::available_offset(rings.size);
        assert!(rings.read::<u16>(at + 2).wrapping_sub(index) <= rings.size);
        let head: u16 = rings.read(at + 4 + 2 * rings.slot(index));
        let mut parts = Vec::new();
        let mut number = head;
        loop {
            let at = 16 * rings.slot(number);
            let flags: u16 = rings.read(at + 12);
            parts.push((rings.read(at + 8), flags & DEVICE_WRITES));
            if flags & NEXT == 0 {
                return (head, parts);
            }
            number = rings.read(at + 14);
        }
    }

    /// The device is done with the chain that begins at `head`.
    fn finish(queue: &Queue<Three>, index: u16, head: u32) {
        let rings = queue.rings;
        let at = Rings::used_offset(rings.size);
        rings.write(at + 4 + 8 * rings.slot(index), head);
        rings.write(at + 8 + 8 * rings.slot(index), 1_u32);
        rings.write(at + 2, index.wrapping_add(1));
    }

    #[test]
    fn a_buffer_goes_there_and_back() {
        let mut queue = queue(8);
        assert_eq!(queue.push(three(1)), Ok(()));
        let (head, parts) = chain(&queue, 0);
        assert_eq!(parts, [(1, 0), (1, 0), (1, DEVICE_WRITES)]);
        assert!(!queue.has_done() && queue.pop().is_none());
        finish(&queue, 0, u32::from(head));
        let done = queue.pop().expect("the device is done");
        assert_eq!((done.buffer, done.octets), (three(1), 1));
        assert_eq!(queue.free.len(), 8);
    }

    #[test]
    fn a_full_queue_gives_the_buffer_back() {
        let mut queue = queue(8);
        assert_eq!(queue.push(three(1)), Ok(()));
        assert_eq!(queue.push(three(2)), Ok(()));
        assert_eq!(queue.push(three(3)), Err(three(3)));
        let (second, _) = chain(&queue, 1);
        finish(&queue, 0, u32::from(second));
        assert_eq!(queue.pop().expect("out of order").buffer, three(2));
        assert_eq!(queue.push(three(3)), Ok(()));
        assert_eq!(chain(&queue, 2).1.len(), 3);
    }

    #[test]
    fn indices_wrap() {
        let mut queue = queue(8);
        for n in 0..=u16::MAX {
            queue.push(three(7)).expect("room");
            let (head, _) = chain(&queue, n);
            finish(&queue, n, u32::from(head));
            assert!(queue.pop().is_some());
        }
        assert_eq!((queue.made, queue.taken, queue.free.len()), (0, 0, 8));
    }

    #[test]
    fn a_device_that_lies_is_ignored() {
        let mut queue = queue(8);
        queue.push(three(1)).expect("room");
        let (head, _) = chain(&queue, 0);
        let not_a_head = u32::from(head ^ 1);
        for (n, lie) in (0..).zip([not_a_head, 8, 70_000, u32::MAX]) {
            finish(&queue, n, lie);
            assert!(queue.pop().is_none());
        }
        finish(&queue, 4, u32::from(head));
        assert!(queue.pop().is_some());
        finish(&queue, 5, u32::from(head));
        assert!(queue.pop().is_none());
        assert_eq!(queue.free.len(), 8);
    }
}
