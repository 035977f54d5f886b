//! A SYN as the shell saw it.

use core::net::SocketAddr;

use synhop_option::{OptionError, SynOption};

use crate::leg::{Isn, Leg, canonical};

/// A SYN on the upstream leg: from the early event, or saved and read at the accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syn {
    /// Between whom.
    pub leg: Leg,
    /// Its sequence number.
    pub isn: Isn,
    /// The codec's verdict on its options.
    pub option: Result<Option<SynOption>, OptionError>,
}

impl Syn {
    /// Where the flow is going, v4-mapped addresses unmapped (SPEC section 8.2); `None` without a
    /// legal option.
    pub fn destination(&self) -> Option<SocketAddr> {
        let option = self.option.ok().flatten()?;
        Some(canonical(option.destination(self.leg.local().port())))
    }
}
