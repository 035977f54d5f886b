//! Reading fixed-size fields off the front of a slice, and writing them to one.

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::error::FormError;

/// What is left to read of an option's body.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    /// What a field that is not there is reported as.
    short: FormError,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(body: &'a [u8], short: FormError) -> Self {
        Self { rest: body, short }
    }

    /// The next `N` octets.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], FormError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(self.short)?;
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn port(&mut self) -> Result<u16, FormError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn ipv4(&mut self) -> Result<Ipv4Addr, FormError> {
        self.array().map(Ipv4Addr::from_octets)
    }

    pub(crate) fn ipv6(&mut self) -> Result<Ipv6Addr, FormError> {
        self.array().map(Ipv6Addr::from_octets)
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
