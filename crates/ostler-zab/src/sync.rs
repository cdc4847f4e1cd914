//! How a learner comes to the leader's history: by the part that it lacks, by first forgetting what nobody else
//! has, or by the whole tree. Pure functions: one for what is in memory and, where that does not reach back far
//! enough, one for what was found in the log on disk. Answers to Java's `LearnerHandler.syncFollower`.

use ostler_wire::Zxid;
use ostler_wire::zoo::{self, Mutation};

use crate::history::History;
use crate::io::LogPlace;

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
    /// The learner stands before all that is kept in memory: see whether the log on disk has what it lacks, and send
    /// the whole tree if not.
    Search,
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
        return Plan::Search;
    }
    let mut before = history.base();
    for zxid in history.recent().chain(history.tail()).map(|proposal| proposal.zxid) {
        if before == peer {
            break;
        }
        if zxid > peer {
            return between(peer, LogPlace { before, next: zxid }).unwrap_or(snap);
        }
        before = zxid;
    }
    Plan::Diff { from: peer }
}

/// Decides for a learner whose place was found in the log on disk; `None` if only the whole tree helps.
#[must_use]
pub fn decide_by_log(peer: Zxid, place: LogPlace) -> Option<Plan> {
    if place.before == peer { Some(Plan::Diff { from: peer }) } else { between(peer, place) }
}

/// The learner stands between two transactions that follow one another here.
fn between(peer: Zxid, place: LogPlace) -> Option<Plan> {
    if peer.counter() == 0 {
        Some(Plan::Diff { from: peer })
    } else if place.next.epoch() == peer.epoch() && place.before != Zxid::ZERO {
        Some(Plan::Trunc { to: place.before })
    } else {
        // Its last ones were never committed, and the cut would go across an epoch (ZOOKEEPER-2832).
        zoo::is(Mutation::DiffOverTail).then_some(Plan::Diff { from: peer })
    }
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
            ((1, 2), Plan::Search, "before what is kept"),
            ((0, 0), Plan::Search, "empty"),
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
    fn every_place_in_the_log_on_disk() {
        let place = |before: (u32, u32), next: (u32, u32)| LogPlace {
            before: zxid(before.0, before.1),
            next: zxid(next.0, next.1),
        };
        let diff = |epoch, counter| Some(Plan::Diff { from: zxid(epoch, counter) });
        let table = [
            ((1, 5), place((1, 5), (1, 6)), diff(1, 5), "in the middle of an epoch"),
            ((1, 5), place((1, 5), (2, 1)), diff(1, 5), "at the end of an epoch"),
            ((2, 0), place((1, 5), (2, 1)), diff(2, 0), "at the start of an epoch"),
            ((2, 0), place((2, 0), (2, 1)), diff(2, 0), "the same, and the log begins there"),
            (
                (1, 7),
                place((1, 5), (2, 1)),
                None,
                "ZOOKEEPER-2832: a tail of its own, and then another epoch",
            ),
            ((2, 3), place((1, 5), (3, 1)), None, "a tail of an epoch that is not known here"),
        ];
        for ((epoch, counter), place, plan, why) in table {
            assert_eq!(decide_by_log(zxid(epoch, counter), place), plan, "{why}");
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
