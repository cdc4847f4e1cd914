//! Writing the transaction log: entries are gathered by `append` and become durable together in `commit`, with one
//! write and one sync. Space is reserved before a record goes into it, so that a full disk is noticed while nothing
//! is half written: a failed reservation can be retried, a failed write or sync of records cannot. Answers to
//! Java's `FileTxnLog`, which reserves nothing and takes a full disk for a broken one.
//!
//! After `Replay` and `mend`; a writer never appends to a file of an earlier run. Files are Java's: a header, the
//! records, and zeros up to the end of what is reserved.

use ostler_wire::Zxid;
use ostler_wire::disk::{FILE_HEADER_LEN, log_header};

use crate::disk::{Dir, Disk, DiskError, DiskErrorKind, DiskResult, FilePath};
use crate::error::{Error, Result};
use crate::log;
use crate::names;
use ostler_wire::zoo::{self, Mutation};

/// How the log is written.
#[derive(Debug, Clone, Copy)]
pub struct LogOptions {
    /// `zookeeper.preAllocSize`: space is reserved in steps of so many bytes; 0 is as much as is needed.
    pub reserve_bytes: u64,
    /// `zookeeper.txnLogSizeLimitInKb`: a file with more bytes of records is rolled after a commit; 0 is never.
    pub roll_bytes: u64,
    /// `zookeeper.forceSync`: whether a commit syncs.
    pub force_sync: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { reserve_bytes: 64 << 20, roll_bytes: 0, force_sync: true }
    }
}

/// The log that is being written.
pub struct LogWriter<D: Disk> {
    disk: D,
    options: LogOptions,
    current: Option<Current<D>>,
    /// Records that were appended and not written.
    pending: Vec<u8>,
    pending_count: usize,
    pending_first: Zxid,
    last: Zxid,
    durable: Zxid,
    roll_after_commit: bool,
    broken: bool,
}

struct Current<D: Disk> {
    path: FilePath,
    file: D::File,
    /// Where the next record goes.
    at: u64,
    /// Up to where space is reserved.
    reserved: u64,
    /// Up to where the file was written, with zeros beyond the last record.
    zeroed: u64,
}

/// Zeros are written ahead of the records in steps of so many bytes.
const ZERO_STEP: u64 = 256 << 10;
/// Commits of more bytes are better off without.
const SMALL_COMMIT: usize = 16 << 10;

impl<D: Disk> LogWriter<D> {
    /// A writer that goes on after a zxid, in a new file.
    pub fn new(disk: D, options: LogOptions, last: Zxid) -> Self {
        Self {
            disk,
            options,
            current: None,
            pending: Vec::new(),
            pending_count: 0,
            pending_first: last,
            last,
            durable: last,
            roll_after_commit: false,
            broken: false,
        }
    }

    /// Takes an entry; it is durable after the next `commit`. Zxids must rise.
    pub fn append(&mut self, zxid: Zxid, entry: &[u8]) {
        assert!(zxid > self.last, "zxid {zxid} is appended after {}", self.last);
        if self.pending.is_empty() {
            self.pending_first = zxid;
        }
        log::encode_record(entry, &mut self.pending);
        self.pending_count += 1;
        self.last = zxid;
    }

    /// Makes all that was appended durable and says up to where that is.
    ///
    /// `Error::Full`: there is no space, nothing was written, the entries are kept: call it again later. Any other
    /// error is final, and the process has to end: what is on the disk is unknown until it is read again.
    pub fn commit(&mut self) -> Result<Zxid> {
        if self.broken {
            return Err(Error::Broken);
        }
        if !self.pending.is_empty() {
            match self.write_pending() {
                Ok(()) => {}
                Err(Error::Full(error)) => return Err(Error::Full(error)),
                Err(error) => {
                    self.broken = true;
                    return Err(error);
                }
            }
        }
        self.roll_if_due();
        Ok(self.durable)
    }

    /// Makes the next entry begin a new file. What was appended before and is not committed goes into the old one.
    pub fn roll(&mut self) {
        if self.pending.is_empty() {
            self.close_current();
        } else {
            self.roll_after_commit = true;
        }
    }

    /// Lets go of the file that is being written: others are about to change the logs. All must be committed.
    pub fn close(&mut self) {
        assert!(self.pending.is_empty(), "the log is closed between commits");
        self.roll_after_commit = false;
        self.close_current();
    }

    /// The logs were changed: they end with this zxid now. The next entry begins a new file, for going on in an old
    /// one would write at an offset that is not its end any more (ZOOKEEPER-1489).
    pub fn continue_after(&mut self, last: Zxid) {
        self.close();
        self.last = last;
        self.durable = last;
    }

    /// Drops what was appended and not committed, after `Error::Full`: none of it was acknowledged.
    pub fn drop_pending(&mut self) {
        self.pending.clear();
        self.pending_count = 0;
        self.last = self.durable;
    }

    /// Up to where the log is durable.
    pub fn durable(&self) -> Zxid {
        self.durable
    }

    /// How many entries wait for `commit`.
    pub fn pending(&self) -> usize {
        self.pending_count
    }

    /// How many bytes wait for `commit`.
    pub fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    /// The file that is being written and the bytes of its records, header included.
    pub fn current(&self) -> Option<(&FilePath, u64)> {
        self.current.as_ref().map(|current| (&current.path, current.at))
    }

    fn write_pending(&mut self) -> Result<()> {
        let mut current = match self.current.take() {
            Some(current) => current,
            None => self.create()?,
        };
        let reserved = self.reserve(&mut current);
        let current = self.current.insert(current);
        reserved?;
        let sync_early = zoo::is(Mutation::AcknowledgeBeforeSync);
        if sync_early {
            self.disk.sync_data(&current.file)?;
        }
        let length = self.pending.len();
        let end = current.at + length as u64;
        let covered = length > SMALL_COMMIT || end <= current.zeroed || !self.options.force_sync;
        let zeros = if covered { 0 } else { zeros_behind(end, current.reserved) };
        self.pending.resize(length + zeros, 0);
        let written = self.disk.write_at(&current.file, current.at, &self.pending);
        self.pending.truncate(length);
        written?;
        if self.options.force_sync && !sync_early {
            self.disk.sync_data(&current.file)?;
        }
        current.at = end;
        current.zeroed = current.zeroed.max(end + zeros as u64);
        self.pending.clear();
        self.pending_count = 0;
        self.durable = self.last;
        Ok(())
    }

    /// A new file with a durable header and a durable name, before any record: whatever a crash leaves of it is a
    /// log without records, for Java too.
    fn create(&self) -> Result<Current<D>> {
        let path = FilePath::new(Dir::Log, names::log_name(self.pending_first));
        let file = match self.disk.create(&path) {
            Ok(file) => file,
            Err(error) if error.kind == DiskErrorKind::Exists => self.replace(&path, error)?,
            Err(error) => return Err(full_or(error)),
        };
        let header = log_header();
        let written = self.disk.write_at(&file, 0, &header).and_then(|()| self.disk.sync(&file));
        if let Err(error) = written {
            if error.is_full() {
                // An empty file is no harm, but nicer gone.
                let _ = self.disk.unlink(&path);
            }
            return Err(full_or(error));
        }
        if !zoo::is(Mutation::NoDirSyncOfLog) {
            self.disk.sync_dir(Dir::Log).map_err(full_or)?;
        }
        let at = FILE_HEADER_LEN as u64;
        Ok(Current { path, file, at, reserved: at, zeroed: at })
    }

    /// A log of this name is there: left by a crash before its first record was durable, or by a failed attempt.
    fn replace(&self, path: &FilePath, error: DiskError) -> Result<D::File> {
        let old = self.disk.open(path)?;
        let length = self.disk.length(&old)?;
        let header_len = usize::try_from(length.min(FILE_HEADER_LEN as u64 + 12)).expect("28 at most");
        let mut bytes = vec![0; header_len];
        self.disk.read_at(&old, 0, &mut bytes)?;
        let has_record = bytes.iter().skip(FILE_HEADER_LEN).any(|byte| *byte != 0);
        if has_record {
            return Err(error.into());
        }
        self.disk.unlink(path)?;
        self.disk.create(path).map_err(full_or)
    }

    /// Reserves space for what is pending: a step ahead, or, when that is too much for the disk, what is needed.
    fn reserve(&self, current: &mut Current<D>) -> Result<()> {
        let end = current.at + self.pending.len() as u64;
        if end <= current.reserved {
            return Ok(());
        }
        let step = self.options.reserve_bytes.max(1);
        let ahead = end.div_ceil(step) * step;
        let mut reserved = self.reserve_up_to(current, ahead);
        if ahead > end && matches!(&reserved, Err(error) if error.is_full()) {
            reserved = self.reserve_up_to(current, end);
        }
        reserved.map_err(full_or)
    }

    fn reserve_up_to(&self, current: &mut Current<D>, end: u64) -> DiskResult<()> {
        self.disk.allocate(&current.file, current.reserved, end - current.reserved)?;
        current.reserved = end;
        Ok(())
    }

    fn roll_if_due(&mut self) {
        let limit = self.options.roll_bytes;
        let too_long = limit > 0 && self.current.as_ref().is_some_and(|current| current.at > limit);
        if self.roll_after_commit || too_long {
            self.roll_after_commit = false;
            self.close_current();
        }
    }

    /// Gives back the space behind the last record. That this fails does no harm: zeros follow then.
    fn close_current(&mut self) {
        if let Some(current) = self.current.take()
            && current.reserved > current.at
        {
            let _ = self.disk.truncate(&current.file, current.at);
        }
    }
}

fn full_or(error: DiskError) -> Error {
    if error.is_full() { Error::Full(error) } else { error.into() }
}

/// How many zeros to write behind records that end here. A sync of space that is reserved and was never written has to
/// change the file system's books as well; over zeros it has not. For small commits these are most of their cost,
/// and they are paid once in many commits this way.
fn zeros_behind(end: u64, reserved: u64) -> usize {
    let upto = end.next_multiple_of(ZERO_STEP).min(reserved);
    usize::try_from(upto.saturating_sub(end)).expect("no more than a step")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_go_to_the_end_of_a_step_and_not_beyond_what_is_reserved() {
        assert_eq!(zeros_behind(100, 64 << 20) as u64, ZERO_STEP - 100);
        assert_eq!(zeros_behind(ZERO_STEP, 64 << 20), 0);
        assert_eq!(zeros_behind(ZERO_STEP + 1, 64 << 20) as u64, ZERO_STEP - 1);
        assert_eq!(zeros_behind(100, 1000), 900);
        assert_eq!(zeros_behind(1000, 1000), 0);
    }
}
