//! Fast leader election as a value: takes votes, says what to tell the others, and who won. The order of votes is
//! (epoch, zxid, server), the counting goes by rounds. Answers to Java's `FastLeaderElection`.
//!
//! One difference from Java, which waits 200 ms for a better vote once it has a quorum: the wait ends as soon as
//! every voter that is connected has cast the same vote, since nobody is left who could cast a better one.

use std::collections::{BTreeMap, BTreeSet};

use ostler_wire::quorum::{Notification, PeerState, Vote};
use ostler_wire::zoo::{self, Mutation};
use ostler_wire::{ServerId, Zxid};

use crate::history::NOTHING;
use crate::quorum::JointQuorum;

/// The first pause before votes are told again, in milliseconds.
const RESEND_MIN_MS: u64 = 200;
/// The longest one. Java goes up to 60 s, and then needs as long to find out that the network is back.
const RESEND_MAX_MS: u64 = 1_000;
/// How long a quorum must stand before it counts.
const FINALIZE_WAIT_MS: u64 = 200;

/// Whether `new` is to be preferred to `old`; a strict total order.
#[must_use]
pub fn is_better(new: Vote, old: Vote) -> bool {
    if zoo::is(Mutation::EpochIgnored) {
        return (new.zxid, new.leader) > (old.zxid, old.leader);
    }
    if zoo::is(Mutation::ZxidIgnored) {
        return (new.epoch, new.leader) > (old.epoch, old.leader);
    }
    (new.epoch, new.zxid, new.leader) > (old.epoch, old.zxid, old.leader)
}

/// A vote as it was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Ballot {
    state: State,
    leader: ServerId,
    zxid: Zxid,
    epoch: i64,
    round: i64,
    /// Whether it came in this round, in which case only the leader counts (ZOOKEEPER-1732, 1805).
    of_this_round: bool,
}

/// [`PeerState`] with a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum State {
    Looking,
    Following,
    Leading,
    Observing,
}

impl Ballot {
    fn new(notification: &Notification, of_this_round: bool) -> Self {
        let state = match notification.state {
            PeerState::Looking => State::Looking,
            PeerState::Following => State::Following,
            PeerState::Leading => State::Leading,
            PeerState::Observing => State::Observing,
        };
        let Vote { leader, zxid, epoch } = notification.vote;
        Self { state, leader, zxid, epoch, round: notification.round, of_this_round }
    }

    /// Whether two members that are not looking follow the same leader.
    fn agrees_with(&self, other: &Self) -> bool {
        if self.state == State::Looking || other.state == State::Looking || zoo::is(Mutation::StrictVotes) {
            return (self.leader, self.zxid, self.round, self.epoch)
                == (other.leader, other.zxid, other.round, other.epoch);
        }
        self.leader == other.leader
            && (self.of_this_round != other.of_this_round || self.epoch == other.epoch)
    }
}

/// The result of an election.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Elected {
    /// Who leads.
    pub leader: ServerId,
    /// The zxid of the vote.
    pub zxid: Zxid,
    /// The epoch of the vote.
    pub epoch: i64,
    /// The round of the vote.
    pub round: i64,
}

/// One election, from looking to a result.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Election {
    me: ServerId,
    /// The own vote, before anything was heard.
    first: Ballot,
    proposal: Ballot,
    round: i64,
    /// What was heard in this round.
    votes: BTreeMap<ServerId, Ballot>,
    /// What those say who look no longer, in whatever round.
    settled: BTreeMap<ServerId, Ballot>,
    resend_at_ms: u64,
    resend_every_ms: u64,
    /// Until when the quorum for `proposal` must stand.
    decide_at_ms: Option<u64>,
}

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Step {
    /// All voters are to be told the vote, also if it is over: the others need this vote for their own count.
    pub(crate) tell: bool,
    /// It is over.
    pub(crate) elected: Option<Elected>,
}

/// What an election must know of the ensemble.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Electorate<'a> {
    pub(crate) quorum: &'a JointQuorum,
    /// The members with which a connection stands.
    pub(crate) connected: &'a BTreeSet<ServerId>,
}

impl Election {
    /// Begins a new round after `round`. `vote` is for this server itself, or one that cannot win if it may not.
    pub(crate) fn new(me: ServerId, vote: Vote, round: i64, now_ms: u64) -> Self {
        let Vote { leader, zxid, epoch } = vote;
        let round = round.saturating_add(1);
        let first = Ballot { state: State::Looking, leader, zxid, epoch, round, of_this_round: true };
        Self {
            me,
            first,
            proposal: first,
            round,
            votes: BTreeMap::new(),
            settled: BTreeMap::new(),
            resend_at_ms: now_ms + RESEND_MIN_MS,
            resend_every_ms: RESEND_MIN_MS,
            decide_at_ms: None,
        }
    }

    pub(crate) fn round(&self) -> i64 {
        self.round
    }

    /// What this server tells at the moment.
    pub(crate) fn vote(&self) -> Vote {
        let Ballot { leader, zxid, epoch, .. } = self.proposal;
        Vote { leader, zxid, epoch }
    }

    /// Who wants the server to lead that won: without a quorum of them it waits in vain.
    pub(crate) fn supporters(&self, leader: ServerId) -> BTreeSet<ServerId> {
        let votes = self.votes.iter().chain(&self.settled);
        votes.filter(|(_, ballot)| ballot.leader == leader).map(|(server, _)| *server).collect()
    }

    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn is_deciding(&self) -> bool {
        self.decide_at_ms.is_some()
    }

    /// See [`crate::Peer::each_round`].
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn each_round(&mut self, visit: &mut impl FnMut(&mut i64)) {
        visit(&mut self.round);
        visit(&mut self.first.round);
        visit(&mut self.proposal.round);
        for ballot in self.votes.values_mut().chain(self.settled.values_mut()) {
            visit(&mut ballot.round);
        }
    }

    pub(crate) fn deadline_ms(&self) -> u64 {
        self.decide_at_ms.map_or(self.resend_at_ms, |decide| decide.min(self.resend_at_ms))
    }

    /// The first step: the own vote is cast.
    pub(crate) fn begin(&mut self, now_ms: u64, electorate: Electorate<'_>) -> Step {
        if electorate.quorum.has_voter(self.me) && self.first.zxid != NOTHING {
            self.votes.insert(self.me, self.proposal);
        }
        Step { tell: true, elected: self.count(now_ms, electorate) }
    }

    pub(crate) fn handle_timeout(&mut self, now_ms: u64, electorate: Electorate<'_>) -> Step {
        if self.decide_at_ms.is_some_and(|decide| decide <= now_ms) {
            return Step { tell: false, elected: self.count(now_ms, electorate) };
        }
        if self.resend_at_ms <= now_ms {
            self.resend_every_ms = (self.resend_every_ms * 2).min(RESEND_MAX_MS);
            self.resend_at_ms = now_ms + self.resend_every_ms;
            return Step { tell: true, elected: None };
        }
        Step::default()
    }

    /// Counts anew after a connection came or went.
    pub(crate) fn recount(&mut self, now_ms: u64, electorate: Electorate<'_>) -> Step {
        Step { tell: false, elected: self.count(now_ms, electorate) }
    }

    /// Takes a notification of another voter, or of one that says that it is.
    pub(crate) fn handle(
        &mut self,
        now_ms: u64,
        from: ServerId,
        notification: &Notification,
        electorate: Electorate<'_>,
    ) -> Step {
        let quorum = electorate.quorum;
        if !quorum.has_voter(from) || !quorum.has_voter(notification.vote.leader) {
            return Step::default();
        }
        match notification.state {
            PeerState::Looking => self.on_looking(now_ms, from, notification, electorate),
            PeerState::Following | PeerState::Leading => {
                Step { tell: false, elected: self.on_settled(from, notification, quorum) }
            }
            PeerState::Observing => Step::default(),
        }
    }

    fn on_looking(
        &mut self,
        now_ms: u64,
        from: ServerId,
        notification: &Notification,
        electorate: Electorate<'_>,
    ) -> Step {
        let ballot = Ballot::new(notification, true);
        // An empty database that nobody vouches for must not decide (ZOOKEEPER-261).
        if self.first.zxid == NOTHING || ballot.zxid == NOTHING {
            return Step::default();
        }
        if ballot.round < self.round {
            return Step::default();
        }
        if ballot.leader == self.me && (ballot.zxid, ballot.epoch) != (self.first.zxid, self.first.epoch) {
            // What this server had when it voted in an earlier life, and has no longer: its log was cut since. Only a
            // new round makes the others forget it.
            self.begin_round(ballot.round.saturating_add(1), None, electorate.quorum);
            return Step { tell: true, elected: self.count(now_ms, electorate) };
        }
        let mut tell = false;
        if ballot.round > self.round && zoo::is(Mutation::RoundIgnored) {
            return Step::default();
        }
        if ballot.round > self.round {
            self.begin_round(ballot.round, Some(ballot), electorate.quorum);
            tell = true;
        } else if self.prefers(&ballot, &self.proposal, electorate.quorum) {
            self.adopt(ballot, electorate.quorum);
            tell = true;
        }
        self.votes.insert(from, ballot);
        Step { tell, elected: self.count(now_ms, electorate) }
    }

    fn begin_round(&mut self, round: i64, heard: Option<Ballot>, quorum: &JointQuorum) {
        self.round = round;
        self.votes.clear();
        let own = Ballot { round, ..self.first };
        self.adopt(heard.filter(|heard| self.prefers(heard, &own, quorum)).unwrap_or(own), quorum);
    }

    fn adopt(&mut self, ballot: Ballot, quorum: &JointQuorum) {
        self.proposal = Ballot { state: State::Looking, ..ballot };
        self.decide_at_ms = None;
        if quorum.has_voter(self.me) {
            self.votes.insert(self.me, self.proposal);
        }
    }

    #[expect(clippy::unused_self, reason = "reads as a question to the election")]
    fn prefers(&self, new: &Ballot, old: &Ballot, quorum: &JointQuorum) -> bool {
        let vote = |b: &Ballot| Vote { leader: b.leader, zxid: b.zxid, epoch: b.epoch };
        let may_lead = quorum.weight(new.leader) > 0 || zoo::is(Mutation::WeightIgnored);
        may_lead && is_better(vote(new), vote(old))
    }

    /// Whether a quorum stands behind the proposal, and has for long enough.
    fn count(&mut self, now_ms: u64, electorate: Electorate<'_>) -> Option<Elected> {
        let for_proposal: BTreeSet<ServerId> = self
            .votes
            .iter()
            .filter(|(_, ballot)| ballot.agrees_with(&self.proposal))
            .map(|(server, _)| *server)
            .collect();
        if !electorate.quorum.is_quorum(&for_proposal) {
            self.decide_at_ms = None;
            return None;
        }
        let decide_at_ms = *self.decide_at_ms.get_or_insert(now_ms + FINALIZE_WAIT_MS);
        let unanimous = electorate.quorum.voters().all(|voter| {
            voter == self.me || for_proposal.contains(&voter) || !electorate.connected.contains(&voter)
        });
        if now_ms < decide_at_ms && !unanimous {
            return None;
        }
        let Ballot { leader, zxid, epoch, .. } = self.proposal;
        Some(Elected { leader, zxid, epoch, round: self.round })
    }

    /// Somebody looks no longer: there may be a leader already.
    fn on_settled(
        &mut self,
        from: ServerId,
        notification: &Notification,
        quorum: &JointQuorum,
    ) -> Option<Elected> {
        let ballot = Ballot::new(notification, false);
        let elected =
            Elected { leader: ballot.leader, zxid: ballot.zxid, epoch: ballot.epoch, round: ballot.round };
        if ballot.round == self.round {
            self.votes.insert(from, Ballot { of_this_round: true, ..ballot });
            if self.is_established(&self.votes, &ballot, quorum) {
                return Some(elected);
            }
        }
        self.settled.insert(from, ballot);
        if self.is_established(&self.settled, &ballot, quorum) {
            return Some(elected);
        }
        None
    }

    /// Whether a quorum follows this leader and the leader itself says that it leads: nobody may join a leader that
    /// nobody has heard from (ZOOKEEPER-790, 975, 1419).
    fn is_established(
        &self,
        votes: &BTreeMap<ServerId, Ballot>,
        ballot: &Ballot,
        quorum: &JointQuorum,
    ) -> bool {
        let followers: BTreeSet<ServerId> =
            votes.iter().filter(|(_, other)| other.agrees_with(ballot)).map(|(server, _)| *server).collect();
        if !quorum.is_quorum(&followers) {
            return false;
        }
        if ballot.leader == self.me {
            return ballot.round == self.round || zoo::is(Mutation::SelfRoundIgnored);
        }
        zoo::is(Mutation::LeaderUnheard)
            || votes.get(&ballot.leader).is_some_and(|leader| leader.state == State::Leading)
    }
}
