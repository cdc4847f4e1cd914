//! Small things that several parts of the node need: a generator of numbers from a seed, and what all lanes count
//! together.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Numbers from a seed (splitmix64): for spreading snapshots and dropping connections, not for secrets.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A generator.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, or 0 for a bound of 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.draw() % bound }
    }

    /// A number in [0, 1).
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    pub fn chance(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// What is under way in all lanes together. Counters only: nothing is ordered by them.
#[derive(Debug, Default)]
pub struct InFlight {
    requests: AtomicUsize,
    large_bytes: AtomicUsize,
}

impl InFlight {
    /// Requests that wait for the node.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// One more request waits.
    pub fn add_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// So many fewer wait.
    pub fn remove_requests(&self, count: usize) {
        self.requests.fetch_sub(count, Ordering::Relaxed);
    }

    /// Takes up `bytes` for a large request unless that makes more than `max`.
    pub fn try_add_large(&self, bytes: usize, max: usize) -> bool {
        self.large_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
                held.checked_add(bytes).filter(|sum| *sum <= max)
            })
            .is_ok()
    }

    /// Gives back the bytes of large requests.
    pub fn remove_large(&self, bytes: usize) {
        self.large_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}
