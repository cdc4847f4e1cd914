//! The disk of a server: what is durable, and what was asked for and is not yet. The log and the two epochs are
//! separate files, so their writes become durable in any order towards one another; within the log the order holds.

use std::collections::VecDeque;

use ostler_wire::Zxid;

use crate::{EpochKind, Epochs, Generation, History, Limit, LinkId, LogPlace, Proposal};

/// What is durable.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Disk {
    /// Every transaction that the server has, in its log or in the snapshot under it.
    pub(super) log: Vec<Proposal>,
    /// How many of them the oldest snapshot holds: the log cannot be cut below.
    pub(super) floor: usize,
    pub(super) epochs: Epochs,
}

/// A write to the log, or to what stands for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum LogWrite {
    Append(Proposal, Generation),
    Truncate(Zxid, Generation),
    Save { zxid: Zxid, tree: Vec<Proposal>, generation: Generation },
}

/// A write of an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct EpochWrite {
    pub(super) which: EpochKind,
    pub(super) epoch: i64,
    pub(super) generation: Generation,
}

/// A look into the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Search {
    pub(super) link: LinkId,
    pub(super) peer: Zxid,
    pub(super) upto: Zxid,
}

impl Disk {
    pub(super) fn new() -> Self {
        Self { log: Vec::new(), floor: 0, epochs: Epochs { accepted: 0, current: 0 } }
    }

    pub(super) fn last(&self) -> Zxid {
        self.log.last().map_or(Zxid::ZERO, |last| last.zxid)
    }

    /// How many transactions there are up to `zxid`.
    pub(super) fn upto(&self, zxid: Zxid) -> usize {
        self.log.partition_point(|proposal| proposal.zxid <= zxid)
    }

    /// What a server finds when it starts.
    pub(super) fn history(&self, limit: Limit) -> History {
        let from = self.floor.max(self.log.len().saturating_sub(limit.count));
        let base = from.checked_sub(1).map_or(Zxid::ZERO, |before| self.log[before].zxid);
        let whole_since = self.floor.checked_sub(1).map_or(Zxid::ZERO, |before| self.log[before].zxid);
        History::new(base, self.log[from..].iter().cloned(), limit).with_whole_log_since(whole_since)
    }

    /// Looks for the place of a learner in what is log and not snapshot, unless what comes behind it is more than
    /// `most` transactions.
    pub(super) fn search(&self, search: Search, most: usize) -> Option<LogPlace> {
        let (at, end) = (self.upto(search.peer), self.upto(search.upto));
        let next = self.log.get(at..end)?.first()?.zxid;
        let begins = search.peer.counter() == 0 && next == search.peer.next();
        let before = match at.checked_sub(1).filter(|before| *before >= self.floor) {
            Some(before) => self.log[before].zxid,
            None if begins && at == self.floor => search.peer,
            None => return None,
        };
        (end - at <= most).then_some(LogPlace { before, next })
    }

    /// What the log holds behind one zxid and up to another, if it holds all of it.
    pub(super) fn part(&self, after: Zxid, upto: Zxid) -> Option<Vec<Proposal>> {
        let (from, end) = (self.upto(after), self.upto(upto));
        let whole = end > from && from >= self.floor && self.log[end - 1].zxid == upto;
        whole.then(|| self.log[from..end].to_vec())
    }

    /// Makes a write to the log durable. The answer to a cut is what is left, if the cut was possible.
    pub(super) fn write_log(&mut self, write: &LogWrite) -> Option<Zxid> {
        match write {
            LogWrite::Append(proposal, _) => self.log.push(proposal.clone()),
            LogWrite::Truncate(to, _) => {
                let keep = self.upto(*to);
                if keep < self.floor {
                    return None;
                }
                self.log.truncate(keep);
            }
            LogWrite::Save { tree, .. } => {
                self.log.clone_from(tree);
                self.floor = tree.len();
            }
        }
        Some(self.last())
    }

    pub(super) fn write_epoch(&mut self, write: &EpochWrite) {
        match write.which {
            EpochKind::Accepted => self.epochs.accepted = write.epoch,
            EpochKind::Current => self.epochs.current = write.epoch,
        }
    }
}

/// What the disk of a running server was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Pending {
    pub(super) log: VecDeque<LogWrite>,
    pub(super) epochs: VecDeque<EpochWrite>,
    pub(super) searches: VecDeque<Search>,
}
