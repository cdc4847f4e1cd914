//! From a data directory to a tree: the newest snapshot that can be read, then the logs after it. Reads only; what
//! has to be changed on the disk before the server may write (`mend`) is in the report. Answers to Java's
//! `FileTxnSnapLog.restore`.
//!
//! Other than Java: a failed attempt leaves nothing behind, an older snapshot is used only if the logs make up for
//! the newer one, and logs that do not hang together are refused (see `replay`).

use ostler_wire::disk::StatPersisted;
use ostler_wire::{Acl, SessionId, Zxid};

use crate::disk::{Dir, Disk};
use crate::epochs;
use crate::error::{Error, Result};
use crate::names::{self, Named};
use crate::replay::{Replay, Replayed, Tail, Warning};
use crate::snapshot::{self, Limits, SnapshotDigest, SnapshotInfo, SnapshotVisitor};

/// How many snapshots are tried, as in Java.
const MAX_CANDIDATES: usize = 100;

/// What may be decided by the operator.
#[derive(Debug, Clone, Copy, Default)]
pub struct RestoreOptions {
    /// `zookeeper.snapshot.trust.empty`: logs without a snapshot are replayed from the beginning.
    pub trust_empty: bool,
    /// `ostler.allowLogGaps`: missing transactions are warned of only.
    pub allow_gaps: bool,
    /// Bounds for snapshots.
    pub limits: Limits,
}

/// Who takes the tree. Errors are in words.
pub trait RestoreSink {
    /// Forget everything and be the tree of an empty database.
    fn fresh(&mut self);
    /// Forget everything; a snapshot follows.
    fn begin_snapshot(&mut self);
    /// A session of the snapshot.
    fn session(&mut self, id: SessionId, timeout_ms: i32) -> std::result::Result<(), String>;
    /// An entry of the snapshot's table of ACLs.
    fn acl(&mut self, id: i64, list: Vec<Acl>) -> std::result::Result<(), String>;
    /// A node of the snapshot, a parent before its children; the root has the path "".
    fn node(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl_id: i64,
        stat: &StatPersisted,
    ) -> std::result::Result<(), String>;
    /// The snapshot was read whole and its seals hold; it begins at this zxid.
    fn end_snapshot(&mut self, zxid: Zxid, digest: Option<SnapshotDigest>)
    -> std::result::Result<(), String>;
    /// A transaction of the log, in order.
    fn apply(&mut self, txn: Replayed) -> std::result::Result<(), String>;
}

/// What the tree was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A snapshot, and the logs after it.
    Snapshot {
        /// The file.
        snapshot: Named,
        /// What it says of itself.
        info: SnapshotInfo,
    },
    /// Logs alone, as the settings allow.
    Logs,
    /// Nothing: the database is empty.
    Empty {
        /// Whether the marker `initialize` says that it may be. The caller adds `zookeeper.db.autocreate`.
        marked: bool,
    },
}

/// The report of a restore.
#[derive(Debug)]
pub struct Restored {
    /// What the tree was made from.
    pub origin: Origin,
    /// The last zxid; 0 for an empty database.
    pub last: Zxid,
    /// How many transactions were replayed.
    pub replayed: u64,
    /// The logs that were read.
    pub logs: Vec<String>,
    /// The end of the newest log: give it to `replay::mend` before anything is written.
    pub tail: Option<Tail>,
    /// What was odd.
    pub warnings: Vec<Warning>,
}

/// Restores a data directory into a sink.
pub fn restore<D: Disk + Clone>(
    disk: &D,
    options: RestoreOptions,
    sink: &mut dyn RestoreSink,
) -> Result<Restored> {
    refuse_misplaced(disk)?;
    let mut warnings = Vec::new();
    let (origin, start, broken) = restore_snapshot(disk, options, sink, &mut warnings)?;
    let mut replay = Replay::new(disk, start, options.allow_gaps)?;
    while let Some(txn) = replay.read()? {
        sink.apply(txn).map_err(|what| Error::Rejected {
            file: replay.files_read().last().map(|path| disk.show(path)).unwrap_or_default(),
            what,
        })?;
    }
    if let Some((newer, why)) = broken
        && replay.last() < newer.zxid
        && !options.allow_gaps
    {
        return Err(Error::FellShort {
            snapshot: disk.show(&newer.path),
            why,
            wanted: newer.zxid,
            reached: replay.last(),
        });
    }
    warnings.extend_from_slice(replay.warnings());
    Ok(Restored {
        origin,
        last: replay.last(),
        replayed: replay.replayed(),
        logs: replay.files_read().iter().map(|path| path.name.clone()).collect(),
        tail: replay.tail().cloned(),
        warnings,
    })
}

type Broken = Option<(Named, String)>;

/// Reads the newest good snapshot into the sink; also says which newer one seemed whole and was not.
fn restore_snapshot<D: Disk + Clone>(
    disk: &D,
    options: RestoreOptions,
    sink: &mut dyn RestoreSink,
    warnings: &mut Vec<Warning>,
) -> Result<(Origin, Zxid, Broken)> {
    let mut broken: Broken = None;
    let mut tried = Vec::new();
    let mut plausible = 0;
    for candidate in names::snapshots(disk)?.into_iter().rev() {
        if plausible == MAX_CANDIDATES {
            break;
        }
        let file = disk.show(&candidate.path);
        if !snapshot::is_plausible(disk, &candidate)? {
            let why = "it is not whole: its writer was stopped".to_owned();
            warnings.push(Warning::SnapshotSkipped { file, why });
            continue;
        }
        plausible += 1;
        sink.begin_snapshot();
        let read = snapshot::read(disk, &candidate, options.limits, &mut AsVisitor(sink));
        let ended = read.and_then(|info| {
            // A digest of an earlier zxid belongs to another history: the snapshot of a new epoch. One of no zxid
            // says that none was known: the tree came from a leader and is that of no single zxid.
            let digest = info.digest.filter(|digest| digest.zxid >= candidate.zxid || digest.zxid.0 == 0);
            match sink.end_snapshot(candidate.zxid, digest) {
                Ok(()) => Ok(info),
                Err(what) => Err(Error::BadSnapshot { file: file.clone(), offset: info.bytes, what }),
            }
        });
        match ended {
            Ok(info) => {
                let start = candidate.zxid;
                if info.digest.is_none() && info.last_processed.is_some() {
                    warnings.push(Warning::OddSections { file });
                }
                return Ok((Origin::Snapshot { snapshot: candidate, info }, start, broken));
            }
            Err(error @ Error::BadSnapshot { .. }) => {
                let why = error.to_string();
                tried.push(why.clone());
                warnings.push(Warning::SnapshotSkipped { file, why: why.clone() });
                broken.get_or_insert((candidate, why));
            }
            Err(error) => return Err(error),
        }
    }
    sink.fresh();
    if !tried.is_empty() {
        return Err(Error::NoValidSnapshot { tried });
    }
    let origin = origin_without_snapshot(disk, options, warnings)?;
    Ok((origin, Zxid::ZERO, None))
}

fn origin_without_snapshot<D: Disk + Clone>(
    disk: &D,
    options: RestoreOptions,
    warnings: &mut Vec<Warning>,
) -> Result<Origin> {
    let first = Replay::new(disk, Zxid::ZERO, true)?.read()?;
    if first.is_none() {
        return Ok(Origin::Empty { marked: epochs::has_initialize_marker(disk)? });
    }
    if !options.trust_empty {
        let first = names::logs(disk)?.first().map(|log| disk.show(&log.path)).unwrap_or_default();
        return Err(Error::NoSnapshot { first });
    }
    warnings.push(Warning::NoSnapshot);
    Ok(Origin::Logs)
}

/// A log where snapshots belong, or the other way round, means that `dataLogDir` was changed and that we would
/// start without a part of the history.
fn refuse_misplaced<D: Disk>(disk: &D) -> Result<()> {
    if disk.is_one_directory() {
        return Ok(());
    }
    for dir in [Dir::Log, Dir::Snap] {
        let looks_wrong = |name: &String| match dir {
            Dir::Log | Dir::LogParent => names::looks_like_snapshot(name),
            Dir::Snap | Dir::SnapParent => names::looks_like_log(name),
        };
        if let Some(name) = disk.list(dir)?.into_iter().find(looks_wrong) {
            return Err(Error::Misplaced { found: disk.show(&crate::disk::FilePath::new(dir, name)) });
        }
    }
    Ok(())
}

/// The part of a sink that a snapshot is read into.
struct AsVisitor<'a>(&'a mut dyn RestoreSink);

impl SnapshotVisitor for AsVisitor<'_> {
    fn session(&mut self, id: SessionId, timeout_ms: i32) -> std::result::Result<(), String> {
        self.0.session(id, timeout_ms)
    }

    fn acl(&mut self, id: i64, list: Vec<Acl>) -> std::result::Result<(), String> {
        self.0.acl(id, list)
    }

    fn node(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl_id: i64,
        stat: &StatPersisted,
    ) -> std::result::Result<(), String> {
        self.0.node(path, data, acl_id, stat)
    }
}
