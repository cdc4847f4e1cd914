//! The one order of transactions, read from the logs of all members after a round.
//!
//! Two copies of a zxid must be the same bytes. An epoch's end is where members that lived through it went on to the
//! next one; what a log has beyond that was proposed by a leader that lost its epoch, and was never agreed on. Such
//! ends are left over where a whole tree came from the leader instead of a cut: Ostler puts those logs aside, Apache
//! lets them lie below the snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use ostler_store::log::{LogReader, named};
use ostler_store::names;
use ostler_store::sim::SimDisk;
use ostler_store::{Dir, FilePath, Named};
use ostler_wire::Zxid;
use ostler_wire::txn::{Txn, TxnEntry};

/// What the logs of a member say.
#[derive(Debug, Default, Clone)]
pub(super) struct Book {
    /// What a start would find, in order.
    pub(super) current: Vec<(Zxid, Bytes)>,
    /// What was put aside, file by file.
    pub(super) aside: Vec<Vec<(Zxid, Bytes)>>,
    /// The zxids that snapshots begin at.
    pub(super) snapshots: BTreeSet<Zxid>,
}

/// The order, and what was left out of it.
#[derive(Debug, Default)]
pub(super) struct Truth {
    /// Every transaction that was agreed on, oldest first.
    pub(super) entries: Vec<TxnEntry>,
    /// How many are in a log and were never agreed on.
    pub(super) stranded: usize,
}

/// A data directory as the disk of a simulator: nothing that reads it changes it.
pub(super) fn load(data: &Path) -> Result<SimDisk> {
    let disk = SimDisk::new(true);
    let version = data.join("version-2");
    for entry in std::fs::read_dir(&version).with_context(|| format!("list {}", version.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            let name = entry.file_name().to_string_lossy().into_owned();
            disk.put(&FilePath::new(Dir::Snap, name), &std::fs::read(entry.path())?);
        }
    }
    Ok(disk)
}

/// Reads the logs of a member.
pub(super) fn read(disk: &SimDisk) -> Result<Book> {
    let mut book = Book::default();
    for log in names::logs(disk)? {
        read_log(disk, &log, &mut book.current)?;
    }
    for path in names::superseded(disk)? {
        let Some((_, hex)) = path.name.rsplit_once("log.") else { continue };
        let Ok(zxid) = i64::from_str_radix(hex, 16) else { continue };
        let mut records = Vec::new();
        // It may have been put aside because it was damaged.
        let _ = read_log(disk, &named(path, Zxid(zxid)), &mut records);
        book.aside.push(records);
    }
    book.snapshots = names::snapshots(disk)?.into_iter().map(|snapshot| snapshot.zxid).collect();
    Ok(book)
}

fn read_log(disk: &SimDisk, log: &Named, out: &mut Vec<(Zxid, Bytes)>) -> Result<()> {
    let mut reader = LogReader::open(disk, log)?;
    while let Some(record) = reader.read()? {
        out.push((record.zxid, record.bytes));
    }
    Ok(())
}

/// Makes one order of them, or says why that cannot be.
pub(super) fn unite(books: &[Book]) -> Result<Truth> {
    let mut known: BTreeMap<Zxid, (usize, &Bytes)> = BTreeMap::new();
    let mut current: BTreeSet<Zxid> = BTreeSet::new();
    for (member, book) in books.iter().enumerate() {
        for pair in book.current.windows(2) {
            ensure!(
                pair[0].0 < pair[1].0,
                "the log of member {} has {} before {}",
                member + 1,
                pair[0].0,
                pair[1].0
            );
        }
        current.extend(book.current.iter().map(|(zxid, _)| *zxid));
        for (zxid, bytes) in book.current.iter().chain(book.aside.iter().flatten()) {
            match known.get(zxid) {
                Some((other, copy)) if *copy != bytes => match better_of(copy, bytes) {
                    Some(first) => {
                        if !first {
                            known.insert(*zxid, (member, bytes));
                        }
                    }
                    None => bail!(
                        "{zxid} is one transaction at member {} and another at member {}:\n  {:?}\n  {:?}",
                        other + 1,
                        member + 1,
                        TxnEntry::decode(copy),
                        TxnEntry::decode(bytes)
                    ),
                },
                Some(_) => {}
                None => {
                    known.insert(*zxid, (member, bytes));
                }
            }
        }
    }
    let ends = ends_of_epochs(books)?;
    let newest = current.last().copied().unwrap_or_default();
    let mut truth = Truth::default();
    let mut last = Zxid::ZERO;
    for (zxid, (member, bytes)) in known {
        let is_beyond = match ends.get(&zxid.epoch()) {
            Some((end, _)) => zxid.counter() > *end,
            None => zxid > newest,
        };
        if is_beyond {
            truth.stranded += 1;
            continue;
        }
        let entry = TxnEntry::decode(bytes)
            .with_context(|| format!("{zxid} in the log of member {} cannot be read", member + 1))?;
        ensure!(
            ostler_store::replay::follows(last, zxid),
            "after {last} comes {zxid} in the logs of all members: what was between them is in none"
        );
        if last.epoch() != zxid.epoch()
            && let Some((end, member)) = ends.get(&last.epoch())
        {
            ensure!(
                *end == last.counter(),
                "epoch {} ends at {last} in all logs, and at {end:#x} for member {}",
                last.epoch(),
                member + 1
            );
        }
        last = zxid;
        truth.entries.push(entry);
    }
    Ok(truth)
}

/// Whether the first of two copies is the one to go by, if they are one transaction all the same. Apache's server
/// writes without its digest what reaches it before it is up to date. And when a multi has failed, it turns the parts
/// before the failure into errors as it applies it, in memory and without their bodies; whom it later brings up to
/// date from memory logs those: an error whose code is the length of a path.
fn better_of(left: &Bytes, right: &Bytes) -> Option<bool> {
    let (left, right) = (TxnEntry::decode(left).ok()?, TxnEntry::decode(right).ok()?);
    let is_overwritten = |part: &Txn| matches!(part, Txn::Error { code } if *code > 0);
    let parts = |txn: &Txn| match txn {
        Txn::Multi(parts) if txn.is_failed_multi() => parts.clone(),
        _ => Vec::new(),
    };
    let (these, those) = (parts(&left.txn), parts(&right.txn));
    let fits = |(this, that): (&Txn, &Txn)| this == that || is_overwritten(this) || is_overwritten(that);
    let is_same_txn = left.txn == right.txn
        || (!these.is_empty() && these.len() == those.len() && these.iter().zip(&those).all(fits));
    let is_same_digest = left.digest == right.digest || left.digest.is_none() || right.digest.is_none();
    let worth = |entry: &TxnEntry, parts: &[Txn]| (!parts.iter().any(is_overwritten), entry.digest.is_some());
    (left.header == right.header && is_same_txn && is_same_digest)
        .then(|| worth(&left, &these) >= worth(&right, &those))
}

/// Where each epoch ended, and the member that says so, from whoever went from one to the next without a tree from a
/// leader in between. The first transaction of an epoch is written by those only that its leader brought up to date
/// with a quorum behind it, so that holds for logs that were put aside later as well.
fn ends_of_epochs(books: &[Book]) -> Result<BTreeMap<u32, (u32, usize)>> {
    let mut ends: BTreeMap<u32, (u32, usize)> = BTreeMap::new();
    for (member, book) in books.iter().enumerate() {
        let aside = book.aside.iter().flat_map(|records| records.windows(2));
        for pair in book.current.windows(2).chain(aside) {
            let (before, after) = (pair[0].0, pair[1].0);
            let by_snapshot = book.snapshots.range(before..after).any(|zxid| *zxid > before);
            if before.epoch() == after.epoch() || after.counter() != 1 || by_snapshot {
                continue;
            }
            for epoch in before.epoch()..after.epoch() {
                let end = if epoch == before.epoch() { before.counter() } else { 0 };
                let (known, other) = *ends.entry(epoch).or_insert((end, member));
                ensure!(
                    known == end,
                    "epoch {epoch} ended at {known:#x} for member {} and at {end:#x} for member {}",
                    other + 1,
                    member + 1
                );
            }
        }
    }
    Ok(ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    use ostler_wire::SessionId;
    use ostler_wire::txn::TxnHeader;

    fn entry(epoch: u32, counter: u32, session: i64) -> (Zxid, Bytes) {
        let zxid = Zxid::new(epoch, counter);
        let header = TxnHeader { session: SessionId(session), cxid: 0, zxid, time_ms: 5 };
        let txn = Txn::CreateSession { timeout_ms: 4_000 };
        let mut bytes = Vec::new();
        TxnEntry { header, txn, digest: None }.encode(&mut bytes);
        (zxid, Bytes::from(bytes))
    }

    fn book(current: &[(Zxid, Bytes)]) -> Book {
        Book { current: current.to_vec(), ..Book::default() }
    }

    #[test]
    fn logs_make_one_order() {
        let (a, b, c) = (entry(1, 1, 1), entry(1, 2, 2), entry(2, 1, 3));
        let truth = unite(&[book(&[a.clone(), b.clone()]), book(&[b, c]), book(&[a])]).unwrap();
        assert_eq!(truth.entries.len(), 3);
    }

    #[test]
    fn a_zxid_is_one_transaction() {
        assert!(unite(&[book(&[entry(1, 1, 1)]), book(&[entry(1, 1, 2)])]).is_err());
    }

    #[test]
    fn a_failed_multi_may_have_lost_its_first_parts() {
        let multi = |parts: Vec<Txn>| {
            let zxid = Zxid::new(1, 1);
            let header = TxnHeader { session: SessionId(1), cxid: 1, zxid, time_ms: 5 };
            let mut bytes = Vec::new();
            TxnEntry { header, txn: Txn::Multi(parts), digest: None }.encode(&mut bytes);
            (zxid, Bytes::from(bytes))
        };
        let whole = multi(vec![Txn::Delete { path: "/a".to_owned() }, Txn::Error { code: -101 }]);
        let overwritten = multi(vec![Txn::Error { code: 2 }, Txn::Error { code: -101 }]);
        let another = multi(vec![Txn::Delete { path: "/b".to_owned() }, Txn::Error { code: -101 }]);
        let (whole, overwritten) = (book(&[whole]), book(&[overwritten]));
        for books in [[whole.clone(), overwritten.clone()], [overwritten, whole.clone()]] {
            let truth = unite(&books).unwrap();
            assert!(
                matches!(&truth.entries[0].txn, Txn::Multi(parts) if matches!(parts[0], Txn::Delete { .. }))
            );
        }
        assert!(unite(&[whole, book(&[another])]).is_err());
    }

    #[test]
    fn a_hole_in_all_logs_is_seen() {
        assert!(unite(&[book(&[entry(1, 1, 1), entry(1, 3, 1)])]).is_err());
    }

    #[test]
    fn members_agree_on_where_an_epoch_ended() {
        let (a, b, c) = (entry(1, 1, 1), entry(1, 2, 2), entry(2, 1, 3));
        assert!(unite(&[book(&[a.clone(), b, c.clone()]), book(&[a, c])]).is_err());
    }

    #[test]
    fn a_stranded_end_below_a_snapshot_is_left_out() {
        let (a, b, c) = (entry(1, 1, 1), entry(1, 2, 2), entry(2, 1, 3));
        let mut learner = book(&[a.clone(), b, entry(2, 2, 4)]);
        learner.snapshots.insert(Zxid::new(2, 1));
        let truth = unite(&[learner, book(&[a, c, entry(2, 2, 4)])]).unwrap();
        assert_eq!((truth.entries.len(), truth.stranded), (3, 1));
    }
}
