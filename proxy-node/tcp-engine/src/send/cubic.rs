//! The congestion window: slow start and CUBIC (RFC 9438), in integers.
//!
//! Octets and microseconds; times on the cubic curve in milliseconds.

use core::time::Duration;

use crate::time::{Instant, micros};

/// The congestion window of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Cubic {
    mss: u32,
    cwnd: u32,
    ssthresh: u32,
    /// The window before the last reduction, octets (`W_max`).
    plateau: u32,
    epoch: Option<Epoch>,
    /// Octets acknowledged and not yet turned into window, scaled by the window.
    credit: u64,
}

/// Since when the curve is followed.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    since: Instant,
    /// When the curve reaches the plateau, after `since` (`K`).
    k_ms: u64,
    /// Where the curve is flat, octets: the plateau, or the window when that is above it already.
    origin: u32,
    /// The window that Reno would have (`W_est`), octets.
    reno: u32,
    reno_credit: u64,
}

impl Cubic {
    /// The initial window of RFC 6928.
    pub(crate) fn new(mss: u32) -> Self {
        let mss = mss.max(1);
        Self {
            mss,
            cwnd: (10 * mss).min((2 * mss).max(14_600)),
            ssthresh: u32::MAX,
            plateau: 0,
            epoch: None,
            credit: 0,
        }
    }

    /// Octets that may be on their way.
    pub(crate) const fn window(&self) -> u32 {
        self.cwnd
    }

    /// Below it the window grows by slow start.
    pub(crate) const fn threshold(&self) -> u32 {
        self.ssthresh
    }

    /// The handshake lost a segment (RFC 6928 section 2, RFC 5681 section 3.1).
    pub(crate) fn handshake_was_lossy(&mut self) {
        self.cwnd = self.mss;
    }

    /// `acked` octets arrived while the window was in full use, outside of recovery.
    pub(crate) fn on_ack(&mut self, acked: u32, now: Instant, srtt: Option<Duration>) {
        if self.cwnd < self.ssthresh {
            // All that was acknowledged, not 2 segments at most (RFC 3465, 2.3): a receiver that
            // answers seldom, or a device that merges, would make it slow.
            let grown = self.cwnd.saturating_add(acked);
            let rest = grown.saturating_sub(self.ssthresh);
            self.cwnd = grown.min(self.ssthresh);
            if rest == 0 {
                return;
            }
            self.avoid(rest, now, srtt);
        } else {
            self.avoid(acked, now, srtt);
        }
    }

    fn avoid(&mut self, acked: u32, now: Instant, srtt: Option<Duration>) {
        let (cwnd, mss, plateau) = (self.cwnd, self.mss, self.plateau);
        let epoch = self.epoch.get_or_insert_with(|| Epoch {
            since: now,
            k_ms: time_to_plateau_ms(plateau.saturating_sub(cwnd), mss),
            origin: plateau.max(cwnd),
            reno: cwnd,
            reno_credit: 0,
        });
        epoch.grow_reno(acked, cwnd, mss, plateau);
        let at = now.since(epoch.since) + srtt.unwrap_or_default();
        // RFC 9438 section 4.2: not beyond 1.5 windows in a round trip.
        let most = cwnd.saturating_add(cwnd / 2);
        let target = curve(at, epoch.k_ms, epoch.origin, mss).clamp(cwnd, most);
        let reno = epoch.reno;
        self.credit += u64::from(target - cwnd) * u64::from(acked);
        let step = self.credit / u64::from(cwnd.max(1));
        self.credit -= step * u64::from(cwnd.max(1));
        let step = u32::try_from(step).unwrap_or(u32::MAX);
        // RFC 9438 section 4.3: never slower than Reno would be.
        self.cwnd = cwnd.saturating_add(step).max(reno).min(MAX_WINDOW);
    }

    /// A loss was found while `in_flight` octets were on their way: the new threshold, to which PRR
    /// brings the window (RFC 9438 section 4.6).
    pub(crate) fn on_loss(&mut self, in_flight: u32) {
        self.reduce(in_flight);
        self.epoch = None;
        self.credit = 0;
    }

    /// The retransmission timer ran out (RFC 5681 section 3.1, RFC 9438 section 4.8).
    pub(crate) fn on_timeout(&mut self, in_flight: u32, first: bool) {
        if first {
            self.reduce(in_flight);
        }
        self.cwnd = self.mss;
        self.epoch = None;
        self.credit = 0;
    }

    /// Recovery sets the window.
    pub(crate) fn set_window(&mut self, octets: u32) {
        self.cwnd = octets.clamp(self.mss, MAX_WINDOW);
    }

    /// What was taken for a loss was none: all as `before`, but for what the window may have grown to
    /// since (RFC 9438 section 4.9.2).
    pub(crate) fn restore(&mut self, before: &Self) {
        let window = self.cwnd.max(before.cwnd);
        *self = Self {
            cwnd: window,
            mss: self.mss,
            ..before.clone()
        };
    }

    /// Nothing was sent for longer than the timeout (RFC 5681 section 4.1).
    pub(crate) fn on_idle(&mut self) {
        let restart = (10 * self.mss).min((2 * self.mss).max(14_600));
        self.ssthresh = self.ssthresh.max(self.cwnd / 4 * 3);
        self.cwnd = self.cwnd.min(restart);
        self.epoch = None;
    }

    /// The path's segments are smaller now.
    pub(crate) fn set_mss(&mut self, mss: u32) {
        self.mss = mss.max(1);
    }

    fn reduce(&mut self, in_flight: u32) {
        let window = self.cwnd;
        // Fast convergence (section 4.7): a flow that lost again before its last plateau gives way.
        self.plateau = if window < self.plateau {
            scale(window, 17, 20)
        } else {
            window
        };
        let base = in_flight.min(window).max(window / 2);
        self.ssthresh = scale(base, 7, 10).max(2 * self.mss);
    }
}

impl Epoch {
    fn grow_reno(&mut self, acked: u32, cwnd: u32, mss: u32, plateau: u32) {
        // alpha = 3 (1 - beta) / (1 + beta) = 9/17, and 1 from the plateau on.
        let (up, down) = if self.reno < plateau { (9, 17) } else { (1, 1) };
        self.reno_credit += u64::from(acked) * u64::from(mss) * up;
        let per_octet = u64::from(cwnd.max(1)) * down;
        let step = self.reno_credit / per_octet;
        self.reno_credit -= step * per_octet;
        self.reno = self
            .reno
            .saturating_add(u32::try_from(step).unwrap_or(u32::MAX));
    }
}

/// `K` = cubic root of (octets / mss / C), C = 0.4 segments/s^3.
fn time_to_plateau_ms(octets: u32, mss: u32) -> u64 {
    cubic_root(u64::from(octets) * 2_500_000_000 / u64::from(mss.max(1)))
}

/// `W(t) = C (t - K)^3 + W_max`, octets.
fn curve(at: Duration, k_ms: u64, plateau: u32, mss: u32) -> u32 {
    let at_ms = (micros(at) / 1000).min(MAX_CURVE_MS);
    let k_ms = k_ms.min(MAX_CURVE_MS);
    let away_ms = at_ms.abs_diff(k_ms);
    let cube = u128::from(away_ms).pow(3) * u128::from(mss) * 4 / 10_000_000_000;
    let octets = u32::try_from(cube).unwrap_or(MAX_WINDOW);
    if at_ms < k_ms {
        plateau.saturating_sub(octets)
    } else {
        plateau.saturating_add(octets).min(MAX_WINDOW)
    }
}

/// The largest number whose cube is at most `cube`, bit by bit.
fn cubic_root(cube: u64) -> u64 {
    let mut root = 0_u64;
    for bit in (0..22).rev() {
        let with = root | (1 << bit);
        if u128::from(with).pow(3) <= u128::from(cube) {
            root = with;
        }
    }
    root
}

fn scale(octets: u32, up: u32, down: u32) -> u32 {
    let scaled = u64::from(octets) * u64::from(up) / u64::from(down);
    u32::try_from(scaled).unwrap_or(u32::MAX)
}

/// What a window field with the largest scale can say.
const MAX_WINDOW: u32 = 1 << 30;
const MAX_CURVE_MS: u64 = 10_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1000;

    fn at_ms(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    /// One round trip of 100 ms with a full window acknowledged segment by segment.
    fn round(cubic: &mut Cubic, start_ms: u64) {
        let segments = cubic.window() / MSS;
        for segment in 0..segments {
            let now = at_ms(start_ms + u64::from(segment) * 100 / u64::from(segments));
            cubic.on_ack(MSS, now, Some(Duration::from_millis(100)));
        }
    }

    #[test]
    fn initial_windows() {
        let window = |mss| Cubic::new(mss).window();
        assert_eq!(
            [window(1448), window(536), window(9000)],
            [14_480, 5360, 18_000]
        );
    }

    #[test]
    fn slow_start_doubles() {
        let mut cubic = Cubic::new(MSS);
        round(&mut cubic, 0);
        assert_eq!(cubic.window(), 20_000);
    }

    #[test]
    fn the_curve_returns_to_its_plateau_in_time() {
        let mut cubic = Cubic::new(MSS);
        cubic.set_window(100 * MSS);
        cubic.on_loss(100 * MSS);
        cubic.set_window(cubic.threshold());
        assert_eq!(cubic.window(), 70 * MSS);
        // K = cbrt(30 / 0.4) = 4.217 s.
        let mut windows = alloc::vec::Vec::new();
        for number in 0..60 {
            round(&mut cubic, number * 100);
            windows.push(cubic.window() / MSS);
        }
        assert!((97..=100).contains(&windows[40]), "{windows:?}");
        // Concave before, convex after.
        assert!(windows[10] - windows[0] > windows[40] - windows[30]);
        assert!(windows[59] - windows[50] >= windows[45] - windows[40]);
    }

    /// Above the plateau the curve begins where the window is, and takes off slowly.
    #[test]
    fn above_the_plateau_the_curve_begins_at_the_window() {
        let mut cubic = Cubic::new(MSS);
        cubic.set_window(100 * MSS);
        cubic.ssthresh = 100 * MSS;
        for number in 0..20 {
            round(&mut cubic, number * 100);
        }
        // Reno's window, a segment a round trip: the curve is at 100 + 0.4 * 2^3 yet.
        assert_eq!(cubic.window() / MSS, 119);
    }

    #[test]
    fn short_paths_grow_as_reno() {
        let mut cubic = Cubic::new(MSS);
        cubic.set_window(20 * MSS);
        cubic.on_loss(20 * MSS);
        cubic.set_window(cubic.threshold());
        // 20 round trips of 1 ms: the curve has not moved. Reno grows by 9/17 of a segment each up
        // to the plateau, 11 of them, and by a whole one from there.
        for number in 0..20 {
            let segments = cubic.window() / MSS;
            for _ in 0..segments {
                cubic.on_ack(MSS, at_ms(number), Some(Duration::from_millis(1)));
            }
        }
        let grown = cubic.window() / MSS;
        assert!((27..=29).contains(&grown), "{grown}");
    }

    #[test]
    fn cubic_roots() {
        for root in [0, 1, 2, 1000, 1_290_000] {
            assert_eq!(cubic_root(root * root * root), root);
            assert_eq!(cubic_root(root * root * root + 1), root.max(1));
        }
    }
}
