//! Records of the files: the log and the snapshot, and how they begin and end.

use crate::error::DecodeError;
use crate::jute::{Reader, Writer};

/// What a log file begins with.
pub const LOG_MAGIC: [u8; 4] = *b"ZKLG";
/// What a snapshot begins with.
pub const SNAPSHOT_MAGIC: [u8; 4] = *b"ZKSN";
/// The version of both formats.
pub const FILE_VERSION: i32 = 2;
/// Bytes of the header of both files: magic, version, database id.
pub const FILE_HEADER_LEN: usize = 16;
/// The database id that is written into logs.
pub const LOG_DATABASE_ID: i64 = 0;
/// The database id that is written into snapshots.
pub const SNAPSHOT_DATABASE_ID: i64 = -1;
/// What ends a record of the log.
pub const END_OF_RECORD: u8 = b'B';
/// Bytes before an entry of the log: checksum and length.
pub const RECORD_HEADER_LEN: usize = 12;
/// Where the nodes of a snapshot end: the path "/", which no node has.
pub const SNAPSHOT_END: [u8; 5] = [0, 0, 0, 1, b'/'];
/// Bytes of a seal: the checksum of all before it, and the end mark.
pub const SEAL_LEN: usize = 8 + SNAPSHOT_END.len();
/// Bytes of the section with the digest, its seal not counted.
pub const DIGEST_SECTION_LEN: usize = 20;
/// Bytes of the section with the last zxid, its seal not counted.
pub const LAST_ZXID_SECTION_LEN: usize = 8;

/// `ephemeralOwner` of a container.
pub const CONTAINER_OWNER: i64 = i64::MIN;

/// The header of a log file.
#[must_use]
pub fn log_header() -> [u8; FILE_HEADER_LEN] {
    file_header(LOG_MAGIC, LOG_DATABASE_ID)
}

/// The header of a snapshot.
#[must_use]
pub fn snapshot_header() -> [u8; FILE_HEADER_LEN] {
    file_header(SNAPSHOT_MAGIC, SNAPSHOT_DATABASE_ID)
}

fn file_header(magic: [u8; 4], database_id: i64) -> [u8; FILE_HEADER_LEN] {
    let mut header = [0; FILE_HEADER_LEN];
    header[..4].copy_from_slice(&magic);
    header[4..8].copy_from_slice(&FILE_VERSION.to_be_bytes());
    header[8..].copy_from_slice(&database_id.to_be_bytes());
    header
}

/// A znode's bookkeeping as it is stored: `cversion` counts creations only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the fields are those of Stat")]
pub struct StatPersisted {
    pub czxid: i64,
    pub mzxid: i64,
    pub ctime: i64,
    pub mtime: i64,
    pub version: i32,
    pub cversion: i32,
    pub aversion: i32,
    pub ephemeral_owner: i64,
    pub pzxid: i64,
}

impl StatPersisted {
    /// Encoded bytes.
    pub const LEN: usize = 60;

    /// Appends the record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_long(self.czxid);
        out.put_long(self.mzxid);
        out.put_long(self.ctime);
        out.put_long(self.mtime);
        out.put_int(self.version);
        out.put_int(self.cversion);
        out.put_int(self.aversion);
        out.put_long(self.ephemeral_owner);
        out.put_long(self.pzxid);
    }

    /// Reads the record.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            czxid: reader.long("stat.czxid")?,
            mzxid: reader.long("stat.mzxid")?,
            ctime: reader.long("stat.ctime")?,
            mtime: reader.long("stat.mtime")?,
            version: reader.int("stat.version")?,
            cversion: reader.int("stat.cversion")?,
            aversion: reader.int("stat.aversion")?,
            ephemeral_owner: reader.long("stat.ephemeralOwner")?,
            pzxid: reader.long("stat.pzxid")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_as_java_writes_them() {
        assert_eq!(&log_header(), b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0");
        assert_eq!(&snapshot_header(), b"ZKSN\0\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xff");
    }

    #[test]
    fn a_stat_survives_encoding_in_its_60_bytes() {
        let stat = StatPersisted {
            czxid: 1,
            mzxid: 2,
            ctime: 3,
            mtime: 4,
            version: 5,
            cversion: 6,
            aversion: 7,
            ephemeral_owner: CONTAINER_OWNER,
            pzxid: 9,
        };
        let mut bytes = Vec::new();
        stat.encode(&mut bytes);
        assert_eq!(bytes.len(), StatPersisted::LEN);
        assert_eq!(StatPersisted::decode(&mut Reader::new(&bytes)).unwrap(), stat);
    }
}
