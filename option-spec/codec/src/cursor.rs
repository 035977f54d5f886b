//! Reading fixed-size fields off the front of a slice, and writing them to one.

use core::net::{Ipv4Addr, Ipv6Addr};

/// What is left to read.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    /// The next `N` octets; `None` when fewer are left.
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[octet]| octet)
    }

    pub(crate) fn port(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn ipv4(&mut self) -> Option<Ipv4Addr> {
        self.array::<4>().map(Ipv4Addr::from)
    }

    pub(crate) fn ipv6(&mut self) -> Option<Ipv6Addr> {
        self.array::<16>().map(Ipv6Addr::from)
    }
}

/// Where the next field goes. The caller has checked that there is room for all of them.
pub(crate) struct Writer<'a>(&'a mut [u8]);

impl<'a> Writer<'a> {
    pub(crate) const fn new(octets: &'a mut [u8]) -> Self {
        Self(octets)
    }

    /// Writes `field`; a field that no longer fits is dropped whole.
    pub(crate) fn put(&mut self, field: &[u8]) {
        let room = core::mem::take(&mut self.0);
        if let Some((head, rest)) = room.split_at_mut_checked(field.len()) {
            head.copy_from_slice(field);
            self.0 = rest;
        }
    }
}
