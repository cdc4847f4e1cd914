//! Snapshots by name: what changes under the writer's feet, what Java's snapshots hold of later times, what does
//! not load.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use ostler_tree::{LoadError, Loader, Outcome, Store, TreeConfig, Walk};
use ostler_wire::acl::perms;
use ostler_wire::disk::StatPersisted;
use ostler_wire::jute::Reader;
use ostler_wire::txn::{AclList, CreateKind, CreateTxn, DIGEST_VERSION, Txn, TxnDigest, TxnEntry, TxnHeader};
use ostler_wire::{Acl, Code, SessionId, Zxid};

use common::Body;

mod common;

fn entry(zxid: i64, txn: Txn) -> TxnEntry {
    let header = TxnHeader { zxid: Zxid(zxid), session: SessionId(7), ..TxnHeader::default() };
    TxnEntry { header, txn, digest: None }
}

fn create(path: &str, second: bool, acl: Vec<Acl>, parent_cversion: i32) -> Txn {
    let kind = CreateKind::Plain { second, ephemeral: false };
    let acl: Option<AclList> = Some(acl.into());
    Txn::Create(CreateTxn { kind, path: path.into(), data: None, acl, parent_cversion })
}

fn apply(store: &mut Store, txn: Txn) -> Outcome {
    let zxid = store.last_zxid().next();
    store.apply(&entry(zxid.0, txn), &mut Vec::new())
}

fn store(paths: &[&str]) -> Store {
    let mut store = Store::new(TreeConfig::default());
    for path in paths {
        apply(&mut store, create(path, false, Acl::open(), -1));
    }
    store
}

#[test]
fn a_branch_that_goes_while_it_is_written_ends_there() {
    let names = ["/a", "/a/1", "/a/2", "/a/3", "/b", "/b/1", "/c", "/c/1"];
    // Wherever the writer stands.
    for pause in 1..20 {
        let mut store = store(&names);
        let mut walk = Walk::new(&store);
        let mut bytes = Vec::new();
        walk.next(&store, pause, usize::MAX, &mut bytes);
        let since = store.last_zxid();
        let mut log = Vec::new();
        let deleted = names.iter().rev().map(|path| Txn::Delete { path: (*path).into() });
        let created = [("/x", 4), ("/x/1", 1), ("/a", 5), ("/a/2", 1)]
            .map(|(path, cversion)| create(path, false, Acl::open(), cversion));
        for txn in deleted.chain(created) {
            let entry = entry(store.last_zxid().0 + 1, txn);
            store.apply(&entry, &mut Vec::new());
            log.push(entry);
        }
        while !walk.next(&store, 1, usize::MAX, &mut bytes) {}
        let body = Body::read(&mut Reader::new(&bytes));
        let mut paths: Vec<&str> = body.nodes.iter().map(|node| node.path.as_str()).collect();
        assert!(
            paths
                .iter()
                .all(|path| { path.is_empty() || path.starts_with("/zookeeper") || names.contains(path) }),
            "{pause}: {paths:?}"
        );
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), body.nodes.len(), "{pause}");
        let mut again = body.load(TreeConfig::default(), walk.zxid(), None);
        for entry in log.iter().filter(|entry| entry.header.zxid > since) {
            again.apply(entry, &mut Vec::new());
        }
        assert_eq!(Body::of(&again).contents(), Body::of(&store).contents(), "{pause}");
        assert_eq!(again.digest(), store.digest());
    }
}

#[test]
fn a_slice_ends_by_bytes_too() {
    let store = store(&["/a", "/b"]);
    let (mut whole, mut sliced) = (Vec::new(), Vec::new());
    assert!(Walk::new(&store).next(&store, usize::MAX, usize::MAX, &mut whole));
    let mut walk = Walk::new(&store);
    let mut slices = 1;
    while !walk.next(&store, usize::MAX, 1, &mut sliced) {
        slices += 1;
    }
    assert_eq!(whole, sliced);
    assert!(slices > 6, "{slices}");
}

/// Java writes nodes that were created since the snapshot began; their creation is replayed over them.
#[test]
fn a_node_from_later_gets_the_list_of_its_creation() {
    let read = || vec![Acl::world(perms::READ)];
    for (second, cversion) in [(false, 9), (true, 4)] {
        let mut store = store(&["/p", "/p/a"]);
        let before = store.acl_count();
        let entry = entry(8, create("/p/a", second, read(), 9));
        let mut body = Body::of(&store);
        for node in body.nodes.iter_mut().filter(|node| node.path == "/p") {
            node.stat.cversion = 4;
        }
        store = body.load(TreeConfig::default(), Zxid(2), None);
        assert_eq!(store.apply(&entry, &mut Vec::new()), Outcome::Error(Code::NodeExists));
        assert_eq!(store.acl("/p/a", &[]).unwrap().0, read());
        assert_eq!(store.exists("/p", &[]).unwrap().cversion, 2 * cversion - 1);
        // The list is that of the config node; the open one is still used by the parent.
        assert_eq!(store.acl_count(), before);
        apply(&mut store, Txn::Delete { path: "/p/a".into() });
        apply(&mut store, Txn::Delete { path: "/p".into() });
        assert_eq!(store.acl_count(), 1);
    }
}

#[test]
fn an_unknown_list_lets_nobody_in_until_the_log_brings_it() {
    let mut body = Body::of(&store(&["/a"]));
    for node in body.nodes.iter_mut().filter(|node| node.path == "/a") {
        node.acl = 77;
    }
    let mut store = body.load(TreeConfig::default(), Zxid(1), None);
    assert_eq!((store.unresolved_acls(), store.exists("/a", &[])), (1, Err(Code::NoAuth)));
    apply(&mut store, Txn::SetAcl { path: "/a".into(), acl: Some(Arc::new([Acl::world(1)])), version: 1 });
    assert_eq!(store.unresolved_acls(), 0);
    assert!(store.exists("/a", &[]).is_ok());
}

#[test]
fn what_hangs_together_wrongly_is_refused() {
    let stat = StatPersisted::default();
    let loader = || Loader::new(TreeConfig::default());
    assert_eq!(loader().finish(Zxid(1), None).err(), Some(LoadError::NoRoot));
    assert_eq!(loader().node("/a", None, -1, &stat), Err(LoadError::NoRoot));
    let mut started = loader();
    started.node("", None, -1, &stat).unwrap();
    assert_eq!(started.node("/a/b", None, -1, &stat), Err(LoadError::NoParent("/a/b".into())));
    assert_eq!(started.node("a", None, -1, &stat), Err(LoadError::NoParent("a".into())));
}

#[test]
fn the_digest_of_a_snapshot_is_compared() {
    let body = Body::of(&store(&["/a"]));
    let good = store(&["/a"]).digest();
    let section = |zxid, digest| Some((Zxid(zxid), TxnDigest { version: DIGEST_VERSION, digest }));
    let load = |section| body.load(TreeConfig::default(), Zxid(1), section).digest_check();
    assert_eq!((load(section(1, good)).mismatches, load(section(1, good)).pending), (0, false));
    assert_eq!((load(section(1, 5)).mismatches, load(section(1, 5)).first_mismatch), (1, Some(Zxid(1))));
    assert_eq!((load(section(2, 5)).mismatches, load(section(2, 5)).pending), (0, true));
    // From an epoch before the name of the file.
    let later = body.load(TreeConfig::default(), Zxid(2), section(1, 5)).digest_check();
    assert_eq!((later.mismatches, later.pending), (0, false));
    // None was known: nobody says when the tree is that of one zxid.
    assert_eq!((load(section(0, 5)).mismatches, load(section(0, 5)).pending), (0, true));
    let empty = body.load(TreeConfig::default(), Zxid::ZERO, section(0, 5)).digest_check();
    assert_eq!((empty.mismatches, empty.pending), (0, false));
}

#[test]
fn quotas_are_found_again() {
    let stats = "/zookeeper/quota/q/zookeeper_stats";
    let mut store =
        store(&["/q", "/q/a", "/zookeeper/quota/q", "/zookeeper/quota/q/zookeeper_limits", stats]);
    assert_eq!(store.data(stats, &[]).unwrap().0, Some(&b"count=2,bytes=0"[..]));
    let mut body = Body::of(&store);
    for node in body.nodes.iter_mut().filter(|node| node.path == stats) {
        node.data = Some(b"stale".to_vec());
    }
    let mut again = body.load(TreeConfig::default(), store.last_zxid(), None);
    for store in [&mut store, &mut again] {
        apply(store, create("/q/b", false, Acl::open(), -1));
        assert_eq!(store.data(stats, &[]).unwrap().0, Some(&b"count=3,bytes=0"[..]));
    }
}

/// ZOOKEEPER-3127: the first part of a multi moved the zxid that a snapshot takes its name from, and the rest of the multi
/// was neither in the snapshot nor replayed over it.
#[test]
fn a_multi_is_whole_wherever_a_snapshot_stands() {
    let names = ["/a", "/a/1", "/b", "/c", "/c/1", "/d"];
    for pause in 0..12 {
        let mut store = store(&names);
        let set = |path: &str| Txn::SetData { path: path.into(), data: Some("new".into()), version: 1 };
        let multi = Txn::Multi(vec![
            set("/a/1"),
            create("/a/2", false, Acl::open(), 2),
            Txn::Delete { path: "/c/1".into() },
            set("/d"),
            create("/e", false, Acl::open(), 5),
        ]);
        let zxid = store.last_zxid().next();
        let mut walk = Walk::new(&store);
        let mut bytes = Vec::new();
        if pause > 0 {
            walk.next(&store, pause, usize::MAX, &mut bytes);
        }
        let entry = entry(zxid.0, multi);
        let outcome = store.apply(&entry, &mut Vec::new());
        assert!(matches!(outcome, Outcome::Multi(parts) if parts.iter().all(|part| part.err == 0)));
        assert_eq!(store.last_zxid(), zxid);
        while !walk.next(&store, 1, usize::MAX, &mut bytes) {}
        assert!(walk.zxid() < zxid, "{pause}: what began before the multi is named before it");
        let body = Body::read(&mut Reader::new(&bytes));
        let mut again = body.load(TreeConfig::default(), walk.zxid(), None);
        again.apply(&entry, &mut Vec::new());
        assert_eq!(Body::of(&again).contents(), Body::of(&store).contents(), "{pause}");
        assert_eq!(again.digest(), store.digest(), "{pause}");
        assert_eq!(Walk::new(&store).zxid(), zxid);
    }
}
