//! The console: a ring that the host's console daemon empties.
//!
//! The ring holds 2 KiB, and the daemon takes no more than some 30 signals in 200 ms. So what finds
//! no room waits in a backlog, of which the machine's loop moves on what it can; nobody sleeps for
//! it. A line that finds no room there either is lost, and counted.

use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use spinning_top::Spinlock;

use super::page::SharedPage;
use super::{hypercall, info};

/// Offsets in the page (public/io/console.h).
mod offset {
    pub(super) const OUT: usize = 1024;
    pub(super) const OUT_CONSUMED: usize = 3080;
    pub(super) const OUT_PRODUCED: usize = 3084;
}
const OUT_OCTETS: u32 = 2048;

/// Octets of the backlog: some 80 lines about flows.
const BACKLOG_OCTETS: usize = 16 * 1024;

/// How long the end of the machine waits for the daemon to read on.
const PATIENCE_NANOS: u64 = 1_000_000_000;

static PAGE: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());
static PORT: AtomicU32 = AtomicU32::new(0);
static BACKLOG: Spinlock<Backlog> = Spinlock::new(Backlog::new());

/// From now on text goes to this ring.
pub(super) fn set(page: SharedPage, port: u32) {
    PORT.store(port, Ordering::Relaxed);
    PAGE.store(
        core::ptr::with_exposed_provenance_mut(page.address()),
        Ordering::Release,
    );
    crate::console::set_ring(write);
}

/// Takes text; it goes on when its line is whole.
pub(super) fn write(text: &[u8]) {
    // There is one processor: a lock that is held is that of code which this fault report is about.
    let Some(mut backlog) = BACKLOG.try_lock() else {
        return;
    };
    backlog.add(text);
    if backlog.is_whole() {
        pump(&mut backlog);
    }
}

/// Moves on what waits, and says on which event channel the daemon tells of room for the rest, if
/// there is a rest.
pub(super) fn waiting() -> Option<u32> {
    let mut backlog = BACKLOG.try_lock()?;
    if backlog.is_empty() {
        return None;
    }
    let port = PORT.load(Ordering::Relaxed);
    // Before the look at the ring: a signal after it makes the port pending again.
    info::take(port);
    pump(&mut backlog);
    (!backlog.is_empty()).then_some(port)
}

/// Waits until the daemon has read everything, as long as it reads on: the ring goes away with the
/// guest.
pub(super) fn drain() {
    let (Some(page), Some(mut backlog)) = (page(), BACKLOG.try_lock()) else {
        return;
    };
    let port = PORT.load(Ordering::Relaxed);
    let mut end = info::system_nanos() + PATIENCE_NANOS;
    loop {
        info::take(port);
        if pump(&mut backlog) > 0 {
            end = info::system_nanos() + PATIENCE_NANOS;
        }
        let read = backlog.is_empty() && room(page) == OUT_OCTETS;
        if read || info::system_nanos() >= end {
            return;
        }
        info::sleep(&[port], Some(end));
    }
}

fn page() -> Option<SharedPage> {
    let start = core::ptr::NonNull::new(PAGE.load(Ordering::Acquire))?;
    // SAFETY: `set` took the address from a `SharedPage`, whose conditions hold for ever.
    Some(unsafe { SharedPage::new(start) })
}

/// Moves what fits into the ring, and signals the daemon once: how many octets went.
fn pump(backlog: &mut Backlog) -> u32 {
    let Some(page) = page() else {
        return 0;
    };
    let mut moved = 0;
    for _ in 0..room(page) {
        let Some(octet) = backlog.take() else {
            break;
        };
        put(page, octet);
        moved += 1;
    }
    if moved > 0 {
        let _gone = hypercall::notify(PORT.load(Ordering::Relaxed));
    }
    moved
}

/// Octets that fit now. A daemon that claims to have read what was not written gives none.
fn room(page: SharedPage) -> u32 {
    let consumed = page.word(offset::OUT_CONSUMED).load(Ordering::Acquire);
    let produced = page.word(offset::OUT_PRODUCED).load(Ordering::Relaxed);
    OUT_OCTETS.saturating_sub(produced.wrapping_sub(consumed))
}

fn put(page: SharedPage, octet: u8) {
    let produced = page.word(offset::OUT_PRODUCED).load(Ordering::Relaxed);
    page.write(offset::OUT + (produced % OUT_OCTETS) as usize, &[octet]);
    page.word(offset::OUT_PRODUCED)
        .store(produced.wrapping_add(1), Ordering::Release);
}

/// Lines that wait for room.
struct Backlog {
    octets: [u8; BACKLOG_OCTETS],
    start: usize,
    len: usize,
    /// Of these octets, those of the line that has no end yet.
    unfinished: usize,
    /// The line that is being written has found no room: the rest of it is dropped.
    dropping: bool,
    lost: u32,
}

impl Backlog {
    const fn new() -> Self {
        Self {
            octets: [0; BACKLOG_OCTETS],
            start: 0,
            len: 0,
            unfinished: 0,
            dropping: false,
            lost: 0,
        }
    }

    /// Whether no line waits.
    fn is_empty(&self) -> bool {
        self.len == self.unfinished
    }

    /// Whether the last line has its end.
    fn is_whole(&self) -> bool {
        self.unfinished == 0
    }

    fn add(&mut self, text: &[u8]) {
        for &octet in text {
            if self.lost > 0 && !self.dropping && self.unfinished == 0 {
                self.tell_lost();
            }
            self.add_octet(octet);
        }
    }

    fn add_octet(&mut self, octet: u8) {
        let is_end = octet == b'\n';
        if !self.dropping && !self.push(octet) {
            self.len -= self.unfinished;
            self.unfinished = 0;
            self.dropping = true;
            self.lost = self.lost.saturating_add(1);
        }
        if is_end {
            self.unfinished = 0;
            self.dropping = false;
        }
    }

    /// Says how many lines were lost, where the first one would have stood.
    fn tell_lost(&mut self) {
        let mut digits = [b'0'; 10];
        let mut left = self.lost;
        for digit in digits.iter_mut().rev() {
            *digit += u8::try_from(left % 10).unwrap_or(0);
            left /= 10;
        }
        let first = digits.iter().position(|&digit| digit != b'0').unwrap_or(0);
        let number = digits.get(first..).unwrap_or_default();
        let parts = [b"synhop: lines lost: ", number, b"\n"];
        if self.len + parts.iter().map(|part| part.len()).sum::<usize>() > BACKLOG_OCTETS {
            return;
        }
        self.lost = 0;
        for part in parts {
            for &octet in part {
                self.add_octet(octet);
            }
        }
    }

    fn push(&mut self, octet: u8) -> bool {
        let place = (self.start + self.len) % BACKLOG_OCTETS;
        if self.len == BACKLOG_OCTETS {
            return false;
        }
        if let Some(place) = self.octets.get_mut(place) {
            *place = octet;
        }
        self.len += 1;
        self.unfinished += 1;
        true
    }

    /// The next octet of a whole line.
    fn take(&mut self) -> Option<u8> {
        if self.is_empty() {
            return None;
        }
        let octet = self.octets.get(self.start).copied();
        self.start = (self.start + 1) % BACKLOG_OCTETS;
        self.len -= 1;
        octet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(backlog: &mut Backlog) -> String {
        let octets = core::iter::from_fn(|| backlog.take()).collect();
        String::from_utf8(octets).expect("text")
    }

    #[test]
    fn a_line_waits_until_it_is_whole() {
        let mut backlog = Backlog::new();
        backlog.add(b"one\ntw");
        assert!(!backlog.is_whole());
        assert_eq!(all(&mut backlog), "one\n");
        backlog.add(b"o\n");
        assert!(backlog.is_whole());
        assert_eq!(all(&mut backlog), "two\n");
    }

    #[test]
    fn lines_without_room_are_counted() {
        let mut backlog = Backlog::new();
        let long = [b'x'; BACKLOG_OCTETS - 8];
        backlog.add(&long);
        backlog.add(b"\n");
        for _ in 0..12 {
            backlog.add(b"too ");
            backlog.add(b"much\n");
        }
        assert_eq!(all(&mut backlog).len(), long.len() + 1);
        backlog.add(b"again\n");
        assert_eq!(all(&mut backlog), "synhop: lines lost: 12\nagain\n");
    }

    #[test]
    fn octets_wrap_around() {
        let mut backlog = Backlog::new();
        for _ in 0..10 {
            let line = [b'y'; 3000];
            backlog.add(&line);
            backlog.add(b"\n");
            assert_eq!(all(&mut backlog).len(), 3001);
        }
    }
}
