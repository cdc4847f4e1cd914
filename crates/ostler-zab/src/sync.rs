//! How a learner comes to the leader's history: by the part that it lacks, by first forgetting what nobody else
//! has, or by the whole tree. One pure function. Answers to Java's `LearnerHandler.syncFollower`.

use ostler_wire::Zxid;
use ostler_wire::zoo::{self, Mutation};

use crate::history::History;

/// What to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Plan {
    /// Everything behind `from`.
    Diff {
        /// The last that the learner has.
        from: Zxid,
    },
    /// Forget what is above `to`, then everything behind it.
    Trunc {
        /// The last to keep.
        to: Zxid,
    },
    /// The whole tree, then everything behind `at`.
    Snap {
        /// What the tree has reached.
        at: Zxid,
    },
}

/// Decides for a learner whose log ends with `peer`. `committed` may be ahead of what is delivered here, while the
/// own disk lags behind a quorum of the others'.
#[must_use]
pub fn decide(peer: Zxid, history: &History, committed: Zxid) -> Plan {
    let snap = Plan::Snap { at: history.delivered() };
    if peer == committed {
        return Plan::Diff { from: peer };
    }
    if peer > committed && zoo::is(Mutation::NoTrunc) {
        return Plan::Diff { from: peer };
    }
    if peer > committed && zoo::is(Mutation::TreeBesideLog) {
        return snap;
    }
    if peer > committed {
        // An epoch's start is no transaction, so there is nothing to forget; but what comes before it is unknown.
        return if peer.counter() == 0 { snap } else { Plan::Trunc { to: committed } };
    }
    if peer < history.base() {
        if zoo::is(Mutation::DiffAcrossHole) || (peer == Zxid::ZERO && zoo::is(Mutation::EmptyLearnerDiff)) {
            return Plan::Diff { from: peer };
        }
        return snap;
    }
    let mut before = history.base();
    for zxid in history.recent().chain(history.tail()).map(|proposal| proposal.zxid) {
        if before == peer {
            break;
        }
        if zxid > peer {
            // The learner stands between two transactions that follow one another here.
            return if peer.counter() == 0 {
                Plan::Diff { from: peer }
            } else if zxid.epoch() == peer.epoch() && before != Zxid::ZERO {
                Plan::Trunc { to: before }
            } else {
                // Its last ones were never committed, and the cut would go across an epoch (ZOOKEEPER-2832).
                if zoo::is(Mutation::DiffOverTail) { Plan::Diff { from: peer } } else { snap }
            };
        }
        before = zxid;
    }
    Plan::Diff { from: peer }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Limit;
    use crate::io::Proposal;

    fn zxid(epoch: u32, counter: u32) -> Zxid {
        Zxid::new(epoch, counter)
    }

    fn history(base: Zxid, zxids: &[(u32, u32)]) -> History {
        let proposals = zxids.iter().map(|(epoch, counter)| Proposal {
            zxid: Zxid::new(*epoch, *counter),
            bytes: bytes::Bytes::new(),
        });
        History::new(base, proposals, Limit::default())
    }

    #[test]
    fn every_place_that_a_learner_can_stand_at() {
        let own = history(zxid(1, 3), &[(1, 4), (1, 5), (2, 1), (2, 2), (4, 1)]);
        let committed = own.delivered();
        let snap = Plan::Snap { at: committed };
        let diff = |epoch, counter| Plan::Diff { from: zxid(epoch, counter) };
        let table = [
            ((4, 1), diff(4, 1), "equal"),
            ((4, 2), Plan::Trunc { to: zxid(4, 1) }, "ahead"),
            ((5, 0), snap, "the start of an epoch that is not known here"),
            ((2, 1), diff(2, 1), "behind"),
            ((1, 3), diff(1, 3), "at the edge of what is kept"),
            ((1, 2), snap, "before what is kept"),
            ((0, 0), snap, "empty"),
            ((2, 0), diff(2, 0), "the start of an epoch (SNAP, then nothing)"),
            ((3, 0), diff(3, 0), "the start of an epoch that saw nothing"),
            ((1, 6), snap, "ZOOKEEPER-2832: a tail of its own, and then another epoch here"),
            ((2, 7), snap, "the same, later"),
            ((3, 1), snap, "a tail of an epoch that is not known here"),
        ];
        for ((epoch, counter), plan, why) in table {
            assert_eq!(decide(zxid(epoch, counter), &own, committed), plan, "{why}");
        }
    }

    #[test]
    fn an_empty_learner_gets_all_of_a_history_that_begins_at_the_beginning() {
        let own = history(Zxid::ZERO, &[(1, 1), (1, 2)]);
        assert_eq!(decide(Zxid::ZERO, &own, own.delivered()), Plan::Diff { from: Zxid::ZERO });
    }

    #[test]
    fn what_is_committed_and_not_on_the_own_disk_is_not_cut_off_a_learner() {
        let mut own = history(zxid(1, 0), &[(1, 1)]);
        own.append(Proposal { zxid: zxid(1, 2), bytes: bytes::Bytes::new() });
        own.append(Proposal { zxid: zxid(1, 3), bytes: bytes::Bytes::new() });
        let committed = zxid(1, 2);
        assert_eq!(decide(zxid(1, 2), &own, committed), Plan::Diff { from: zxid(1, 2) });
        assert_eq!(decide(zxid(1, 3), &own, committed), Plan::Trunc { to: zxid(1, 2) });
        assert_eq!(decide(zxid(1, 1), &own, committed), Plan::Diff { from: zxid(1, 1) });
    }
}
