//! The body of a snapshot: sessions, lists, nodes. `Walk` writes it in slices between which the tree goes on
//! changing; `Loader` builds a store from it, over which the log since the walk began is then replayed. Answers to
//! the serialization halves of Java's `SerializeUtils`, `DataTree` and `ReferenceCountedACLCache`.

use std::collections::BTreeMap;

use ostler_wire::disk::StatPersisted;
use ostler_wire::jute::Writer;
use ostler_wire::txn::{AclList, TxnDigest};
use ostler_wire::{Acl, SessionId, Zxid, acl};

use crate::acl::{OPEN, UNRESOLVED};
use crate::config::TreeConfig;
use crate::node::MAX_NAME;
use crate::store::Store;
use crate::tree::ROOT;

/// A snapshot being written. What it leaves out or holds too early is exactly what the log since `zxid` brings.
///
/// Nodes that were created since are left out, so a node that went and came back is not written twice. A list that
/// came since is written as the open one: a reader must not meet an id that the table of lists, which comes first,
/// does not have, and the transaction that set the list is replayed.
#[derive(Debug)]
pub struct Walk {
    zxid: Zxid,
    sessions: Vec<(SessionId, i32)>,
    /// By handle.
    lists: BTreeMap<u32, AclList>,
    stage: Stage,
    /// The path of the node at the top of the stack.
    path: String,
    stack: Vec<Frame>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Sessions(usize),
    Lists,
    Root,
    Nodes,
    Done,
}

/// A node whose children are being written.
#[derive(Debug)]
struct Frame {
    id: u32,
    /// The first key among its children that is yet to be written.
    next: u64,
    /// The length of the path up to its parent.
    parent_len: usize,
}

impl Walk {
    /// Begins at the state that the store is in.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self {
            zxid: store.last_zxid(),
            sessions: store.sessions().collect(),
            lists: store.acls.entries().map(|(handle, list)| (handle, list.clone())).collect(),
            stage: Stage::Sessions(0),
            path: String::new(),
            stack: Vec::new(),
        }
    }

    /// The transaction after which replay has to begin, by which the file is named.
    #[must_use]
    pub fn zxid(&self) -> Zxid {
        self.zxid
    }

    /// Appends the next slice: at most about so many nodes or bytes. Says whether that was the last.
    pub fn next(&mut self, store: &Store, max_nodes: usize, max_bytes: usize, out: &mut Vec<u8>) -> bool {
        let end = out.len().saturating_add(max_bytes.max(1));
        let mut left = max_nodes.max(1);
        self.revalidate(store);
        while left > 0 && out.len() < end && self.stage != Stage::Done {
            left -= 1;
            match self.stage {
                Stage::Sessions(at) => self.write_session(at, out),
                Stage::Lists => {
                    self.write_lists(out);
                    self.stage = Stage::Root;
                }
                Stage::Root => {
                    self.write_node(store, ROOT, out);
                    self.stack.push(Frame { id: ROOT, next: 0, parent_len: 0 });
                    self.stage = Stage::Nodes;
                }
                Stage::Nodes => self.write_children(store, &mut left, end, out),
                Stage::Done => {}
            }
        }
        self.stage == Stage::Done
    }

    /// Between slices a node of the stack may have gone, and its id may be another's.
    fn revalidate(&mut self, store: &Store) {
        let mut id = ROOT;
        for at in 1..self.stack.len() {
            let start = self.stack[at].parent_len;
            let end = self.stack.get(at + 1).map_or(self.path.len(), |frame| frame.parent_len);
            match store.tree.child(id, &self.path.as_bytes()[start + 1..end]) {
                Some(child) if child == self.stack[at].id => id = child,
                _ => {
                    self.path.truncate(start);
                    self.stack.truncate(at);
                    return;
                }
            }
        }
    }

    /// The nodes below the top of the stack up to the first that has children of its own; or one step up.
    fn write_children(&mut self, store: &Store, left: &mut usize, end: usize, out: &mut Vec<u8>) {
        let Some(top) = self.stack.last() else {
            out.put_string("/");
            self.stage = Stage::Done;
            return;
        };
        let (parent, parent_len) = (self.stack.len() - 1, top.parent_len);
        for (child, next) in store.tree.children_from(top.id, top.next) {
            self.stack[parent].next = next;
            let node = store.tree.node(child);
            // One from beyond the newest transaction is no news but came with a snapshot whose log was lost.
            let is_news = node.czxid() > self.zxid.0 && node.czxid() <= store.last_zxid().0;
            if !is_news {
                let path_len = self.path.len();
                self.path.push('/');
                self.path.push_str(node.name());
                self.write_node(store, child, out);
                if store.tree.child_count(child) > 0 {
                    self.stack.push(Frame { id: child, next: 0, parent_len: path_len });
                    return;
                }
                self.path.truncate(path_len);
            }
            // The caller has counted the first.
            if *left == 0 || out.len() >= end {
                return;
            }
            *left -= 1;
        }
        self.stack.pop();
        self.path.truncate(parent_len);
    }

    fn write_session(&mut self, at: usize, out: &mut Vec<u8>) {
        if at == 0 {
            out.put_count(self.sessions.len());
        }
        match self.sessions.get(at) {
            None => self.stage = Stage::Lists,
            Some((id, timeout_ms)) => {
                out.put_long(id.0);
                out.put_int(*timeout_ms);
                self.stage = Stage::Sessions(at + 1);
            }
        }
    }

    fn write_lists(&self, out: &mut Vec<u8>) {
        out.put_count(self.lists.len());
        for (handle, list) in &self.lists {
            out.put_long(i64::from(*handle));
            acl::encode_list(list, out);
        }
    }

    fn write_node(&self, store: &Store, id: u32, out: &mut Vec<u8>) {
        let node = store.tree.node(id);
        out.put_string(&self.path);
        out.put_buffer(node.data());
        out.put_long(self.written_acl(store, node.acl));
        store.tree.stat(id).encode(out);
    }

    fn written_acl(&self, store: &Store, handle: u32) -> i64 {
        match (store.acls.list(handle), self.lists.get(&handle)) {
            (Some(now), Some(then)) if std::sync::Arc::ptr_eq(now, then) => i64::from(handle),
            // Damage stays visible as damage.
            _ if handle == UNRESOLVED => i64::from(handle),
            _ => -1,
        }
    }
}

/// Why a snapshot cannot be loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// A node came before its parent, or its parent is not there.
    #[error("the parent of node {0:?} is not in the snapshot")]
    NoParent(String),
    /// The first node was not the root, or there was none.
    #[error("the snapshot does not begin with the root node")]
    NoRoot,
    /// A path is longer than a node can have.
    #[error("the path of a node is {0} bytes long")]
    TooLong(usize),
}

/// A store being built from a snapshot.
#[derive(Debug)]
pub struct Loader {
    config: Option<TreeConfig>,
    store: Option<Store>,
    sessions: BTreeMap<SessionId, i32>,
    lists: BTreeMap<i64, AclList>,
    /// The parent of the node before, since siblings come together.
    parent: (String, u32),
}

impl Loader {
    /// Nothing yet.
    #[must_use]
    pub fn new(config: TreeConfig) -> Self {
        Self {
            config: Some(config),
            store: None,
            sessions: BTreeMap::new(),
            lists: BTreeMap::new(),
            parent: (String::new(), ROOT),
        }
    }

    /// A session of the table.
    pub fn session(&mut self, id: SessionId, timeout_ms: i32) {
        self.sessions.insert(id, timeout_ms);
    }

    /// A list of the table. Those that no node uses are forgotten.
    pub fn acl(&mut self, id: i64, list: Vec<Acl>) {
        self.lists.insert(id, list.into());
    }

    /// A node; parents come first, the root of all (with an empty path) first.
    pub fn node(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl_id: i64,
        stat: &StatPersisted,
    ) -> Result<(), LoadError> {
        if path.len() > MAX_NAME {
            return Err(LoadError::TooLong(path.len()));
        }
        let Some(store) = &mut self.store else {
            let config = self.config.take().filter(|_| path.is_empty()).ok_or(LoadError::NoRoot)?;
            let mut store = Store::with_root(config, data, OPEN, stat);
            let acl = intern(&mut store, &self.lists, acl_id);
            store.tree.set_acl(ROOT, acl);
            self.store = Some(store);
            return Ok(());
        };
        let missing = || LoadError::NoParent(path.to_owned());
        let (parent_path, name) = path.rsplit_once('/').ok_or_else(missing)?;
        if self.parent.0 != parent_path {
            // The root has no such name here, in Java neither: `//a` would be a second name of `/a`.
            let parent = store.tree.find(parent_path).filter(|_| parent_path != "/").ok_or_else(missing)?;
            self.parent = (parent_path.to_owned(), parent);
        }
        let acl = intern(store, &self.lists, acl_id);
        // A node that is there twice is the later one; its children stay.
        if let Some(id) = store.tree.find(path) {
            let old = store.tree.set_acl(id, acl);
            store.acls.release(old);
            let owner = store.tree.node(id).owner();
            store.unindex(path, owner);
            store.tree.set_data(id, if id == ROOT { "" } else { path }, data, |old| *old = *stat);
        } else {
            store.tree.insert(self.parent.1, path, name, data, acl, stat);
        }
        store.index(path, stat.ephemeral_owner);
        Ok(())
    }

    /// The store, as of the zxid in the name of the snapshot. `digest` is what the snapshot's section says that the
    /// digest is, and when; when it is 0, the tree is a mixture and there is none to compare with yet.
    pub fn finish(self, zxid: Zxid, digest: Option<(Zxid, TxnDigest)>) -> Result<Store, LoadError> {
        let mut store = self.store.ok_or(LoadError::NoRoot)?;
        store.sessions = self.sessions;
        store.last_zxid = zxid;
        store.data_size = store.count_data_size();
        store.find_quotas();
        store.digests.mixed = zxid.0 > 0 && digest.is_some_and(|(at, _)| at.0 == 0);
        let digest = digest.filter(|(at, _)| at.0 > 0 && *at >= zxid && store.config.digest_enabled);
        store.digests.expected = digest;
        if digest.is_some_and(|(at, _)| at == zxid) {
            let own = store.digest();
            store.digests.compare(zxid, own, None);
        }
        Ok(store)
    }
}

fn intern(store: &mut Store, lists: &BTreeMap<i64, AclList>, id: i64) -> u32 {
    match (id, lists.get(&id)) {
        (-1, _) => OPEN,
        (_, Some(list)) => store.acls.intern(Some(list)),
        (_, None) => store.acls.use_unresolved(),
    }
}
