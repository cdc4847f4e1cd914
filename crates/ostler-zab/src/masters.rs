//! Whom an observer learns from: the followers one after another, in an order of its own, or the leader. Answers to the
//! list of observer masters in Java's `QuorumPeer`, which has the leader in it as well, where nobody listens.
//!
//! Randomness is a seed: the order, and how long to wait so that not all observers come at once.

use ostler_wire::ServerId;

use crate::core::Core;
use crate::io::{Door, Reason};

/// An observer that found nobody pauses at least so long, in milliseconds, before it tries all of them again.
const BETWEEN_ROUNDS_MS: u64 = 200;

/// How an observer finds whom to learn from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Observing {
    /// Whether followers take observers (`observerMasterPort`); otherwise it goes to the leader.
    pub masters: bool,
    /// How long an attempt to connect to one of them may take, in milliseconds.
    pub connect_ms: u64,
    /// A random time below this is waited before it connects to the leader, or begins with the followers anew
    /// (`observer.reconnectDelayMs`).
    pub reconnect_delay_ms: u64,
    /// A random time below this is waited before it looks for a leader again (`observer.election.DelayMs`).
    pub election_delay_ms: u64,
    /// Makes the order and the delays of one observer other than those of another.
    pub seed: u64,
}

/// What an observer keeps from one role to the next.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Masters {
    /// Who was tried last.
    last: Option<(u64, ServerId)>,
    /// So many took the connection, and nothing came of it.
    lost: usize,
    draws: u64,
}

impl Masters {
    /// Who is next of these.
    pub(crate) fn next(&mut self, seed: u64, of: impl Iterator<Item = ServerId>) -> Option<ServerId> {
        let mut order: Vec<(u64, ServerId)> =
            of.map(|server| (mix(seed ^ mix(server.0.cast_unsigned())), server)).collect();
        order.sort_unstable();
        let next =
            order.iter().find(|candidate| Some(**candidate) > self.last).or_else(|| order.first()).copied();
        self.last = next.or(self.last);
        next.map(|(_, server)| server)
    }

    /// A time below `most_ms`.
    pub(crate) fn draw(&mut self, seed: u64, most_ms: u64) -> u64 {
        if most_ms == 0 {
            return 0;
        }
        self.draws += 1;
        mix(seed.wrapping_add(mix(self.draws))) % most_ms
    }

    /// Whether none of so many is of use: each of them was tried twice.
    pub(crate) fn are_useless(&self, count: usize) -> bool {
        self.lost >= 2 * count
    }

    pub(crate) fn note_lost(&mut self) {
        self.lost += 1;
    }

    pub(crate) fn note_found(&mut self) {
        self.lost = 0;
    }
}

/// The search of one role for somebody to learn from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Search {
    leader: ServerId,
    /// The followers to try; none where it is to be the leader.
    masters: Vec<ServerId>,
    tried: usize,
    /// When it gives up on them.
    until_ms: u64,
    /// When it gives up on all.
    deadline_ms: u64,
    /// Who was tried last.
    server: ServerId,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Connect { server: ServerId, door: Door, within_ms: u64 },
    Rest { until_ms: u64 },
}

impl Search {
    /// Chooses between the followers that take observers and the leader.
    pub(crate) fn new(core: &mut Core, leader: ServerId, observer: bool, now_ms: u64) -> (Self, Step) {
        let init_ms = core.config.init_ms();
        let (until_ms, deadline_ms) = (now_ms + init_ms / 2, now_ms + init_ms);
        let mut search =
            Self { leader, masters: Vec::new(), tried: 0, until_ms, deadline_ms, server: leader };
        if observer && core.config.observing.masters {
            search.masters = core.config.quorum.voters().filter(|voter| *voter != leader).collect();
            if core.masters.are_useless(search.masters.len()) {
                search.masters.clear();
            }
        }
        let delay_ms = if observer && search.masters.is_empty() {
            core.draw_delay(core.config.observing.reconnect_delay_ms)
        } else {
            0
        };
        search.deadline_ms += delay_ms;
        let step = match delay_ms {
            0 => search.next(core, now_ms),
            _ => Step::Rest { until_ms: now_ms + delay_ms },
        };
        (search, step)
    }

    /// Whom to try next.
    pub(crate) fn next(&mut self, core: &mut Core, now_ms: u64) -> Step {
        let seed = core.config.observing.seed;
        let master = core.masters.next(seed, self.masters.iter().copied());
        let left_ms = self.deadline_ms.saturating_sub(now_ms);
        let (server, door, within_ms) = match master {
            Some(master) => (master, Door::Master, core.config.observing.connect_ms.min(left_ms)),
            None => (self.leader, Door::Leader, left_ms),
        };
        self.server = server;
        self.tried += 1;
        Step::Connect { server, door, within_ms }
    }

    /// Nobody could be reached there. The leader is the last resort: it may have no followers, or they no such port.
    pub(crate) fn on_unreachable(&mut self, core: &mut Core, now_ms: u64) -> Result<Step, Reason> {
        if self.masters.is_empty() {
            return Err(Reason::Unreachable);
        }
        if now_ms >= self.until_ms {
            self.masters.clear();
        } else if self.tried.is_multiple_of(self.masters.len()) {
            let delay_ms = core.draw_delay(core.config.observing.reconnect_delay_ms).max(BETWEEN_ROUNDS_MS);
            return Ok(Step::Rest { until_ms: now_ms.saturating_add(delay_ms).min(self.until_ms) });
        }
        Ok(self.next(core, now_ms))
    }

    /// Whether it is for a follower that takes observers.
    pub(crate) fn is_for_master(&self) -> bool {
        !self.masters.is_empty()
    }

    /// Who was tried last.
    pub(crate) fn server(&self) -> ServerId {
        self.server
    }

    pub(crate) fn deadline_ms(&self) -> u64 {
        self.deadline_ms
    }

    /// See [`crate::Peer::forget_past`].
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn forget_times(&mut self) {
        (self.until_ms, self.deadline_ms) = (0, 0);
    }
}

/// Spreads the bits of a number over all of it.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn ids(count: i64) -> impl Iterator<Item = ServerId> {
        (1..=count).map(ServerId)
    }

    #[test]
    fn each_is_tried_before_one_is_tried_again() {
        let mut firsts = BTreeSet::new();
        for seed in 0..40 {
            let mut masters = Masters::default();
            let round: Vec<_> = (0..3).map(|_| masters.next(seed, ids(3)).unwrap()).collect();
            assert_eq!(BTreeSet::from_iter(round.clone()).len(), 3);
            let again: Vec<_> = (0..3).map(|_| masters.next(seed, ids(3)).unwrap()).collect();
            assert_eq!(round, again);
            firsts.insert(round[0]);
        }
        assert_eq!(firsts.len(), 3, "observers spread over them");
        assert_eq!(Masters::default().next(1, ids(0)), None);
    }

    #[test]
    fn a_delay_is_below_its_bound_and_not_always_the_same() {
        let mut masters = Masters::default();
        let drawn: BTreeSet<u64> = (0..50).map(|_| masters.draw(7, 200)).collect();
        assert!(drawn.len() > 20 && drawn.iter().all(|ms| *ms < 200));
        assert_eq!(masters.draw(7, 0), 0);
    }
}
