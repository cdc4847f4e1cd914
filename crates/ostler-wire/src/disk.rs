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
/// What ends a record of the log.
pub const END_OF_RECORD: u8 = b'B';

/// `ephemeralOwner` of a container.
pub const CONTAINER_OWNER: i64 = i64::MIN;

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
