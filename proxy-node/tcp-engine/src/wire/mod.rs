//! TCP headers: octets to meaning and back. Checksums are the shell's: a device may do them.

mod header;
mod options;

pub(crate) use header::{Fields, emit};
pub use header::{Flags, Header, HeaderError, Segment};
pub(crate) use options::SackBlocks;
pub use options::{Options, SackBlock, Timestamps};
