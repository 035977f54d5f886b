//! The state machine of one flow: Early SYN Forwarding.

use core::time::Duration;

use crate::config::Timeouts;
use crate::event::{ConnectFailure, RelayEnd, Relayed, Reply};
use crate::report::Outcome;
use crate::time::Time;

#[cfg(test)]
mod state_table;

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

/// Opened by a SYN event: connecting onward while the client's handshake goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Early {
    handshake_by: Time,
    connect_by: Time,
}

/// Connected onward before the client's handshake was complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    handshake_by: Time,
    connected_at: Time,
}

/// There will be no downstream leg; the client is told once it can be: when it is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Doomed {
    handshake_by: Time,
    outcome: Outcome,
    connected_at: Option<Time>,
}

/// The client is there, the downstream leg is not yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Joining {
    connect_by: Time,
    accepted_at: Time,
}

/// Both legs are established.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Relaying {
    connected_at: Time,
    accepted_at: Time,
}

/// The relay was told to stop and has not said what it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stopping {
    report_by: Time,
    relaying: Relaying,
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

impl Early {
    fn on(self, input: FlowInput, context: &Context<'_>) -> Step {
        match input {
            FlowInput::Accepted => stay(State::Joining(Joining {
                connect_by: self.connect_by,
                accepted_at: context.now,
            })),
            FlowInput::Connected(reply) => match greeting(reply, context.peer) {
                Ok(()) => stay(State::Ready(Ready {
                    handshake_by: self.handshake_by,
                    connected_at: context.now,
                })),
                Err(outcome) => Step {
                    state: self.doomed(outcome, Some(context.now)),
                    order: Order::AbortDownstream,
                },
            },
            FlowInput::ConnectFailed(cause) => stay(self.doomed(failure(cause), None)),
            FlowInput::Deadline if context.now >= self.handshake_by => {
                Self::closed(Outcome::ClientVanished)
            }
            FlowInput::Deadline if context.now >= self.connect_by => Step {
                state: self.doomed(Outcome::ConnectTimeout, None),
                order: Order::AbortDownstream,
            },
            FlowInput::Supplanted => Self::closed(Outcome::ClientVanished),
            FlowInput::Shutdown | FlowInput::GraceOver => Self::closed(Outcome::Shutdown),
            // Neither socket nor relay exists that these could be about.
            FlowInput::UpstreamReset | FlowInput::RelayEnded(_) | FlowInput::Deadline => {
                stay(State::Early(self))
            }
        }
    }

    fn doomed(self, outcome: Outcome, connected_at: Option<Time>) -> State {
        State::Doomed(Doomed {
            handshake_by: self.handshake_by,
            outcome,
            connected_at,
        })
    }

    const fn closed(outcome: Outcome) -> Step {
        Step {
            state: State::Closed(Closed::before_relay(outcome, None, None)),
            order: Order::AbortDownstream,
        }
    }
}

impl Ready {
    fn on(self, input: FlowInput, context: &Context<'_>) -> Step {
        match input {
            FlowInput::Accepted => Step {
                state: State::Relaying(Relaying {
                    connected_at: self.connected_at,
                    accepted_at: context.now,
                }),
                order: Order::StartRelay,
            },
            // The connection died while it waited for the client.
            FlowInput::ConnectFailed(cause) => stay(State::Doomed(Doomed {
                handshake_by: self.handshake_by,
                outcome: failure(cause),
                connected_at: Some(self.connected_at),
            })),
            FlowInput::Deadline if context.now >= self.handshake_by => {
                self.closed(Outcome::ClientVanished)
            }
            FlowInput::Supplanted => self.closed(Outcome::ClientVanished),
            FlowInput::Shutdown | FlowInput::GraceOver => self.closed(Outcome::Shutdown),
            FlowInput::Connected(_)
            | FlowInput::UpstreamReset
            | FlowInput::RelayEnded(_)
            | FlowInput::Deadline => stay(State::Ready(self)),
        }
    }

    fn closed(self, outcome: Outcome) -> Step {
        Step {
            state: State::Closed(Closed::before_relay(outcome, Some(self.connected_at), None)),
            order: Order::AbortDownstream,
        }
    }
}

impl Doomed {
    fn on(self, input: FlowInput, context: &Context<'_>) -> Step {
        match input {
            // The verdict on the accept resets the socket: there is nothing left to order.
            FlowInput::Accepted => self.closed(Some(context.now)),
            FlowInput::Deadline if context.now >= self.handshake_by => self.closed(None),
            // What doomed the flow is the better reason.
            FlowInput::Supplanted | FlowInput::Shutdown | FlowInput::GraceOver => self.closed(None),
            // A second failure is the answer to an abort that crossed it.
            FlowInput::Connected(_)
            | FlowInput::ConnectFailed(_)
            | FlowInput::UpstreamReset
            | FlowInput::RelayEnded(_)
            | FlowInput::Deadline => stay(State::Doomed(self)),
        }
    }

    fn closed(self, accepted_at: Option<Time>) -> Step {
        stay(State::Closed(Closed::before_relay(
            self.outcome,
            self.connected_at,
            accepted_at,
        )))
    }
}

impl Joining {
    fn on(self, input: FlowInput, context: &Context<'_>) -> Step {
        match input {
            FlowInput::Connected(reply) => match greeting(reply, context.peer) {
                Ok(()) => Step {
                    state: State::Relaying(Relaying {
                        connected_at: context.now,
                        accepted_at: self.accepted_at,
                    }),
                    order: Order::StartRelay,
                },
                Err(outcome) => Step {
                    state: self.closed(outcome, Some(context.now)),
                    order: Order::ResetBoth,
                },
            },
            // The client sees a reset, as it would from the server.
            FlowInput::ConnectFailed(cause) => Step {
                state: self.closed(failure(cause), None),
                order: Order::ResetUpstream,
            },
            FlowInput::Deadline if context.now >= self.connect_by => {
                self.reset(Outcome::ConnectTimeout)
            }
            // A new attempt of the leg was accepted: the client has given this one up.
            FlowInput::UpstreamReset | FlowInput::Supplanted => self.reset(Outcome::ResetByClient),
            FlowInput::Shutdown | FlowInput::GraceOver => self.reset(Outcome::Shutdown),
            FlowInput::Accepted | FlowInput::RelayEnded(_) | FlowInput::Deadline => {
                stay(State::Joining(self))
            }
        }
    }

    fn reset(self, outcome: Outcome) -> Step {
        Step {
            state: self.closed(outcome, None),
            order: Order::ResetBoth,
        }
    }

    fn closed(self, outcome: Outcome, connected_at: Option<Time>) -> State {
        State::Closed(Closed::before_relay(
            outcome,
            connected_at,
            Some(self.accepted_at),
        ))
    }
}

impl Relaying {
    fn on(self, input: FlowInput, context: &Context<'_>) -> Step {
        match input {
            FlowInput::RelayEnded(relayed) => self.closed(relayed, relay_outcome(relayed.end)),
            FlowInput::GraceOver => Step {
                state: State::Stopping(Stopping {
                    report_by: context.now.after(STOP_BOUND),
                    relaying: self,
                }),
                order: Order::StopRelay,
            },
            // The relay has both sockets and tells how they ended; at shutdown it has its grace.
            FlowInput::Accepted
            | FlowInput::Connected(_)
            | FlowInput::ConnectFailed(_)
            | FlowInput::UpstreamReset
            | FlowInput::Deadline
            | FlowInput::Supplanted
            | FlowInput::Shutdown => stay(State::Relaying(self)),
        }
    }

    fn closed(self, relayed: Relayed, outcome: Outcome) -> Step {
        stay(State::Closed(Closed {
            outcome,
            connected_at: Some(self.connected_at),
            accepted_at: Some(self.accepted_at),
            up_octets: relayed.up_octets,
            down_octets: relayed.down_octets,
        }))
    }
}

impl Stopping {
    fn on(self, input: FlowInput, context: &Context<'_>) -> Step {
        match input {
            // A relay that ended by itself just before it was told to keeps its own reason.
            FlowInput::RelayEnded(relayed) => {
                self.relaying.closed(relayed, relay_outcome(relayed.end))
            }
            FlowInput::Deadline if context.now >= self.report_by => Step {
                order: Order::ResetBoth,
                ..self.relaying.closed(UNTOLD, Outcome::Shutdown)
            },
            FlowInput::Accepted
            | FlowInput::Connected(_)
            | FlowInput::ConnectFailed(_)
            | FlowInput::UpstreamReset
            | FlowInput::Deadline
            | FlowInput::Supplanted
            | FlowInput::Shutdown
            | FlowInput::GraceOver => stay(State::Stopping(self)),
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

/// SPEC section 5: without a reply the far end may be a plain server, which would get somebody
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

const fn relay_outcome(end: RelayEnd) -> Outcome {
    match end {
        RelayEnd::Closed => Outcome::Closed,
        RelayEnd::ResetByClient => Outcome::ResetByClient,
        RelayEnd::ResetByServer => Outcome::ResetByServer,
        RelayEnd::Idle => Outcome::IdleTimeout,
        RelayEnd::Stopped => Outcome::Shutdown,
    }
}

/// How long a relay may take to say what it did. It only has to close two sockets.
const STOP_BOUND: Duration = Duration::from_secs(1);

/// What a relay did that never said so.
const UNTOLD: Relayed = Relayed {
    end: RelayEnd::Stopped,
    up_octets: 0,
    down_octets: 0,
};
