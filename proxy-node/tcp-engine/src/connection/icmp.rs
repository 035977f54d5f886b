//! ICMP errors (RFC 5927, RFC 1191): what they may do to a connection, which is little.

use super::{Connection, Failure, News, State};
use crate::seq::Seq;

/// An error that quotes a segment of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpError {
    /// Host, network, port or protocol unreachable, or prohibited.
    Unreachable,
    /// The packet was too big for a link of this MTU.
    TooBig {
        /// In octets, IP header included.
        mtu: u16,
    },
}

impl Connection {
    /// An error about the segment that began at `seq`.
    pub(crate) fn on_icmp(&mut self, error: IcmpError, seq: Seq, ip_header: u16) -> Option<News> {
        // RFC 5927 section 4.1: about something that is on its way.
        let offset = self.tx.offset(seq, self.una)?;
        if offset < self.una || offset >= self.nxt.max(1) {
            return None;
        }
        match error {
            // Section 5.2: hard errors are soft ones once there is a connection.
            IcmpError::Unreachable => {
                let opening = matches!(self.state, State::SynSent | State::SynReceived);
                opening.then(|| self.fail(Failure::Unreachable))
            }
            IcmpError::TooBig { mtu } => {
                self.shrink(mtu, ip_header);
                None
            }
        }
    }

    fn shrink(&mut self, mtu: u16, ip_header: u16) {
        let options = if self.clock.is_some() { 12 } else { 0 };
        let mss = u32::from(mtu.max(MIN_MTU).saturating_sub(ip_header + 20 + options));
        if mss < self.mss {
            self.mss = mss.max(1);
            self.cubic.set_mss(self.mss);
            // What was too big is lost; all of it is sent again in smaller segments.
            self.board.mark_lost(|sent| sent.len() > u64::from(mss));
        }
    }
}

/// RFC 1191 section 3 knows 68; who says less than this attacks us (as Linux's `min_pmtu`).
const MIN_MTU: u16 = 552;
