//! What `connect()` does.

use std::net::SocketAddrV4;
use std::num::NonZeroU8;

use synhop_client_core::{
    Answer, Completion, Decision, Endpoint, Fallback, Outcome, PUBLISHED_UNDERSTOOD, PassReason,
    Phase, Request, SockAddr, Why,
};
use synhop_option::V4Destination;

use crate::completion::{Flow, complete, restore_syn_count};
use crate::helper;
use crate::report::report;
use crate::state::{State, TRACKING, is_condemned};
use crate::sys::{Errno, Socket, TcpState};

/// Who does the call.
pub(crate) enum Verdict {
    /// The C library, with the program's own arguments.
    PassThrough,
    /// It is done, with this result.
    Done(Result<(), Errno>),
}

/// Decides a `connect()` of `socket` to the `struct sockaddr` in `octets`.
pub(crate) fn connect(state: &State, socket: Socket, octets: &[u8]) -> Verdict {
    let Some(address) = SockAddr::parse(octets) else {
        return Verdict::PassThrough;
    };
    let endpoint = match address {
        SockAddr::V4(endpoint) => endpoint,
        SockAddr::V6(_) | SockAddr::Unspecified => {
            forget(state, socket);
            return Verdict::PassThrough;
        }
    };
    match state.settings.policy.decide(socket.kind(), endpoint) {
        Decision::Pass(PassReason::NotTcp) => Verdict::PassThrough,
        Decision::Pass(reason) => {
            report(state, endpoint.address, format_args!("direct ({reason})"));
            forget(state, socket);
            Verdict::PassThrough
        }
        Decision::Proxy { proxy, destination } => {
            let Some(cookie) = socket.cookie() else {
                return Verdict::PassThrough;
            };
            let entry = TRACKING.get(cookie);
            let flow = Flow {
                socket,
                cookie,
                endpoint,
                proxy,
                syn_count: entry.and_then(|entry| entry.syn_count),
            };
            match (entry.map(|entry| entry.phase), socket.tcp_state()) {
                (Some(Phase::Connecting), _)
                    if entry.is_some_and(|entry| entry.destination == endpoint.address) =>
                {
                    Verdict::Done(ask_again(state, &flow))
                }
                (_, Some(TcpState::Closed)) => start(state, &flow, destination),
                // Listening or connected: the kernel knows what to answer.
                (_, Some(TcpState::Connecting | TcpState::Other) | None) => Verdict::PassThrough,
            }
        }
    }
}

/// The first `connect()` of a socket, or of its next life.
fn start(state: &State, flow: &Flow, destination: V4Destination) -> Verdict {
    // Nobody may have asked for the outcome of the one before.
    restore_syn_count(flow.socket, flow.syn_count);
    let proxy = flow.proxy;
    let fallback = state.settings.policy.fallback;
    if fallback == Fallback::Direct && is_condemned(proxy) {
        let why = format_args!("direct ({proxy} is left out for a minute)");
        report(state, flow.endpoint.address, why);
        forget(state, flow.socket);
        return Verdict::PassThrough;
    }
    let syn_count = flow.socket.syn_count().filter(|it| !is_sentinel(*it));
    let flow = &Flow { syn_count, ..*flow };
    let outcome = match syn_count {
        Some(_) => Outcome::Published,
        None => Outcome::Asked,
    };
    let mark = Request::Mark {
        destination,
        proxy,
        outcome,
    };
    match helper::ask(state, flow.socket, mark) {
        Some(Answer::Done) => Verdict::Done(connect_marked(state, flow)),
        Some(Answer::Refused(refusal)) => {
            without_helper(state, flow.endpoint.address, format_args!("{refusal}"))
        }
        Some(Answer::Flow(_) | Answer::Unmarked) | None => {
            let why = Why::HelperGone;
            without_helper(state, flow.endpoint.address, format_args!("{why}"))
        }
    }
}

/// Where the program has this as its own `TCP_SYNCNT`, the outcome cannot be read there.
fn is_sentinel(syn_count: NonZeroU8) -> bool {
    syn_count.get() == PUBLISHED_UNDERSTOOD
}

/// Nothing was done to the socket, nor can be.
fn without_helper(
    state: &State,
    destination: SocketAddrV4,
    why: std::fmt::Arguments<'_>,
) -> Verdict {
    match state.settings.policy.fallback {
        Fallback::Direct => {
            report(state, destination, format_args!("direct ({why})"));
            Verdict::PassThrough
        }
        Fallback::Fail => {
            report(state, destination, format_args!("failed ({why})"));
            Verdict::Done(Err(Errno::CONNECTION_REFUSED))
        }
    }
}

fn connect_marked(state: &State, flow: &Flow) -> Result<(), Errno> {
    match flow.socket.connect(flow.proxy_endpoint()) {
        Ok(()) => complete(state, flow, Completion::Established),
        // EINTR and an elapsed SO_SNDTIMEO leave a blocking socket connecting, too.
        Err(error @ (Errno::IN_PROGRESS | Errno::INTERRUPTED)) => {
            TRACKING.put(flow.cookie, flow.entry(Phase::Connecting));
            Err(error)
        }
        Err(error) => complete(state, flow, Completion::Failed(error.get())),
    }
}

/// A further `connect()` while the handshake with the proxy runs, or after its end: one of the
/// ways to learn of the end.
fn ask_again(state: &State, flow: &Flow) -> Result<(), Errno> {
    let result = flow.socket.connect(flow.proxy_endpoint());
    match result {
        Err(Errno::ALREADY | Errno::IN_PROGRESS | Errno::INTERRUPTED) => result,
        Ok(()) | Err(Errno::IS_CONNECTED) => {
            match complete(state, flow, Completion::Established) {
                // As the kernel would have answered for a connection to the destination.
                Ok(()) => result,
                Err(Errno::IN_PROGRESS) => Err(Errno::ALREADY),
                Err(error) => Err(error),
            }
        }
        Err(error) => match complete(state, flow, Completion::Failed(error.get())) {
            Err(Errno::IN_PROGRESS) => Err(Errno::ALREADY),
            other => other,
        },
    }
}

/// No SYN of the socket shall carry an option any more.
fn forget(state: &State, socket: Socket) {
    if let Some(cookie) = socket.cookie()
        && let Some(entry) = TRACKING.remove(cookie)
    {
        restore_syn_count(socket, entry.syn_count);
        // Without an answer the option stays: a plain server ignores it (RFC 9293, MUST-6).
        let _ = helper::ask(state, socket, Request::Unmark);
    }
}

impl Flow {
    /// The proxy, written as the program writes the destination: an `AF_INET6` socket takes no
    /// `sockaddr_in`.
    fn proxy_endpoint(&self) -> Endpoint {
        self.endpoint.with_address(self.proxy)
    }
}
