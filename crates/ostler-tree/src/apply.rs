//! Applying a transaction, live and in replay alike. Nothing is checked here but what replay over a snapshot of
//! mixed times needs (the rules keep such a tree converging); nothing here fails or panics, whatever a log holds.
//! Answers to Java's `DataTree.processTxn`.

use std::sync::Arc;

use ostler_wire::client::event::EventType;
use ostler_wire::disk::StatPersisted;
use ostler_wire::txn::{AclList, CreateKind, CreateTxn, Txn, TxnEntry, TxnHeader};
use ostler_wire::{Code, OpCode, SessionId, Zxid};

use crate::node::MAX_NAME;
use crate::outcome::{Change, Outcome, Part};
use crate::owner::{self, CONTAINER_OWNER};
use crate::store::{Store, estimate, java_length};
use crate::tree::ROOT;

impl Store {
    /// Applies a transaction and appends what it changed.
    pub fn apply(&mut self, entry: &TxnEntry, changes: &mut Vec<Change>) -> Outcome {
        let outcome = if let Txn::Multi(parts) = &entry.txn {
            Outcome::Multi(self.apply_multi(&entry.header, parts, changes))
        } else {
            self.apply_one(&entry.header, &entry.txn, changes)
        };
        self.last_zxid = self.last_zxid.max(entry.header.zxid);
        if self.config.digest_enabled {
            self.digests.compare(entry.header.zxid, self.digest(), entry.digest);
        }
        outcome
    }

    /// Ends sessions that own ephemerals but are not in the session table, as a server does once it has loaded.
    /// Nothing of it is logged: every server does the same. An owner that marks a TTL node is left alone: Java takes
    /// it for a session while extended types are off, and deletes nodes that only lack a setting.
    pub fn clear_dead_sessions(&mut self) -> Vec<SessionId> {
        let dead: Vec<SessionId> = self
            .ephemerals
            .keys()
            .filter(|id| !self.sessions.contains_key(id) && id.0.cast_unsigned() >> 40 != 0xff_0000)
            .copied()
            .collect();
        for id in &dead {
            self.close_session(*id, self.last_zxid, None, &mut Vec::new());
        }
        dead
    }

    fn apply_one(&mut self, header: &TxnHeader, txn: &Txn, changes: &mut Vec<Change>) -> Outcome {
        match txn {
            Txn::CreateSession { timeout_ms } => {
                self.sessions.insert(header.session, *timeout_ms);
                Outcome::Session { id: header.session, timeout_ms: *timeout_ms }
            }
            Txn::CloseSession { paths } => {
                self.sessions.remove(&header.session);
                self.close_session(header.session, header.zxid, paths.as_deref(), changes);
                Outcome::Done
            }
            Txn::Error { code } => {
                Code::from_int(*code).map_or_else(|| Outcome::Error(Code::SystemError), Outcome::Error)
            }
            Txn::Create(create) => self.create(header, create, changes),
            Txn::Delete { path } | Txn::DeleteContainer { path } => {
                self.delete(path, header.zxid, changes).map_or_else(Outcome::Error, |()| Outcome::Done)
            }
            Txn::SetData { path, data, version } | Txn::Reconfig { path, data, version } => {
                self.set_data(header, path, data.as_deref(), *version, changes)
            }
            Txn::SetAcl { path, acl, version } => self.set_acl(path, acl.as_ref(), *version),
            // A multi inside a multi does not get past the decoder.
            Txn::Check { .. } | Txn::Multi(_) => Outcome::Done,
        }
    }

    /// Every part, or none if one is an error.
    fn apply_multi(&mut self, header: &TxnHeader, parts: &[Txn], changes: &mut Vec<Change>) -> Vec<Part> {
        if let Some(failed) = parts.iter().position(|part| matches!(part, Txn::Error { .. })) {
            let err = |(i, part): (usize, &Txn)| {
                if let Txn::Error { code } = part {
                    *code
                } else if i < failed {
                    0
                } else {
                    Code::RuntimeInconsistency.to_int()
                }
            };
            return parts.iter().enumerate().map(err).map(failed_part).collect();
        }
        parts
            .iter()
            .map(|part| {
                let outcome = self.apply_one(header, part, changes);
                if let Outcome::Error(code) = outcome {
                    return failed_part(code.to_int());
                }
                let op = part.op();
                let with_stat = matches!(op, OpCode::CreateContainer | OpCode::CreateTtl);
                Part { op: if with_stat { OpCode::Create2 } else { op }, err: 0, outcome }
            })
            .collect()
    }

    fn create(&mut self, header: &TxnHeader, txn: &CreateTxn, changes: &mut Vec<Change>) -> Outcome {
        let Some((parent_path, name)) = txn.path.rsplit_once('/') else {
            return Outcome::Error(Code::NoNode);
        };
        let Some(parent) = self.tree.find(parent_path) else { return Outcome::Error(Code::NoNode) };
        if name.len() > MAX_NAME {
            return Outcome::Error(Code::BadArguments);
        }
        let zxid = header.zxid.0;
        // In the order of a snapshot, which holds the lists before the nodes: the list first.
        let acl = self.acls.intern(txn.acl.as_ref());
        if let Some(existing) = self.child_at(parent, name, &txn.path) {
            let old = self.tree.set_acl(existing, acl);
            self.acls.release(old);
            if matches!(txn.kind, CreateKind::Plain { second: false, .. }) {
                self.count_creation(parent, txn.parent_cversion, zxid);
            }
            return Outcome::Error(Code::NodeExists);
        }
        self.count_creation(parent, txn.parent_cversion, zxid);
        let stat = created_stat(txn.kind, header.session, header.zxid, header.time_ms);
        let data = txn.data.as_deref();
        let id = self.tree.insert(parent, &txn.path, name, data, acl, &stat);
        let data_len = data.map_or(0, <[u8]>::len);
        self.data_size += estimate(java_length(&txn.path), data_len);
        self.index(&txn.path, stat.ephemeral_owner);
        let result = self.stat(id);
        self.on_created_for_quota(parent_path, name);
        self.account(&txn.path, estimate(0, data_len), 1);
        self.writes.add(&txn.path, txn.path.len() + data_len);
        let path: Arc<str> = txn.path.as_str().into();
        changes.push(Change {
            zxid: header.zxid,
            kind: EventType::NodeCreated,
            path: path.clone(),
            acl: txn.acl.clone(),
            parent_acl: Some(self.acl_of(parent)),
        });
        Outcome::Created { path, stat: result }
    }

    /// The node at a path whose parent is known. The root is not among its own children.
    fn child_at(&self, parent: u32, name: &str, path: &str) -> Option<u32> {
        if path == "/" { Some(ROOT) } else { self.tree.child(parent, name.as_bytes()) }
    }

    /// The parent's counter never goes back: a snapshot may hold later creations that were undone since.
    fn count_creation(&mut self, parent: u32, cversion: i32, zxid: i64) {
        let stat = self.tree.stat(parent);
        let cversion = if cversion == -1 { stat.cversion.wrapping_add(1) } else { cversion };
        if cversion > stat.cversion {
            self.tree.change_stat(parent, |stat| (stat.cversion, stat.pzxid) = (cversion, zxid));
        }
    }

    fn delete(&mut self, path: &str, zxid: Zxid, changes: &mut Vec<Change>) -> Result<(), Code> {
        let (parent_path, name) = path.rsplit_once('/').ok_or(Code::NoNode)?;
        let parent = self.tree.find(parent_path).ok_or(Code::NoNode)?;
        let id = self.child_at(parent, name, path);
        if id == Some(ROOT) {
            return Err(Code::BadArguments);
        }
        // Also for a node that is already gone: its deletion may be in the snapshot without this half.
        if zxid.0 > self.tree.stat(parent).pzxid {
            self.tree.change_stat(parent, |stat| stat.pzxid = zxid.0);
        }
        let id = id.ok_or(Code::NoNode)?;
        // Only in replay can there be children: later ones than this deletion, which come again.
        let below: Vec<u32> =
            if self.tree.child_count(id) == 0 { Vec::new() } else { self.tree.subtree(id).skip(1).collect() };
        for child in below.into_iter().rev() {
            let path = self.tree.path(child);
            self.remove_leaf(child, &path);
        }
        let acl = self.acl_of(id);
        self.remove_leaf(id, path);
        changes.push(Change {
            zxid,
            kind: EventType::NodeDeleted,
            path: path.into(),
            acl,
            parent_acl: Some(self.acl_of(parent)),
        });
        Ok(())
    }

    fn remove_leaf(&mut self, id: u32, path: &str) {
        let node = self.tree.remove(id);
        self.acls.release(node.acl);
        self.unindex(path, node.owner());
        self.data_size -= estimate(java_length(path), node.data_len());
        self.writes.add(path, path.len());
        if !self.quotas.is_empty() {
            if let Some((parent, name)) = path.rsplit_once('/') {
                self.on_deleted_for_quota(parent, name);
            }
            self.account(path, -estimate(0, node.data_len()), -1);
        }
    }

    fn set_data(
        &mut self,
        header: &TxnHeader,
        path: &str,
        data: Option<&[u8]>,
        version: i32,
        changes: &mut Vec<Change>,
    ) -> Outcome {
        let Some(id) = self.tree.find(path) else { return Outcome::Error(Code::NoNode) };
        let before = self.tree.node(id).data_len();
        self.tree.set_data(id, if id == ROOT { "" } else { path }, data, |stat| {
            (stat.mzxid, stat.mtime, stat.version) = (header.zxid.0, header.time_ms, version);
        });
        let result = self.stat(id);
        let grown = estimate(0, self.tree.node(id).data_len()) - estimate(0, before);
        self.account(path, grown, 0);
        self.writes.add(path, path.len() + data.map_or(0, <[u8]>::len));
        self.data_size += grown;
        changes.push(Change {
            zxid: header.zxid,
            kind: EventType::NodeDataChanged,
            path: if id == ROOT { "/" } else { path }.into(),
            acl: self.acl_of(id),
            parent_acl: None,
        });
        Outcome::Stat(result)
    }

    fn set_acl(&mut self, path: &str, acl: Option<&AclList>, version: i32) -> Outcome {
        let Some(id) = self.tree.find(path) else { return Outcome::Error(Code::NoNode) };
        let acl = self.acls.intern(acl);
        let old = self.tree.set_acl(id, acl);
        self.acls.release(old);
        self.tree.change_stat(id, |stat| stat.aversion = version);
        Outcome::Stat(self.stat(id))
    }

    /// Deletes what the transaction lists, whoever owns it, then what else the session owns here.
    fn close_session(
        &mut self,
        session: SessionId,
        zxid: Zxid,
        paths: Option<&[String]>,
        changes: &mut Vec<Change>,
    ) {
        for path in paths.unwrap_or_default() {
            // What is gone is gone.
            let _ = self.delete(path, zxid, changes);
        }
        for path in self.ephemerals(session) {
            let _ = self.delete(&path, zxid, changes);
        }
        self.ephemerals.remove(&session);
    }
}

fn failed_part(err: i32) -> Part {
    Part { op: OpCode::Error, err, outcome: Outcome::Done }
}

fn owner_of(kind: CreateKind, session: SessionId) -> i64 {
    match kind {
        CreateKind::Plain { ephemeral: true, .. } => session.0,
        CreateKind::Plain { ephemeral: false, .. } => 0,
        CreateKind::Container => CONTAINER_OWNER,
        // Java dies of a time to live that is out of range.
        CreateKind::Ttl { ttl_ms } => owner::of_ttl(ttl_ms).unwrap_or(0),
    }
}

/// The bookkeeping of a node that a transaction creates; the same for deciding and applying.
pub(crate) fn created_stat(kind: CreateKind, session: SessionId, zxid: Zxid, time_ms: i64) -> StatPersisted {
    StatPersisted {
        czxid: zxid.0,
        mzxid: zxid.0,
        pzxid: zxid.0,
        ctime: time_ms,
        mtime: time_ms,
        ephemeral_owner: owner_of(kind, session),
        ..StatPersisted::default()
    }
}
