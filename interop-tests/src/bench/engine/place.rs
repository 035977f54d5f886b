//! One place with one build in it.
//!
//! ```text
//!  client ──the row's link── node ──clean── server
//! ```

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use synhop_lab::{
    Build, Chain, ChainSpec, DirectionStats, Lab, LinkSpec, Peer, Plan, TransferReport,
    TransferSpec, Via, wait_until,
};

use super::row::{Blackhole, Figure, Row};

/// See the module. Processes first, so that they are dropped before their namespaces.
pub(super) struct Place {
    pub(super) chain: Chain,
    peer: Peer,
    pub(super) lab: Lab,
    link: LinkSpec,
}

impl Place {
    /// Builds it. One transfer has gone through: neighbours know each other.
    pub(super) fn new(
        build: Build,
        link: &LinkSpec,
        congestion_control: &str,
    ) -> anyhow::Result<Self> {
        let clean = LinkSpec {
            loss: 0.0,
            reorder: 0.0,
            duplicate: 0.0,
            corrupt: 0.0,
            // Not one of those to come.
            seed: 0,
            ..link.clone()
        };
        let lab = Lab::builder()
            .nodes(1)
            .link_at(0, clean)
            .link_at(1, LinkSpec::new(SERVER_DELAY, None))
            .build()?;
        crate::rig::use_congestion_control(&lab, congestion_control)?;
        let peer = lab.start_peer()?;
        let chain = lab.start_chain(&ChainSpec {
            builds: vec![build],
            ..ChainSpec::default()
        })?;
        let place = Self {
            chain,
            peer,
            lab,
            link: link.clone(),
        };
        let warm_up = Plan {
            receive: 1,
            ..Plan::default()
        };
        place.transfer(&warm_up)?;
        Ok(place)
    }

    /// One transfer of a row; the link throws a seed's dice from its start.
    pub(super) fn measure(&self, row: &Row, seed: u64) -> anyhow::Result<Vec<Duration>> {
        let link = LinkSpec {
            seed,
            ..self.link.clone()
        };
        // A seed that is in force already would go on with its dice.
        self.lab.set_link(
            0,
            LinkSpec {
                seed: 0,
                ..link.clone()
            },
        )?;
        self.lab.set_link(0, link.clone())?;
        let times = (0..row.repeats).map(|_| match row.blackhole {
            None => Ok(figure(row.figure, &self.transfer(&row.plan)?)),
            Some(hole) => self.interrupted(row, hole, &link),
        });
        times.collect()
    }

    /// A transfer through the chain; all of it has to arrive as it was.
    fn transfer(&self, plan: &Plan) -> anyhow::Result<TransferReport> {
        let report = self.lab.transfer(&self.peer, &self.spec(plan)?);
        intact(report.map_err(Into::into)).with_context(|| self.said())
    }

    fn spec(&self, plan: &Plan) -> anyhow::Result<TransferSpec> {
        Ok(TransferSpec {
            plan: *plan,
            via: Via::Synhop(self.chain.entry().context("there is a node")?),
            bound: BOUND,
        })
    }

    fn interrupted(&self, row: &Row, hole: Blackhole, link: &LinkSpec) -> anyhow::Result<Duration> {
        let carried = || self.lab.link_stats()[0].to_client.forwarded_octets;
        let enough = carried() + hole.after_octets;
        let transfer = self
            .lab
            .start_transfer(self.peer.address(), &self.spec(&row.plan)?)?;
        wait_until("the middle of the transfer", BOUND, || {
            (carried() >= enough).then_some(())
        })?;
        let dark = LinkSpec {
            loss: 1.0,
            ..link.clone()
        };
        self.lab.set_link(0, dark)?;
        // Not a wait for anything: the time without a link.
        thread::sleep(hole.lasting);
        let back = Instant::now();
        self.lab.set_link(0, link.clone())?;
        intact(transfer.wait().map_err(Into::into))?;
        Ok(back.elapsed())
    }

    /// What the links did, all in one.
    pub(super) fn links(&self) -> DirectionStats {
        self.lab.total_stats()
    }

    fn said(&self) -> String {
        format!("{:?}", self.lab.total_stats())
    }
}

fn intact(report: anyhow::Result<TransferReport>) -> anyhow::Result<TransferReport> {
    let report = report?;
    ensure!(
        report.received_intact && report.sent_intact,
        "damaged: {report:?}"
    );
    Ok(report)
}

fn figure(figure: Figure, report: &TransferReport) -> Duration {
    Duration::from_micros(match figure {
        Figure::Received => report.received_us,
        Figure::Done | Figure::Recovered => report.duration_us,
    })
}

const SERVER_DELAY: Duration = Duration::from_micros(500);
const BOUND: Duration = Duration::from_mins(3);
