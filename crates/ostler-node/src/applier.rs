//! What is decided and not applied yet, in order; and how it is applied: in bounded batches, changes before the
//! reply that follows from them. A client's read must not see its own later write: a write that arrived behind
//! reads which still waited is applied only when its lane says that they are answered. Answers to the write half
//! of Java's `FinalRequestProcessor` and to the ordering of its `CommitProcessor`.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use ostler_tree::{Change, Outcome, Store};
use ostler_wire::txn::{Txn, TxnEntry};
use ostler_wire::zoo::{self, Mutation};
use ostler_wire::{Code, Zxid};

use crate::io::{CloseReason, ConnId, LaneBatch, LaneId, Letter};
use crate::sessions::Sessions;

/// The most transactions that are applied under one exclusive borrow of the store.
const BATCH: usize = 256;

/// Whom a transaction concerns beyond the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A client's request: its connection gets the reply.
    Client { conn: ConnId },
    /// A client of a local session asked for an ephemeral node, which it cannot have.
    LocalEphemeral { conn: ConnId },
    /// A handshake: its connection gets the session.
    Handshake { conn: ConnId, timeout_ms: i32 },
    /// A session that expired: its connection, if any, is closed.
    Expiry,
    /// The server's own business.
    Server,
}

/// One transaction in the queue.
#[derive(Debug)]
struct Pending {
    entry: TxnEntry,
    origin: Origin,
    fence: Fence,
}

/// Whether reads have to be answered before a transaction is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fence {
    Open,
    Closed,
    /// The lane was asked.
    Asked,
}

/// The queue between decision and tree.
#[derive(Debug)]
pub(crate) struct Applier {
    pending: VecDeque<Pending>,
    committed: Zxid,
    applied: Zxid,
    lanes: usize,
    /// Letters that come after what is committed up to a zxid.
    deferred: VecDeque<(Zxid, ConnId, Letter)>,
}

impl Applier {
    pub(crate) fn new(last: Zxid, lanes: usize) -> Self {
        Self { pending: VecDeque::new(), committed: last, applied: last, lanes, deferred: VecDeque::new() }
    }

    pub(crate) fn push(&mut self, entry: TxnEntry, origin: Origin, behind_reads: bool) {
        let fence = if behind_reads && !zoo::is(Mutation::IgnoreFence) { Fence::Closed } else { Fence::Open };
        self.pending.push_back(Pending { entry, origin, fence });
    }

    /// The newest transaction that is decided.
    pub(crate) fn last(&self) -> Zxid {
        self.pending.back().map_or(self.applied, |pending| pending.entry.header.zxid)
    }

    /// Sends a letter once everything up to `after` is applied; yields it if that is so.
    pub(crate) fn defer(&mut self, after: Zxid, conn: ConnId, letter: Letter) -> Option<Letter> {
        if after <= self.applied && self.deferred.is_empty() {
            return Some(letter);
        }
        self.deferred.push_back((after, conn, letter));
        None
    }

    /// All connections are closed: nothing waits for their reads, nobody waits for an answer.
    pub(crate) fn forget_conns(&mut self) {
        self.deferred.clear();
        for pending in &mut self.pending {
            pending.fence = Fence::Open;
            pending.origin = Origin::Server;
        }
    }

    /// The store was replaced by one that has everything up to `last`.
    pub(crate) fn restart(&mut self, last: Zxid) {
        assert!(self.pending.is_empty(), "what is in the log is applied before the log is replaced");
        (self.committed, self.applied) = (last, last);
    }

    /// The reads in front of a transaction are answered.
    pub(crate) fn open_fence(&mut self, zxid: Zxid) {
        if let Some(front) = self.pending.front_mut().filter(|front| front.entry.header.zxid == zxid) {
            front.fence = Fence::Open;
        }
    }

    pub(crate) fn commit(&mut self, upto: Zxid) {
        assert!(upto >= self.committed, "commits come in order");
        self.committed = upto;
    }

    /// Whether there is something to do: to apply a transaction, or to ask a lane for the one that is next.
    pub(crate) fn has_committed(&self) -> bool {
        self.pending
            .front()
            .is_some_and(|front| front.entry.header.zxid <= self.committed && front.fence != Fence::Asked)
    }

    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// The connections that wait for something in the queue.
    pub(crate) fn waiting_conns(&self) -> BTreeSet<ConnId> {
        self.pending
            .iter()
            .filter_map(|pending| match pending.origin {
                Origin::Client { conn }
                | Origin::LocalEphemeral { conn }
                | Origin::Handshake { conn, .. } => Some(conn),
                Origin::Expiry | Origin::Server => None,
            })
            .collect()
    }

    pub(crate) fn apply(
        &mut self,
        store: &mut Store,
        sessions: &mut Sessions,
        watching: &dyn Fn(LaneId) -> bool,
    ) -> Vec<(LaneId, LaneBatch)> {
        let mut changes: Vec<Change> = Vec::new();
        let mut letters: Vec<Vec<(Zxid, Letter)>> = (0..self.lanes).map(|_| Vec::new()).collect();
        // Nobody begins to watch while the store is borrowed exclusively.
        let lanes = if zoo::is(Mutation::OneLaneWatches) { 1 } else { self.lanes };
        let watched = (0..lanes).any(|lane| watching(LaneId(lane)));
        for _ in 0..BATCH {
            if !self.has_committed() {
                break;
            }
            if let Some((lane, zxid)) = self.ask_at_fence() {
                letters[lane.0].push((zxid, Letter::Fence { zxid }));
                break;
            }
            let Pending { entry, origin, .. } =
                self.pending.pop_front().expect("there is one that is committed");
            let zxid = entry.header.zxid;
            let outcome = store.apply(&entry, &mut changes);
            if !watched {
                changes.clear();
            }
            self.applied = zxid;
            if let Some((conn, letter)) = letter_for(&entry, origin, outcome, sessions) {
                letters[conn.lane().0].push((zxid, letter));
            }
            self.release(&mut letters);
        }
        let changes: Option<Arc<[Change]>> = (!changes.is_empty()).then(|| changes.into());
        let mut batches = Vec::new();
        for (lane, letters) in letters.into_iter().enumerate() {
            let lane = LaneId(lane);
            let changes = if watching(lane) { changes.clone() } else { None };
            if changes.is_some() || !letters.is_empty() {
                batches.push((lane, LaneBatch { changes, letters }));
            }
        }
        batches
    }
}

impl Applier {
    /// Adds the letters that waited for what is applied now.
    fn release(&mut self, letters: &mut [Vec<(Zxid, Letter)>]) {
        while self.deferred.front().is_some_and(|(after, ..)| *after <= self.applied) {
            let (_, conn, letter) = self.deferred.pop_front().expect("it was just seen");
            letters[conn.lane().0].push((self.applied, letter));
        }
    }

    /// If the next transaction is behind a fence: the lane to ask, which is noted as asked.
    fn ask_at_fence(&mut self) -> Option<(LaneId, Zxid)> {
        let front = self.pending.front_mut().filter(|front| front.fence == Fence::Closed)?;
        let (Origin::Client { conn } | Origin::LocalEphemeral { conn }) = front.origin else { return None };
        front.fence = Fence::Asked;
        Some((conn.lane(), front.entry.header.zxid))
    }
}

fn letter_for(
    entry: &TxnEntry,
    origin: Origin,
    outcome: Outcome,
    sessions: &mut Sessions,
) -> Option<(ConnId, Letter)> {
    let session = entry.header.session;
    let closed = matches!(entry.txn, Txn::CloseSession { .. }).then(|| sessions.remove(session)).flatten();
    match origin {
        // The session speaks through another server by now, and is told nothing here.
        Origin::Client { conn } if outcome == Outcome::Error(Code::SessionMoved) => {
            Some((conn, Letter::Close { conn, reason: CloseReason::SessionResumedElsewhere }))
        }
        Origin::Client { conn } => Some((conn, Letter::Reply { conn, outcome })),
        // The leader knows nothing of the session, and says so in words that mean something else to its client.
        Origin::LocalEphemeral { conn } => {
            let outcome = Outcome::Error(Code::EphemeralOnLocalSession);
            Some((conn, Letter::Reply { conn, outcome }))
        }
        Origin::Handshake { conn, timeout_ms } => Some((conn, Letter::Opened { conn, session, timeout_ms })),
        Origin::Expiry => {
            closed.map(|conn| (conn, Letter::Close { conn, reason: CloseReason::SessionExpired }))
        }
        Origin::Server => None,
    }
}
