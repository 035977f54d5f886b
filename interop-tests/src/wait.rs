//! Waiting for conditions, always with a bound.

use std::thread;
use std::time::{Duration, Instant};

use crate::LabError;

/// Calls `ready` until it gives a value, for `bound` at most.
pub fn wait_until<T>(
    what: &str,
    bound: Duration,
    mut ready: impl FnMut() -> Option<T>,
) -> Result<T, LabError> {
    let end = Instant::now() + bound;
    loop {
        if let Some(value) = ready() {
            return Ok(value);
        }
        if Instant::now() >= end {
            return Err(LabError::Timeout {
                what: what.to_owned(),
                bound,
                detail: "the condition never held".to_owned(),
            });
        }
        thread::sleep(POLL_INTERVAL);
    }
}

const POLL_INTERVAL: Duration = Duration::from_millis(1);
