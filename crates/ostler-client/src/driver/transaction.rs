//! Several writes as one: all of them happen or none. Answers to Java's `Transaction`.

use std::time::Duration;

use bytes::Bytes;
use ostler_wire::acl::Acl;
use ostler_wire::client::response::{MultiResult, Response};
use ostler_wire::client::write::{CreateMode, Write};

use super::client::{Client, create_ttl_write, create_write, unexpected};
use super::reply::Reply;
use super::watch::Hold;
use crate::connect_string::Chroot;
use crate::error::Error;

/// Writes that are collected, to be committed as one.
///
/// ```no_run
/// # use ostler_client::{CreateMode, ANY_VERSION};
/// # async fn f(client: ostler_client::Client) -> Result<(), ostler_client::Error> {
/// let results = client
///     .transaction()
///     .check("/config", 7)
///     .create("/jobs/1", "data", CreateMode::Persistent)
///     .delete("/inbox/1", ANY_VERSION)
///     .commit()
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "a transaction happens when it is committed"]
pub struct Transaction<'a> {
    client: &'a Client,
    writes: Vec<Write>,
}

impl<'a> Transaction<'a> {
    pub(crate) fn new(client: &'a Client) -> Self {
        Self { client, writes: Vec::new() }
    }

    /// A new znode with an open ACL.
    pub fn create(self, path: &str, data: impl Into<Bytes>, mode: CreateMode) -> Self {
        self.create_with_acl(path, data, &Acl::open(), mode)
    }

    /// A new znode.
    pub fn create_with_acl(self, path: &str, data: impl Into<Bytes>, acl: &[Acl], mode: CreateMode) -> Self {
        let write = create_write(self.client.absolute(path), data.into(), acl, mode);
        self.with(write)
    }

    /// A new znode with a time to live.
    pub fn create_ttl(
        self,
        path: &str,
        data: impl Into<Bytes>,
        acl: &[Acl],
        sequential: bool,
        ttl: Duration,
    ) -> Self {
        let write = create_ttl_write(self.client.absolute(path), data.into(), acl, sequential, ttl);
        self.with(write)
    }

    /// New data for a znode.
    pub fn set_data(self, path: &str, data: impl Into<Bytes>, version: i32) -> Self {
        let write =
            Write::SetData { path: Some(self.client.absolute(path)), data: Some(data.into()), version };
        self.with(write)
    }

    /// Deletes a znode.
    pub fn delete(self, path: &str, version: i32) -> Self {
        let write = Write::Delete { path: Some(self.client.absolute(path)), version };
        self.with(write)
    }

    /// Demands that a znode is there and has this version.
    pub fn check(self, path: &str, version: i32) -> Self {
        let write = Write::Check { path: Some(self.client.absolute(path)), version };
        self.with(write)
    }

    /// How many writes it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Sends it. The answer has one result for each write; if one is refused none happens, and the error's
    /// [`operation`](Error::operation) says which.
    pub fn commit(self) -> Reply<Vec<MultiResult>> {
        self.client.commit(self.writes)
    }

    fn with(mut self, write: Write) -> Self {
        self.writes.push(write);
        self
    }
}

/// The results, or the error of the write that failed.
#[expect(clippy::wildcard_enum_match_arm, reason = "a list of all other answers would say nothing")]
pub(crate) fn results(
    answer: Result<Response, Error>,
    chroot: &Chroot,
    _: Option<Hold>,
) -> Result<Vec<MultiResult>, Error> {
    let results = match answer? {
        Response::Multi(results) => results,
        other => return Err(unexpected(&other)),
    };
    let mut relative = Vec::with_capacity(results.len());
    for (place, result) in results.into_iter().enumerate() {
        relative.push(match result {
            // Zero: it was fine, and undone since another one failed.
            MultiResult::Error(err) if err != 0 => return Err(Error::of_operation(err, place)),
            MultiResult::Path(path) => MultiResult::Path(chroot.relative(path)),
            MultiResult::Created { path, stat } => MultiResult::Created { path: chroot.relative(path), stat },
            other => other,
        });
    }
    Ok(relative)
}
