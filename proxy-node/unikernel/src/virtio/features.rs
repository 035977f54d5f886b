//! What the network device can do (virtio 1.1 section 5.1.3).

use super::mmio::{Register, Transport};

pub(super) const CHECKSUM: u64 = 1 << 0;
pub(super) const GUEST_CHECKSUM: u64 = 1 << 1;
pub(super) const MAC: u64 = 1 << 5;
pub(super) const GUEST_TSO4: u64 = 1 << 7;
pub(super) const GUEST_TSO6: u64 = 1 << 8;
pub(super) const HOST_TSO4: u64 = 1 << 11;
pub(super) const HOST_TSO6: u64 = 1 << 12;
pub(super) const MERGED_BUFFERS: u64 = 1 << 15;
pub(super) const VERSION_1: u64 = 1 << 32;

/// What the device offers.
pub(super) fn offered(transport: &Transport) -> u64 {
    let half = |n| {
        transport.write(Register::DeviceFeaturesSelect, n);
        u64::from(transport.read(Register::DeviceFeatures))
    };
    half(0) | half(1) << 32
}

/// Tells the device what is used.
pub(super) fn accept(transport: &Transport, features: u64) {
    let halves = [features & 0xffff_ffff, features >> 32];
    for (n, half) in (0..).zip(halves) {
        transport.write(Register::DriverFeaturesSelect, n);
        #[expect(clippy::cast_possible_truncation, reason = "a half")]
        transport.write(Register::DriverFeatures, half as u32);
    }
}

/// Of what is offered, what is used; each only with what it needs.
pub(super) fn choose(offered: u64) -> u64 {
    let mut chosen = offered & (VERSION_1 | MAC | MERGED_BUFFERS | CHECKSUM | GUEST_CHECKSUM);
    if chosen & CHECKSUM != 0 {
        chosen |= offered & (HOST_TSO4 | HOST_TSO6);
    }
    // A merged frame can be longer than a page.
    let needed = GUEST_CHECKSUM | MERGED_BUFFERS;
    if chosen & needed == needed {
        chosen |= offered & (GUEST_TSO4 | GUEST_TSO6);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_come_with_what_they_need() {
        let all = u64::MAX;
        assert_eq!(choose(all) & GUEST_TSO6, GUEST_TSO6);
        assert_eq!(choose(all & !MERGED_BUFFERS) & GUEST_TSO4, 0);
        assert_eq!(choose(all & !CHECKSUM) & HOST_TSO4, 0);
        assert_eq!(choose(VERSION_1 | GUEST_TSO4), VERSION_1);
    }
}
