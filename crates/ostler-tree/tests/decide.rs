//! What requests come to: the order of the checks, the corners of each operation, quotas, lifetimes, and what a
//! damaged or odd log does.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use ostler_tree::{Asker, Change, Outcome, Outstanding, Part, Store, TreeConfig, prepare};
use ostler_wire::acl::{RawAcl, perms};
use ostler_wire::client::event::EventType;
use ostler_wire::client::write::{Create, Write};
use ostler_wire::txn::{CreateKind, CreateTxn, Txn, TxnEntry, TxnHeader};
use ostler_wire::{Acl, Code, Id, OpCode, SessionId, Zxid};

struct Server {
    store: Store,
    outstanding: Outstanding,
    zxid: i64,
    time_ms: i64,
    ids: Vec<Id>,
    live: bool,
    changes: Vec<Change>,
}

impl Server {
    fn new(config: TreeConfig) -> Self {
        let store = Store::new(config);
        let outstanding = Outstanding::new(&store);
        Self { store, outstanding, zxid: 0, time_ms: 1000, ids: vec![], live: true, changes: vec![] }
    }

    fn prepare(&mut self, write: Write) -> TxnEntry {
        self.zxid += 1;
        let asker = Asker {
            session: SessionId(7),
            cxid: 3,
            ids: &self.ids,
            session_live: self.live,
            session_local: false,
        };
        prepare(write, &asker, (Zxid(self.zxid), self.time_ms), &self.store, &mut self.outstanding)
    }

    fn apply(&mut self, entry: &TxnEntry) -> Outcome {
        self.changes.clear();
        let outcome = self.store.apply(entry, &mut self.changes);
        self.outstanding.applied(entry.header.zxid);
        assert_eq!(self.store.digest_check().mismatches, 0, "{entry:?}");
        outcome
    }

    fn write(&mut self, write: Write) -> Outcome {
        let entry = self.prepare(write);
        self.apply(&entry)
    }

    fn code(&mut self, write: Write) -> i32 {
        match self.write(write) {
            Outcome::Error(code) => code.to_int(),
            Outcome::Multi(parts) => parts.iter().map(|part| part.err).find(|err| *err != 0).unwrap_or(0),
            Outcome::Done | Outcome::Created { .. } | Outcome::Stat(_) | Outcome::Session { .. } => 0,
        }
    }
}

fn server() -> Server {
    Server::new(TreeConfig::default())
}

fn with(op: OpCode, path: &str, flags: i32, ttl: i64, acl: Option<Vec<Acl>>) -> Write {
    let acl = acl.map(|list| list.into_iter().map(RawAcl::from).collect());
    Write::Create(Create {
        op,
        path: Some(path.into()),
        data: Some(Bytes::from_static(b"1234")),
        acl,
        flags,
        ttl,
    })
}

fn create(path: &str, flags: i32) -> Write {
    with(OpCode::Create, path, flags, -1, Some(Acl::open()))
}

fn delete(path: &str, version: i32) -> Write {
    Write::Delete { path: Some(path.into()), version }
}

fn set(path: &str, data: &str, version: i32) -> Write {
    Write::SetData { path: Some(path.into()), data: Some(Bytes::from(data.to_owned())), version }
}

fn check(path: &str, version: i32) -> Write {
    Write::Check { path: Some(path.into()), version }
}

#[test]
fn creates_are_checked_in_order() {
    let mut server = server();
    let bad_acl = |path| with(OpCode::Create, path, 0, -1, Some(vec![]));
    assert_eq!(server.code(with(OpCode::Create, "nonsense", 9, -1, None)), -8);
    assert_eq!(server.code(create("/x", 5)), -6);
    assert_eq!(server.code(with(OpCode::CreateTtl, "/x", 5, 10, Some(Acl::open()))), -6);
    assert_eq!(server.code(with(OpCode::CreateTtl, "/x", 0, -1, Some(Acl::open()))), -8);
    assert_eq!(server.code(bad_acl("x")), -8);
    assert_eq!(server.code(bad_acl("/no/x")), -114);
    assert_eq!(server.code(create("/no/x", 0)), -101);
    assert_eq!(server.code(create("/x/", 0)), -101);
    assert_eq!(server.code(create("//y", 0)), -8);
    assert_eq!(server.code(create("/", 0)), -110);
    assert_eq!(server.code(create("/a\u{1}", 0)), -8);
    assert_eq!(server.code(create("/zookeeper/config/x", 0)), -102);
    assert_eq!(server.code(create("/e", 1)), 0);
    assert_eq!(server.code(create("/e/x", 0)), -108);
    let closed = with(OpCode::Create, "/x", 0, -1, Some(vec![Acl::world(perms::READ)]));
    assert_eq!(server.code(closed), 0);
    assert_eq!(server.code(create("/x/y", 0)), -102);
    assert_eq!(server.code(create("/x", 0)), -110);
    server.live = false;
    assert_eq!(server.code(bad_acl("x")), -112);
    assert_eq!(server.code(create("/x", 7)), -8);
}

#[test]
fn a_missing_path_is_answered_by_a_transaction() {
    let mut server = server();
    let create = |flags| {
        Write::Create(Create { op: OpCode::Create, path: None, data: None, acl: None, flags, ttl: -1 })
    };
    assert_eq!(server.code(create(0)), -5);
    assert_eq!(server.code(create(7)), -8);
    assert_eq!(server.code(Write::Delete { path: None, version: -1 }), -5);
    assert_eq!(server.code(Write::SetData { path: None, data: None, version: -1 }), -8);
    let entry = server.prepare(Write::Multi(vec![set("/", "x", -1), create(0)]));
    assert_eq!((&entry.txn, entry.digest), (&Txn::Error { code: -5 }, None));
    assert!(server.outstanding.is_empty());
}

#[test]
fn sequential_names_count_creations() {
    let mut server = server();
    let mut names = Vec::new();
    let mut waiting = Vec::new();
    for path in ["/", "/plain", "/n-", "/", "/n-"] {
        let entry = server.prepare(create(path, if path == "/plain" { 0 } else { 2 }));
        if let Txn::Create(txn) = &entry.txn {
            names.push(txn.path.clone());
        }
        waiting.push(entry);
    }
    assert_eq!(names, ["/0000000000", "/plain", "/n-0000000002", "/0000000003", "/n-0000000004"]);
    for entry in waiting {
        assert!(matches!(server.apply(&entry), Outcome::Created { .. }));
    }
    assert_eq!(server.store.exists("/", &[]).unwrap().cversion, 4);
    assert_eq!(server.code(delete("/plain", -1)), 0);
    assert_eq!(server.store.exists("/", &[]).unwrap().cversion, 5);
    assert!(matches!(server.write(create("/", 2)), Outcome::Created { path, .. } if &*path == "/0000000005"));
}

#[test]
fn the_counter_of_creations_stays_at_its_end() {
    let mut server = server();
    assert_eq!(server.code(create("/p", 0)), 0);
    let header = TxnHeader { zxid: Zxid(2), ..TxnHeader::default() };
    let kind = CreateKind::Plain { second: false, ephemeral: false };
    let txn = CreateTxn { kind, path: "/p/x".into(), data: None, acl: None, parent_cversion: i32::MAX };
    server.zxid = 2;
    server.apply(&TxnEntry { header, txn: Txn::Create(txn), digest: None });
    assert_eq!(server.code(create("/p/s", 2)), 0);
    assert_eq!(server.code(create("/p/s", 2)), -110);
    assert_eq!(server.store.exists("/p", &[]).unwrap().pzxid, 2);
}

#[test]
fn deletes_are_checked_in_order() {
    let mut server = server();
    for path in ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config", "a", "/a\0"] {
        assert_eq!(server.code(delete(path, -1)), -8, "{path:?}");
    }
    assert_eq!(server.code(delete("/zookeeper/config/x", -1)), -102);
    assert_eq!(server.code(delete("/no/x", -1)), -101);
    assert_eq!(server.code(create("/a", 0)), 0);
    assert_eq!(server.code(create("/a/b", 0)), 0);
    assert_eq!(server.code(delete("/a/", -1)), -101);
    assert_eq!(server.code(delete("/a", 1)), -103);
    assert_eq!(server.code(delete("/a", 0)), -111);
    assert_eq!(server.code(delete("/a/b", 0)), 0);
    assert_eq!(server.code(delete("/a", -1)), 0);
    let kinds: Vec<_> = server.changes.iter().map(|change| (change.kind, &*change.path)).collect();
    assert_eq!(kinds, [(EventType::NodeDeleted, "/a")]);
    assert_eq!(server.store.node_count(), 5);
}

#[test]
fn versions_wrap_and_are_compared_exactly() {
    let mut server = server();
    assert_eq!(server.code(set("/", "x", -2)), -103);
    assert_eq!(server.code(set("/zookeeper/config", "x", -1)), -102);
    assert_eq!(server.code(set("/no", "x", -1)), -101);
    assert_eq!(server.code(set("/no/", "x", -1)), -8);
    let Outcome::Stat(stat) = server.write(set("/", "x", 0)) else { panic!("not set") };
    assert_eq!((stat.version, stat.data_length, stat.mzxid), (1, 1, server.zxid));
    let header = TxnHeader { zxid: Zxid(server.zxid + 1), ..TxnHeader::default() };
    let txn = Txn::SetData { path: "/".into(), data: None, version: i32::MAX };
    server.zxid += 1;
    server.apply(&TxnEntry { header, txn, digest: None });
    let Outcome::Stat(stat) = server.write(set("/", "x", i32::MAX)) else { panic!("not set") };
    assert_eq!(stat.version, i32::MIN);
}

#[test]
fn lists_are_set_and_shown() {
    let mut server = server();
    let set_acl = |path: &str, list: Vec<Acl>, version| Write::SetAcl {
        path: Some(path.into()),
        acl: Some(list.into_iter().map(RawAcl::from).collect()),
        version,
    };
    assert_eq!(server.code(set_acl("/no", vec![], -1)), -114);
    assert_eq!(server.code(set_acl("/no", Acl::open(), -1)), -101);
    assert_eq!(server.code(create("/a", 0)), 0);
    assert_eq!(server.code(set_acl("/a", Acl::open(), 1)), -103);
    server.ids = vec![Id::new("digest", "bob:hash")];
    let list = vec![Acl::world(perms::READ), Acl::new(perms::ALL, "auth", "")];
    assert_eq!(server.code(set_acl("/a", list, 0)), 0);
    assert!(server.changes.is_empty());
    let (shown, stat) = server.store.acl("/a", &server.ids).unwrap();
    assert_eq!(shown[1], Acl::new(perms::ALL, "digest", "bob:hash"));
    assert_eq!((stat.aversion, stat.version), (1, 0));
    assert_eq!(server.store.acl("/a", &[]).unwrap().0[1], Acl::new(perms::ALL, "digest", "bob:x"));
    server.ids.clear();
    assert_eq!(server.code(set_acl("/a", Acl::open(), -1)), -102);
    assert_eq!(server.code(set("/a", "", -1)), -102);
    assert_eq!(server.store.acl("/zookeeper/config", &[]).unwrap().1.aversion, -1);
}

#[test]
fn a_multi_is_all_or_nothing() {
    let mut server = server();
    let story = vec![
        create("/a", 0),
        create("/a/n", 2),
        create("/a/n", 3),
        set("/a", "x", 0),
        check("/a", 1),
        delete("/a/n0000000000", -1),
        with(OpCode::CreateContainer, "/c", 0, -1, Some(Acl::open())),
    ];
    let Outcome::Multi(parts) = server.write(Write::Multi(story)) else { panic!("no multi") };
    let ops: Vec<_> = parts.iter().map(|part| part.op).collect();
    use OpCode::{Check, Create, Create2, Delete, SetData};
    assert_eq!(ops, [Create, Create, Create, SetData, Check, Delete, Create2]);
    assert!(matches!(&parts[2].outcome, Outcome::Created { path, .. } if &**path == "/a/n0000000001"));
    assert_eq!(server.changes.len(), 6);
    assert_eq!(server.write(Write::Multi(vec![])), Outcome::Multi(vec![]));

    let pending = server.prepare(create("/a/n", 2));
    let failing =
        vec![create("/a/n", 2), set("/a", "y", -1), check("/a", 9), create("/z", 0), delete("/c", -1)];
    let failed = server.prepare(Write::Multi(failing));
    let Txn::Multi(txns) = &failed.txn else { panic!("no multi") };
    assert!(matches!(&txns[0], Txn::Create(txn) if txn.path == "/a/n0000000003"));
    assert_eq!(failed.digest, pending.digest);
    let after = server.prepare(create("/a/n", 2));
    assert!(matches!(&after.txn, Txn::Create(txn) if txn.path == "/a/n0000000003"));
    server.apply(&pending);
    let part = |err| Part { op: OpCode::Error, err, outcome: Outcome::Done };
    assert_eq!(server.apply(&failed), Outcome::Multi([0, 0, -103, -2, -2].map(part).to_vec()));
    assert!(server.changes.is_empty());
    server.apply(&after);
    assert_eq!(server.store.data("/a", &[]).unwrap().0, Some(&b"x"[..]));
    assert_eq!(server.store.exists("/z", &[]), Err(Code::NoNode));
}

#[test]
fn a_closing_session_takes_pending_ephemerals_along() {
    let mut server = server();
    assert_eq!(server.code(Write::CreateSession { timeout_ms: 5000 }), 0);
    assert_eq!(server.store.session_timeout(SessionId(7)), Some(5000));
    assert_eq!(server.code(create("/p", 0)), 0);
    assert_eq!(server.code(create("/p/kept", 1)), 0);
    assert_eq!(server.code(create("/p/deleted", 1)), 0);
    let writes = [create("/p/new", 1), delete("/p/deleted", -1), create("/p/gone", 1), delete("/p/gone", -1)];
    let mut waiting = writes.map(|write| server.prepare(write)).to_vec();
    let close = server.prepare(Write::CloseSession);
    assert_eq!(close.txn, Txn::CloseSession { paths: Some(vec!["/p/kept".into(), "/p/new".into()]) });
    waiting.push(close);
    waiting.push(server.prepare(delete("/p", -1)));
    for entry in &waiting {
        assert!(!matches!(server.apply(entry), Outcome::Error(_)), "{entry:?}");
    }
    assert_eq!((server.store.node_count(), server.store.session_count()), (5, 0));
    assert!(server.outstanding.is_empty());
}

#[test]
fn dead_sessions_lose_their_ephemerals() {
    let mut server = server();
    assert_eq!(server.code(create("/e", 1)), 0);
    assert_eq!(server.store.ephemerals_under(SessionId(7), Some("/")), ["/e"]);
    assert_eq!(server.store.ephemerals_under(SessionId(7), Some("/f")), [""; 0]);
    assert_eq!(server.store.clear_dead_sessions(), [SessionId(7)]);
    assert_eq!((server.store.node_count(), server.store.ephemerals_count()), (5, 0));
}

/// With extended types off the owner of a TTL node reads as a session, one that was never there.
#[test]
fn ttl_nodes_outlive_a_start_without_extended_types() {
    let mut server = server();
    assert_eq!(server.code(create("/e", 1)), 0);
    let kind = CreateKind::Ttl { ttl_ms: 5000 };
    let txn = Txn::Create(CreateTxn { kind, path: "/t".into(), data: None, acl: None, parent_cversion: 2 });
    let header = TxnHeader { zxid: Zxid(2), session: SessionId(7), ..TxnHeader::default() };
    server.apply(&TxnEntry { header, txn, digest: None });
    assert_eq!(server.store.clear_dead_sessions(), [SessionId(7)]);
    assert!(server.store.exists("/t", &[]).is_ok());
    assert_eq!(server.store.exists("/e", &[]), Err(Code::NoNode));
}

#[test]
fn containers_and_ttl_nodes_run_out() {
    let mut server = Server::new(TreeConfig { extended_types: true, ..TreeConfig::default() });
    let open = || Some(Acl::open());
    assert_eq!(server.code(create("/t", 5)), -8);
    assert_eq!(server.code(with(OpCode::CreateTtl, "/t", 0, 10, open())), -8);
    assert_eq!(server.code(with(OpCode::CreateTtl, "/t", 5, 0, open())), -8);
    assert_eq!(server.code(with(OpCode::CreateTtl, "/t", 5, 1 << 40, open())), -8);
    assert_eq!(server.code(with(OpCode::CreateTtl, "/t", 5, 100, open())), 0);
    assert_eq!(server.code(with(OpCode::CreateContainer, "/c", 0, -1, open())), 0);
    assert_eq!(server.code(create("/p", 4)), 0);
    for path in ["/t", "/c", "/p"] {
        assert_eq!(server.store.exists(path, &[]).unwrap().ephemeral_owner, 0);
    }
    assert_eq!(server.code(create("/c/x", 0)), 0);
    let reap = |path: &str| Write::DeleteContainer { path: path.into() };
    assert_eq!(server.store.expired_containers(1100, 0), [""; 0]);
    assert_eq!(server.code(reap("/c")), -111);
    assert_eq!(server.code(reap("/t")), -103);
    assert_eq!(server.code(reap("/p")), -103);
    assert_eq!(server.code(reap("/zookeeper")), -8);
    assert_eq!(server.code(reap("/no")), -101);
    assert_eq!(server.code(delete("/c/x", -1)), 0);
    assert_eq!(server.store.expired_containers(1101, 0), ["/c", "/t"]);
    server.time_ms = 1101;
    assert_eq!((server.code(reap("/t")), server.code(reap("/c"))), (0, 0));
    assert_eq!(server.store.expired_containers(i64::MAX, 1), [""; 0]);
    assert_eq!(server.code(with(OpCode::CreateContainer, "/c", 0, -1, open())), 0);
    assert_eq!(server.store.expired_containers(2102, 1000), ["/c"]);
}

#[test]
fn quotas_are_counted_and_kept() {
    let mut server = Server::new(TreeConfig { enforce_quota: true, ..TreeConfig::default() });
    for path in ["/q", "/q/a", "/zookeeper/quota/q"] {
        assert_eq!(server.code(create(path, 0)), 0);
    }
    let text = |server: &Server| {
        let data = server.store.data("/zookeeper/quota/q/zookeeper_stats", &[]).unwrap().0;
        String::from_utf8(data.unwrap().to_vec()).unwrap()
    };
    let limits = "/zookeeper/quota/q/zookeeper_limits";
    assert_eq!(server.code(Write::Multi(vec![create(limits, 0)])), 0);
    assert_eq!(server.code(set("/q", "1234", -1)), -5);
    assert_eq!(server.code(set(limits, "count=1,bytes=1=;byteHardLimit=13;countHardLimit=3", -1)), 0);
    assert_eq!(server.code(create("/zookeeper/quota/q/zookeeper_stats", 0)), 0);
    assert_eq!(text(&server), "count=2,bytes=8");
    assert_eq!(server.code(create("/q/b", 0)), 0);
    assert_eq!(text(&server), "count=3,bytes=12");
    assert_eq!(server.store.exists("/zookeeper/quota/q/zookeeper_stats", &[]).unwrap().version, 0);
    assert_eq!(server.code(create("/q/b", 0)), -110);
    assert_eq!(server.code(create("/q/c", 0)), -125);
    assert_eq!(server.code(set("/q/b", "12345", 9)), -103);
    assert_eq!(server.code(set("/q/b", "123456", 9)), -125);
    assert_eq!(server.code(Write::Multi(vec![set("/", "x", -1), create("/q/c", 0)])), -125);
    assert_eq!(server.code(delete("/q/b", -1)), 0);
    assert_eq!(text(&server), "count=2,bytes=8");
    assert_eq!(server.code(delete(limits, -1)), 0);
    assert_eq!(server.code(create("/q/b", 0)), 0);
    assert_eq!(text(&server), "count=2,bytes=8");
}

#[test]
fn an_operator_hears_of_quotas_by_namespace() {
    let mut server = Server::new(TreeConfig { enforce_quota: true, ..TreeConfig::default() });
    for path in ["/q", "/zookeeper/quota/q", "/q/a"] {
        assert_eq!(server.code(create(path, 0)), 0);
    }
    let limits = "/zookeeper/quota/q/zookeeper_limits";
    assert_eq!(server.code(create(limits, 0)), 0);
    assert_eq!(server.code(set(limits, "count=2,bytes=90=;countHardLimit=4", -1)), 0);
    let quota = |server: &Server| server.store.quota_figures().get("q").map(|q| (q.limits, q.usage));
    assert_eq!(quota(&server), Some((Some((4, 90)), None)));
    assert_eq!(server.code(create("/zookeeper/quota/q/zookeeper_stats", 0)), 0);
    assert_eq!(quota(&server), Some((Some((4, 90)), Some((2, 8)))));
    assert_eq!(server.outstanding.take_quota_warning(), None);
    assert_eq!(server.code(set("/q", &"x".repeat(87), -1)), 0);
    let soft = "Quota exceeded: /q [current bytes=91, softByteLimit=90]";
    assert_eq!(server.outstanding.take_quota_warning().as_deref(), Some(soft));
    assert_eq!((server.code(create("/q/b", 0)), server.code(create("/q/c", 0))), (0, 0));
    assert_eq!(server.code(create("/q/d", 0)), -125);
    let hard = "Quota exceeded: /q [current count=5, hardCountLimit=4]";
    assert_eq!(server.outstanding.take_quota_warning().as_deref(), Some(hard));
    let refusals = server.outstanding.quota_refusals();
    assert_eq!(refusals.iter().map(|(name, refused)| (name, refused.count)).collect::<Vec<_>>(), [("q", 1)]);
    let writes = server.store.writes_by_namespace();
    // Creates of /q, /q/a, /q/b and /q/c with four bytes each; 87 bytes set on /q; the rest is the quota itself.
    let writes: Vec<_> = writes.iter().map(|(name, f)| (name, f.count, f.sum, f.min, f.max)).collect();
    assert_eq!(writes[0], ("q", 5, 6 + 3 * 8 + 89, 6, 89));
    assert_eq!((writes.len(), writes[1].0, writes[1].1), (2, "zookeeper", 4));
}

#[test]
fn reconfig_is_refused_where_there_is_no_quorum() {
    let write = || Write::Reconfig { joining: None, leaving: None, members: None, config_id: -1 };
    assert_eq!(server().code(write()), -123);
    let mut enabled = Server::new(TreeConfig { reconfig_enabled: true, ..TreeConfig::default() });
    assert_eq!(enabled.code(write()), -6);
    enabled.live = false;
    assert_eq!(enabled.code(write()), -112);
}

#[test]
fn reads_of_odd_paths() {
    let server = server();
    assert_eq!(server.store.exists("/a\0", &[]), Err(Code::BadArguments));
    assert_eq!(server.store.exists("nonsense", &[]), Err(Code::NoNode));
    assert_eq!(server.store.exists("", &[]), server.store.exists("/", &[]));
    assert_eq!(server.store.exists("/", &[]).unwrap().cversion, -1);
    assert_eq!(server.store.exists("/zookeeper", &[]).unwrap().cversion, -2);
    let (children, _) = server.store.children("", &[]).unwrap();
    assert_eq!(children.iter().collect::<Vec<_>>(), ["zookeeper"]);
    assert_eq!(server.store.all_children_number("/", &[]), Ok(3));
    assert_eq!(server.store.all_children_number("/zookeeper", &[]), Ok(2));
}

#[test]
fn nothing_in_a_log_panics() {
    let mut server = server();
    let kind = CreateKind::Plain { second: false, ephemeral: true };
    let created = |path: &str, kind| {
        Txn::Create(CreateTxn { kind, path: path.into(), data: None, acl: None, parent_cversion: i32::MIN })
    };
    let list =
        ["", "/", "a", "//", "/a/", "/zookeeper/quota/zookeeper_limits", "/zookeeper/zookeeper_limits"];
    let mut zxid = 0;
    for path in list.iter().cycle().take(list.len() * 2) {
        for txn in [
            created(path, kind),
            created(path, CreateKind::Ttl { ttl_ms: -1 }),
            Txn::SetData { path: (*path).into(), data: None, version: i32::MIN },
            Txn::SetAcl { path: (*path).into(), acl: None, version: 0 },
            Txn::Check { path: (*path).into(), version: 0 },
            Txn::Error { code: 12345 },
            Txn::CloseSession { paths: Some(vec![(*path).into()]) },
            Txn::Delete { path: (*path).into() },
            Txn::Multi(vec![Txn::Multi(vec![]), created(path, kind)]),
        ] {
            zxid += 1;
            let header = TxnHeader { zxid: Zxid(zxid), session: SessionId(-5), ..TxnHeader::default() };
            server.apply(&TxnEntry { header, txn, digest: None });
        }
    }
    assert!(server.store.exists("/", &[]).is_ok());
}

#[test]
fn deleting_a_node_with_children_in_replay_takes_them_along() {
    let mut server = server();
    for (path, flags) in [("/a", 0), ("/a/b", 0), ("/a/b/c", 1), ("/a/d", 0)] {
        assert_eq!(server.code(create(path, flags)), 0);
    }
    let header = TxnHeader { zxid: Zxid(9), ..TxnHeader::default() };
    server.apply(&TxnEntry { header, txn: Txn::Delete { path: "/a".into() }, digest: None });
    assert_eq!((server.store.node_count(), server.store.ephemerals_count()), (5, 0));
    assert_eq!((server.store.acl_count(), server.store.approximate_data_size()), (1, 44));
}

#[test]
fn readers_can_share_a_store() {
    fn shared<T: Sync + Send>(_: &T) {}
    shared(&server().store);
}

/// ZOOKEEPER-4306, open upstream: the end of a session with many ephemerals was a transaction longer than
/// `jute.maxbuffer`, which no follower and no restart could read.
#[test]
fn the_end_of_a_session_with_many_ephemerals_is_no_longer_than_a_request() {
    let mut server = Server::new(TreeConfig::default());
    server.write(Write::CreateSession { timeout_ms: 4000 });
    const COUNT: usize = 30_000;
    let before = server.store.node_count();
    for n in 0..COUNT {
        let path = format!("/of-a-name-that-is-long-enough-to-fill-what-there-is-{n:010}");
        let kind = CreateKind::Plain { second: false, ephemeral: true };
        let create = CreateTxn { kind, path, data: None, acl: None, parent_cversion: -1 };
        server.zxid += 1;
        let header = TxnHeader { session: SessionId(7), zxid: Zxid(server.zxid), ..TxnHeader::default() };
        server.apply(&TxnEntry { header, txn: Txn::Create(create), digest: None });
    }
    assert_eq!(server.store.node_count(), before + COUNT);
    let entry = server.prepare(Write::CloseSession);
    let mut bytes = Vec::new();
    entry.encode(&mut bytes);
    assert!(bytes.len() < 0xf_ffff, "{} bytes", bytes.len());
    let again = TxnEntry::decode(&Bytes::from(bytes)).unwrap();
    // What the server said of itself holds for whoever applies it, and a digest would tell.
    assert_eq!(again.digest, entry.digest);
    server.apply(&again);
    assert_eq!(server.store.node_count(), before);
}
