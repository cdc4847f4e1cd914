//! Reading the logs of a directory as one sequence: which files, in what order, and whether they hang together.
//! A zxid must follow its predecessor by one, or begin a new epoch at counter 1; anything else is a gap, and a gap
//! is refused. Java checks none of this: a lost file goes unnoticed there.

use ostler_wire::Zxid;
use ostler_wire::disk::FILE_HEADER_LEN;
use ostler_wire::txn::{Txn, TxnEntry};

use crate::disk::{Disk, FilePath};
use crate::error::{Error, Result};
use crate::log::{self, End, LogReader, Record};
use crate::names::{self, Named};
use ostler_wire::zoo::{self, Mutation};

/// Something odd that does not keep the server from starting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum Warning {
    /// A log ends within a record that was never acknowledged.
    #[error("{file} ends at byte {offset} after zxid {after} with a torn record: {why}")]
    TornTail { file: String, offset: u64, after: Zxid, why: &'static str },
    /// The newest log was created and not written.
    #[error("{file} has no whole header: it was being created when the server stopped")]
    NoHeader { file: String },
    /// One zxid twice: a 3.9 leader logs a request that it cannot decode under the zxid before it.
    #[error("{file} has zxid {zxid} a second time at byte {offset}: skipped, it changes nothing")]
    Repeated { file: String, offset: u64, zxid: Zxid },
    /// A `check` that is not part of a multi, as old servers logged it.
    #[error("{file} has a lone check at zxid {zxid}: it changes nothing")]
    LoneCheck { file: String, zxid: Zxid },
    /// A gap that the operator lets pass.
    #[error("{file} goes on with zxid {next} after {last}: transactions are missing, as the settings allow")]
    Gap { file: String, last: Zxid, next: Zxid },
    /// A snapshot that is not used.
    #[error("{file} is not used: {why}")]
    SnapshotSkipped { file: String, why: String },
    /// A snapshot of a 3.9 server that keeps no digests: only a server with the same settings reads it in Java.
    #[error("{file} has no digest but the last zxid: ZooKeeper opens it only with digest.enabled=false")]
    OddSections { file: String },
    /// There is no snapshot, and the settings allow that.
    #[error("no snapshot found; all logs are replayed, as snapshot.trust.empty allows")]
    NoSnapshot,
}

/// Where the newest log has to be cut before the next one is begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// The newest log.
    pub log: Named,
    /// The end of its last whole record; nothing is left to keep if it has none.
    pub keep: u64,
    /// How it ends.
    pub end: End,
}

/// A transaction of the logs.
#[derive(Debug, Clone)]
pub struct Replayed {
    /// The record.
    pub record: Record,
    /// The record, decoded.
    pub entry: TxnEntry,
}

/// The logs from a zxid on.
pub struct Replay<D: Disk> {
    disk: D,
    after: Zxid,
    allow_gaps: bool,
    files: std::vec::IntoIter<Named>,
    current: Option<(Named, LogReader<D>)>,
    /// The zxid that was delivered last, or the one to start after.
    last: Zxid,
    tail: Option<Tail>,
    warnings: Vec<Warning>,
    read: Vec<FilePath>,
    replayed: u64,
    /// Checksums of what was delivered, to know a copy of a file when it comes; sorted by zxid.
    seen: Vec<(Zxid, i64)>,
}

impl<D: Disk + Clone> Replay<D> {
    /// The transactions after a zxid: from the last log whose name is not above it.
    pub fn new(disk: &D, after: Zxid, allow_gaps: bool) -> Result<Self> {
        let mut files = names::logs(disk)?;
        let begin = files.iter().rev().find(|log| log.zxid <= after).map(|log| log.zxid);
        files.retain(|log| begin.is_none_or(|begin| log.zxid >= begin));
        Ok(Self {
            disk: disk.clone(),
            after,
            allow_gaps,
            files: files.into_iter(),
            current: None,
            last: after,
            tail: None,
            warnings: Vec::new(),
            read: Vec::new(),
            replayed: 0,
            seen: Vec::new(),
        })
    }

    /// The next transaction, or `None` at the end of the newest log.
    pub fn read(&mut self) -> Result<Option<Replayed>> {
        loop {
            let Some((log, reader)) = &mut self.current else {
                let Some(log) = self.files.next() else { return Ok(None) };
                let reader = LogReader::open(&self.disk, &log)?;
                self.read.push(log.path.clone());
                self.current = Some((log, reader));
                continue;
            };
            match reader.read()? {
                Some(record) if record.zxid <= self.after => {}
                Some(record) => {
                    let file = reader.file().to_owned();
                    let entry = TxnEntry::decode(&record.bytes)
                        .map_err(|error| reader.damage(format!("zxid {}: {error}", record.zxid)))?;
                    if self.is_next(file, &record, &entry)? {
                        self.replayed += 1;
                        return Ok(Some(Replayed { record, entry }));
                    }
                }
                None => {
                    let end = reader.end().unwrap_or(End::Clean);
                    let tail = Tail { log: log.clone(), keep: reader.position(), end };
                    self.end_file(tail)?;
                }
            }
        }
    }

    /// The zxid of the last transaction that was read, or the one to start after.
    pub fn last(&self) -> Zxid {
        self.last
    }

    /// How many transactions were read.
    pub fn replayed(&self) -> u64 {
        self.replayed
    }

    /// What was odd so far.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The files that were opened so far.
    pub fn files_read(&self) -> &[FilePath] {
        &self.read
    }

    /// The end of the newest log, once all is read; `None` if there is no log.
    pub fn tail(&self) -> Option<&Tail> {
        self.tail.as_ref()
    }

    /// Whether the record is to be delivered: it continues the sequence. One that repeats is not.
    fn is_next(&mut self, file: String, record: &Record, entry: &TxnEntry) -> Result<bool> {
        let (zxid, offset) = (record.zxid, record.offset);
        let checksum = log::checksum_of(&record.bytes);
        if zxid <= self.last {
            let same = self
                .seen
                .binary_search_by_key(&zxid, |seen| seen.0)
                .is_ok_and(|at| self.seen[at].1 == checksum);
            if same || (zxid == self.last && matches!(entry.txn, Txn::Error { .. })) {
                self.warnings.push(Warning::Repeated { file, offset, zxid });
                return Ok(false);
            }
            return Err(Error::OutOfOrder { file, offset, zxid, last: self.last });
        }
        if !follows(self.last, zxid) {
            if !self.allow_gaps {
                return Err(Error::Gap { file, last: self.last, next: zxid });
            }
            self.warnings.push(Warning::Gap { file: file.clone(), last: self.last, next: zxid });
        }
        if matches!(entry.txn, Txn::Check { .. }) {
            self.warnings.push(Warning::LoneCheck { file, zxid });
        }
        self.last = zxid;
        self.seen.push((zxid, checksum));
        Ok(true)
    }

    fn end_file(&mut self, tail: Tail) -> Result<()> {
        let file = self.disk.show(&tail.log.path);
        let after = self.current.take().and_then(|(_, reader)| reader.last()).unwrap_or_default();
        match tail.end {
            End::Clean => {}
            End::Torn(why) => {
                self.warnings.push(Warning::TornTail { file, offset: tail.keep, after, why });
            }
            End::NoHeader => {
                let newest = self.files.as_slice().is_empty();
                if !newest && !self.allow_gaps {
                    let what = "it has no header, and it is not the newest log".to_owned();
                    return Err(Error::Damaged(crate::error::Damage { file, offset: 0, after, what }));
                }
                self.warnings.push(Warning::NoHeader { file });
            }
        }
        self.tail = Some(tail);
        Ok(())
    }
}

/// Whether a zxid may come right after another.
#[must_use]
pub fn follows(last: Zxid, next: Zxid) -> bool {
    next == last.next() || (next.epoch() > last.epoch() && next.counter() == 1)
}

/// How much of the end of the newest log `mend` writes again: more than one commit ever holds.
const REWRITE: u64 = 64 << 20;

/// Makes the end of the newest log one that every reader understands, and durable: a torn record is cut off, a log
/// without records is removed. To be done after a restore and before anything is written. A crash in between does
/// no harm: what is removed was never acknowledged.
///
/// What was read may be nowhere but in the memory of the system: written by a process that was killed before its
/// sync, or by one whose sync failed. In the second case the system takes the bytes for written, and another sync
/// would do nothing. From now on they are served, so they are written once more and synced; else a power cut would
/// take them away from under what follows.
pub fn mend<D: Disk>(disk: &D, tail: &Tail) -> Result<()> {
    if tail.keep <= FILE_HEADER_LEN as u64 {
        disk.unlink(&tail.log.path)?;
    } else if !zoo::is(Mutation::ServeUnsyncedTail) || tail.end != End::Clean {
        let file = disk.open_for_write(&tail.log.path)?;
        write_again(disk, &file, tail.keep)?;
        if matches!(tail.end, End::Torn(_)) {
            disk.truncate(&file, tail.keep)?;
        }
        disk.sync(&file)?;
    }
    disk.sync_dir(tail.log.path.dir)?;
    Ok(())
}

fn write_again<D: Disk>(disk: &D, file: &D::File, end: u64) -> Result<()> {
    let mut piece = vec![0; 1 << 20];
    let mut at = end.saturating_sub(REWRITE);
    while at < end {
        let len = usize::try_from((end - at).min(piece.len() as u64)).expect("a piece");
        let read = disk.read_at(file, at, &mut piece[..len])?;
        if read == 0 {
            break;
        }
        disk.write_at(file, at, &piece[..read])?;
        at += read as u64;
    }
    Ok(())
}
