//! The packets of the learner port, one variant per type. `L` is a learner, `M` the server that it learns from.

use std::borrow::Cow;

use bytes::Bytes;

use crate::txn::TxnEntry;
use crate::{Id, ServerId, SessionId, Zxid};

/// What travels between a learner and the server that it learns from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Packet {
    /// L to M: a client's write.
    Request(Forwarded),
    /// M to L: a transaction to log.
    Proposal {
        /// Its zxid.
        zxid: Zxid,
        /// The entry as it goes into the log.
        entry: Bytes,
    },
    /// L to M: durable, a transaction or (counter 0) the history of an epoch.
    Ack {
        /// What is durable.
        zxid: Zxid,
    },
    /// M to L: a quorum has it.
    Commit {
        /// The transaction.
        zxid: Zxid,
    },
    /// Both ways: alive.
    Ping {
        /// M: the last proposal; L: the same.
        zxid: Zxid,
        /// L: pairs of a session and its timeout in milliseconds; see [`Packet::touches`].
        data: Bytes,
    },
    /// L to M: is this session alive? It moves to L if it is.
    Revalidate {
        /// The session.
        session: SessionId,
        /// Its timeout in milliseconds.
        timeout_ms: i32,
    },
    /// M to L: the answer.
    Revalidated {
        /// The session.
        session: SessionId,
        /// Whether it lives.
        valid: bool,
    },
    /// M to L: the oldest sync that L asked for may complete.
    Sync,
    /// M to observer: a committed transaction.
    Inform {
        /// Its zxid.
        zxid: Zxid,
        /// The entry as it goes into the log.
        entry: Bytes,
    },
    /// M to L: like `Commit`, of a change of membership.
    CommitAndActivate {
        /// The transaction.
        zxid: Zxid,
        /// Who is to lead from here.
        leader: ServerId,
    },
    /// M to L: the history is complete.
    NewLeader {
        /// The epoch with counter 0.
        zxid: Zxid,
        /// The member list of the leader, as text.
        members: Option<Bytes>,
    },
    /// L to M, the first packet of one that takes part.
    FollowerInfo {
        /// The highest epoch that L accepted.
        accepted_epoch: i64,
        /// Who it is.
        info: LearnerInfo,
    },
    /// M to L: serve.
    UpToDate,
    /// M to L: what follows continues your history.
    Diff {
        /// Where it will end; of no consequence.
        zxid: Zxid,
    },
    /// M to L: forget what is above this, then as `Diff`.
    Trunc {
        /// The last zxid to keep.
        zxid: Zxid,
    },
    /// M to L: a whole tree follows this packet, outside of packets; then as `Diff`.
    Snap {
        /// The zxid that the tree has reached at least.
        zxid: Zxid,
    },
    /// L to M, the first packet of an observer.
    ObserverInfo {
        /// The highest epoch that L accepted.
        accepted_epoch: i64,
        /// Who it is.
        info: LearnerInfo,
    },
    /// M to L: the epoch that begins.
    LeaderInfo {
        /// The epoch.
        epoch: i64,
    },
    /// L to M: the epoch is accepted.
    AckEpoch {
        /// The last zxid in L's log.
        last: Zxid,
        /// The epoch whose history L has; `None` if L accepted the new epoch before and must not count again.
        current_epoch: Option<i64>,
    },
    /// M to observer: like `Inform`, of a change of membership.
    InformAndActivate {
        /// The transaction.
        zxid: Zxid,
        /// Who is to lead from here.
        leader: ServerId,
        /// The entry as it goes into the log.
        entry: Bytes,
    },
    /// A type that nobody knows; to be logged and ignored.
    Unknown {
        /// The type.
        kind: i32,
    },
}

impl Packet {
    /// The packet as a learner gets it whose tree may hold a part of each transaction up to `in_tree`, as the master
    /// went on while it sent that tree. None of their digests fits such a tree, and Java counts each as a mismatch:
    /// they stay out.
    #[must_use]
    pub fn behind_tree(&self, in_tree: Zxid) -> Cow<'_, Self> {
        match self {
            Self::Proposal { zxid, entry } if *zxid <= in_tree => {
                Cow::Owned(Self::Proposal { zxid: *zxid, entry: TxnEntry::without_digest(entry) })
            }
            Self::Inform { zxid, entry } if *zxid <= in_tree => {
                Cow::Owned(Self::Inform { zxid: *zxid, entry: TxnEntry::without_digest(entry) })
            }
            Self::InformAndActivate { zxid, entry, leader } if *zxid <= in_tree => {
                let (zxid, leader) = (*zxid, *leader);
                Cow::Owned(Self::InformAndActivate { zxid, entry: TxnEntry::without_digest(entry), leader })
            }
            _ => Cow::Borrowed(self),
        }
    }
}

/// A client's request on its way to the leader.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Forwarded {
    /// The client's session.
    pub session: SessionId,
    /// The client's number for the request.
    pub cxid: i32,
    /// The opcode.
    pub op: i32,
    /// The body as the client sent it.
    pub body: Bytes,
    /// Who asks; `None` if nobody does, as when a session is created.
    pub ids: Option<Vec<Id>>,
}

/// Who a learner is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LearnerInfo {
    /// Its id; `None` if it names none.
    pub server: Option<ServerId>,
    /// The version of the protocol, 0x10000 since 3.4; 0 if it names none.
    pub protocol: i32,
    /// The version of its member list in force; 0 if it names none.
    pub members_version: i64,
}
