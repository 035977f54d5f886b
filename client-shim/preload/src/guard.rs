//! Whether this thread is inside the library already.

use std::cell::Cell;

thread_local! {
    // Without a destructor, so that it costs no registration and outlives the thread's own.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Held while the library works: calls that it makes itself must reach the C library.
pub(crate) struct Guard(());

impl Guard {
    /// `None`: the library is at work in this thread already.
    pub(crate) fn enter() -> Option<Self> {
        let was_inside = INSIDE.try_with(|inside| inside.replace(true));
        matches!(was_inside, Ok(false)).then_some(Self(()))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Cannot fail: it did not on the way in.
        let _ = INSIDE.try_with(|inside| inside.set(false));
    }
}
