//! A part of the log, read while the server runs, for a learner that lags: which transaction it stands behind, whether
//! all that follow are there, and the transactions themselves. What is read was durable before anybody asked, so nothing
//! that is written meanwhile matters; a file that is purged meanwhile is an error, and the learner comes again. Answers
//! to Java's `FileTxnSnapLog.readTxnLog` and `ZKDatabase.getProposalsFromTxnLog`.

use ostler_wire::Zxid;
use ostler_wire::txn::{Txn, TxnEntry};

use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::log::{LogReader, Record};
use crate::names::{self, Named};
use crate::replay::follows;

/// Where somebody stands in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The newest transaction that is not above the zxid that was looked for; or that zxid itself, if it is the start of
    /// an epoch and the log begins with that epoch.
    pub before: Zxid,
    /// The one behind it.
    pub next: Zxid,
}

/// Looks for the place of `peer`, and reads on up to `upto`. `None` if the log does not hold all of that without a hole,
/// or if what is behind `peer` takes more than `most` bytes of log. If `through` is between the two it must be there itself:
/// below it nothing is known but the counters, and they do not show a hole that ends with an epoch.
pub fn search<D: Disk + Clone>(
    disk: &D,
    (peer, through, upto): (Zxid, Zxid, Zxid),
    most: Option<u64>,
) -> Result<Option<Place>> {
    let mut records = Records::from(disk, peer)?;
    let (mut before, mut place, mut bytes, mut last) = (None, None, 0, peer);
    loop {
        let record = match records.next() {
            Ok(Some(record)) => record,
            // The log does not go so far, or it has a hole. Then a tree helps.
            Ok(None) | Err(Error::Gap { .. } | Error::OutOfOrder { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        if record.zxid <= peer {
            before = Some(record.zxid);
            continue;
        }
        if place.is_none() {
            let begins = peer.counter() == 0 && record.zxid == peer.next();
            let Some(before) = before.or_else(|| begins.then_some(peer)) else { return Ok(None) };
            place = Some(Place { before, next: record.zxid });
        }
        if last < through && through < record.zxid {
            return Ok(None);
        }
        last = record.zxid;
        bytes += record.end - record.offset;
        if record.zxid > upto || most.is_some_and(|most| bytes > most) {
            return Ok(None);
        }
        if record.zxid == upto {
            return Ok(place);
        }
    }
}

/// The transactions behind one zxid, up to and including another.
pub struct LogPart<D: Disk> {
    records: Records<D>,
    last: Zxid,
    upto: Zxid,
}

impl<D: Disk + Clone> LogPart<D> {
    /// Opens the log where it has what follows `after`.
    pub fn open(disk: &D, after: Zxid, upto: Zxid) -> Result<Self> {
        Ok(Self { records: Records::from(disk, after)?, last: after, upto })
    }

    /// The next transaction; `None` once the last of the part was read. That it is not there is an error.
    pub fn read(&mut self) -> Result<Option<Record>> {
        while self.last < self.upto {
            let Some(record) = self.records.next()? else {
                let file = self.records.file();
                return Err(Error::Gap { file, last: self.last, next: self.upto });
            };
            if record.zxid <= self.last {
                continue;
            }
            if !follows(self.last, record.zxid) || record.zxid > self.upto {
                return Err(Error::Gap { file: self.records.file(), last: self.last, next: record.zxid });
            }
            self.last = record.zxid;
            return Ok(Some(record));
        }
        Ok(None)
    }
}

/// The records of the logs, from the last file whose name is not above a zxid; each follows the one before.
struct Records<D: Disk> {
    disk: D,
    files: std::vec::IntoIter<Named>,
    current: Option<LogReader<D>>,
    last: Option<Zxid>,
}

impl<D: Disk + Clone> Records<D> {
    fn from(disk: &D, zxid: Zxid) -> Result<Self> {
        let mut files = names::logs(disk)?;
        let begin = files.iter().rev().find(|log| log.zxid <= zxid).map(|log| log.zxid);
        files.retain(|log| begin.is_none_or(|begin| log.zxid >= begin));
        Ok(Self { disk: disk.clone(), files: files.into_iter(), current: None, last: None })
    }

    fn next(&mut self) -> Result<Option<Record>> {
        loop {
            let Some(reader) = &mut self.current else {
                let Some(log) = self.files.next() else { return Ok(None) };
                self.current = Some(LogReader::open(&self.disk, &log)?);
                continue;
            };
            let Some(record) = reader.read()? else {
                self.current = None;
                continue;
            };
            let Some(last) = self.last else {
                self.last = Some(record.zxid);
                return Ok(Some(record));
            };
            if record.zxid == last && is_error(&record) {
                // A 3.9 leader logs a request that it cannot decode under the zxid before it.
                continue;
            }
            let (file, offset, zxid) = (reader.file().to_owned(), record.offset, record.zxid);
            if zxid <= last {
                return Err(Error::OutOfOrder { file, offset, zxid, last });
            }
            if !follows(last, zxid) {
                return Err(Error::Gap { file, last, next: zxid });
            }
            self.last = Some(zxid);
            return Ok(Some(record));
        }
    }

    fn file(&self) -> String {
        self.current.as_ref().map_or_else(|| "the log".to_owned(), |reader| reader.file().to_owned())
    }
}

fn is_error(record: &Record) -> bool {
    TxnEntry::decode(&record.bytes).is_ok_and(|entry| matches!(entry.txn, Txn::Error { .. }))
}
