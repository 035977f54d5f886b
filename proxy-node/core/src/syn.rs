//! A SYN as the shell saw it.

use synhop_option::{OptionError, SynOption};

use crate::leg::{Isn, Leg};

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
