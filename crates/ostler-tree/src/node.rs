//! One znode, packed into 80 bytes and one allocation that holds name and data, since a server holds millions. What
//! most of them do not have, children above all, is in an annex, which the tree keeps. Answers to Java's `DataNode`.

use ostler_wire::disk::StatPersisted;

use crate::digest;
use crate::key_set::KeySet;

/// No annex.
pub(crate) const NO_ANNEX: u32 = u32::MAX;

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
    mzxid: i64,
    ctime: i64,
    mtime: i64,
    owner: i64,
    version: i32,
    /// The length of the name, and flags above it.
    name: u32,
    /// The handle of its ACL.
    pub(crate) acl: u32,
    /// CRC of path and data; the digest continues it over the Stat.
    pub(crate) crc: u32,
    /// The parent's id; the root is its own.
    pub(crate) parent: u32,
    /// The id of its annex, or `NO_ANNEX`.
    pub(crate) annex: u32,
}

/// What only a node has that once had children or got another ACL.
#[derive(Debug, Default)]
pub(crate) struct Annex {
    /// Children by (hash of the name, id), packed into one number.
    pub(crate) children: KeySet,
    pzxid: i64,
    cversion: i32,
    aversion: i32,
}

impl Annex {
    /// Whether this bookkeeping is not that of a node without an annex.
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
    /// A node without an annex. `digested` says whether it counts in the tree's digest.
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
            annex: NO_ANNEX,
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

    /// Its bookkeeping, with its annex if it has one.
    pub(crate) fn stat(&self, annex: Option<&Annex>) -> StatPersisted {
        let (pzxid, cversion, aversion) =
            annex.map_or((self.czxid, 0, 0), |annex| (annex.pzxid, annex.cversion, annex.aversion));
        StatPersisted {
            czxid: self.czxid,
            mzxid: self.mzxid,
            ctime: self.ctime,
            mtime: self.mtime,
            version: self.version,
            cversion,
            aversion,
            ephemeral_owner: self.owner,
            pzxid,
        }
    }

    /// Replaces the bookkeeping but for what an annex holds.
    pub(crate) fn set_stat(&mut self, stat: &StatPersisted) {
        self.czxid = stat.czxid;
        self.mzxid = stat.mzxid;
        self.ctime = stat.ctime;
        self.mtime = stat.mtime;
        self.version = stat.version;
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
    fn a_node_takes_80_bytes() {
        assert_eq!(size_of::<Node>(), 80);
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

        assert!(Annex::is_needed(&stat));
        let mut annex = Annex::default();
        annex.set_stat(&stat);
        assert_eq!(node.stat(Some(&annex)), stat);
        let plain = StatPersisted { pzxid: 1, cversion: 0, ..stat };
        assert!(!Annex::is_needed(&plain));
        assert_eq!(node.stat(None), plain);
    }
}
