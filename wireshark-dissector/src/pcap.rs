//! The classic capture file format (draft-ietf-opsawg-pcap), written.

/// Raw IP packets, version 4 or 6.
const LINKTYPE_RAW: u32 = 101;
const MAGIC_MICROSECONDS: u32 = 0xa1b2_c3d4;
const SNAPSHOT_OCTETS: u32 = 65535;
/// 2023-11-14 22:13:20 UTC: some fixed time, so that a capture's octets never change.
const FIRST_SECOND: u32 = 1_700_000_000;

/// A packet as it was captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// What the capture holds.
    pub captured: Vec<u8>,
    /// How long the packet was on the wire, in octets.
    pub wire_octets: usize,
}

impl Packet {
    /// A packet that the capture holds whole.
    pub fn whole(octets: Vec<u8>) -> Self {
        Self {
            wire_octets: octets.len(),
            captured: octets,
        }
    }

    /// A packet of which the capture holds the first `captured_octets`.
    pub fn cut(mut octets: Vec<u8>, captured_octets: usize) -> Self {
        let wire_octets = octets.len();
        octets.truncate(captured_octets);
        Self {
            captured: octets,
            wire_octets,
        }
    }
}

/// The octets of a capture file with these packets, one a second.
///
/// # Panics
/// When a packet is longer than a capture file can say.
pub fn file<'a>(packets: impl IntoIterator<Item = &'a Packet>) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(MAGIC_MICROSECONDS.to_le_bytes());
    out.extend(2_u16.to_le_bytes()); // version 2.4
    out.extend(4_u16.to_le_bytes());
    out.extend([0; 8]); // reserved
    out.extend(SNAPSHOT_OCTETS.to_le_bytes());
    out.extend(LINKTYPE_RAW.to_le_bytes());
    for (second, packet) in (FIRST_SECOND..).zip(packets) {
        out.extend(second.to_le_bytes());
        out.extend(0_u32.to_le_bytes()); // microseconds
        out.extend(length(packet.captured.len()).to_le_bytes());
        out.extend(length(packet.wire_octets).to_le_bytes());
        out.extend(&packet.captured);
    }
    out
}

fn length(octets: usize) -> u32 {
    u32::try_from(octets).expect("a packet of at most 64 KiB")
}
