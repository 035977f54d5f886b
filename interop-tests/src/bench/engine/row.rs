//! What is measured: the live rows of the engine's table of requirements.

use std::time::Duration;

use synhop_lab::{LinkSpec, Order, Plan, Queue, Stall};

/// One measurement, made with both builds.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// Its number in the table of `docs/tcp-engine.md`.
    pub(super) number: u8,
    pub(super) name: &'static str,
    /// The client's link; the server's is clean and short.
    pub(super) link: LinkSpec,
    pub(super) plan: Plan,
    pub(super) figure: Figure,
    /// Transfers for each seed, one after the other.
    pub(super) repeats: usize,
    /// The link carries nothing for a while.
    pub(super) blackhole: Option<Blackhole>,
    /// What the engine's median may be of Linux's; none: it is only reported.
    pub(super) bound: Option<f64>,
}

/// What is timed. Everything is checked octet by octet besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Figure {
    /// From `connect()` to the last octet of the download.
    Received,
    /// From `connect()` to the server's word that the upload has arrived.
    Done,
    /// From the link's return to the end.
    Recovered,
}

/// A link that is cut in the middle of a transfer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blackhole {
    /// When it has carried so many octets.
    pub(super) after_octets: u64,
    pub(super) lasting: Duration,
}

/// All of them but fairness.
pub(super) fn rows() -> Vec<Row> {
    let mut rows = short();
    rows.extend(bulk());
    rows.extend(special());
    rows
}

/// Time to completion on a clean link, and through heavy loss.
fn short() -> Vec<Row> {
    let clean = |name, octets| Row {
        bound: Some(1.01),
        ..row(2, name, rtt_ms(100), Plan::down(octets))
    };
    let lossy = LinkSpec {
        loss: 0.3,
        ..rtt_ms(20)
    };
    vec![
        Row {
            repeats: 4,
            ..row(1, "1 KB, 30 % loss", lossy, Plan::down(KB))
        },
        clean("10 KB, RTT 100 ms", 10 * KB),
        clean("25 KB, RTT 100 ms", 25 * KB),
        clean("100 KB, RTT 100 ms", 100 * KB),
    ]
}

/// Much data over links that lose, reorder, double and damage.
fn bulk() -> Vec<Row> {
    let lossy = LinkSpec {
        loss: 0.01,
        ..rtt_ms(20)
    };
    let reordering = |reorder| LinkSpec {
        reorder,
        ..rtt_ms(30)
    };
    let doubling = LinkSpec {
        duplicate: 0.1,
        ..rtt_ms(30)
    };
    let damaging = LinkSpec {
        corrupt: 0.01,
        ..rtt_ms(20)
    };
    let both = Plan {
        send: 5 * MB,
        ..Plan::down(5 * MB)
    };
    let loss = |row| Row {
        bound: Some(1.5),
        ..row
    };
    let order = |row| Row {
        bound: Some(1.2),
        ..row
    };
    vec![
        loss(row(
            11,
            "5 MB down, 1 % loss",
            lossy.clone(),
            Plan::down(5 * MB),
        )),
        loss(row(11, "5 MB up, 1 % loss", lossy, Plan::up(5 * MB))),
        order(row(
            12,
            "10 MB down, 2 % reordered",
            reordering(0.02),
            Plan::down(10 * MB),
        )),
        order(row(
            12,
            "10 MB up, 2 % reordered",
            reordering(0.02),
            Plan::up(10 * MB),
        )),
        row(
            9,
            "10 MB down, 5 % reordered",
            reordering(0.05),
            Plan::down(10 * MB),
        ),
        row(
            9,
            "10 MB up, 5 % reordered",
            reordering(0.05),
            Plan::up(10 * MB),
        ),
        row(8, "5 MB both ways, 2 % reordered", reordering(0.02), both),
        row(21, "5 MB down, 10 % doubled", doubling, Plan::down(5 * MB)),
        row(20, "2 MB down, 1 % damaged", damaging, Plan::down(2 * MB)),
    ]
}

/// Cuts, queues, readers that stall, directions that end apart.
fn special() -> Vec<Row> {
    let slow = |queue_octets| LinkSpec {
        rate_bits_per_second: Some(50_000_000),
        queue: Queue::Octets(queue_octets),
        ..rtt_ms(40)
    };
    let ends = |order| Plan {
        send: MB,
        receive: MB,
        order,
        ..Plan::default()
    };
    let lossy = LinkSpec {
        loss: 0.02,
        ..rtt_ms(20)
    };
    let stall = Stall {
        after: MB,
        pause: Duration::from_secs(2),
    };
    let stalled = Plan {
        stall: Some(stall),
        ..Plan::down(10 * MB)
    };
    vec![
        Row {
            blackhole: Some(Blackhole {
                after_octets: MB,
                lasting: Duration::from_secs(10),
            }),
            figure: Figure::Recovered,
            ..row(
                13,
                "4 MB down, nothing for 10 s",
                slow(BDP_OCTETS),
                Plan::down(4 * MB),
            )
        },
        row(
            14,
            "20 MB down, queue of a BDP",
            slow(BDP_OCTETS),
            Plan::down(20 * MB),
        ),
        row(
            14,
            "20 MB down, queue of a fifth",
            slow(BDP_OCTETS / 5),
            Plan::down(20 * MB),
        ),
        row(16, "10 MB down, reader stalls 2 s", rtt_ms(20), stalled),
        Row {
            figure: Figure::Done,
            ..row(
                17,
                "1 MB each, client first, 2 % loss",
                lossy.clone(),
                ends(Order::ClientFirst),
            )
        },
        Row {
            figure: Figure::Done,
            ..row(
                17,
                "1 MB each, server first, 2 % loss",
                lossy,
                ends(Order::ServerFirst),
            )
        },
    ]
}

fn row(number: u8, name: &'static str, link: LinkSpec, plan: Plan) -> Row {
    Row {
        number,
        name,
        link,
        plan,
        figure: if plan.send > 0 {
            Figure::Done
        } else {
            Figure::Received
        },
        repeats: 1,
        blackhole: None,
        bound: None,
    }
}

/// A link as fast as the emulator carries without a thought, with a queue that no flow here fills:
/// what a row adds is all that can go wrong.
pub(super) fn rtt_ms(ms: u64) -> LinkSpec {
    LinkSpec {
        queue: Queue::Octets(8 * MB),
        ..LinkSpec::new(Duration::from_millis(ms) / 2, Some(100_000_000))
    }
}

pub(super) const KB: u64 = 1024;
pub(super) const MB: u64 = 1_000_000;
/// 50 Mbit/s for 40 ms.
pub(super) const BDP_OCTETS: u64 = 250_000;
