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
