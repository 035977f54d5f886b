//! Every state x input pair against `tests/state_table.txt`.
//!
//! After a deliberate change: `UPDATE=1 cargo test -p synhop-core`, and read the difference.

use alloc::format;
use alloc::string::String;
use core::fmt::Write as _;
use core::time::Duration;
use std::{env, fs, path::Path};

use super::{Context, FlowInput, Peer, State, Step};
use crate::config::Timeouts;
use crate::event::{ConnectFailure, RelayEnd, Relayed, Reply};
use crate::time::Time;

const UNDERSTOOD: FlowInput = FlowInput::Connected(Reply::Understood { cookie: None });

#[test]
fn every_state_and_input() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/state_table.txt");
    let table = table();
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, &table).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap();
    for (line, (is, was)) in table.lines().zip(committed.lines()).enumerate() {
        assert_eq!(is, was, "line {} of {}", line + 1, path.display());
    }
    assert_eq!(table, committed);
}

fn table() -> String {
    let mut out = String::from(
        "# state           peer    input                        -> next state                  order\n",
    );
    for peer in [Peer::Node, Peer::Server] {
        for state in states(peer) {
            for (input, after) in inputs(state) {
                let step = state.on(input, &context(peer, after));
                row(&mut out, state, peer, (input, after), step);
            }
        }
    }
    out
}

fn row(
    out: &mut String,
    state: State,
    peer: Peer,
    (input, after): (FlowInput, Duration),
    step: Step,
) {
    let peer = match peer {
        Peer::Node => "node",
        Peer::Server => "server",
    };
    writeln!(
        out,
        "{:<17} {peer:<7} {:<28} -> {:<27} {:?}",
        state_name(state),
        input_name(input, after),
        state_name(step.state),
        step.order,
    )
    .unwrap();
}

/// One of each, as it comes about from the beginning, so that none is here that cannot be.
fn states(peer: Peer) -> [State; 7] {
    let context = context(peer, Duration::ZERO);
    let reply = match peer {
        Peer::Node => UNDERSTOOD,
        Peer::Server => FlowInput::Connected(Reply::NotAsked),
    };
    let early = State::early(&context);
    let ready = early.on(reply, &context).state;
    let refused = FlowInput::ConnectFailed(ConnectFailure::Refused);
    let relaying = ready.on(FlowInput::Accepted, &context).state;
    [
        early,
        ready,
        early.on(refused, &context).state,
        State::late(&context),
        relaying,
        relaying.on(FlowInput::GraceOver, &context).state,
        early.on(FlowInput::Shutdown, &context).state,
    ]
}

/// Every input, and how long after the state began it comes: at the bounds where that matters.
fn inputs(state: State) -> alloc::vec::Vec<(FlowInput, Duration)> {
    let mut inputs = alloc::vec![
        FlowInput::Accepted,
        UNDERSTOOD,
        FlowInput::Connected(Reply::Silent),
        FlowInput::Connected(Reply::NotAsked),
        FlowInput::UpstreamReset,
        FlowInput::Supplanted,
        FlowInput::Shutdown,
        FlowInput::GraceOver,
    ];
    inputs.extend(
        [
            ConnectFailure::Refused,
            ConnectFailure::Unreachable,
            ConnectFailure::TimedOut,
            ConnectFailure::Local,
        ]
        .map(FlowInput::ConnectFailed),
    );
    inputs.extend(
        [
            RelayEnd::Closed,
            RelayEnd::ResetByClient,
            RelayEnd::ResetByServer,
            RelayEnd::Idle,
            RelayEnd::Stopped,
        ]
        .map(|end| {
            FlowInput::RelayEnded(Relayed {
                end,
                up_octets: 1,
                down_octets: 2,
            })
        }),
    );
    let mut timed: alloc::vec::Vec<_> = inputs
        .into_iter()
        .map(|input| (input, Duration::ZERO))
        .collect();
    let bound = state
        .deadline()
        .map_or(Duration::ZERO, |at| at.since(Time::ZERO));
    let just_before = bound.saturating_sub(Duration::from_micros(1));
    for after in [just_before, bound, TIMEOUTS.handshake] {
        timed.push((FlowInput::Deadline, after));
    }
    timed.dedup();
    timed
}

/// The connect timeout is the shorter one, so that both of Early's deadlines are met.
const TIMEOUTS: Timeouts = Timeouts {
    handshake: Duration::from_secs(10),
    connect: Duration::from_secs(5),
    idle: Duration::from_mins(1),
    shutdown_grace: Duration::from_secs(30),
    recent_handshake: Duration::from_mins(10),
};

fn context(peer: Peer, after: Duration) -> Context<'static> {
    Context {
        now: Time::ZERO.after(after),
        peer,
        timeouts: &TIMEOUTS,
    }
}

fn state_name(state: State) -> String {
    match state {
        State::Early(_) => "early".into(),
        State::Ready(_) => "ready".into(),
        State::Doomed(doomed) => format!("doomed({})", doomed.outcome),
        State::Joining(_) => "joining".into(),
        State::Relaying(_) => "relaying".into(),
        State::Stopping(_) => "stopping".into(),
        State::Closed(closed) => format!("closed({})", closed.outcome),
    }
}

fn input_name(input: FlowInput, after: Duration) -> String {
    match input {
        FlowInput::Accepted => "accepted".into(),
        FlowInput::Connected(Reply::Understood { cookie: _ }) => "connected, understood".into(),
        FlowInput::Connected(Reply::Silent) => "connected, silent".into(),
        FlowInput::Connected(Reply::NotAsked) => "connected, not asked".into(),
        FlowInput::ConnectFailed(cause) => format!("connect failed, {cause:?}"),
        FlowInput::UpstreamReset => "upstream reset".into(),
        FlowInput::RelayEnded(relayed) => format!("relay ended, {:?}", relayed.end),
        FlowInput::Deadline => format!("deadline, {after:?}"),
        FlowInput::Supplanted => "supplanted".into(),
        FlowInput::Shutdown => "shutdown".into(),
        FlowInput::GraceOver => "grace over".into(),
    }
}
