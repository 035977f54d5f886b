//! Emulated links: what they do to frames, and the thread that does it.
//!
//! A link is a TAP device in each of two namespaces. What the kernel sends
//! into one is picked up from a packet ring with the kernel's own timestamp,
//! and written to the other when timestamp + queueing + serialisation + delay
//! have passed. Being late in picking a frame up therefore costs nothing as
//! long as it is done before the frame is due.

mod emulator;
mod histogram;
mod lane;
mod port;
mod shaper;
mod spec;
mod stats;
mod waiting;

pub use crate::sys::Priority;
pub(crate) use emulator::{Control, Emulator};
pub(crate) use port::Port;
pub use shaper::{Fate, Loss, Shaper};
pub use spec::{LinkSpec, Queue};
pub use stats::{DirectionStats, LinkStats};

/// One end of a link: `Left` is the client's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum End {
    /// Towards the client.
    Left,
    /// Towards the server.
    Right,
}

impl End {
    /// The other end of the same link.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }
}

/// The direction in which frames cross a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Heading {
    /// From client to server: requests.
    ToServer,
    /// From server to client: responses.
    ToClient,
}

impl Heading {
    /// The end at which frames of this direction enter the link.
    pub const fn entry(self) -> End {
        match self {
            Self::ToServer => End::Left,
            Self::ToClient => End::Right,
        }
    }
}

/// What a middlebox does with a frame that it has seen, and maybe changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Pass,
    /// It is lost.
    Drop,
}

/// Code between a link's two ends: it sees every frame of one direction,
/// Ethernet header first, before the link's own impairments, and may change
/// it. It runs on the emulator's thread: keep it short, let it not panic.
pub type Middlebox = Box<dyn FnMut(&mut Vec<u8>) -> Verdict + Send>;
