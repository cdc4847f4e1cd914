//! A lock that many readers share, or one writer has.
//!
//! **Layout**: `<path>/_c_<guid>-__READ__<number>` and `…-__WRIT__<number>`, ephemeral sequential, as Curator's
//! `InterProcessReadWriteLock`.
//!
//! **Guarantees**: a writer is alone; readers are alone with readers; in the order of the creates, so that writers do
//! not starve. No herd: a writer waits for the one right ahead, a reader for the last writer ahead. **Not**: not
//! reentrant, and a reader does not become a writer.

use std::time::Duration;

use bytes::Bytes;

use super::lock::{LockGuard, contend};
use crate::{Client, Error};

const READ: &str = "__READ__";
const WRITE: &str = "__WRIT__";

/// A shared lock.
#[derive(Debug, Clone)]
pub struct ReadWriteLock {
    client: Client,
    path: String,
    id: Bytes,
}

impl ReadWriteLock {
    /// The lock of this directory, which need not exist.
    #[must_use]
    pub fn new(client: &Client, path: &str) -> Self {
        Self { client: client.clone(), path: path.to_owned(), id: Bytes::new() }
    }

    /// What the contender's znode holds, for people who look.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<Bytes>) -> Self {
        self.id = id.into();
        self
    }

    /// Waits until no writer is ahead. Dropping the future gives up the place.
    pub async fn read(&self) -> Result<LockGuard, Error> {
        contend(&self.client, &self.path, READ, &self.id, |name| name.contains(WRITE)).await
    }

    /// The same for a while; `None` when the time is up.
    pub async fn read_within(&self, time: Duration) -> Result<Option<LockGuard>, Error> {
        tokio::time::timeout(time, self.read()).await.ok().transpose()
    }

    /// Waits until nobody is ahead. Dropping the future gives up the place.
    pub async fn write(&self) -> Result<LockGuard, Error> {
        contend(&self.client, &self.path, WRITE, &self.id, |name| name.contains(READ) || name.contains(WRITE))
            .await
    }
    /// The same for a while; `None` when the time is up.
    pub async fn write_within(&self, time: Duration) -> Result<Option<LockGuard>, Error> {
        tokio::time::timeout(time, self.write()).await.ok().transpose()
    }
}
