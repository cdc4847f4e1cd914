//! Tasks that tell how far they are, and a monitor that sees all of them and which died.
//!
//! **Layout**: `<path>/running/<task>`, ephemeral, data: the progress; `<path>/finished/<task>`, persistent, data: the
//! result.
//!
//! **Guarantees**: a task that ends without `finish` is told as died, once its session has expired; one that finishes is
//! never told as died, since one transaction does both. Of reports that follow each other quickly only the last may be
//! seen. **Not**: a task that is gone before a monitor could read it is not told at all; results stay until somebody
//! removes them ([`Monitor::forget`]).

use bytes::Bytes;

use super::cache::{Cache, CacheEvent, Scope};
use super::commit::commit_once;
use super::common::{again, ensure, ensure_kept, is_passing, join, pause, remove};
use crate::{ANY_VERSION, Client, Code, CreateMode, Error, ErrorKind};

/// Where tasks of one kind are.
#[derive(Debug, Clone)]
pub struct Task {
    client: Client,
    path: String,
}

impl Task {
    /// The tasks of this directory, which need not exist.
    #[must_use]
    pub fn new(client: &Client, path: &str) -> Self {
        Self { client: client.clone(), path: path.to_owned() }
    }

    /// Begins a task. Rejected with `NodeExists` while another session runs one of this name.
    pub async fn start(&self, name: &str, progress: impl Into<Bytes>) -> Result<TaskReporter, Error> {
        let running = join(&self.path, "running");
        let path = join(&running, name);
        let progress = progress.into();
        // What a failed attempt leaves is removed when this is dropped.
        let mut reporter = TaskReporter {
            client: self.client.clone(),
            base: self.path.clone(),
            name: name.to_owned(),
            path,
            over: false,
        };
        let mut lost = false;
        loop {
            match self.client.create(&reporter.path, progress.clone(), CreateMode::Ephemeral).await {
                Ok(_) => return Ok(reporter),
                Err(error) if error.code() == Some(Code::NoNode) => ensure(&self.client, &running).await?,
                Err(error) if is_passing(&error) => {
                    lost |= error.kind() == ErrorKind::Unknown;
                    pause(&self.client).await?;
                }
                Err(error) if error.code() == Some(Code::NodeExists) => {
                    let stat = again(&self.client, || self.client.exists(&reporter.path)).await?;
                    match stat {
                        Some(stat) if lost && stat.ephemeral_owner == self.client.session_id().0 => {
                            return Ok(reporter);
                        }
                        Some(_) => {
                            reporter.over = true;
                            return Err(error);
                        }
                        None => {}
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Follows all tasks. To be called on a tokio runtime.
    #[must_use]
    pub fn monitor(&self) -> Monitor {
        Monitor {
            client: self.client.clone(),
            cache: Cache::start(&self.client, &self.path, Scope::Tree),
            path: self.path.clone(),
        }
    }
}

/// A task that runs. Dropped, it is told as died.
#[derive(Debug)]
pub struct TaskReporter {
    client: Client,
    base: String,
    name: String,
    path: String,
    over: bool,
}

impl TaskReporter {
    /// Tells how far it is.
    pub async fn report(&self, progress: impl Into<Bytes>) -> Result<(), Error> {
        let progress = progress.into();
        again(&self.client, || self.client.set_data(&self.path, progress.clone(), ANY_VERSION))
            .await
            .map(drop)
    }

    /// Ends it, with its result; an earlier result of the same name gives way.
    pub async fn finish(mut self, result: impl Into<Bytes>) -> Result<(), Error> {
        let result = result.into();
        let finished = join(&self.base, "finished");
        let path = join(&finished, &self.name);
        loop {
            let done = commit_once(&self.client, &self.base, |transaction| {
                // In this order, so that a monitor sees the result before the task is gone.
                transaction
                    .create(&path, result.clone(), CreateMode::Persistent)
                    .delete(&self.path, ANY_VERSION)
            });
            match done.await {
                Ok(_) => {
                    self.over = true;
                    return Ok(());
                }
                Err(error) if error.code() == Some(Code::NoNode) && error.operation() == Some(0) => {
                    ensure_kept(&self.client, &finished).await?;
                }
                Err(error) if error.code() == Some(Code::NodeExists) => remove(&self.client, &path).await?,
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for TaskReporter {
    fn drop(&mut self) {
        if self.over || self.client.status().is_ended() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (client, path) = (self.client.clone(), std::mem::take(&mut self.path));
            runtime.spawn(async move { remove(&client, &path).await });
        } else {
            drop(self.client.delete(&self.path, ANY_VERSION));
        }
    }
}

/// What happens to tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskEvent {
    /// It began; with its first report.
    Started(String, Bytes),
    /// It told how far it is.
    Progress(String, Bytes),
    /// It ended, with this result.
    Finished(String, Bytes),
    /// It ended without a result; with its last report.
    Died(String, Bytes),
    /// Events were dropped, since nobody took them: look at all tasks.
    Overflow,
    /// The session is over.
    Ended,
}

/// Sees all tasks.
#[derive(Debug)]
pub struct Monitor {
    client: Client,
    cache: Cache,
    path: String,
}

impl Monitor {
    /// The tasks that run, and their last report.
    #[must_use]
    pub fn running(&self) -> Vec<(String, Bytes)> {
        let running = join(&self.path, "running/");
        let nodes = self.cache.nodes();
        nodes
            .into_iter()
            .filter_map(|(path, node)| Some((path.strip_prefix(&running)?.to_owned(), node.data)))
            .collect()
    }

    /// The next event, `None` after the last.
    pub async fn next(&mut self) -> Option<TaskEvent> {
        let (running, finished) = (join(&self.path, "running/"), join(&self.path, "finished/"));
        let task = |path: &str, directory: &str| path.strip_prefix(directory).map(str::to_owned);
        loop {
            let event = match self.cache.next().await? {
                CacheEvent::Added(path, node) => match (task(&path, &running), task(&path, &finished)) {
                    (Some(name), _) => TaskEvent::Started(name, node.data),
                    (_, Some(name)) => TaskEvent::Finished(name, node.data),
                    (None, None) => continue,
                },
                CacheEvent::Updated(path, node) => match task(&path, &running) {
                    Some(name) => TaskEvent::Progress(name, node.data),
                    None => continue,
                },
                CacheEvent::Removed(path, node) => match task(&path, &running) {
                    // The copy may be ahead of this event, but not behind it.
                    Some(name)
                        if self
                            .cache
                            .get(&format!("{finished}{name}"))
                            .is_none_or(|result| result.stat.czxid < node.stat.czxid) =>
                    {
                        TaskEvent::Died(name, node.data)
                    }
                    _ => continue,
                },
                CacheEvent::Initialized => continue,
                CacheEvent::Overflow => TaskEvent::Overflow,
                CacheEvent::Ended => TaskEvent::Ended,
            };
            return Some(event);
        }
    }

    /// Removes the result of a task.
    pub async fn forget(&self, name: &str) -> Result<(), Error> {
        remove(&self.client, &join(&join(&self.path, "finished"), name)).await
    }
}
