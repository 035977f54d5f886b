//! What was measured, as a table, as a judgement and as JSON.

use super::Figures;
use super::profile::Profile;
use super::relay::{Direction, Relay, Setup};
use super::spread::Spread;
use crate::bench::Machine;
use serde::Serialize;
use std::fmt;
use synhop_lab::table::{Align, Table};

/// One relay's figures, and what they are of the others', round by round.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) relay: &'static str,
    pub(super) setup: Setup,
    /// Why there are no figures.
    missing: Option<String>,
    /// One for each round.
    gbit_s: Vec<f64>,
    gbit_s_spread: Option<Spread>,
    of_routed: Option<Spread>,
    of_haproxy_splice: Option<Spread>,
    of_synhop_node: Option<Spread>,
    of_synhop_node_bridged: Option<Spread>,
}

impl Outcome {
    pub(super) fn all(figures: &[(Relay, Figures)]) -> Vec<Self> {
        let of = |relay: Relay| {
            let found = figures.iter().find(|(it, _)| *it == relay);
            found.and_then(|(_, figures)| figures.as_deref().ok())
        };
        figures
            .iter()
            .map(|(relay, figures)| {
                let own = figures.as_deref().unwrap_or_default();
                let ratio = |other| Spread::of_ratios(own, of(other).unwrap_or_default());
                Self {
                    relay: relay.name(),
                    setup: relay.setup(),
                    missing: figures.as_ref().err().cloned(),
                    gbit_s: own.to_vec(),
                    gbit_s_spread: Spread::of(own),
                    of_routed: ratio(Relay::None),
                    of_haproxy_splice: ratio(Relay::HaproxySplice),
                    of_synhop_node: ratio(Relay::SynhopNode),
                    of_synhop_node_bridged: ratio(Relay::SynhopNodeBridged),
                }
            })
            .collect()
    }
}

/// Whether the hosted engine is fast enough beside the node on Linux.
#[derive(Debug, Serialize)]
pub(super) struct Judgement {
    at_least: f64,
    /// Of the node's splice on its plain veth way: what counts.
    of_synhop_node: Option<f64>,
    /// Of the same on the engine's own way.
    of_synhop_node_bridged: Option<f64>,
    pass: bool,
}

impl Judgement {
    /// `None` where the engine or the node were not measured.
    pub(super) fn of(results: &[Outcome]) -> Option<Self> {
        let hosted = results.iter().find(|it| it.relay == Relay::Hosted.name())?;
        let median = |spread: Option<Spread>| spread.map(|spread| spread.median);
        let of_synhop_node = median(hosted.of_synhop_node);
        let of_synhop_node_bridged = median(hosted.of_synhop_node_bridged);
        let counts = of_synhop_node.or(of_synhop_node_bridged)?;
        Some(Self {
            at_least: AT_LEAST,
            of_synhop_node,
            of_synhop_node_bridged,
            pass: counts >= AT_LEAST,
        })
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "The hosted engine reaches ")?;
        if let Some(ratio) = self.of_synhop_node {
            write!(out, "{ratio:.2} of synhop-node's splice over veth")?;
        }
        if let Some(ratio) = self.of_synhop_node_bridged {
            if self.of_synhop_node.is_some() {
                write!(out, " (what counts), ")?;
            }
            write!(out, "{ratio:.2} of it on the same bridged way")?;
        }
        let verdict = if self.pass { "PASS" } else { "too slow" };
        write!(out, "; at least {:.1} is wanted: {verdict}", self.at_least)
    }
}

/// All of a run.
#[derive(Debug, Serialize)]
pub(super) struct Saved {
    pub(super) machine: Machine,
    pub(super) nodes: u8,
    pub(super) flows: u8,
    pub(super) direction: Direction,
    pub(super) seconds: u16,
    pub(super) results: Vec<Outcome>,
    pub(super) judgement: Option<Judgement>,
    pub(super) profile: Option<Profile>,
}

pub(super) fn table(results: &[Outcome]) -> Table {
    let mut table = Table::new(&[
        ("relay", Align::Left),
        ("Gbit/s", Align::Right),
        ("of routed", Align::Right),
        ("of haproxy, splice", Align::Right),
        ("of synhop-node", Align::Right),
        ("of it bridged", Align::Right),
    ]);
    let text = |spread: Option<Spread>| spread.map_or(String::new(), |spread| spread.text(2));
    for outcome in results {
        let figures = outcome.gbit_s_spread.map(|spread| spread.text(1));
        table.row(vec![
            outcome.relay.to_owned(),
            figures
                .or_else(|| outcome.missing.clone())
                .unwrap_or_default(),
            text(outcome.of_routed),
            text(outcome.of_haproxy_splice),
            text(outcome.of_synhop_node),
            text(outcome.of_synhop_node_bridged),
        ]);
    }
    table
}

/// Of the node's splice: what is asked of the hosted engine.
const AT_LEAST: f64 = 0.6;
