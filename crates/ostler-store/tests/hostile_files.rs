//! Files that rotted, were cut, or are nonsense: every flipped bit is noticed or does no harm, every cut gives a
//! prefix, and nothing panics or takes memory for what is not there.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::Naive;
use ostler_store::epochs::{EpochFile, Epochs, load_epochs, read_epoch, write_epoch};
use ostler_store::log::{End, LogReader};
use ostler_store::purge::purge;
use ostler_store::sim::{Rng, SimDisk};
use ostler_store::snapshot::{Ignore, is_plausible, read, verify};
use ostler_store::{
    Compression, Dir, Disk, Error, FilePath, Limits, LogOptions, LogWriter, Named, RestoreOptions,
    RestoreSink, SnapshotOptions, SnapshotWriter, Warning, names, restore,
};
use ostler_wire::txn::{Txn, TxnEntry, TxnHeader};
use ostler_wire::{SessionId, Zxid};
use proptest::prelude::*;

const OPTIONS: LogOptions = LogOptions { reserve_bytes: 4096, roll_bytes: 0, force_sync: true };

fn entry(zxid: Zxid, data: Vec<u8>) -> Vec<u8> {
    let header = TxnHeader { session: SessionId(1), cxid: 1, zxid, time_ms: 0 };
    let txn = Txn::SetData { path: "/".into(), data: Some(data.into()), version: 0 };
    let mut bytes = Vec::new();
    TxnEntry { header, txn, digest: None }.encode(&mut bytes);
    bytes
}

/// A log with these sizes of data, one commit each, and the offset behind its last record.
fn write_log(disk: &SimDisk, sizes: &[usize]) -> u64 {
    let mut log = LogWriter::new(disk.clone(), OPTIONS, Zxid::ZERO);
    for (i, size) in sizes.iter().enumerate() {
        let zxid = Zxid(i as i64 + 1);
        log.append(zxid, &entry(zxid, vec![0xa5 ^ i as u8; *size]));
        log.commit().unwrap();
    }
    log.current().unwrap().1
}

fn log_path() -> FilePath {
    FilePath::new(Dir::Log, "log.1")
}

fn file_bytes(disk: &SimDisk, path: &FilePath) -> Vec<u8> {
    disk.read_small(path, usize::MAX).unwrap().unwrap()
}

fn replayed(disk: &SimDisk) -> Result<(Zxid, Vec<Warning>), Error> {
    let options = RestoreOptions { trust_empty: true, ..RestoreOptions::default() };
    let report = restore(disk, options, &mut Naive::default())?;
    let odd = report.warnings.into_iter().filter(|warning| *warning != Warning::NoSnapshot).collect();
    Ok((report.last, odd))
}

#[test]
fn the_simulated_disk_keeps_the_contract() {
    for one_directory in [true, false] {
        ostler_store::disk::contract::run(&SimDisk::new(one_directory));
    }
}

#[test]
fn every_flipped_bit_of_a_log_is_noticed() {
    let disk = SimDisk::new(true);
    let end = write_log(&disk, &[0, 30, 600, 5, 1200, 64]);
    let bytes = file_bytes(&disk, &log_path());
    assert_eq!(replayed(&disk).unwrap(), (Zxid(6), vec![]));
    let mut unnoticed = Vec::new();
    for at in 0..end {
        for bit in 0..8 {
            let flipped = SimDisk::new(true);
            flipped.put(&log_path(), &bytes);
            flipped.flip(&log_path(), at, bit);
            match replayed(&flipped) {
                Err(_) => {}
                // The database id means nothing to anyone.
                Ok((Zxid(6), _)) if (8..16).contains(&at) => {}
                Ok(other) => unnoticed.push((at, bit, other)),
            }
        }
    }
    assert!(unnoticed.is_empty(), "{unnoticed:?}");
}

#[test]
fn a_log_that_is_cut_anywhere_gives_a_prefix() {
    let disk = SimDisk::new(true);
    let end = write_log(&disk, &[0, 30, 600, 5]);
    let bytes = file_bytes(&disk, &log_path());
    let mut ends = Vec::new();
    let mut reader = LogReader::open(&disk, &names::logs(&disk).unwrap()[0]).unwrap();
    while let Some(record) = reader.read().unwrap() {
        ends.push(record.end);
    }
    assert_eq!((reader.end(), ends.last()), (Some(End::Clean), Some(&end)));
    for cut in 0..end {
        let whole = ends.iter().filter(|end| **end <= cut).count();
        for zeros in [false, true] {
            let mut left = bytes[..usize::try_from(cut).unwrap()].to_vec();
            if zeros {
                left.resize(bytes.len(), 0);
            }
            let disk = SimDisk::new(true);
            disk.put(&log_path(), &left);
            let (last, _) = replayed(&disk).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
            assert_eq!(last, Zxid(whole as i64), "cut at {cut}, zeros after it: {zeros}");
        }
    }
}

#[test]
fn any_sectors_of_an_unsynced_batch_may_be_missing() {
    let disk = SimDisk::new(true);
    let mut log = LogWriter::new(disk.clone(), OPTIONS, Zxid::ZERO);
    log.append(Zxid(1), &entry(Zxid(1), vec![1; 300]));
    log.commit().unwrap();
    let begin = log.current().unwrap().1;
    for (zxid, size) in [(2, 500), (3, 20), (4, 1500), (5, 10)] {
        log.append(Zxid(zxid), &entry(Zxid(zxid), vec![7; size]));
    }
    log.commit().unwrap();
    let end = log.current().unwrap().1;
    let bytes = file_bytes(&disk, &log_path());
    let sectors: Vec<u64> = (begin / 512..end.div_ceil(512)).collect();
    for lost in 0..1_u32 << sectors.len() {
        let mut left = bytes.clone();
        for (i, sector) in sectors.iter().enumerate() {
            if lost & (1 << i) != 0 {
                let from = (sector * 512).max(begin);
                let to = (sector * 512 + 512).min(end);
                left[usize::try_from(from).unwrap()..usize::try_from(to).unwrap()].fill(0);
            }
        }
        let disk = SimDisk::new(true);
        disk.put(&log_path(), &left);
        let (last, _) = replayed(&disk).unwrap_or_else(|error| panic!("sectors {lost:b} lost: {error}"));
        assert!(last >= Zxid(1) && (lost != 0 || last == Zxid(5)), "sectors {lost:b} lost: {last}");
    }
}

fn snapshot(disk: &SimDisk, zxid: i64, compression: Compression) -> Named {
    let mut tree = Naive::default();
    tree.fresh();
    let options = SnapshotOptions { compression, ..SnapshotOptions::default() };
    let mut writer = SnapshotWriter::create(disk.clone(), Zxid(zxid), &options).unwrap();
    writer.write(&tree.snapshot_body()).unwrap();
    tree.last = Zxid(zxid);
    let (name, _) = writer.finish(tree.last, Some(tree.snapshot_digest().digest)).unwrap();
    Named { path: FilePath::new(Dir::Snap, name), zxid: Zxid(zxid), compression }
}

#[test]
fn every_flipped_bit_of_a_snapshot_is_noticed() {
    for compression in [Compression::None, Compression::Gzip, Compression::Snappy] {
        let disk = SimDisk::new(true);
        let named = snapshot(&disk, 5, compression);
        let good = verify(&disk, &named, Limits::default()).unwrap();
        assert_eq!((good.nodes, good.last_processed), (4, Some(Zxid(5))));
        assert_eq!(
            good.digest.map(|digest| digest.digest),
            Some(1_371_985_504),
            "the digest of an empty tree"
        );
        let bytes = file_bytes(&disk, &named.path);
        for at in 0..bytes.len() as u64 {
            for bit in 0..8 {
                disk.flip(&named.path, at, bit);
                if let Ok(other) = verify(&disk, &named, Limits::default()) {
                    // A byte of a gzip header, or of snappy's versions, that changes no content.
                    assert!(
                        compression != Compression::None && other == good,
                        "{compression:?}: bit {bit} of {at}"
                    );
                }
                disk.flip(&named.path, at, bit);
            }
        }
        for cut in 0..bytes.len() {
            let disk = SimDisk::new(true);
            disk.put(&named.path, &bytes[..cut]);
            if let Ok(left) = verify(&disk, &named, Limits::default()) {
                // Cut behind a seal: the tree is whole, and what follows is optional.
                assert!(
                    compression == Compression::None && left.nodes == good.nodes,
                    "{compression:?} cut at {cut}"
                );
            }
        }
    }
}

#[test]
fn a_bomb_is_not_unpacked() {
    let disk = SimDisk::new(true);
    let options = SnapshotOptions { compression: Compression::Gzip, ..SnapshotOptions::default() };
    let mut writer = SnapshotWriter::create(disk.clone(), Zxid(1), &options).unwrap();
    // No sessions, no ACLs, and a node whose data claims 1 GiB of zeros.
    writer.write(&[0; 8]).unwrap();
    writer.write(&[0, 0, 0, 0, 0x40, 0, 0, 0]).unwrap();
    for _ in 0..64 {
        writer.write(&[0; 1 << 16]).unwrap();
    }
    let (name, _) = writer.finish(Zxid::ZERO, None).unwrap();
    let path = FilePath::new(Dir::Snap, name);
    let named = Named { path, zxid: Zxid(1), compression: Compression::Gzip };
    let error = read(&disk, &named, Limits::default(), &mut Ignore).expect_err("too long a field");
    assert!(error.to_string().contains("unreasonable length"), "{error}");
}

#[test]
fn purge_keeps_whole_snapshots_and_the_logs_after_them() {
    let disk = SimDisk::new(true);
    for zxid in [0, 10, 20, 30, 40] {
        snapshot(&disk, zxid, Compression::None);
    }
    for log in [1, 9, 15, 21, 35] {
        disk.put(&FilePath::new(Dir::Log, names::log_name(Zxid(log))), b"");
    }
    disk.put(&FilePath::new(Dir::Log, "log.xyz"), b"");
    // It looks whole, and is not.
    let rotten = names::snapshots(&disk).unwrap()[3].clone();
    assert!(disk.flip(&rotten.path, 30, 1) && is_plausible(&disk, &rotten).unwrap());
    let removed = purge(&disk, 1, Limits::default()).unwrap();
    let removed: Vec<_> = removed.into_iter().map(|path| path.name).collect();
    assert_eq!(removed, ["snapshot.0", "log.1"], "three whole ones stay: 10, 20 and 40");
    assert!(purge(&disk, 1, Limits::default()).unwrap().is_empty());
}

#[test]
fn epochs_that_lag_behind_the_history_are_mended_only_if_they_were_accepted() {
    let disk = SimDisk::new(true);
    let fresh = load_epochs(&disk, Zxid::new(2, 7)).unwrap();
    assert_eq!(fresh, Epochs { accepted: 2, current: 2 }, "as the history says");
    assert!(load_epochs(&disk, Zxid::new(3, 1)).is_err(), "3 was never accepted");
    write_epoch(&disk, EpochFile::Accepted, 3).unwrap();
    assert_eq!(load_epochs(&disk, Zxid::new(3, 1)).unwrap(), Epochs { accepted: 3, current: 3 });
    disk.put(&FilePath::new(Dir::Snap, "acceptedEpoch"), b"2");
    assert!(load_epochs(&disk, Zxid::new(3, 1)).is_err(), "accepted is behind current");
    for nonsense in ["", "x", "-1", "3x", " 3", "99999999999"] {
        disk.put(&FilePath::new(Dir::Snap, "acceptedEpoch"), nonsense.as_bytes());
        assert!(read_epoch(&disk, EpochFile::Accepted).is_err(), "{nonsense:?}");
    }
    disk.put(&FilePath::new(Dir::Snap, "acceptedEpoch"), b"17\n");
    assert_eq!(read_epoch(&disk, EpochFile::Accepted).unwrap(), Some(17));
}

proptest! {
    #[test]
    fn nonsense_is_refused_without_a_panic(seed: u64, log: Vec<u8>, snapshot: Vec<u8>, good_start: bool) {
        let mut rng = Rng::new(seed);
        let disk = SimDisk::new(true);
        let mut bytes = log;
        if good_start {
            bytes.splice(0..0, ostler_wire::disk::log_header());
        }
        disk.put(&log_path(), &bytes);
        let _ = replayed(&disk);
        for compression in [Compression::None, Compression::Gzip, Compression::Snappy] {
            let path = FilePath::new(Dir::Snap, names::snapshot_name(Zxid(1), compression));
            let mut bytes = snapshot.clone();
            if good_start {
                bytes.splice(0..0, ostler_wire::disk::snapshot_header());
                bytes.extend_from_slice(&rng.next_u64().to_be_bytes());
            }
            disk.put(&path, &bytes);
            let named = Named { path, zxid: Zxid(1), compression };
            prop_assert!(verify(&disk, &named, Limits::default()).is_err());
        }
    }
}
