//! How many workers a user may have.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many workers there are. A thread that waits costs next to nothing.
pub(super) const WORKERS: usize = 16;
/// How many of them may be at work for one user.
const WORKERS_PER_USER: usize = 4;
/// How long a user's workers may all be busy before they count as stuck: a request takes
/// microseconds, a loaded machine tens of milliseconds.
const STUCK_AFTER: Duration = Duration::from_millis(100);

/// Who has how many workers. A user whose requests do not end (a descriptor whose close lingers, a
/// socket whose lock is held) runs out of places, and nobody else does.
pub(super) struct Places {
    busy: Mutex<HashMap<u32, Busy>>,
    /// Readable when a user has a place again who had none.
    freed: UnixStream,
    free: UnixStream,
}

struct Busy {
    workers: usize,
    /// When that number changed.
    since: Instant,
}

/// A worker's being at work for a user.
pub(super) struct Place<'p> {
    places: &'p Places,
    uid: u32,
}

impl Places {
    pub(super) fn new() -> io::Result<Self> {
        let (freed, free) = UnixStream::pair()?;
        freed.set_nonblocking(true)?;
        free.set_nonblocking(true)?;
        Ok(Self {
            busy: Mutex::default(),
            freed,
            free,
        })
    }

    /// `None`: the user has as many as may be.
    pub(super) fn take(&self, uid: u32) -> Option<Place<'_>> {
        let since = Instant::now();
        let mut busy = self.busy();
        let user = busy.entry(uid).or_insert(Busy { workers: 0, since });
        if user.workers >= WORKERS_PER_USER {
            return None;
        }
        user.workers += 1;
        user.since = since;
        Some(Place { places: self, uid })
    }

    /// How long the user may still be expected to get a place in a moment; `None`: not at all.
    pub(super) fn patience(&self, uid: u32, now: Instant) -> Option<Duration> {
        let since = self.busy().get(&uid)?.since;
        let left = STUCK_AFTER.checked_sub(now.saturating_duration_since(since));
        left.filter(|left| !left.is_zero())
    }

    pub(super) fn freed(&self) -> BorrowedFd<'_> {
        self.freed.as_fd()
    }

    pub(super) fn notice_freed(&self) {
        // Empty is what it is to be; nothing else can happen to a socket pair of our own.
        while matches!((&self.freed).read(&mut [0; 64]), Ok(1..)) {}
    }

    fn busy(&self) -> MutexGuard<'_, HashMap<u32, Busy>> {
        // Each change is a single assignment.
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut busy = self.places.busy();
        let Some(user) = busy.get_mut(&self.uid) else {
            return;
        };
        let had_none_left = user.workers == WORKERS_PER_USER;
        user.workers -= 1;
        user.since = Instant::now();
        if user.workers == 0 {
            busy.remove(&self.uid);
        }
        drop(busy);
        if had_none_left {
            // Full means that enough is there to be noticed.
            let _ = (&self.places.free).write(&[0]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_so_many_places_and_others_have_theirs() {
        let places = Places::new().unwrap();
        let mut taken: Vec<_> = (0..WORKERS_PER_USER)
            .filter_map(|_| places.take(1))
            .collect();
        assert_eq!(taken.len(), WORKERS_PER_USER);
        assert!(places.take(1).is_none());
        assert!(places.take(2).is_some());
        assert_eq!(
            crate::sys::poll_readable(&[places.freed()], Some(Duration::ZERO)),
            [false]
        );
        taken.pop();
        assert_eq!(crate::sys::poll_readable(&[places.freed()], None), [true]);
        places.notice_freed();
        assert_eq!(
            crate::sys::poll_readable(&[places.freed()], Some(Duration::ZERO)),
            [false]
        );
        assert!(places.take(1).is_some());
        drop(taken);
        assert!(places.busy().is_empty());
    }

    #[test]
    fn patience_ends() {
        let places = Places::new().unwrap();
        let now = Instant::now();
        assert_eq!(places.patience(1, now), None);
        let _place = places.take(1);
        assert!(places.patience(1, now).is_some());
        assert_eq!(places.patience(1, now + 2 * STUCK_AFTER), None);
    }
}
