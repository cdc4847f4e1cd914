//! How much of a processor was used: what a search costs, whoever else uses the machine.

use std::time::{Duration, Instant};

/// Measures the calling thread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meter {
    used: Option<Duration>,
    began: Instant,
}

impl Meter {
    /// Begins to measure.
    pub(crate) fn start() -> Self {
        Self { used: used_by_thread(), began: Instant::now() }
    }

    /// The processor's time that this thread used since; all time where the system does not say.
    pub(crate) fn elapsed(&self) -> Duration {
        match (self.used, used_by_thread()) {
            (Some(before), Some(now)) => now.saturating_sub(before),
            _ => self.began.elapsed(),
        }
    }
}

/// Linux counts nanoseconds per thread.
fn used_by_thread() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}
