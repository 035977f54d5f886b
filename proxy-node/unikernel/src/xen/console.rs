//! The console: a ring that the host's console daemon empties.

use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

use super::page::SharedPage;
use super::{hypercall, info};

/// Offsets in the page (public/io/console.h).
mod offset {
    pub(super) const OUT: usize = 1024;
    pub(super) const OUT_CONSUMED: usize = 3080;
    pub(super) const OUT_PRODUCED: usize = 3084;
}
const OUT_OCTETS: u32 = 2048;

/// How long a writer waits for room once. The daemon may be gone for ever.
const PATIENCE_NANOS: u64 = 50_000_000;

static PAGE: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());
static PORT: AtomicU32 = AtomicU32::new(0);
/// Whether the last wait for room was in vain; until there is some, nobody waits again.
static STUCK: AtomicBool = AtomicBool::new(false);

/// From now on text goes to this ring.
pub(super) fn set(page: SharedPage, port: u32) {
    PORT.store(port, Ordering::Relaxed);
    PAGE.store(
        core::ptr::with_exposed_provenance_mut(page.address()),
        Ordering::Release,
    );
    crate::console::set_ring(write);
}

/// Puts text into the ring; what finds no room in time is lost.
pub(super) fn write(text: &[u8]) {
    let Some(start) = core::ptr::NonNull::new(PAGE.load(Ordering::Acquire)) else {
        return;
    };
    // SAFETY: `set` took the address from a `SharedPage`, whose conditions hold for ever.
    let page = unsafe { SharedPage::new(start) };
    let mut deadline = None;
    for octet in text {
        while room(page) == 0 {
            if STUCK.load(Ordering::Relaxed) || !wait(&mut deadline) {
                STUCK.store(true, Ordering::Relaxed);
                return;
            }
        }
        STUCK.store(false, Ordering::Relaxed);
        put(page, *octet);
    }
    notify();
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

fn notify() {
    let _gone = hypercall::notify(PORT.load(Ordering::Relaxed));
}

/// Waits a little for the daemon; false when it has had its time.
fn wait(deadline: &mut Option<u64>) -> bool {
    let now = info::system_nanos();
    let end = *deadline.get_or_insert(now + PATIENCE_NANOS);
    if now >= end {
        return false;
    }
    let port = PORT.load(Ordering::Relaxed);
    info::take(port);
    notify();
    info::sleep(&[port], Some(end));
    true
}

/// Waits a little until the daemon has read everything: the ring goes away with the guest.
pub(super) fn drain() {
    let Some(start) = core::ptr::NonNull::new(PAGE.load(Ordering::Acquire)) else {
        return;
    };
    // SAFETY: as in `write`.
    let page = unsafe { SharedPage::new(start) };
    let mut deadline = None;
    while room(page) < OUT_OCTETS && wait(&mut deadline) {}
}
