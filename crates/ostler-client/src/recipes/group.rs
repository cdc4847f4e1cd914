//! Membership of a group: who is there.
//!
//! **Layout**: `<path>/<member>`, ephemeral, data: what the member says of itself.
//!
//! **Guarantees**: a name is in the group once; a member that dies is out when its session expires; a member whose name
//! is still taken, by its own earlier session for example, waits until that is gone.

use bytes::Bytes;

use super::cache::{Cache, CacheEvent, CachedNode, Scope};
use super::common::{again, ensure, is_passing, join, pause, remove};
use super::holding::{Holding, Tenure};
use crate::{ANY_VERSION, Client, Code, CreateMode, Error, Zxid};

/// A group.
#[derive(Debug, Clone)]
pub struct Group {
    client: Client,
    path: String,
}

impl Group {
    /// The group of this directory, which need not exist.
    #[must_use]
    pub fn new(client: &Client, path: &str) -> Self {
        Self { client: client.clone(), path: path.to_owned() }
    }

    /// Joins, and waits while another session has the name.
    pub async fn join(&self, name: &str, data: impl Into<Bytes>) -> Result<Membership, Error> {
        let data = data.into();
        let mut membership = Membership {
            client: self.client.clone(),
            path: join(&self.path, name),
            tenure: Tenure::since(&self.client, &self.client.status()),
            token: Zxid(0),
            left: false,
        };
        loop {
            match self.client.create(&membership.path, data.clone(), CreateMode::Ephemeral).await {
                Ok(_) => {}
                Err(error) if error.code() == Some(Code::NodeExists) => {}
                Err(error) if error.code() == Some(Code::NoNode) => {
                    ensure(&self.client, &self.path).await?;
                    continue;
                }
                Err(error) if is_passing(&error) => {
                    pause(&self.client).await?;
                    continue;
                }
                Err(error) => return Err(error),
            }
            let status = self.client.status();
            let (stat, changed) =
                again(&self.client, || self.client.exists_and_watch(&membership.path)).await?;
            match stat {
                Some(stat) if stat.ephemeral_owner == self.client.session_id().0 => {
                    membership.tenure = Tenure::since(&self.client, &status);
                    membership.token = Zxid(stat.czxid);
                    return Ok(membership);
                }
                Some(_) => drop(changed.await?),
                None => {}
            }
        }
    }

    /// Follows who is there. To be called on a tokio runtime.
    #[must_use]
    pub fn members(&self) -> Members {
        Members { cache: Cache::start(&self.client, &self.path, Scope::Children) }
    }
}

/// A place in a group. Dropped, it is given up in the background.
#[derive(Debug)]
#[must_use = "a membership that is dropped is given up"]
pub struct Membership {
    client: Client,
    path: String,
    tenure: Tenure,
    token: Zxid,
    left: bool,
}

impl Membership {
    /// A number that grows from membership to membership.
    #[must_use]
    pub fn token(&self) -> Zxid {
        self.token
    }

    /// The time during which it is held, to be watched elsewhere.
    #[must_use]
    pub fn tenure(&self) -> Tenure {
        self.tenure.clone()
    }

    /// Whether it still holds.
    #[must_use]
    pub fn holding(&self) -> Holding {
        self.tenure.holding()
    }

    /// Waits until it is lost.
    pub async fn lost(&self) {
        self.tenure.lost().await;
    }

    /// Says something else of itself.
    pub async fn update(&self, data: impl Into<Bytes>) -> Result<(), Error> {
        let data = data.into();
        again(&self.client, || self.client.set_data(&self.path, data.clone(), ANY_VERSION)).await.map(drop)
    }

    /// Leaves, and waits until that is done.
    pub async fn leave(mut self) -> Result<(), Error> {
        remove(&self.client, &self.path).await?;
        self.left = true;
        Ok(())
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        if self.left || self.client.status().is_ended() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            if self.token != Zxid(0) {
                drop(self.client.delete(&self.path, ANY_VERSION));
            }
            return;
        };
        let (client, path) = (self.client.clone(), std::mem::take(&mut self.path));
        runtime.spawn(async move {
            // Only the own one: while joining, the name may be another session's.
            again(&client, || client.sync(&path)).await?;
            let stat = again(&client, || client.exists(&path)).await?;
            if stat.is_some_and(|stat| stat.ephemeral_owner == client.session_id().0) {
                remove(&client, &path).await?;
            }
            Ok::<(), Error>(())
        });
    }
}

/// A change of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberEvent {
    /// A member came, and says this of itself.
    Joined(String, Bytes),
    /// It says something else of itself.
    Updated(String, Bytes),
    /// It left or died.
    Left(String),
    /// Those that were there at the beginning have been told.
    Initialized,
    /// Events were dropped, since nobody took them: look who is there.
    Overflow,
    /// The session is over.
    Ended,
}

/// Who is there.
#[derive(Debug)]
pub struct Members {
    cache: Cache,
}

impl Members {
    /// The members and what they say of themselves, as far as is known.
    #[must_use]
    pub fn current(&self) -> Vec<(String, Bytes)> {
        self.cache.nodes().into_iter().map(|(path, node)| (name(&path), node.data)).collect()
    }

    /// The next change, `None` after the last.
    pub async fn next(&mut self) -> Option<MemberEvent> {
        Some(match self.cache.next().await? {
            CacheEvent::Added(path, CachedNode { data, .. }) => MemberEvent::Joined(name(&path), data),
            CacheEvent::Updated(path, CachedNode { data, .. }) => MemberEvent::Updated(name(&path), data),
            CacheEvent::Removed(path, _) => MemberEvent::Left(name(&path)),
            CacheEvent::Initialized => MemberEvent::Initialized,
            CacheEvent::Overflow => MemberEvent::Overflow,
            CacheEvent::Ended => MemberEvent::Ended,
        })
    }
}

fn name(path: &str) -> String {
    path.rsplit('/').next().unwrap_or_default().to_owned()
}
