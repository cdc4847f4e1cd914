//! A queue of values among processes: first in, first out, among those of the same priority.
//!
//! **Layout**: `<path>/entry-<priority>-<number>`, persistent sequential, priority in three digits and the lowest first;
//! that of kazoo's `Queue`. While a value is put or taken there is an ephemeral marker in `<path>-pending/`.
//!
//! **Guarantees**: a value that was put is in the queue once; a value is taken by one taker; also when the connection is
//! lost at any step. A taker that dies, or whose session is lost, may take its value with it (at most once). **Not**:
//! takers that wait are all woken by a new value; and a queue of many thousands of values is slow, as each taker lists
//! it: znodes are not for that.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::commit::commit_once;
use super::common::{again, ensure_kept, join, unless};
use crate::{Client, Code, CreateMode, Error, ErrorKind};

/// The priority of what is put without one, as in kazoo.
const USUAL: u16 = 100;

/// A queue.
#[derive(Debug, Clone)]
pub struct Queue {
    client: Client,
    path: String,
}

impl Queue {
    /// The queue of this directory, which need not exist.
    #[must_use]
    pub fn new(client: &Client, path: &str) -> Self {
        Self { client: client.clone(), path: path.to_owned() }
    }

    /// Puts a value at the end.
    pub async fn put(&self, value: impl Into<Bytes>) -> Result<(), Error> {
        self.put_with_priority(value, USUAL).await
    }

    /// Puts a value behind those of the same or a lower number, 0 to 999.
    pub async fn put_with_priority(&self, value: impl Into<Bytes>, priority: u16) -> Result<(), Error> {
        if priority > 999 {
            return Err(Error::new(ErrorKind::Misuse, "a priority has three digits"));
        }
        let value = value.into();
        let path = join(&self.path, &format!("entry-{priority:03}-"));
        loop {
            let put = commit_once(&self.client, &self.path, |transaction| {
                transaction.create(&path, value.clone(), CreateMode::PersistentSequential)
            });
            match put.await {
                Err(error) if error.code() == Some(Code::NoNode) => {
                    ensure_kept(&self.client, &self.path).await?
                }
                result => return result.map(drop),
            }
        }
    }

    /// Waits for a value and takes it. A future that is dropped may take a value with it: to wait for a while there is
    /// [`take_within`](Self::take_within).
    pub async fn take(&self) -> Result<Bytes, Error> {
        loop {
            if let Some(value) = self.take_until(Instant::now() + Duration::from_secs(3600)).await? {
                return Ok(value);
            }
        }
    }

    /// Waits for a while; `None` when the time is up. The time is for the waiting: a value that is being taken is
    /// taken.
    pub async fn take_within(&self, time: Duration) -> Result<Option<Bytes>, Error> {
        self.take_until(Instant::now() + time).await
    }

    /// How many values there are.
    pub async fn len(&self) -> Result<usize, Error> {
        let listed = again(&self.client, || self.client.get_children(&self.path)).await;
        Ok(unless(Code::NoNode, listed)?.map_or(0, |(names, _)| names.len()))
    }

    /// Whether there are none.
    pub async fn is_empty(&self) -> Result<bool, Error> {
        self.len().await.map(|len| len == 0)
    }

    async fn take_until(&self, deadline: Instant) -> Result<Option<Bytes>, Error> {
        loop {
            // Without a watch as long as there is something to take.
            let listed = again(&self.client, || self.client.get_children(&self.path)).await;
            let Some((mut names, _)) = unless(Code::NoNode, listed)? else {
                ensure_kept(&self.client, &self.path).await?;
                continue;
            };
            names.sort_unstable();
            for name in &names {
                if let Some(value) = self.take_entry(&join(&self.path, name)).await? {
                    return Ok(Some(value));
                }
            }
            let listed = again(&self.client, || self.client.get_children_and_watch(&self.path)).await;
            let Some((names, _, changed)) = unless(Code::NoNode, listed)? else { continue };
            if names.is_empty() {
                match tokio::time::timeout_at(deadline, changed).await {
                    Ok(event) => drop(event?),
                    Err(_) => return Ok(None),
                }
            }
        }
    }

    /// `None` if somebody else was faster.
    async fn take_entry(&self, path: &str) -> Result<Option<Bytes>, Error> {
        let read = again(&self.client, || self.client.get_data(path)).await;
        let Some((value, stat)) = unless(Code::NoNode, read)? else { return Ok(None) };
        let taken =
            commit_once(&self.client, &self.path, |transaction| transaction.delete(path, stat.version));
        match taken.await {
            Ok(_) => Ok(Some(value)),
            Err(error) if matches!(error.code(), Some(Code::NoNode | Code::BadVersion)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
