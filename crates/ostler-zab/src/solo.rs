//! The role of a server alone: an ensemble of one, through the same steps as a leader's: propose, persist, commit.
//! Its own disk is the whole quorum.

use ostler_wire::Zxid;

use crate::core::Core;
use crate::io::Proposal;

/// The leader of an ensemble of one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Solo {
    last_proposed: Zxid,
}

impl Solo {
    pub(crate) fn new(last: Zxid) -> Self {
        Self { last_proposed: last }
    }

    pub(crate) fn next_zxid(&self) -> Zxid {
        self.last_proposed.next()
    }

    pub(crate) fn on_propose(&mut self, core: &mut Core, proposal: Proposal) {
        assert_eq!(proposal.zxid, self.next_zxid(), "a proposal takes the next zxid");
        self.last_proposed = proposal.zxid;
        core.append(proposal);
    }
}
