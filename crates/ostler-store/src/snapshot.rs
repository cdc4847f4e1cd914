//! Snapshots: the whole tree in one file, as Java writes it. Answers to Java's `FileSnap` and `SerializeUtils`.
//! What follows the first seal is recognised by its length, not by the configuration as in Java, where a reader
//! with another configuration than the writer's refuses a good file.

use ostler_wire::disk::StatPersisted;
use ostler_wire::{Acl, SessionId, Zxid};

mod convert;
mod framing;
mod read;
mod source;
mod window;
mod write;

pub use convert::convert;
pub use read::{Limits, SnapshotInfo, is_plausible, read, verify};
pub use write::{SealedSnapshot, SnapshotOptions, SnapshotWriter, remove_temporaries};

/// What a snapshot knows of the digest: of which zxid, in which version, and what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotDigest {
    /// The tree has this digest once the log was replayed up to here.
    pub zxid: Zxid,
    /// The version of the algorithm.
    pub version: i32,
    /// The digest.
    pub digest: i64,
}

/// Who takes the contents of a snapshot: sessions, then the table of ACLs, then the nodes, a parent before its
/// children. An error (in words) makes the snapshot one that cannot be read.
pub trait SnapshotVisitor {
    /// A session and its timeout.
    fn session(&mut self, id: SessionId, timeout_ms: i32) -> Result<(), String>;
    /// An entry of the table of ACLs.
    fn acl(&mut self, id: i64, list: Vec<Acl>) -> Result<(), String>;
    /// A node; the root has the path "".
    fn node(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl_id: i64,
        stat: &StatPersisted,
    ) -> Result<(), String>;
}

/// Takes everything and keeps nothing: to check a file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ignore;

impl SnapshotVisitor for Ignore {
    fn session(&mut self, _: SessionId, _: i32) -> Result<(), String> {
        Ok(())
    }

    fn acl(&mut self, _: i64, _: Vec<Acl>) -> Result<(), String> {
        Ok(())
    }

    fn node(&mut self, _: &str, _: Option<&[u8]>, _: i64, _: &StatPersisted) -> Result<(), String> {
        Ok(())
    }
}
