//! The synhop option on Linux sockets, by a cgroup sockops program.
//!
//! * [`Attachment::mark`] has the option sent in the SYN of a socket that is about to connect, and
//!   [`Attachment::mark_state`] tells whether the SYN-ACK said "understood".
//! * [`Attachment::listen`] has the SYNs of a listener watched and answered; [`SynEvents`] tells of
//!   each while its handshake is still under way, [`saved_syn`] once more at `accept()`.
//!
//! The calls are synchronous and short; the one thing to wait for is [`SynEvents`], which any
//! event loop can poll.
//!
//! ```no_run
//! use std::net::{Ipv4Addr, SocketAddrV4};
//! use synhop_option::{Extra, SynOption, V4Destination};
//! use synhop_sockets::{Attachment, Config, SourceFill};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let attachment = Attachment::new(Config::default())?;
//! let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
//! let option = SynOption::V4 {
//!     // Filled in by the kernel.
//!     source: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
//!     destination: V4Destination::new(SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 1), 443))?,
//!     extra: Extra::Nothing,
//! };
//! attachment.mark(&socket, &option, SourceFill::FromSocket)?;
//! # Ok(())
//! # }
//! ```

mod abi;
mod attachment;
mod cgroup;
mod counters;
mod error;
mod event;
mod headers;
mod listen;
mod loader;
mod mark;
mod self_test;
mod sys;
mod tcp_socket;

pub use attachment::{Attachment, Config};
pub use cgroup::Cgroup;
pub use counters::Counters;
pub use error::AttachError;
pub use event::{SynEvent, SynEvents, saved_syn};
pub use listen::ListenError;
pub use mark::{MarkError, MarkState, Outcome, PUBLISHED_UNDERSTOOD, Progress, SourceFill};
pub use self_test::SelfTestError;
pub use tcp_socket::TcpSocket;

use error::map_io;
