//! Election of a leader, in two forms, and an observer of who leads.
//!
//! **Layout**: [`Election`]: `<path>/_c_<guid>-latch-<number>`, ephemeral sequential, data: the candidate's id; that of
//! Curator's `LeaderLatch`. [`MasterElection`]: `<path>`, ephemeral: whoever creates it first leads.
//!
//! **Guarantees**: at most one leader at a time, by the clock of the servers; a leader learns `Suspended` at once when
//! the connection is gone, and `Out` before the servers can let its session expire. As long as candidates have a
//! session, one leads in the end. With `Election` in the order of coming, and whoever goes wakes one; with
//! `MasterElection` all candidates are woken. **Not**: a process that was stopped may think that it leads: use the
//! token.

use bytes::Bytes;
use tokio::sync::{oneshot, watch};

use super::common::{again, ensure, is_passing, join, parent, pause, remove, sequence, unless};
use super::holding::{Holding, Tenure};
use crate::{Client, Code, CreateMode, Error, Zxid};

/// What a candidate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Somebody else leads, or nobody yet.
    Waiting,
    /// It leads. The token grows from leader to leader.
    Leader {
        /// The czxid of the leader's znode.
        token: Zxid,
    },
    /// It led, and there is no connection: begin nothing that cannot be undone.
    Suspended,
    /// It does not take part any more: it left, or its session is over.
    Out,
}

/// An election in which candidates lead in the order of their coming.
#[derive(Debug, Clone)]
pub struct Election {
    client: Client,
    path: String,
}

impl Election {
    /// The election of this directory, which need not exist.
    #[must_use]
    pub fn new(client: &Client, path: &str) -> Self {
        Self { client: client.clone(), path: path.to_owned() }
    }

    /// Stands as a candidate, until it is dropped or leaves. To be called on a tokio runtime.
    pub fn join(&self, id: impl Into<Bytes>) -> Candidate {
        let (election, id) = (self.clone(), id.into());
        Candidate::start(move |roles, stop| async move { election.stand(&id, &roles, stop).await })
    }

    /// Who leads, now and later.
    #[must_use]
    pub fn observe(&self) -> LeaderObserver {
        let election = self.clone();
        LeaderObserver::start(move |leaders| async move { election.follow(&leaders).await })
    }

    async fn stand(
        &self,
        id: &[u8],
        roles: &watch::Sender<Role>,
        mut stop: oneshot::Receiver<()>,
    ) -> Result<(), Error> {
        loop {
            let contend =
                super::lock::contend(&self.client, &self.path, "latch-", id, |name| name.contains("latch-"));
            let guard = tokio::select! {
                biased;
                guard = contend => guard?,
                _ = &mut stop => return Ok(()),
            };
            let (token, path) = (guard.token(), guard.path().to_owned());
            let (seat, tenure) = guard.into_parts();
            let stopped = lead(&self.client, &path, token, tenure, roles, &mut stop).await?;
            roles.send_replace(Role::Waiting);
            seat.leave().await?;
            if stopped {
                return Ok(());
            }
        }
    }

    async fn follow(&self, leaders: &watch::Sender<Option<Leader>>) -> Result<(), Error> {
        loop {
            let listed = again(&self.client, || self.client.get_children_and_watch(&self.path)).await;
            let Some((names, _, changed)) = unless(Code::NoNode, listed)? else {
                leaders.send_replace(None);
                ensure(&self.client, &self.path).await?;
                continue;
            };
            let first = names.iter().filter(|name| name.contains("latch-")).min_by_key(|name| sequence(name));
            let leader = match first {
                Some(name) => {
                    let path = join(&self.path, name);
                    let read = again(&self.client, || self.client.get_data(&path)).await;
                    let Some((id, stat)) = unless(Code::NoNode, read)? else { continue };
                    Some(Leader { id, token: Zxid(stat.czxid) })
                }
                None => None,
            };
            leaders.send_if_modified(|known| replace(known, leader));
            changed.await?;
        }
    }
}

/// An election in which whoever creates the znode first leads.
#[derive(Debug, Clone)]
pub struct MasterElection {
    client: Client,
    path: String,
}

impl MasterElection {
    /// The election for this znode, for example `/master`.
    #[must_use]
    pub fn new(client: &Client, path: &str) -> Self {
        Self { client: client.clone(), path: path.to_owned() }
    }

    /// Stands as a candidate, until it is dropped or leaves. To be called on a tokio runtime.
    pub fn join(&self, id: impl Into<Bytes>) -> Candidate {
        let (election, id) = (self.clone(), id.into());
        Candidate::start(move |roles, stop| async move { election.stand(&id, &roles, stop).await })
    }

    /// Who leads, now and later.
    #[must_use]
    pub fn observe(&self) -> LeaderObserver {
        let election = self.clone();
        LeaderObserver::start(move |leaders| async move { election.follow(&leaders).await })
    }

    async fn stand(
        &self,
        id: &Bytes,
        roles: &watch::Sender<Role>,
        mut stop: oneshot::Receiver<()>,
    ) -> Result<(), Error> {
        let mut znode = OwnZnode { client: self.client.clone(), path: self.path.clone(), to_remove: false };
        loop {
            // The create may be under way when this ends.
            znode.to_remove = true;
            let (token, tenure) = tokio::select! {
                biased;
                won = self.win(id) => won?,
                _ = &mut stop => return znode.leave().await,
            };
            let stopped = lead(&self.client, &self.path, token, tenure, roles, &mut stop).await?;
            roles.send_replace(Role::Waiting);
            znode.leave().await?;
            if stopped {
                return Ok(());
            }
        }
    }

    async fn win(&self, id: &Bytes) -> Result<(Zxid, Tenure), Error> {
        loop {
            match self.client.create(&self.path, id.clone(), CreateMode::Ephemeral).await {
                Ok(_) => {}
                Err(error) if error.code() == Some(Code::NodeExists) => {}
                Err(error) if error.code() == Some(Code::NoNode) => {
                    ensure(&self.client, parent(&self.path)).await?;
                    continue;
                }
                Err(error) if is_passing(&error) => {
                    pause(&self.client).await?;
                    continue;
                }
                Err(error) => return Err(error),
            }
            // Whose it is says its owner, also after a create whose answer was lost.
            let status = self.client.status();
            let (stat, changed) = again(&self.client, || self.client.exists_and_watch(&self.path)).await?;
            match stat {
                Some(stat) if stat.ephemeral_owner == self.client.session_id().0 => {
                    return Ok((Zxid(stat.czxid), Tenure::since(&self.client, &status)));
                }
                Some(_) => drop(changed.await?),
                None => {}
            }
        }
    }

    async fn follow(&self, leaders: &watch::Sender<Option<Leader>>) -> Result<(), Error> {
        loop {
            let read = again(&self.client, || self.client.get_data_and_watch(&self.path)).await;
            match unless(Code::NoNode, read)? {
                Some((id, stat, changed)) => {
                    let leader = Some(Leader { id, token: Zxid(stat.czxid) });
                    leaders.send_if_modified(|known| replace(known, leader));
                    changed.await?;
                }
                None => {
                    leaders.send_if_modified(|known| replace(known, None));
                    let (stat, changed) =
                        again(&self.client, || self.client.exists_and_watch(&self.path)).await?;
                    if stat.is_none() {
                        changed.await?;
                    }
                }
            }
        }
    }
}

/// The znode of a master: deleted when dropped, unless it is somebody else's by then.
struct OwnZnode {
    client: Client,
    path: String,
    to_remove: bool,
}

impl OwnZnode {
    async fn leave(&mut self) -> Result<(), Error> {
        if self.to_remove {
            remove_own(&self.client, &self.path).await?;
            self.to_remove = false;
        }
        Ok(())
    }
}

impl Drop for OwnZnode {
    fn drop(&mut self) {
        if self.to_remove
            && !self.client.status().is_ended()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (client, path) = (self.client.clone(), std::mem::take(&mut self.path));
            runtime.spawn(async move { remove_own(&client, &path).await });
        }
    }
}

/// Deletes the znode if it is of this session: which nobody else can make it in between.
async fn remove_own(client: &Client, path: &str) -> Result<(), Error> {
    again(client, || client.sync(path)).await?;
    let stat = again(client, || client.exists(path)).await?;
    match stat {
        Some(stat) if stat.ephemeral_owner == client.session_id().0 => remove(client, path).await,
        _ => Ok(()),
    }
}

/// Leads until that is lost, the znode is gone, or it is to stop; whether it is to stop.
async fn lead(
    client: &Client,
    path: &str,
    token: Zxid,
    mut tenure: Tenure,
    roles: &watch::Sender<Role>,
    stop: &mut oneshot::Receiver<()>,
) -> Result<bool, Error> {
    let leading = Role::Leader { token };
    roles.send_replace(if tenure.holding() == Holding::Held { leading } else { Role::Suspended });
    let gone = async {
        loop {
            let (stat, changed) = again(client, || client.exists_and_watch(path)).await?;
            if stat.is_none_or(|stat| stat.czxid != token.0) {
                return Ok::<(), Error>(());
            }
            changed.await?;
        }
    };
    let mut gone = std::pin::pin!(gone);
    loop {
        tokio::select! {
            biased;
            _ = &mut *stop => return Ok(true),
            holding = tenure.changed() => {
                roles.send_replace(match holding {
                    Holding::Held => leading,
                    Holding::Suspended => Role::Suspended,
                    Holding::Lost => return Ok(false),
                });
            }
            result = &mut gone => return result.map(|()| false),
        }
    }
}

/// One who stands in an election. Dropped, it leaves in the background.
#[derive(Debug)]
#[must_use = "a candidate that is dropped leaves"]
pub struct Candidate {
    roles: watch::Receiver<Role>,
    stop: Option<oneshot::Sender<()>>,
}

impl Candidate {
    fn start<F>(stand: impl FnOnce(watch::Sender<Role>, oneshot::Receiver<()>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let (sender, roles) = watch::channel(Role::Waiting);
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(async move {
            let last = sender.clone();
            // The error is that the session is over, which the role tells.
            drop(stand(sender, stopped).await);
            last.send_replace(Role::Out);
        });
        Self { roles, stop: Some(stop) }
    }

    /// What it is now.
    #[must_use]
    pub fn role(&self) -> Role {
        *self.roles.borrow()
    }

    /// What it is once that has changed since the last call; `None` after `Out`. What came and went in between is not
    /// told; another leadership is another token.
    pub async fn changed(&mut self) -> Option<Role> {
        self.roles.changed().await.ok()?;
        Some(*self.roles.borrow_and_update())
    }

    /// Waits until it leads; `None` if it is out.
    pub async fn leads(&mut self) -> Option<Zxid> {
        let wanted = |role: &Role| matches!(role, Role::Leader { .. } | Role::Out);
        match self.roles.wait_for(wanted).await.map(|role| *role) {
            Ok(Role::Leader { token }) => Some(token),
            _ => None,
        }
    }

    /// Leaves, and waits until the znode is gone.
    pub async fn leave(mut self) {
        drop(self.stop.take());
        // It ends with its task.
        drop(self.roles.wait_for(|role| *role == Role::Out).await);
    }
}

/// Who leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// What the leader said that it is.
    pub id: Bytes,
    /// Its token.
    pub token: Zxid,
}

/// Follows who leads.
#[derive(Debug)]
pub struct LeaderObserver {
    leaders: watch::Receiver<Option<Leader>>,
    task: tokio::task::JoinHandle<()>,
}

impl LeaderObserver {
    fn start<F>(follow: impl FnOnce(watch::Sender<Option<Leader>>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let (sender, leaders) = watch::channel(None);
        let task = tokio::spawn(async move { drop(follow(sender).await) });
        Self { leaders, task }
    }

    /// Who leads, as far as is known.
    #[must_use]
    pub fn leader(&self) -> Option<Leader> {
        self.leaders.borrow().clone()
    }

    /// Who leads once that has changed since the last call. The outer `None`: the session is over.
    pub async fn changed(&mut self) -> Option<Option<Leader>> {
        self.leaders.changed().await.ok()?;
        Some(self.leaders.borrow_and_update().clone())
    }
}

impl Drop for LeaderObserver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn replace(known: &mut Option<Leader>, new: Option<Leader>) -> bool {
    let changed = *known != new;
    *known = new;
    changed
}
