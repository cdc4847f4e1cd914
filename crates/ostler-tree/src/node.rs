//! One znode, packed into 96 bytes and one allocation that holds name and data, since a server holds millions.
//! Answers to Java's `DataNode`; the children are kept by the tree, for the few nodes that have any.

use ostler_wire::disk::StatPersisted;

use crate::digest;

/// No set of children.
pub(crate) const NO_CHILDREN: u32 = u32::MAX;

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
    pzxid: i64,
    owner: i64,
    version: i32,
    cversion: i32,
    aversion: i32,
    /// The length of the name, and flags above it.
    name: u32,
    /// The handle of its ACL.
    pub(crate) acl: u32,
    /// CRC of path and data; the digest continues it over the Stat.
    pub(crate) crc: u32,
    /// The parent's id; the root is its own.
    pub(crate) parent: u32,
    /// The id of the set of its children, or `NO_CHILDREN`.
    pub(crate) children: u32,
}

impl Node {
    /// A node without children. `digested` says whether it counts in the tree's digest.
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
            children: NO_CHILDREN,
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

    /// Its bookkeeping.
    pub(crate) fn stat(&self) -> StatPersisted {
        StatPersisted {
            czxid: self.czxid,
            mzxid: self.mzxid,
            ctime: self.ctime,
            mtime: self.mtime,
            version: self.version,
            cversion: self.cversion,
            aversion: self.aversion,
            ephemeral_owner: self.owner,
            pzxid: self.pzxid,
        }
    }

    /// Replaces the bookkeeping.
    pub(crate) fn set_stat(&mut self, stat: &StatPersisted) {
        self.czxid = stat.czxid;
        self.mzxid = stat.mzxid;
        self.ctime = stat.ctime;
        self.mtime = stat.mtime;
        self.version = stat.version;
        self.cversion = stat.cversion;
        self.aversion = stat.aversion;
        self.owner = stat.ephemeral_owner;
        self.pzxid = stat.pzxid;
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

    /// What it adds to the tree's digest.
    pub(crate) fn digest(&self) -> u64 {
        if self.is_digested() { digest::of(self.crc, &self.stat()) } else { 0 }
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
    fn a_node_takes_96_bytes() {
        assert_eq!(size_of::<Node>(), 96);
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
        assert_eq!(node.stat(), stat);
        assert!(!node.is_digested());
        assert_eq!(node.digest(), 0);
    }
}
