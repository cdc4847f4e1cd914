//! Several locks as one: all are held or none. They are acquired in the order of their paths, so that nobody waits in a
//! circle.
//!
//! **Layout and guarantees**: those of each [`Lock`]. **Not**: whoever takes single locks of the set in another order,
//! without this, may still end in a circle.

use std::time::Duration;

use super::holding::{Holding, Tenure};
use super::lock::{Lock, LockGuard};
use crate::{Client, Error, Zxid};

/// Several locks, held by nobody yet.
#[derive(Debug, Clone)]
pub struct MultiLock {
    locks: Vec<Lock>,
}

impl MultiLock {
    /// The locks of these directories.
    #[must_use]
    pub fn new(client: &Client, paths: &[&str]) -> Self {
        let mut paths = paths.to_vec();
        paths.sort_unstable();
        paths.dedup();
        Self { locks: paths.iter().map(|path| Lock::new(client, path)).collect() }
    }

    /// Waits until all are held. Dropping the future lets go of those that are.
    pub async fn acquire(&self) -> Result<MultiLockGuard, Error> {
        let mut guards = Vec::with_capacity(self.locks.len());
        for lock in &self.locks {
            guards.push(lock.acquire().await?);
        }
        Ok(MultiLockGuard { guards })
    }

    /// Waits for a while; `None` when the time is up.
    pub async fn acquire_within(&self, time: Duration) -> Result<Option<MultiLockGuard>, Error> {
        tokio::time::timeout(time, self.acquire()).await.ok().transpose()
    }
}

/// Locks that are held.
#[derive(Debug)]
#[must_use = "a guard that is dropped lets the locks go"]
pub struct MultiLockGuard {
    guards: Vec<LockGuard>,
}

impl MultiLockGuard {
    /// The tokens, in the order of the locks' paths.
    #[must_use]
    pub fn tokens(&self) -> Vec<Zxid> {
        self.guards.iter().map(LockGuard::token).collect()
    }

    /// Whether all are still held: the worst of the answers.
    #[must_use]
    pub fn holding(&self) -> Holding {
        let each: Vec<Holding> = self.guards.iter().map(LockGuard::holding).collect();
        if each.contains(&Holding::Lost) {
            Holding::Lost
        } else if each.contains(&Holding::Suspended) {
            Holding::Suspended
        } else {
            Holding::Held
        }
    }

    /// The time during which all are held, to be watched elsewhere: that of the one acquired first.
    ///
    /// # Panics
    ///
    /// If it is of no locks at all.
    #[must_use]
    pub fn tenure(&self) -> Tenure {
        self.guards.first().expect("there is a lock").tenure()
    }

    /// Waits until one of them is lost. They share a session, so then all may be.
    pub async fn lost(&self) {
        match self.guards.first() {
            Some(first) => first.lost().await,
            None => std::future::pending().await,
        }
    }

    /// Lets all go, the last first, and waits until that is done.
    pub async fn release(mut self) -> Result<(), Error> {
        while let Some(guard) = self.guards.pop() {
            guard.release().await?;
        }
        Ok(())
    }
}
