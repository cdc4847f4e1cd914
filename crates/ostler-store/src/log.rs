//! Reading one transaction log: its records, where they end, and whether the end is one that a crash leaves behind
//! or damage. Nothing is assumed of the bytes; memory is taken only for bytes that are in the file. Answers to
//! Java's `FileTxnLog.FileTxnIterator`, which takes every odd end for the end of the file.

use bytes::Bytes;
use ostler_wire::Zxid;
use ostler_wire::disk::{
    END_OF_RECORD, FILE_HEADER_LEN, FILE_VERSION, LOG_MAGIC, RECORD_HEADER_LEN, log_header,
};
use ostler_wire::txn::TxnEntry;

use crate::disk::{Disk, FilePath};
use crate::error::{Damage, Error, Result};
use crate::names::Named;

mod read_ahead;
mod scan;
mod tail;

use read_ahead::ReadAhead;
pub use scan::{Entry, Header, Scan};

/// One record of a log.
#[derive(Debug, Clone)]
pub struct Record {
    /// Where it begins.
    pub offset: u64,
    /// Where the next one begins.
    pub end: u64,
    /// Its zxid.
    pub zxid: Zxid,
    /// The entry as it was logged; its checksum holds.
    pub bytes: Bytes,
}

/// How a log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// At the end of the file, or where only zeros follow.
    Clean,
    /// In the middle of a record, in a way that a crash leaves behind: it was never synced.
    Torn(&'static str),
    /// Before the first record: the file is empty, its header is cut off, or it is all zeros.
    NoHeader,
}

/// A log that is being read.
pub struct LogReader<D: Disk> {
    file: String,
    name_zxid: Zxid,
    bytes: ReadAhead<D>,
    at: u64,
    last: Option<Zxid>,
    end: Option<End>,
}

impl<D: Disk + Clone> LogReader<D> {
    /// Opens a log. A wrong magic or version is damage; a header that is not there is an end.
    pub fn open(disk: &D, log: &Named) -> Result<Self> {
        let mut reader = Self {
            file: disk.show(&log.path),
            name_zxid: log.zxid,
            bytes: ReadAhead::open(disk, &log.path)?,
            at: FILE_HEADER_LEN as u64,
            last: None,
            end: None,
        };
        reader.read_header()?;
        Ok(reader)
    }

    /// The next record, or `None` at the end.
    pub fn read(&mut self) -> Result<Option<Record>> {
        if self.end.is_some() {
            return Ok(None);
        }
        match self.whole_record()? {
            Some(record) => {
                if self.last.is_none() && record.zxid != self.name_zxid {
                    let what = format!("its first zxid is {}, which is not the one in its name", record.zxid);
                    return Err(self.damage(what));
                }
                self.at = record.end;
                self.last = Some(record.zxid);
                Ok(Some(record))
            }
            None => {
                let end = tail::classify(&mut self.bytes, self.at)?;
                match end {
                    Ok(end) => {
                        self.end = Some(end);
                        Ok(None)
                    }
                    Err(what) => Err(self.damage(what)),
                }
            }
        }
    }

    /// How the log ends, once `read` has said `None`.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// Where the next record would begin.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// Bytes in the file.
    pub fn length(&self) -> u64 {
        self.bytes.length()
    }

    /// The zxid of the last record that was read.
    pub fn last(&self) -> Option<Zxid> {
        self.last
    }

    /// The file as the user knows it.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// What is wrong at the present position, as an error.
    pub(crate) fn damage(&self, what: String) -> Error {
        Error::Damaged(Damage {
            file: self.file.clone(),
            offset: self.at,
            after: self.last.unwrap_or_default(),
            what,
        })
    }

    fn read_header(&mut self) -> Result<()> {
        let mut header = [0; FILE_HEADER_LEN];
        let present = usize::try_from(self.bytes.length().min(FILE_HEADER_LEN as u64)).expect("16 at most");
        header[..present].copy_from_slice(self.bytes.slice(0, present)?);
        if present == FILE_HEADER_LEN
            && header[..4] == LOG_MAGIC
            && header[4..8] == FILE_VERSION.to_be_bytes()
        {
            return Ok(());
        }
        self.at = 0;
        // The beginning of a header, or nothing, and no record behind it.
        let written = header.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let cut_off = log_header().starts_with(&header[..written]);
        if cut_off && (present < FILE_HEADER_LEN || self.bytes.first_nonzero(present as u64)?.is_none()) {
            self.end = Some(End::NoHeader);
            return Ok(());
        }
        Err(self.damage(if header[..4] == LOG_MAGIC {
            "its format has a version that is not known".to_owned()
        } else {
            "it does not begin as a transaction log does (ZKLG)".to_owned()
        }))
    }

    /// The record at the present position if it is whole and its checksum holds.
    fn whole_record(&mut self) -> Result<Option<Record>> {
        let Some((checksum, length)) = record_header(&mut self.bytes, self.at)? else { return Ok(None) };
        let Ok(length) = u64::try_from(length) else { return Ok(None) };
        let entry_at = self.at + RECORD_HEADER_LEN as u64;
        let end_mark = entry_at + length;
        if length == 0 || end_mark >= self.bytes.length() {
            return Ok(None);
        }
        // The end mark first: a rotten length must not make us read what it claims.
        if self.bytes.byte_ahead(end_mark)? != END_OF_RECORD {
            return Ok(None);
        }
        let length = usize::try_from(length).expect("an i32");
        let entry = self.bytes.slice(entry_at, length)?;
        if checksum != checksum_of(entry) {
            return Ok(None);
        }
        let bytes = Bytes::copy_from_slice(entry);
        let zxid =
            TxnEntry::peek_zxid(&bytes).map_err(|error| self.damage(format!("cannot decode: {error}")))?;
        Ok(Some(Record { offset: self.at, end: end_mark + 1, zxid, bytes }))
    }
}

/// Checksum and length of the record at an offset, if the file is long enough.
fn record_header<D: Disk>(bytes: &mut ReadAhead<D>, at: u64) -> Result<Option<(i64, i32)>> {
    if at + RECORD_HEADER_LEN as u64 > bytes.length() {
        return Ok(None);
    }
    let header = bytes.slice(at, RECORD_HEADER_LEN)?;
    let checksum = i64::from_be_bytes(header[..8].try_into().expect("8 bytes"));
    let length = i32::from_be_bytes(header[8..].try_into().expect("4 bytes"));
    Ok(Some((checksum, length)))
}

/// What a record's header has for its entry.
pub(crate) fn checksum_of(entry: &[u8]) -> i64 {
    i64::from(simd_adler32::adler32(&entry))
}

/// Frames an entry as a record.
pub fn encode_record(entry: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&checksum_of(entry).to_be_bytes());
    let length = i32::try_from(entry.len()).expect("an entry is far below 2 GiB");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(entry);
    out.push(END_OF_RECORD);
}

/// Whether a log holds no record, so that it may be replaced.
pub fn is_without_records<D: Disk + Clone>(disk: &D, log: &Named) -> Result<bool> {
    let mut reader = LogReader::open(disk, log)?;
    Ok(reader.read()?.is_none())
}

/// A log by its path, for those who do not have a listing.
#[must_use]
pub fn named(path: FilePath, zxid: Zxid) -> Named {
    Named { path, zxid, compression: crate::names::Compression::None }
}
