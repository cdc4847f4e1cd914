//! What a learner is sent so that it has a history: decided by where its own log ends, then sent in one step with
//! everything up to now, so that nothing falls between that and what comes later (ZOOKEEPER-962). Only a look into the
//! log on disk may come before that step. A leader does so for all learners, a follower for its observers. Answers to
//! Java's `LearnerHandler.syncFollower`.

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

/// How a learner comes to the history, once that is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Decided {
    plan: Plan,
    /// What is not in memory any more comes from the log on disk.
    by_log: bool,
}

impl Handover {
    /// Decides for a learner whose log ends with `last`; `None` if the log on disk has to be searched first, which it
    /// has been asked for.
    pub(crate) fn decide(self, core: &mut Core, link: LinkId, last: Zxid) -> Option<Decided> {
        let tree = Plan::Snap { at: core.history.delivered() };
        let plan = if core.config.force_snapshot && last <= core.history.delivered() {
            tree
        } else {
            sync::decide(last, &core.history, self.committed)
        };
        if plan != Plan::Search {
            return Some(Decided { plan, by_log: false });
        }
        let through = core.history.may_search(last).filter(|_| core.config.log_sync);
        let Some(through) = through else { return Some(Decided { plan: tree, by_log: false }) };
        let upto = core.history.base();
        core.outputs.push_back(Output::SearchLog { link, peer: last, through, upto });
        None
    }

    /// Decides by the place that was found in the log on disk. What was in memory then and is not any more went to disk
    /// before: the log reaches up to what is in memory now.
    pub(crate) fn decide_by_log(core: &Core, last: Zxid, place: Option<LogPlace>) -> Decided {
        match place.and_then(|place| sync::decide_by_log(last, place)) {
            Some(plan) => Decided { plan, by_log: true },
            None => Decided { plan: Plan::Snap { at: core.history.delivered() }, by_log: false },
        }
    }

    /// Sends a learner what it lacks, of it perhaps the older part from the log on disk, and NEWLEADER.
    pub(crate) fn send(self, core: &mut Core, link: LinkId, decided: Decided, observer: bool) {
        let from = match decided.plan {
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
                at
            }
            Plan::Search => unreachable!("whoever searches comes back with what was found"),
        };
        // What is in memory continues this without a gap or an overlap (ZOOKEEPER-2418).
        let upto = core.history.base();
        if decided.by_log && from < upto {
            core.outputs.push_back(Output::SendLog { link, after: from, upto });
        }
        let members = core.membership.as_ref().map(|lists| lists.last_seen().to_string().into());
        let newleader = Packet::NewLeader { zxid: self.epoch_start, members };
        if zoo::is(Mutation::NewLeaderBeforeHistory) {
            core.send(link, newleader.clone());
        }
        let missing: Vec<Proposal> = core.history.after(from).cloned().collect();
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
