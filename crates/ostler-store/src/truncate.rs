//! Forgetting the end of the own history, because no quorum has it. Answers to Java's `FileTxnLog.truncate`, which
//! cuts before it deletes, syncs nothing, and leaves snapshots that hold what was cut (ZOOKEEPER-4837).
//!
//! A crash at any step leaves a directory that restores to a beginning of the old history which still has everything
//! up to the point of the cut:
//!
//! 1. Nothing is touched before it is known that a snapshot low enough can be read, and that the logs go on from it
//!    without a hole to the point and beyond.
//! 2. Snapshots that hold more are put aside. A start then finds an older one and replays all of the logs.
//! 3. Logs that begin beyond the point are removed, newest first, each for good before the next: never is there a
//!    hole.
//! 4. The log with the point in it is cut there: one call, before or after which the crash is.
//!
//! Whoever writes the log has closed it, and nobody purges meanwhile.

use ostler_wire::Zxid;
use ostler_wire::zoo::{self, Mutation};

use crate::disk::{Dir, Disk};
use crate::error::{Error, Result};
use crate::log::LogReader;
use crate::names::{self, Named};
use crate::replay::Replay;
use crate::restore::RestoreOptions;
use crate::snapshot::{self, SnapshotInfo};
use crate::supersede::put_aside;

/// What became of a wish to cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Truncation {
    /// The history ends with this zxid now, durably. It is the one that was asked for, or, if that is the start of
    /// an epoch, which is no transaction, the last one before it.
    Done(Zxid),
    /// Nothing was changed, for this reason.
    Refused(&'static str),
}

/// Cuts the history behind `to`.
pub fn truncate<D: Disk + Clone>(disk: &D, to: Zxid, options: RestoreOptions) -> Result<Truncation> {
    let Some(Base { zxid: base, too_new }) = find_base(disk, to, options)? else {
        return Ok(Truncation::Refused("no snapshot is old enough"));
    };
    let last = match history_up_to(disk, base, to, options)? {
        Ok(last) => last,
        Err(why) => return Ok(Truncation::Refused(why)),
    };
    if !zoo::is(Mutation::CutKeepsSnapshot) {
        put_aside(disk, &too_new)?;
    }
    cut_logs(disk, base, to)?;
    Ok(Truncation::Done(last))
}

/// Where a restore begins after the cut.
struct Base {
    zxid: Zxid,
    /// Snapshots that hold more.
    too_new: Vec<Named>,
}

fn find_base<D: Disk + Clone>(disk: &D, to: Zxid, options: RestoreOptions) -> Result<Option<Base>> {
    let mut too_new = Vec::new();
    let mut unreadable = false;
    for candidate in names::snapshots(disk)?.into_iter().rev() {
        if candidate.zxid > to {
            too_new.push(candidate);
            continue;
        }
        if !snapshot::is_plausible(disk, &candidate)? {
            continue;
        }
        match snapshot::verify(disk, &candidate, options.limits) {
            Ok(info) if reach(&info) > to => too_new.push(candidate),
            Ok(_) => return Ok(Some(Base { zxid: candidate.zxid, too_new })),
            Err(Error::BadSnapshot { .. }) => unreadable = true,
            Err(error) => return Err(error),
        }
    }
    // Without a snapshot a start succeeds only if the settings trust the logs.
    let logs_suffice = options.trust_empty && !unreadable;
    Ok(logs_suffice.then_some(Base { zxid: Zxid::ZERO, too_new }))
}

/// Up to where the contents of a snapshot go: the tree went on while it was walked.
fn reach(info: &SnapshotInfo) -> Zxid {
    let of_digest = info.digest.map(|digest| digest.zxid);
    info.last_processed.max(of_digest).unwrap_or(Zxid::ZERO)
}

/// The last transaction up to `to`, if the history has `to` and hangs together.
fn history_up_to<D: Disk + Clone>(
    disk: &D,
    base: Zxid,
    to: Zxid,
    options: RestoreOptions,
) -> Result<std::result::Result<Zxid, &'static str>> {
    let mut replay = Replay::new(disk, base, options.allow_gaps)?;
    let (mut last, mut first_beyond) = (base, None);
    loop {
        match replay.read() {
            Ok(Some(txn)) if txn.record.zxid <= to => last = txn.record.zxid,
            Ok(Some(txn)) => {
                first_beyond.get_or_insert(txn.record.zxid);
            }
            Ok(None) => break,
            Err(Error::Gap { .. } | Error::OutOfOrder { .. }) => {
                return Ok(Err("the logs do not continue the snapshot that is old enough"));
            }
            Err(error) => return Err(error),
        }
    }
    // The first transaction of an epoch comes right behind the history that its leader began with.
    let is_start_of_epoch = to.counter() == 0 && first_beyond == Some(to.next());
    if last == to || is_start_of_epoch { Ok(Ok(last)) } else { Ok(Err("the log does not have that zxid")) }
}

/// Removes every transaction beyond `to` from the logs that a restore from `base` reads.
pub(crate) fn cut_logs<D: Disk + Clone>(disk: &D, base: Zxid, to: Zxid) -> Result<()> {
    let logs = names::logs(disk)?;
    let begin = logs.iter().rev().find(|log| log.zxid <= base).map(|log| log.zxid);
    for log in logs.iter().rev() {
        if log.zxid > to {
            disk.unlink(&log.path)?;
            disk.sync_dir(Dir::Log)?;
        } else if begin.is_none_or(|begin| log.zxid >= begin)
            && let Some(keep) = first_beyond(disk, log, to)?
        {
            let file = disk.open_for_write(&log.path)?;
            disk.truncate(&file, keep)?;
            disk.sync(&file)?;
        }
    }
    Ok(())
}

/// Where the first record beyond a zxid begins in a log.
fn first_beyond<D: Disk + Clone>(disk: &D, log: &Named, to: Zxid) -> Result<Option<u64>> {
    let mut reader = LogReader::open(disk, log)?;
    while let Some(record) = reader.read()? {
        if record.zxid > to {
            return Ok(Some(record.offset));
        }
    }
    Ok(None)
}
