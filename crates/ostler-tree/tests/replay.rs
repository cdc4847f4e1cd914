//! Data directories that Apache servers wrote: a snapshot, the entries of the logs that belong to it (each behind
//! its length, checksums and padding taken off), and what the tree must be after them. Each file of expectations
//! lists zxid, digest, sessions, ephemerals and every node with its persisted Stat.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use ostler_tree::{Outcome, Store, TreeConfig};
use ostler_wire::disk::FILE_HEADER_LEN;
use ostler_wire::jute::Reader;
use ostler_wire::txn::{Txn, TxnDigest, TxnEntry};
use ostler_wire::{Acl, Zxid};

use common::Body;

mod common;

struct Replay {
    store: Store,
    entries: Vec<TxnEntry>,
    expected: String,
}

fn open(name: &str, from_nothing: bool) -> Replay {
    let file = |suffix: &str| {
        let path = format!("{}/tests/replays/{name}.{suffix}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let expected = String::from_utf8(file("expected")).unwrap();
    let config = TreeConfig { extended_types: true, ..TreeConfig::default() };
    let zxid = expected.lines().find_map(|line| line.strip_prefix("snapshot\t")).unwrap();
    let zxid = Zxid(zxid.parse().unwrap());
    let store = if from_nothing {
        Store::new(config)
    } else {
        let snapshot = file("snapshot");
        let mut reader = Reader::new(&snapshot[FILE_HEADER_LEN..]);
        let body = Body::read(&mut reader);
        body.load(config, zxid, digest_section(&mut reader))
    };
    let log = Bytes::from(file("log"));
    let mut reader = Reader::new(&log);
    let mut entries = Vec::new();
    while reader.remaining() > 0 {
        let entry = reader.buffer("entry").unwrap().unwrap();
        entries.push(TxnEntry::decode(&log.slice_ref(entry)).unwrap());
    }
    entries.retain(|entry| from_nothing || entry.header.zxid > zxid);
    Replay { store, entries, expected }
}

/// Behind the first seal; there only if that much is left.
fn digest_section(reader: &mut Reader<'_>) -> Option<(Zxid, TxnDigest)> {
    reader.take(13, "seal").unwrap();
    if reader.remaining() < 33 {
        return None;
    }
    let zxid = Zxid(reader.long("zxid").unwrap());
    Some((
        zxid,
        TxnDigest { version: reader.int("version").unwrap(), digest: reader.long("digest").unwrap() },
    ))
}

fn describe(store: &Store) -> Vec<String> {
    let mut lines = vec![format!("zxid\t{}", store.last_zxid().0), format!("digest\t{}", store.digest())];
    lines.extend(store.sessions().map(|(id, timeout)| format!("session\t{}\t{timeout}", id.0)));
    for (id, paths) in store.ephemeral_owners() {
        lines.extend(paths.map(|path| format!("ephemeral\t{}\t{path}", id.0)));
    }
    let body = Body::of(store);
    for (path, (data, acl, stat)) in body.contents().1 {
        let path = if path.is_empty() { "/" } else { &path };
        let hex: String = data.iter().flatten().map(|byte| format!("{byte:02x}")).collect();
        let data = if data.is_some() { format!("x{hex}") } else { "null".into() };
        let entry = |acl: &Acl| format!("{},{},{}", acl.perms, acl.id.scheme, acl.id.id);
        let acl: Vec<String> = acl.iter().map(entry).collect();
        lines.push(format!(
            "node\t{path}\t{data}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}",
            acl.join("|"),
            stat.czxid,
            stat.mzxid,
            stat.ctime,
            stat.mtime,
            stat.version,
            stat.cversion,
            stat.aversion,
            stat.ephemeral_owner,
            stat.pzxid,
            store.peek(path).unwrap().num_children
        ));
    }
    lines.sort_unstable();
    lines
}

fn replay(name: &str, from_nothing: bool) -> Store {
    let Replay { mut store, entries, expected } = open(name, from_nothing);
    let mut compared = 0;
    for entry in entries {
        compared += u64::from(entry.digest.is_some() && !store.digest_check().pending);
        let outcome = store.apply(&entry, &mut Vec::new());
        // From nothing on, what was logged as done is done.
        let failed = matches!(outcome, Outcome::Error(_));
        assert!(!from_nothing || failed == matches!(entry.txn, Txn::Error { .. }), "{entry:?}: {outcome:?}");
    }
    let check = store.digest_check();
    assert_eq!((check.mismatches, check.pending), (0, false), "{name}: {check:?}");
    assert!(compared > 0 || matches!(name, "old-format" | "createv0"), "{name}: no digest was compared");
    assert_eq!(store.unresolved_acls(), 0);
    let mut expected: Vec<String> =
        expected.lines().filter(|line| !line.starts_with("snapshot\t")).map(str::to_owned).collect();
    expected.sort_unstable();
    let got = describe(&store);
    for (got, expected) in got.iter().zip(&expected) {
        assert_eq!(got, expected, "{name}");
    }
    assert_eq!(got.len(), expected.len(), "{name}");
    store
}

#[test]
fn every_kind_of_node_and_transaction() {
    replay("allkinds", false);
    replay("allkinds-3.8", false);
    replay("create2-in-multi", false);
}

#[test]
fn a_whole_log_leads_to_what_snapshot_and_tail_lead_to() {
    let whole = replay("many-files", true);
    let tail = replay("many-files", false);
    assert_eq!(Body::of(&whole).contents(), Body::of(&tail).contents());
}

#[test]
fn a_snapshot_from_the_future_is_replayed_over() {
    replay("fuzzy", false);
}

#[test]
fn forms_of_older_servers() {
    replay("old-format", false);
    replay("createv0", false);
}

#[test]
fn a_snapshot_that_a_leader_sent() {
    replay("after-snap-sync", false);
}
