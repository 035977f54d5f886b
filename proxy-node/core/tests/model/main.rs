//! Random histories against a model of the shell's sockets: nothing leaks, nothing is done twice,
//! no bound is exceeded, every flow is reported once.

#[path = "../common/mod.rs"]
mod common;
mod op;
mod shell;

use std::collections::BTreeMap;

use quickcheck::{Arbitrary, Gen, QuickCheck};
use synhop_core::{Action, FlowId, Input, Node, Outcome, Relayed, Time};

use op::Op;
use shell::Shell;

#[test]
fn no_history_leaks_or_repeats() {
    fn property(ops: Vec<Op>, obedient: bool) -> bool {
        let mut shell = Shell::new();
        for op in ops {
            if shell.is_plausible(op) {
                shell.perform(op);
            }
        }
        shell.finish(obedient);
        true
    }
    QuickCheck::new()
        .rng(Gen::new(400))
        .tests(500)
        .quickcheck(property as fn(Vec<Op>, bool) -> bool);
}

/// Inputs out of all order, for flows that are over, and after a shutdown.
#[test]
fn wild_inputs_break_nothing() {
    fn property(ops: Vec<Op>) -> bool {
        let config = Shell::new().node.config().clone();
        let limit = config.limits().flows;
        let mut node = Node::new(config);
        let (mut opened, mut reported) = (Vec::new(), Vec::new());
        let mut now = Time::ZERO;
        for op in ops {
            let mut actions = Vec::new();
            let mut sink = |action| actions.push(action);
            if let Op::Wait(duration) = op {
                now = now.after(duration);
            }
            match (op, input_of(op, &opened)) {
                (Op::Accept(attempt), _) => {
                    node.accepted(&attempt.syn(), now, &mut sink);
                }
                (_, Some(input)) => node.on(input, now, &mut sink),
                (_, None) => {}
            }
            for action in actions {
                match action {
                    Action::Connect { flow, .. } => opened.push(flow),
                    Action::Report(report) => reported.extend(report.flow),
                    _ => {}
                }
            }
            assert!(node.flows() <= usize::try_from(limit).unwrap());
            assert_eq!(node.flows(), opened.len() - reported.len());
        }
        reported.sort();
        let reports = reported.len();
        reported.dedup();
        reports == reported.len() && reported.iter().all(|flow| opened.contains(flow))
    }
    QuickCheck::new()
        .rng(Gen::new(400))
        .tests(500)
        .quickcheck(property as fn(Vec<Op>) -> bool);
}

fn input_of(op: Op, opened: &[FlowId]) -> Option<Input> {
    let flow = |n: u8| opened.iter().rev().nth(usize::from(n) % 12).copied();
    Some(match op {
        Op::Syn(attempt) => Input::Syn(attempt.syn()),
        Op::Accept(_) => return None,
        Op::Connecting(n) => Input::Connecting { flow: flow(n)? },
        Op::Connected(n, reply) => Input::Connected {
            flow: flow(n)?,
            reply,
        },
        Op::ConnectFailed(n, cause) => Input::ConnectFailed {
            flow: flow(n)?,
            cause,
        },
        Op::UpstreamReset(n) => Input::UpstreamReset { flow: flow(n)? },
        Op::RelayEnded(n, end) => Input::RelayEnded {
            flow: flow(n)?,
            relayed: Relayed {
                end,
                up_octets: 0,
                down_octets: 0,
            },
        },
        Op::Wait(_) => Input::Tick,
        Op::Shutdown => Input::Shutdown,
    })
}

/// The histories above are worth something only if they come by everything.
#[test]
fn the_histories_meet_every_outcome() {
    let mut seen = BTreeMap::new();
    let mut g = Gen::new(400);
    for _ in 0..500 {
        let mut shell = Shell::new();
        for op in Vec::<Op>::arbitrary(&mut g) {
            if shell.is_plausible(op) {
                shell.perform(op);
            }
        }
        for (outcome, count) in shell.node.counters().outcomes() {
            *seen.entry(outcome).or_insert(0) += count;
        }
    }
    for (outcome, count) in seen {
        // These take settings or options that the histories do not have.
        let elsewhere = [
            Outcome::MalformedOption,
            Outcome::SourceNotAllowed,
            Outcome::DestinationIsSelf,
            Outcome::HopsExhausted,
            Outcome::NoOptionRoom,
        ];
        assert_eq!(count > 0, !elsewhere.contains(&outcome), "{outcome}");
    }
}
