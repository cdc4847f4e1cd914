//! The view that requests are decided against: the tree as it will be once everything accepted so far is applied.
//! It holds only the nodes that differ, each with the transaction that changed it last, and is told what has been
//! applied. Answers to `outstandingChanges` of Java's `ZooKeeperServer` and its `ChangeRecord`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use foldhash::quality::FixedState;
use hashbrown::HashMap;
use hashbrown::hash_map::EntryRef;
use ostler_wire::disk::StatPersisted;
use ostler_wire::{SessionId, Zxid};

use crate::acl::AclRef;
use crate::digest;
use crate::namespaces::Namespaces;
use crate::owner::Lifetime;
use crate::store::Store;

/// A node as it will be.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) stat: StatPersisted,
    pub(crate) children: usize,
    pub(crate) acl: AclRef,
    pub(crate) data_len: usize,
    /// CRC of path and data.
    pub(crate) crc: u32,
}

#[derive(Debug, Clone)]
struct Pending {
    zxid: Zxid,
    /// `None` once it is deleted.
    view: Option<View>,
    /// What the node adds to the tree's digest.
    digest: u64,
}

#[derive(Debug)]
struct Touched {
    zxid: Zxid,
    path: Arc<str>,
    /// The session for which it was created, if it was created as an ephemeral.
    ephemeral_of: Option<SessionId>,
}

/// Changes that are accepted but not yet applied.
#[derive(Debug)]
pub struct Outstanding {
    by_path: HashMap<Arc<str>, Pending, FixedState>,
    /// Every change, oldest first; a path that changed twice is there twice.
    order: VecDeque<Touched>,
    /// Where the pending ephemerals of a session were created, oldest first.
    ephemerals: BTreeMap<SessionId, VecDeque<Arc<str>>>,
    /// The digest after the newest change in `order`.
    digest: u64,
    digest_enabled: bool,
    extended_types: bool,
    undo: Option<Undo>,
    /// Writes that a hard quota refused.
    pub(crate) quota_refusals: Namespaces,
    /// The last thing to be said about a quota.
    pub(crate) quota_warning: Option<String>,
}

/// What a multi has to take back if it fails.
#[derive(Debug)]
struct Undo {
    changes: Vec<(Arc<str>, Option<Pending>)>,
    digest: u64,
}

/// The key of a path: the root has one name here.
pub(crate) fn key(path: &str) -> &str {
    if path == "/" { "" } else { path }
}

impl Outstanding {
    /// Nothing yet, above this store.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self {
            by_path: HashMap::with_hasher(FixedState::with_seed(store.config.hash_seed)),
            order: VecDeque::new(),
            ephemerals: BTreeMap::new(),
            digest: 0,
            digest_enabled: store.config.digest_enabled,
            extended_types: store.config.extended_types,
            undo: None,
            quota_refusals: Namespaces::default(),
            quota_warning: None,
        }
    }

    /// Forgets what is in the tree now: every change up to this transaction.
    pub fn applied(&mut self, zxid: Zxid) {
        while let Some(touched) = self.order.front()
            && touched.zxid <= zxid
        {
            let touched = self.order.pop_front().expect("there is a front");
            if let EntryRef::Occupied(entry) = self.by_path.entry_ref(&*touched.path)
                && entry.get().zxid <= zxid
            {
                entry.remove();
            }
            self.forget_ephemeral(&touched, VecDeque::pop_front);
        }
    }

    /// Forgets everything, when what was accepted will never be applied.
    pub fn clear(&mut self) {
        self.by_path.clear();
        self.order.clear();
        self.ephemerals.clear();
        self.undo = None;
    }

    /// Writes that a hard quota refused, by namespace.
    #[must_use]
    pub fn quota_refusals(&self) -> &Namespaces {
        &self.quota_refusals
    }

    /// Takes what is to be said about a quota that a write went beyond; only the last of it is kept.
    pub fn take_quota_warning(&mut self) -> Option<String> {
        self.quota_warning.take()
    }

    /// How many changes are waiting; a node that changed twice counts twice.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether nothing is waiting.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The node at a path as it will be, `None` if it will not be there.
    pub(crate) fn view(&self, store: &Store, path: &str) -> Option<View> {
        if let Some(pending) = self.by_path.get(key(path)) {
            return pending.view.clone();
        }
        let id = store.tree.find(path)?;
        let node = store.tree.node(id);
        Some(View {
            stat: store.tree.stat(id),
            children: store.tree.child_count(id),
            acl: store.acl_of(id),
            data_len: node.data_len(),
            crc: node.crc,
        })
    }

    /// Whether there will be a node at a path.
    pub(crate) fn exists(&self, store: &Store, path: &str) -> bool {
        match self.by_path.get(key(path)) {
            Some(pending) => pending.view.is_some(),
            None => store.tree.find(path).is_some(),
        }
    }

    /// The digest of the tree as it will be.
    pub(crate) fn digest(&self, store: &Store) -> u64 {
        if self.order.is_empty() { store.tree.digest() } else { self.digest }
    }

    /// The ephemerals that a session will have, sorted.
    pub(crate) fn ephemerals(&self, store: &Store, session: SessionId) -> Vec<String> {
        let owned = |path: &str| match self.by_path.get(path) {
            Some(pending) => pending.view.as_ref().is_some_and(|view| view.stat.ephemeral_owner == session.0),
            None => true,
        };
        let applied = store.ephemerals.get(&session).into_iter().flatten().map(AsRef::as_ref);
        let pending = self.ephemerals.get(&session).into_iter().flatten().map(AsRef::as_ref);
        let mut paths: Vec<String> =
            applied.chain(pending).filter(|path: &&str| owned(path)).map(str::to_owned).collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    }

    /// Accepts a change: the node at `path` will be like this after `zxid`, or will be gone. `created` says that it
    /// was not there before.
    pub(crate) fn put(&mut self, store: &Store, zxid: Zxid, path: &str, view: Option<View>, created: bool) {
        let path = key(path);
        let counts = self.digest_enabled && digest::covers(path);
        let after = match &view {
            Some(view) if counts => digest::of(view.crc, &view.stat),
            _ => 0,
        };
        let lifetime = view.as_ref().map(|view| Lifetime::of(view.stat.ephemeral_owner, self.extended_types));
        let ephemeral_of = match lifetime {
            Some(Lifetime::Session(id)) if created => Some(SessionId(id)),
            _ => None,
        };
        let sum = self.digest(store);
        let pending = Pending { zxid, view, digest: after };
        let (shared, before, replaced) = match self.by_path.entry_ref(path) {
            EntryRef::Occupied(mut entry) => {
                let replaced = entry.insert(pending);
                (Arc::clone(entry.key()), replaced.digest, Some(replaced))
            }
            EntryRef::Vacant(entry) => {
                let known = if created || !counts { None } else { store.tree.find(path) };
                let before = known.map_or(0, |id| store.tree.digest_of(id));
                let path: Arc<str> = path.into();
                entry.insert_with_key(Arc::clone(&path), pending);
                (path, before, None)
            }
        };
        self.digest = sum.wrapping_sub(before).wrapping_add(after);
        if let Some(session) = ephemeral_of {
            self.ephemerals.entry(session).or_default().push_back(Arc::clone(&shared));
        }
        if let Some(undo) = &mut self.undo {
            undo.changes.push((Arc::clone(&shared), replaced));
        }
        self.order.push_back(Touched { zxid, path: shared, ephemeral_of });
    }

    /// From here on changes can be taken back.
    pub(crate) fn begin(&mut self, store: &Store) {
        self.undo = Some(Undo { changes: Vec::new(), digest: self.digest(store) });
    }

    /// Changes since `begin` stay.
    pub(crate) fn commit(&mut self) {
        self.undo = None;
    }

    /// Takes back every change since `begin`.
    pub(crate) fn rollback(&mut self) {
        let Some(undo) = self.undo.take() else { return };
        self.digest = undo.digest;
        for (path, before) in undo.changes.into_iter().rev() {
            if let Some(touched) = self.order.pop_back() {
                self.forget_ephemeral(&touched, VecDeque::pop_back);
            }
            match before {
                Some(before) => self.by_path.insert(path, before),
                None => self.by_path.remove(&path),
            };
        }
    }

    fn forget_ephemeral(&mut self, touched: &Touched, pop: fn(&mut VecDeque<Arc<str>>) -> Option<Arc<str>>) {
        if let Some(session) = touched.ephemeral_of
            && let Some(paths) = self.ephemerals.get_mut(&session)
        {
            pop(paths);
            if paths.is_empty() {
                self.ephemerals.remove(&session);
            }
        }
    }
}
