//! The store against a naive model of it: random writes, valid and not, decided far ahead of being applied. The
//! model is a map from path to record, changes at once and knows nothing of pending views, digests or snapshots.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use ostler_tree::{Asker, Outcome, Outstanding, Store, TreeConfig, Walk, acl, prepare};
use ostler_wire::acl::{RawAcl, perms};
use ostler_wire::client::event::EventType;
use ostler_wire::client::write::{Create, CreateMode, Write};
use ostler_wire::disk::{CONTAINER_OWNER, StatPersisted};
use ostler_wire::jute::Reader;
use ostler_wire::txn::{Txn, TxnEntry};
use ostler_wire::{Acl, Code, Id, OpCode, SessionId, Zxid, path};
use proptest::prelude::*;

use common::Body;

mod common;

#[derive(Debug, Clone, PartialEq)]
struct Record {
    data: Option<Vec<u8>>,
    /// `None` for the built-in nodes.
    acl: Option<Vec<Acl>>,
    stat: StatPersisted,
}

#[derive(Debug, Clone)]
struct Model {
    config: TreeConfig,
    nodes: BTreeMap<String, Record>,
    sessions: BTreeMap<SessionId, i32>,
}

/// Zxid and time.
type At = (i64, i64);
/// What a write changed, or why it was refused.
type Changed = Result<Vec<(EventType, String)>, Code>;

impl Model {
    fn new(config: TreeConfig) -> Self {
        let node = |acl| Record { data: Some(vec![]), acl, stat: StatPersisted::default() };
        let mut nodes: BTreeMap<String, Record> =
            ["/", "/zookeeper", "/zookeeper/quota"].map(|path| (path.to_owned(), node(None))).into();
        let mut config_node = node(Some(vec![Acl::world(perms::READ)]));
        config_node.stat.aversion = -1;
        nodes.insert(path::CONFIG.into(), config_node);
        Self { config, nodes, sessions: BTreeMap::new() }
    }

    fn children(&self, parent: &str) -> usize {
        self.nodes.keys().filter(|path| *path != "/" && path::parent(path) == parent).count()
    }

    fn node(&self, path: &str) -> Result<&Record, Code> {
        self.nodes.get(path).ok_or(Code::NoNode)
    }

    fn permit(&self, record: &Record, wanted: i32, ids: &[Id]) -> Result<(), Code> {
        let allowed = acl::check(record.acl.as_deref(), wanted, ids, &self.config);
        if allowed { Ok(()) } else { Err(Code::NoAuth) }
    }

    /// Changes at once; says which paths were created, changed or deleted.
    fn write(&mut self, write: &Write, asker: &Asker<'_>, at: At) -> Changed {
        match write {
            Write::Multi(parts) => {
                let before = self.clone();
                let mut all = Vec::new();
                for part in parts {
                    match self.write(part, asker, at) {
                        Ok(changes) => all.extend(changes),
                        Err(code) => {
                            *self = before;
                            return Err(code);
                        }
                    }
                }
                Ok(all)
            }
            Write::CreateSession { timeout_ms } => {
                self.sessions.insert(asker.session, *timeout_ms);
                Ok(vec![])
            }
            Write::CloseSession => {
                self.sessions.remove(&asker.session);
                let owned =
                    self.nodes.iter().filter(|(_, node)| node.stat.ephemeral_owner == asker.session.0);
                let owned: Vec<String> = owned.map(|(path, _)| path.clone()).collect();
                for path in &owned {
                    self.remove(path, at);
                }
                Ok(owned.into_iter().map(|path| (EventType::NodeDeleted, path)).collect())
            }
            Write::Create(create) => self.create(create, asker, at),
            _ if !asker.session_live => Err(Code::SessionExpired),
            Write::Delete { path, version } => {
                let path = path.as_deref().unwrap();
                if path::is_special(path) {
                    return Err(Code::BadArguments);
                }
                self.permit(self.node(path::parent(path))?, perms::DELETE, asker.ids)?;
                let node = self.node(path)?;
                expect(node.stat.version, *version)?;
                if self.children(path) > 0 {
                    return Err(Code::NotEmpty);
                }
                self.remove(path, at);
                Ok(vec![(EventType::NodeDeleted, path.to_owned())])
            }
            Write::SetData { path, data, version } => {
                let path = path.as_deref().unwrap();
                let node = self.node(path)?;
                self.permit(node, perms::WRITE, asker.ids)?;
                expect(node.stat.version, *version)?;
                let node = self.nodes.get_mut(path).unwrap();
                node.data = data.as_ref().map(|data| data.to_vec());
                node.stat.version += 1;
                (node.stat.mzxid, node.stat.mtime) = at;
                Ok(vec![(EventType::NodeDataChanged, path.to_owned())])
            }
            Write::SetAcl { path, acl, version } => {
                let path = path.as_deref().unwrap();
                let list = acl::fixup(acl.as_deref(), asker.ids, &self.config)?;
                let node = self.node(path)?;
                self.permit(node, perms::ADMIN, asker.ids)?;
                expect(node.stat.aversion, *version)?;
                let node = self.nodes.get_mut(path).unwrap();
                node.acl = Some(list.to_vec());
                node.stat.aversion += 1;
                Ok(vec![])
            }
            Write::Check { path, version } => {
                let node = self.node(path.as_deref().unwrap())?;
                self.permit(node, perms::READ, asker.ids)?;
                expect(node.stat.version, *version).map(|()| vec![])
            }
            Write::Reconfig { .. } | Write::DeleteContainer { .. } | Write::MalformedMulti => {
                unreachable!("none are made")
            }
        }
    }

    fn create(&mut self, create: &Create, asker: &Asker<'_>, at: At) -> Changed {
        let mode = CreateMode::from_flags(create.flags).ok_or(Code::BadArguments)?;
        if !asker.session_live {
            return Err(Code::SessionExpired);
        }
        let list = acl::fixup(create.acl.as_deref(), asker.ids, &self.config)?;
        let mut path = create.path.clone().unwrap();
        let parent_path = path::parent(&path).to_owned();
        let parent = self.node(&parent_path)?;
        self.permit(parent, perms::CREATE, asker.ids)?;
        if mode.is_sequential() {
            path += &format!("{:010}", parent.stat.cversion);
        }
        if self.nodes.contains_key(&path) {
            return Err(Code::NodeExists);
        }
        if !matches!(parent.stat.ephemeral_owner, 0 | CONTAINER_OWNER) {
            return Err(Code::NoChildrenForEphemerals);
        }
        let parent = self.nodes.get_mut(&parent_path).unwrap();
        parent.stat.cversion += 1;
        parent.stat.pzxid = at.0;
        let owner = if create.op == OpCode::CreateContainer {
            CONTAINER_OWNER
        } else if mode.is_ephemeral() {
            asker.session.0
        } else {
            0
        };
        let (zxid, time) = at;
        let stat = StatPersisted {
            czxid: zxid,
            mzxid: zxid,
            pzxid: zxid,
            ctime: time,
            mtime: time,
            ephemeral_owner: owner,
            ..StatPersisted::default()
        };
        let data = create.data.as_ref().map(|data| data.to_vec());
        self.nodes.insert(path.clone(), Record { data, acl: Some(list.to_vec()), stat });
        Ok(vec![(EventType::NodeCreated, path)])
    }

    fn remove(&mut self, path: &str, at: At) {
        self.nodes.remove(path);
        self.nodes.get_mut(path::parent(path)).unwrap().stat.pzxid = at.0;
    }

    /// From scratch, byte by byte.
    fn digest(&self) -> i64 {
        let mut sum = 0_u64;
        for (path, node) in &self.nodes {
            if path.starts_with("/zookeeper/") {
                continue;
            }
            let mut bytes = if path == "/" { vec![] } else { path.clone().into_bytes() };
            bytes.extend(node.data.iter().flatten());
            let stat = node.stat;
            for long in [stat.czxid, stat.mzxid, stat.pzxid, stat.ctime, stat.mtime] {
                bytes.extend(long.to_be_bytes());
            }
            for int in [stat.version, stat.cversion, stat.aversion] {
                bytes.extend(int.to_be_bytes());
            }
            bytes.extend(stat.ephemeral_owner.to_be_bytes());
            sum = sum.wrapping_add(u64::from(crc32fast::hash(&bytes)));
        }
        sum.cast_signed()
    }

    /// The store holds what the model holds, in every index.
    fn assert_equals(&self, store: &Store) {
        let body = Body::of(store);
        let (sessions, nodes) = body.contents();
        let own = self.nodes.iter().map(|(path, node)| {
            let path = if path == "/" { String::new() } else { path.clone() };
            (path, (node.data.clone(), node.acl.clone().unwrap_or_else(Acl::open), node.stat))
        });
        assert_eq!(nodes, own.collect());
        assert_eq!(sessions, self.sessions.clone().into_iter().collect::<Vec<_>>());
        assert_eq!(store.digest(), self.digest());
        assert_eq!(store.node_count(), self.nodes.len() + 1);
        let lists: BTreeSet<_> = self.nodes.values().filter_map(|node| node.acl.clone()).collect();
        assert_eq!(store.acl_count(), lists.len());
        assert_eq!(body.lists.values().cloned().collect::<BTreeSet<_>>(), lists);
        let mut ephemerals: BTreeMap<SessionId, Vec<String>> = BTreeMap::new();
        let mut size = 1 + self.nodes["/"].data.as_ref().map_or(0, Vec::len);
        for (path, node) in &self.nodes {
            if !matches!(node.stat.ephemeral_owner, 0 | CONTAINER_OWNER) {
                let owner = SessionId(node.stat.ephemeral_owner);
                ephemerals.entry(owner).or_default().push(path.clone());
            }
            size += node.data.as_ref().map_or(0, Vec::len) + if path == "/" { 0 } else { path.len() };
            let children: BTreeSet<&str> = self
                .nodes
                .keys()
                .filter(|child| *child != "/" && path::parent(child) == path)
                .map(|child| path::split(child).unwrap().1)
                .collect();
            let (got, stat) = store.children(path, &[Id::new("super", "")]).unwrap();
            assert_eq!(got.iter().collect::<BTreeSet<_>>(), children);
            let count = i32::try_from(children.len()).unwrap();
            assert_eq!((stat.num_children, stat.cversion), (count, node.stat.cversion * 2 - count));
        }
        let owners = store.ephemeral_owners();
        let got: BTreeMap<_, Vec<String>> =
            owners.map(|(id, paths)| (id, paths.map(str::to_owned).collect())).collect();
        assert_eq!(got, ephemerals);
        // Java counts the root's data twice when it loads and once when it changes.
        let root = self.nodes["/"].data.as_ref().map_or(0, Vec::len);
        assert_eq!(store.approximate_data_size(), i64::try_from(size - root).unwrap());
    }
}

fn expect(version: i32, expected: i32) -> Result<(), Code> {
    if expected == -1 || expected == version { Ok(()) } else { Err(Code::BadVersion) }
}

#[derive(Debug, Clone)]
struct Step {
    session: i64,
    live: bool,
    ids: usize,
    write: Write,
    /// How many of the waiting transactions are applied afterwards.
    apply: usize,
    /// How many nodes the snapshot goes on by afterwards.
    walk: usize,
}

fn any_path() -> impl Strategy<Value = String> {
    let name = prop_oneof![Just("a"), Just("b"), Just("c")];
    prop_oneof![
        20 => prop::collection::vec(name, 1..4).prop_map(|names| format!("/{}", names.join("/"))),
        1 => prop_oneof![Just("/"), Just("/zookeeper"), Just("/zookeeper/config"), Just("/zookeeper/x")]
            .prop_map(str::to_owned),
    ]
}

fn any_list() -> impl Strategy<Value = Option<Vec<RawAcl>>> {
    prop_oneof![
        10 => Just(Some(Acl::open())),
        1 => Just(Some(vec![Acl::world(perms::ALL & !perms::DELETE)])),
        1 => Just(Some(vec![Acl::world(perms::READ), Acl::new(perms::ALL, "digest", "bob:h")])),
        1 => Just(Some(vec![Acl::new(perms::ALL, "auth", "")])),
        1 => Just(Some(vec![])),
        1 => Just(None),
    ]
    .prop_map(|list| list.map(|list| list.into_iter().map(RawAcl::from).collect()))
}

fn any_data() -> impl Strategy<Value = Option<Bytes>> {
    prop_oneof![
        1 => Just(None),
        4 => prop::collection::vec(any::<u8>(), 0..6).prop_map(|data| Some(Bytes::from(data))),
    ]
}

fn any_single() -> impl Strategy<Value = Write> {
    let version = || prop_oneof![4 => Just(-1), 2 => 0..3_i32];
    let op = prop_oneof![
        4 => Just(OpCode::Create),
        1 => Just(OpCode::Create2),
        1 => Just(OpCode::CreateContainer),
    ];
    let create = (op, any_path(), any_data(), any_list(), prop_oneof![4 => 0..4_i32, 1 => Just(7)]);
    let create = create.prop_map(|(op, path, data, acl, flags)| {
        Write::Create(Create { op, path: Some(path), data, acl, flags, ttl: -1 })
    });
    prop_oneof![
        8 => create,
        5 => (any_path(), version()).prop_map(|(path, version)| Write::Delete { path: Some(path), version }),
        3 => (any_path(), any_data(), version())
            .prop_map(|(path, data, version)| Write::SetData { path: Some(path), data, version }),
        2 => (any_path(), any_list(), version())
            .prop_map(|(path, acl, version)| Write::SetAcl { path: Some(path), acl, version }),
        1 => (any_path(), version()).prop_map(|(path, version)| Write::Check { path: Some(path), version }),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    let write = prop_oneof![
        16 => any_single(),
        4 => prop::collection::vec(any_single(), 0..5).prop_map(Write::Multi),
        1 => Just(Write::CloseSession),
        1 => Just(Write::CreateSession { timeout_ms: 4000 }),
    ];
    (1..4_i64, prop::bool::weighted(0.95), 0..3_usize, write, 0..4_usize, 0..6_usize)
        .prop_map(|(session, live, ids, write, apply, walk)| Step { session, live, ids, write, apply, walk })
}

struct Run {
    store: Store,
    outstanding: Outstanding,
    waiting: VecDeque<(TxnEntry, Changed)>,
    log: Vec<TxnEntry>,
}

impl Run {
    fn apply_one(&mut self) {
        let Some((entry, expected)) = self.waiting.pop_front() else { return };
        let mut changes = Vec::new();
        let outcome = self.store.apply(&entry, &mut changes);
        self.outstanding.applied(entry.header.zxid);
        let changes: Vec<_> =
            changes.into_iter().map(|change| (change.kind, change.path.to_string())).collect();
        assert_eq!(changes, expected.clone().unwrap_or_default(), "{entry:?}");
        let code = match &outcome {
            Outcome::Error(code) => Some(code.to_int()),
            Outcome::Multi(parts) => parts.iter().map(|part| part.err).find(|err| *err != 0),
            Outcome::Done | Outcome::Created { .. } | Outcome::Stat(_) | Outcome::Session { .. } => None,
        };
        assert_eq!(code, expected.err().map(Code::to_int), "{entry:?}: {outcome:?}");
        let refused = matches!(entry.txn, Txn::Error { .. });
        assert_eq!(entry.digest.map(|digest| digest.digest), (!refused).then_some(self.store.digest()));
        self.log.push(entry);
    }
}

fn run(steps: Vec<Step>, walk_at: usize) {
    let config = TreeConfig { hash_seed: 5, ..TreeConfig::default() };
    let store = Store::new(config.clone());
    let outstanding = Outstanding::new(&store);
    let mut run = Run { store, outstanding, waiting: VecDeque::new(), log: Vec::new() };
    let mut model = Model::new(config.clone());
    let ids =
        [vec![], vec![Id::new("digest", "bob:h")], vec![Id::new("super", ""), Id::new("digest", "eve:h")]];
    let mut walk = None;
    let mut body = Vec::new();
    let mut done = false;
    for (i, step) in steps.into_iter().enumerate() {
        let (zxid, time_ms) = (i64::try_from(i).unwrap() + 1, 1000 + i64::try_from(i).unwrap());
        let asker = Asker {
            session: SessionId(step.session),
            cxid: 1,
            ids: &ids[step.ids],
            session_live: step.live,
            session_local: false,
        };
        let expected = model.write(&step.write, &asker, (zxid, time_ms));
        let entry = prepare(step.write, &asker, (Zxid(zxid), time_ms), &run.store, &mut run.outstanding);
        let mut bytes = Vec::new();
        entry.encode(&mut bytes);
        assert_eq!(TxnEntry::decode(&bytes.into()).unwrap(), entry);
        run.waiting.push_back((entry, expected));
        for _ in 0..step.apply {
            run.apply_one();
        }
        if i == walk_at {
            walk = Some(Walk::new(&run.store));
        }
        if let Some(walk) = &mut walk
            && step.walk > 0
            && !done
        {
            done = walk.next(&run.store, step.walk, usize::MAX, &mut body);
        }
    }
    while !run.waiting.is_empty() {
        run.apply_one();
    }
    assert_eq!((run.outstanding.len(), run.store.digest_check().mismatches), (0, 0));
    model.assert_equals(&run.store);

    let Some(mut walk) = walk else { return };
    while !done {
        done = walk.next(&run.store, 1, usize::MAX, &mut body);
    }
    let mut reader = Reader::new(&body);
    let snapshot = Body::read(&mut reader);
    assert_eq!(reader.remaining(), 0);
    let paths: BTreeSet<&String> = snapshot.nodes.iter().map(|node| &node.path).collect();
    assert_eq!(paths.len(), snapshot.nodes.len(), "no node is written twice");
    let mut again = snapshot.load(config, walk.zxid(), run.store.snapshot_digest());
    for entry in run.log.iter().filter(|entry| entry.header.zxid > walk.zxid()) {
        again.apply(entry, &mut Vec::new());
    }
    assert_eq!((again.digest_check().mismatches, again.unresolved_acls()), (0, 0));
    assert_eq!(again.last_zxid().max(walk.zxid()), run.store.last_zxid());
    assert_eq!(Body::of(&again).contents(), Body::of(&run.store).contents());
    assert_eq!((again.digest(), again.acl_count()), (run.store.digest(), run.store.acl_count()));
    for session in 1..4 {
        assert_eq!(again.ephemerals(SessionId(session)), run.store.ephemerals(SessionId(session)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_store_does_what_the_model_does(
        steps in prop::collection::vec(any_step(), 1..120),
        walk_at in 0..120_usize,
    ) {
        run(steps, walk_at);
    }
}
