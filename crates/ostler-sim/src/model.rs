//! What ZooKeeper's tree is, written a second time and as plainly as possible: a map from path to node. It knows
//! nothing of `ostler-tree`. Given a request and what came before, it says what transaction that must become; given
//! a transaction, what the tree is after it; and given a read, what the answer must be.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use bytes::Bytes;
use ostler_wire::acl::{Acl, RawAcl};
use ostler_wire::client::event::EventType;
use ostler_wire::client::write::{Create, CreateMode, Write};
use ostler_wire::txn::{CreateKind, CreateTxn, Txn, TxnEntry};
use ostler_wire::{Code, OpCode, SessionId, Stat, Zxid};

/// How a node ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// By a delete only.
    Nobody,
    /// With a session.
    Session(SessionId),
    /// When it has lost its last child.
    Container,
    /// When nothing happened to it for so long.
    Ttl(i64),
}

/// A node.
#[derive(Debug, Clone)]
pub struct Node {
    /// The data.
    pub data: Option<Bytes>,
    /// Who may do what, as a list of permissions and ids.
    pub acl: Vec<Acl>,
    /// How it ends.
    pub owner: Owner,
    /// What clients see, but for the lengths, which are computed.
    pub stat: Stat,
    /// How many children were ever created.
    pub creations: i32,
    /// The names of its children.
    pub children: BTreeSet<String>,
}

/// Something a watch can be told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// By which transaction.
    pub zxid: Zxid,
    /// What: created, deleted, data changed, or children changed.
    pub kind: EventType,
    /// Where.
    pub path: String,
}

/// The tree and the sessions at one zxid.
#[derive(Debug, Clone)]
pub struct Model {
    nodes: BTreeMap<String, Node>,
    sessions: BTreeMap<SessionId, i32>,
    zxid: Zxid,
    digest: Option<i64>,
}

impl Default for Model {
    fn default() -> Self {
        Self::new()
    }
}

impl Model {
    /// The tree of an empty database.
    #[must_use]
    pub fn new() -> Self {
        let mut nodes = BTreeMap::new();
        let mut put = |path: &str, acl: Vec<Acl>, aversion: i32, children: &[&str]| {
            let count = i32::try_from(children.len()).expect("three at most");
            let stat = Stat { aversion, cversion: -count, ..Stat::default() };
            let children = children.iter().map(|name| (*name).to_owned()).collect();
            let data = Some(Bytes::new());
            nodes.insert(
                path.to_owned(),
                Node { data, acl, owner: Owner::Nobody, stat, creations: 0, children },
            );
        };
        put("/", Acl::open(), 0, &["zookeeper"]);
        put("/zookeeper", Acl::open(), 0, &["config", "quota"]);
        put("/zookeeper/quota", Acl::open(), 0, &[]);
        put("/zookeeper/config", vec![Acl::world(1)], -1, &[]);
        Self { nodes, sessions: BTreeMap::new(), zxid: Zxid::ZERO, digest: None }
    }

    /// The newest transaction.
    #[must_use]
    pub fn zxid(&self) -> Zxid {
        self.zxid
    }

    /// The digest that the newest transaction with one says.
    #[must_use]
    pub fn digest(&self) -> Option<i64> {
        self.digest
    }

    /// A node.
    #[must_use]
    pub fn node(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// What clients see of a node's bookkeeping.
    #[must_use]
    pub fn stat(&self, path: &str) -> Option<Stat> {
        self.nodes.get(path).map(Node::seen)
    }

    /// All nodes, by path.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// All sessions and their timeouts.
    pub fn sessions(&self) -> impl Iterator<Item = (SessionId, i32)> + '_ {
        self.sessions.iter().map(|(id, timeout)| (*id, *timeout))
    }

    /// Whether a session is known.
    #[must_use]
    pub fn has_session(&self, id: SessionId) -> bool {
        self.sessions.contains_key(&id)
    }

    /// The ephemerals of a session.
    #[must_use]
    pub fn ephemerals(&self, id: SessionId) -> Vec<String> {
        let owned = self.nodes.iter().filter(|(_, node)| node.owner == Owner::Session(id));
        owned.map(|(path, _)| path.clone()).collect()
    }

    /// How many nodes are below a node.
    #[must_use]
    pub fn count_below(&self, path: &str) -> usize {
        let prefix = if path == "/" { "/".to_owned() } else { format!("{path}/") };
        self.nodes.keys().filter(|other| other.starts_with(&prefix) && other.as_str() != path).count()
    }

    /// What a request must become here: a transaction, or the code of its refusal.
    #[must_use]
    pub fn decide(&self, write: &Write, session: SessionId, time_ms: i64) -> Txn {
        let decided = match write {
            Write::Multi(parts) => Ok(self.decide_multi(parts, session, time_ms)),
            one => self.decide_one(one, session, time_ms),
        };
        decided.unwrap_or_else(|code| Txn::Error { code: code.to_int() })
    }

    /// Applies a transaction; an error says why it cannot be one that a correct server logged here.
    pub fn apply(&mut self, entry: &TxnEntry, changes: &mut Vec<Change>) -> Result<(), String> {
        let header = &entry.header;
        if header.zxid <= self.zxid {
            return Err(format!("zxid {} after {}", header.zxid, self.zxid));
        }
        self.zxid = header.zxid;
        if entry.digest.is_some() {
            self.digest = entry.digest.map(|digest| digest.digest);
        }
        let at = (header.session, header.zxid, header.time_ms);
        match &entry.txn {
            Txn::Multi(parts) if entry.txn.is_failed_multi() => {
                // Whatever else it holds, it does nothing.
                let _ = parts;
                Ok(())
            }
            Txn::Multi(parts) => parts.iter().try_for_each(|part| self.apply_one(part, at, changes)),
            one => self.apply_one(one, at, changes),
        }
    }

    fn decide_multi(&self, parts: &[Write], session: SessionId, time_ms: i64) -> Txn {
        let mut view = self.clone();
        // A place that no transaction of the past has, so that `apply` takes the parts one by one.
        let mut at = (session, self.zxid.next(), time_ms);
        let mut txns = Vec::new();
        let mut failed = false;
        for part in parts {
            if failed {
                txns.push(Txn::Error { code: Code::RuntimeInconsistency.to_int() });
                continue;
            }
            match view.decide_one(part, session, time_ms) {
                Ok(txn) => {
                    at.1 = at.1.next();
                    view.apply_one(&txn, at, &mut Vec::new()).expect("what was just decided fits");
                    txns.push(txn);
                }
                Err(code) => {
                    failed = true;
                    txns.push(Txn::Error { code: code.to_int() });
                }
            }
        }
        Txn::Multi(txns)
    }

    fn decide_one(&self, write: &Write, session: SessionId, time_ms: i64) -> Result<Txn, Code> {
        match write {
            Write::Create(create) => self.decide_create(create),
            Write::Delete { path, version } => {
                let path = path.clone().ok_or(Code::MarshallingError)?;
                let node = self.nodes.get(&path).ok_or(Code::NoNode)?;
                matches(node.stat.version, *version)?;
                if !node.children.is_empty() {
                    return Err(Code::NotEmpty);
                }
                Ok(Txn::Delete { path })
            }
            Write::SetData { path, data, version } => {
                let path = path.clone().ok_or(Code::BadArguments)?;
                let node = self.nodes.get(&path).ok_or(Code::NoNode)?;
                let version = matches(node.stat.version, *version)?;
                Ok(Txn::SetData { path, data: data.clone(), version })
            }
            Write::SetAcl { path, acl, version } => {
                let path = path.clone().ok_or(Code::BadArguments)?;
                let node = self.nodes.get(&path).ok_or(Code::NoNode)?;
                let version = matches(node.stat.aversion, *version)?;
                let acl = Some(plain_acl(acl.as_deref()).into());
                Ok(Txn::SetAcl { path, acl, version })
            }
            Write::Check { path, version } => {
                let path = path.clone().ok_or(Code::BadArguments)?;
                let node = self.nodes.get(&path).ok_or(Code::NoNode)?;
                Ok(Txn::Check { version: matches(node.stat.version, *version)?, path })
            }
            Write::DeleteContainer { path } => {
                let node = self.nodes.get(path).ok_or(Code::NoNode)?;
                if !node.children.is_empty() {
                    return Err(Code::NotEmpty);
                }
                let due = match node.owner {
                    Owner::Container => true,
                    Owner::Ttl(ttl_ms) => time_ms.wrapping_sub(node.stat.mtime) > ttl_ms,
                    Owner::Nobody | Owner::Session(_) => false,
                };
                if due { Ok(Txn::DeleteContainer { path: path.clone() }) } else { Err(Code::BadVersion) }
            }
            Write::CreateSession { timeout_ms } => Ok(Txn::CreateSession { timeout_ms: *timeout_ms }),
            Write::CloseSession => Ok(Txn::CloseSession { paths: Some(self.ephemerals(session)) }),
            Write::MalformedMulti => Err(Code::MarshallingError),
            Write::Multi(_) | Write::Reconfig { .. } => Err(Code::Unimplemented),
        }
    }

    fn decide_create(&self, create: &Create) -> Result<Txn, Code> {
        let mode = CreateMode::from_flags(create.flags).ok_or(Code::BadArguments)?;
        let mut path = create.path.clone().ok_or(Code::MarshallingError)?;
        let parent = self.nodes.get(parent_of(&path)).ok_or(Code::NoNode)?;
        if mode.is_sequential() {
            let _ = write!(path, "{:010}", parent.creations);
        }
        if self.nodes.contains_key(&path) {
            return Err(Code::NodeExists);
        }
        if matches!(parent.owner, Owner::Session(_)) {
            return Err(Code::NoChildrenForEphemerals);
        }
        let kind = match create.op {
            OpCode::CreateTtl => CreateKind::Ttl { ttl_ms: create.ttl },
            OpCode::CreateContainer => CreateKind::Container,
            op => CreateKind::Plain { second: op == OpCode::Create2, ephemeral: mode.is_ephemeral() },
        };
        let acl = Some(plain_acl(create.acl.as_deref()).into());
        let parent_cversion = parent.creations + 1;
        Ok(Txn::Create(CreateTxn { kind, path, data: create.data.clone(), acl, parent_cversion }))
    }

    fn apply_one(
        &mut self,
        txn: &Txn,
        at: (SessionId, Zxid, i64),
        changes: &mut Vec<Change>,
    ) -> Result<(), String> {
        let (session, zxid, time_ms) = at;
        match txn {
            Txn::CreateSession { timeout_ms } => {
                self.sessions.insert(session, *timeout_ms);
            }
            Txn::CloseSession { paths } => {
                self.sessions.remove(&session);
                let owned = self.ephemerals(session);
                if let Some(paths) = paths {
                    let listed: BTreeSet<_> = paths.iter().collect();
                    if listed != owned.iter().collect() {
                        return Err(format!(
                            "the session that closes owns {owned:?}, the txn lists {paths:?}"
                        ));
                    }
                }
                for path in paths.as_ref().unwrap_or(&owned) {
                    self.remove(path, zxid, changes)?;
                }
            }
            Txn::Error { .. } | Txn::Check { .. } => {}
            Txn::Create(create) => self.create(create, at, changes)?,
            Txn::Delete { path } | Txn::DeleteContainer { path } => self.remove(path, zxid, changes)?,
            Txn::SetData { path, data, version } | Txn::Reconfig { path, data, version } => {
                let node = self.nodes.get_mut(path).ok_or_else(|| format!("setData of missing {path}"))?;
                node.data = data.clone();
                (node.stat.mzxid, node.stat.mtime, node.stat.version) = (zxid.0, time_ms, *version);
                changes.push(Change { zxid, kind: EventType::NodeDataChanged, path: path.clone() });
            }
            Txn::SetAcl { path, acl, version } => {
                let node = self.nodes.get_mut(path).ok_or_else(|| format!("setACL of missing {path}"))?;
                node.acl = acl.as_deref().map_or_else(Acl::open, <[Acl]>::to_vec);
                node.stat.aversion = *version;
            }
            Txn::Multi(_) => return Err("a multi inside a multi".to_owned()),
        }
        Ok(())
    }

    fn create(
        &mut self,
        txn: &CreateTxn,
        at: (SessionId, Zxid, i64),
        changes: &mut Vec<Change>,
    ) -> Result<(), String> {
        let (session, zxid, time_ms) = at;
        let path = &txn.path;
        if self.nodes.contains_key(path) {
            return Err(format!("create of {path}, which is there"));
        }
        let (parent_path, name) = (parent_of(path), name_of(path));
        let parent =
            self.nodes.get_mut(parent_path).ok_or_else(|| format!("create of {path} below nothing"))?;
        parent.creations += 1;
        if parent.creations != txn.parent_cversion {
            return Err(format!(
                "create of {path} says that its parent had {} creations, and it had {}",
                txn.parent_cversion, parent.creations
            ));
        }
        parent.children.insert(name.to_owned());
        parent.stat.cversion += 1;
        parent.stat.pzxid = zxid.0;
        let owner = match txn.kind {
            CreateKind::Plain { ephemeral: true, .. } => Owner::Session(session),
            CreateKind::Plain { ephemeral: false, .. } => Owner::Nobody,
            CreateKind::Container => Owner::Container,
            CreateKind::Ttl { ttl_ms } => Owner::Ttl(ttl_ms),
        };
        let stat = Stat {
            czxid: zxid.0,
            mzxid: zxid.0,
            pzxid: zxid.0,
            ctime: time_ms,
            mtime: time_ms,
            ephemeral_owner: if let Owner::Session(id) = owner { id.0 } else { 0 },
            ..Stat::default()
        };
        let acl = txn.acl.as_deref().map_or_else(Acl::open, <[Acl]>::to_vec);
        let children = BTreeSet::new();
        self.nodes
            .insert(path.clone(), Node { data: txn.data.clone(), acl, owner, stat, creations: 0, children });
        let parent = parent_path.to_owned();
        changes.push(Change { zxid, kind: EventType::NodeCreated, path: path.clone() });
        changes.push(Change { zxid, kind: EventType::NodeChildrenChanged, path: parent });
        Ok(())
    }

    fn remove(&mut self, path: &str, zxid: Zxid, changes: &mut Vec<Change>) -> Result<(), String> {
        let node = self.nodes.get(path).ok_or_else(|| format!("delete of missing {path}"))?;
        if !node.children.is_empty() {
            return Err(format!("delete of {path}, which has children"));
        }
        self.nodes.remove(path);
        let parent = self.nodes.get_mut(parent_of(path)).ok_or("a node without a parent")?;
        parent.children.remove(name_of(path));
        parent.stat.cversion += 1;
        parent.stat.pzxid = zxid.0;
        let parent = parent_of(path).to_owned();
        changes.push(Change { zxid, kind: EventType::NodeDeleted, path: path.to_owned() });
        changes.push(Change { zxid, kind: EventType::NodeChildrenChanged, path: parent });
        Ok(())
    }
}

impl Node {
    fn seen(&self) -> Stat {
        Stat {
            data_length: i32::try_from(self.data.as_ref().map_or(0, Bytes::len)).expect("small"),
            num_children: i32::try_from(self.children.len()).expect("few"),
            ..self.stat
        }
    }
}

/// The version after a change that expects one, -1 being any.
fn matches(current: i32, expected: i32) -> Result<i32, Code> {
    if expected == -1 || expected == current { Ok(current + 1) } else { Err(Code::BadVersion) }
}

/// Lists that name `world:anyone` only are stored as they are sent.
fn plain_acl(acl: Option<&[RawAcl]>) -> Vec<Acl> {
    acl.unwrap_or_default()
        .iter()
        .map(|entry| {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            Acl::new(entry.perms, text(&entry.scheme), text(&entry.id))
        })
        .collect()
}

/// The path of the parent; the root is its own.
#[must_use]
pub fn parent_of(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((parent, _)) => parent,
    }
}

fn name_of(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}
