//! What an engine is told at its start.

use synhop_option::Kind;

/// Sizes and limits. The defaults suit a node of a few hundred flows.
#[derive(Clone, Debug)]
pub struct Config {
    /// The kind of our option.
    pub kind: Kind,
    /// The link's MTU in octets; our MSS is 40 less for IPv4, 60 for IPv6.
    pub mtu: u16,
    /// Connections, those in TIME-WAIT apart.
    pub connections: usize,
    /// Passive opens whose handshake is not complete.
    pub half_open: usize,
    /// Entries of TIME-WAIT; the oldest give way.
    pub time_wait: usize,
    /// The largest receive window, octets; at most 2^30.
    pub max_window: u64,
    /// The window scale that we offer, 0 to 14.
    pub window_scale: u8,
    /// Retransmissions of a SYN.
    pub syn_retries: u32,
    /// Retransmissions of a SYN-ACK.
    pub syn_ack_retries: u32,
    /// Retransmission timeouts in a row before the peer counts as gone.
    pub retries: u32,
    /// Segments that one [`Transmit`](crate::Transmit) may be; 1 where the device cannot cut.
    pub burst_segments: u32,
    /// Pages that are kept for what moves things on when memory is short.
    pub reserve_pages: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            kind: Kind::default(),
            mtu: 1500,
            connections: 4096,
            half_open: 1024,
            time_wait: 4096,
            max_window: 4 << 20,
            window_scale: 7,
            syn_retries: 6,
            syn_ack_retries: 5,
            retries: 15,
            burst_segments: 1,
            reserve_pages: 32,
        }
    }
}
