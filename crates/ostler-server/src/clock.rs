//! The clock: the one place of the server that asks what time it is.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ostler_node::Now;

/// A monotonic clock that began with the process, and the wall clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that begins now.
    #[must_use]
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// What time it is.
    #[must_use]
    pub(crate) fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            mono_ms: u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX),
            wall_ms: i64::try_from(wall.as_millis()).unwrap_or(i64::MAX),
        }
    }

    /// The instant of a monotonic time.
    #[must_use]
    pub(crate) fn instant(&self, mono_ms: u64) -> Instant {
        // Far enough is as good as never, and cannot overflow.
        self.start + Duration::from_millis(mono_ms.min(u64::from(u32::MAX) * 1000))
    }
}
