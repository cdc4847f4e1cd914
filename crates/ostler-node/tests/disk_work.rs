//! Cuts and received trees on the simulated disk, stopped at each of its mutating calls, before and after; every kind
//! of power cut follows, and a start must find the old history, or a beginning of it that still has everything up to
//! the point in question, or the new tree. Nothing else.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ostler_node::disk_work::{Cut, save_tree, truncate, write_epoch};
use ostler_node::recover::{Recovered, recover, recover_member};
use ostler_store::epochs::{EpochFile, read_epoch};
use ostler_store::sim::{Fault, FaultPlan, PowerCut, SimDisk};
use ostler_store::{
    Compression, Dir, Disk, Error, FilePath, Limits, LogOptions, LogWriter, RestoreOptions, SnapshotOptions,
    SnapshotWriter, names,
};
use ostler_tree::{Store, TreeConfig, Walk};
use ostler_wire::Zxid;
use ostler_wire::disk::log_header;
use ostler_wire::txn::{CreateKind, CreateTxn, Txn, TxnEntry, TxnHeader};
use ostler_zab::{EpochKind, Limit};

const FAULTS: [Fault; 3] = [Fault::CrashBefore, Fault::CrashAfter, Fault::Error];

fn z(epoch: u32, counter: u32) -> Zxid {
    Zxid::new(epoch, counter)
}

fn entry(zxid: Zxid, branch: &str) -> TxnEntry {
    let path = format!("/{branch}{:x}", zxid.0);
    let kind = CreateKind::Plain { second: true, ephemeral: false };
    let create =
        CreateTxn { kind, path, data: Some(Bytes::from_static(b"data")), acl: None, parent_cversion: 1 };
    let header = TxnHeader { zxid, time_ms: 1000, ..TxnHeader::default() };
    TxnEntry { header, txn: Txn::Create(create), digest: None }
}

fn encoded(entry: &TxnEntry) -> Vec<u8> {
    let mut bytes = Vec::new();
    entry.encode(&mut bytes);
    bytes
}

/// A data directory in the making.
struct World {
    disk: SimDisk,
    store: Store,
    log: LogWriter<SimDisk>,
    /// The digest of the tree after each zxid.
    digests: BTreeMap<Zxid, i64>,
}

impl World {
    fn new(one_directory: bool) -> Self {
        let disk = SimDisk::new(one_directory);
        let store = Store::new(TreeConfig::default());
        let log = LogWriter::new(disk.clone(), log_options(), Zxid::ZERO);
        let digests = BTreeMap::from([(Zxid::ZERO, store.digest())]);
        let mut world = Self { disk, store, log, digests };
        world.snapshot(Compression::None);
        world
    }

    fn write(&mut self, zxids: impl IntoIterator<Item = Zxid>) {
        for zxid in zxids {
            let entry = entry(zxid, "old");
            self.log.append(zxid, &encoded(&entry));
            self.store.apply(&entry, &mut Vec::new());
            self.digests.insert(zxid, self.store.digest());
        }
        self.log.commit().unwrap();
    }

    fn snapshot(&mut self, compression: Compression) {
        self.log.roll();
        let last = self.store.last_zxid();
        self.snapshot_reaching(last, compression);
    }

    /// A snapshot that says that the tree had gone on so far when its walk ended.
    fn snapshot_reaching(&mut self, last: Zxid, compression: Compression) {
        let options = SnapshotOptions { compression, ..SnapshotOptions::default() };
        let mut walk = Walk::new(&self.store);
        let mut writer = SnapshotWriter::create(self.disk.clone(), walk.zxid(), &options).unwrap();
        let mut body = Vec::new();
        while !walk.next(&self.store, 256, 64 << 10, &mut body) {}
        writer.write(&body).unwrap();
        writer.finish(last, Some(self.store.digest())).unwrap();
    }

    /// Makes a snapshot one that seems whole and is not.
    fn spoil(&self, zxid: Zxid) {
        let path = FilePath::new(Dir::Snap, names::snapshot_name(zxid, Compression::None));
        assert!(self.disk.flip(&path, 40, 3));
    }

    /// What was found belongs to the old history, has everything up to `least`, and misses nothing on the way.
    fn check_old(&self, found: &Recovered, least: Zxid, context: &str) {
        assert!(found.last >= least, "{context}: {} is lost, the end is {}", least, found.last);
        assert_eq!(Some(&found.store.digest()), self.digests.get(&found.last), "{context}: {}", found.last);
    }
}

fn log_options() -> LogOptions {
    LogOptions { reserve_bytes: 4096, ..LogOptions::default() }
}

fn start(disk: &SimDisk) -> ostler_store::Result<Recovered> {
    recover(disk, RestoreOptions::default(), &TreeConfig::default())
}

fn cut(disk: &SimDisk, to: Zxid) -> ostler_store::Result<Cut> {
    truncate(disk, to, RestoreOptions::default(), &TreeConfig::default())
}

fn cut_to(disk: &SimDisk, to: Zxid, context: &str) -> Recovered {
    match cut(disk, to) {
        Ok(Cut::Done(recovered)) => *recovered,
        other => panic!("{context}: {other:?}"),
    }
}

/// Appends one more as the server goes on, and finds it again.
fn go_on(disk: &SimDisk, found: &Store, next: Zxid, context: &str) {
    let mut log = LogWriter::new(disk.clone(), log_options(), Zxid(-1));
    log.continue_after(found.last_zxid());
    log.append(next, &encoded(&entry(next, "new")));
    log.commit().unwrap();
    let again = start(disk).unwrap_or_else(|error| panic!("{context}: {error}"));
    assert_eq!((again.last, again.store.node_count()), (next, found.node_count() + 1), "{context}");
}

/// Does something with each of its mutating calls failing in each way, and gives every disk that may be left.
fn at_every_call<T>(
    disk: &SimDisk,
    work: impl Fn(&SimDisk) -> ostler_store::Result<T>,
    check: impl Fn(&SimDisk, &str),
) -> u64 {
    let whole = disk.fork();
    let begin = whole.ops();
    assert!(work(&whole).is_ok());
    let calls = whole.ops() - begin;
    let mut seen = BTreeSet::new();
    for call in begin..begin + calls {
        for fault in FAULTS {
            let disk = disk.fork();
            disk.plan(FaultPlan::at(call, fault));
            let _ = work(&disk);
            let context = format!("{fault:?} at {:?}", disk.trace().last().map(ToString::to_string));
            for kind in PowerCut::ALL {
                for seed in 0..4 {
                    let left = disk.power_cut(seed, kind);
                    if seen.insert(left.fingerprint()) {
                        check(&left, &format!("{context}, {kind:?}, seed {seed}"));
                    }
                }
            }
        }
    }
    calls
}

/// Histories to be cut, each with the point to cut it at.
fn histories(one_directory: bool) -> Vec<(&'static str, World, Zxid)> {
    let mut found = Vec::new();
    let mut world = World::new(one_directory);
    world.write((1..=9).map(|counter| z(1, counter)));
    found.push(("one log", world, z(1, 7)));

    let mut world = World::new(one_directory);
    world.write((1..=9).map(|counter| z(1, counter)));
    found.push(("one log, all of it", world, Zxid::ZERO));

    let mut world = World::new(one_directory);
    world.write((1..=4).map(|counter| z(1, counter)));
    world.snapshot(Compression::None);
    world.write((5..=9).map(|counter| z(1, counter)));
    world.snapshot(Compression::None);
    world.write((10..=12).map(|counter| z(1, counter)));
    world.log.roll();
    world.write((13..=14).map(|counter| z(1, counter)));
    found.push(("logs and a snapshot beyond", world, z(1, 7)));

    let mut world = World::new(one_directory);
    world.write((1..=4).map(|counter| z(1, counter)));
    world.log.roll();
    world.write((5..=9).map(|counter| z(1, counter)));
    world.snapshot(Compression::Gzip);
    found.push(("ZOOKEEPER-4837: nothing but a snapshot beyond", world, z(1, 8)));

    let mut world = World::new(one_directory);
    world.write((1..=6).map(|counter| z(1, counter)));
    world.snapshot_reaching(z(1, 9), Compression::None);
    world.write((7..=9).map(|counter| z(1, counter)));
    found.push(("a snapshot that began below and ended beyond", world, z(1, 7)));

    let mut world = World::new(one_directory);
    world.write((1..=4).map(|counter| z(1, counter)));
    world.write((1..=3).map(|counter| z(2, counter)));
    found.push(("the start of an epoch", world, z(2, 0)));
    found
}

#[test]
fn a_cut_keeps_everything_up_to_the_point_wherever_it_is_stopped() {
    for one_directory in [true, false] {
        for (name, world, to) in histories(one_directory) {
            // The start of an epoch is no transaction.
            let kept = if to == z(2, 0) { z(1, 4) } else { to };
            let calls = at_every_call(
                &world.disk,
                |disk| cut(disk, to),
                |disk, context| {
                    let context = format!("{name}, {context}");
                    let found = start(disk).unwrap_or_else(|error| panic!("{context}: {error}"));
                    world.check_old(&found, kept, &context);
                    // Who was stopped is told once more.
                    let cut = cut_to(disk, kept, &context);
                    assert_eq!(cut.last, kept, "{context}");
                    world.check_old(&cut, kept, &context);
                },
            );
            assert!(calls >= 3, "{name}: {calls}");
            let cut = cut_to(&world.disk, to, name);
            assert_eq!(cut.last, kept, "{name}");
            world.check_old(&cut, kept, name);
            let next = if to == z(2, 0) { z(2, 1) } else { kept.next() };
            go_on(&world.disk, &cut.store, next, name);
        }
    }
}

#[test]
fn what_cannot_be_cut_is_left_as_it_is() {
    let mut world = World::new(true);
    world.write((1..=9).map(|counter| z(1, counter)));
    world.snapshot(Compression::None);
    world.write([z(3, 1)]);
    let refused = |world: &World, to, name: &str| {
        let before = (world.disk.ops(), world.disk.fingerprint());
        let result = cut(&world.disk, to);
        assert!(matches!(result, Ok(Cut::Refused(_))), "{name}: {result:?}");
        assert_eq!((world.disk.ops(), world.disk.fingerprint()), before, "{name}");
    };
    refused(&world, z(2, 4), "an epoch that was never here");
    refused(&world, z(2, 0), "the start of such an epoch");
    refused(&world, z(3, 2), "beyond the end");
    world.spoil(Zxid::ZERO);
    refused(&world, z(1, 7), "no snapshot is left below");
    assert_eq!(cut_to(&world.disk, z(1, 9), "the snapshot itself").last, z(1, 9));

    let mut world = World::new(true);
    world.write((1..=5).map(|counter| z(1, counter)));
    world.log.roll();
    world.write((6..=9).map(|counter| z(1, counter)));
    world.snapshot(Compression::None);
    let lost = FilePath::new(Dir::Log, names::log_name(z(1, 1)));
    world.disk.unlink(&lost).unwrap();
    refused(&world, z(1, 7), "a log is missing below");
}

/// The tree of another history.
fn received(zxid: Zxid) -> Store {
    let mut store = Store::new(TreeConfig::default());
    store.apply(&entry(z(1, 1), "theirs"), &mut Vec::new());
    store.set_last_zxid(zxid);
    store
}

fn save(disk: &SimDisk, zxid: Zxid, compression: Compression) -> ostler_store::Result<(String, u64)> {
    let options = SnapshotOptions { compression, ..SnapshotOptions::default() };
    save_tree(disk, &received(zxid), zxid, &options, Limits::default())
}

#[test]
fn a_received_tree_is_all_or_nothing() {
    let mut cases = Vec::new();
    for one_directory in [true, false] {
        for (name, world, _) in histories(one_directory) {
            let points: &[Zxid] = if one_directory { &[z(1, 9), z(4, 4)] } else { &[z(1, 7), z(2, 0)] };
            for zxid in points.iter().copied() {
                cases.push((format!("{name}, to {zxid}"), world.disk.fork(), world.digests.clone(), zxid));
            }
        }
        let mut world = World::new(one_directory);
        for counters in [1..=6, 7..=8, 9..=9, 10..=11, 12..=12] {
            world.write(counters.map(|counter| z(1, counter)));
            world.snapshot(Compression::None);
        }
        world.write([z(1, 13)]);
        for spoilt in [8, 11, 12] {
            world.spoil(z(1, spoilt));
        }
        for zxid in [z(1, 5), z(1, 6), z(1, 9), z(1, 12)] {
            let name = format!("damaged snapshots beyond, to {zxid}");
            cases.push((name, world.disk.fork(), world.digests.clone(), zxid));
        }
    }
    for (name, disk, digests, zxid) in cases {
        for compression in [Compression::None, Compression::Gzip] {
            // The other name may rank on the other side of a snapshot of the same zxid.
            if compression == Compression::Gzip && !name.contains("beyond") {
                continue;
            }
            let theirs = received(zxid);
            at_every_call(
                &disk,
                |disk| save(disk, zxid, compression),
                |disk, context| {
                    let context = format!("{name}, {context}");
                    let found = start(disk).unwrap_or_else(|error| panic!("{context}: {error}"));
                    if found.store.digest() == theirs.digest() {
                        assert_eq!(found.last, zxid, "{context}: something was replayed on top of it");
                    } else {
                        let least = digests.range(..=zxid).next_back().map(|(zxid, _)| *zxid);
                        assert!(Some(found.last) >= least, "{context}: the end is {}", found.last);
                        assert_eq!(Some(&found.store.digest()), digests.get(&found.last), "{context}");
                    }
                },
            );
            let disk = disk.fork();
            // What an earlier tree put aside goes when the next one comes.
            disk.put(&FilePath::new(Dir::Log, "superseded.log.77"), &log_header());
            let (file, _) = save(&disk, zxid, compression).unwrap();
            let context = format!("{name}, whole");
            assert_eq!(names::snapshots(&disk).unwrap().len(), 1, "{context}");
            assert_eq!(names::logs(&disk).unwrap(), [], "{context}");
            assert!(!disk.exists(&FilePath::new(Dir::Log, "superseded.log.77")).unwrap(), "{context}");
            assert!(!names::superseded(&disk).unwrap().is_empty(), "{context}");
            let found = start(&disk).unwrap();
            assert_eq!(found.snapshot.as_ref(), Some(&file), "{context}");
            assert_eq!((found.last, found.store.digest()), (zxid, theirs.digest()), "{context}");
            assert_eq!(found.store.digest_check().mismatches, 0, "{context}");
            assert!(found.store.digest_check().pending, "{context}: the tree is a mixture");
            assert_eq!(found.history.base, zxid, "{context}");
            go_on(&disk, &found.store, zxid.next(), &context);
        }
    }
}

#[test]
fn without_space_a_tree_can_be_saved_later() {
    let mut world = World::new(true);
    world.write((1..=9).map(|counter| z(1, counter)));
    world.snapshot(Compression::None);
    let zxid = z(1, 7);
    let whole = world.disk.fork();
    let begin = whole.ops();
    save(&whole, zxid, Compression::None).unwrap();
    for call in begin..whole.ops() {
        let disk = world.disk.fork();
        disk.plan(FaultPlan::at(call, Fault::Full));
        let error = save(&disk, zxid, Compression::None).unwrap_err();
        assert!(error.is_full(), "{error}");
        save(&disk, zxid, Compression::None).unwrap();
        let found = start(&disk).unwrap();
        assert_eq!((found.last, found.store.digest()), (zxid, received(zxid).digest()), "{call}");
    }
}

#[test]
fn an_epoch_is_the_old_one_or_the_new_one() {
    let disk = SimDisk::new(false);
    for (which, file) in
        [(EpochKind::Accepted, EpochFile::Accepted), (EpochKind::Current, EpochFile::Current)]
    {
        write_epoch(&disk, which, 6).unwrap();
        let calls = at_every_call(
            &disk,
            |disk| write_epoch(disk, which, 7),
            |disk, context| {
                let found = read_epoch(disk, file).unwrap();
                assert!(found == Some(6) || found == Some(7), "{context}: {found:?}");
            },
        );
        assert!(calls >= 5, "{calls}");
        write_epoch(&disk, which, 7).unwrap();
        let after = disk.power_cut(0, PowerCut::DropUnsynced);
        assert_eq!(read_epoch(&after, file).unwrap(), Some(7));
    }
}

#[test]
fn the_end_of_the_log_is_kept_for_members_that_lag() {
    let mut world = World::new(false);
    world.write((1..=6).map(|counter| z(1, counter)));
    world.write((1..=3).map(|counter| z(2, counter)));
    let with = |disk: &SimDisk, options, count, bytes| {
        let found = recover_member(disk, options, &TreeConfig::default(), Limit { count, bytes }).unwrap();
        let zxids: Vec<Zxid> = found.history.proposals.iter().map(|proposal| proposal.zxid).collect();
        (found.history.base, zxids, found)
    };
    let options = RestoreOptions::default();
    let (base, zxids, found) = with(&world.disk, options, 500, 1 << 20);
    assert_eq!((base, zxids.len(), found.last), (Zxid::ZERO, 9, z(2, 3)));
    for proposal in &found.history.proposals {
        assert_eq!(proposal.bytes, encoded(&entry(proposal.zxid, "old")), "the bytes of the log");
    }
    let size = found.history.proposals[8].bytes.len();
    let (base, zxids, _) = with(&world.disk, options, 4, 1 << 20);
    assert_eq!((base, zxids), (z(1, 5), vec![z(1, 6), z(2, 1), z(2, 2), z(2, 3)]));
    let (base, zxids, _) = with(&world.disk, options, 500, size + 1);
    assert_eq!((base, zxids), (z(2, 2), vec![z(2, 3)]));
    let (base, zxids, _) = with(&world.disk, options, 0, 0);
    assert_eq!((base, zxids), (z(2, 3), vec![]));

    world.snapshot(Compression::None);
    world.write([z(2, 4)]);
    world.log.roll();
    world.write([z(2, 5)]);
    world.log.roll();
    world.write([z(2, 6), z(2, 7)]);
    let (base, zxids, _) = with(&world.disk, options, 500, 1 << 20);
    assert_eq!((base, zxids.len()), (z(2, 3), 4), "from the snapshot on");

    world.disk.unlink(&FilePath::new(Dir::Log, names::log_name(z(2, 5)))).unwrap();
    assert!(matches!(start(&world.disk), Err(Error::Gap { .. })));
    let gaps = RestoreOptions { allow_gaps: true, ..options };
    let (base, zxids, _) = with(&world.disk, gaps, 500, 1 << 20);
    assert_eq!((base, zxids), (z(2, 6), vec![z(2, 7)]), "nobody is led across a hole");
}
