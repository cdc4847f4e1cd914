//! `Stat`, the 68 bytes that clients see of a znode's bookkeeping.

use crate::error::DecodeError;
use crate::jute::{Reader, Writer};

/// A znode's bookkeeping as a client sees it. Times are milliseconds of the wall clock of the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stat {
    /// The zxid of the creation.
    pub czxid: i64,
    /// The zxid of the last change of data.
    pub mzxid: i64,
    /// When it was created.
    pub ctime: i64,
    /// When its data last changed.
    pub mtime: i64,
    /// How often the data changed.
    pub version: i32,
    /// How often children came or went.
    pub cversion: i32,
    /// How often the ACL changed.
    pub aversion: i32,
    /// The session that owns an ephemeral, else 0.
    pub ephemeral_owner: i64,
    /// Bytes of data.
    pub data_length: i32,
    /// Direct children.
    pub num_children: i32,
    /// The zxid of the last child that came or went.
    pub pzxid: i64,
}

impl Stat {
    /// Encoded bytes.
    pub const LEN: usize = 68;

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
        out.put_int(self.data_length);
        out.put_int(self.num_children);
        out.put_long(self.pzxid);
    }

    /// Reads the record.
    #[inline]
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        // Mostly all of it is there, and one look at the length will do.
        match reader.array::<{ Self::LEN }>() {
            Some(bytes) => Ok(Self::of_bytes(bytes)),
            None => Self::decode_piece_by_piece(reader),
        }
    }

    /// Reads the record from its bytes.
    #[inline]
    #[must_use]
    pub fn of_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let int = |at: usize| i32::from_be_bytes(*bytes[at..].first_chunk().expect("within the record"));
        let long = |at: usize| i64::from_be_bytes(*bytes[at..].first_chunk().expect("within the record"));
        Self {
            czxid: long(0),
            mzxid: long(8),
            ctime: long(16),
            mtime: long(24),
            version: int(32),
            cversion: int(36),
            aversion: int(40),
            ephemeral_owner: long(44),
            data_length: int(52),
            num_children: int(56),
            pzxid: long(60),
        }
    }

    /// Says what is missing of a record that is cut off.
    #[cold]
    fn decode_piece_by_piece(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            czxid: reader.long("stat.czxid")?,
            mzxid: reader.long("stat.mzxid")?,
            ctime: reader.long("stat.ctime")?,
            mtime: reader.long("stat.mtime")?,
            version: reader.int("stat.version")?,
            cversion: reader.int("stat.cversion")?,
            aversion: reader.int("stat.aversion")?,
            ephemeral_owner: reader.long("stat.ephemeralOwner")?,
            data_length: reader.int("stat.dataLength")?,
            num_children: reader.int("stat.numChildren")?,
            pzxid: reader.long("stat.pzxid")?,
        })
    }
}
