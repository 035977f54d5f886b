//! The state machine of one flow: Early SYN Forwarding.

use crate::config::Timeouts;
use crate::event::{ConnectFailure, Relayed, Reply};
use crate::report::Outcome;
use crate::time::Time;

mod accepted;
mod pending;
#[cfg(test)]
mod state_table;

pub(crate) use accepted::{Joining, Relaying, Stopping};
pub(crate) use pending::{Doomed, Early, Ready};

/// Where a flow stands.
///
/// ```text
///        SYN event, admitted                      accept without an early flow
///               |                                              |
///               v          Accepted                            v
///        +------------+ --------------------------------> +---------+
///        |   Early    |                                   | Joining |
///        +------------+ -- Connected, no reply, -+        +---------+
///               |          ConnectFailed,        |          |     |
///     Connected |          connect timeout       |          |     |
///               v                                v          |     | ConnectFailed,
///        +------------+      ConnectFailed   +--------+     |     | no reply, timeout,
///        |   Ready    | -------------------> | Doomed |     |     | UpstreamReset
///        +------------+                      +--------+     |     |
///               |                                |          |     |
///      Accepted |    Connected +-----------------|----------+     |
///               v              v                 |                |
///        +-----------------------+               | Accepted       |
///        |       Relaying        |               |                |
///        +-----------------------+               |                |
///               |            | grace is over     |                |
///    RelayEnded |            v                   |                |
///               |      +----------+              |                |
///               |      | Stopping |              |                |
///               |      +----------+              |                |
///               v            v                   v                v
///        +-------------------------------------------------------------+
///        |                 Closed: reported, then forgotten            |
///        +-------------------------------------------------------------+
/// ```
///
/// Early, Ready and Doomed are *pending*: the client's handshake is incomplete. They also close
/// when that takes too long, when another attempt of the same leg supplants them, and at shutdown;
/// Joining closes at the last two. Nothing but its relay's end and the grace's end closes Relaying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Early(Early),
    Ready(Ready),
    Doomed(Doomed),
    Joining(Joining),
    Relaying(Relaying),
    Stopping(Stopping),
    Closed(Closed),
}

/// What can happen to a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlowInput {
    /// The upstream handshake is complete.
    Accepted,
    /// The downstream handshake is complete.
    Connected(Reply),
    /// It is not to be.
    ConnectFailed(ConnectFailure),
    /// The accepted upstream socket was reset.
    UpstreamReset,
    /// The relay is over.
    RelayEnded(Relayed),
    /// Time has passed; perhaps nothing is due.
    Deadline,
    /// The same leg has begun anew: what this flow waits for cannot come.
    Supplanted,
    /// The node stops.
    Shutdown,
    /// The node has stopped waiting for its relays.
    GraceOver,
}

/// What the shell is to do with the flow's sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Nothing,
    StartRelay,
    StopRelay,
    ResetUpstream,
    AbortDownstream,
    ResetBoth,
}

/// What is at the far end of the downstream leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A node, which has to reply to the option.
    Node,
    /// The destination.
    Server,
}

/// What a handler may know beside its state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) now: Time,
    pub(crate) peer: Peer,
    pub(crate) timeouts: &'a Timeouts,
}

/// A handler's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) state: State,
    pub(crate) order: Order,
}

/// Over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed {
    pub(crate) outcome: Outcome,
    pub(crate) connected_at: Option<Time>,
    pub(crate) accepted_at: Option<Time>,
    pub(crate) up_octets: u64,
    pub(crate) down_octets: u64,
}

impl State {
    /// A flow that a SYN event opens.
    pub(crate) fn early(context: &Context<'_>) -> Self {
        Self::Early(Early {
            handshake_by: context.now.after(context.timeouts.handshake),
            connect_by: context.now.after(context.timeouts.connect),
        })
    }

    /// A flow that an accept opens.
    pub(crate) fn late(context: &Context<'_>) -> Self {
        Self::Joining(Joining {
            connect_by: context.now.after(context.timeouts.connect),
            accepted_at: context.now,
        })
    }

    /// What `input` makes of this state.
    pub(crate) fn on(self, input: FlowInput, context: &Context<'_>) -> Step {
        match self {
            Self::Early(state) => state.on(input, context),
            Self::Ready(state) => state.on(input, context),
            Self::Doomed(state) => state.on(input, context),
            Self::Joining(state) => state.on(input, context),
            Self::Relaying(state) => state.on(input, context),
            Self::Stopping(state) => state.on(input, context),
            Self::Closed(state) => stay(Self::Closed(state)),
        }
    }

    /// Whether the client's handshake is incomplete.
    pub(crate) const fn is_pending(&self) -> bool {
        match self {
            Self::Early(_) | Self::Ready(_) | Self::Doomed(_) => true,
            Self::Joining(_) | Self::Relaying(_) | Self::Stopping(_) | Self::Closed(_) => false,
        }
    }

    /// When [`FlowInput::Deadline`] is due.
    pub(crate) fn deadline(&self) -> Option<Time> {
        match self {
            Self::Early(state) => Some(state.handshake_by.min(state.connect_by)),
            Self::Ready(state) => Some(state.handshake_by),
            Self::Doomed(state) => Some(state.handshake_by),
            Self::Joining(state) => Some(state.connect_by),
            Self::Stopping(state) => Some(state.report_by),
            Self::Relaying(_) | Self::Closed(_) => None,
        }
    }
}

impl Closed {
    const fn before_relay(
        outcome: Outcome,
        connected_at: Option<Time>,
        accepted_at: Option<Time>,
    ) -> Self {
        Self {
            outcome,
            connected_at,
            accepted_at,
            up_octets: 0,
            down_octets: 0,
        }
    }
}

/// A state that needs nothing done.
const fn stay(state: State) -> Step {
    Step {
        state,
        order: Order::Nothing,
    }
}

/// SPEC section 6.4: without a reply the far end may be a plain server, which would get somebody
/// else's octets.
const fn greeting(reply: Reply, peer: Peer) -> Result<(), Outcome> {
    match peer {
        Peer::Server => Ok(()),
        Peer::Node => match reply {
            Reply::Understood { cookie: _ } => Ok(()),
            Reply::Silent | Reply::NotAsked => Err(Outcome::NextHopSilent),
        },
    }
}

const fn failure(cause: ConnectFailure) -> Outcome {
    match cause {
        ConnectFailure::Refused => Outcome::Refused,
        ConnectFailure::Unreachable | ConnectFailure::Local => Outcome::Unreachable,
        ConnectFailure::TimedOut => Outcome::ConnectTimeout,
    }
}
