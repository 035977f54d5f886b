//! What `getpeername()` does: the program's peer is the destination, not the proxy.

use std::net::SocketAddrV4;

use synhop_client_core::{
    Answer, Completion, Endpoint, Entry, Fallback, Phase, Progress, Request, SockAddr,
};

use crate::completion::{Flow, complete_and_wait};
use crate::error_option::connecting;
use crate::helper;
use crate::state::{State, TRACKING};
use crate::sys::{Errno, Socket, TcpState};

/// What the program is told.
pub(crate) enum Peer {
    /// What the C library says.
    PassThrough,
    /// This instead.
    Is(Endpoint),
    /// There is none.
    Gone(Errno),
}

/// The peer of `socket`.
pub(crate) fn peer(state: &State, socket: Socket) -> Peer {
    // Some programs ask for the peer to learn whether their non-blocking connect has succeeded.
    if let Some(flow) = connecting(state, socket) {
        let completion = match socket.tcp_state() {
            Some(TcpState::Other) => Completion::Established,
            Some(TcpState::Closed) => match failed(state, &flow) {
                Some(completion) => completion,
                None => return Peer::PassThrough,
            },
            Some(TcpState::Connecting) | None => return Peer::PassThrough,
        };
        if let Err(error) = complete_and_wait(state, &flow, completion) {
            return Peer::Gone(error);
        }
    }
    let Some(SockAddr::V4(real)) = socket.peer() else {
        return Peer::PassThrough;
    };
    if !state.settings.policy.routes.is_proxy(real.address) {
        return Peer::PassThrough;
    }
    match destination(state, socket) {
        Some(destination) => Peer::Is(real.with_address(destination)),
        None => Peer::PassThrough,
    }
}

/// The proxy could not be connected to. `None`: there is no peer to tell of, nor will be; the error
/// stays where the program will look for it.
fn failed(state: &State, flow: &Flow) -> Option<Completion> {
    match state.settings.policy.fallback {
        Fallback::Fail => None,
        Fallback::Direct if flow.is_understood(state) => None,
        Fallback::Direct => {
            let error = flow.socket.take_error().err()?;
            Some(Completion::Failed(error.get()))
        }
    }
}

/// From the table or, when another program made the connection before exec(2), from the helper.
fn destination(state: &State, socket: Socket) -> Option<SocketAddrV4> {
    let cookie = socket.cookie()?;
    if let Some(entry) = TRACKING.get(cookie) {
        return Some(entry.destination);
    }
    // After a fallback the peer is the destination itself.
    let SockAddr::V4(real) = socket.peer()? else {
        return None;
    };
    if !state.settings.policy.routes.is_proxy(real.address) {
        return None;
    }
    match helper::ask(state, socket, Request::State)? {
        Answer::Flow(flow) if flow.progress == Progress::Understood => {
            let destination = flow.destination.get();
            let phase = Phase::Proxied;
            let syn_count = None;
            let entry = Entry {
                destination,
                phase,
                syn_count,
            };
            TRACKING.put(cookie, entry);
            Some(destination)
        }
        Answer::Flow(_) | Answer::Done | Answer::Unmarked | Answer::Refused(_) => None,
    }
}
