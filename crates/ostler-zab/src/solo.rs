//! The role of a server alone: an ensemble of one, through the same steps as a leader's: propose, persist, count
//! the acks, commit. Its own disk is the whole quorum.

use std::collections::{BTreeSet, VecDeque};

use ostler_wire::{ServerId, Zxid};

use crate::peer::Proposal;
use crate::quorum::Quorum;

/// The leader of an ensemble of one.
#[derive(Debug)]
pub(crate) struct Solo {
    server: ServerId,
    quorum: Quorum,
    last_proposed: Zxid,
    committed: Zxid,
    /// What is proposed and not committed, oldest first, with who has it on disk.
    pending: VecDeque<(Zxid, BTreeSet<ServerId>)>,
}

impl Solo {
    pub(crate) fn new(server: ServerId, last: Zxid) -> Self {
        Self {
            server,
            quorum: Quorum::solo(server),
            last_proposed: last,
            committed: last,
            pending: VecDeque::new(),
        }
    }

    pub(crate) fn next_zxid(&self) -> Zxid {
        self.last_proposed.next()
    }

    pub(crate) fn on_propose(&mut self, proposal: &Proposal) {
        assert_eq!(proposal.zxid, self.next_zxid(), "a proposal takes the next zxid");
        self.last_proposed = proposal.zxid;
        self.pending.push_back((proposal.zxid, BTreeSet::new()));
    }

    /// The newest zxid that this makes committed, if any.
    pub(crate) fn on_persisted(&mut self, zxid: Zxid) -> Option<Zxid> {
        assert!(zxid <= self.last_proposed, "only what was proposed can be durable");
        let before = self.committed;
        while let Some((first, acks)) = self.pending.front_mut() {
            if *first > zxid {
                break;
            }
            acks.insert(self.server);
            if !self.quorum.is_quorum(acks) {
                break;
            }
            self.committed = *first;
            self.pending.pop_front();
        }
        (self.committed > before).then_some(self.committed)
    }
}
