//! Random histories.

use std::time::Duration;

use quickcheck::{Arbitrary, Gen};
use synhop_core::{ConnectFailure, RelayEnd, Reply, Syn};

use crate::common::{addr, syn, v4_option, v4_withheld};

/// One thing that happens. Flows are picked by number among those ever opened.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    Syn(Attempt),
    Accept(Attempt),
    Connecting(u8),
    Connected(u8, Reply),
    ConnectFailed(u8, ConnectFailure),
    UpstreamReset(u8),
    RelayEnded(u8, RelayEnd),
    Wait(Duration),
    Shutdown,
}

/// A connection attempt, drawn from few, so that they meet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    client: u8,
    isn: u8,
    option: u8,
}

impl Arbitrary for Attempt {
    fn arbitrary(g: &mut Gen) -> Self {
        Self {
            client: u8::arbitrary(g) % 6,
            isn: u8::arbitrary(g) % 2,
            // Mostly the same, as retransmissions have it.
            option: *g.choose(&[0, 0, 0, 0, 0, 1, 2, 3, 4, 5]).unwrap(),
        }
    }
}

impl Attempt {
    pub(crate) fn syn(self) -> Syn {
        let client = format!(
            "192.0.2.{}:{}",
            1 + self.client % 3,
            40_000 + u16::from(self.client)
        );
        let option = match self.option {
            0 => Some(v4_withheld("198.51.100.1:80")),
            1 => Some(v4_option("10.0.0.1:5000", "198.51.100.1:80", Some(7))),
            // The same, come back.
            2 => Some(v4_option("10.0.0.1:5000", "198.51.100.1:80", Some(5))),
            3 => Some(v4_option("10.0.0.1:5000", "203.0.113.99:80", None)),
            4 => Some(v4_withheld("127.0.0.1:80")),
            _ => None,
        };
        syn(
            addr(&client),
            addr("203.0.113.1:7000"),
            self.isn.into(),
            option,
        )
    }
}

impl Arbitrary for Op {
    fn arbitrary(g: &mut Gen) -> Self {
        let flow = u8::arbitrary(g);
        match u8::arbitrary(g) % 24 {
            0..=4 => Self::Syn(Attempt::arbitrary(g)),
            5..=9 => Self::Accept(Attempt::arbitrary(g)),
            10 => Self::Connecting(flow),
            11..=14 => {
                let understood = Reply::Understood { cookie: None };
                let replies = [understood, understood, Reply::Silent, Reply::NotAsked];
                Self::Connected(flow, *g.choose(&replies).unwrap())
            }
            15 | 16 => {
                let causes = [
                    ConnectFailure::Refused,
                    ConnectFailure::Unreachable,
                    ConnectFailure::TimedOut,
                    ConnectFailure::Local,
                ];
                Self::ConnectFailed(flow, *g.choose(&causes).unwrap())
            }
            17 => Self::UpstreamReset(flow),
            18..=20 => {
                let ends = [
                    RelayEnd::Closed,
                    RelayEnd::ResetByClient,
                    RelayEnd::ResetByServer,
                    RelayEnd::Idle,
                ];
                Self::RelayEnded(flow, *g.choose(&ends).unwrap())
            }
            21 | 22 => Self::Wait(Duration::from_millis(u64::from(u16::arbitrary(g) % 12_000))),
            _ if u8::arbitrary(g) < 8 => Self::Shutdown,
            _ => Self::Wait(Duration::ZERO),
        }
    }
}
