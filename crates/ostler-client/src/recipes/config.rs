//! Configuration that processes share: one publishes, all see the newest.
//!
//! **Layout**: `<path>`, persistent, data: the value as text.
//!
//! **Guarantees**: whoever subscribes has a value at any time: the last one that could be read, or the default while
//! there is none; in the end the newest. Values are seen in order; of values that follow each other quickly only the
//! last may be. What cannot be read as the type is told, and leaves the last value. The value outlives connection and
//! session.

use std::fmt::Display;
use std::marker::PhantomData;
use std::str::FromStr;
use std::sync::Arc;

use tokio::sync::watch;

use super::common::{again, ensure_kept, parent, unless};
use crate::{ANY_VERSION, Client, Code, CreateMode, Error};

/// A place for a value.
#[derive(Debug)]
pub struct Configuration<T> {
    client: Client,
    path: String,
    value: PhantomData<fn() -> T>,
}

impl<T> Clone for Configuration<T> {
    fn clone(&self) -> Self {
        Self { client: self.client.clone(), path: self.path.clone(), value: PhantomData }
    }
}

impl<T: FromStr + Display + Send + Sync + 'static> Configuration<T> {
    /// The value at this path, which need not exist.
    #[must_use]
    pub fn new(client: &Client, path: &str) -> Self {
        Self { client: client.clone(), path: path.to_owned(), value: PhantomData }
    }

    /// Makes this the value.
    pub async fn publish(&self, value: &T) -> Result<(), Error> {
        let text = value.to_string();
        loop {
            let set =
                again(&self.client, || self.client.set_data(&self.path, text.clone(), ANY_VERSION)).await;
            if unless(Code::NoNode, set)?.is_some() {
                return Ok(());
            }
            ensure_kept(&self.client, parent(&self.path)).await?;
            let created =
                again(&self.client, || self.client.create(&self.path, text.clone(), CreateMode::Persistent))
                    .await;
            match created {
                Ok(_) => return Ok(()),
                // Somebody else's, or the own one whose answer was lost; setting it again does no harm.
                Err(error) if matches!(error.code(), Some(Code::NodeExists | Code::NoNode)) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Follows the value; `default` while there is none. To be called on a tokio runtime.
    #[must_use]
    pub fn subscribe(&self, default: T) -> ConfigValue<T> {
        let default = Arc::new(default);
        let (sender, values) = watch::channel(Seen { value: default.clone(), problem: None, loaded: false });
        let configuration = self.clone();
        let task = tokio::spawn(async move { drop(configuration.follow(&default, &sender).await) });
        ConfigValue { values, task }
    }

    async fn follow(&self, default: &Arc<T>, values: &watch::Sender<Seen<T>>) -> Result<(), Error> {
        loop {
            let read = again(&self.client, || self.client.get_data_and_watch(&self.path)).await;
            if let Some((data, _, changed)) = unless(Code::NoNode, read)? {
                let text = String::from_utf8_lossy(&data);
                let parsed = text.trim().parse::<T>().ok();
                values.send_modify(|seen| {
                    seen.loaded = true;
                    match parsed {
                        Some(value) => (seen.value, seen.problem) = (Arc::new(value), None),
                        None => seen.problem = Some(format!("{} holds {text:?}", self.path)),
                    }
                });
                changed.await?;
                continue;
            }
            let (stat, created) = again(&self.client, || self.client.exists_and_watch(&self.path)).await?;
            if stat.is_none() {
                values
                    .send_modify(|seen| *seen = Seen { value: default.clone(), problem: None, loaded: true });
                created.await?;
            }
        }
    }
}

#[derive(Debug)]
struct Seen<T> {
    value: Arc<T>,
    problem: Option<String>,
    /// Something was read, if only that there is nothing.
    loaded: bool,
}

/// A value that is followed.
#[derive(Debug)]
pub struct ConfigValue<T> {
    values: watch::Receiver<Seen<T>>,
    task: tokio::task::JoinHandle<()>,
}

impl<T> ConfigValue<T> {
    /// The last value that could be read, or the default.
    #[must_use]
    pub fn get(&self) -> Arc<T> {
        self.values.borrow().value.clone()
    }

    /// What is wrong with the text that is there now, if it is no value.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.values.borrow().problem.clone()
    }

    /// Waits until the servers were asked once; `false` if the session is over before.
    pub async fn loaded(&mut self) -> bool {
        self.values.wait_for(|seen| seen.loaded).await.is_ok()
    }

    /// The value once something was read anew; `None` when the session is over.
    pub async fn changed(&mut self) -> Option<Arc<T>> {
        self.values.changed().await.ok()?;
        Some(self.values.borrow_and_update().value.clone())
    }
}

impl<T> Drop for ConfigValue<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}
