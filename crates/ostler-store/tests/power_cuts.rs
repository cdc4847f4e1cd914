//! Life, crash, power cut, recovery: a small server (log, snapshots, purge, epochs over the plain tree) runs on the
//! simulated disk and is stopped at each of its mutating calls, before and after; every kind of power cut follows,
//! and what is restored must hold everything that was acknowledged and nothing by half.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use common::Naive;
use ostler_store::epochs::{EpochFile, read_epoch, write_epoch};
use ostler_store::purge::Purge;
use ostler_store::sim::{Fault, FaultPlan, PowerCut, Rng, SimDisk};
use ostler_store::snapshot::remove_temporaries;
use ostler_store::{
    Compression, Dir, Error, Limits, LogOptions, LogWriter, Origin, RestoreOptions, RestoreSink,
    SnapshotOptions, SnapshotWriter, mend, restore,
};
use ostler_wire::txn::{CreateKind, CreateTxn, DIGEST_VERSION, Txn, TxnDigest, TxnEntry, TxnHeader};
use ostler_wire::{Acl, SessionId, Zxid};

/// What happened outside of the disk: it survives every crash.
#[derive(Default)]
struct History {
    /// The tree after each zxid, for every transaction that was ever handed to the log and may be there.
    trees: BTreeMap<Zxid, Naive>,
    acknowledged: Zxid,
    /// The epoch that is surely written, and the one that may be.
    epoch: (i64, i64),
}

struct Server {
    disk: SimDisk,
    tree: Naive,
    log: LogWriter<SimDisk>,
    purge: Purge,
    rng: Rng,
    compression: Compression,
}

#[derive(Clone, Copy)]
struct Scenario {
    name: &'static str,
    compression: Compression,
    options: LogOptions,
    space_bytes: Option<u64>,
    one_directory: bool,
}

const SMALL: LogOptions = LogOptions { reserve_bytes: 4096, roll_bytes: 0, force_sync: true };

const SCENARIOS: [Scenario; 5] = [
    Scenario {
        name: "plain",
        compression: Compression::None,
        options: SMALL,
        space_bytes: None,
        one_directory: true,
    },
    Scenario {
        name: "gzip",
        compression: Compression::Gzip,
        options: SMALL,
        space_bytes: None,
        one_directory: false,
    },
    Scenario {
        name: "snappy, nothing reserved ahead",
        compression: Compression::Snappy,
        options: LogOptions { reserve_bytes: 0, ..SMALL },
        space_bytes: None,
        one_directory: true,
    },
    Scenario {
        name: "rolling by size",
        compression: Compression::None,
        options: LogOptions { roll_bytes: 3000, ..SMALL },
        space_bytes: None,
        one_directory: true,
    },
    Scenario {
        name: "full disk",
        compression: Compression::None,
        options: SMALL,
        space_bytes: Some(40_000),
        one_directory: true,
    },
];

impl Server {
    /// Recovers and goes on; checks what was recovered.
    fn start(disk: &SimDisk, scenario: Scenario, seed: u64, history: &mut History) -> Result<Self, Error> {
        let mut tree = Naive::default();
        let report = restore(disk, RestoreOptions::default(), &mut tree)?;
        let (last, acknowledged) = (report.last, history.acknowledged);
        assert!(last >= acknowledged, "acknowledged up to {acknowledged}, restored up to {last}: {report:?}");
        let want = history.trees.get(&last);
        assert!(
            want.is_none_or(|want| want.nodes == tree.nodes),
            "the tree of {last} is another: {report:?}"
        );
        assert!(want.is_some() || last == Zxid::ZERO, "{last} was never written");
        assert_eq!(tree.digest_mismatches, 0, "{report:?}");
        let epoch = read_epoch(disk, EpochFile::Current)?.unwrap_or(0);
        assert!(
            epoch == history.epoch.0 || epoch == history.epoch.1,
            "epoch {epoch}, not {:?}",
            history.epoch
        );
        // What comes after is gone for good: the next transaction takes its zxid.
        history.trees.retain(|zxid, _| *zxid <= last);
        if let Some(tail) = &report.tail {
            mend(disk, tail)?;
        }
        remove_temporaries(disk)?;
        // From here on others see it.
        history.acknowledged = last;
        history.epoch = (epoch, epoch);
        tree.last = last;
        let mut server = Self {
            disk: disk.clone(),
            log: LogWriter::new(disk.clone(), scenario.options, last),
            tree,
            purge: Purge::default(),
            rng: Rng::new(seed),
            compression: scenario.compression,
        };
        if !matches!(report.origin, Origin::Snapshot { .. }) || report.replayed > 0 {
            server.snapshot()?;
        }
        Ok(server)
    }

    fn snapshot(&mut self) -> Result<(), Error> {
        let options =
            SnapshotOptions { compression: self.compression, sync_every_bytes: 2048, last_zxid: true };
        let mut writer = match SnapshotWriter::create(self.disk.clone(), self.tree.last, &options) {
            Ok(writer) => writer,
            Err(error) => return passed_over(error),
        };
        for chunk in self.tree.snapshot_body().chunks(700) {
            if let Err(error) = writer.write(chunk) {
                writer.abort();
                return passed_over(error);
            }
        }
        match writer.finish(self.tree.last, Some(self.tree.snapshot_digest().digest)) {
            Ok((name, _)) => {
                self.purge.note_whole(&name);
                Ok(())
            }
            Err(error) => passed_over(error),
        }
    }

    fn turn(&mut self, history: &mut History) -> Result<(), Error> {
        for _ in 0..1 + self.rng.below(4) {
            let zxid = self.tree.last.next();
            let entry = self.next_entry(zxid);
            let mut bytes = Vec::new();
            entry.encode(&mut bytes);
            history.trees.insert(zxid, self.tree.clone());
            self.log.append(zxid, &bytes);
        }
        match self.log.commit() {
            Ok(durable) => history.acknowledged = durable,
            Err(Error::Full(_)) => {
                // The requests fail; what they would have done is taken back.
                self.log.drop_pending();
                let durable = self.log.durable();
                history.trees.retain(|zxid, _| *zxid <= durable);
                if let Some(tree) = history.trees.get(&durable) {
                    self.tree = tree.clone();
                }
            }
            Err(error) => return Err(error),
        }
        if self.rng.one_in(6) {
            self.log.roll();
            self.snapshot()?;
        }
        if self.rng.one_in(12) {
            self.purge.plan(&self.disk, 3, Limits::default())?.run(&self.disk)?;
        }
        if self.rng.one_in(12) {
            history.epoch.1 = history.epoch.0 + 1;
            match write_epoch(&self.disk, EpochFile::Current, history.epoch.1) {
                Ok(()) => history.epoch.0 = history.epoch.1,
                Err(error) => return passed_over(error),
            }
        }
        Ok(())
    }

    /// A transaction, already applied to the own tree.
    fn next_entry(&mut self, zxid: Zxid) -> TxnEntry {
        let data = match self.rng.below(5) {
            0 => None,
            // Zeros too: they look like what was never written.
            1 => Some(Bytes::from(vec![0; 700])),
            _ => Some(Bytes::from(vec![self.rng.next_u64() as u8; self.rng.below(1500) as usize])),
        };
        let path = format!("/n{}", self.rng.below(8));
        let txn = match self.rng.below(6) {
            0 => Txn::Delete { path },
            1 => Txn::Error { code: -101 },
            2 => Txn::SetAcl { path, acl: Some(vec![Acl::world(1)].into()), version: 1 },
            3 if self.tree.nodes.contains_key(&path) => Txn::SetData { path, data, version: 3 },
            _ => Txn::Create(CreateTxn {
                kind: CreateKind::Plain { second: true, ephemeral: false },
                path,
                data,
                acl: Some(Acl::open().into()),
                parent_cversion: -1,
            }),
        };
        let header = TxnHeader { session: SessionId(7), cxid: 1, zxid, time_ms: 1000 };
        let mut entry = TxnEntry { header, txn, digest: None };
        apply(&mut self.tree, &entry);
        entry.digest = Some(TxnDigest { version: DIGEST_VERSION, digest: self.tree.digest() });
        entry
    }
}

fn apply(tree: &mut Naive, entry: &TxnEntry) {
    let record =
        ostler_store::log::Record { offset: 0, end: 0, zxid: entry.header.zxid, bytes: Bytes::new() };
    tree.apply(ostler_store::Replayed { record, entry: entry.clone() }).expect("the plain tree takes all");
}

/// A full disk does no harm here; everything else ends the server.
fn passed_over(error: Error) -> Result<(), Error> {
    match error {
        Error::Disk(error) if error.is_full() => Ok(()),
        other => Err(other),
    }
}

/// Runs until the planned fault stops it, or to the end of the scenario.
fn live(disk: &SimDisk, scenario: Scenario, seed: u64, turns: usize, history: &mut History) -> bool {
    let run = |history: &mut History| -> Result<(), Error> {
        let mut server = Server::start(disk, scenario, seed, history)?;
        for _ in 0..turns {
            server.turn(history)?;
        }
        Ok(())
    };
    match run(history) {
        Ok(()) => true,
        Err(Error::Disk(_) | Error::Broken) => false,
        Err(other) => panic!("{}: {other}", scenario.name),
    }
}

fn planned(scenario: Scenario, number: u64, fault: Fault) -> FaultPlan {
    FaultPlan::at(number, fault).space(scenario.space_bytes)
}

/// One life that ends at a call, a cut, a recovery that is itself stopped and cut, and another recovery.
fn crash_at(scenario: Scenario, number: u64, fault: Fault, cut: PowerCut, images: &mut BTreeSet<u64>) {
    let mut history = History::default();
    let disk = SimDisk::new(scenario.one_directory);
    disk.plan(planned(scenario, number, fault));
    live(&disk, scenario, 11 + number % 5, TURNS, &mut history);
    let seed = number * 7 + cut as u64;
    if number % 3 == 1 && !matches!(fault, Fault::Error | Fault::Short) {
        // Only the process died: another one goes on, and then the power fails.
        let disk = disk.revive();
        disk.plan(FaultPlan::at(disk.ops() + seed % 20, Fault::CrashAfter).space(scenario.space_bytes));
        live(&disk, scenario, 14, 2, &mut history);
    }
    let after = disk.power_cut(seed, cut);
    images.insert(after.fingerprint());
    // The second crash comes within the recovery.
    let mut rng = Rng::new(seed);
    after.plan(planned(scenario, rng.below(12), Fault::CrashAfter));
    live(&after, scenario, 12, 3, &mut history);
    let again = after.power_cut(rng.next_u64(), cut);
    again.plan(FaultPlan::default());
    assert!(live(&again, scenario, 13, 2, &mut history), "{} does not start after #{number}", scenario.name);
}

/// Rounds of transactions in a life.
const TURNS: usize = 10;

const FAULTS: [Fault; 5] =
    [Fault::CrashAfter, Fault::CrashBefore, Fault::CrashAfter, Fault::Error, Fault::Short];

#[test]
fn every_call_may_be_the_last_one() {
    let mut images = BTreeSet::new();
    let mut recoveries = 0_u64;
    for scenario in SCENARIOS {
        let disk = SimDisk::new(scenario.one_directory);
        disk.plan(FaultPlan::default().space(scenario.space_bytes));
        live(&disk, scenario, 11, TURNS, &mut History::default());
        let calls = disk.ops();
        assert!(calls > 40, "{}: only {calls} calls", scenario.name);
        for number in 0..calls {
            for (i, cut) in PowerCut::ALL.into_iter().enumerate() {
                // A crash before a call is the crash after the one before it; what was dropped differs.
                let fault = FAULTS[(number as usize + i) % FAULTS.len()];
                crash_at(scenario, number, fault, cut, &mut images);
                recoveries += 2;
            }
        }
    }
    assert!(recoveries > 3_000 && images.len() > 300, "{recoveries} recoveries of {} images", images.len());
    println!("{recoveries} recoveries of {} images", images.len());
}

#[test]
fn what_is_not_synced_may_be_lost() {
    // The test of the test: a log that acknowledges before it syncs is caught.
    for (force_sync, survives) in [(true, Zxid(1)), (false, Zxid::ZERO)] {
        let disk = SimDisk::new(true);
        let mut log = LogWriter::new(disk.clone(), LogOptions { force_sync, ..SMALL }, Zxid::ZERO);
        let header = TxnHeader { zxid: Zxid(1), ..TxnHeader::default() };
        let mut bytes = Vec::new();
        TxnEntry { header, txn: Txn::Error { code: -1 }, digest: None }.encode(&mut bytes);
        log.append(Zxid(1), &bytes);
        assert_eq!(log.commit().unwrap(), Zxid(1));
        let options = RestoreOptions { trust_empty: true, ..RestoreOptions::default() };
        let cut = disk.power_cut(1, PowerCut::DropUnsynced);
        assert_eq!(restore(&cut, options, &mut Naive::default()).unwrap().last, survives);
    }
}

#[test]
fn a_full_disk_is_not_a_broken_one() {
    let disk = SimDisk::new(true);
    disk.plan(FaultPlan::default().space(Some(20_000)));
    let options = LogOptions { reserve_bytes: 16_384, ..SMALL };
    let mut log = LogWriter::new(disk.clone(), options, Zxid::ZERO);
    let mut zxid = Zxid::ZERO;
    let durable = loop {
        zxid = zxid.next();
        let mut bytes = Vec::new();
        let header = TxnHeader { session: SessionId(1), cxid: 1, zxid, time_ms: 0 };
        let txn = Txn::SetData { path: "/".into(), data: Some(vec![1; 900].into()), version: 0 };
        TxnEntry { header, txn, digest: None }.encode(&mut bytes);
        log.append(zxid, &bytes);
        match log.commit() {
            Ok(durable) => assert_eq!(durable, zxid),
            Err(Error::Full(_)) => break log.durable(),
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(durable.next(), zxid);
    assert_eq!(durable.0, 20, "the last bytes of the disk are used, though a whole step does not fit");
    assert!(matches!(log.commit(), Err(Error::Full(_))), "still full");
    disk.plan(FaultPlan::default());
    assert_eq!(log.commit().unwrap(), zxid, "the entry was kept");
    let mut tree = Naive::default();
    let options = RestoreOptions { trust_empty: true, ..RestoreOptions::default() };
    assert_eq!(restore(&disk, options, &mut tree).unwrap().last, zxid);
}

#[test]
fn a_failed_sync_closes_the_log() {
    let disk = SimDisk::new(true);
    let mut log = LogWriter::new(disk.clone(), SMALL, Zxid::ZERO);
    log.append(Zxid(1), &[0; 40]);
    log.commit().unwrap();
    disk.plan(FaultPlan::at_next(ostler_store::DiskOp::SyncData, Fault::Error));
    log.append(Zxid(2), &[0; 40]);
    assert!(matches!(log.commit(), Err(Error::Disk(_))));
    assert!(matches!(log.commit(), Err(Error::Broken)), "never a second sync");
    assert_eq!(log.durable(), Zxid(1));
}

#[test]
fn a_snapshot_for_which_there_is_no_space_leaves_nothing() {
    use ostler_store::Disk;
    for compression in [Compression::None, Compression::Gzip, Compression::Snappy] {
        let disk = SimDisk::new(true);
        let options = SnapshotOptions { compression, ..SnapshotOptions::default() };
        let mut rng = Rng::new(1);
        disk.plan(FaultPlan::default().space(Some(10_000)));
        let mut writer = SnapshotWriter::create(disk.clone(), Zxid(5), &options).unwrap();
        let noise: Vec<u8> = (0..20_000).map(|_| rng.next_u64() as u8).collect();
        let error = match writer.write(&noise) {
            Ok(()) => writer.finish(Zxid::ZERO, None).expect_err("no space"),
            Err(error) => {
                writer.abort();
                error
            }
        };
        assert!(matches!(error, Error::Disk(error) if error.is_full()));
        assert_eq!(disk.list(Dir::Snap).unwrap(), Vec::<String>::new());
    }
}
