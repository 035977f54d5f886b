//! The grant table, version 1: which pages other domains may use.

use core::fmt;
use core::sync::atomic::Ordering;

use super::host::{self, GRANT_PAGES};
use super::hypercall::XenError;
use super::page::{PAGE_OCTETS, SharedPage};
use crate::boot::Host;

const ENTRY_OCTETS: usize = 8;
const ENTRIES_A_PAGE: usize = PAGE_OCTETS / ENTRY_OCTETS;
/// The first are the toolstack's.
const RESERVED: u32 = 8;

const PERMIT: u32 = 1;
const READ_ONLY: u32 = 1 << 2;
/// The other domain has the page mapped.
const IN_USE: u32 = (1 << 3) | (1 << 4);

/// What the other domain may do with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    ReadWrite,
}

/// Number of a grant, by which the other domain asks for the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grant(pub(super) u32);

/// Why a page cannot be granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GrantError {
    /// The table is full.
    Full,
    /// The domain that had the page before still uses it.
    InUse,
    /// Grants of version 1 cannot name the page's frame.
    Frame,
}

impl fmt::Display for GrantError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the grant table is full",
            Self::InUse => "a granted page is still in use",
            Self::Frame => "a page is too far up to be granted",
        })
    }
}

impl core::error::Error for GrantError {}

/// The table. Numbers are given out once: each page keeps its grant for ever.
#[derive(Debug)]
pub(super) struct Grants {
    pages: [SharedPage; GRANT_PAGES],
    next: u32,
}

impl Grants {
    /// Maps the table.
    pub(super) fn new(host: Host) -> Result<Self, XenError> {
        Ok(Self {
            pages: host::grant_table(host)?,
            next: RESERVED,
        })
    }

    /// A number that is not in use.
    pub(super) fn number(&mut self) -> Result<Grant, GrantError> {
        if self.next as usize >= GRANT_PAGES * ENTRIES_A_PAGE {
            return Err(GrantError::Full);
        }
        self.next += 1;
        Ok(Grant(self.next - 1))
    }

    /// Lets `domain` use `page` by `grant`; whoever could before, cannot any more.
    pub(super) fn give(
        &self,
        grant: Grant,
        domain: u16,
        page: SharedPage,
        access: Access,
    ) -> Result<(), GrantError> {
        self.withdraw(grant)?;
        let frame = host::frame(page).ok_or(GrantError::Frame)?;
        let (table, offset) = self.place(grant)?;
        let access = match access {
            Access::Read => PERMIT | READ_ONLY,
            Access::ReadWrite => PERMIT,
        };
        table.word(offset + 4).store(frame, Ordering::Relaxed);
        // The flags make the entry valid, so they come last.
        table
            .word(offset)
            .store(access | (u32::from(domain) << 16), Ordering::Release);
        Ok(())
    }

    /// Takes a grant back, unless the page is in use.
    pub(super) fn withdraw(&self, grant: Grant) -> Result<(), GrantError> {
        let (table, offset) = self.place(grant)?;
        let entry = table.word(offset);
        entry
            .try_update(Ordering::AcqRel, Ordering::Acquire, |flags| {
                (flags & IN_USE == 0).then_some(0)
            })
            .map_err(|_| GrantError::InUse)
            .map(drop)
    }

    fn place(&self, grant: Grant) -> Result<(SharedPage, usize), GrantError> {
        let index = grant.0 as usize;
        let page = self
            .pages
            .get(index / ENTRIES_A_PAGE)
            .ok_or(GrantError::Full)?;
        Ok((*page, index % ENTRIES_A_PAGE * ENTRY_OCTETS))
    }
}
