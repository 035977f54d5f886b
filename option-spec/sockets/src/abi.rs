//! What userspace and the programs share: `bpf/synhop_abi.h` in Rust. Both sides assert the layout.

use std::mem::{offset_of, size_of};

/// The longest option: it fills the option space of a TCP header.
pub(crate) const OPTION_MAX_OCTETS: usize = 40;
/// An IPv4 header with options or an IPv6 header, and a TCP header with options.
pub(crate) const HEADERS_MAX_OCTETS: usize = 120;

/// [`Mark::flags`]: the program fills the socket's own address and port in.
pub(crate) const FILL_SOURCE: u8 = 1;
/// [`Mark::flags`]: the program tells "understood" by `TCP_SYNCNT`, too.
pub(crate) const PUBLISH: u8 = 2;

/// The `TCP_SYNCNT` that tells it.
pub(crate) const PUBLISHED_UNDERSTOOD: u8 = 121;

/// [`Mark::phase`] of a mark that has not been used.
pub(crate) const FRESH: u8 = 0;

/// [`Mark::progress`].
pub(crate) mod progress {
    pub(crate) const MARKED: u8 = 0;
    pub(crate) const SYN_SENT: u8 = 1;
    pub(crate) const SILENT: u8 = 2;
    pub(crate) const UNDERSTOOD: u8 = 3;
}

/// Hangs on a marked socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) flags: u8,
    pub(crate) phase: u8,
    pub(crate) progress: u8,
    pub(crate) cookie_len: u8,
    pub(crate) callbacks: u8,
    pub(crate) zero: [u8; 3],
    pub(crate) cookie: [u8; 4],
    pub(crate) option: [u8; OPTION_MAX_OCTETS],
}

const _: () = assert!(size_of::<Mark>() == 52);
const _: () = assert!(offset_of!(Mark, cookie) == 8);
const _: () = assert!(offset_of!(Mark, option) == 12);

/// What hangs on a listener before `listen()`.
pub(crate) const LISTENER_MARKED: u8 = 1;
/// What the program makes of it.
pub(crate) const LISTENER_WATCHED: u8 = 2;
/// The same, where another program had asked for the header callbacks before.
pub(crate) const LISTENER_SHARED: u8 = 3;

/// Where a listener listens, as it is on the wire.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListenerKey {
    pub(crate) netns_cookie: u64,
    /// IPv4 as `::ffff:a.b.c.d`.
    pub(crate) address: [u8; 16],
    /// Host order.
    pub(crate) port: u16,
    pub(crate) zero: [u8; 6],
}

const _: () = assert!(size_of::<ListenerKey>() == 32);
const _: () = assert!(offset_of!(ListenerKey, address) == 8);
const _: () = assert!(offset_of!(ListenerKey, port) == 24);

/// A record of the ring buffer: 4 octets of length (native order), then the headers.
pub(crate) const EVENT_OCTETS: usize = 4 + HEADERS_MAX_OCTETS;
const _: () = assert!(EVENT_OCTETS == 124);

/// Indices of the counters map.
pub(crate) mod counter {
    pub(crate) const EVENTS: u32 = 0;
    pub(crate) const DROPPED: u32 = 1;
    pub(crate) const SYN_COOKIES: u32 = 2;
    pub(crate) const RESERVE_FAILED: u32 = 3;
    pub(crate) const STORE_FAILED: u32 = 4;
    pub(crate) const CALLBACKS_FAILED: u32 = 5;
    pub(crate) const SOURCE_UNAVAILABLE: u32 = 6;
    pub(crate) const MALFORMED: u32 = 7;
    pub(crate) const PUBLISH_FAILED: u32 = 8;
}
