//! The client for programs without async. A thread of its own drives the session; every method waits for the answer.
//!
//! ```no_run
//! use ostler_client::{CreateMode, blocking};
//!
//! # fn f() -> Result<(), ostler_client::Error> {
//! let client = blocking::Client::connect("127.0.0.1:2181")?;
//! client.create("/greeting", "hello", CreateMode::Persistent)?;
//! let (data, _) = client.get_data("/greeting")?;
//! client.close();
//! # Ok(()) }
//! ```

use std::future::Future;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::builder::ClientBuilder;
use super::client::{self, Created};
use super::state::{Status, Statuses};
use super::transaction::Transaction;
use super::watch::{OneshotWatch, WatchEvent, WatchStream, WatchedEvent};
use crate::error::{Error, ErrorKind};
use crate::{Acl, AddWatchMode, CreateMode, MultiResult, Stat};

/// How long the thread goes on when the last handle has gone, to close the session.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The thread on which the session runs; it ends with the last handle.
#[derive(Debug)]
struct Driver {
    stop: Option<oneshot::Sender<Option<Statuses>>>,
    statuses: Option<Statuses>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread may have panicked, then nobody hears it.
            drop(stop.send(self.statuses.take()));
        }
        if let Some(thread) = self.thread.take() {
            // It has nothing to do any more, so it ends at once; a panic of it has been reported already.
            drop(thread.join());
        }
    }
}

/// A handle to a session, whose methods wait. Clones share it, also between threads. Not to be used on a thread that
/// runs async code: there the methods panic, as they would hold it up.
#[derive(Debug, Clone)]
pub struct Client {
    // In this order: the session is closed before its thread is stopped.
    client: client::Client,
    handle: Handle,
    _driver: Arc<Driver>,
}

impl Client {
    /// Opens a session with the defaults. `servers` is `host:port,host:port/chroot`.
    pub fn connect(servers: &str) -> Result<Self, Error> {
        Self::connect_with(client::Client::builder(servers)?)
    }

    /// Opens a session with these options.
    pub fn connect_with(builder: ClientBuilder) -> Result<Self, Error> {
        let failed =
            |error: std::io::Error| Error::new(ErrorKind::Misuse, format!("no thread to run on: {error}"));
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<Option<Statuses>>();
        let thread = std::thread::Builder::new()
            .name("ostler-client".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    if let Ok(Some(mut statuses)) = stopped.await {
                        // The close is under way; whoever drops the client does not wait for it for ever.
                        drop(tokio::time::timeout(LAST_WORDS, statuses.wait_until(Status::is_ended)).await);
                    }
                });
            })
            .map_err(failed)?;
        let mut driver = Driver { stop: Some(stop), statuses: None, thread: Some(thread) };
        let client = handle.block_on(builder.connect())?;
        driver.statuses = Some(client.statuses());
        Ok(Self { client, handle, _driver: Arc::new(driver) })
    }

    /// The client with all its methods; wait for their answers with [`wait`](Self::wait).
    #[must_use]
    pub fn inner(&self) -> &client::Client {
        &self.client
    }

    /// Waits for anything: an answer, a watch, a recipe.
    pub fn wait<F: Future>(&self, future: F) -> F::Output {
        self.handle.block_on(future)
    }

    /// Waits for anything, for a while. `None` when the time is up.
    pub fn wait_for<F: Future>(&self, time: Duration, future: F) -> Option<F::Output> {
        self.handle.block_on(async { tokio::time::timeout(time, future).await.ok() })
    }

    /// How the session stands.
    #[must_use]
    pub fn status(&self) -> Status {
        self.client.status()
    }

    /// See [`Client::get_data`](client::Client::get_data).
    pub fn get_data(&self, path: &str) -> Result<(Bytes, Stat), Error> {
        self.wait(self.client.get_data(path))
    }

    /// See [`Client::get_data_batch`](client::Client::get_data_batch): all of them, or the first error.
    pub fn get_data_batch<P: AsRef<str>>(&self, paths: &[P]) -> Result<Vec<(Bytes, Stat)>, Error> {
        self.wait(self.client.get_data_batch(paths).all())
    }

    /// See [`Client::get_data_and_watch`](client::Client::get_data_and_watch).
    pub fn get_data_and_watch(&self, path: &str) -> Result<(Bytes, Stat, Watch), Error> {
        let (data, stat, watch) = self.wait(self.client.get_data_and_watch(path))?;
        Ok((data, stat, Watch { client: self.clone(), watch }))
    }

    /// See [`Client::exists`](client::Client::exists).
    pub fn exists(&self, path: &str) -> Result<Option<Stat>, Error> {
        self.wait(self.client.exists(path))
    }

    /// See [`Client::exists_batch`](client::Client::exists_batch): all of them, or the first error.
    pub fn exists_batch<P: AsRef<str>>(&self, paths: &[P]) -> Result<Vec<Option<Stat>>, Error> {
        self.wait(self.client.exists_batch(paths).all())
    }

    /// See [`Client::exists_and_watch`](client::Client::exists_and_watch).
    pub fn exists_and_watch(&self, path: &str) -> Result<(Option<Stat>, Watch), Error> {
        let (stat, watch) = self.wait(self.client.exists_and_watch(path))?;
        Ok((stat, Watch { client: self.clone(), watch }))
    }

    /// See [`Client::get_children`](client::Client::get_children).
    pub fn get_children(&self, path: &str) -> Result<(Vec<String>, Stat), Error> {
        self.wait(self.client.get_children(path))
    }

    /// See [`Client::get_children_and_watch`](client::Client::get_children_and_watch).
    pub fn get_children_and_watch(&self, path: &str) -> Result<(Vec<String>, Stat, Watch), Error> {
        let (names, stat, watch) = self.wait(self.client.get_children_and_watch(path))?;
        Ok((names, stat, Watch { client: self.clone(), watch }))
    }

    /// See [`Client::get_acl`](client::Client::get_acl).
    pub fn get_acl(&self, path: &str) -> Result<(Vec<Acl>, Stat), Error> {
        self.wait(self.client.get_acl(path))
    }

    /// See [`Client::create`](client::Client::create).
    pub fn create(&self, path: &str, data: impl Into<Bytes>, mode: CreateMode) -> Result<Created, Error> {
        self.wait(self.client.create(path, data, mode))
    }

    /// See [`Client::set_data`](client::Client::set_data).
    pub fn set_data(&self, path: &str, data: impl Into<Bytes>, version: i32) -> Result<Stat, Error> {
        self.wait(self.client.set_data(path, data, version))
    }

    /// See [`Client::set_acl`](client::Client::set_acl).
    pub fn set_acl(&self, path: &str, acl: &[Acl], version: i32) -> Result<Stat, Error> {
        self.wait(self.client.set_acl(path, acl, version))
    }

    /// See [`Client::delete`](client::Client::delete).
    pub fn delete(&self, path: &str, version: i32) -> Result<(), Error> {
        self.wait(self.client.delete(path, version))
    }

    /// See [`Client::sync`](client::Client::sync).
    pub fn sync(&self, path: &str) -> Result<(), Error> {
        self.wait(self.client.sync(path))
    }

    /// See [`Client::add_auth`](client::Client::add_auth).
    pub fn add_auth(&self, scheme: &str, auth: &[u8]) -> Result<(), Error> {
        self.wait(self.client.add_auth(scheme, auth))
    }

    /// See [`Client::transaction`](client::Client::transaction); [`commit`](Self::commit) sends it.
    pub fn transaction(&self) -> Transaction<'_> {
        self.client.transaction()
    }

    /// Commits a transaction.
    pub fn commit(&self, transaction: Transaction<'_>) -> Result<Vec<MultiResult>, Error> {
        self.wait(transaction.commit())
    }

    /// See [`Client::add_watch`](client::Client::add_watch).
    pub fn add_watch(&self, path: &str, mode: AddWatchMode) -> Result<Watches, Error> {
        let stream = self.wait(self.client.add_watch(path, mode))?;
        Ok(Watches { client: self.clone(), stream })
    }

    /// See [`Client::close`](client::Client::close).
    pub fn close(&self) {
        self.wait(self.client.close());
    }
}

/// A watch that fires once.
#[derive(Debug)]
#[must_use = "a watch that is dropped is taken off"]
pub struct Watch {
    watch: OneshotWatch,
    client: Client,
}

impl Watch {
    /// Waits until it fires.
    pub fn wait(self) -> Result<WatchedEvent, Error> {
        self.client.wait(self.watch)
    }

    /// Waits until it fires, for a while. `None` when the time is up; the watch is then still set.
    pub fn wait_for(&mut self, time: Duration) -> Option<Result<WatchedEvent, Error>> {
        self.client.wait_for(time, &mut self.watch)
    }
}

/// A watch that stays: an iterator of events, until the session is over or the watch is taken off.
#[derive(Debug)]
#[must_use = "a watch that is dropped is taken off"]
pub struct Watches {
    stream: WatchStream,
    client: Client,
}

impl Watches {
    /// The next event, if there is one within a while. `None` when the time is up.
    pub fn next_within(&mut self, time: Duration) -> Option<Option<WatchEvent>> {
        self.client.wait_for(time, self.stream.next())
    }
}

impl Iterator for Watches {
    type Item = WatchEvent;

    fn next(&mut self) -> Option<WatchEvent> {
        self.client.wait(self.stream.next())
    }
}
