//! Snapshot bodies, read back.

use std::collections::BTreeMap;

use ostler_tree::{Loader, Store, TreeConfig, Walk};
use ostler_wire::disk::StatPersisted;
use ostler_wire::jute::Reader;
use ostler_wire::txn::TxnDigest;
use ostler_wire::{Acl, SessionId, Zxid};

/// A node as a snapshot holds it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SnapshotNode {
    pub(crate) path: String,
    pub(crate) data: Option<Vec<u8>>,
    pub(crate) acl: i64,
    pub(crate) stat: StatPersisted,
}

/// A whole body.
#[derive(Debug, Default)]
pub(crate) struct Body {
    pub(crate) sessions: Vec<(SessionId, i32)>,
    pub(crate) lists: BTreeMap<i64, Vec<Acl>>,
    pub(crate) nodes: Vec<SnapshotNode>,
}

impl Body {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Self {
        let mut body = Self::default();
        for _ in 0..reader.int("sessions").unwrap() {
            body.sessions.push((SessionId(reader.long("id").unwrap()), reader.int("timeout").unwrap()));
        }
        for _ in 0..reader.int("lists").unwrap() {
            let id = reader.long("id").unwrap();
            body.lists.insert(id, reader.vector("acl", Acl::decode).unwrap().unwrap());
        }
        loop {
            let path = reader.required_string("path").unwrap().into_owned();
            if path == "/" {
                return body;
            }
            let data = reader.buffer("data").unwrap().map(<[u8]>::to_vec);
            let acl = reader.long("acl").unwrap();
            let stat = StatPersisted::decode(reader).unwrap();
            body.nodes.push(SnapshotNode { path, data, acl, stat });
        }
    }

    /// The body that a store would be written as.
    pub(crate) fn of(store: &Store) -> Self {
        let mut bytes = Vec::new();
        assert!(Walk::new(store).next(store, usize::MAX, usize::MAX, &mut bytes));
        let mut reader = Reader::new(&bytes);
        let body = Self::read(&mut reader);
        assert_eq!(reader.remaining(), 0);
        body
    }

    pub(crate) fn load(&self, config: TreeConfig, zxid: Zxid, digest: Option<(Zxid, TxnDigest)>) -> Store {
        let mut loader = Loader::new(config);
        for (id, timeout_ms) in &self.sessions {
            loader.session(*id, *timeout_ms);
        }
        for (id, list) in &self.lists {
            loader.acl(*id, list.clone());
        }
        for node in &self.nodes {
            loader.node(&node.path, node.data.as_deref(), node.acl, &node.stat).unwrap();
        }
        loader.finish(zxid, digest).unwrap()
    }

    /// What does not depend on how lists are numbered or in which order nodes come.
    pub(crate) fn contents(&self) -> Contents {
        let list = |id| self.lists.get(&id).cloned().unwrap_or_else(Acl::open);
        let nodes =
            self.nodes.iter().map(|node| (node.path.clone(), (node.data.clone(), list(node.acl), node.stat)));
        (self.sessions.clone(), nodes.collect())
    }
}

type Contents = (Vec<(SessionId, i32)>, BTreeMap<String, (Option<Vec<u8>>, Vec<Acl>, StatPersisted)>);
