//! The handle of a session: every operation of the protocol as a method. Answers to Java's `ZooKeeper`, whose names
//! the methods have.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ostler_wire::acl::{Acl, RawAcl};
use ostler_wire::client::connect::PASSWORD_LEN;
use ostler_wire::client::read::{AddWatchMode, MultiReadOp, Read, WatcherType};
use ostler_wire::client::reply::ClientInfo;
use ostler_wire::client::response::{MultiResult, Response};
use ostler_wire::client::write::{Create, CreateMode, Write};
use ostler_wire::{Code, SessionId, Stat, Zxid, path};

use super::answers::Taken;
use super::batch::{Batch, BatchShape};
use super::builder::ClientBuilder;
use super::reply::{Reply, Shape};
use super::shared::{Core, Shared, wake_task};
use super::state::{Status, Statuses};
use super::transaction::{self, Transaction};
use super::watch::{Events, Hold, OneshotWatch, Want, WatchStream};
use crate::connect_string::Chroot;
use crate::error::{Error, ErrorKind};
use crate::request::Request;
use crate::session::{PlainRead, RequestId};

/// The version that fits every version.
pub const ANY_VERSION: i32 = -1;

/// A znode that was created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Its path, with the number if it is sequential.
    pub path: String,
    /// Its Stat; `czxid` grows with every create in the ensemble, which makes it a fencing token.
    pub stat: Stat,
}

/// Closes the session when the last handle has gone.
#[derive(Debug)]
struct LastHandle(Arc<Shared>);

impl Drop for LastHandle {
    fn drop(&mut self) {
        close(&self.0);
    }
}

/// A handle to a session. Clones share it. The session is closed by [`close`](Self::close), or when the last handle
/// has gone; watches and replies are no handles.
///
/// Every method sends its request before it returns; the [`Reply`] is a future of the answer. Requests are sent and
/// answered in the order of the calls, so several can be under way at once:
///
/// ```no_run
/// # async fn f() -> Result<(), ostler_client::Error> {
/// let client = ostler_client::Client::connect("127.0.0.1:2181").await?;
/// let (a, b) = (client.get_data("/a"), client.get_data("/b"));
/// let ((a, _), (b, _)) = (a.await?, b.await?);
/// # Ok(()) }
/// ```
///
/// Without a connection requests wait for one, at most as long as the session lives. What a lost connection means for
/// a request that was sent is said by [`ErrorKind`].
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    _last: Arc<LastHandle>,
}

impl Client {
    /// Opens a session with the defaults. `servers` is `host:port,host:port/chroot`.
    pub async fn connect(servers: &str) -> Result<Self, Error> {
        Self::builder(servers)?.connect().await
    }

    /// Begins with a connection string, `host:port,host:port/chroot`, and goes on with options.
    pub fn builder(servers: &str) -> Result<ClientBuilder, Error> {
        ClientBuilder::new(servers)
    }

    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { _last: Arc::new(LastHandle(shared.clone())), shared }
    }

    // ---- the session ----

    /// Its id, 0 before the first connection.
    #[must_use]
    pub fn session_id(&self) -> SessionId {
        self.shared.lock().session.credentials().0
    }

    /// Its password, with which another client can go on with it.
    #[must_use]
    pub fn session_password(&self) -> [u8; PASSWORD_LEN] {
        self.shared.lock().session.credentials().1
    }

    /// The negotiated timeout; before the first connection what was asked for.
    #[must_use]
    pub fn session_timeout(&self) -> Duration {
        self.shared.lock().session.timeout()
    }

    /// The newest zxid seen in a reply.
    #[must_use]
    pub fn last_zxid(&self) -> Zxid {
        self.shared.lock().session.last_zxid()
    }

    /// How the session stands.
    #[must_use]
    pub fn status(&self) -> Status {
        *self.shared.status.borrow()
    }

    /// Follows how the session stands.
    #[must_use]
    pub fn statuses(&self) -> Statuses {
        Statuses::new(self.shared.status.clone())
    }

    /// Every event from now on: of the session, and of all watches.
    #[must_use]
    pub fn events(&self) -> Events {
        let mailbox = self.shared.lock().watchers.listen();
        Events { shared: self.shared.clone(), mailbox }
    }

    /// Waits until requests are answered; the error says that the session is over.
    pub async fn connected(&self) -> Result<(), Error> {
        let status = self.statuses().wait_until(Status::is_connected).await;
        if status.is_ended() { Err(self.ended_error()) } else { Ok(()) }
    }

    /// What was wrong with the server that was tried last, while there is no connection.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.shared.lock().problem.clone()
    }

    /// Presents credentials, now and on every later connection. The answer is the server's; refused credentials end
    /// the session.
    pub fn add_auth(&self, scheme: &str, auth: &[u8]) -> Reply<()> {
        self.submit(nothing, |core| {
            let id = core.session.add_auth(core.now, scheme, auth)?;
            Ok(core.await_auth(id))
        })
    }

    /// Closes the session behind what was requested before, and waits until that is done. Without a connection it is
    /// over at once for this client, and the servers let it expire.
    pub async fn close(&self) {
        close(&self.shared);
        self.statuses().wait_until(Status::is_ended).await;
    }

    // ---- reading ----

    /// Data and Stat of a znode. Data that came together with other answers share their memory, up to 64 KiB: copy what
    /// is to be kept for long.
    pub fn get_data(&self, path: &str) -> Reply<(Bytes, Stat)> {
        self.plain_read(PlainRead::GetData, path, data)
    }

    /// Data and Stat of many znodes: the same requests as many calls of [`get_data`](Self::get_data), for less
    /// work. All are sent, or none and every answer says why: a path is not valid, or too much waits already.
    ///
    /// ```no_run
    /// # async fn f(client: &ostler_client::Client) -> Result<(), ostler_client::Error> {
    /// for (data, stat) in client.get_data_batch(&["/a", "/b"]).all().await? {
    ///     println!("{} bytes of version {}", data.len(), stat.version);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn get_data_batch<P: AsRef<str>>(&self, paths: &[P]) -> Batch<(Bytes, Stat)> {
        self.plain_reads(PlainRead::GetData, paths, data_of_batch)
    }

    /// What [`get_data`](Self::get_data) gives, and a watch that fires when the data changes or the znode is deleted.
    pub fn get_data_and_watch(&self, path: &str) -> Reply<(Bytes, Stat, OneshotWatch)> {
        let request = |path| Request::Read(Read::GetData { path: Cow::Owned(path), watch: true });
        self.watch_once(path, Want::Data, request, |answer, chroot, hold| {
            let (data, stat) = data(answer, chroot, None)?;
            Ok((data, stat, OneshotWatch(held(hold)?)))
        })
    }

    /// The Stat of a znode, `None` if there is none.
    pub fn exists(&self, path: &str) -> Reply<Option<Stat>> {
        self.plain_read(PlainRead::Exists, path, maybe_stat)
    }

    /// The Stats of many znodes, as [`get_data_batch`](Self::get_data_batch).
    pub fn exists_batch<P: AsRef<str>>(&self, paths: &[P]) -> Batch<Option<Stat>> {
        self.plain_reads(PlainRead::Exists, paths, |taken, chroot| {
            maybe_stat(taken.into_result(), chroot, None)
        })
    }

    /// What [`exists`](Self::exists) gives, and a watch that fires when it is created, changed or deleted, whichever is next.
    pub fn exists_and_watch(&self, path: &str) -> Reply<(Option<Stat>, OneshotWatch)> {
        let request = |path| Request::Read(Read::Exists { path: Cow::Owned(path), watch: true });
        self.watch_once(path, Want::Exists, request, |answer, chroot, hold| {
            let stat = maybe_stat(answer, chroot, None)?;
            Ok((stat, OneshotWatch(held(hold)?)))
        })
    }

    /// The names of a znode's children, in no order, and its Stat.
    pub fn get_children(&self, path: &str) -> Reply<(Vec<String>, Stat)> {
        self.request_as(Request::children(self.absolute(path), false), children)
    }

    /// The same, and a watch that fires when a child comes or goes, or the znode itself is deleted.
    pub fn get_children_and_watch(&self, path: &str) -> Reply<(Vec<String>, Stat, OneshotWatch)> {
        let request = |path| Request::Read(Read::GetChildren2 { path: Cow::Owned(path), watch: true });
        self.watch_once(path, Want::Children, request, |answer, chroot, hold| {
            let (names, stat) = children(answer, chroot, None)?;
            Ok((names, stat, OneshotWatch(held(hold)?)))
        })
    }

    /// How many znodes are below this one.
    pub fn get_all_children_number(&self, path: &str) -> Reply<i32> {
        let path = Cow::Owned(self.absolute(path));
        self.request_as(Request::Read(Read::GetAllChildrenNumber { path }), |answer, _, _| match answer? {
            Response::Number(number) => Ok(number),
            other => Err(unexpected(&other)),
        })
    }

    /// The paths of this session's ephemerals that begin with this text.
    pub fn get_ephemerals(&self, prefix: &str) -> Reply<Vec<String>> {
        let prefix = Some(Cow::Owned(self.absolute(prefix)));
        self.request_as(Request::Read(Read::GetEphemerals { prefix }), |answer, chroot, _| match answer? {
            Response::Ephemerals(paths) => Ok(paths.into_iter().map(|path| chroot.relative(path)).collect()),
            other => Err(unexpected(&other)),
        })
    }

    /// ACL and Stat of a znode.
    pub fn get_acl(&self, path: &str) -> Reply<(Vec<Acl>, Stat)> {
        let path = Cow::Owned(self.absolute(path));
        self.request_as(Request::Read(Read::GetAcl { path }), |answer, _, _| match answer? {
            Response::Acl { acl, stat } => Ok((acl, stat)),
            other => Err(unexpected(&other)),
        })
    }

    /// Waits until the server is as new as the leader was when it heard of this: a read behind it sees every write
    /// that was done before.
    pub fn sync(&self, path: &str) -> Reply<()> {
        self.request_as(Request::sync(self.absolute(path)), nothing)
    }

    /// Several reads at once; each has its own result.
    pub fn multi_read(&self, mut reads: Vec<MultiReadOp<'static>>) -> Reply<Vec<MultiResult>> {
        for read in &mut reads {
            let (MultiReadOp::GetData { path } | MultiReadOp::GetChildren { path }) = read;
            *path = Cow::Owned(self.absolute(path));
        }
        self.request_as(Request::Read(Read::MultiRead(reads)), |answer, _, _| match answer? {
            Response::Multi(results) => Ok(results),
            other => Err(unexpected(&other)),
        })
    }

    /// Who the server takes this session for.
    pub fn who_am_i(&self) -> Reply<Vec<ClientInfo>> {
        self.request_as(Request::Read(Read::WhoAmI), |answer, _, _| match answer? {
            Response::Who(who) => Ok(who),
            other => Err(unexpected(&other)),
        })
    }

    /// The configuration of the ensemble: the text of `/zookeeper/config`, whatever the chroot.
    pub fn get_config(&self) -> Reply<(Bytes, Stat)> {
        self.request_as(Request::get_data(path::CONFIG, false), data)
    }

    /// The same, and a watch on it.
    pub fn get_config_and_watch(&self) -> Reply<(Bytes, Stat, OneshotWatch)> {
        let request = |path| Request::Read(Read::GetData { path: Cow::Owned(path), watch: true });
        self.watch_at(path::CONFIG.to_owned(), Want::Data, request, |answer, chroot, hold| {
            let (data, stat) = data(answer, chroot, None)?;
            Ok((data, stat, OneshotWatch(held(hold)?)))
        })
    }

    // ---- watches ----

    /// A watch that stays, on a znode or on it and all below; the znode need not exist.
    pub fn add_watch(&self, path: &str, mode: AddWatchMode) -> Reply<WatchStream> {
        let request = move |path| Request::Read(Read::AddWatch { path: Some(Cow::Owned(path)), mode });
        self.watch_at(self.absolute(path), Want::of(mode), request, |answer, _, hold| {
            answer?;
            Ok(WatchStream(held(hold)?))
        })
    }

    /// Takes off all watches of a kind on a path: their streams end. Rejected with [`Code::NoWatcher`] if there are
    /// none. To take off a single one, drop it.
    pub fn remove_watches(&self, path: &str, kind: WatcherType) -> Reply<()> {
        self.request_as(Request::remove_watches(self.absolute(path), kind), nothing)
    }

    /// Whether the server knows of a watch of this kind on the path.
    pub fn check_watches(&self, path: &str, kind: WatcherType) -> Reply<bool> {
        let path = Some(Cow::Owned(self.absolute(path)));
        self.request_as(Request::Read(Read::CheckWatches { path, kind }), |answer, _, _| match answer {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some(Code::NoWatcher) => Ok(false),
            Err(error) => Err(error),
        })
    }

    // ---- writing ----

    /// A new znode with an open ACL. TTL nodes have [`create_ttl`](Self::create_ttl).
    pub fn create(&self, path: &str, data: impl Into<Bytes>, mode: CreateMode) -> Reply<Created> {
        self.create_with_acl(path, data, &Acl::open(), mode)
    }

    /// A new znode.
    pub fn create_with_acl(
        &self,
        path: &str,
        data: impl Into<Bytes>,
        acl: &[Acl],
        mode: CreateMode,
    ) -> Reply<Created> {
        self.request_as(Request::create(self.absolute(path), data, acl, mode), created)
    }

    /// A new znode that goes away some time after its last change, when it has no children. Servers allow it if
    /// `zookeeper.extendedTypesEnabled` is set.
    pub fn create_ttl(
        &self,
        path: &str,
        data: impl Into<Bytes>,
        acl: &[Acl],
        sequential: bool,
        ttl: Duration,
    ) -> Reply<Created> {
        let ttl_ms = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        self.request_as(Request::create_ttl(self.absolute(path), data, acl, sequential, ttl_ms), created)
    }

    /// New data for a znode, if its version is `version` ([`ANY_VERSION`]: whatever it is).
    pub fn set_data(&self, path: &str, data: impl Into<Bytes>, version: i32) -> Reply<Stat> {
        self.request_as(Request::set_data(self.absolute(path), data, version), stat)
    }

    /// A new ACL for a znode, if its `aversion` is `version`.
    pub fn set_acl(&self, path: &str, acl: &[Acl], version: i32) -> Reply<Stat> {
        let acl = Some(acl.iter().cloned().map(RawAcl::from).collect());
        let request = Write::SetAcl { path: Some(self.absolute(path)), acl, version };
        self.request_as(Request::Write(request), stat)
    }

    /// Deletes a znode without children, if its version is `version` ([`ANY_VERSION`]: whatever it is).
    pub fn delete(&self, path: &str, version: i32) -> Reply<()> {
        self.request_as(Request::delete(self.absolute(path), version), nothing)
    }

    /// Begins a transaction: several writes, all or none.
    pub fn transaction(&self) -> Transaction<'_> {
        Transaction::new(self)
    }

    /// Changes the members of the ensemble, by increments (`joining`, `leaving`) or as a whole (`members`). It happens
    /// only if the configuration has version `config_version` (-1: whichever it has). The answer is the new one.
    pub fn reconfig(
        &self,
        joining: Option<&str>,
        leaving: Option<&str>,
        members: Option<&str>,
        config_version: i64,
    ) -> Reply<(Bytes, Stat)> {
        let request = Write::Reconfig {
            joining: joining.map(str::to_owned),
            leaving: leaving.map(str::to_owned),
            members: members.map(str::to_owned),
            config_id: config_version,
        };
        self.request_as(Request::Write(request), data)
    }

    /// Sends a request as the wire knows it; its path is the server's, whatever the chroot. Watches that are asked for
    /// in this way are seen by [`events`](Self::events).
    pub fn request(&self, request: &Request) -> Reply<Response> {
        self.send(request, |answer, _, _| answer)
    }

    /// For names that nobody else thinks of.
    pub(crate) fn random_bits(&self) -> u64 {
        self.shared.lock().random.bits()
    }

    /// How many places for answers there are.
    #[cfg(test)]
    pub(crate) fn slots(&self) -> usize {
        self.shared.lock().slots()
    }

    // ---- what the methods have in common ----

    pub(crate) fn absolute(&self, path: &str) -> String {
        self.shared.chroot.absolute(path)
    }

    pub(crate) fn commit(&self, writes: Vec<Write>) -> Reply<Vec<MultiResult>> {
        self.request_as(Request::multi(writes), transaction::results)
    }

    pub(crate) fn ended_error(&self) -> Error {
        self.shared.lock().ended_error()
    }

    #[expect(clippy::needless_pass_by_value, reason = "callers make it for this")]
    fn request_as<T>(&self, request: Request, shape: Shape<T>) -> Reply<T> {
        self.send(&request, shape)
    }

    fn send<T>(&self, request: &Request, shape: Shape<T>) -> Reply<T> {
        self.submit(shape, |core| {
            let id = core.session.submit(core.now, request)?;
            Ok(core.await_answer(id, None))
        })
    }

    fn plain_read<T>(&self, op: PlainRead, path: &str, shape: Shape<T>) -> Reply<T> {
        self.submit(shape, |core| {
            let id: RequestId = core.session.submit_plain_read(core.now, op, &self.shared.chroot.0, path)?;
            Ok(core.await_answer(id, None))
        })
    }

    fn plain_reads<P: AsRef<str>, T>(&self, op: PlainRead, paths: &[P], shape: BatchShape<T>) -> Batch<T> {
        let mut core = self.shared.lock();
        let now = core.now;
        match core.session.submit_plain_reads(now, op, &self.shared.chroot.0, paths) {
            Ok(first) => {
                let slot = (!paths.is_empty()).then(|| core.await_answers(first, paths.len()));
                wake_task(core);
                Batch::waiting(self.shared.clone(), slot, paths.len(), shape)
            }
            Err(error) => Batch::refused(self.shared.clone(), error, paths.len(), shape),
        }
    }

    fn submit<T>(&self, shape: Shape<T>, ask: impl FnOnce(&mut Core) -> Result<usize, Error>) -> Reply<T> {
        let mut core = self.shared.lock();
        match ask(&mut core) {
            Ok(slot) => {
                wake_task(core);
                Reply::waiting(self.shared.clone(), slot, shape, None)
            }
            Err(error) => Reply::refused(self.shared.clone(), error, shape),
        }
    }

    fn watch_once<T>(
        &self,
        path: &str,
        want: Want,
        request: impl FnOnce(String) -> Request,
        shape: Shape<T>,
    ) -> Reply<T> {
        self.watch_at(self.absolute(path), want, request, shape)
    }

    fn watch_at<T>(
        &self,
        path: String,
        want: Want,
        request: impl FnOnce(String) -> Request,
        shape: Shape<T>,
    ) -> Reply<T> {
        let request = request(path.clone());
        let mut core = self.shared.lock();
        let now = core.now;
        match core.session.submit(now, &request) {
            Ok(id) => {
                let (watcher, mailbox) = core.watchers.add(path, want);
                let slot = core.await_answer(id, Some(watcher));
                wake_task(core);
                let hold = Hold::new(self.shared.clone(), watcher, mailbox);
                Reply::waiting(self.shared.clone(), slot, shape, Some(hold))
            }
            Err(error) => Reply::refused(self.shared.clone(), error, shape),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Credentials and the session's password stay out of logs.
        let Status { state, session, .. } = self.status();
        f.debug_struct("Client").field("session", &session).field("state", &state).finish_non_exhaustive()
    }
}

fn close(shared: &Shared) {
    let mut core = shared.lock();
    let now = core.now;
    core.session.close(now);
    wake_task(core);
}

fn held(hold: Option<Hold>) -> Result<Hold, Error> {
    hold.ok_or_else(|| Error::new(ErrorKind::Misuse, "polled after it was ready"))
}

pub(crate) fn unexpected(response: &Response) -> Error {
    Error::new(ErrorKind::Misuse, format!("an answer to something else: {response:?}"))
}

fn nothing(answer: Result<Response, Error>, _: &Chroot, _: Option<Hold>) -> Result<(), Error> {
    answer.map(drop)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a list of all other answers would say nothing")]
fn data(answer: Result<Response, Error>, _: &Chroot, _: Option<Hold>) -> Result<(Bytes, Stat), Error> {
    match answer? {
        Response::Data { data, stat } => Ok((data.unwrap_or_default(), stat)),
        other => Err(unexpected(&other)),
    }
}

fn data_of_batch(taken: Taken<'_>, chroot: &Chroot) -> Result<(Bytes, Stat), Error> {
    match taken {
        Taken::Data(raw) => Ok(raw.read()),
        Taken::Read(answer) => data(answer, chroot, None),
    }
}

fn stat(answer: Result<Response, Error>, _: &Chroot, _: Option<Hold>) -> Result<Stat, Error> {
    match answer? {
        Response::Stat(stat) => Ok(stat),
        other => Err(unexpected(&other)),
    }
}

fn maybe_stat(
    answer: Result<Response, Error>,
    chroot: &Chroot,
    _: Option<Hold>,
) -> Result<Option<Stat>, Error> {
    match stat(answer, chroot, None) {
        Ok(stat) => Ok(Some(stat)),
        Err(error) if error.code() == Some(Code::NoNode) => Ok(None),
        Err(error) => Err(error),
    }
}

fn children(
    answer: Result<Response, Error>,
    _: &Chroot,
    _: Option<Hold>,
) -> Result<(Vec<String>, Stat), Error> {
    match answer? {
        Response::Children { names, stat } => Ok((names, stat.unwrap_or_default())),
        other => Err(unexpected(&other)),
    }
}

fn created(answer: Result<Response, Error>, chroot: &Chroot, _: Option<Hold>) -> Result<Created, Error> {
    match answer? {
        Response::Created { path, stat } => Ok(Created { path: chroot.relative(path), stat }),
        other => Err(unexpected(&other)),
    }
}

/// What a create of the wire is made of, for transactions.
pub(crate) fn create_write(path: String, data: Bytes, acl: &[Acl], mode: CreateMode) -> Write {
    match Request::create(path, data, acl, mode) {
        Request::Write(write) => write,
        Request::Read(_) => unreachable!("a create is a write"),
    }
}

/// A create with a time to live, for transactions.
pub(crate) fn create_ttl_write(
    path: String,
    data: Bytes,
    acl: &[Acl],
    sequential: bool,
    ttl: Duration,
) -> Write {
    let ttl_ms = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
    match Request::create_ttl(path, data, acl, sequential, ttl_ms) {
        Request::Write(write @ Write::Create(Create { .. })) => write,
        Request::Write(_) | Request::Read(_) => unreachable!("a create is a write"),
    }
}
