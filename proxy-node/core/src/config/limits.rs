//! Bounds: how much of everything, and how long.

use core::time::Duration;

/// How much there may be of everything. Every value is at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Active flows, pending ones included; at most [`Limits::MAX_FLOWS`]. Default 4,096: a flow
    /// takes two sockets and up to four pipe ends of the shell's descriptors.
    pub flows: u32,
    /// Flows whose client has not finished its handshake; at most `flows`. Default 1,024.
    pub pending: u32,
    /// The same for one source address. Default 256: the source may be a node that speaks for
    /// many clients.
    pub pending_per_source: u32,
    /// SYNs a second that one source may have acted on early, in the long run. Default 1,000.
    pub syn_rate_per_source: u32,
    /// SYNs that one source may have acted on at once. Default 512.
    pub syn_burst_per_source: u32,
    /// Sources remembered, each for its handshake and for its SYN rate. Default 4,096.
    pub sources: u32,
}

impl Limits {
    /// The most that `flows` may be.
    pub const MAX_FLOWS: u32 = 1 << 20;
    /// The most that any other limit may be.
    pub const MAX: u32 = 1 << 20;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            flows: 4096,
            pending: 1024,
            pending_per_source: 256,
            syn_rate_per_source: 1000,
            syn_burst_per_source: 512,
            sources: 4096,
        }
    }
}

/// How long everything may take. Every value is above 0 and at most [`Timeouts::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the SYN's event to the accept. Default 10 s: it outlasts the SYN-ACK's first three
    /// retransmissions (1, 3 and 7 s after it, RFC 6298 section 2). A client that is slower still
    /// loses nothing but the early start.
    pub handshake: Duration,
    /// From [`crate::Action::Connect`] to the established downstream leg. Default 30 s: it
    /// outlasts the SYN's first four retransmissions (1, 3, 7 and 15 s after it).
    pub connect: Duration,
    /// Without an octet either way. Default 2 h 4 min, as RFC 5382 REQ-5 has NATs keep flows. The
    /// shell measures it.
    pub idle: Duration,
    /// From [`crate::Input::Shutdown`] to the end of the relays still running. Default 30 s.
    pub shutdown_grace: Duration,
    /// How long a completed handshake vouches for its source. Default 10 min.
    pub recent_handshake: Duration,
}

impl Timeouts {
    /// 30 days: longer is a mistake.
    pub const MAX: Duration = Duration::from_hours(30 * 24);
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            connect: Duration::from_secs(30),
            idle: Duration::from_mins(2 * 60 + 4),
            shutdown_grace: Duration::from_secs(30),
            recent_handshake: Duration::from_mins(10),
        }
    }
}
