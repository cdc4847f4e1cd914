//! A second, plain implementation of the tree to restore into: a map of paths, the rules of replay as they are
//! written down, and the digest computed from scratch each time. Slow, and independent of `ostler-tree`.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ostler_store::sim::SimDisk;
use ostler_store::{Dir, FilePath, Replayed, RestoreSink, SnapshotDigest};
use ostler_wire::disk::{CONTAINER_OWNER, StatPersisted};
use ostler_wire::jute::Writer;
use ostler_wire::txn::{CreateKind, CreateTxn, DIGEST_VERSION, Txn, TxnHeader};
use ostler_wire::{Acl, SessionId, Zxid};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub data: Option<Vec<u8>>,
    /// `None` until a transaction gives it, when the snapshot refers to an entry that it does not have.
    pub acl: Option<Vec<Acl>>,
    pub stat: StatPersisted,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Naive {
    pub nodes: BTreeMap<String, Node>,
    pub sessions: BTreeMap<SessionId, i32>,
    pub last: Zxid,
    acls: BTreeMap<i64, Vec<Acl>>,
    pending_digest: Option<SnapshotDigest>,
    pub digests_checked: u64,
    pub digest_mismatches: u64,
}

impl RestoreSink for Naive {
    fn fresh(&mut self) {
        *self = Self::default();
        let node = |acl, aversion| Node {
            data: Some(Vec::new()),
            acl: Some(acl),
            stat: StatPersisted { aversion, ..StatPersisted::default() },
        };
        for path in ["", "/zookeeper", "/zookeeper/quota"] {
            self.nodes.insert(path.into(), node(Acl::open(), 0));
        }
        self.nodes.insert("/zookeeper/config".into(), node(vec![Acl::world(1)], -1));
    }

    fn begin_snapshot(&mut self) {
        *self = Self::default();
    }

    fn session(&mut self, id: SessionId, timeout_ms: i32) -> Result<(), String> {
        self.sessions.insert(id, timeout_ms);
        Ok(())
    }

    fn acl(&mut self, id: i64, list: Vec<Acl>) -> Result<(), String> {
        self.acls.insert(id, list);
        Ok(())
    }

    fn node(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl_id: i64,
        stat: &StatPersisted,
    ) -> Result<(), String> {
        let acl = if acl_id == -1 { Some(Acl::open()) } else { self.acls.get(&acl_id).cloned() };
        if !path.is_empty() && !self.nodes.contains_key(parent(path)) {
            return Err(format!("{path} comes before its parent"));
        }
        let node = Node { data: data.map(<[u8]>::to_vec), acl, stat: *stat };
        self.nodes.insert(path.to_owned(), node);
        Ok(())
    }

    fn end_snapshot(&mut self, zxid: Zxid, digest: Option<SnapshotDigest>) -> Result<(), String> {
        self.last = zxid;
        // One of no zxid says that none was known.
        self.pending_digest = digest.filter(|digest| digest.zxid.0 != 0);
        self.settle_snapshot_digest();
        Ok(())
    }

    fn apply(&mut self, txn: Replayed) -> Result<(), String> {
        let header = txn.entry.header;
        match &txn.entry.txn {
            Txn::Multi(parts) => {
                if !txn.entry.txn.is_failed_multi() {
                    for part in parts {
                        self.apply_one(header, part);
                    }
                }
            }
            one => self.apply_one(header, one),
        }
        self.last = self.last.max(header.zxid);
        let pending = self.pending_digest.is_some();
        self.settle_snapshot_digest();
        if let Some(digest) = txn.entry.digest
            && !pending
        {
            self.compare(digest.digest);
        }
        Ok(())
    }
}

impl Naive {
    fn settle_snapshot_digest(&mut self) {
        if let Some(digest) = self.pending_digest
            && digest.zxid <= self.last
        {
            self.pending_digest = None;
            self.compare(digest.digest);
        }
    }

    fn compare(&mut self, digest: i64) {
        self.digests_checked += 1;
        self.digest_mismatches += u64::from(self.digest() != digest);
    }

    fn apply_one(&mut self, header: TxnHeader, txn: &Txn) {
        match txn {
            Txn::CreateSession { timeout_ms } => {
                self.sessions.insert(header.session, *timeout_ms);
            }
            Txn::CloseSession { paths } => {
                self.sessions.remove(&header.session);
                for path in paths.iter().flatten() {
                    self.delete(path, header.zxid);
                }
                for path in self.ephemerals(header.session) {
                    self.delete(&path, header.zxid);
                }
            }
            Txn::Create(create) => self.create(header, create),
            Txn::Delete { path } | Txn::DeleteContainer { path } => self.delete(path, header.zxid),
            Txn::SetData { path, data, version } | Txn::Reconfig { path, data, version } => {
                if let Some(node) = self.nodes.get_mut(root_is_empty(path)) {
                    node.data = data.as_ref().map(|data| data.to_vec());
                    node.stat.version = *version;
                    node.stat.mzxid = header.zxid.0;
                    node.stat.mtime = header.time_ms;
                }
            }
            Txn::SetAcl { path, acl, version } => {
                if let Some(node) = self.nodes.get_mut(root_is_empty(path)) {
                    node.acl = Some(acl.as_ref().map_or_else(Acl::open, |acl| acl.to_vec()));
                    node.stat.aversion = *version;
                }
            }
            Txn::Error { .. } | Txn::Check { .. } => {}
            Txn::Multi(_) => panic!("a multi in a multi does not decode"),
        }
    }

    fn create(&mut self, header: TxnHeader, txn: &CreateTxn) {
        let path = parent(&txn.path);
        let exists = self.nodes.contains_key(&txn.path);
        let Some(above) = self.nodes.get_mut(path) else { return };
        let first = matches!(txn.kind, CreateKind::Plain { second: false, .. });
        if !exists || first {
            let cversion =
                if txn.parent_cversion == -1 { above.stat.cversion + 1 } else { txn.parent_cversion };
            if cversion > above.stat.cversion {
                above.stat.cversion = cversion;
                above.stat.pzxid = header.zxid.0;
            }
        }
        let acl = txn.acl.as_ref().map_or_else(Acl::open, |acl| acl.to_vec());
        if let Some(node) = self.nodes.get_mut(&txn.path) {
            node.acl = Some(acl);
            return;
        }
        let ephemeral_owner = match txn.kind {
            CreateKind::Plain { ephemeral: true, .. } => header.session.0,
            CreateKind::Plain { ephemeral: false, .. } => 0,
            CreateKind::Container => CONTAINER_OWNER,
            CreateKind::Ttl { ttl_ms } => (0xff00_u64 << 48).cast_signed() | ttl_ms,
        };
        let stat = StatPersisted {
            czxid: header.zxid.0,
            mzxid: header.zxid.0,
            pzxid: header.zxid.0,
            ctime: header.time_ms,
            mtime: header.time_ms,
            ephemeral_owner,
            ..StatPersisted::default()
        };
        let data = txn.data.as_ref().map(|data| data.to_vec());
        self.nodes.insert(txn.path.clone(), Node { data, acl: Some(acl), stat });
    }

    fn delete(&mut self, path: &str, zxid: Zxid) {
        let Some(above) = self.nodes.get_mut(parent(path)) else { return };
        above.stat.pzxid = above.stat.pzxid.max(zxid.0);
        self.nodes.remove(path);
    }

    pub fn ephemerals(&self, session: SessionId) -> BTreeSet<String> {
        let own = self.nodes.iter().filter(|(_, node)| node.stat.ephemeral_owner == session.0);
        own.map(|(path, _)| path.clone()).collect()
    }

    pub fn children(&self, path: &str) -> usize {
        self.nodes.keys().filter(|child| !child.is_empty() && parent(child) == path).count()
    }

    /// The text of a quota's statistics is not in the log: every server counts for itself.
    pub fn count_quotas(&mut self) {
        let limits = self.nodes.keys().filter_map(|path| {
            path.strip_prefix("/zookeeper/quota")?.strip_suffix("/zookeeper_limits").map(str::to_owned)
        });
        for real in limits.collect::<Vec<_>>() {
            let below = format!("{real}/");
            let counted = self.nodes.iter().filter(|(path, _)| **path == real || path.starts_with(&below));
            let (count, bytes) = counted.fold((0, 0), |(count, bytes), (_, node)| {
                (count + 1, bytes + node.data.as_ref().map_or(0, Vec::len))
            });
            if let Some(stats) = self.nodes.get_mut(&format!("/zookeeper/quota{real}/zookeeper_stats")) {
                stats.data = Some(format!("count={count},bytes={bytes}").into_bytes());
            }
        }
    }

    pub fn digest(&self) -> i64 {
        let counted = self.nodes.iter().filter(|(path, _)| !path.starts_with("/zookeeper/"));
        counted.fold(0, |sum, (path, node)| sum.wrapping_add(i64::from(node_digest(path, node))))
    }
}

fn node_digest(path: &str, node: &Node) -> u32 {
    let mut bytes = path.as_bytes().to_vec();
    bytes.extend_from_slice(node.data.as_deref().unwrap_or_default());
    let stat = &node.stat;
    for long in [stat.czxid, stat.mzxid, stat.pzxid, stat.ctime, stat.mtime] {
        bytes.extend_from_slice(&long.to_be_bytes());
    }
    for int in [stat.version, stat.cversion, stat.aversion] {
        bytes.extend_from_slice(&int.to_be_bytes());
    }
    bytes.extend_from_slice(&stat.ephemeral_owner.to_be_bytes());
    crc32(&bytes)
}

fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let mut crc = byte as u32;
            let mut bit = 0;
            while bit < 8 {
                crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
                bit += 1;
            }
            table[byte] = crc;
            byte += 1;
        }
        table
    };
    !bytes.iter().fold(u32::MAX, |crc, byte| (crc >> 8) ^ TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize])
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn root_is_empty(path: &str) -> &str {
    if path == "/" { "" } else { path }
}

impl Naive {
    /// What a snapshot of this tree says of its digest.
    pub fn snapshot_digest(&self) -> SnapshotDigest {
        SnapshotDigest { zxid: self.last, version: DIGEST_VERSION, digest: self.digest() }
    }

    /// The body of a snapshot as a server writes it.
    pub fn snapshot_body(&self) -> Vec<u8> {
        let mut lists: Vec<&Vec<Acl>> = Vec::new();
        for node in self.nodes.values() {
            let acl = node.acl.as_ref().expect("every node has an ACL by now");
            if *acl != Acl::open() && !lists.contains(&acl) {
                lists.push(acl);
            }
        }
        let mut body = Vec::new();
        body.put_count(self.sessions.len());
        for (id, timeout_ms) in &self.sessions {
            body.put_long(id.0);
            body.put_int(*timeout_ms);
        }
        body.put_count(lists.len());
        for (i, list) in lists.iter().enumerate() {
            body.put_long(i as i64 + 1);
            ostler_wire::acl::encode_list(list, &mut body);
        }
        for (path, node) in &self.nodes {
            body.put_string(path);
            body.put_buffer(node.data.as_deref());
            let at = lists.iter().position(|list| Some(*list) == node.acl.as_ref());
            body.put_long(at.map_or(-1, |at| at as i64 + 1));
            node.stat.encode(&mut body);
        }
        body.put_string("/");
        body
    }
}

/// A disk with the files of these directories on it.
pub fn load(data_dir: &Path, log_dir: Option<&Path>) -> SimDisk {
    let disk = SimDisk::new(log_dir.is_none());
    let fill = |from: &Path, parent: Dir, dir: Dir| {
        for (place, path) in [(parent, from.to_path_buf()), (dir, from.join("version-2"))] {
            for entry in std::fs::read_dir(path).expect("a fixture") {
                let entry = entry.expect("a fixture");
                if entry.file_type().expect("a fixture").is_file() {
                    let name = entry.file_name().into_string().expect("a fixture");
                    disk.put(&FilePath::new(place, name), &std::fs::read(entry.path()).expect("a fixture"));
                }
            }
        }
    };
    fill(data_dir, Dir::SnapParent, Dir::Snap);
    if let Some(log_dir) = log_dir {
        fill(log_dir, Dir::LogParent, Dir::Log);
    }
    disk
}
