//! The sockets of this process that go through a proxy.

use core::net::{Ipv4Addr, SocketAddrV4};
use core::num::NonZeroU8;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Sets of the table. A power of two.
const SETS: usize = 512;
/// Slots of a set.
const WAYS: usize = 8;

/// A free slot; the kernel numbers its sockets from 1.
const FREE: u64 = 0;
/// A slot that a thread is writing. No kernel counts that far.
const BUSY: u64 = u64::MAX;

/// What is known of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where the program thinks it is connected to.
    pub destination: SocketAddrV4,
    /// How far it is.
    pub phase: Phase,
    /// The `TCP_SYNCNT` to put back when the outcome has been read from there; `None`: the outcome
    /// is not published, or has been read.
    pub syn_count: Option<NonZeroU8>,
}

/// How far a socket is on its way through a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The handshake with the proxy runs; the program does not know its end yet.
    Connecting,
    /// A node took the flow, and the program knows.
    Proxied,
}

/// The sockets that go through a proxy, by their cookie (`SO_COOKIE`): it is the socket's, not
/// the descriptor's, so dup(2) and fork(2) need no care, and it is never used again, so neither
/// does close(2).
///
/// Lock-free, of fixed size (4,096 sockets); a full set forgets one of its sockets. Forgetting is
/// harmless for a connected socket: the helper still knows it.
#[derive(Debug)]
pub struct Tracking {
    sets: [Set; SETS],
    /// Counts the displaced, to displace another one each time.
    turn: AtomicUsize,
}

#[derive(Debug)]
struct Set([Slot; WAYS]);

#[derive(Debug)]
struct Slot {
    cookie: AtomicU64,
    entry: AtomicU64,
}

impl Tracking {
    /// An empty table.
    #[expect(
        clippy::new_without_default,
        clippy::large_stack_arrays,
        reason = "64 kB for a static"
    )]
    pub const fn new() -> Self {
        Self {
            sets: [const { Set([const { Slot::new() }; WAYS]) }; SETS],
            turn: AtomicUsize::new(0),
        }
    }

    /// What is known of the socket.
    pub fn get(&self, cookie: u64) -> Option<Entry> {
        let slot = self.slot(cookie)?;
        let entry = slot.entry.load(Ordering::Acquire);
        // Given away meanwhile?
        (slot.cookie.load(Ordering::Acquire) == cookie).then(|| unpack(entry))
    }

    /// Remembers the socket, or what is new of it.
    pub fn put(&self, cookie: u64, entry: Entry) {
        if cookie == FREE || cookie == BUSY {
            return;
        }
        let set = self.set(cookie);
        let same = set.iter().find(|slot| slot.claim(cookie));
        let free = || set.iter().find(|slot| slot.claim(FREE));
        let displaced = || {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            let slot = set.get(turn % WAYS)?;
            let old = slot.cookie.load(Ordering::Acquire);
            (old != BUSY && slot.claim(old)).then_some(slot)
        };
        if let Some(slot) = same.or_else(free).or_else(displaced) {
            slot.entry.store(pack(entry), Ordering::Release);
            slot.cookie.store(cookie, Ordering::Release);
        }
    }

    /// Forgets the socket. Tells what was known of it.
    pub fn remove(&self, cookie: u64) -> Option<Entry> {
        let slot = self.slot(cookie)?;
        let entry = slot.entry.load(Ordering::Acquire);
        slot.cookie
            .compare_exchange(cookie, FREE, Ordering::AcqRel, Ordering::Relaxed)
            .ok()
            .map(|_| unpack(entry))
    }

    fn slot(&self, cookie: u64) -> Option<&Slot> {
        if cookie == FREE || cookie == BUSY {
            return None;
        }
        self.set(cookie)
            .iter()
            .find(|slot| slot.cookie.load(Ordering::Acquire) == cookie)
    }

    fn set(&self, cookie: u64) -> &[Slot; WAYS] {
        // The kernel numbers its sockets one by one, with a gap from CPU to CPU: the low bits
        // spread well.
        let index = usize::try_from(cookie % SETS as u64).unwrap_or(0);
        &self.sets[index].0
    }
}

impl Slot {
    const fn new() -> Self {
        Self {
            cookie: AtomicU64::new(FREE),
            entry: AtomicU64::new(0),
        }
    }

    /// Makes the slot ours to write, if it is `cookie`'s.
    fn claim(&self, cookie: u64) -> bool {
        self.cookie
            .compare_exchange(cookie, BUSY, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }
}

/// Address, port, count and phase in one word, so that no reader sees half of an entry.
fn pack(entry: Entry) -> u64 {
    let phase = match entry.phase {
        Phase::Connecting => 0,
        Phase::Proxied => 1,
    };
    let Entry { destination, .. } = entry;
    u64::from(u32::from(*destination.ip())) << 32
        | u64::from(destination.port()) << 16
        | u64::from(entry.syn_count.map_or(0, NonZeroU8::get)) << 8
        | phase
}

fn unpack(word: u64) -> Entry {
    let [ip @ .., port_high, port_low, syn_count, phase] = word.to_be_bytes();
    let port = u16::from_be_bytes([port_high, port_low]);
    Entry {
        destination: SocketAddrV4::new(Ipv4Addr::from(ip), port),
        phase: if phase == 0 {
            Phase::Connecting
        } else {
            Phase::Proxied
        },
        syn_count: NonZeroU8::new(syn_count),
    }
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use alloc::vec::Vec;

    use quickcheck::quickcheck;

    use super::*;

    fn entry(port: u16) -> Entry {
        Entry {
            destination: SocketAddrV4::new([198, 51, 100, 1].into(), port),
            phase: Phase::Connecting,
            syn_count: NonZeroU8::new(6),
        }
    }

    #[test]
    fn remembers_updates_and_forgets() {
        let table = Tracking::new();
        assert_eq!(table.get(7), None);
        table.put(7, entry(1));
        table.put(7 + SETS as u64, entry(2));
        assert_eq!(table.get(7), Some(entry(1)));
        let proxied = Entry {
            phase: Phase::Proxied,
            ..entry(1)
        };
        table.put(7, proxied);
        assert_eq!(table.get(7), Some(proxied));
        assert_eq!(table.get(7 + SETS as u64), Some(entry(2)));
        assert_eq!(table.remove(7), Some(proxied));
        assert_eq!(table.remove(7), None);
        assert_eq!(table.get(7), None);
    }

    #[test]
    fn a_full_set_forgets_one() {
        let table = Tracking::new();
        for turn in 0..100 {
            table.put(1 + turn * SETS as u64, entry(9));
        }
        let known = (0..100).filter(|turn| table.get(1 + turn * SETS as u64).is_some());
        assert_eq!(known.count(), WAYS);
        assert!(table.get(1 + 99 * SETS as u64).is_some());
    }

    #[test]
    fn the_two_reserved_cookies_are_no_sockets() {
        let table = Tracking::new();
        table.put(FREE, entry(1));
        table.put(BUSY, entry(1));
        assert_eq!(table.get(FREE), None);
        assert_eq!(table.get(BUSY), None);
    }

    quickcheck! {
        fn pack_then_unpack_is_identity(ip: u32, port: u16, count: u8, done: bool) -> bool {
            let phase = if done { Phase::Proxied } else { Phase::Connecting };
            let destination = SocketAddrV4::new(ip.into(), port);
            let syn_count = NonZeroU8::new(count);
            let entry = Entry { destination, phase, syn_count };
            unpack(pack(entry)) == entry
        }

        fn agrees_with_a_map(steps: Vec<(u8, u16, bool)>) -> bool {
            let table = Box::new(Tracking::new());
            let mut model = alloc::collections::BTreeMap::new();
            steps.into_iter().all(|(cookie, port, put)| {
                let cookie = u64::from(cookie) + 1;
                if put {
                    table.put(cookie, entry(port));
                    model.insert(cookie, entry(port));
                } else if table.remove(cookie) != model.remove(&cookie) {
                    return false;
                }
                table.get(cookie) == model.get(&cookie).copied()
            })
        }
    }
}
