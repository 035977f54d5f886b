//! Which proxies are left out for a while, because they turned out to be none.

use core::net::SocketAddrV4;
use core::sync::atomic::{AtomicU64, Ordering};

/// How many proxies can be left out at a time.
const SLOTS: usize = 16;

/// Proxies that are left out until a point in time. Lock-free; at most 16 at a time, a further
/// one displaces the one that is due first.
///
/// Times are milliseconds of any monotonic clock, the caller's.
#[derive(Debug, Default)]
pub struct Verdicts {
    slots: [Slot; SLOTS],
}

/// `proxy` is written last and read first and last, so that a torn pair is never believed.
#[derive(Debug, Default)]
struct Slot {
    proxy: AtomicU64,
    until_ms: AtomicU64,
}

impl Verdicts {
    /// How long a proxy is left out.
    pub const BYPASS_MS: u64 = 60_000;

    /// No proxy is left out.
    pub const fn new() -> Self {
        Self {
            slots: [const {
                Slot {
                    proxy: AtomicU64::new(0),
                    until_ms: AtomicU64::new(0),
                }
            }; SLOTS],
        }
    }

    /// Leaves `proxy` out for [`Self::BYPASS_MS`] from now on.
    pub fn condemn(&self, proxy: SocketAddrV4, now_ms: u64) {
        let key = key(proxy);
        let same = self
            .slots
            .iter()
            .find(|slot| slot.proxy.load(Ordering::Acquire) == key);
        let slot = same.or_else(|| {
            let due = |slot: &&Slot| slot.until_ms.load(Ordering::Acquire);
            self.slots.iter().min_by_key(due)
        });
        if let Some(slot) = slot {
            slot.proxy.store(0, Ordering::Release);
            let until_ms = now_ms.saturating_add(Self::BYPASS_MS);
            slot.until_ms.store(until_ms, Ordering::Release);
            slot.proxy.store(key, Ordering::Release);
        }
    }

    /// Whether `proxy` is to be left out now.
    pub fn is_condemned(&self, proxy: SocketAddrV4, now_ms: u64) -> bool {
        let key = key(proxy);
        self.slots.iter().any(|slot| {
            slot.proxy.load(Ordering::Acquire) == key
                && slot.until_ms.load(Ordering::Acquire) > now_ms
                && slot.proxy.load(Ordering::Acquire) == key
        })
    }
}

/// Never 0: that is a free slot.
fn key(proxy: SocketAddrV4) -> u64 {
    1 << 63 | u64::from(u32::from(*proxy.ip())) << 16 | u64::from(proxy.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(port: u16) -> SocketAddrV4 {
        SocketAddrV4::new([192, 0, 2, 1].into(), port)
    }

    #[test]
    fn a_verdict_lasts_a_minute_and_concerns_one_proxy() {
        let verdicts = Verdicts::new();
        assert!(!verdicts.is_condemned(proxy(1), 0));
        verdicts.condemn(proxy(1), 1_000);
        assert!(verdicts.is_condemned(proxy(1), 1_000));
        assert!(verdicts.is_condemned(proxy(1), 60_999));
        assert!(!verdicts.is_condemned(proxy(1), 61_000));
        assert!(!verdicts.is_condemned(proxy(2), 1_000));
    }

    #[test]
    fn a_full_table_displaces_the_oldest() {
        let verdicts = Verdicts::new();
        for port in 1..=17 {
            verdicts.condemn(proxy(port), u64::from(port));
        }
        assert!(!verdicts.is_condemned(proxy(1), 20));
        assert!((2..=17).all(|port| verdicts.is_condemned(proxy(port), 20)));
    }

    #[test]
    fn one_proxy_takes_one_slot() {
        let verdicts = Verdicts::new();
        for now_ms in 0..100 {
            verdicts.condemn(proxy(1), now_ms);
        }
        verdicts.condemn(proxy(2), 100);
        assert!(verdicts.is_condemned(proxy(1), 60_098));
    }
}
