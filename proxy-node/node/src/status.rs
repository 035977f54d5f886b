//! The status page. It asks the event loop for a snapshot, so flows pay nothing for it, and
//! whatever becomes of it, flows go on.

mod listener;

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use listener::Bounded;

/// What the status page shows.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Snapshot {
    /// Active flows, pending ones included.
    pub flows: usize,
    /// Flows whose client has not finished its handshake.
    pub pending: usize,
    /// Flows opened since the start.
    pub opened_total: u64,
    /// Those of them opened at the SYN.
    pub opened_early_total: u64,
    /// SYNs whose event was lost because the ring was full; they were served at `accept()`.
    pub dropped_events: u64,
    /// Pipes in use by relays.
    pub pipes: usize,
    /// Sockets made ahead of time for onward SYNs.
    pub spare_sockets: usize,
    /// How often each reason code occurred.
    pub outcomes: std::collections::BTreeMap<&'static str, u64>,
}

/// A question to the event loop.
pub type Ask = oneshot::Sender<Snapshot>;

/// Questions that wait at once: as many as there are connections.
pub const QUESTIONS: usize = listener::MAX_CONNECTIONS;

/// Serves the page; returns only when the listener cannot be made.
pub async fn serve(address: SocketAddr, ask: mpsc::Sender<Ask>) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let app = Router::new()
        .route("/", get(json))
        .route("/metrics", get(metrics))
        .with_state(ask);
    axum::serve(Bounded::new(listener), app).await
}

async fn json(State(ask): State<mpsc::Sender<Ask>>) -> Result<impl IntoResponse, StatusCode> {
    snapshot(&ask).await.map(axum::Json)
}

async fn metrics(State(ask): State<mpsc::Sender<Ask>>) -> Result<impl IntoResponse, StatusCode> {
    let text = prometheus(&snapshot(&ask).await?);
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text))
}

async fn snapshot(ask: &mpsc::Sender<Ask>) -> Result<Snapshot, StatusCode> {
    let (answer, snapshot) = oneshot::channel();
    ask.try_send(answer)
        .map_err(|_full| StatusCode::SERVICE_UNAVAILABLE)?;
    snapshot
        .await
        .map_err(|_stopped| StatusCode::SERVICE_UNAVAILABLE)
}

fn prometheus(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    let plain: [(&str, &str, &str, u64); 7] = [
        ("flows", "gauge", "Active flows.", snapshot.flows as u64),
        (
            "pending",
            "gauge",
            "Flows whose client has not finished its handshake.",
            snapshot.pending as u64,
        ),
        (
            "opened_total",
            "counter",
            "Flows opened.",
            snapshot.opened_total,
        ),
        (
            "opened_early_total",
            "counter",
            "Flows opened at the SYN.",
            snapshot.opened_early_total,
        ),
        (
            "dropped_events_total",
            "counter",
            "SYNs whose event was lost.",
            snapshot.dropped_events,
        ),
        (
            "pipes",
            "gauge",
            "Pipes in use by relays.",
            snapshot.pipes as u64,
        ),
        (
            "spare_sockets",
            "gauge",
            "Sockets made ahead of time for onward SYNs.",
            snapshot.spare_sockets as u64,
        ),
    ];
    for (name, kind, help, value) in plain {
        head(&mut text, name, kind, help);
        // Writing to a String does not fail.
        let _ = writeln!(text, "synhop_{name} {value}");
    }
    head(
        &mut text,
        "outcomes_total",
        "counter",
        "Flows by how they ended.",
    );
    for (reason, count) in &snapshot.outcomes {
        let _ = writeln!(text, "synhop_outcomes_total{{reason=\"{reason}\"}} {count}");
    }
    text
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP synhop_{name} {help}");
    let _ = writeln!(text, "# TYPE synhop_{name} {kind}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_prometheus_text() {
        let snapshot = Snapshot {
            flows: 3,
            outcomes: [("closed", 7)].into(),
            ..Snapshot::default()
        };
        let text = prometheus(&snapshot);
        assert!(text.contains("# TYPE synhop_flows gauge\nsynhop_flows 3\n"));
        assert!(text.contains("synhop_outcomes_total{reason=\"closed\"} 7\n"));
    }
}
