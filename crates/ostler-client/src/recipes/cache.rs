//! A copy of a subtree in memory, kept up to date by one recursive watch, with a stream of what changed.
//!
//! **Layout**: none of its own. Needs servers from 3.6 on.
//!
//! **Guarantees**: the initial load and each reload are told as events, and `Initialized` comes behind the first; from
//! then on each event is a change of the copy, in the order in which this client sees the changes, parents before
//! children when they come, children before parents when they go. Every change that stays is seen; of changes that
//! follow each other quickly only the last may be. After a lost connection what is different is read anew. The copy
//! outlives connection and session. **Not**: it is behind the servers by a moment, and no snapshot: two znodes of it may
//! be of different moments.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::common::{again, join, parent};
use crate::driver::Mailbox;
use crate::{AddWatchMode, Client, Code, Error, Stat, WatchEvent};

/// How many znodes are asked for at once in a load.
const AT_ONCE: usize = 200;
/// How many events may wait to be taken.
const EVENTS: usize = 4096;

/// Which znodes are copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The znode and all below.
    Tree,
    /// Its children, and neither itself nor what is below them.
    Children,
}

/// A znode of the copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedNode {
    /// Its data.
    pub data: Bytes,
    /// Its Stat, as of when the data was read; that of children is not followed.
    pub stat: Stat,
}

/// A change of the copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheEvent {
    /// A znode came.
    Added(String, CachedNode),
    /// Its data changed.
    Updated(String, CachedNode),
    /// It went; this is what it was.
    Removed(String, CachedNode),
    /// All that was there at the beginning has been told.
    Initialized,
    /// Events were dropped, since nobody took them: look at the copy.
    Overflow,
    /// The session is over; the copy stays as it is.
    Ended,
}

/// The copy.
#[derive(Debug)]
pub struct Cache {
    nodes: Arc<Mutex<BTreeMap<String, CachedNode>>>,
    events: Arc<Mailbox<CacheEvent>>,
    task: tokio::task::JoinHandle<()>,
}

impl Cache {
    /// Begins to copy. To be called on a tokio runtime.
    #[must_use]
    pub fn start(client: &Client, path: &str, scope: Scope) -> Self {
        let nodes = Arc::new(Mutex::new(BTreeMap::new()));
        let events = Mailbox::new(EVENTS, || CacheEvent::Overflow);
        let keeper = Keeper {
            client: client.clone(),
            root: path.to_owned(),
            scope,
            nodes: nodes.clone(),
            events: events.clone(),
        };
        let task = tokio::spawn(async move {
            // The error is that the session is over, or that the servers do not know such watches.
            drop(keeper.keep().await);
            keeper.tell(CacheEvent::Ended);
            if let Some(waker) = keeper.events.end() {
                waker.wake();
            }
        });
        Self { nodes, events, task }
    }

    /// A znode of the copy.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<CachedNode> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }

    /// The whole copy.
    #[must_use]
    pub fn nodes(&self) -> BTreeMap<String, CachedNode> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The next change, `None` after the last.
    pub async fn next(&mut self) -> Option<CacheEvent> {
        std::future::poll_fn(|cx| self.events.poll_next(cx)).await
    }

    /// Takes events until the first load is done; `false` if the session is over before.
    pub async fn initialized(&mut self) -> bool {
        loop {
            match self.next().await {
                Some(CacheEvent::Initialized) => return true,
                Some(CacheEvent::Ended) | None => return false,
                Some(_) => {}
            }
        }
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Keeper {
    client: Client,
    root: String,
    scope: Scope,
    nodes: Arc<Mutex<BTreeMap<String, CachedNode>>>,
    events: Arc<Mailbox<CacheEvent>>,
}

impl Keeper {
    async fn keep(&self) -> Result<(), Error> {
        let watch = || self.client.add_watch(&self.root, AddWatchMode::PersistentRecursive);
        let mut changes = again(&self.client, watch).await?;
        self.load().await?;
        self.tell(CacheEvent::Initialized);
        while let Some(event) = changes.next().await {
            match event {
                WatchEvent::Changed(event) if self.covers(&event.path) => self.refresh(&event.path).await?,
                WatchEvent::Changed(_) => {}
                WatchEvent::Reconnected | WatchEvent::Overflow => self.load().await?,
            }
        }
        Ok(())
    }

    fn covers(&self, path: &str) -> bool {
        match self.scope {
            Scope::Tree => true,
            Scope::Children => path != self.root && parent(path) == self.root,
        }
    }

    /// Reads everything, tells what is new and changed, then what is gone.
    async fn load(&self) -> Result<(), Error> {
        let mut seen = BTreeSet::new();
        let mut level = match self.scope {
            Scope::Tree => vec![self.root.clone()],
            Scope::Children => self.children_of(&self.root, None).await?,
        };
        while !level.is_empty() {
            let mut below = Vec::new();
            for paths in level.chunks(AT_ONCE) {
                let mut asked = self.client.get_data_batch(paths);
                let deep = self.scope == Scope::Tree;
                let children: Vec<_> =
                    paths.iter().map(|path| deep.then(|| self.client.get_children(path))).collect();
                for (path, children) in paths.iter().zip(children) {
                    let Some(data) = asked.next().await else { break };
                    if !self.put(path, data).await? {
                        // It may have come back since: then its creation is told.
                        continue;
                    }
                    seen.insert(path.clone());
                    if let Some(children) = children {
                        below.extend(self.children_of(path, Some(children.await)).await?);
                    }
                }
            }
            level = below;
        }
        let known: Vec<String> = self.lock().keys().filter(|path| !seen.contains(*path)).cloned().collect();
        for path in known.into_iter().rev() {
            self.take_out(&path);
        }
        Ok(())
    }

    /// The children's paths, by an answer that is there already if that is one.
    async fn children_of(
        &self,
        path: &str,
        answer: Option<Result<(Vec<String>, Stat), Error>>,
    ) -> Result<Vec<String>, Error> {
        let answer = match answer {
            Some(answer) if answer.is_ok() => answer,
            _ => again(&self.client, || self.client.get_children(path)).await,
        };
        match answer {
            Ok((mut names, _)) => {
                names.sort_unstable();
                Ok(names.into_iter().map(|name| join(path, &name)).collect())
            }
            // Gone meanwhile, or none of our business.
            Err(error) if matches!(error.code(), Some(Code::NoNode | Code::NoAuth)) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    async fn refresh(&self, path: &str) -> Result<(), Error> {
        // What is read may be newer than the event. Where the parent is not known, its creation is yet to be told, and
        // then that of what is below it.
        if self.scope == Scope::Tree && path != self.root && !self.lock().contains_key(parent(path)) {
            return Ok(());
        }
        let answer = self.client.get_data(path).await;
        if !self.put(path, answer).await? {
            self.take_out_subtree(path);
        }
        Ok(())
    }

    /// Puts in what was read; whether the znode is there.
    async fn put(&self, path: &str, answer: Result<(Bytes, Stat), Error>) -> Result<bool, Error> {
        let answer = match answer {
            Err(error) if super::common::is_passing(&error) => {
                again(&self.client, || self.client.get_data(path)).await
            }
            answer => answer,
        };
        let (data, stat) = match answer {
            Ok(read) => read,
            Err(error) if matches!(error.code(), Some(Code::NoNode | Code::NoAuth)) => return Ok(false),
            Err(error) => return Err(error),
        };
        let known = self.lock().get(path).map(|node| node.stat);
        // A copy: what came together shares its memory, and would be kept as a whole.
        let node = CachedNode { data: Bytes::copy_from_slice(&data), stat };
        match known {
            Some(known) if known.czxid != stat.czxid => {
                self.take_out_subtree(path);
                self.add(path, node);
            }
            Some(known) if known.mzxid != stat.mzxid => {
                self.lock().insert(path.to_owned(), node.clone());
                self.tell(CacheEvent::Updated(path.to_owned(), node));
            }
            Some(_) => {}
            None => self.add(path, node),
        }
        Ok(true)
    }

    fn add(&self, path: &str, node: CachedNode) {
        self.lock().insert(path.to_owned(), node.clone());
        self.tell(CacheEvent::Added(path.to_owned(), node));
    }

    fn take_out_subtree(&self, path: &str) {
        let below: Vec<String> =
            self.lock().keys().filter(|known| ostler_wire::path::is_under(known, path)).cloned().collect();
        for path in below.into_iter().rev() {
            self.take_out(&path);
        }
    }

    fn take_out(&self, path: &str) {
        let removed = self.lock().remove(path);
        if let Some(node) = removed {
            self.tell(CacheEvent::Removed(path.to_owned(), node));
        }
    }

    fn tell(&self, event: CacheEvent) {
        if let Some(waker) = self.events.push(event) {
            waker.wake();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, CachedNode>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
