//! An exclusive lock among processes.
//!
//! **Layout**: `<path>/_c_<guid>-lock-<number>`, ephemeral sequential, data: who it is. It is Curator's
//! `InterProcessMutex`; kazoo's `Lock` joins in a subclass with `_NODE_NAME = "-lock-"`.
//!
//! **Guarantees**: at most one holder at a time, by the clock of the servers; a holder that is told `Lost` in time by a
//! clock that runs as fast. Fair: in the order of the creates. No herd: whoever leaves wakes one. **Not**: it is not
//! reentrant, and a process that was stopped may believe for a while that it holds: use the token.

use std::time::Duration;

use bytes::Bytes;

use super::common::{again, join, sequence};
use super::holding::{Holding, Tenure};
use super::seat::Seat;
use crate::{ANY_VERSION, Client, Code, CreateMode, Error, Zxid};

/// What a holder finds in its own znode when somebody wants it to let go; Curator's word.
const REVOKE: &[u8] = b"__REVOKE__";

/// A lock, held by nobody yet.
///
/// ```no_run
/// # use ostler_client::{Client, recipes::Lock};
/// # async fn f(client: Client) -> Result<(), ostler_client::Error> {
/// let lock = Lock::new(&client, "/locks/printer");
/// let guard = lock.acquire().await?;
/// tokio::select! {
///     () = guard.lost() => eprintln!("stop: somebody else may print now"),
///     () = print_with(guard.token()) => guard.release().await?,
/// }
/// # Ok(()) }
/// # async fn print_with(_: ostler_client::Zxid) {}
/// ```
#[derive(Debug, Clone)]
pub struct Lock {
    client: Client,
    path: String,
    id: Bytes,
}

impl Lock {
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

    /// Waits until it is held. Dropping the future gives up the place.
    pub async fn acquire(&self) -> Result<LockGuard, Error> {
        contend(&self.client, &self.path, "lock-", &self.id, |name| name.contains("lock-")).await
    }

    /// Waits for a while; `None` when the time is up.
    pub async fn acquire_within(&self, time: Duration) -> Result<Option<LockGuard>, Error> {
        tokio::time::timeout(time, self.acquire()).await.ok().transpose()
    }

    /// The contenders' ids, the holder first.
    pub async fn contenders(&self) -> Result<Vec<Bytes>, Error> {
        let mut ids = Vec::new();
        for path in in_order(&self.client, &self.path).await? {
            if let Some((data, _)) = super::common::unless(
                Code::NoNode,
                again(&self.client, || self.client.get_data(&path)).await,
            )? {
                ids.push(data);
            }
        }
        Ok(ids)
    }

    /// Asks the holder to let go; whether it does is up to it ([`LockGuard::revoked`]). Whether there was a holder.
    pub async fn revoke(&self) -> Result<bool, Error> {
        let Some(holder) = in_order(&self.client, &self.path).await?.into_iter().next() else {
            return Ok(false);
        };
        let asked = again(&self.client, || self.client.set_data(&holder, REVOKE, ANY_VERSION)).await;
        Ok(super::common::unless(Code::NoNode, asked)?.is_some())
    }
}

/// The contenders' paths, the holder first.
async fn in_order(client: &Client, directory: &str) -> Result<Vec<String>, Error> {
    let listed = again(client, || client.get_children(directory)).await;
    let Some((mut names, _)) = super::common::unless(Code::NoNode, listed)? else { return Ok(Vec::new()) };
    names.sort_by_key(|name| sequence(name));
    Ok(names.into_iter().map(|name| join(directory, &name)).collect())
}

/// Takes a seat and waits until nobody ahead counts.
pub(crate) async fn contend(
    client: &Client,
    directory: &str,
    name: &str,
    id: &[u8],
    counts: impl Fn(&str) -> bool,
) -> Result<LockGuard, Error> {
    loop {
        let seat = Seat::take(client, directory, name, id, CreateMode::EphemeralSequential).await?;
        match seat.wait_turn(&counts).await {
            Ok(()) => {}
            // Somebody deleted the znode; queue again.
            Err(error) if error.code() == Some(Code::NoNode) => {
                client.connected().await?;
                continue;
            }
            Err(error) => return Err(error),
        }
        // The proof that it is there must be younger than the status that the tenure counts from.
        let status = client.status();
        let path = seat.created().path.clone();
        if again(client, || client.exists(&path)).await?.is_some() {
            return Ok(LockGuard { tenure: Tenure::since(client, &status), client: client.clone(), seat });
        }
    }
}

/// A lock that is held. Dropped, it is let go, in the background; [`release`](Self::release) waits until that is done.
#[derive(Debug)]
#[must_use = "a guard that is dropped lets the lock go"]
pub struct LockGuard {
    client: Client,
    seat: Seat,
    tenure: Tenure,
}

impl LockGuard {
    /// A number that grows from holder to holder: give it to what the holder acts on.
    #[must_use]
    pub fn token(&self) -> Zxid {
        Zxid(self.seat.created().stat.czxid)
    }

    /// The holder's znode.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.seat.created().path
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

    /// Waits until somebody asks for the lock to be let go.
    pub async fn revoked(&self) -> Result<(), Error> {
        loop {
            let (data, _, watch) =
                again(&self.client, || self.client.get_data_and_watch(self.path())).await?;
            if data == REVOKE {
                return Ok(());
            }
            watch.await?;
        }
    }

    /// The znode and the tenure, for what is built on a lock.
    pub(crate) fn into_parts(self) -> (Seat, Tenure) {
        (self.seat, self.tenure)
    }

    /// Lets it go and waits until that is done. An error says that the session is over: then it is lost anyway.
    pub async fn release(self) -> Result<(), Error> {
        self.seat.leave().await
    }
}
