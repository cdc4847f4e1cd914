//! What applying a transaction yields: the answer for who asked, and the changes that watches wait for.

use std::sync::Arc;

use ostler_wire::client::event::EventType;
use ostler_wire::{Code, OpCode, SessionId, Stat, Zxid};

use crate::acl::AclRef;

/// What a transaction came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was done, and there is nothing to say about it: delete, check, closeSession.
    Done,
    /// A node was created. An answer to opcode 1 tells the path only.
    Created {
        /// Its final path.
        path: Arc<str>,
        /// Its Stat.
        stat: Stat,
    },
    /// A node was changed: setData, setACL, reconfig.
    Stat(Stat),
    /// It failed and changed nothing that a client sees.
    Error(Code),
    /// A multi, part by part; also one that failed.
    Multi(Vec<Part>),
    /// A session began.
    Session {
        /// Its id.
        id: SessionId,
        /// What it negotiated.
        timeout_ms: i32,
    },
}

/// What one operation of a multi came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The type of the result: `Create` with a path, `Create2` with path and Stat (for every other create, too),
    /// `Delete`, `SetData`, `Check`, and `Error` for each part of a multi that failed.
    pub op: OpCode,
    /// The code of an `Error` part, which is 0 for those before the one that failed.
    pub err: i32,
    /// The result of a part that is no `Error`, else `Done`.
    pub outcome: Outcome,
}

/// A change of one znode, as watches see it. That a child came or went of the parent is for the watch table to
/// derive. The lists are those at the time of the transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The transaction.
    pub zxid: Zxid,
    /// `NodeCreated`, `NodeDeleted` or `NodeDataChanged`.
    pub kind: EventType,
    /// The znode.
    pub path: Arc<str>,
    /// Its list.
    pub acl: AclRef,
    /// The parent's list, where the znode came or went.
    pub parent_acl: Option<AclRef>,
}
