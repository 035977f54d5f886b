//! The MMIO transport (virtio 1.1 section 4.2).

use core::ptr::{
    read_volatile, with_exposed_provenance, with_exposed_provenance_mut, write_volatile,
};

use crate::command_line::CommandLine;

/// "virt".
const MAGIC: u32 = 0x7472_6976;
/// The transport without the legacy interface.
const MODERN: u32 = 2;

/// Where QEMU's microvm has its transports, as many as it has at most.
const FIRST: u32 = 0xfeb0_0000;
const STEP: u32 = 0x200;
const TRANSPORTS: u32 = 24;
/// The interrupt line of the first of them, if there is one interrupt controller.
const FIRST_LINE: u32 = 5;

/// Devices are in the last GiB below 4 GiB, which is mapped uncached.
const DEVICES: u32 = 0xc000_0000;

/// A buffer was used; the configuration changed.
const ALL_INTERRUPTS: u32 = 0b11;

/// Registers.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(super) enum Register {
    Magic = 0x000,
    Version = 0x004,
    DeviceId = 0x008,
    DeviceFeatures = 0x010,
    DeviceFeaturesSelect = 0x014,
    DriverFeatures = 0x020,
    DriverFeaturesSelect = 0x024,
    QueueSelect = 0x030,
    QueueSizeMost = 0x034,
    QueueSize = 0x038,
    QueueReady = 0x044,
    QueueNotify = 0x050,
    InterruptAcknowledge = 0x064,
    Status = 0x070,
    QueueDescriptors = 0x080,
    QueueAvailable = 0x090,
    QueueUsed = 0x0a0,
    Configuration = 0x100,
}

/// A transport's address and its interrupt line, if that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) address: u32,
    pub(crate) line: Option<u32>,
}

impl Place {
    /// All places where a transport may be: what the command line says in Linux's way,
    /// `virtio_mmio.device=SIZE@ADDRESS:LINE`, or else those of QEMU's microvm. The first device
    /// of QEMU's command line is at the highest address, and comes first.
    pub(crate) fn all(line: &CommandLine) -> impl Iterator<Item = Self> + '_ {
        let told = line.values("virtio_mmio.device").next().is_some();
        let scanned = (0..TRANSPORTS).rev().filter(move |_| !told).map(|n| Self {
            address: FIRST + n * STEP,
            line: (n < 8).then_some(FIRST_LINE + n),
        });
        let told = line.values("virtio_mmio.device").filter_map(Self::parse);
        told.chain(scanned)
    }

    fn parse(word: &str) -> Option<Self> {
        let (_size, rest) = word.split_once('@')?;
        let mut parts = rest.split(':');
        let address = number(parts.next()?)?;
        let line = number(parts.next()?)?;
        (address >= DEVICES).then_some(Self {
            address,
            line: Some(line),
        })
    }
}

fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// A transport's registers.
#[derive(Debug)]
pub(super) struct Transport {
    address: u32,
}

/// What is at a place.
#[derive(Debug)]
pub(super) enum Found {
    /// Nothing, or no device behind the transport.
    Nothing,
    /// A transport with the legacy interface.
    Legacy,
    /// A device of this kind.
    Device(Transport, u32),
}

impl Transport {
    /// Looks at a place.
    ///
    /// # Safety
    /// `place` must be mapped, and reading there must be harmless: nothing, or a transport that
    /// nobody else uses.
    pub(super) unsafe fn probe(place: Place) -> Found {
        let transport = Self {
            address: place.address,
        };
        if transport.read(Register::Magic) != MAGIC {
            return Found::Nothing;
        }
        match (
            transport.read(Register::Version),
            transport.read(Register::DeviceId),
        ) {
            (_, 0) => Found::Nothing,
            (MODERN, kind) => Found::Device(transport, kind),
            (_, _) => Found::Legacy,
        }
    }

    /// Reads a register.
    pub(super) fn read(&self, register: Register) -> u32 {
        let address = (self.address + register as u32) as usize;
        // SAFETY: `probe` was promised that a transport can be here; no register's reading has an
        // effect on memory.
        unsafe { read_volatile(with_exposed_provenance(address)) }
    }

    /// Writes a register that gives the device no access to memory.
    pub(super) fn write(&self, register: Register, value: u32) {
        let address = (self.address + register as u32) as usize;
        // SAFETY: `probe` found a transport here. The device comes to memory by the queues'
        // addresses alone, which `set_queue` writes.
        unsafe { write_volatile(with_exposed_provenance_mut(address), value) };
    }

    /// Tells the device where a queue's three parts are.
    ///
    /// # Safety
    /// They must be laid out for the size that was set, and stay until the device is reset.
    pub(super) unsafe fn set_queue(&self, descriptors: u64, available: u64, used: u64) {
        self.write_wide(Register::QueueDescriptors, descriptors);
        self.write_wide(Register::QueueAvailable, available);
        self.write_wide(Register::QueueUsed, used);
        self.write(Register::QueueReady, 1);
    }

    fn write_wide(&self, register: Register, value: u64) {
        #[expect(clippy::cast_possible_truncation, reason = "the low half")]
        let low = value as u32;
        let high = (value >> 32) as u32;
        self.write(register, low);
        let address = (self.address + register as u32 + 4) as usize;
        // SAFETY: the other half of the same register.
        unsafe { write_volatile(with_exposed_provenance_mut(address), high) };
    }

    /// An octet of the device's own configuration.
    pub(super) fn configuration(&self, offset: u8) -> u8 {
        let address = self.address + Register::Configuration as u32 + u32::from(offset);
        // SAFETY: as in `read`.
        unsafe { read_volatile(with_exposed_provenance(address as usize)) }
    }

    /// Takes note of all interrupts, so that the line goes down.
    pub(super) fn acknowledge(&self) {
        self.write(Register::InterruptAcknowledge, ALL_INTERRUPTS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_or_scanned() {
        let line = "a=b virtio_mmio.device=512@0xfeb00e00:12 virtio_mmio.device=4K@0xd0000000:5:1 \
                    virtio_mmio.device=512@0x1000:3 virtio_mmio.device=nonsense";
        let line = CommandLine::from_octets(line.bytes());
        let told: Vec<_> = Place::all(&line)
            .map(|place| (place.address, place.line))
            .collect();
        assert_eq!(told, [(0xfeb0_0e00, Some(12)), (0xd000_0000, Some(5))]);

        let none = CommandLine::new();
        assert_eq!(Place::all(&none).count(), 24);
        let last = Place::all(&none)
            .last()
            .map(|place| (place.address, place.line));
        assert_eq!(last, Some((FIRST, Some(5))));
    }
}
