//! One member of the ensemble: its role and the one place where it takes input. Answers to Java's `QuorumPeer` and
//! the receiving thread of `FastLeaderElection`.
//!
//! A role ends by any failure and leads back to looking. In between the peer settles: what was appended becomes
//! durable, and the whole log, committed or not, is delivered, so that memory equals disk before the next vote
//! (ZOOKEEPER-2845, 4882, 5094). The zxid of a vote is thus always that of a durable log without holes.

use std::collections::{BTreeSet, VecDeque};

use ostler_wire::quorum::{Notification, Packet, PeerState, Vote};
use ostler_wire::zoo::{self, Mutation};
use ostler_wire::{ServerId, Zxid};

use crate::core::{Core, Epochs, Observing, PeerConfig};
use crate::election::{Elected, Election, Electorate, Step};
use crate::history::History;
use crate::io::{Generation, Input, LinkId, Output, Proposal, Reason, Standing};
use crate::leader::{End, Leader};
use crate::learner::Learner;
use crate::masters::Masters;
use crate::membership::{self, Membership};
use crate::quorum::JointQuorum;
use crate::solo::Solo;

/// The last counter of an epoch that is used, as in Java; the one behind it would be the last before overflow
/// (ZOOKEEPER-1277).
const LAST_COUNTER: u32 = 0xffff_fffe;
/// From the begin of a role to the next election at least, in milliseconds, or a tick if that is shorter.
const PAUSE_MS: u64 = 200;
/// Learners that may wait for this server to find out that it leads.
const MAX_EARLY: usize = 64;
/// The vote of a server that cannot be elected.
const NOT_ELECTABLE: Vote = Vote { leader: ServerId(i64::MIN), zxid: Zxid(i64::MIN), epoch: i64::MIN };

/// What a peer is at the moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Role {
    /// An ensemble of one.
    Solo(Solo),
    /// A role ended; the disk is still at work for it.
    Settling,
    Looking(Election),
    Leading(Box<Leader>),
    Learning(Box<Learner>),
}

/// One member of the ensemble. Contract: `handle`, then `poll_output` until `None`, and only then wait for input or
/// for [`Self::poll_timeout`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Peer {
    core: Core,
    role: Role,
    /// The result of the last election, as it is told to those who look.
    elected: Option<Elected>,
    /// The round of the last election.
    round: i64,
    /// Who elected this server, if it leads and no epoch is established.
    supporters: BTreeSet<ServerId>,
    connected: BTreeSet<ServerId>,
    /// Learners that came before this server knew that it leads.
    early: VecDeque<(LinkId, Option<Packet>)>,
    /// Why the last role ended.
    last_end: Option<Reason>,
    /// Who leads next, if a change of the members says so.
    next_leader: Option<ServerId>,
    /// When the last role began.
    role_since_ms: u64,
    /// A new election does not begin before: roles that fail at once must not follow one another without a pause.
    not_before_ms: u64,
}

impl Peer {
    /// A standalone server whose log is durable, and wholly committed, up to `last`.
    #[must_use]
    pub fn solo(server: ServerId, last: Zxid) -> Self {
        let config = PeerConfig {
            server,
            quorum: JointQuorum::new(crate::quorum::Quorum::solo(server)),
            observer: false,
            tick_ms: 0,
            init_limit_ticks: 0,
            sync_limit_ticks: 0,
            max_waiting_bytes: 0,
            force_snapshot: false,
            log_sync: false,
            observing: Observing::default(),
        };
        // Nobody will ask for what was delivered.
        let history = History::new(last, [], crate::history::Limit { count: 0, bytes: 0 });
        let mut peer =
            Self::with_role(config, Epochs { accepted: 0, current: 0 }, history, Role::Solo(Solo::new(last)));
        peer.core.generation = Generation(1);
        peer
    }

    /// A member of an ensemble, with what its disk holds: all of `history` is durable and applied to the tree. Give
    /// it [`Self::start`] before anything else.
    #[must_use]
    pub fn member(config: PeerConfig, epochs: Epochs, history: History) -> Self {
        Self::with_role(config, epochs, history, Role::Settling)
    }

    fn with_role(config: PeerConfig, epochs: Epochs, history: History, role: Role) -> Self {
        let core = Core {
            config,
            epochs,
            history,
            generation: Generation(0),
            disk: None,
            outputs: VecDeque::new(),
            last_counter: LAST_COUNTER,
            heard_epoch: 0,
            membership: None,
            masters: Masters::default(),
        };
        Self {
            core,
            role,
            elected: None,
            round: 0,
            supporters: BTreeSet::new(),
            connected: BTreeSet::new(),
            early: VecDeque::new(),
            last_end: None,
            next_leader: None,
            role_since_ms: 0,
            not_before_ms: 0,
        }
    }

    /// The member lists to go by; who votes and whether this server does follow from them.
    pub fn set_membership(&mut self, lists: Membership) {
        self.core.config.quorum = lists.quorum();
        self.core.config.observer = lists.is_observer(self.core.me());
        self.core.membership = Some(lists);
    }

    /// Makes epochs shorter, so that a test or a simulation can come to their end.
    pub fn set_last_counter(&mut self, last_counter: u32) {
        self.core.last_counter = last_counter;
    }

    /// Whether an election is over unless something new is heard.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn is_deciding(&self) -> bool {
        matches!(&self.role, Role::Looking(election) if election.is_deciding())
    }

    /// Takes a role for the first one. Only where nothing is under way that an earlier one asked for.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn forget_generation(&mut self) {
        self.core.generation = Generation(1);
    }

    /// Forgets what no later step depends on, where a clock stands still: when things began, why they ended, and who
    /// elected a leader that leads.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn forget_past(&mut self) {
        self.last_end = None;
        (self.role_since_ms, self.not_before_ms) = (0, 0);
        match &mut self.role {
            Role::Solo(_) | Role::Settling | Role::Looking(_) => {}
            Role::Leading(leader) => {
                if leader.is_broadcasting() {
                    self.supporters.clear();
                }
                leader.forget_times();
            }
            Role::Learning(learner) => {
                self.supporters.clear();
                learner.forget_times();
            }
        }
    }

    /// Calls a function with every round of elections that this server knows of.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn each_round(&mut self, visit: &mut impl FnMut(&mut i64)) {
        visit(&mut self.round);
        if let Some(elected) = &mut self.elected {
            visit(&mut elected.round);
        }
        if let Role::Looking(election) = &mut self.role {
            election.each_round(visit);
        }
    }

    /// The round of the last election.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn round(&self) -> i64 {
        self.round
    }

    /// Begins to look for a leader.
    pub fn start(&mut self, now_ms: u64) {
        self.settle(now_ms);
    }

    /// The zxid that the next proposal takes; `None` in a role that does not propose.
    #[must_use]
    pub fn next_zxid(&self) -> Option<Zxid> {
        match &self.role {
            Role::Solo(solo) => Some(solo.next_zxid()),
            Role::Leading(leader) => leader.next_zxid(&self.core),
            Role::Settling | Role::Looking(_) | Role::Learning(_) => None,
        }
    }

    /// Takes one input.
    pub fn handle(&mut self, now_ms: u64, input: Input) {
        match input {
            Input::Persisted { .. }
            | Input::EpochWritten { .. }
            | Input::Truncated { .. }
            | Input::SnapshotSaved { .. } => self.on_disk(&input, now_ms),
            Input::Propose(proposal) => self.on_propose(proposal, now_ms),
            Input::LogFull => match self.role {
                Role::Leading(_) | Role::Learning(_) => self.end_role(Reason::DiskFull, now_ms),
                Role::Solo(_) | Role::Settling | Role::Looking(_) => {}
            },
            Input::Notification { from, notification } => self.on_notification(from, &notification, now_ms),
            Input::ElectionLink { server, up } => self.on_election_link(server, up, now_ms),
            Input::LearnerArrived { link } => self.on_learner_arrived(link, now_ms),
            Input::ObserverArrived { link } => match &mut self.role {
                Role::Learning(learner) => learner.on_observer_arrived(&mut self.core, link, now_ms),
                Role::Solo(_) | Role::Settling | Role::Looking(_) | Role::Leading(_) => {
                    self.core.close(link, Reason::NoMaster);
                }
            },
            Input::LeaderReached { link, generation } => match &mut self.role {
                Role::Learning(learner) if generation == self.core.generation => {
                    learner.on_leader_reached(&mut self.core, link, now_ms);
                }
                _ => self.core.close(link, Reason::RoleEnded),
            },
            Input::LeaderUnreachable { generation } => {
                if let Role::Learning(learner) = &mut self.role
                    && generation == self.core.generation
                {
                    let end = learner.on_unreachable(&mut self.core, now_ms);
                    self.check(end, now_ms);
                }
            }
            Input::Heard { link } => match &mut self.role {
                Role::Leading(leader) => leader.on_heard(&self.core, link, now_ms),
                Role::Learning(learner) => learner.on_heard(&self.core, link, now_ms),
                Role::Solo(_) | Role::Settling | Role::Looking(_) => {}
            },
            Input::LinkDown { link } => self.on_link_down(link, now_ms),
            Input::SnapshotArrived { link } => {
                if let Role::Learning(learner) = &mut self.role {
                    let end = learner.on_snapshot_arrived(&mut self.core, link, now_ms);
                    self.check(end, now_ms);
                }
            }
            Input::SnapshotSent { link } => match &mut self.role {
                Role::Leading(leader) => leader.on_snapshot_sent(&mut self.core, link, now_ms),
                Role::Learning(learner) => learner.on_snapshot_sent(&mut self.core, link, now_ms),
                Role::Solo(_) | Role::Settling | Role::Looking(_) => {}
            },
            Input::LogSearched { link, place } => match &mut self.role {
                Role::Leading(leader) => leader.on_log_searched(&mut self.core, link, place, now_ms),
                Role::Learning(learner) => learner.on_log_searched(&mut self.core, link, place, now_ms),
                Role::Solo(_) | Role::Settling | Role::Looking(_) => {}
            },
            Input::MembersProposed { link, zxid, members } => {
                if let Role::Learning(learner) = &mut self.role {
                    learner.on_members_proposed(link, zxid, members);
                }
            }
            Input::Packet { link, packet } => {
                let end = match &mut self.role {
                    Role::Settling | Role::Looking(_) => {
                        // A learner says who it is and then waits for an answer.
                        if let Some((_, first)) = self.early.iter_mut().find(|(early, _)| *early == link) {
                            first.get_or_insert(packet);
                        }
                        Ok(())
                    }
                    Role::Leading(leader) => leader.on_packet(&mut self.core, link, packet, now_ms),
                    Role::Learning(learner) if learner.observers().has(link) => {
                        learner.on_observer_packet(&mut self.core, link, packet, now_ms);
                        Ok(())
                    }
                    Role::Learning(learner) => learner.on_packet(&mut self.core, link, packet, now_ms),
                    Role::Solo(_) => Ok(()),
                };
                self.check(end, now_ms);
            }
        }
    }

    /// Does what time asks for.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        match &mut self.role {
            Role::Solo(_) => {}
            Role::Settling => self.settle(now_ms),
            Role::Looking(election) => {
                let electorate = Electorate { quorum: &self.core.config.quorum, connected: &self.connected };
                let step = election.handle_timeout(now_ms, electorate);
                self.on_step(step, now_ms);
            }
            Role::Leading(leader) => {
                let end = leader.handle_timeout(&mut self.core, now_ms);
                self.check(end, now_ms);
            }
            Role::Learning(learner) => {
                let end = learner.handle_timeout(&mut self.core, now_ms);
                self.check(end, now_ms);
            }
        }
    }

    /// When [`Self::handle_timeout`] is to be called, and for what.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(u64, &'static str)> {
        match &self.role {
            Role::Solo(_) => None,
            Role::Settling => self.core.is_settled().then_some((self.not_before_ms, "pause")),
            Role::Looking(election) => Some((election.deadline_ms(), "election")),
            Role::Leading(leader) => Some((leader.deadline_ms(), "leader")),
            Role::Learning(learner) => Some((learner.deadline_ms(), "silence of the leader")),
        }
    }

    /// The next thing that the peer wants done.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.core.outputs.pop_front()
    }

    /// Ends the role in good order: the others need not wait until they find out.
    pub fn resign(&mut self, now_ms: u64) {
        if matches!(self.role, Role::Leading(_) | Role::Learning(_)) {
            self.end_role(Reason::RoleEnded, now_ms);
        }
    }

    fn on_propose(&mut self, proposal: Proposal, now_ms: u64) {
        match &mut self.role {
            Role::Solo(solo) => solo.on_propose(&mut self.core, proposal),
            Role::Leading(leader) => {
                leader.on_propose(&mut self.core, proposal, now_ms);
            }
            Role::Settling | Role::Looking(_) | Role::Learning(_) => {
                unreachable!("only a role with a next zxid takes proposals")
            }
        }
    }

    fn on_disk(&mut self, input: &Input, now_ms: u64) {
        if !self.core.on_disk(input) {
            return;
        }
        match &mut self.role {
            Role::Solo(_) => {
                let persisted = self.core.history.persisted();
                self.core.deliver(persisted);
            }
            Role::Settling => self.settle(now_ms),
            Role::Looking(_) => {}
            Role::Leading(leader) => {
                let end = match *input {
                    Input::Persisted { zxid, .. } => leader.on_persisted(&mut self.core, zxid),
                    Input::EpochWritten { which, .. } => {
                        leader.on_epoch_written(&mut self.core, which, now_ms)
                    }
                    _ => Ok(()),
                };
                self.check(end, now_ms);
            }
            Role::Learning(learner) => {
                let end = learner.on_disk(&mut self.core, input, now_ms);
                self.check(end, now_ms);
            }
        }
    }

    fn check(&mut self, end: End, now_ms: u64) {
        if let Err(reason) = end {
            self.end_role(reason, now_ms);
        }
    }

    fn end_role(&mut self, reason: Reason, now_ms: u64) {
        self.last_end = Some(reason);
        self.not_before_ms = self.role_since_ms + PAUSE_MS.min(self.core.config.tick_ms);
        match std::mem::replace(&mut self.role, Role::Settling) {
            Role::Leading(leader) => {
                let links: Vec<LinkId> = leader.links().collect();
                for link in links {
                    self.core.close(link, reason);
                    self.core.outputs.push_back(Output::LearnerGone { link });
                }
            }
            Role::Learning(learner) => {
                if let Some(link) = learner.link() {
                    self.core.close(link, reason);
                }
                for link in learner.observers().links() {
                    self.core.close(link, Reason::NoMaster);
                    self.core.outputs.push_back(Output::LearnerGone { link });
                }
                if learner.observer() {
                    learner.note_end(&mut self.core);
                    // Observers are many: they do not all come back at once.
                    let delay_ms = self.core.draw_delay(self.core.config.observing.election_delay_ms);
                    self.not_before_ms = self.not_before_ms.max(now_ms.saturating_add(delay_ms));
                }
                self.next_leader = learner.next_leader();
            }
            Role::Solo(_) | Role::Settling | Role::Looking(_) => {}
        }
        self.core.outputs.push_back(Output::Standing(Standing::Looking));
        self.settle(now_ms);
    }

    /// Goes on to look for a leader once the disk is done: everything in the log is delivered then.
    fn settle(&mut self, now_ms: u64) {
        if !self.core.is_settled() || now_ms < self.not_before_ms {
            return;
        }
        let last = self.core.history.last();
        let last = if zoo::is(Mutation::TailNotDelivered) {
            self.core.history.delivered()
        } else if zoo::is(Mutation::RaiseZxidEarly) && self.core.epochs.accepted > self.core.epochs.current {
            Zxid::new(u32::try_from(self.core.epochs.accepted).expect("an epoch has 31 bits"), 0)
        } else {
            self.core.deliver(last);
            last
        };
        self.core.generation.0 += 1;
        self.begin_election(last, now_ms);
    }

    fn begin_election(&mut self, last: Zxid, now_ms: u64) {
        let me = self.core.me();
        let vote = if self.core.is_electable() {
            Vote { leader: me, zxid: last, epoch: self.core.epochs.current }
        } else {
            NOT_ELECTABLE
        };
        if let Some(leader) = self.next_leader.take() {
            // The one who changed the members says who leads from here: there is nothing to elect.
            let Vote { zxid, epoch, .. } = self.elected.map_or(vote, |elected| Vote {
                leader,
                zxid: elected.zxid,
                epoch: self.core.epochs.current,
            });
            self.round = self.round.saturating_add(1);
            return self.on_elected(Elected { leader, zxid, epoch, round: self.round }, now_ms);
        }
        let mut election = Election::new(me, vote, self.round, now_ms);
        let electorate = Electorate { quorum: &self.core.config.quorum, connected: &self.connected };
        let step = election.begin(now_ms, electorate);
        self.role = Role::Looking(election);
        self.on_step(step, now_ms);
    }

    /// Takes up a member list that a notification brings, if it is newer. Whether it says something else.
    fn takes_members(&mut self, notification: &Notification) -> bool {
        let known = self.core.membership.as_ref().filter(|lists| lists.is_changeable());
        let (Some(lists), Some(text)) = (known, &notification.members) else { return false };
        if text == lists.text() {
            return false;
        }
        let Some(members) = membership::decode(text) else { return false };
        let before = std::sync::Arc::clone(lists.current());
        if members.version <= before.version {
            return false;
        }
        self.core.activate_members(&members, None, None, false);
        !before.is_same(&members)
    }

    fn on_step(&mut self, step: Step, now_ms: u64) {
        let Role::Looking(election) = &self.role else { return };
        self.round = election.round();
        if step.tell {
            let (vote, round) = (election.vote(), election.round());
            let notification =
                Notification { state: PeerState::Looking, vote, round, members: self.core.members_text() };
            let others: Vec<ServerId> =
                self.core.config.quorum.voters().filter(|voter| *voter != self.core.me()).collect();
            for to in others {
                self.core.outputs.push_back(Output::Notify { to, notification: notification.clone() });
            }
        }
        if let Some(elected) = step.elected {
            self.on_elected(elected, now_ms);
        }
    }

    fn on_elected(&mut self, elected: Elected, now_ms: u64) {
        self.elected = Some(elected);
        // The round of a leader that was there before may be lower; the own one does not go back.
        self.round = self.round.max(elected.round);
        self.role_since_ms = now_ms;
        self.supporters.clear();
        if elected.leader == self.core.me() {
            if let Role::Looking(election) = &self.role {
                self.supporters = election.supporters(elected.leader);
            }
            let mut leader = Leader::new(&mut self.core, now_ms);
            let mut end = Ok(());
            for (link, first) in std::mem::take(&mut self.early) {
                leader.on_learner_arrived(&self.core, link, now_ms);
                if let Some(packet) = first {
                    let step = leader.on_packet(&mut self.core, link, packet, now_ms);
                    end = end.and(step);
                }
            }
            self.role = Role::Leading(Box::new(leader));
            self.check(end, now_ms);
        } else {
            for (link, _) in std::mem::take(&mut self.early) {
                self.core.close(link, Reason::NotLeading);
            }
            self.role = Role::Learning(Box::new(Learner::new(&mut self.core, elected.leader, now_ms)));
        }
    }

    fn on_election_link(&mut self, server: ServerId, up: bool, now_ms: u64) {
        if up {
            self.connected.insert(server);
        } else {
            self.connected.remove(&server);
        }
        if let Role::Looking(election) = &mut self.role {
            let electorate = Electorate { quorum: &self.core.config.quorum, connected: &self.connected };
            let step = election.recount(now_ms, electorate);
            self.on_step(step, now_ms);
        }
    }

    fn on_notification(&mut self, from: ServerId, notification: &Notification, now_ms: u64) {
        if matches!(self.role, Role::Settling) {
            // There is no vote yet; who looks asks again.
            return;
        }
        if matches!(self.role, Role::Looking(_)) && self.takes_members(notification) {
            // Others know of a change of the members: whom to elect, and from whom, may be another matter now.
            self.begin_election(self.core.history.last(), now_ms);
        }
        let quorum = &self.core.config.quorum;
        if !quorum.has_voter(from) {
            // An observer, or a server that is to join: it asks, and is told.
            if notification.state == PeerState::Looking {
                self.answer(from, self.round);
            }
            return;
        }
        match &mut self.role {
            Role::Solo(_) | Role::Settling => {}
            Role::Looking(election) => {
                if notification.state == PeerState::Looking && notification.round < election.round() {
                    self.answer(from, self.round);
                    return;
                }
                let electorate = Electorate { quorum, connected: &self.connected };
                let step = election.handle(now_ms, from, notification, electorate);
                self.on_step(step, now_ms);
            }
            Role::Leading(_) | Role::Learning(_) => {
                if notification.state == PeerState::Looking {
                    if let Role::Leading(leader) = &mut self.role
                        && notification.vote.leader == from
                    {
                        leader.note_history(from, notification.vote.epoch);
                    }
                    let round = self.elected.map_or(self.round, |elected| elected.round);
                    self.answer(from, round);
                    self.on_supporter(from, notification, round, now_ms);
                }
            }
        }
    }

    /// Who elected this server may have heard of a better one since: when all start at once, two find one another
    /// before the third is there. A leader whom no quorum wants does not wait for one until the time to join is over.
    fn on_supporter(&mut self, from: ServerId, notification: &Notification, round: i64, now_ms: u64) {
        let Role::Leading(leader) = &self.role else { return };
        if leader.is_broadcasting() || notification.round < round {
            return;
        }
        if notification.vote.leader == self.core.me() {
            self.supporters.insert(from);
        } else if self.supporters.remove(&from) && !self.core.config.quorum.is_quorum(&self.supporters) {
            self.end_role(Reason::Outvoted, now_ms);
        }
    }

    /// Tells a server that looks how things stand here.
    fn answer(&mut self, to: ServerId, round: i64) {
        if !self.core.config.quorum.has_voter(self.core.me()) {
            // Nobody counts it. And a voter answers whoever has no vote: the answers would go on without an end.
            return;
        }
        let vote = match (&self.role, self.elected) {
            (Role::Looking(election), _) => election.vote(),
            (_, Some(Elected { leader, zxid, epoch, .. })) => {
                Vote { leader, zxid, epoch: self.epoch_of(epoch) }
            }
            (_, None) => return,
        };
        let notification =
            Notification { state: self.state(), vote, round, members: self.core.members_text() };
        self.core.outputs.push_back(Output::Notify { to, notification });
    }

    /// Once the epoch is established the vote carries it, so that all members tell the same (ZOOKEEPER-1732).
    fn epoch_of(&self, voted: i64) -> i64 {
        match &self.role {
            Role::Leading(leader) if leader.is_broadcasting() => leader.epoch(),
            Role::Learning(learner) if learner.is_serving() => self.core.epochs.current,
            _ => voted,
        }
    }

    fn on_learner_arrived(&mut self, link: LinkId, now_ms: u64) {
        match &mut self.role {
            Role::Leading(leader) => leader.on_learner_arrived(&self.core, link, now_ms),
            Role::Looking(_) | Role::Settling if self.early.len() < MAX_EARLY => {
                self.early.push_back((link, None))
            }
            Role::Solo(_) | Role::Settling | Role::Looking(_) | Role::Learning(_) => {
                self.core.close(link, Reason::NotLeading);
            }
        }
    }

    fn on_link_down(&mut self, link: LinkId, now_ms: u64) {
        self.early.retain(|(early, _)| *early != link);
        match &mut self.role {
            Role::Leading(leader) => leader.on_link_down(&mut self.core, link),
            Role::Learning(learner) if learner.link() == Some(link) => {
                self.end_role(Reason::LinkDown, now_ms)
            }
            Role::Learning(learner) => learner.on_observer_gone(&mut self.core, link),
            Role::Solo(_) | Role::Settling | Role::Looking(_) => {}
        }
    }
}

/// What an operator or the node may ask.
impl Peer {
    /// What this server does, as it tells others.
    #[must_use]
    pub fn state(&self) -> PeerState {
        match &self.role {
            Role::Solo(_) | Role::Leading(_) => PeerState::Leading,
            Role::Settling | Role::Looking(_) => PeerState::Looking,
            Role::Learning(learner) if learner.observer() => PeerState::Observing,
            Role::Learning(_) => PeerState::Following,
        }
    }

    /// Whether a leader's epoch is established here, so that clients may be served.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        match &self.role {
            Role::Solo(_) => true,
            Role::Settling | Role::Looking(_) => false,
            Role::Leading(leader) => leader.is_broadcasting(),
            Role::Learning(learner) => learner.is_serving(),
        }
    }

    /// Who leads, as far as is known.
    #[must_use]
    pub fn leader(&self) -> Option<ServerId> {
        match &self.role {
            Role::Solo(_) | Role::Leading(_) => Some(self.core.me()),
            Role::Learning(learner) => Some(learner.leader()),
            Role::Settling | Role::Looking(_) => None,
        }
    }

    /// The link to the leader.
    #[must_use]
    pub fn leader_link(&self) -> Option<LinkId> {
        match &self.role {
            Role::Learning(learner) if learner.is_serving() => learner.link(),
            _ => None,
        }
    }

    /// Whom this server learns from, if it has joined somebody.
    #[must_use]
    pub fn master(&self) -> Option<ServerId> {
        match &self.role {
            Role::Learning(learner) if learner.is_serving() => Some(learner.learns_from()),
            _ => None,
        }
    }

    /// Whether this is the link to whom this server learns from, or is about to.
    #[must_use]
    pub fn learns_by(&self, link: LinkId) -> bool {
        matches!(&self.role, Role::Learning(learner) if learner.link() == Some(link))
    }

    /// The learners of a leader, or the observers of a follower: link, server, whether it observes, whether it is in
    /// sync.
    #[must_use]
    pub fn learners(&self) -> Vec<(LinkId, ServerId, bool, bool)> {
        match &self.role {
            Role::Leading(leader) => leader.learners().collect(),
            Role::Learning(learner) => {
                let observers = learner.observers().observers();
                observers.map(|(link, server, synced)| (link, server, true, synced)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The last proposal of a leader.
    #[must_use]
    pub fn last_proposed(&self) -> Zxid {
        match &self.role {
            Role::Leading(leader) => leader.last_proposed(),
            _ => self.core.history.last(),
        }
    }

    /// What a leader knows to be on the disks of a quorum; for a learner, what its leader said last, whether it is
    /// on the own disk or not.
    #[must_use]
    pub fn committed(&self) -> Zxid {
        match &self.role {
            Role::Leading(leader) => leader.committed(),
            Role::Learning(learner) => learner.commit(),
            _ => self.core.history.delivered(),
        }
    }

    /// The member lists that this server goes by.
    #[must_use]
    pub fn membership(&self) -> Option<&Membership> {
        self.core.membership.as_ref()
    }

    /// The epochs on disk.
    #[must_use]
    pub fn epochs(&self) -> Epochs {
        self.core.epochs
    }

    /// The own log.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.core.history
    }

    /// Why the last role ended.
    #[must_use]
    pub fn last_end(&self) -> Option<Reason> {
        self.last_end
    }

    /// The members with which a connection for notifications stands.
    #[must_use]
    pub fn connected(&self) -> &BTreeSet<ServerId> {
        &self.connected
    }
}
