//! What a learner's own clients asked for and the leader decides: who waits for which transaction. The leader names
//! session and cxid in every transaction; those of one session come back in the order in which they were forwarded.
//! Answers to the queues of Java's `FollowerRequestProcessor` and `CommitProcessor`, and to `Learner.pendingSyncs`.

use std::collections::{BTreeMap, VecDeque};

use ostler_wire::SessionId;

use crate::applier::Origin;
use crate::io::ConnId;

/// A request that waits.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    cxid: i32,
    origin: Origin,
    behind_reads: bool,
}

/// All that waits.
#[derive(Debug, Default)]
pub(crate) struct Forwarded {
    by_session: BTreeMap<SessionId, VecDeque<Waiting>>,
    /// Connections that want to know whether their session lives, with the timeout that they ask for.
    revalidations: BTreeMap<SessionId, VecDeque<(ConnId, i32)>>,
    /// Syncs, in the order in which the leader will answer them.
    syncs: VecDeque<ConnId>,
    count: usize,
}

impl Forwarded {
    pub(crate) fn push(&mut self, session: SessionId, cxid: i32, origin: Origin, behind_reads: bool) {
        self.by_session.entry(session).or_default().push_back(Waiting { cxid, origin, behind_reads });
        self.count += 1;
    }

    /// Whom a transaction answers, if it is one of ours.
    pub(crate) fn take(&mut self, session: SessionId, cxid: i32) -> Option<(Origin, bool)> {
        let queue = self.by_session.get_mut(&session)?;
        if queue.front()?.cxid != cxid {
            return None;
        }
        let waiting = queue.pop_front()?;
        if queue.is_empty() {
            self.by_session.remove(&session);
        }
        self.count -= 1;
        Some((waiting.origin, waiting.behind_reads))
    }

    /// Whether something of a session's waits for the leader.
    pub(crate) fn is_waiting(&self, session: SessionId) -> bool {
        self.by_session.contains_key(&session)
    }

    pub(crate) fn ask(&mut self, session: SessionId, conn: ConnId, timeout_ms: i32) {
        self.revalidations.entry(session).or_default().push_back((conn, timeout_ms));
    }

    /// The connection that asked first about a session and was not answered.
    pub(crate) fn answered(&mut self, session: SessionId) -> Option<(ConnId, i32)> {
        let queue = self.revalidations.get_mut(&session)?;
        let asked = queue.pop_front();
        if queue.is_empty() {
            self.revalidations.remove(&session);
        }
        asked
    }

    pub(crate) fn push_sync(&mut self, conn: ConnId) {
        self.syncs.push_back(conn);
    }

    pub(crate) fn take_sync(&mut self) -> Option<ConnId> {
        self.syncs.pop_front()
    }

    pub(crate) fn pending_syncs(&self) -> usize {
        self.syncs.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
