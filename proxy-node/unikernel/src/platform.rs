//! What the image needs of the machine that it runs on: a network device, a clock, a way to sleep.

use synhop_stack::{Checksum, Frame, Instant, Offload, Payload, Pool};

/// One network device and the processor that serves it.
///
/// There is one implementation for each kind of host; `serve` drives any of them with one loop.
pub(crate) trait Platform {
    /// The device's Ethernet address.
    fn mac(&self) -> [u8; 6];

    /// What the device finishes for the frames that are sent.
    fn offload(&self) -> Offload;

    /// The time since the machine was entered.
    fn now(&self) -> Instant;

    /// The next frame that has arrived: Ethernet header first, its parts pages of `pool`.
    ///
    /// Also the place where buffers are handed back to the device; when `pool` runs out, fewer are.
    fn receive(&mut self, pool: &Pool) -> Option<(Payload, Checksum)>;

    /// Puts a frame on the way. It comes back when the ring is full: keep it, wait, try again.
    ///
    /// The device may learn of it only with [`flush`](Self::flush).
    #[expect(
        clippy::result_large_err,
        reason = "the frame goes back as it came; a box would be an allocation for each"
    )]
    fn send(&mut self, frame: Frame) -> Result<(), Frame>;

    /// Tells the device about all that was sent since the last time.
    fn flush(&mut self);

    /// Sleeps until the device has something (a frame, room in a full ring), the host asks
    /// something, or `deadline` has come. May return early; never misses what came before the call.
    fn wait(&mut self, deadline: Option<Instant>);

    /// Whether the host has asked for an orderly end.
    fn stop_asked(&mut self) -> bool;

    /// Frames that came and were dropped for want of pages.
    fn dropped(&self) -> u64 {
        0
    }

    /// Whether somebody at the console has asked how things are.
    fn status_asked(&mut self) -> bool {
        false
    }
}
