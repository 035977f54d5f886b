//! How the emulator's thread passes the time: prompt when little happens,
//! thrifty when much does.
//!
//! The system wakes a sleeper some tens of microseconds late. So the thread
//! sleeps until shortly before a frame is due and spins the rest, as long as
//! its allowance for that lasts: ten milliseconds at once (a few bursts of an
//! initial window), an eighth of the time in the long run. Under bulk traffic the allowance is gone; the thread
//! then sleeps at least 100 us at a time and delivers what has become due in
//! one go. Nor does it ever stay awake for long: on a machine of two
//! processors the programs under test need one, and a real-time thread that
//! takes more than 95 % is stopped by the system for 50 ms.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::time::Duration;

use super::Port;
use super::port::poll_entry;
use crate::sys;

/// What is known about the near future.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outlook {
    /// When the first frame is due.
    pub(crate) first_due_ns: Option<u64>,
    /// How soon a frame can become due that has not been picked up.
    pub(crate) shortest_delay_ns: u64,
}

/// The thread's patience.
pub(crate) struct Waiting {
    /// The wake-up event first, then every ring.
    descriptors: Vec<libc::pollfd>,
    allowance_ns: u64,
    granted_until_ns: u64,
    awake_since_ns: u64,
    /// How late wake-ups have been lately.
    oversleep_ns: u64,
}

impl Waiting {
    pub(crate) fn new(ports: &[Port], wake: &File) -> Self {
        let mut descriptors = vec![poll_entry(wake.as_fd())];
        descriptors.extend(ports.iter().map(Port::poll_entry));
        let now_ns = sys::realtime_ns();
        Self {
            descriptors,
            allowance_ns: ALLOWANCE_NS,
            granted_until_ns: now_ns,
            awake_since_ns: now_ns,
            oversleep_ns: FIRST_GUESS_NS,
        }
    }

    /// Returns when there may be something to do.
    pub(crate) fn rest(&mut self, outlook: Outlook, wake: &File) {
        let now_ns = sys::realtime_ns();
        let elapsed_ns = now_ns.saturating_sub(self.granted_until_ns);
        self.granted_until_ns = now_ns;
        self.allowance_ns = (self.allowance_ns + elapsed_ns / SPIN_SHARE).min(ALLOWANCE_NS);
        let tired = now_ns.saturating_sub(self.awake_since_ns) > AWAKE_NS;
        let Some(due_ns) = outlook.first_due_ns else {
            return self.sleep(None, Watch::Rings, wake);
        };
        let left_ns = due_ns.saturating_sub(now_ns);
        let margin_ns = (2 * self.oversleep_ns).clamp(MARGIN_MIN_NS, MARGIN_MAX_NS);
        if tired {
            self.sleep(Some(TIRED_NAP_NS), Watch::Orders, wake);
        } else if left_ns == 0 {
            // More is due than one round delivers.
        } else if self.allowance_ns < margin_ns {
            self.sleep(Some(left_ns.clamp(NAP_NS, PATROL_NS)), Watch::Orders, wake);
        } else if left_ns <= margin_ns {
            self.spin_until(due_ns);
        } else if outlook.shortest_delay_ns >= 2 * PATROL_NS {
            // Nothing that is sent meanwhile can be due before the next look.
            let nap_ns = (left_ns - margin_ns).min(PATROL_NS);
            self.sleep(Some(nap_ns), Watch::Orders, wake);
        } else {
            self.sleep(Some(left_ns - margin_ns), Watch::Rings, wake);
        }
    }

    fn spin_until(&mut self, due_ns: u64) {
        let start_ns = sys::realtime_ns();
        let mut now_ns = start_ns;
        // The second condition: somebody may set the clock back.
        while now_ns < due_ns && now_ns.saturating_sub(start_ns) < MARGIN_MAX_NS {
            std::hint::spin_loop();
            now_ns = sys::realtime_ns();
        }
        self.allowance_ns = self
            .allowance_ns
            .saturating_sub(now_ns.saturating_sub(start_ns));
    }

    fn sleep(&mut self, nap_ns: Option<u64>, watch: Watch, wake: &File) {
        let count = match watch {
            Watch::Orders => 1,
            Watch::Rings => self.descriptors.len(),
        };
        let start_ns = sys::realtime_ns();
        let nap = nap_ns.map(Duration::from_nanos);
        // An error would be a bug in the arguments; the loop goes on polling.
        let woken = sys::wait_readable(&mut self.descriptors[..count], nap).unwrap_or(false);
        self.clear_errors(count);
        let now_ns = sys::realtime_ns();
        if now_ns.saturating_sub(start_ns) >= REAL_SLEEP_NS {
            self.awake_since_ns = now_ns;
        }
        match nap_ns {
            Some(nap_ns) if !woken => {
                let late_ns = now_ns.saturating_sub(start_ns + nap_ns).min(MARGIN_MAX_NS);
                self.oversleep_ns = (self.oversleep_ns * 7 + late_ns) / 8;
            }
            Some(_) | None => {
                if self.descriptors[0].revents != 0 {
                    // Empties the event's counter; what it was does not matter.
                    let _ = (&*wake).read(&mut [0; 8]);
                }
            }
        }
    }

    /// A ring whose device is or was down says so until it is asked: left
    /// alone, no sleep would ever last.
    fn clear_errors(&mut self, count: usize) {
        for descriptor in &self.descriptors[..count] {
            if descriptor.revents & libc::POLLERR != 0
                && let Err(error) = sys::take_socket_error(descriptor.fd)
            {
                tracing::debug!(%error, "a link's device reports an error");
            }
        }
    }
}

/// What may end a sleep early.
#[derive(Clone, Copy)]
enum Watch {
    /// Orders only: the rings can wait.
    Orders,
    /// Any frame as well.
    Rings,
}

/// One part of so many may be spent spinning.
const SPIN_SHARE: u64 = 8;
const ALLOWANCE_NS: u64 = 10_000_000;
const FIRST_GUESS_NS: u64 = 20_000;
/// What returns sooner has not slept: others did not get the processor.
const REAL_SLEEP_NS: u64 = 10_000;
/// How long before a frame is due the thread wakes, at least and at most.
const MARGIN_MIN_NS: u64 = 5_000;
const MARGIN_MAX_NS: u64 = 80_000;
/// The shortest sleep under bulk traffic.
const NAP_NS: u64 = 100_000;
/// How often the rings are looked into while frames are on the way.
const PATROL_NS: u64 = 500_000;
/// How long the thread stays awake at most, and how long it then sleeps.
const AWAKE_NS: u64 = 10_000_000;
const TIRED_NAP_NS: u64 = 250_000;
