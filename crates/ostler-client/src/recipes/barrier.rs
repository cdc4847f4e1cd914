//! Barriers. A single one holds everybody up while it stands. A double one lets a number of members begin together,
//! and end together.
//!
//! **Layout**: single: `<path>`, persistent. Double: `<path>/<guid>`, ephemeral, for each member, and `<path>/ready`;
//! that of Curator's `DistributedDoubleBarrier`.
//!
//! **Guarantees**: nobody passes a single barrier while it stands. `enter` returns when as many members were there at
//! once as were asked for; `leave` returns when all have left or died. **Not**: a member that dies between the others'
//! coming and their entering may leave them waiting for another; wait for a while only.

use std::time::Duration;

use super::common::{again, ensure, ensure_kept, guid, is_passing, join, pause, remove, unless};
use crate::{ANY_VERSION, Client, Code, CreateMode, Error, EventType};

/// A barrier that stands or not.
#[derive(Debug, Clone)]
pub struct Barrier {
    client: Client,
    path: String,
}

impl Barrier {
    /// The barrier at this path.
    #[must_use]
    pub fn new(client: &Client, path: &str) -> Self {
        Self { client: client.clone(), path: path.to_owned() }
    }

    /// Sets it up; it is fine if it stands.
    pub async fn set(&self) -> Result<(), Error> {
        ensure_kept(&self.client, &self.path).await
    }

    /// Takes it away; it is fine if it does not stand.
    pub async fn lift(&self) -> Result<(), Error> {
        remove(&self.client, &self.path).await
    }

    /// Waits until it does not stand.
    pub async fn wait(&self) -> Result<(), Error> {
        loop {
            let (stat, watch) = again(&self.client, || self.client.exists_and_watch(&self.path)).await?;
            if stat.is_none() {
                return Ok(());
            }
            watch.await?;
        }
    }

    /// The same for a while; whether it does not stand.
    pub async fn wait_within(&self, time: Duration) -> Result<bool, Error> {
        match tokio::time::timeout(time, self.wait()).await {
            Ok(passed) => passed.map(|()| true),
            Err(_) => Ok(false),
        }
    }
}

/// A barrier at which members begin and end together. A future of `enter` or `leave` that is dropped leaves the member
/// where it was: it may be asked for again, or the barrier be dropped, which takes the member away.
#[derive(Debug)]
pub struct DoubleBarrier {
    client: Client,
    path: String,
    members: usize,
    name: String,
    /// The own znode may be there.
    entered: bool,
}

impl DoubleBarrier {
    /// The barrier of this directory, for so many members.
    #[must_use]
    pub fn new(client: &Client, path: &str, members: usize) -> Self {
        Self { client: client.clone(), path: path.to_owned(), members, name: guid(client), entered: false }
    }

    /// Waits until all members are there.
    pub async fn enter(&mut self) -> Result<(), Error> {
        let ready = join(&self.path, READY);
        self.entered = true;
        loop {
            let (stat, watch) = again(&self.client, || self.client.exists_and_watch(&ready)).await?;
            self.be_there().await?;
            if stat.is_some() {
                return Ok(());
            }
            if self.others().await?.len() >= self.members {
                // By whoever comes last; perhaps by two who both think so.
                let created =
                    again(&self.client, || self.client.create(&ready, "", CreateMode::Ephemeral)).await;
                match created {
                    Err(error) if !matches!(error.code(), Some(Code::NodeExists)) => return Err(error),
                    _ => return Ok(()),
                }
            }
            if watch.await?.kind == EventType::NodeCreated {
                return Ok(());
            }
        }
    }

    /// The same for a while; whether all were there. Who gives up goes away, though others may have counted it.
    pub async fn enter_within(&mut self, time: Duration) -> Result<bool, Error> {
        if let Ok(entered) = tokio::time::timeout(time, self.enter()).await {
            return entered.map(|()| true);
        }
        let ready = join(&self.path, READY);
        if again(&self.client, || self.client.exists(&ready)).await?.is_some() {
            return Ok(true);
        }
        remove(&self.client, &join(&self.path, &self.name)).await?;
        self.entered = false;
        Ok(false)
    }

    /// Waits until all members have left.
    pub async fn leave(&mut self) -> Result<(), Error> {
        let mine = join(&self.path, &self.name);
        loop {
            let mut names = self.others().await?;
            names.sort_unstable();
            let place = names.iter().position(|name| *name == self.name);
            let Some((first, last)) = names.first().zip(names.last()) else { break };
            if names.len() == 1 && place.is_some() {
                remove(&self.client, &mine).await?;
                break;
            }
            // The first waits for the last, so that it is the first until the end; all others go and wait for it.
            let awaited = if place == Some(0) {
                last
            } else {
                remove(&self.client, &mine).await?;
                first
            };
            let path = join(&self.path, awaited);
            let (stat, watch) = again(&self.client, || self.client.exists_and_watch(&path)).await?;
            if stat.is_some() {
                watch.await?;
            }
        }
        self.entered = false;
        remove(&self.client, &join(&self.path, READY)).await
    }

    /// Creates the own znode. It is the own one if it exists: nobody else has the name.
    async fn be_there(&self) -> Result<(), Error> {
        let mine = join(&self.path, &self.name);
        loop {
            match self.client.create(&mine, "", CreateMode::Ephemeral).await {
                Ok(_) => return Ok(()),
                Err(error) if error.code() == Some(Code::NodeExists) => return Ok(()),
                Err(error) if error.code() == Some(Code::NoNode) => ensure(&self.client, &self.path).await?,
                Err(error) if is_passing(&error) => pause(&self.client).await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// The members that are there, the own one among them.
    async fn others(&self) -> Result<Vec<String>, Error> {
        let listed = again(&self.client, || self.client.get_children(&self.path)).await;
        let names = unless(Code::NoNode, listed)?.map(|(names, _)| names).unwrap_or_default();
        Ok(names.into_iter().filter(|name| name != READY).collect())
    }
}

/// The znode that tells that all were there.
const READY: &str = "ready";

impl Drop for DoubleBarrier {
    fn drop(&mut self) {
        if !self.entered || self.client.status().is_ended() {
            return;
        }
        let mine = join(&self.path, &self.name);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let client = self.client.clone();
            runtime.spawn(async move { remove(&client, &mine).await });
        } else {
            drop(self.client.delete(&mine, ANY_VERSION));
        }
    }
}
