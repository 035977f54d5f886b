//! SYNs that carry the option: as they arrive, and once more at `accept()`.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use aya::maps::{MapData, RingBuf};
use synhop_option::{Kind, OptionError, SynOption};

use crate::abi::{EVENT_OCTETS, HEADERS_MAX_OCTETS};
use crate::counters::CounterMap;
use crate::headers::{self, HeadersError};
use crate::sys;

/// What a SYN says. Two of them are of the same SYN, perhaps retransmitted, when `client`, `local`
/// and `isn` agree: then act once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SynEvent {
    /// Source address and port in the IP and TCP header: who really sent it, bar spoofing. On a
    /// dual-stack listener an IPv4 client is IPv4 here, and `::ffff:a.b.c.d` at `accept()`.
    pub client: SocketAddr,
    /// Destination address and port in the headers: where this node was addressed.
    pub local: SocketAddr,
    /// The initial sequence number.
    pub isn: u32,
    /// The option. An event always carries one, if only a malformed one; a saved SYN may have none.
    pub option: Result<Option<SynOption>, OptionError>,
}

/// The SYNs with an option that arrive at the listeners of an
/// [`Attachment`](crate::Attachment), while their handshakes are still under way.
///
/// The descriptor is readable while events wait. A reader that has read them all, up to `None`, is
/// woken by the next at once; one that stopped before is not, unless it watches level-triggered.
/// When the Attachment goes, no more come.
pub struct SynEvents {
    ring: RingBuf<MapData>,
    counters: Arc<CounterMap>,
    kind: Kind,
}

impl SynEvents {
    pub(crate) const fn new(ring: RingBuf<MapData>, counters: Arc<CounterMap>, kind: Kind) -> Self {
        Self {
            ring,
            counters,
            kind,
        }
    }

    /// The next SYN, if one waits; never blocks. The same SYN may come again when the client
    /// retransmits it.
    #[expect(
        clippy::should_implement_trait,
        reason = "None means that none waits now, which is not an iterator's end"
    )]
    pub fn next(&mut self) -> Option<SynEvent> {
        loop {
            let record = self.ring.next()?;
            match parse_record(&record, self.kind) {
                Ok(event) => return Some(event),
                // The program sends only what it found to be TCP: nothing a client can cause.
                Err(error) => tracing::warn!(%error, "record without a SYN in the ring"),
            }
        }
    }

    /// How many SYNs found the ring full since the start. Their flows are known at `accept()` only
    /// (see [`saved_syn`]).
    pub fn dropped(&self) -> u64 {
        self.counters.dropped()
    }
}

impl AsFd for SynEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

impl AsRawFd for SynEvents {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl fmt::Debug for SynEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SynEvents")
            .field("fd", &self.as_raw_fd())
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// The SYN that made this accepted socket, option or not: the authority when its event was lost or
/// is yet to come.
///
/// `None` when the kernel has none: the listener was not made with
/// [`Attachment::listen`](crate::Attachment::listen), the connection was made from a SYN cookie,
/// the SYN was asked for before (the kernel gives it once), or its headers are not plain IP and TCP
/// (IPv6 extension headers).
pub fn saved_syn(fd: impl AsFd, kind: Kind) -> io::Result<Option<SynEvent>> {
    let mut headers = [0; HEADERS_MAX_OCTETS];
    let len = sys::take_saved_syn(fd, &mut headers)?;
    match headers::parse(&headers[..len], kind) {
        Ok(event) => Ok(Some(event)),
        Err(HeadersError::Truncated { left_octets: 0 }) => Ok(None),
        Err(error) => {
            tracing::debug!(%error, "saved SYN is not understood");
            Ok(None)
        }
    }
}

fn parse_record(record: &[u8], kind: Kind) -> Result<SynEvent, HeadersError> {
    let truncated = HeadersError::Truncated {
        left_octets: record.len(),
    };
    let record = record.get(..EVENT_OCTETS).ok_or(truncated)?;
    let (len, headers) = record.split_first_chunk::<4>().ok_or(truncated)?;
    let len = usize::try_from(u32::from_ne_bytes(*len)).unwrap_or(usize::MAX);
    headers::parse(headers.get(..len).ok_or(truncated)?, kind)
}
