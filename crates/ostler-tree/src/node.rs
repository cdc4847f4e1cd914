//! One znode, packed into 64 bytes, a line of a cache, and one allocation that holds name and data, since a server holds
//! millions. What became of it since it was created, if anything did, is in two records beside it, which the tree keeps:
//! one for its data, one for its children. Answers to Java's `DataNode`.

use ostler_wire::disk::StatPersisted;

use crate::digest;
use crate::key_set::KeySet;

/// No record.
pub(crate) const NONE: u32 = u32::MAX;

const NULL_DATA: u32 = 1 << 31;
const UNDIGESTED: u32 = 1 << 30;
/// The longest name, in bytes, that a node can have.
pub(crate) const MAX_NAME: usize = UNDIGESTED as usize - 1;

/// A znode. Its path is its parent's and its name.
#[derive(Debug, Default)]
pub(crate) struct Node {
    /// Name, then data.
    blob: Box<[u8]>,
    czxid: i64,
    ctime: i64,
    owner: i64,
    /// The length of the name, and flags above it.
    name: u32,
    /// The handle of its ACL.
    pub(crate) acl: u32,
    /// CRC of path and data; the digest continues it over the Stat.
    pub(crate) crc: u32,
    /// The parent's id; the root is its own.
    pub(crate) parent: u32,
    /// The id of its record of writes, or `NONE`.
    pub(crate) written: u32,
    /// The id of its record of children, or `NONE`.
    pub(crate) family: u32,
}

/// What only a node has whose data was set since it was created.
#[derive(Debug, Default)]
pub(crate) struct Written {
    mzxid: i64,
    mtime: i64,
    version: i32,
}

impl Written {
    /// Its part of the bookkeeping, if that is not what a node without it has.
    pub(crate) fn of(stat: &StatPersisted) -> Option<Self> {
        let fresh = stat.mzxid == stat.czxid && stat.mtime == stat.ctime && stat.version == 0;
        (!fresh).then_some(Self { mzxid: stat.mzxid, mtime: stat.mtime, version: stat.version })
    }
}

/// What only a node has that once had children, or got another ACL.
#[derive(Debug, Default)]
pub(crate) struct Family {
    /// Children by (hash of the name, id), packed into one number.
    pub(crate) children: KeySet,
    pzxid: i64,
    cversion: i32,
    aversion: i32,
}

impl Family {
    /// Whether this bookkeeping is not that of a node without it.
    pub(crate) fn is_needed(stat: &StatPersisted) -> bool {
        stat.pzxid != stat.czxid || stat.cversion != 0 || stat.aversion != 0
    }

    /// Replaces its part of the bookkeeping.
    pub(crate) fn set_stat(&mut self, stat: &StatPersisted) {
        self.pzxid = stat.pzxid;
        self.cversion = stat.cversion;
        self.aversion = stat.aversion;
    }
}

impl Node {
    /// A node without records, and so with no more of `stat` than its creation. `digested` says whether it counts in
    /// the tree's digest.
    pub(crate) fn new(
        parent: u32,
        name: &str,
        data: Option<&[u8]>,
        acl: u32,
        stat: &StatPersisted,
        digested: bool,
    ) -> Self {
        assert!(name.len() <= MAX_NAME, "callers refuse longer names");
        let flags = if digested { 0 } else { UNDIGESTED };
        let mut node = Self {
            blob: blob(name.as_bytes(), data),
            name: name.len() as u32 | flags,
            acl,
            parent,
            written: NONE,
            family: NONE,
            ..Self::default()
        };
        node.set_null(data.is_none());
        node.set_stat(stat);
        node
    }

    /// The last component of its path; empty for the root.
    pub(crate) fn name(&self) -> &str {
        std::str::from_utf8(self.name_bytes()).expect("it was made from a str")
    }

    /// The bytes of the name.
    pub(crate) fn name_bytes(&self) -> &[u8] {
        &self.blob[..self.name_len()]
    }

    /// Its data; `None` is null.
    pub(crate) fn data(&self) -> Option<&[u8]> {
        if self.name & NULL_DATA == 0 { Some(&self.blob[self.name_len()..]) } else { None }
    }

    /// Bytes of data.
    pub(crate) fn data_len(&self) -> usize {
        self.blob.len() - self.name_len()
    }

    /// Replaces the data, not the bookkeeping.
    pub(crate) fn set_data(&mut self, data: Option<&[u8]>) {
        self.blob = blob(self.name_bytes(), data);
        self.set_null(data.is_none());
    }

    /// Its bookkeeping, with the records that it has.
    pub(crate) fn stat(&self, written: Option<&Written>, family: Option<&Family>) -> StatPersisted {
        let mut stat = StatPersisted {
            czxid: self.czxid,
            mzxid: self.czxid,
            ctime: self.ctime,
            mtime: self.ctime,
            ephemeral_owner: self.owner,
            pzxid: self.czxid,
            ..StatPersisted::default()
        };
        if let Some(written) = written {
            (stat.mzxid, stat.mtime, stat.version) = (written.mzxid, written.mtime, written.version);
        }
        if let Some(family) = family {
            (stat.pzxid, stat.cversion, stat.aversion) = (family.pzxid, family.cversion, family.aversion);
        }
        stat
    }

    /// Replaces the bookkeeping but for what the records hold.
    pub(crate) fn set_stat(&mut self, stat: &StatPersisted) {
        self.czxid = stat.czxid;
        self.ctime = stat.ctime;
        self.owner = stat.ephemeral_owner;
    }

    /// The zxid of the creation.
    pub(crate) fn czxid(&self) -> i64 {
        self.czxid
    }

    /// Its `ephemeralOwner` as stored.
    pub(crate) fn owner(&self) -> i64 {
        self.owner
    }

    /// Whether it counts in the tree's digest.
    pub(crate) fn is_digested(&self) -> bool {
        self.name & UNDIGESTED == 0
    }

    /// What it adds to the tree's digest, with this bookkeeping.
    pub(crate) fn digest(&self, stat: &StatPersisted) -> u64 {
        if self.is_digested() { digest::of(self.crc, stat) } else { 0 }
    }

    fn name_len(&self) -> usize {
        (self.name & !(NULL_DATA | UNDIGESTED)) as usize
    }

    fn set_null(&mut self, null: bool) {
        self.name = if null { self.name | NULL_DATA } else { self.name & !NULL_DATA };
    }
}

fn blob(name: &[u8], data: Option<&[u8]>) -> Box<[u8]> {
    let data = data.unwrap_or_default();
    let mut bytes = Vec::with_capacity(name.len() + data.len());
    bytes.extend_from_slice(name);
    bytes.extend_from_slice(data);
    bytes.into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_takes_64_bytes() {
        assert_eq!(size_of::<Node>(), 64);
        assert_eq!(size_of::<Written>(), 24);
    }

    #[test]
    fn null_and_empty_data_differ() {
        let stat =
            StatPersisted { czxid: 1, mzxid: 2, cversion: -3, ephemeral_owner: 9, ..Default::default() };
        let mut node = Node::new(0, "name", None, 0, &stat, false);
        assert_eq!((node.name(), node.data(), node.data_len()), ("name", None, 0));
        node.set_data(Some(b""));
        assert_eq!(node.data(), Some(&b""[..]));
        node.set_data(Some(b"data"));
        assert_eq!((node.name(), node.data(), node.data_len()), ("name", Some(&b"data"[..]), 4));
        assert!(!node.is_digested());
        assert_eq!(node.digest(&stat), 0);

        let written = Written::of(&stat).unwrap();
        assert!(Family::is_needed(&stat));
        let mut family = Family::default();
        family.set_stat(&stat);
        assert_eq!(node.stat(Some(&written), Some(&family)), stat);
        let plain = StatPersisted { mzxid: 1, pzxid: 1, cversion: 0, ..stat };
        assert!(Written::of(&plain).is_none() && !Family::is_needed(&plain));
        assert_eq!(node.stat(None, None), plain);
        for written in [
            StatPersisted { mzxid: 2, ..plain },
            StatPersisted { mtime: 1, ..plain },
            StatPersisted { version: -1, ..plain },
        ] {
            assert_eq!(node.stat(Written::of(&written).as_ref(), None), written);
        }
    }
}
