//! The reaper of containers and TTL nodes: at an interval it asks the tree which have run out, then deletes them one
//! by one at a limited rate. Answers to Java's `ContainerManager`.

use std::collections::VecDeque;

use ostler_tree::Store;

use crate::time::Now;

/// Settings (`znode.container.*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReaperConfig {
    /// How often it looks, in milliseconds.
    pub check_interval_ms: u64,
    /// How many it deletes a minute at the most.
    pub max_per_minute: u64,
    /// How long a container that never had a child may stay, in milliseconds; 0 is for ever.
    pub max_never_used_ms: i64,
}

impl Default for ReaperConfig {
    fn default() -> Self {
        Self { check_interval_ms: 60_000, max_per_minute: 10_000, max_never_used_ms: 0 }
    }
}

/// What is to be deleted, and when to look again.
#[derive(Debug)]
pub struct Reaper {
    config: ReaperConfig,
    next_check_ms: u64,
    next_delete_ms: u64,
    candidates: VecDeque<String>,
}

impl Reaper {
    /// A reaper that looks for the first time one interval from now.
    #[must_use]
    pub fn new(config: ReaperConfig, now: Now) -> Self {
        Self {
            config,
            next_check_ms: now.mono_ms + config.check_interval_ms,
            next_delete_ms: now.mono_ms,
            candidates: VecDeque::new(),
        }
    }

    /// When it wants to be called next.
    #[must_use]
    pub fn deadline_ms(&self) -> u64 {
        if self.candidates.is_empty() { self.next_check_ms } else { self.next_delete_ms }
    }

    /// The next node to delete, if one is due.
    pub fn poll(&mut self, now: Now, store: &Store) -> Option<String> {
        if self.candidates.is_empty() && now.mono_ms >= self.next_check_ms {
            self.candidates = store.expired_containers(now.wall_ms, self.config.max_never_used_ms).into();
            self.next_check_ms = now.mono_ms + self.config.check_interval_ms;
            self.next_delete_ms = now.mono_ms;
        }
        if now.mono_ms < self.next_delete_ms {
            return None;
        }
        let path = self.candidates.pop_front()?;
        self.next_delete_ms = now.mono_ms + 60_000 / self.config.max_per_minute.max(1);
        Some(path)
    }
}
