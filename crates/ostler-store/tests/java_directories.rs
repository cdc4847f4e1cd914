//! Data directories that Apache servers wrote, or that were damaged on purpose: each gives the tree that is written
//! down beside it, or the refusal.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::path::{Path, PathBuf};

use common::{Naive, load};
use ostler_store::sim::SimDisk;
use ostler_store::{Error, Origin, RestoreOptions, Restored, Warning, mend, restore};
use ostler_wire::{Acl, SessionId};
use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/java").join(name)
}

fn expected_of(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(fixture(name).join("expected.json")).unwrap()).unwrap()
}

fn open(name: &str) -> SimDisk {
    load(&fixture(name).join("dataDir"), None)
}

fn restore_into(disk: &SimDisk, options: RestoreOptions) -> Result<(Naive, Restored), Error> {
    let mut tree = Naive::default();
    let report = restore(disk, options, &mut tree)?;
    tree.count_quotas();
    Ok((tree, report))
}

fn refusal(name: &str) -> Error {
    restore_into(&open(name), RestoreOptions::default()).expect_err(name)
}

fn zxid(value: &Value) -> i64 {
    i64::from_str_radix(value.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect()
}

fn assert_tree(name: &str, tree: &Naive, expected: &Value) {
    let nodes = expected["nodes"].as_object().unwrap();
    assert_eq!(tree.nodes.len(), nodes.len(), "{name}: {:?}", tree.nodes.keys());
    for (path, want) in nodes {
        let path = if path == "/" { "" } else { path };
        let got = tree.nodes.get(path).unwrap_or_else(|| panic!("{name}: {path} is missing"));
        let data = want["data"].as_str().map(hex);
        assert_eq!(got.data, data, "{name}: data of {path}");
        let acl: Vec<Acl> = want["acl"]
            .as_array()
            .unwrap()
            .iter()
            .map(|acl| {
                let perms = i32::try_from(acl[0].as_i64().unwrap()).unwrap();
                Acl::new(perms, acl[1].as_str().unwrap(), acl[2].as_str().unwrap())
            })
            .collect();
        assert_eq!(got.acl.as_ref(), Some(&acl), "{name}: ACL of {path}");
        let stat = &want["stat_persisted"];
        let long = |field: &str| stat[field].as_i64().unwrap();
        let got_stat = &got.stat;
        let pairs = [
            ("czxid", got_stat.czxid),
            ("mzxid", got_stat.mzxid),
            ("ctime", got_stat.ctime),
            ("mtime", got_stat.mtime),
            ("version", got_stat.version.into()),
            ("cversion", got_stat.cversion.into()),
            ("aversion", got_stat.aversion.into()),
            ("ephemeralOwner", got_stat.ephemeral_owner),
            ("pzxid", got_stat.pzxid),
        ];
        for (field, got) in pairs {
            assert_eq!(got, long(field), "{name}: {field} of {path}");
        }
        assert_eq!(
            tree.children(path) as u64,
            want["children"].as_u64().unwrap(),
            "{name}: children of {path}"
        );
    }
    let sessions = expected["sessions"].as_object().unwrap();
    assert_eq!(tree.sessions.len(), sessions.len(), "{name}: sessions");
    for (id, timeout) in sessions {
        let id = SessionId(u64::from_str_radix(id.trim_start_matches("0x"), 16).unwrap().cast_signed());
        assert_eq!(tree.sessions.get(&id).map(|ms| i64::from(*ms)), timeout.as_i64(), "{name}: session {id}");
    }
    for (id, paths) in expected["ephemerals"].as_object().unwrap() {
        let id = SessionId(u64::from_str_radix(id.trim_start_matches("0x"), 16).unwrap().cast_signed());
        let want: Vec<&str> = paths.as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect();
        assert_eq!(tree.ephemerals(id).into_iter().collect::<Vec<_>>(), want, "{name}: ephemerals of {id}");
    }
    assert_eq!(tree.last.0, zxid(&expected["last_processed_zxid"]), "{name}: last zxid");
    let digest = &expected["tree_digest_v2"];
    let digest = digest.as_i64().unwrap_or_else(|| digest.as_u64().unwrap().cast_signed());
    assert_eq!(tree.digest(), digest, "{name}: digest");
}

fn assert_restores(name: &str, options: RestoreOptions) -> Restored {
    let fixture = expected_of(name);
    let disk = open(name);
    let (tree, report) = restore_into(&disk, options).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_tree(name, &tree, &fixture["expected"]);
    let how = &fixture["restore"];
    assert_eq!(tree.digest_mismatches, 0, "{name}");
    assert_eq!(tree.digests_checked, how["digests_checked"].as_u64().unwrap(), "{name}: digests");
    assert_eq!(report.replayed, how["txns_replayed"].as_u64().unwrap(), "{name}: transactions");
    let logs: Vec<&str> =
        how["logs_read"].as_array().unwrap().iter().map(|log| log.as_str().unwrap()).collect();
    assert_eq!(report.logs, logs, "{name}: logs");
    let used = match &report.origin {
        Origin::Snapshot { snapshot, .. } => Some(snapshot.path.name.as_str()),
        Origin::Logs | Origin::Empty { .. } => None,
    };
    assert_eq!(used, how["snapshot_used"].as_str(), "{name}: snapshot");
    assert_mending_keeps_the_tree(name, &disk, &report, options, &tree);
    report
}

/// What a start changes on the disk changes nothing in the tree, and leaves nothing to warn of in the logs.
fn assert_mending_keeps_the_tree(
    name: &str,
    disk: &SimDisk,
    report: &Restored,
    options: RestoreOptions,
    tree: &Naive,
) {
    if let Some(tail) = &report.tail {
        mend(disk, tail).unwrap();
    }
    let (again, report) =
        restore_into(disk, options).unwrap_or_else(|error| panic!("{name}, mended: {error}"));
    assert_eq!(&again, tree, "{name}, mended");
    let torn = report
        .warnings
        .iter()
        .any(|warning| matches!(warning, Warning::TornTail { .. } | Warning::NoHeader { .. }));
    assert!(!torn, "{name}, mended: {:?}", report.warnings);
}

#[test]
fn whole_directories_give_their_trees() {
    for name in [
        "01-allkinds-3.9.5",
        "02-allkinds-3.8.0",
        "03-multi-snap-3.9.5",
        "04-gzip-3.9.5",
        "05-snappy-3.9.5",
        "06-old-format-3.9.5",
        "07-fuzzy",
        "15-header-only-log",
        "23-snapshot-38-trailer",
        "26-odd-names",
        "27-createv0",
        "28-create2-in-multi-3.9.5",
        "41-uncommitted-txn-under-snapshot-3.9.5",
    ] {
        let report = assert_restores(name, RestoreOptions::default());
        assert_eq!(report.warnings, [], "{name}");
    }
}

#[test]
fn damage_that_a_crash_explains_is_passed_over_with_a_warning() {
    for name in [
        "08-torn-tail",
        "10-no-eor",
        "13-empty-tail-log",
        "18-snapshot-truncated",
        "19-snapshot-bad-checksum",
        "20-snapshot-zero-length",
    ] {
        let report = assert_restores(name, RestoreOptions::default());
        assert_eq!(report.warnings.len(), 1, "{name}: {:?}", report.warnings);
    }
}

#[test]
fn rotten_records_are_refused() {
    for (name, offset) in [("11-crc-mid", 5948), ("12-crc-last", 11233), ("25-bad-length", 11233)] {
        match refusal(name) {
            Error::Damaged(damage) => {
                assert_eq!(damage.offset, offset, "{name}");
                assert!(damage.file.ends_with("log.1") && damage.after.0 > 0, "{name}: {damage}");
            }
            other => panic!("{name}: {other}"),
        }
    }
    match refusal("17-bad-magic-log") {
        Error::Damaged(damage) => assert!(damage.file.ends_with("log.5e") && damage.offset == 0, "{damage}"),
        other => panic!("{other}"),
    }
}

#[test]
fn logs_without_a_snapshot_are_refused_unless_trusted() {
    assert!(matches!(refusal("21-no-snapshot"), Error::NoSnapshot { .. }));
    assert!(matches!(refusal("22-no-snapshot-trust-empty"), Error::NoSnapshot { .. }));
    let options = RestoreOptions { trust_empty: true, ..RestoreOptions::default() };
    let report = assert_restores("22-no-snapshot-trust-empty", options);
    assert_eq!(report.warnings, [Warning::NoSnapshot]);
}

#[test]
fn what_java_refuses_without_need_is_opened_with_a_warning() {
    let (tree, report) = restore_into(&open("16-short-header-log"), RestoreOptions::default()).unwrap();
    assert_tree("16", &tree, &expected_of("01-allkinds-3.9.5")["expected"]);
    assert!(matches!(report.warnings[..], [Warning::NoHeader { .. }]), "{:?}", report.warnings);

    let (tree, report) =
        restore_into(&open("29-digest-off-lastzxid-on-3.9.5"), RestoreOptions::default()).unwrap();
    assert!(matches!(report.warnings[..], [Warning::OddSections { .. }]), "{:?}", report.warnings);
    assert_eq!((report.replayed, tree.nodes.len()), (2, 46), "{:?}", tree.nodes.keys());

    let (tree, report) = restore_into(&open("30-toplevel-check-3.8.0"), RestoreOptions::default()).unwrap();
    assert!(matches!(report.warnings[..], [Warning::LoneCheck { .. }]), "{:?}", report.warnings);
    assert_eq!((report.replayed, tree.digests_checked, tree.digest_mismatches), (6, 6, 0));
}

#[test]
fn members_of_ensembles_load_standalone() {
    let expected = expected_of("40-quorum-3-servers-3.9.5");
    for server in ["1", "2", "3"] {
        let home = fixture("40-quorum-3-servers-3.9.5").join(format!("server{server}"));
        let log_dir = home.join("dataLogDir");
        let disk = load(&home.join("dataDir"), log_dir.exists().then_some(&*log_dir));
        let (tree, report) = restore_into(&disk, RestoreOptions::default()).unwrap();
        let name = format!("40, server {server}");
        assert_tree(&name, &tree, &expected["servers"][server]["expected"]);
        assert_eq!((report.warnings.len(), tree.digest_mismatches), (0, 0), "{name}");
    }
    let expected = expected_of("43-reconfig-3.9.5");
    let mut digests = Vec::new();
    for server in ["server1", "server5"] {
        let disk = load(&fixture("43-reconfig-3.9.5").join(server).join("data"), None);
        let (tree, report) = restore_into(&disk, RestoreOptions::default()).unwrap();
        if server == "server1" {
            assert_tree("43", &tree, &expected["server1"]["expected"]);
        }
        assert_eq!((report.warnings.len(), tree.digest_mismatches), (0, 0), "43, {server}");
        digests.push((tree.last, tree.digest()));
    }
    assert_eq!(digests[0], digests[1], "both members have the same tree");
}

#[test]
fn a_lost_log_and_a_snapshot_that_cannot_be_replaced_are_refused() {
    use ostler_store::{Dir, Disk, FilePath};
    let log = |name: &str| FilePath::new(Dir::Log, name);
    let disk = open("07-fuzzy");
    disk.unlink(&log("log.3f")).unwrap();
    assert!(matches!(restore_into(&disk, RestoreOptions::default()), Err(Error::Gap { .. })));
    let options = RestoreOptions { allow_gaps: true, ..RestoreOptions::default() };
    let (_, report) = restore_into(&disk, options).unwrap();
    assert!(matches!(report.warnings[..], [Warning::Gap { .. }]), "{:?}", report.warnings);

    // The newest snapshot is rotten and the logs after the one before it are gone.
    let disk = open("19-snapshot-bad-checksum");
    for name in ["log.4d", "log.5c"] {
        disk.unlink(&log(name)).unwrap();
    }
    let error = restore_into(&disk, RestoreOptions::default()).expect_err("transactions are lost");
    assert!(matches!(error, Error::FellShort { .. }), "{error}");

    // Falling back below a snapshot that hides an uncommitted transaction must not bring that back.
    let disk = open("41-uncommitted-txn-under-snapshot-3.9.5");
    assert!(disk.flip(&FilePath::new(Dir::Snap, "snapshot.200000002"), 100, 3));
    let error = restore_into(&disk, RestoreOptions::default()).expect_err("0x100000005 was never committed");
    assert!(matches!(error, Error::Gap { .. }), "{error}");
}

#[test]
fn files_of_the_other_kind_are_misplaced() {
    let home = fixture("01-allkinds-3.9.5").join("dataDir");
    let disk = load(&home, Some(&home));
    let error = restore_into(&disk, RestoreOptions::default()).expect_err("both have everything");
    assert!(matches!(error, Error::Misplaced { .. }), "{error}");
}
