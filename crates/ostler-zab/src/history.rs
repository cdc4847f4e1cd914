//! What this server's log holds, as far as the protocol has to know: the newest part that was delivered to the
//! tree, for learners that lag a little, and the tail that is not delivered yet. Invariant: `base`, `recent`, `tail`
//! continue one another without a hole. Answers to Java's `ZKDatabase.committedLog` and to `lastProcessedZxid`.

use std::collections::VecDeque;

use ostler_wire::Zxid;
use ostler_wire::zoo::{self, Mutation};

use crate::io::Proposal;

/// The last zxid of a server that has no history to speak of; every leader sends it the whole tree.
pub(crate) const NOTHING: Zxid = Zxid(-1);

/// The own log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct History {
    /// The zxid in front of `recent`; [`Zxid::ZERO`] only if nothing is.
    base: Zxid,
    recent: VecDeque<Kept>,
    recent_bytes: usize,
    tail: VecDeque<Kept>,
    delivered: Zxid,
    persisted: Zxid,
    limit: Limit,
    /// The log on disk is known to be without a hole behind this one, up to its end.
    whole_since: Zxid,
}

/// A proposal that is kept; compared by its zxid alone, since two with one zxid are the same.
#[derive(Debug, Clone)]
struct Kept(Proposal);

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.0.zxid == other.0.zxid
    }
}
impl Eq for Kept {}
impl std::hash::Hash for Kept {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.zxid.hash(state);
    }
}

/// How much is kept for learners that lag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Limit {
    /// Transactions (`zookeeper.commitLogCount`).
    pub count: usize,
    /// Their bytes.
    pub bytes: usize,
}

impl Default for Limit {
    fn default() -> Self {
        Self { count: 500, bytes: 64 << 20 }
    }
}

impl History {
    /// A log that is durable and delivered as a whole: it ends with `recent`, which continues `base`.
    #[must_use]
    pub fn new(base: Zxid, recent: impl IntoIterator<Item = Proposal>, limit: Limit) -> Self {
        let mut history = Self {
            base,
            recent: VecDeque::new(),
            recent_bytes: 0,
            tail: VecDeque::new(),
            delivered: base,
            persisted: base,
            limit,
            whole_since: base,
        };
        for proposal in recent {
            history.persisted = proposal.zxid;
            history.keep(proposal);
        }
        history
    }

    /// No log, and nobody knows whether there was one: such a server decides nothing (ZOOKEEPER-261).
    #[must_use]
    pub fn unknown(limit: Limit) -> Self {
        Self::new(NOTHING, [], limit)
    }

    /// The log on disk is known to go back without a hole to `zxid`, which is before all that is in memory.
    #[must_use]
    pub fn with_whole_log_since(mut self, zxid: Zxid) -> Self {
        self.whole_since = self.whole_since.min(zxid);
        self
    }

    /// Whether what the log on disk has behind `peer` can be known to be the history that this server stands for, and
    /// if so, which transaction it has to go through. A hole shows by its counters, unless it ends with an epoch: a
    /// server that was sent a tree may have such a one in its older files (ZOOKEEPER-2846). So nothing is read across
    /// an epoch's end that is not known to be whole.
    pub(crate) fn may_search(&self, peer: Zxid) -> Option<Zxid> {
        let through = self.whole_since;
        let known = peer >= through || peer.epoch() == through.epoch();
        (known && peer != NOTHING && through != NOTHING).then_some(through)
    }

    /// The last zxid of the log.
    #[must_use]
    pub fn last(&self) -> Zxid {
        self.tail.back().map_or(self.delivered, |kept| kept.0.zxid)
    }

    /// All up to here are applied to the tree, or about to be.
    #[must_use]
    pub fn delivered(&self) -> Zxid {
        self.delivered
    }

    /// All up to here are on disk.
    #[must_use]
    pub fn persisted(&self) -> Zxid {
        self.persisted
    }

    /// Whether everything in the log is on disk.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.persisted == self.last()
    }

    pub(crate) fn append(&mut self, proposal: Proposal) {
        assert!(
            proposal.zxid > self.last(),
            "{} does not continue a log that ends with {}",
            proposal.zxid,
            self.last()
        );
        self.tail.push_back(Kept(proposal));
    }

    pub(crate) fn persist(&mut self, zxid: Zxid) {
        assert!(zxid <= self.last(), "only what was appended can be durable");
        self.persisted = self.persisted.max(zxid);
    }

    /// Delivers what is committed and durable; the newest of it if there is any.
    pub(crate) fn deliver(&mut self, committed: Zxid) -> Option<Zxid> {
        let upto = if zoo::is(Mutation::ApplyUnsynced) { committed } else { committed.min(self.persisted) };
        let before = self.delivered;
        while let Some(front) = self.tail.front()
            && front.0.zxid <= upto
        {
            let Kept(proposal) = self.tail.pop_front().expect("it was just seen");
            self.keep(proposal);
        }
        (self.delivered > before).then_some(self.delivered)
    }

    fn keep(&mut self, proposal: Proposal) {
        self.delivered = proposal.zxid;
        self.recent_bytes += proposal.bytes.len();
        self.recent.push_back(Kept(proposal));
        while self.recent.len() > self.limit.count || self.recent_bytes > self.limit.bytes {
            let Some(Kept(oldest)) = self.recent.pop_front() else { break };
            self.recent_bytes -= oldest.bytes.len();
            self.base = oldest.zxid;
        }
    }

    /// The log was replaced by a tree that has everything up to here.
    pub(crate) fn replace(&mut self, zxid: Zxid) {
        *self = Self::new(zxid, [], self.limit);
    }

    /// The log was cut: it ends with `last`.
    pub(crate) fn truncate(&mut self, last: Zxid) {
        self.tail.clear();
        while self.recent.back().is_some_and(|kept| kept.0.zxid > last) {
            let Kept(newest) = self.recent.pop_back().expect("it was just seen");
            self.recent_bytes -= newest.bytes.len();
        }
        if self.recent.back().map_or(self.base, |kept| kept.0.zxid) != last {
            // The log is what it was up to here; it is only not in memory any more.
            let whole_since = self.whole_since.min(last);
            self.replace(last);
            self.whole_since = whole_since;
            return;
        }
        self.delivered = last;
        self.persisted = last;
    }

    /// The zxid in front of what is kept.
    #[must_use]
    pub fn base(&self) -> Zxid {
        self.base
    }

    /// What is kept of the delivered part, oldest first.
    pub fn recent(&self) -> impl DoubleEndedIterator<Item = &Proposal> {
        self.recent.iter().map(|kept| &kept.0)
    }

    /// What is not delivered, oldest first.
    pub fn tail(&self) -> impl Iterator<Item = &Proposal> {
        self.tail.iter().map(|kept| &kept.0)
    }

    /// Everything kept behind a zxid, oldest first, delivered or not.
    pub(crate) fn after(&self, zxid: Zxid) -> impl Iterator<Item = &Proposal> {
        let from = self.recent.partition_point(|kept| kept.0.zxid <= zxid);
        self.recent
            .range(from..)
            .chain(&self.tail)
            .map(|kept| &kept.0)
            .filter(move |proposal| proposal.zxid > zxid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proposal(zxid: i64) -> Proposal {
        Proposal { zxid: Zxid(zxid), bytes: vec![0; 10].into() }
    }

    #[test]
    fn what_is_delivered_is_committed_and_durable() {
        let mut history = History::new(Zxid(3), [proposal(4)], Limit::default());
        assert_eq!((history.base(), history.delivered(), history.last()), (Zxid(3), Zxid(4), Zxid(4)));
        for zxid in 5..=8 {
            history.append(proposal(zxid));
        }
        assert_eq!(history.deliver(Zxid(7)), None, "nothing is on disk");
        history.persist(Zxid(6));
        assert_eq!(history.deliver(Zxid(7)), Some(Zxid(6)));
        assert_eq!(history.deliver(Zxid(7)), None);
        assert_eq!(history.after(Zxid(5)).map(|p| p.zxid.0).collect::<Vec<_>>(), [6, 7, 8]);
    }

    #[test]
    fn the_oldest_goes_when_there_is_too_much() {
        let limit = Limit { count: 3, bytes: 25 };
        let history = History::new(Zxid(0), (1..=9).map(proposal), limit);
        assert_eq!((history.base(), history.recent().count()), (Zxid(7), 2));
    }

    #[test]
    fn a_cut_below_what_is_kept_leaves_nothing_of_it() {
        let mut history = History::new(Zxid(3), (4..=9).map(proposal), Limit::default());
        history.truncate(Zxid(6));
        assert_eq!((history.last(), history.base(), history.recent().count()), (Zxid(6), Zxid(3), 3));
        history.truncate(Zxid(2));
        assert_eq!((history.last(), history.base(), history.recent().count()), (Zxid(2), Zxid(2), 0));
    }
}
