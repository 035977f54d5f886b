//! Proportional rate reduction (RFC 6937, as revised): how much to send per ACK in recovery.

/// The accounts of one recovery.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prr {
    /// What was on its way when recovery began.
    flight_at_start: u64,
    delivered: u64,
    sent: u64,
}

/// What an ACK in recovery brought.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// Octets newly known to have arrived.
    pub delivered: u32,
    /// Whether SND.UNA moved without new losses: the path is well.
    pub safe: bool,
    /// Octets on their way now.
    pub in_flight: u32,
}

impl Prr {
    pub(crate) fn new(in_flight: u32) -> Self {
        Self {
            flight_at_start: u64::from(in_flight.max(1)),
            delivered: 0,
            sent: 0,
        }
    }

    /// The congestion window after an ACK.
    pub(crate) fn window(&mut self, arrival: Arrival, threshold: u32, mss: u32) -> u32 {
        self.delivered += u64::from(arrival.delivered);
        let (in_flight, threshold) = (u64::from(arrival.in_flight), u64::from(threshold));
        let may_send = if in_flight > threshold {
            (self.delivered * threshold)
                .div_ceil(self.flight_at_start)
                .saturating_sub(self.sent)
        } else {
            let conserving = self.delivered.saturating_sub(self.sent);
            let limit = if arrival.safe {
                conserving.max(u64::from(arrival.delivered)) + u64::from(mss)
            } else {
                conserving
            };
            limit.min(threshold - in_flight)
        };
        // A first retransmission at once, whatever the sums say.
        let may_send = if self.sent == 0 {
            may_send.max(u64::from(mss))
        } else {
            may_send
        };
        u32::try_from(in_flight + may_send).unwrap_or(u32::MAX)
    }

    /// Octets were sent.
    pub(crate) fn on_sent(&mut self, octets: u32) {
        self.sent += u64::from(octets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_goes_down_in_proportion() {
        // 20 segments on the way, the threshold is 10, one was lost: each ACK lets half a segment out.
        let (mss, threshold) = (1000, 10_000);
        let mut prr = Prr::new(20_000);
        let mut in_flight = 19_000_u32;
        let mut sent = 0;
        for _ack in 0..18 {
            in_flight -= 1000;
            let arrival = Arrival {
                delivered: 1000,
                safe: false,
                in_flight,
            };
            let window = prr.window(arrival, threshold, mss);
            while in_flight + 1000 <= window {
                in_flight += 1000;
                sent += 1;
                prr.on_sent(1000);
            }
        }
        assert!((9..=10).contains(&sent), "{sent}");
        assert!(in_flight <= threshold + 1000, "{in_flight}");
    }

    #[test]
    fn after_heavy_losses_it_grows_back_only_while_safe() {
        let mut prr = Prr::new(20_000);
        prr.on_sent(1000);
        let arrival = |safe| Arrival {
            delivered: 1000,
            safe,
            in_flight: 2000,
        };
        assert_eq!(prr.window(arrival(false), 10_000, 1000), 2000);
        assert_eq!(prr.window(arrival(true), 10_000, 1000), 4000);
    }
}
