//! The pcap file format, with nanosecond timestamps.

use std::io::{self, Write};

use super::Packet;

pub(super) fn write<'a>(
    mut file: impl Write,
    snap_octets: u32,
    packets: impl Iterator<Item = &'a Packet>,
) -> io::Result<()> {
    file.write_all(&MAGIC_NANOSECONDS.to_le_bytes())?;
    file.write_all(&2_u16.to_le_bytes())?;
    file.write_all(&4_u16.to_le_bytes())?;
    // Time zone and accuracy, always 0.
    file.write_all(&[0; 8])?;
    file.write_all(&snap_octets.to_le_bytes())?;
    file.write_all(&LINK_TYPE_ETHERNET.to_le_bytes())?;
    for packet in packets {
        let seconds = packet.timestamp_ns / 1_000_000_000;
        let nanoseconds = packet.timestamp_ns % 1_000_000_000;
        for field in [
            seconds,
            nanoseconds,
            packet.octets.len() as u64,
            packet.original_len as u64,
        ] {
            // The format has 32 bits for each: until 2106.
            file.write_all(&u32::try_from(field).unwrap_or(u32::MAX).to_le_bytes())?;
        }
        file.write_all(&packet.octets)?;
    }
    file.flush()
}

const MAGIC_NANOSECONDS: u32 = 0xa1b2_3c4d;
const LINK_TYPE_ETHERNET: u32 = 1;
