//! The end of the handshake with the proxy, however the program learns of it.

use std::net::SocketAddrV4;
use std::num::NonZeroU8;

use synhop_client_core::{
    Answer, Completion, Endpoint, Entry, Fallback, Judgement, PUBLISHED_UNDERSTOOD, Phase,
    Progress, Request, Why, judge,
};
use synhop_option::V4Destination;

use crate::helper;
use crate::report::report;
use crate::state::{State, TRACKING, condemn};
use crate::sys::{Errno, Socket, TcpState};

/// A socket on its way through a proxy.
pub(crate) struct Flow {
    pub(crate) socket: Socket,
    /// The kernel's number of the socket.
    pub(crate) cookie: u64,
    /// Where the program wants to go.
    pub(crate) endpoint: Endpoint,
    pub(crate) proxy: SocketAddrV4,
    /// See [`Entry::syn_count`].
    pub(crate) syn_count: Option<NonZeroU8>,
}

impl Flow {
    pub(crate) fn entry(&self, phase: Phase) -> Entry {
        Entry {
            destination: self.endpoint.address,
            phase,
            syn_count: match phase {
                Phase::Connecting => self.syn_count,
                Phase::Proxied => None,
            },
        }
    }

    /// Whether a node took the flow.
    pub(crate) fn is_understood(&self, state: &State) -> bool {
        match self.outcome(state) {
            Some(Answer::Flow(flow)) => flow.progress == Progress::Understood,
            Some(Answer::Done | Answer::Unmarked | Answer::Refused(_)) | None => false,
        }
    }

    /// What became of the mark: from the socket itself if it says so, else from the helper.
    fn outcome(&self, state: &State) -> Option<Answer> {
        if restore_syn_count(self.socket, self.syn_count)
            && let Ok(destination) = V4Destination::new(self.endpoint.address)
        {
            let progress = Progress::Understood;
            return Some(Answer::Flow(synhop_client_core::Flow {
                progress,
                destination,
            }));
        }
        let answer = helper::ask(state, self.socket, Request::State);
        // It may have been published meanwhile.
        restore_syn_count(self.socket, self.syn_count);
        answer
    }
}

/// Puts the program's `TCP_SYNCNT` back where the kernel's program has left the outcome. Tells
/// whether it had: then a node took the flow, and there is nothing to ask the helper.
pub(crate) fn restore_syn_count(socket: Socket, before: Option<NonZeroU8>) -> bool {
    let Some(before) = before else {
        return false;
    };
    let is_published = socket.syn_count().map(NonZeroU8::get) == Some(PUBLISHED_UNDERSTOOD);
    if is_published {
        socket.set_syn_count(before);
    }
    is_published
}

/// What the program gets to see of a finished handshake. The fallback may have replaced the
/// connection; on a non-blocking socket it may be in progress (`EINPROGRESS`).
pub(crate) fn complete(state: &State, flow: &Flow, completion: Completion) -> Result<(), Errno> {
    let destination = flow.endpoint.address;
    let proxy = flow.proxy;
    match judge(completion, flow.outcome(state)) {
        // A reset may have come since: as long as the program knows of no connection, it can
        // be told in connect()'s own terms.
        Judgement::Proxied if flow.socket.tcp_state() == Some(TcpState::Closed) => {
            let error = flow.socket.take_error().err();
            Err(refuse(
                state,
                flow,
                error.unwrap_or(Errno::CONNECTION_RESET),
            ))
        }
        Judgement::Proxied => {
            TRACKING.put(flow.cookie, flow.entry(Phase::Proxied));
            report(state, destination, format_args!("through {proxy}"));
            Ok(())
        }
        Judgement::Refused(errno) => Err(refuse(state, flow, Errno::new(errno))),
        Judgement::NoNode(why) => fall_back(state, flow, why),
    }
}

/// The node took the flow and gave it up. It says so by a reset (SPEC section 6); a destination
/// addressed directly would have refused.
fn refuse(state: &State, flow: &Flow, error: Errno) -> Errno {
    TRACKING.remove(flow.cookie);
    let (proxy, errno) = (flow.proxy, error.get());
    let what = format_args!("through {proxy}: refused, errno {errno}");
    report(state, flow.endpoint.address, what);
    if error == Errno::CONNECTION_RESET {
        Errno::CONNECTION_REFUSED
    } else {
        error
    }
}

fn fall_back(state: &State, flow: &Flow, why: Why) -> Result<(), Errno> {
    let destination = flow.endpoint.address;
    let proxy = flow.proxy;
    TRACKING.remove(flow.cookie);
    // Before anything else: whatever follows, the program must not talk to this peer.
    flow.socket.dissolve()?;
    // Without an answer the option stays: a plain server ignores it (RFC 9293, MUST-6).
    let _ = helper::ask(state, flow.socket, Request::Unmark);
    match state.settings.policy.fallback {
        Fallback::Fail => {
            report(state, destination, format_args!("failed ({proxy}: {why})"));
            Err(Errno::CONNECTION_REFUSED)
        }
        Fallback::Direct => {
            report(state, destination, format_args!("direct ({proxy}: {why})"));
            if why.concerns_proxy() {
                condemn(proxy);
            }
            flow.socket.connect(flow.endpoint)
        }
    }
}

/// [`complete`] for a program that takes the handshake for finished: what the fallback starts
/// must be finished too, or time out.
pub(crate) fn complete_and_wait(
    state: &State,
    flow: &Flow,
    completion: Completion,
) -> Result<(), Errno> {
    match complete(state, flow, completion) {
        Err(Errno::IN_PROGRESS | Errno::INTERRUPTED) => {
            if flow.socket.wait_writable(DIRECT_CONNECT_MS) {
                flow.socket.take_error()
            } else {
                Err(Errno::TIMED_OUT)
            }
        }
        result => result,
    }
}

/// How long a non-blocking program may be held for a direct connect in the proxy's place: once
/// in a while, and there is no way to tell it "in progress again".
const DIRECT_CONNECT_MS: u32 = 5_000;
