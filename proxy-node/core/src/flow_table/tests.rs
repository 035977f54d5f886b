use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use quickcheck::quickcheck;
use synhop_option::{Extra, HopsLeft, SynOption, V4Destination};

use super::{Facts, Flow, FlowId, FlowTable, Mark};
use crate::config::Timeouts;
use crate::flow::{Context, FlowInput, Peer, State};
use crate::leg::{Isn, Leg};
use crate::onward::Onward;
use crate::report::Mode;
use crate::time::Time;

const CAPACITY: usize = 5;
const TIMEOUTS: Timeouts = Timeouts {
    handshake: Duration::from_secs(10),
    connect: Duration::from_secs(5),
    idle: Duration::from_mins(1),
    shutdown_grace: Duration::from_secs(30),
    recent_handshake: Duration::from_mins(10),
};

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn context(now: Time) -> Context<'static> {
    Context {
        now,
        peer: Peer::Node,
        timeouts: &TIMEOUTS,
    }
}

fn leg(n: u8) -> Leg {
    let client = SocketAddr::from(([192, 0, 2, n], 40_000));
    Leg::new(client, addr("203.0.113.1:7000"))
}

fn option(n: u8) -> SynOption {
    SynOption::V4 {
        source: core::net::SocketAddrV4::new([10, 0, 0, n].into(), 5000),
        destination: V4Destination::new("198.51.100.1:80".parse().unwrap()).unwrap(),
        extra: Extra::Hops(HopsLeft::new(7)),
    }
}

fn flow(n: u8, now: Time) -> Flow {
    Flow {
        facts: Facts {
            leg: leg(n),
            isn: Isn(n.into()),
            option: option(n),
            destination: addr("198.51.100.1:80"),
            onward: Onward {
                to: addr("203.0.113.2:7000"),
                option: Some(option(n)),
            },
            mode: Mode::Early,
            opened_at: now,
        },
        state: State::early(&context(now)),
        connecting_at: None,
    }
}

/// Every index has what the slots have, no more.
fn is_consistent(table: &FlowTable) -> bool {
    let ids = table.ids();
    let flows: Vec<_> = ids.iter().filter_map(|id| table.get(*id)).collect();
    let deadlines = flows.iter().filter(|f| f.state.deadline().is_some());
    ids.len() == table.len()
        && flows.len() == table.len()
        && table.len() <= CAPACITY
        && table.slots.len() <= CAPACITY
        && table.marks.len() == table.len()
        && table.deadlines.len() == deadlines.count()
        && table.by_leg.len() <= table.len()
        && table.by_leg.values().all(|id| table.get(*id).is_some())
}

quickcheck! {
    /// Legs are drawn from few, so that one has several flows.
    fn the_indices_follow_the_slots(steps: Vec<(u8, u8)>) -> bool {
        let mut table = FlowTable::new(CAPACITY);
        let mut ids: Vec<FlowId> = Vec::new();
        let mut now = Time::ZERO;
        for (what, which) in steps {
            now = now.after(Duration::from_millis(700));
            let id = ids.get(usize::from(which) % ids.len().max(1)).copied();
            match (what % 3, id) {
                (0, _) => {
                    let full = table.is_full();
                    let new = table.insert(&flow(which % 4, now));
                    assert_eq!(new.is_none(), full);
                    ids.extend(new);
                }
                (1, Some(id)) => {
                    let there = table.get(id).is_some();
                    assert_eq!(table.remove(id).is_some(), there);
                    assert!(table.get(id).is_none());
                }
                (_, Some(id)) => {
                    if let Some(flow) = table.get(id).copied() {
                        let step = flow.state.on(FlowInput::Accepted, &context(now));
                        table.set_state(id, step.state);
                    }
                }
                (_, None) => {}
            }
            assert!(is_consistent(&table), "{table:?}");
        }
        for id in table.ids() {
            table.remove(id);
        }
        table.len() == 0
            && table.by_leg.is_empty()
            && table.marks.is_empty()
            && table.deadlines.is_empty()
    }
}

#[test]
fn a_leg_has_its_newest_flow() {
    let mut table = FlowTable::new(CAPACITY);
    let old = table.insert(&flow(1, Time::ZERO)).unwrap();
    let new = table.insert(&flow(1, Time::ZERO)).unwrap();
    assert_eq!(table.find(&leg(1)).map(|(id, _)| id), Some(new));
    table.remove(old);
    assert_eq!(table.find(&leg(1)).map(|(id, _)| id), Some(new));
    table.remove(new);
    assert!(table.find(&leg(1)).is_none());
}

#[test]
fn deadlines_come_in_order() {
    let mut table = FlowTable::new(CAPACITY);
    let second = Time::ZERO.after(Duration::from_secs(1));
    let later = table.insert(&flow(1, second)).unwrap();
    let sooner = table.insert(&flow(2, Time::ZERO)).unwrap();
    let due = Time::ZERO.after(TIMEOUTS.connect);
    assert_eq!(table.first_deadline(), Some(due));
    assert_eq!(table.due(due), [sooner]);
    assert_eq!(table.due(second.after(TIMEOUTS.connect)), [sooner, later]);
}

#[test]
fn an_unknown_source_marks_nothing() {
    let hops = HopsLeft::new(1);
    let destination = addr("198.51.100.1:80");
    assert!(Mark::new(addr("0.0.0.0:1"), destination, hops).is_none());
    assert!(Mark::new(addr("192.0.2.1:1"), destination, hops).is_some());
}
