//! The synhop TCP option: a codec for every form of `SPEC.md`, version 1.
//!
//! Two layers, as SPEC section 4 describes them:
//!
//! * [`View`] frames one TCP option: its length is checked, its meaning is not.
//! * [`SynOption`] and [`SynAckOption`] are meaning: a form that SPEC does not know, or a
//!   destination that no flow can have, cannot be built.
//!
//! [`syn_option`] and [`syn_ack_option`] find the option among the others of a segment,
//! [`append`] puts it behind them.
//!
//! No allocation, no clock, no unsafe code; nothing here panics on octets from outside.
#![no_std]
#![forbid(unsafe_code)]

mod cursor;
mod destination;
mod error;
mod list;
mod syn;
mod syn_ack;
mod units;
mod view;

pub use destination::{V4Destination, V6Destination, V6Host};
pub use error::{AppendError, BufferTooSmall, DestinationError, FormError, ListError, OptionError};
pub use list::{MAX_OPTIONS_OCTETS, append, syn_ack_option, syn_option};
pub use syn::{Extra, SynOption};
pub use syn_ack::SynAckOption;
pub use units::{Cookie, ExId, Family, HopsLeft, Kind, Segment};
pub use view::{Options, View};
