//! Unmodified curl in the client's namespace, directly or through a chain.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::pattern::Pattern;
use crate::{Lab, LabError, ProcessBuilder, find_binary};

/// The way that a request takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// Straight to the server.
    Direct,
    /// Under `synhop run`, with this node as the first.
    Synhop(SocketAddr),
}

/// A request.
#[derive(Clone, Debug)]
pub struct CurlSpec {
    /// What to fetch.
    pub url: String,
    /// Which way.
    pub via: Via,
    /// The most that it may take.
    pub max_time: Duration,
    /// The body must be the nginx file of so many octets. `None`: any body.
    pub expect_octets: Option<u64>,
    /// More arguments for `synhop run`, before the `--`.
    pub synhop_arguments: Vec<String>,
    /// More arguments for curl.
    pub arguments: Vec<String>,
}

impl CurlSpec {
    /// Fetches a URL.
    pub fn new(url: impl Into<String>, via: Via) -> Self {
        Self {
            url: url.into(),
            via,
            max_time: Duration::from_mins(1),
            expect_octets: None,
            synhop_arguments: Vec::new(),
            arguments: Vec::new(),
        }
    }
}

/// What became of a request. Times are curl's own, from its start.
#[derive(Clone, Debug, Serialize)]
pub struct CurlOutcome {
    /// curl's exit code: 0 when the response is complete.
    pub exit_code: Option<i32>,
    /// The HTTP status; 0 without a response.
    pub status: u16,
    /// The body's octets.
    pub octets: u64,
    /// Whether it is the expected body; true when none was named.
    pub intact: bool,
    /// When `connect()` was done, in microseconds.
    pub connect_us: u64,
    /// When the first octet of the response was there (TTFB), in microseconds.
    pub first_byte_us: u64,
    /// When all of it was, in microseconds.
    pub total_us: u64,
    /// The client's port, to find the flow in a capture.
    pub local_port: u16,
    /// What was printed besides: errors, and `synhop run`'s messages.
    pub messages: Vec<String>,
}

impl CurlOutcome {
    /// Whether the whole, right response came.
    pub fn is_success(&self) -> bool {
        self.exit_code == Some(0) && (200..300).contains(&self.status) && self.intact
    }
}

impl Lab {
    /// Fetches with curl in the client's namespace. That the fetch fails is
    /// an outcome, that curl cannot be run is an error.
    pub fn curl(&self, spec: &CurlSpec) -> Result<CurlOutcome, LabError> {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let body = self.directory().join(format!("body-{number}"));
        let mut command = self.curl_command(spec)?;
        command
            .arg("--output")
            .arg(&body)
            .args(["--write-out", "%{json}\n"]);
        command
            .arg("--max-time")
            .arg(spec.max_time.as_secs_f64().to_string());
        command.args(&spec.arguments).arg(&spec.url);
        let mut process = ProcessBuilder::new(format!("curl {}", spec.url), command).start()?;
        let status = process.wait(spec.max_time + EXIT_BOUND)?;
        let (reports, messages): (Vec<_>, Vec<_>) = process
            .lines()
            .into_iter()
            .partition(|line| line.starts_with("{\""));
        let Some(report) = reports
            .last()
            .and_then(|line| serde_json::from_str(line).ok())
        else {
            return Err(process.failure());
        };
        let intact = is_intact(spec.expect_octets, &body);
        let _ = fs::remove_file(&body);
        Ok(outcome(&report, status.code(), intact, messages))
    }

    fn curl_command(&self, spec: &CurlSpec) -> Result<Command, LabError> {
        let mut command = match spec.via {
            Via::Direct => self.client().command("curl"),
            Via::Synhop(proxy) => {
                let mut command = self.client().command(find_binary("synhop")?);
                command.arg("run").arg("--proxy").arg(proxy.to_string());
                command.args(&spec.synhop_arguments).args(["--", "curl"]);
                command
            }
        };
        // Neither the user's curlrc nor his proxies.
        command.args(["--disable", "--silent", "--show-error", "--noproxy", "*"]);
        Ok(command)
    }
}

/// What curl's `%{json}` says, as far as it is wanted.
#[derive(Deserialize)]
struct Report {
    response_code: u16,
    size_download: f64,
    local_port: i32,
    time_connect: f64,
    time_starttransfer: f64,
    time_total: f64,
}

fn outcome(
    report: &Report,
    exit_code: Option<i32>,
    intact: bool,
    messages: Vec<String>,
) -> CurlOutcome {
    CurlOutcome {
        exit_code,
        status: report.response_code,
        octets: whole(report.size_download),
        intact,
        connect_us: microseconds(report.time_connect),
        first_byte_us: microseconds(report.time_starttransfer),
        total_us: microseconds(report.time_total),
        // -1 when it never had one.
        local_port: u16::try_from(report.local_port).unwrap_or(0),
        messages,
    }
}

fn is_intact(expected: Option<u64>, body: &Path) -> bool {
    expected.is_none_or(|octets| {
        let compare = |file| Pattern::new(octets).is_all_of(octets, file);
        File::open(body).and_then(compare).unwrap_or(false)
    })
}

fn microseconds(seconds: f64) -> u64 {
    whole(seconds * 1e6)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped; counts and times are far below 2^53"
)]
fn whole(value: f64) -> u64 {
    value.round().clamp(0.0, 9e15) as u64
}

static COUNTER: AtomicU64 = AtomicU64::new(0);
const EXIT_BOUND: Duration = Duration::from_secs(5);
