//! What time does.

use super::{Connection, Failure, News, State, Timer};
use crate::config::Config;
use crate::time::Instant;

impl Connection {
    /// A deadline may have come.
    pub(crate) fn on_time(&mut self, config: &Config, now: Instant) -> Option<News> {
        self.acks.on_time(now);
        if self.close_at.is_some_and(|at| at <= now) {
            return Some(self.fail(Failure::TimedOut));
        }
        let timer = self.retransmit.filter(|timer| timer.at() <= now)?;
        match timer {
            Timer::Timeout(_) if matches!(self.state, State::SynSent | State::SynReceived) => {
                return self.on_handshake_timeout(config);
            }
            Timer::Timeout(_) => {
                if !self.on_retransmission_timeout(config.retries, now) {
                    return Some(self.fail(Failure::TimedOut));
                }
            }
            Timer::Probe(_) => {
                self.probe_due = true;
                self.retransmit = Some(Timer::Timeout(now + self.rtt.timeout()));
            }
            Timer::Reordering(_) => {
                self.retransmit = None;
                self.on_reordering_timeout(now);
            }
            Timer::Window(_) => {
                // For ever, as long as the peer answers: a closed window is no failure (RFC 9293
                // section 3.8.6.1). Each answer sets the count back.
                if self.retries >= config.retries {
                    return Some(self.fail(Failure::TimedOut));
                }
                self.retries += 1;
                self.rtt.back_off();
                self.probe_due = true;
                self.retransmit = Some(Timer::Window(now + self.rtt.timeout()));
            }
        }
        None
    }
}
