//! What a learner is sent so that it has a history: decided by where its own log ends, then sent in one step with
//! everything up to now, so that nothing falls between that and what comes later (ZOOKEEPER-962). Only a look into the
//! log on disk, or a whole tree, may come before that step. A leader does so for all learners, a follower for its
//! observers. Answers to Java's `LearnerHandler.syncFollower`.

use ostler_wire::Zxid;
use ostler_wire::quorum::Packet;
use ostler_wire::zoo::{self, Mutation};

use crate::core::Core;
use crate::io::{LinkId, LogPlace, Output, Proposal};
use crate::sync::{self, Plan};

/// A history, as far as it is committed, of an epoch that begins at a zxid.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Handover {
    pub(crate) epoch_start: Zxid,
    pub(crate) committed: Zxid,
}

impl Handover {
    /// Decides for a learner whose log ends with `last`; `None` if the log on disk has to be searched first, which it
    /// has been asked for.
    pub(crate) fn decide(self, core: &mut Core, link: LinkId, last: Zxid) -> Option<Plan> {
        let tree = Plan::Snap { at: core.history.delivered() };
        let plan = if core.config.force_snapshot && last <= core.history.delivered() {
            tree
        } else {
            sync::decide(last, &core.history, self.committed)
        };
        if plan != Plan::Search {
            return Some(plan);
        }
        let through = core.history.may_search(last).filter(|_| core.config.log_sync);
        let Some(through) = through else { return Some(tree) };
        let upto = core.history.base();
        core.outputs.push_back(Output::SearchLog { link, peer: last, through, upto });
        None
    }

    /// Decides by the place that was found in the log on disk. What was in memory then and is not any more went to disk
    /// before: the log reaches up to what is in memory now.
    pub(crate) fn decide_by_log(core: &Core, last: Zxid, place: Option<LogPlace>) -> Plan {
        let plan = place.and_then(|place| sync::decide_by_log(last, place));
        plan.unwrap_or_else(|| Plan::Snap { at: core.history.delivered() })
    }

    /// Sends a learner what it lacks, and NEWLEADER. A tree goes alone at first: the answer is then what is surely in
    /// it, and [`Self::send_behind`] follows once it is sent.
    pub(crate) fn send(self, core: &mut Core, link: LinkId, plan: Plan, observer: bool) -> Option<Zxid> {
        let from = match plan {
            Plan::Diff { from } => {
                core.send(link, Packet::Diff { zxid: self.committed });
                from
            }
            Plan::Trunc { to } => {
                core.send(link, Packet::Trunc { zxid: to });
                to
            }
            Plan::Snap { at } => {
                core.send(link, Packet::Snap { zxid: at });
                core.outputs.push_back(Output::SendSnapshot { link, zxid: at });
                return Some(at);
            }
            Plan::Search => unreachable!("whoever searches comes back with what was found"),
        };
        self.send_behind(core, link, from, observer);
        None
    }

    /// Sends what is behind `from`, of it perhaps the older part from the log on disk, and NEWLEADER. A tree went on
    /// changing while it was sent, and holds parts of what was committed meanwhile; that all is sent as committed here, so
    /// that with NEWLEADER a learner makes the tree of one moment durable. Else a next leader would send it what its tree
    /// holds a part of, with digests that cannot fit (Java counts each as a mismatch).
    pub(crate) fn send_behind(self, core: &mut Core, link: LinkId, from: Zxid, observer: bool) {
        // What is in memory continues this without a gap or an overlap (ZOOKEEPER-2418).
        let upto = core.history.base();
        if from < upto {
            core.outputs.push_back(Output::SendLog { link, after: from, upto });
        }
        let members = core.membership.as_ref().map(|lists| lists.last_seen().to_string().into());
        let newleader = Packet::NewLeader { zxid: self.epoch_start, members };
        if zoo::is(Mutation::NewLeaderBeforeHistory) {
            core.send(link, newleader.clone());
        }
        let missing: Vec<Proposal> = core.history.after(from.max(upto)).cloned().collect();
        for Proposal { zxid, bytes } in missing {
            if zxid <= self.committed || zoo::is(Mutation::CommitAtSync) {
                core.send(link, Packet::Proposal { zxid, entry: bytes });
                core.send(link, Packet::Commit { zxid });
            } else if !observer && !zoo::is(Mutation::RegisterLate) {
                core.send(link, Packet::Proposal { zxid, entry: bytes });
            }
        }
        if !zoo::is(Mutation::NewLeaderBeforeHistory) {
            core.send(link, newleader);
        }
    }
}
