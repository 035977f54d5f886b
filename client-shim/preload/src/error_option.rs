//! What `getsockopt(SO_ERROR)` does: there a program learns how its non-blocking connect ended.

use synhop_client_core::{Completion, Endpoint, Entry, Form, NextHop, Phase};

use crate::completion::{Flow, complete_and_wait};
use crate::state::{State, TRACKING};
use crate::sys::{Errno, Socket, TcpState};

/// The value of `SO_ERROR`; `None`: the C library knows it.
pub(crate) fn pending_error(state: &State, socket: Socket) -> Option<Result<(), Errno>> {
    let flow = connecting(state, socket)?;
    let completion = match (socket.tcp_state()?, socket.take_error()) {
        // Asked before poll(2) said so.
        (TcpState::Connecting, Ok(())) => return Some(Ok(())),
        (TcpState::Other, Ok(())) => Completion::Established,
        // Somebody has fetched the error already.
        (TcpState::Closed, Ok(())) => Completion::Failed(Errno::CONNECTION_ABORTED.get()),
        (TcpState::Connecting | TcpState::Other | TcpState::Closed, Err(error)) => {
            Completion::Failed(error.get())
        }
    };
    Some(complete_and_wait(state, &flow, completion))
}

/// The socket's flow, if its handshake with the proxy is not known to have ended.
pub(crate) fn connecting(state: &State, socket: Socket) -> Option<Flow> {
    let cookie = socket.cookie()?;
    let Entry {
        destination,
        phase: Phase::Connecting,
        syn_count,
    } = TRACKING.get(cookie)?
    else {
        return None;
    };
    let NextHop::Proxy(proxy) = state.settings.policy.routes.next_hop(*destination.ip()) else {
        return None;
    };
    let form = if socket.is_inet6() {
        Form::Mapped
    } else {
        Form::Plain
    };
    Some(Flow {
        socket,
        cookie,
        endpoint: Endpoint {
            address: destination,
            form,
        },
        proxy,
        syn_count,
    })
}
