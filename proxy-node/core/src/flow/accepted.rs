//! The states in which the client has been accepted.

use core::time::Duration;

use super::{Closed, Context, FlowInput, Order, State, Step, failure, greeting, stay};
use crate::event::{RelayEnd, Relayed};
use crate::report::Outcome;
use crate::time::Time;

/// The client is there, the downstream leg is not yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Joining {
    pub(super) connect_by: Time,
    pub(super) accepted_at: Time,
}

/// Both legs are established.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Relaying {
    pub(super) connected_at: Time,
    pub(super) accepted_at: Time,
}

/// The relay was told to stop and has not said what it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stopping {
    pub(super) report_by: Time,
    pub(super) relaying: Relaying,
}

impl Joining {
    pub(super) fn on(self, input: FlowInput, context: &Context<'_>) -> Step {
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
    pub(super) fn on(self, input: FlowInput, context: &Context<'_>) -> Step {
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
    pub(super) fn on(self, input: FlowInput, context: &Context<'_>) -> Step {
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
