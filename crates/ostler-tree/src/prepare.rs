//! Deciding what a request becomes: a transaction, or a transaction that says why not. Checks come in exactly the
//! order in which Java makes them, since a client sees which came first. The view they are made against is the
//! tree with everything that was accepted before (`Outstanding`). Answers to Java's `PrepRequestProcessor`.

use bytes::Bytes;
use ostler_wire::acl::{RawAcl, perms};
use ostler_wire::client::write::Write;
use ostler_wire::path;
use ostler_wire::txn::{DIGEST_VERSION, Txn, TxnDigest, TxnEntry, TxnHeader};
use ostler_wire::{Code, Id, SessionId, Zxid};

use crate::acl::{self, AclRef};
use crate::digest;
use crate::outstanding::{Outstanding, View, key};
use crate::owner::Lifetime;
use crate::store::Store;

/// The most bytes of ephemerals that the end of a session names: half of what a request may have by default.
const LONGEST_LIST: usize = 0x7_ffff;

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// The session; 0 for the server itself.
    pub session: SessionId,
    /// The request's xid; 0 for the server itself.
    pub cxid: i32,
    /// Who the connection has proved to be when the request arrived.
    pub ids: &'a [Id],
    /// The session is known and not closing.
    pub session_live: bool,
    /// The session is known to its own server only, so that it can own no ephemerals.
    pub session_local: bool,
}

impl Asker<'_> {
    /// The server itself.
    #[must_use]
    pub fn server() -> Self {
        Self { session: SessionId(0), cxid: 0, ids: &[], session_live: true, session_local: false }
    }
}

/// Decides a request at its place and time, and remembers what will change.
pub fn prepare(
    write: Write,
    asker: &Asker<'_>,
    at: (Zxid, i64),
    store: &Store,
    outstanding: &mut Outstanding,
) -> TxnEntry {
    let (zxid, time_ms) = at;
    let header = TxnHeader { session: asker.session, cxid: asker.cxid, zxid, time_ms };
    let mut decision = Decision { asker, zxid, time_ms, store, outstanding };
    let decided = if let Write::Multi(parts) = write { decision.multi(parts) } else { decision.one(write) };
    let txn = decided.unwrap_or_else(|code| Txn::Error { code: code.to_int() });
    let digest = (store.config.digest_enabled && !matches!(txn, Txn::Error { .. }))
        .then(|| TxnDigest { version: DIGEST_VERSION, digest: outstanding.digest(store).cast_signed() });
    TxnEntry { header, txn, digest }
}

/// A request that is refused before it is looked at: a transaction that changes nothing and carries the code to who
/// asked, wherever that is.
#[must_use]
pub fn refuse(code: Code, asker: &Asker<'_>, at: (Zxid, i64)) -> TxnEntry {
    let (zxid, time_ms) = at;
    TxnEntry {
        header: TxnHeader { session: asker.session, cxid: asker.cxid, zxid, time_ms },
        txn: Txn::Error { code: code.to_int() },
        digest: None,
    }
}

/// One request being decided.
pub(crate) struct Decision<'a> {
    pub(crate) asker: &'a Asker<'a>,
    pub(crate) zxid: Zxid,
    pub(crate) time_ms: i64,
    pub(crate) store: &'a Store,
    pub(crate) outstanding: &'a mut Outstanding,
}

impl Decision<'_> {
    fn one(&mut self, write: Write) -> Result<Txn, Code> {
        match write {
            Write::Create(create) => self.create(create),
            Write::Delete { path, version } => self.delete(path, version),
            Write::DeleteContainer { path } => self.delete_container(path),
            Write::SetData { path, data, version } => self.set_data(path, data, version),
            Write::SetAcl { path, acl, version } => self.set_acl(path, acl.as_deref(), version),
            Write::Check { path, version } => self.check(path, version),
            Write::Reconfig { .. } => Err(self.refuse_reconfig()),
            Write::CreateSession { timeout_ms } => Ok(Txn::CreateSession { timeout_ms }),
            Write::CloseSession => Ok(self.close_session()),
            // The decoder makes no multi inside a multi.
            Write::Multi(_) | Write::MalformedMulti => Err(Code::MarshallingError),
        }
    }

    /// Part after part, each against the view that the parts before it leave; the first that fails takes all with
    /// it. A part that Java cannot handle at all (a null path, unreadable limits) fails the whole request.
    fn multi(&mut self, parts: Vec<Write>) -> Result<Txn, Code> {
        if parts.iter().any(lacks_path) {
            return Err(Code::MarshallingError);
        }
        self.outstanding.begin(self.store);
        let mut txns = Vec::with_capacity(parts.len());
        let mut failed = false;
        for part in parts {
            let txn = if failed {
                Txn::Error { code: Code::RuntimeInconsistency.to_int() }
            } else {
                self.one(part).or_else(|code| {
                    self.outstanding.rollback();
                    failed = true;
                    if code == Code::MarshallingError {
                        Err(code)
                    } else {
                        Ok(Txn::Error { code: code.to_int() })
                    }
                })?
            };
            txns.push(txn);
        }
        self.outstanding.commit();
        Ok(Txn::Multi(txns))
    }

    fn delete(&mut self, path: Option<String>, version: i32) -> Result<Txn, Code> {
        self.check_session()?;
        let path = path.ok_or(Code::MarshallingError)?;
        let parent = deletable(&path)?;
        let parent_view = self.view(parent)?;
        self.permit(&parent_view.acl, perms::DELETE)?;
        let node = self.view(&path)?;
        next_version(node.stat.version, version)?;
        if node.children > 0 {
            return Err(Code::NotEmpty);
        }
        self.put_deleted(&path, parent, parent_view);
        Ok(Txn::Delete { path })
    }

    /// Only the reaper asks for this, and time has passed since it looked.
    fn delete_container(&mut self, path: String) -> Result<Txn, Code> {
        let parent = deletable(&path)?;
        let node = self.view(&path)?;
        if node.children > 0 {
            return Err(Code::NotEmpty);
        }
        let due = match self.store.lifetime(node.stat.ephemeral_owner) {
            Lifetime::Container => true,
            Lifetime::Ttl(ttl_ms) => ttl_ms != 0 && self.time_ms.wrapping_sub(node.stat.mtime) > ttl_ms,
            Lifetime::Persistent | Lifetime::Session(_) => false,
        };
        if !due {
            return Err(Code::BadVersion);
        }
        let parent_view = self.view(parent)?;
        self.put_deleted(&path, parent, parent_view);
        Ok(Txn::DeleteContainer { path })
    }

    fn set_data(&mut self, path: Option<String>, data: Option<Bytes>, version: i32) -> Result<Txn, Code> {
        self.check_session()?;
        let path = valid(path)?;
        let mut node = self.view(&path)?;
        self.permit(&node.acl, perms::WRITE)?;
        let length = data.as_ref().map_or(0, Bytes::len);
        self.check_quota(&path, length, Some(node.data_len))?;
        let version = next_version(node.stat.version, version)?;
        (node.stat.version, node.stat.mzxid, node.stat.mtime) = (version, self.zxid.0, self.time_ms);
        node.data_len = length;
        node.crc = self.crc(&path, data.as_deref());
        self.put(&path, Some(node), false);
        Ok(Txn::SetData { path, data, version })
    }

    fn set_acl(&mut self, path: Option<String>, list: Option<&[RawAcl]>, version: i32) -> Result<Txn, Code> {
        self.check_session()?;
        let path = valid(path)?;
        let list = acl::fixup(list, self.asker.ids, &self.store.config)?;
        let mut node = self.view(&path)?;
        self.permit(&node.acl, perms::ADMIN)?;
        let version = next_version(node.stat.aversion, version)?;
        node.stat.aversion = version;
        node.acl = Some(list);
        let acl = node.acl.clone();
        self.put(&path, Some(node), false);
        Ok(Txn::SetAcl { path, acl, version })
    }

    fn check(&mut self, path: Option<String>, version: i32) -> Result<Txn, Code> {
        self.check_session()?;
        let path = valid(path)?;
        let node = self.view(&path)?;
        self.permit(&node.acl, perms::READ)?;
        let version = next_version(node.stat.version, version)?;
        Ok(Txn::Check { path, version })
    }

    /// What is left of reconfig on a server that is no member of a quorum.
    fn refuse_reconfig(&self) -> Code {
        if !self.store.config.reconfig_enabled {
            return Code::ReconfigDisabled;
        }
        self.check_session().err().unwrap_or(Code::Unimplemented)
    }

    /// Takes every ephemeral along, also those that are yet to be created.
    fn close_session(&mut self) -> Txn {
        let paths = self.outstanding.ephemerals(self.store, self.asker.session);
        for path in &paths {
            let parent = path::parent(path);
            if let Ok(parent_view) = self.view(parent) {
                self.put_deleted(path, parent, parent_view);
            }
        }
        // Whoever applies it takes what is not named along as well. A list of all of them might be longer than any server
        // reads: from a log, or from its leader (ZOOKEEPER-4306).
        let mut bytes = 0;
        let named = paths.into_iter().take_while(|path| {
            bytes += 4 + path.len();
            bytes <= LONGEST_LIST
        });
        Txn::CloseSession { paths: self.store.config.close_session_list.then(|| named.collect()) }
    }

    /// Refuses a write beyond a hard limit; one beyond a soft limit is only remarked upon.
    pub(crate) fn check_quota(&mut self, path: &str, data: usize, old: Option<usize>) -> Result<(), Code> {
        for excess in self.store.quota_excess(path, data, old)? {
            self.outstanding.quota_warning = Some(excess.text);
            if excess.hard {
                self.outstanding.quota_refusals.add(path, 1);
                return Err(Code::QuotaExceeded);
            }
        }
        Ok(())
    }

    pub(crate) fn check_session(&self) -> Result<(), Code> {
        if self.asker.session_live { Ok(()) } else { Err(Code::SessionExpired) }
    }

    pub(crate) fn permit(&self, list: &AclRef, wanted: i32) -> Result<(), Code> {
        if self.store.allows(list, wanted, self.asker.ids) { Ok(()) } else { Err(Code::NoAuth) }
    }

    pub(crate) fn view(&self, path: &str) -> Result<View, Code> {
        self.outstanding.view(self.store, path).ok_or(Code::NoNode)
    }

    pub(crate) fn put(&mut self, path: &str, view: Option<View>, created: bool) {
        self.outstanding.put(self.store, self.zxid, path, view, created);
    }

    pub(crate) fn crc(&self, path: &str, data: Option<&[u8]>) -> u32 {
        if self.store.config.digest_enabled { digest::prefix(key(path), data) } else { 0 }
    }

    fn put_deleted(&mut self, path: &str, parent: &str, mut parent_view: View) {
        parent_view.children = parent_view.children.saturating_sub(1);
        parent_view.stat.pzxid = parent_view.stat.pzxid.max(self.zxid.0);
        self.put(parent, Some(parent_view), false);
        self.put(path, None, false);
    }
}

fn lacks_path(part: &Write) -> bool {
    match part {
        Write::Create(create) => create.path.is_none(),
        Write::Delete { path, .. }
        | Write::SetData { path, .. }
        | Write::SetAcl { path, .. }
        | Write::Check { path, .. } => path.is_none(),
        Write::DeleteContainer { .. }
        | Write::Multi(_)
        | Write::MalformedMulti
        | Write::Reconfig { .. }
        | Write::CreateSession { .. }
        | Write::CloseSession => false,
    }
}

/// The parent of a path that may be deleted as far as its text tells.
fn deletable(path: &str) -> Result<&str, Code> {
    if !path::has_parent(path) || path::is_special(path) {
        return Err(Code::BadArguments);
    }
    Ok(parent_text(path))
}

/// The text before the last slash: empty for what lies below the root.
pub(crate) fn parent_text(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// A path that is valid in full. Unlike creates and deletes, a missing one is only a bad argument here.
fn valid(path: Option<String>) -> Result<String, Code> {
    path.filter(|path| path::is_valid(path)).ok_or(Code::BadArguments)
}

/// The version after a change that expects a version, -1 being any.
fn next_version(current: i32, expected: i32) -> Result<i32, Code> {
    if expected == -1 || expected == current { Ok(current.wrapping_add(1)) } else { Err(Code::BadVersion) }
}
