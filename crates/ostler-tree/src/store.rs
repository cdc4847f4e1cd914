//! The whole replicated state: the tree, the sessions, the lists and the indexes, and up to which transaction they
//! stand. One writer changes it, many readers share it. Answers to Java's `ZKDatabase` and the outer half of
//! `DataTree`.

use std::collections::{BTreeMap, BTreeSet};

use ostler_wire::disk::StatPersisted;
use ostler_wire::txn::{DIGEST_VERSION, TxnDigest};
use ostler_wire::{Code, SessionId, Zxid};

use crate::acl::{self, AclRef, AclTable};
use crate::config::TreeConfig;
use crate::namespaces::Namespaces;
use crate::owner::Lifetime;
use crate::quota::QuotaPaths;
use crate::tree::Tree;

/// How many digests of the past are kept, and how far apart.
const DIGESTS_KEPT: usize = 1024;
const DIGEST_INTERVAL: i64 = 128;

/// The replicated state of a server.
#[derive(Debug)]
pub struct Store {
    pub(crate) config: TreeConfig,
    pub(crate) tree: Tree,
    pub(crate) acls: AclTable,
    pub(crate) sessions: BTreeMap<SessionId, i32>,
    pub(crate) ephemerals: BTreeMap<SessionId, BTreeSet<Box<str>>>,
    pub(crate) containers: BTreeSet<Box<str>>,
    pub(crate) ttls: BTreeSet<Box<str>>,
    pub(crate) quotas: QuotaPaths,
    /// What was written, replay included.
    pub(crate) writes: Namespaces,
    pub(crate) last_zxid: Zxid,
    /// Java's estimate of the size, with all its drift.
    pub(crate) data_size: i64,
    pub(crate) digests: Digests,
}

/// What is known of digests besides the present one.
#[derive(Debug, Default)]
pub(crate) struct Digests {
    /// What the snapshot said that the digest is at a zxid. Until then the tree is a mixture of times.
    pub(crate) expected: Option<(Zxid, TxnDigest)>,
    /// The tree is a mixture of times, and nobody said until when: until a digest agrees once.
    pub(crate) mixed: bool,
    last: Option<(Zxid, i64)>,
    history: Vec<(Zxid, i64)>,
    mismatches: u64,
    first_mismatch: Option<Zxid>,
}

/// How the digests of transactions compared with the tree's own so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DigestCheck {
    /// How many differed.
    pub mismatches: u64,
    /// The first that did.
    pub first_mismatch: Option<Zxid>,
    /// The tree came from a snapshot and has not reached the zxid where it can be compared.
    pub pending: bool,
}

impl Store {
    /// The state of a server that begins from nothing.
    #[must_use]
    pub fn new(config: TreeConfig) -> Self {
        let stat = StatPersisted::default();
        let mut store = Self::with_root(config, Some(b""), acl::OPEN, &stat);
        let zookeeper =
            store.tree.insert(crate::tree::ROOT, "/zookeeper", "zookeeper", Some(b""), acl::OPEN, &stat);
        store.tree.insert(zookeeper, "/zookeeper/quota", "quota", Some(b""), acl::OPEN, &stat);
        store.insert_config_node(zookeeper);
        store.data_size = store.count_data_size();
        store
    }

    /// A store of nothing but a root.
    pub(crate) fn with_root(config: TreeConfig, data: Option<&[u8]>, acl: u32, stat: &StatPersisted) -> Self {
        Self {
            tree: Tree::new(data, acl, stat, config.hash_seed, config.digest_enabled),
            config,
            acls: AclTable::default(),
            sessions: BTreeMap::new(),
            ephemerals: BTreeMap::new(),
            containers: BTreeSet::new(),
            ttls: BTreeSet::new(),
            quotas: QuotaPaths::default(),
            writes: Namespaces::default(),
            last_zxid: Zxid::ZERO,
            data_size: 0,
            digests: Digests::default(),
        }
    }

    /// Makes the node of the configuration if a tree of 3.4 has none, as a member of a quorum does after loading.
    pub fn ensure_config_node(&mut self) {
        if self.tree.find(ostler_wire::path::CONFIG).is_none()
            && let Some(zookeeper) = self.tree.find(ostler_wire::path::ZOOKEEPER)
        {
            self.insert_config_node(zookeeper);
        }
    }

    /// Writes a member's own view of the members into the node of the configuration. It is no part of the history:
    /// digests and comparisons of replicas leave the node out.
    pub fn set_config(&mut self, text: &[u8], version: i64, time_ms: i64) {
        self.ensure_config_node();
        let Some(id) = self.tree.find(ostler_wire::path::CONFIG) else { return };
        let change =
            |stat: &mut StatPersisted| (stat.mzxid, stat.mtime, stat.version) = (version, time_ms, -1);
        self.tree.set_data(id, ostler_wire::path::CONFIG, Some(text), change);
    }

    /// What `/zookeeper/config` holds.
    #[must_use]
    pub fn config_text(&self) -> &[u8] {
        let id = self.tree.find(ostler_wire::path::CONFIG);
        id.and_then(|id| self.tree.node(id).data()).unwrap_or_default()
    }

    fn insert_config_node(&mut self, zookeeper: u32) {
        let stat = StatPersisted { aversion: -1, ..StatPersisted::default() };
        let acl = self.acls.intern(Some(&acl::read_only()));
        self.tree.insert(zookeeper, ostler_wire::path::CONFIG, "config", Some(b""), acl, &stat);
    }

    /// Writes and their bytes, by namespace.
    #[must_use]
    pub fn writes_by_namespace(&self) -> &Namespaces {
        &self.writes
    }

    /// The choices it was made with.
    #[must_use]
    pub fn config(&self) -> &TreeConfig {
        &self.config
    }

    /// The newest transaction that was applied.
    #[must_use]
    pub fn last_zxid(&self) -> Zxid {
        self.last_zxid
    }

    /// Says up to where a tree stands that no transaction tells, at the start of an epoch.
    pub fn set_last_zxid(&mut self, zxid: Zxid) {
        self.last_zxid = zxid;
    }

    /// The digest of the tree.
    #[must_use]
    pub fn digest(&self) -> i64 {
        self.tree.digest().cast_signed()
    }

    /// How many znodes there are, counted as Java does, which counts the root twice.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.tree.len() + 1
    }

    /// How many ephemeral znodes there are.
    #[must_use]
    pub fn ephemerals_count(&self) -> usize {
        self.ephemerals.values().map(BTreeSet::len).sum()
    }

    /// Roughly how large paths and data are, computed as Java does.
    #[must_use]
    pub fn approximate_data_size(&self) -> i64 {
        self.data_size
    }

    /// How many distinct lists there are.
    #[must_use]
    pub fn acl_count(&self) -> usize {
        self.acls.len()
    }

    /// How many znodes have a list that the snapshot did not hold and the log has not brought. Not zero when all
    /// is replayed means damage.
    #[must_use]
    pub fn unresolved_acls(&self) -> u64 {
        self.acls.unresolved()
    }

    /// Every session and its timeout, by id.
    pub fn sessions(&self) -> impl Iterator<Item = (SessionId, i32)> + '_ {
        self.sessions.iter().map(|(id, timeout)| (*id, *timeout))
    }

    /// How many sessions there are.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// The timeout of a session, if it is there.
    #[must_use]
    pub fn session_timeout(&self, id: SessionId) -> Option<i32> {
        self.sessions.get(&id).copied()
    }

    /// The ephemerals of a session, sorted.
    #[must_use]
    pub fn ephemerals(&self, owner: SessionId) -> Vec<String> {
        self.ephemerals.get(&owner).into_iter().flatten().map(|path| path.to_string()).collect()
    }

    /// Every session that has ephemerals, with them.
    pub fn ephemeral_owners(&self) -> impl Iterator<Item = (SessionId, impl Iterator<Item = &str>)> {
        self.ephemerals.iter().map(|(id, paths)| (*id, paths.iter().map(AsRef::as_ref)))
    }

    /// How the digests in the log compared so far.
    #[must_use]
    pub fn digest_check(&self) -> DigestCheck {
        DigestCheck {
            mismatches: self.digests.mismatches,
            first_mismatch: self.digests.first_mismatch,
            pending: self.digests.expected.is_some() || self.digests.mixed,
        }
    }

    /// Digests of the past: at every 128th zxid, oldest first.
    #[must_use]
    pub fn digest_history(&self) -> &[(Zxid, i64)] {
        &self.digests.history
    }

    /// The digest section of a snapshot whose nodes were just written: the digest after the newest transaction.
    /// `None` (written as zeros) if no transaction was compared yet.
    #[must_use]
    pub fn snapshot_digest(&self) -> Option<(Zxid, TxnDigest)> {
        let (zxid, digest) = self.digests.last?;
        Some((zxid, TxnDigest { version: DIGEST_VERSION, digest }))
    }

    /// Whether somebody has one of the permissions on a list.
    #[must_use]
    pub fn allows(&self, acl: &AclRef, perms: i32, ids: &[ostler_wire::Id]) -> bool {
        acl::check(acl.as_deref(), perms, ids, &self.config)
    }

    pub(crate) fn permit(&self, id: u32, perms: i32, ids: &[ostler_wire::Id]) -> Result<(), Code> {
        let list = self.acls.list(self.tree.node(id).acl);
        if acl::check(list.map(|list| &**list), perms, ids, &self.config) {
            Ok(())
        } else {
            Err(Code::NoAuth)
        }
    }

    pub(crate) fn acl_of(&self, id: u32) -> AclRef {
        self.acls.list(self.tree.node(id).acl).cloned()
    }

    pub(crate) fn lifetime(&self, owner: i64) -> Lifetime {
        Lifetime::of(owner, self.config.extended_types)
    }

    /// Enters a node into the index of its lifetime.
    pub(crate) fn index(&mut self, path: &str, owner: i64) {
        match self.lifetime(owner) {
            Lifetime::Persistent => {}
            Lifetime::Session(id) => {
                self.ephemerals.entry(SessionId(id)).or_default().insert(path.into());
            }
            Lifetime::Container => {
                self.containers.insert(path.into());
            }
            Lifetime::Ttl(_) => {
                self.ttls.insert(path.into());
            }
        }
    }

    /// Takes a node out of the index of its lifetime.
    pub(crate) fn unindex(&mut self, path: &str, owner: i64) {
        match self.lifetime(owner) {
            Lifetime::Persistent => {}
            Lifetime::Session(id) => {
                if let Some(paths) = self.ephemerals.get_mut(&SessionId(id)) {
                    paths.remove(path);
                    if paths.is_empty() {
                        self.ephemerals.remove(&SessionId(id));
                    }
                }
            }
            Lifetime::Container => {
                self.containers.remove(path);
            }
            Lifetime::Ttl(_) => {
                self.ttls.remove(path);
            }
        }
    }

    /// Java's estimate from scratch: characters of paths and bytes of data, the root under both its names.
    pub(crate) fn count_data_size(&self) -> i64 {
        // The length of a path from its parent's, so that a deep tree costs no more than a flat one.
        let mut stack = vec![(crate::tree::ROOT, 0_i64)];
        let root = self.tree.node(crate::tree::ROOT);
        let mut size = 1 + estimate(0, root.data_len());
        while let Some((id, length)) = stack.pop() {
            let node = self.tree.node(id);
            size += estimate(0, node.data_len()) + length;
            stack.extend(
                self.tree
                    .children(id)
                    .map(|child| (child, length + 1 + java_length(self.tree.node(child).name()))),
            );
        }
        size
    }
}

/// What a node adds to the estimate of the size.
pub(crate) fn estimate(path_length: i64, data_len: usize) -> i64 {
    path_length + i64::try_from(data_len).expect("data is no longer than memory")
}

/// The length of a text in UTF-16 units.
pub(crate) fn java_length(text: &str) -> i64 {
    let length = if text.is_ascii() { text.len() } else { text.encode_utf16().count() };
    i64::try_from(length).expect("a path is no longer than memory")
}

impl Digests {
    /// Compares after a transaction, first with what the snapshot said, then with what the transaction says.
    pub(crate) fn compare(&mut self, zxid: Zxid, own: i64, txn: Option<TxnDigest>) {
        if self.mixed {
            let agrees = txn.is_some_and(|txn| txn.version == DIGEST_VERSION && txn.digest == own);
            if !agrees {
                return;
            }
            self.mixed = false;
        }
        if let Some((at, expected)) = self.expected {
            if zxid < at {
                return;
            }
            // Past it without having met it: whatever the snapshot held from later times has been replayed.
            self.expected = None;
            if zxid == at && expected.version == DIGEST_VERSION && expected.digest != own {
                self.mismatch(zxid);
            }
        } else {
            self.last = Some((zxid, own));
            if zxid.0 % DIGEST_INTERVAL == 0 {
                if self.history.len() == DIGESTS_KEPT {
                    self.history.remove(0);
                }
                self.history.push((zxid, own));
            }
        }
        if let Some(digest) = txn
            && digest.version == DIGEST_VERSION
            && digest.digest != own
        {
            self.mismatch(zxid);
        }
    }

    fn mismatch(&mut self, zxid: Zxid) {
        self.mismatches += 1;
        self.first_mismatch.get_or_insert(zxid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_store_is_that_of_java() {
        let store = Store::new(TreeConfig::default());
        assert_eq!(store.digest(), 1_371_985_504);
        assert_eq!(store.node_count(), 5);
        assert_eq!(store.approximate_data_size(), 44);
        assert_eq!((store.ephemerals_count(), store.session_count(), store.last_zxid()), (0, 0, Zxid::ZERO));
        let plain = Store::new(TreeConfig { digest_enabled: false, ..TreeConfig::default() });
        assert_eq!(plain.digest(), 0);
    }

    #[test]
    fn a_mixture_is_compared_once_a_digest_agrees() {
        let digest = |digest| Some(TxnDigest { version: DIGEST_VERSION, digest });
        let mut digests = Digests { mixed: true, ..Digests::default() };
        digests.compare(Zxid(4), 1, digest(2));
        digests.compare(Zxid(5), 2, None);
        assert_eq!((digests.mismatches, digests.mixed, digests.last), (0, true, None));
        digests.compare(Zxid(6), 3, digest(3));
        digests.compare(Zxid(7), 4, digest(5));
        assert_eq!((digests.mismatches, digests.mixed), (1, false));
    }

    #[test]
    fn digests_are_compared_once_the_snapshot_is_passed() {
        let digest = |digest| TxnDigest { version: DIGEST_VERSION, digest };
        let mut digests = Digests { expected: Some((Zxid(5), digest(50))), ..Digests::default() };
        digests.compare(Zxid(4), 1, Some(digest(2)));
        assert_eq!((digests.mismatches, digests.last), (0, None));
        digests.compare(Zxid(5), 50, Some(digest(50)));
        assert_eq!((digests.mismatches, digests.expected), (0, None));
        digests.compare(Zxid(128), 3, Some(digest(4)));
        digests.compare(Zxid(256), 3, Some(TxnDigest { version: 1, digest: 9 }));
        assert_eq!((digests.mismatches, digests.first_mismatch), (1, Some(Zxid(128))));
        assert_eq!(digests.history, [(Zxid(128), 3), (Zxid(256), 3)]);
    }
}
