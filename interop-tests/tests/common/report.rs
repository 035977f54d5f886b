//! The nodes' log lines, one for each flow.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use synhop_lab::{Process, wait_until};

/// A flow's line in a node's log.
#[derive(Clone, Debug)]
pub(crate) struct FlowLine {
    text: String,
    fields: HashMap<String, String>,
}

impl FlowLine {
    fn parse(line: &str) -> Option<Self> {
        let words = line.split_whitespace();
        let fields: HashMap<_, _> = words
            .clone()
            .filter_map(|word| word.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let is_flow =
            words.into_iter().any(|word| word == "flow") && fields.contains_key("outcome");
        is_flow.then(|| Self {
            text: line.to_owned(),
            fields,
        })
    }

    /// A field's text; empty when the line has none.
    pub(crate) fn get(&self, field: &str) -> &str {
        self.fields.get(field).map_or("", String::as_str)
    }

    pub(crate) fn outcome(&self) -> &str {
        self.get("outcome")
    }

    /// A numeric field.
    ///
    /// # Panics
    /// When it is missing or none.
    pub(crate) fn number(&self, field: &str) -> u64 {
        let value = self.get(field);
        value
            .parse()
            .unwrap_or_else(|_| panic!("{field} in {self}"))
    }

    pub(crate) fn duration(&self) -> Duration {
        Duration::from_millis(self.number("duration_ms"))
    }

    /// Whether it is about a flow to this destination.
    pub(crate) fn is_to(&self, destination: SocketAddr) -> bool {
        self.get("destination") == destination.to_string()
    }
}

impl std::fmt::Display for FlowLine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// The flows that a node has logged so far.
pub(crate) fn flow_lines(node: &Process) -> Vec<FlowLine> {
    let lines = node.lines();
    lines
        .iter()
        .filter_map(|line| FlowLine::parse(line))
        .collect()
}

/// Waits for the line of a flow that `is_it`.
///
/// # Panics
/// When it does not come; quotes what the node printed.
pub(crate) fn wait_for_flow(
    node: &Process,
    bound: Duration,
    mut is_it: impl FnMut(&FlowLine) -> bool,
) -> FlowLine {
    let found = wait_until("a flow's log line", bound, || {
        flow_lines(node).into_iter().find(|line| is_it(line))
    });
    found.unwrap_or_else(|error| panic!("{error}: {}", node.failure()))
}

/// How many flows ended how, as a status page says; outcomes without flows are left out.
pub(crate) fn outcomes(status: &serde_json::Value) -> Vec<(String, u64)> {
    let all = status["outcomes"].as_object().expect("outcomes");
    let counts = all.iter().map(|(outcome, count)| {
        let count = count.as_u64().expect("a count");
        (outcome.clone(), count)
    });
    counts.filter(|(_, count)| *count > 0).collect()
}
