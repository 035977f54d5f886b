//! The states in which the client's handshake is incomplete.

use super::{
    Closed, Context, FlowInput, Joining, Order, Relaying, State, Step, failure, greeting, stay,
};
use crate::report::Outcome;
use crate::time::Time;

/// Opened by a SYN event: connecting onward while the client's handshake goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Early {
    pub(super) handshake_by: Time,
    pub(super) connect_by: Time,
}

/// Connected onward before the client's handshake was complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(super) handshake_by: Time,
    pub(super) connected_at: Time,
}

/// There will be no downstream leg; the client is told once it can be: when it is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Doomed {
    pub(super) handshake_by: Time,
    pub(super) outcome: Outcome,
    pub(super) connected_at: Option<Time>,
}

impl Early {
    pub(super) fn on(self, input: FlowInput, context: &Context<'_>) -> Step {
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
    pub(super) fn on(self, input: FlowInput, context: &Context<'_>) -> Step {
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
    pub(super) fn on(self, input: FlowInput, context: &Context<'_>) -> Step {
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
