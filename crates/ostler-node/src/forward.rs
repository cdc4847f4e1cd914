//! What a learner's own clients asked for and the leader decides: who waits for which transaction. The leader names
//! session and cxid in every transaction; those of one session come back in the order in which they were forwarded.
//! Questions about sessions and syncs are also those of its observers: the leader does not tell whose they are, only
//! their order does. Answers to the queues of Java's `FollowerRequestProcessor` and `CommitProcessor`, to
//! `pendingSyncs`, and to `pendingRevalidations` of `Learner` and `ObserverMaster`.

use std::collections::{BTreeMap, VecDeque};

use ostler_wire::SessionId;
use ostler_zab::LinkId;

use crate::applier::Origin;
use crate::io::ConnId;

/// Who waits for an answer of the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiter {
    /// A connection of this server.
    Conn(ConnId),
    /// An observer.
    Observer(LinkId),
}

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
    /// Who wants to know whether a session lives, with the timeout that is asked for.
    revalidations: BTreeMap<SessionId, VecDeque<(Waiter, i32)>>,
    /// Syncs, in the order in which the leader will answer them.
    syncs: VecDeque<Waiter>,
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

    pub(crate) fn ask(&mut self, session: SessionId, waiter: Waiter, timeout_ms: i32) {
        self.revalidations.entry(session).or_default().push_back((waiter, timeout_ms));
    }

    /// Who asked first about a session and was not answered.
    pub(crate) fn answered(&mut self, session: SessionId) -> Option<(Waiter, i32)> {
        let queue = self.revalidations.get_mut(&session)?;
        let asked = queue.pop_front();
        if queue.is_empty() {
            self.revalidations.remove(&session);
        }
        asked
    }

    pub(crate) fn push_sync(&mut self, waiter: Waiter) {
        self.syncs.push_back(waiter);
    }

    pub(crate) fn take_sync(&mut self) -> Option<Waiter> {
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
