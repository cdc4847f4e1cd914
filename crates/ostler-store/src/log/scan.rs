//! A log as it stands, for those who look at damaged ones: every record that can be found, with what is wrong with
//! it, and no judgement. A server never reads in this way. Answers to the reading half of Java's `TxnLogToolkit`.

use bytes::Bytes;
use ostler_wire::disk::{END_OF_RECORD, FILE_HEADER_LEN, RECORD_HEADER_LEN};

use super::{ReadAhead, checksum_of, record_header};
use crate::disk::{Disk, FilePath};
use crate::error::Result;

/// What a log begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// `ZKLG` in a log.
    pub magic: [u8; 4],
    /// The version of the format.
    pub version: i32,
    /// The database id.
    pub database_id: i64,
}

/// What is found at a place in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A record with all its bytes.
    Record {
        /// Where it begins.
        offset: u64,
        /// The checksum that is written.
        checksum: i64,
        /// The checksum that its bytes have.
        computed: i64,
        /// What was logged.
        bytes: Bytes,
        /// Whether the mark that ends a record follows.
        marked: bool,
    },
    /// Nothing more: the file ends, or a length of zero stands there.
    End,
    /// A length that no record has, or one that reaches beyond the file.
    Unreadable {
        /// Where.
        offset: u64,
        /// The length that is written.
        length: i32,
    },
}

/// A log that is being looked at.
pub struct Scan<D: Disk> {
    bytes: ReadAhead<D>,
    at: u64,
}

impl<D: Disk + Clone> Scan<D> {
    /// Opens a file.
    pub fn open(disk: &D, path: &FilePath) -> Result<Self> {
        Ok(Self { bytes: ReadAhead::open(disk, path)?, at: FILE_HEADER_LEN as u64 })
    }

    /// Goes on at an offset that a scan was at before, when the file may have grown since.
    pub fn reopen(disk: &D, path: &FilePath, position: u64) -> Result<Self> {
        Ok(Self { bytes: ReadAhead::open(disk, path)?, at: position })
    }

    /// What the file begins with, if it is long enough.
    pub fn header(&mut self) -> Result<Option<Header>> {
        if self.bytes.length() < FILE_HEADER_LEN as u64 {
            return Ok(None);
        }
        let bytes = self.bytes.slice(0, FILE_HEADER_LEN)?;
        Ok(Some(Header {
            magic: bytes[..4].try_into().expect("4 bytes"),
            version: i32::from_be_bytes(bytes[4..8].try_into().expect("4 bytes")),
            database_id: i64::from_be_bytes(bytes[8..].try_into().expect("8 bytes")),
        }))
    }

    /// The next thing. After a record without its mark the scan goes on behind where the mark belongs.
    pub fn read(&mut self) -> Result<Entry> {
        let offset = self.at;
        let Some((checksum, length)) = record_header(&mut self.bytes, offset)? else { return Ok(Entry::End) };
        if length == 0 {
            return Ok(Entry::End);
        }
        let begin = offset + RECORD_HEADER_LEN as u64;
        let whole = u64::try_from(length).ok().filter(|length| begin + length <= self.bytes.length());
        let Some(length_bytes) = whole else { return Ok(Entry::Unreadable { offset, length }) };
        let end = begin + length_bytes;
        let entry = self.bytes.slice(begin, usize::try_from(length_bytes).expect("an i32"))?;
        let computed = checksum_of(entry);
        let bytes = Bytes::copy_from_slice(entry);
        let marked = end < self.bytes.length() && self.bytes.byte_ahead(end)? == END_OF_RECORD;
        self.at = end + 1;
        Ok(Entry::Record { offset, checksum, computed, bytes, marked })
    }

    /// Where the next record would begin.
    pub fn position(&self) -> u64 {
        self.at
    }
}

#[cfg(test)]
mod tests {
    use ostler_wire::disk::log_header;

    use super::super::encode_record;
    use super::*;
    use crate::disk::Dir;
    use crate::sim::SimDisk;

    #[test]
    fn everything_is_shown_and_nothing_judged() {
        let disk = SimDisk::new(true);
        let path = FilePath::new(Dir::Log, "log.1");
        disk.create_dir(Dir::Log).unwrap();
        let file = disk.create(&path).unwrap();
        let mut bytes = log_header().to_vec();
        encode_record(b"first", &mut bytes);
        let second = bytes.len();
        encode_record(b"second", &mut bytes);
        bytes[second + 3] ^= 1;
        encode_record(b"third", &mut bytes);
        *bytes.last_mut().unwrap() = 0;
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&(-5_i32).to_be_bytes());
        disk.write_at(&file, 0, &bytes).unwrap();

        let mut scan = Scan::open(&disk, &path).unwrap();
        assert_eq!(scan.header().unwrap().unwrap().version, 2);
        let mut seen = Vec::new();
        loop {
            match scan.read().unwrap() {
                Entry::Record { checksum, computed, bytes, marked, .. } => {
                    seen.push((bytes, checksum == computed, marked));
                }
                Entry::Unreadable { length, .. } => {
                    assert_eq!(length, -5);
                    break;
                }
                Entry::End => panic!("something is left"),
            }
        }
        let of = |text: &'static str| Bytes::from_static(text.as_bytes());
        assert_eq!(
            seen,
            [(of("first"), true, true), (of("second"), false, true), (of("third"), true, false)]
        );
    }
}
