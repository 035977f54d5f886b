//! Who is admitted to early forwarding: whose bare SYN is acted on.
//!
//! A SYN's source can be forged, and each one acted on costs a connection elsewhere. So it takes a
//! proof that the source receives what is sent to it, and the caps hold even then. Whoever is not
//! admitted loses latency, nothing else: the flow is opened when its handshake is complete.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::IpAddr;

use ipnet::IpNet;
use synhop_option::Cookie;

use crate::config::{Limits, Timeouts};
use crate::sources::Sources;
use crate::time::Time;

/// Whether to act on a bare SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Early,
    Late(Why),
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The source is not trusted, has no valid cookie, and completed no handshake of late.
    Unproven,
    /// Too many flows are pending in all.
    PendingFull,
    /// Too many flows of this source are pending.
    SourceFull,
    /// This source has sent too many SYNs of late.
    Rate,
}

/// Knows the sources and counts what is pending.
#[derive(Debug)]
pub(crate) struct Admitter {
    trusted: Vec<IpNet>,
    limits: Limits,
    timeouts: Timeouts,
    handshakes: Sources<()>,
    buckets: Sources<Bucket>,
    pending: u32,
    pending_by_source: BTreeMap<IpAddr, u32>,
}

impl Admitter {
    pub(crate) fn new(trusted: Vec<IpNet>, limits: Limits, timeouts: Timeouts) -> Self {
        let sources = usize::try_from(limits.sources).unwrap_or(usize::MAX);
        Self {
            trusted,
            limits,
            timeouts,
            handshakes: Sources::new(sources),
            buckets: Sources::new(sources),
            pending: 0,
            pending_by_source: BTreeMap::new(),
        }
    }

    /// Decides on one SYN; one that passes everything else is charged to its source's rate.
    pub(crate) fn admit(&mut self, source: IpAddr, cookie: Option<Cookie>, now: Time) -> Admission {
        if !self.is_proven(source, cookie, now) {
            Admission::Late(Why::Unproven)
        } else if self.pending >= self.limits.pending {
            Admission::Late(Why::PendingFull)
        } else if self.pending_of(source) >= self.limits.pending_per_source {
            Admission::Late(Why::SourceFull)
        } else if !self.charge(source, now) {
            Admission::Late(Why::Rate)
        } else {
            Admission::Early
        }
    }

    /// A handshake with `source` is complete: it receives what is sent to it.
    pub(crate) fn completed(&mut self, source: IpAddr, now: Time) {
        self.handshakes.note(source, now, ());
    }

    /// A flow of `source` has become pending.
    pub(crate) fn opened(&mut self, source: IpAddr) {
        self.pending += 1;
        *self.pending_by_source.entry(source).or_insert(0) += 1;
    }

    /// A flow of `source` is pending no longer.
    pub(crate) fn settled(&mut self, source: IpAddr) {
        self.pending = self.pending.saturating_sub(1);
        if let Some(count) = self.pending_by_source.get_mut(&source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.pending_by_source.remove(&source);
            }
        }
    }

    pub(crate) const fn pending(&self) -> u32 {
        self.pending
    }

    fn is_proven(&self, source: IpAddr, cookie: Option<Cookie>, now: Time) -> bool {
        self.trusted.iter().any(|net| net.contains(&source))
            || cookie.is_some_and(|_| COOKIES_ARE_VERIFIED)
            || self
                .handshakes
                .get(source)
                .is_some_and(|(at, ())| now.since(*at) < self.timeouts.recent_handshake)
    }

    fn pending_of(&self, source: IpAddr) -> u32 {
        self.pending_by_source.get(&source).copied().unwrap_or(0)
    }

    /// Takes one SYN out of the bucket of `source`, if there is one in it.
    fn charge(&mut self, source: IpAddr, now: Time) -> bool {
        let full = u64::from(self.limits.syn_burst_per_source) * Bucket::SYN;
        let level = match self.buckets.get(source) {
            Some((at, bucket)) => bucket
                .filled(now.since(*at).as_micros(), self.limits.syn_rate_per_source)
                .min(full),
            None => full,
        };
        let left = level.checked_sub(Bucket::SYN);
        let note = Bucket {
            level: left.unwrap_or(level),
        };
        self.buckets.note(source, now, note);
        left.is_some()
    }
}

/// A token bucket, in millionths of a SYN: a rate of n a second fills in n of them a microsecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bucket {
    level: u64,
}

impl Bucket {
    const SYN: u64 = 1_000_000;

    fn filled(self, micros: u128, rate: u32) -> u64 {
        let micros = u64::try_from(micros).unwrap_or(u64::MAX);
        self.level
            .saturating_add(micros.saturating_mul(u64::from(rate)))
    }
}

/// Nodes issue no cookies yet, so none that a SYN carries can be valid (SPEC section 7).
const COOKIES_ARE_VERIFIED: bool = false;

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use core::net::{IpAddr, Ipv4Addr};
    use core::time::Duration;

    use synhop_option::Cookie;

    use super::{Admission, Admitter, Why};
    use crate::config::{Limits, Timeouts};
    use crate::time::Time;

    const TRUSTED: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const ALSO_TRUSTED: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
    const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    fn admitter() -> Admitter {
        let limits = Limits {
            pending: 3,
            pending_per_source: 2,
            syn_rate_per_source: 10,
            syn_burst_per_source: 4,
            sources: 2,
            ..Limits::default()
        };
        let trusted = Vec::from(["10.0.0.0/8".parse().unwrap()]);
        Admitter::new(trusted, limits, Timeouts::default())
    }

    fn at(millis: u64) -> Time {
        Time::ZERO.after(Duration::from_millis(millis))
    }

    #[test]
    fn a_proof_is_needed_and_expires() {
        let mut admitter = admitter();
        let unproven = Admission::Late(Why::Unproven);
        assert_eq!(admitter.admit(STRANGER, None, at(0)), unproven);
        // No cookie is valid before nodes issue any.
        let cookie = Some(Cookie::from_octets([1; 4]));
        assert_eq!(admitter.admit(STRANGER, cookie, at(0)), unproven);
        assert_eq!(admitter.admit(TRUSTED, None, at(0)), Admission::Early);

        admitter.completed(STRANGER, at(0));
        assert_eq!(
            admitter.admit(STRANGER, None, at(599_999)),
            Admission::Early
        );
        assert_eq!(admitter.admit(STRANGER, None, at(600_000)), unproven);
    }

    #[test]
    fn pending_flows_are_capped() {
        let mut admitter = admitter();
        admitter.opened(TRUSTED);
        admitter.opened(TRUSTED);
        assert_eq!(
            admitter.admit(TRUSTED, None, at(0)),
            Admission::Late(Why::SourceFull)
        );
        assert_eq!(admitter.admit(ALSO_TRUSTED, None, at(0)), Admission::Early);
        admitter.opened(ALSO_TRUSTED);
        assert_eq!(
            admitter.admit(ALSO_TRUSTED, None, at(0)),
            Admission::Late(Why::PendingFull)
        );
        admitter.settled(TRUSTED);
        assert_eq!(admitter.admit(TRUSTED, None, at(0)), Admission::Early);
        assert_eq!(admitter.pending(), 2);
        admitter.settled(TRUSTED);
        admitter.settled(ALSO_TRUSTED);
        assert_eq!(admitter.pending(), 0);
        assert!(admitter.pending_by_source.is_empty());
    }

    #[test]
    fn the_rate_is_a_bucket() {
        let mut admitter = admitter();
        let mut passes = |millis| admitter.admit(TRUSTED, None, at(millis)) == Admission::Early;
        assert!((0..4).all(|_| passes(1000)));
        assert!(!passes(1000));
        // Ten a second: one each 100 ms.
        assert!(!passes(1099));
        assert!(passes(1100));
        assert!(!passes(1150));
        // A long rest fills the bucket, not more.
        assert!((0..4).all(|_| passes(100_000)));
        assert!(!passes(100_000));
    }
}
