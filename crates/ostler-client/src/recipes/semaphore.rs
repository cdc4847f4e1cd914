//! A number of leases that processes share.
//!
//! **Layout**: `<path>/locks/` is a [`Lock`], `<path>/leases/_c_<guid>-lease-<number>` are the leases;
//! that of Curator's `InterProcessSemaphoreV2`. Whoever wants a lease takes the lock, adds a znode, waits until it is
//! among the first, and lets go of the lock.
//!
//! **Guarantees**: never more leases than permits, as long as all say the same number; fair, by the lock; only the
//! holder of the lock watches the leases.

use std::time::Duration;

use bytes::Bytes;

use super::common::{again, join, sequence};
use super::holding::{Holding, Tenure};
use super::lock::Lock;
use super::seat::Seat;
use crate::{Client, Code, CreateMode, Error, Zxid};

/// A semaphore.
#[derive(Debug, Clone)]
pub struct Semaphore {
    client: Client,
    lock: Lock,
    leases: String,
    permits: usize,
    id: Bytes,
}

impl Semaphore {
    /// The semaphore of this directory, with so many permits.
    #[must_use]
    pub fn new(client: &Client, path: &str, permits: usize) -> Self {
        Self {
            client: client.clone(),
            lock: Lock::new(client, &join(path, "locks")),
            leases: join(path, "leases"),
            permits,
            id: Bytes::new(),
        }
    }

    /// What a lease's znode holds, for people who look.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<Bytes>) -> Self {
        self.id = id.into();
        self
    }

    /// Waits for a lease. Dropping the future gives up the place.
    pub async fn acquire(&self) -> Result<Lease, Error> {
        loop {
            let guard = self.lock.acquire().await?;
            let taken = tokio::select! {
                biased;
                taken = self.take() => taken,
                // Somebody else may be adding a lease now.
                () = guard.lost() => Err(Error::from(Code::NoNode)),
            };
            match taken {
                Ok(lease) => {
                    guard.release().await?;
                    return Ok(lease);
                }
                // The znode or the lock is gone; queue again, if there is a session to queue with.
                Err(error) if error.code() == Some(Code::NoNode) => self.client.connected().await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for a while; `None` when the time is up.
    pub async fn acquire_within(&self, time: Duration) -> Result<Option<Lease>, Error> {
        tokio::time::timeout(time, self.acquire()).await.ok().transpose()
    }

    async fn take(&self) -> Result<Lease, Error> {
        let seat =
            Seat::take(&self.client, &self.leases, "lease-", &self.id, CreateMode::EphemeralSequential)
                .await?;
        loop {
            let status = self.client.status();
            let (mut names, _, watch) =
                again(&self.client, || self.client.get_children_and_watch(&self.leases)).await?;
            names.sort_by_key(|name| sequence(name));
            match names.iter().position(|name| name == seat.name()) {
                Some(place) if place < self.permits => {
                    return Ok(Lease { tenure: Tenure::since(&self.client, &status), seat });
                }
                Some(_) => drop(watch.await?),
                None => return Err(Error::from(Code::NoNode)),
            }
        }
    }
}

/// A lease that is held. Dropped, it is given back in the background.
#[derive(Debug)]
#[must_use = "a lease that is dropped is given back"]
pub struct Lease {
    seat: Seat,
    tenure: Tenure,
}

impl Lease {
    /// A number that grows from lease to lease.
    #[must_use]
    pub fn token(&self) -> Zxid {
        Zxid(self.seat.created().stat.czxid)
    }

    /// The time during which it is held, to be watched elsewhere.
    #[must_use]
    pub fn tenure(&self) -> Tenure {
        self.tenure.clone()
    }

    /// Whether it is still held.
    #[must_use]
    pub fn holding(&self) -> Holding {
        self.tenure.holding()
    }

    /// Waits until that is another answer than the last time.
    pub async fn changed(&mut self) -> Holding {
        self.tenure.changed().await
    }

    /// Waits until it is lost.
    pub async fn lost(&self) {
        self.tenure.lost().await;
    }

    /// Gives it back and waits until that is done.
    pub async fn release(self) -> Result<(), Error> {
        self.seat.leave().await
    }
}
