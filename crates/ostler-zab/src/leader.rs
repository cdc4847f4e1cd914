//! The role of the leader: agrees on an epoch with a quorum, brings learners to its own history, then proposes and
//! commits. Answers to Java's `Leader` and `LearnerHandler`.
//!
//! Two habits towards learners differ from Java's and cannot be seen by a Java 3.9.3: an acknowledgement of a
//! proposal that comes before that of the history is credited (ZOOKEEPER-4685), and commits are held back between
//! NEWLEADER and UPTODATE, where older learners lose them (ZOOKEEPER-4394).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ostler_wire::quorum::{LearnerInfo, Packet};
use ostler_wire::zoo::{self, Mutation};
use ostler_wire::{ServerId, Zxid};

use crate::core::Core;
use crate::handover::Handover;
use crate::history::NOTHING;
use crate::io::{EpochKind, LinkId, LogPlace, Output, Proposal, Reason, Standing};
use crate::sync::Plan;

/// The most commits that are held back for a learner that does not acknowledge its history.
pub(crate) const MAX_HELD: usize = 200_000;

/// A server that leads, or is about to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Leader {
    phase: Phase,
    learners: BTreeMap<LinkId, Learner>,
    /// Voters that offered their accepted epoch.
    offered: BTreeSet<ServerId>,
    /// The epoch to propose: above every accepted one that was offered.
    epoch: i64,
    /// Voters that accepted the epoch.
    accepted: BTreeSet<ServerId>,
    /// The end of the own history when the epoch began, and the epoch that it belongs to.
    start: (i64, Zxid),
    /// Voters that have the history of the epoch.
    synced: BTreeSet<ServerId>,
    /// Up to where each voter has the log on disk, since it was synced.
    acked: BTreeMap<ServerId, Zxid>,
    last_proposed: Zxid,
    committed: Zxid,
    next_ping_ms: u64,
    next_quorum_check_ms: u64,
    /// Voters that have a history of a newer epoch than this one.
    strangers: BTreeSet<ServerId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    /// Until a quorum offered its accepted epochs.
    ExpectEpochs { deadline_ms: u64 },
    /// The own promise is being written.
    WritingAccepted { deadline_ms: u64 },
    /// Until a quorum accepted the epoch.
    ExpectAcceptance { deadline_ms: u64 },
    /// The own epoch is being written.
    WritingCurrent { deadline_ms: u64 },
    /// Until a quorum has the history.
    ExpectSynced { deadline_ms: u64 },
    /// The epoch is established.
    Broadcasting,
}

/// The leader's view of a learner.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Learner {
    state: LearnerState,
    server: ServerId,
    observer: bool,
    /// The link is closed if nothing was heard until then.
    deadline_ms: u64,
    /// What is held back until UPTODATE.
    held: Vec<Packet>,
    /// Proposals that were sent and not acknowledged: the oldest, and one that is watched next.
    unacked: VecDeque<(Zxid, u64)>,
    last_sent: Zxid,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum LearnerState {
    /// Connected.
    ExpectInfo,
    /// Until the epoch is agreed on.
    AwaitEpoch,
    /// LEADERINFO is sent.
    ExpectAcceptance,
    /// Until a quorum accepted the epoch.
    AwaitAcceptance { last: Zxid },
    /// Until it is known whether the log on disk has what the learner lacks.
    AwaitLog { last: Zxid },
    /// A tree is on its way, which has everything up to there.
    SendingTree { at: Zxid },
    /// NEWLEADER is sent.
    ExpectSynced,
    /// It has the history; UPTODATE is not sent.
    Synced,
    /// UPTODATE is sent.
    Serving,
}

impl LearnerState {
    /// Whether it gets what happens.
    fn is_forwarded(self) -> bool {
        matches!(self, Self::ExpectSynced | Self::Synced | Self::Serving)
    }
}

/// Ends the role.
pub(crate) type End = Result<(), Reason>;

impl Leader {
    pub(crate) fn new(core: &mut Core, now_ms: u64) -> Self {
        let deadline_ms = now_ms + core.config.init_ms();
        let mut leader = Self {
            phase: Phase::ExpectEpochs { deadline_ms },
            learners: BTreeMap::new(),
            offered: BTreeSet::new(),
            epoch: 0,
            accepted: BTreeSet::new(),
            start: (core.epochs.current, core.history.last()),
            synced: BTreeSet::new(),
            acked: BTreeMap::new(),
            last_proposed: Zxid::ZERO,
            committed: core.history.last(),
            next_ping_ms: 0,
            next_quorum_check_ms: 0,
            strangers: BTreeSet::new(),
        };
        let (me, accepted) = (core.me(), core.epochs.accepted.max(core.heard_epoch));
        leader.offer(core, me, accepted);
        leader
    }

    pub(crate) fn is_broadcasting(&self) -> bool {
        self.phase == Phase::Broadcasting
    }

    pub(crate) fn epoch(&self) -> i64 {
        self.epoch
    }

    /// A voter that looks for a leader says of which epoch its own history is.
    pub(crate) fn note_history(&mut self, voter: ServerId, epoch: i64) {
        if self.is_broadcasting() && epoch > self.epoch {
            self.strangers.insert(voter);
        } else {
            self.strangers.remove(&voter);
        }
    }

    /// Everything up to here is on the disks of a quorum.
    pub(crate) fn committed(&self) -> Zxid {
        self.committed
    }

    pub(crate) fn links(&self) -> impl Iterator<Item = LinkId> {
        self.learners.keys().copied()
    }

    /// See [`crate::Peer::forget_past`].
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn forget_times(&mut self) {
        (self.next_ping_ms, self.next_quorum_check_ms) = (0, 0);
        match &mut self.phase {
            Phase::ExpectEpochs { deadline_ms }
            | Phase::WritingAccepted { deadline_ms }
            | Phase::ExpectAcceptance { deadline_ms }
            | Phase::WritingCurrent { deadline_ms }
            | Phase::ExpectSynced { deadline_ms } => *deadline_ms = 0,
            Phase::Broadcasting => {}
        }
        for learner in self.learners.values_mut() {
            learner.deadline_ms = 0;
            learner.unacked.iter_mut().for_each(|(_, sent_ms)| *sent_ms = 0);
        }
    }

    /// The zxid of the next proposal.
    pub(crate) fn next_zxid(&self, core: &Core) -> Option<Zxid> {
        let room = self.last_proposed.counter() < core.last_counter || zoo::is(Mutation::CounterOverflow);
        (self.is_broadcasting() && room).then(|| self.last_proposed.next())
    }

    pub(crate) fn last_proposed(&self) -> Zxid {
        self.last_proposed
    }

    /// The learners with which this leader has a link: server, whether it observes, whether it is in sync.
    pub(crate) fn learners(&self) -> impl Iterator<Item = (LinkId, ServerId, bool, bool)> {
        self.learners.iter().filter(|(_, learner)| learner.state != LearnerState::ExpectInfo).map(
            |(link, learner)| {
                (*link, learner.server, learner.observer, learner.state == LearnerState::Serving)
            },
        )
    }

    pub(crate) fn deadline_ms(&self) -> u64 {
        let phase = match self.phase {
            Phase::ExpectEpochs { deadline_ms }
            | Phase::WritingAccepted { deadline_ms }
            | Phase::ExpectAcceptance { deadline_ms }
            | Phase::WritingCurrent { deadline_ms }
            | Phase::ExpectSynced { deadline_ms } => deadline_ms,
            Phase::Broadcasting => self.next_ping_ms.min(self.next_quorum_check_ms),
        };
        self.learners.values().map(|learner| learner.deadline_ms).min().map_or(phase, |due| due.min(phase))
    }

    pub(crate) fn handle_timeout(&mut self, core: &mut Core, now_ms: u64) -> End {
        let silent: Vec<LinkId> = self
            .learners
            .iter()
            .filter(|(_, learner)| learner.deadline_ms <= now_ms)
            .map(|(link, _)| *link)
            .collect();
        for link in silent {
            self.drop_learner(core, link, Reason::TimedOut);
        }
        match self.phase {
            Phase::ExpectEpochs { deadline_ms }
            | Phase::WritingAccepted { deadline_ms }
            | Phase::ExpectAcceptance { deadline_ms }
            | Phase::WritingCurrent { deadline_ms }
            | Phase::ExpectSynced { deadline_ms } => {
                if deadline_ms <= now_ms {
                    return Err(Reason::NoQuorum);
                }
            }
            Phase::Broadcasting => {
                if self.next_quorum_check_ms <= now_ms {
                    self.next_quorum_check_ms = now_ms + core.config.tick_ms;
                    self.check_quorum(core)?;
                }
                if self.next_ping_ms <= now_ms {
                    self.next_ping_ms = now_ms + (core.config.tick_ms / 2).max(1);
                    self.ping(core, now_ms);
                }
            }
        }
        Ok(())
    }

    /// A leader without a quorum must not go on: the others may have elected another one.
    fn check_quorum(&self, core: &Core) -> End {
        let mut alive: BTreeSet<ServerId> = BTreeSet::from([core.me()]);
        alive.extend(
            self.learners
                .values()
                .filter(|learner| !learner.observer && learner.state.is_forwarded())
                .map(|learner| learner.server),
        );
        if core.config.quorum.is_quorum(&alive) || zoo::is(Mutation::LeadWithoutFollowers) {
            Ok(())
        } else {
            Err(Reason::NoQuorum)
        }
    }

    fn ping(&mut self, core: &mut Core, now_ms: u64) {
        let patience_ms = core.config.sync_ms();
        let slow: Vec<LinkId> = self
            .learners
            .iter()
            .filter(|(_, learner)| {
                learner.unacked.front().is_some_and(|(_, sent_ms)| sent_ms + patience_ms < now_ms)
                    && learner.state == LearnerState::Serving
            })
            .map(|(link, _)| *link)
            .collect();
        for link in slow {
            self.drop_learner(core, link, Reason::TooSlow);
        }
        let zxid = self.last_proposed;
        for (link, learner) in &self.learners {
            if learner.state.is_forwarded() {
                core.send(*link, Packet::Ping { zxid, data: bytes::Bytes::new() });
            }
        }
    }

    pub(crate) fn on_learner_arrived(&mut self, core: &Core, link: LinkId, now_ms: u64) {
        self.learners.insert(
            link,
            Learner {
                state: LearnerState::ExpectInfo,
                server: ServerId(-1),
                observer: true,
                deadline_ms: now_ms + core.config.init_ms(),
                held: Vec::new(),
                unacked: VecDeque::new(),
                last_sent: Zxid::ZERO,
            },
        );
    }

    pub(crate) fn on_link_down(&mut self, core: &mut Core, link: LinkId) {
        if let Some(learner) = self.learners.remove(&link) {
            self.forget(core, link, &learner);
        }
    }

    pub(crate) fn on_heard(&mut self, core: &Core, link: LinkId, now_ms: u64) {
        if let Some(learner) = self.learners.get_mut(&link) {
            learner.heard(core, now_ms);
        }
    }

    fn drop_learner(&mut self, core: &mut Core, link: LinkId, reason: Reason) {
        if let Some(learner) = self.learners.remove(&link) {
            core.close(link, reason);
            self.forget(core, link, &learner);
        }
    }

    fn forget(&mut self, core: &mut Core, link: LinkId, learner: &Learner) {
        core.outputs.push_back(Output::LearnerGone { link });
        // What it acknowledged stays acknowledged: it is on its disk. But a voter that left before the epoch is
        // established must come again before it counts.
        if !self.is_broadcasting() && !self.learners.values().any(|other| other.server == learner.server) {
            self.synced.remove(&learner.server);
        }
    }

    pub(crate) fn on_packet(&mut self, core: &mut Core, link: LinkId, packet: Packet, now_ms: u64) -> End {
        let Some(learner) = self.learners.get_mut(&link) else { return Ok(()) };
        learner.heard(core, now_ms);
        let state = learner.state;
        match (state, packet) {
            (LearnerState::ExpectInfo, Packet::FollowerInfo { accepted_epoch, info }) => {
                return self.on_info(core, link, accepted_epoch, info, false);
            }
            (LearnerState::ExpectInfo, Packet::ObserverInfo { accepted_epoch, info }) => {
                return self.on_info(core, link, accepted_epoch, info, true);
            }
            (LearnerState::ExpectAcceptance, Packet::AckEpoch { last, current_epoch }) => {
                self.on_acceptance(core, link, last, current_epoch, now_ms);
            }
            (
                LearnerState::ExpectSynced | LearnerState::Synced | LearnerState::Serving,
                Packet::Ack { zxid },
            ) => {
                return self.on_ack(core, link, zxid, now_ms);
            }
            (
                LearnerState::Synced | LearnerState::Serving,
                packet @ (Packet::Request(_) | Packet::Revalidate { .. } | Packet::Ping { .. }),
            ) => {
                let server = learner.server;
                core.outputs.push_back(Output::FromLearner { link, server, packet });
            }
            (LearnerState::SendingTree { .. } | LearnerState::ExpectSynced, Packet::Ping { .. })
            | (_, Packet::Unknown { .. }) => {}
            _ => self.drop_learner(
                core,
                link,
                Reason::Violation("a packet that is not expected from a learner"),
            ),
        }
        Ok(())
    }

    fn on_info(
        &mut self,
        core: &mut Core,
        link: LinkId,
        accepted_epoch: i64,
        info: LearnerInfo,
        observer: bool,
    ) -> End {
        if !(0..i64::from(i32::MAX)).contains(&accepted_epoch) {
            self.drop_learner(core, link, Reason::Violation("an accepted epoch that cannot be"));
            return Ok(());
        }
        if info.members_version > core.members_version() {
            self.drop_learner(core, link, Reason::MembersAhead);
            return Ok(());
        }
        let server = info.server.unwrap_or_else(|| link.unlisted_server());
        // The server came again before its old link was found dead.
        let old: Vec<LinkId> = self
            .learners
            .iter()
            .filter(|(other, learner)| **other != link && learner.server == server)
            .map(|(other, _)| *other)
            .collect();
        for old in old {
            self.drop_learner(core, old, Reason::Replaced);
        }
        let learner = self.learners.get_mut(&link).expect("the packet came from it");
        learner.server = server;
        learner.observer = observer;
        learner.state = LearnerState::AwaitEpoch;
        match self.phase {
            Phase::ExpectEpochs { .. } => self.offer(core, server, accepted_epoch),
            Phase::Broadcasting if accepted_epoch > self.epoch && self.strangers.contains(&server) => {
                // Before it had a history of a newer epoch, a quorum had accepted that epoch and had left this leader.
                // As long as there is a quorum here, this history is from elsewhere: another election would let it win.
                self.drop_learner(core, link, Reason::Stranger);
            }
            _ if accepted_epoch > self.epoch && !observer && core.config.quorum.has_voter(server) => {
                // It was elected once, or followed one who was, and nothing came of it. It must not accept this epoch
                // any more, so that Java leaves it out until there is another election. Here there is one at once.
                core.heard_epoch = core.heard_epoch.max(accepted_epoch);
                return Err(Reason::NewerEpoch);
            }
            Phase::WritingAccepted { .. } => {}
            Phase::ExpectAcceptance { .. }
            | Phase::WritingCurrent { .. }
            | Phase::ExpectSynced { .. }
            | Phase::Broadcasting => self.offer_epoch(core, link),
        }
        Ok(())
    }

    /// A server says which epoch it accepted last. Observers raise the epoch as well, but do not count.
    fn offer(&mut self, core: &mut Core, server: ServerId, accepted_epoch: i64) {
        let Phase::ExpectEpochs { deadline_ms } = self.phase else { return };
        let above = i64::from(!zoo::is(Mutation::EpochReused));
        self.epoch = self.epoch.max(accepted_epoch.saturating_add(above)).max(1);
        if core.config.quorum.has_voter(server) {
            self.offered.insert(server);
        }
        if self.offered.contains(&core.me()) && core.config.quorum.is_quorum(&self.offered) {
            self.phase = Phase::WritingAccepted { deadline_ms };
            core.write_epoch(EpochKind::Accepted, self.epoch);
        }
    }

    fn offer_epoch(&mut self, core: &mut Core, link: LinkId) {
        let learner = self.learners.get_mut(&link).expect("it is in the table");
        learner.state = LearnerState::ExpectAcceptance;
        core.send(link, Packet::LeaderInfo { epoch: self.epoch });
    }

    /// An epoch of this server's is durable.
    pub(crate) fn on_epoch_written(&mut self, core: &mut Core, which: EpochKind, now_ms: u64) -> End {
        match (self.phase, which) {
            (Phase::WritingAccepted { deadline_ms }, EpochKind::Accepted) => {
                self.phase = Phase::ExpectAcceptance { deadline_ms };
                for link in self.in_state(|state| state == LearnerState::AwaitEpoch) {
                    self.offer_epoch(core, link);
                }
                self.accept(core, core.me());
            }
            (Phase::WritingCurrent { deadline_ms }, EpochKind::Current) => {
                self.phase = Phase::ExpectSynced { deadline_ms };
                self.last_proposed = self.start_of_epoch();
                core.establish_members(self.last_proposed);
                for link in self.in_state(|state| matches!(state, LearnerState::AwaitAcceptance { .. })) {
                    self.sync_learner(core, link, now_ms);
                }
                let (me, last) = (core.me(), core.history.persisted());
                self.acked.insert(me, last);
                self.synced.insert(me);
                self.try_establish(core, now_ms)?;
            }
            _ => unreachable!("the leader writes one epoch after the other"),
        }
        Ok(())
    }

    fn on_acceptance(
        &mut self,
        core: &mut Core,
        link: LinkId,
        last: Zxid,
        current_epoch: Option<i64>,
        now_ms: u64,
    ) {
        let learner = self.learners.get_mut(&link).expect("the packet came from it");
        let server = learner.server;
        learner.state = LearnerState::AwaitAcceptance { last };
        match self.phase {
            Phase::ExpectAcceptance { .. } | Phase::WritingCurrent { .. } => {
                if let Some(current_epoch) = current_epoch {
                    if learner.observer {
                        return;
                    }
                    if (current_epoch, last) > self.start {
                        return self.drop_learner(core, link, Reason::LearnerAhead);
                    }
                    if core.config.quorum.has_voter(server) && last != NOTHING {
                        self.accept(core, server);
                    }
                }
            }
            Phase::ExpectSynced { .. } | Phase::Broadcasting => self.sync_learner(core, link, now_ms),
            Phase::ExpectEpochs { .. } | Phase::WritingAccepted { .. } => {
                unreachable!("LEADERINFO was sent, so the epoch is written")
            }
        }
    }

    fn accept(&mut self, core: &mut Core, server: ServerId) {
        self.accepted.insert(server);
        let Phase::ExpectAcceptance { deadline_ms } = self.phase else { return };
        let enough = core.config.quorum.is_quorum(&self.accepted) || zoo::is(Mutation::SyncWithoutAcceptance);
        if self.accepted.contains(&core.me()) && enough {
            self.phase = Phase::WritingCurrent { deadline_ms };
            core.write_epoch(EpochKind::Current, self.epoch);
        }
    }

    /// Decides how a learner comes to the history, and sends it unless the log on disk has to be looked into first.
    fn sync_learner(&mut self, core: &mut Core, link: LinkId, now_ms: u64) {
        let handover = self.handover();
        let learner = self.learners.get_mut(&link).expect("it is in the table");
        let LearnerState::AwaitAcceptance { last } = learner.state else {
            unreachable!("a learner is synced once it accepted the epoch")
        };
        match handover.decide(core, link, last) {
            Some(plan) => self.bring_up_to_date(core, link, plan, now_ms),
            None => learner.state = LearnerState::AwaitLog { last },
        }
    }

    /// The log on disk was searched for the place where a learner stands.
    pub(crate) fn on_log_searched(
        &mut self,
        core: &mut Core,
        link: LinkId,
        place: Option<LogPlace>,
        now_ms: u64,
    ) {
        let Some(learner) = self.learners.get(&link) else { return };
        let LearnerState::AwaitLog { last } = learner.state else { return };
        let plan = Handover::decide_by_log(core, last, place);
        self.bring_up_to_date(core, link, plan, now_ms);
    }

    fn handover(&self) -> Handover {
        Handover { epoch_start: self.start_of_epoch(), committed: self.committed }
    }

    /// Sends a learner what it lacks, a tree before the rest.
    fn bring_up_to_date(&mut self, core: &mut Core, link: LinkId, plan: Plan, now_ms: u64) {
        let handover = self.handover();
        let learner = self.learners.get_mut(&link).expect("it is in the table");
        // What it acknowledged and nobody committed, it may now cut off: only what it acknowledges from here counts.
        if !zoo::is(Mutation::KeepAcksAtSync) {
            self.acked.remove(&learner.server);
        }
        match handover.send(core, link, plan, learner.observer) {
            Some(at) => {
                learner.state = LearnerState::SendingTree { at };
                learner.heard(core, now_ms);
            }
            None => learner.register(core, now_ms),
        }
    }

    /// The tree is sent: now what is behind it.
    pub(crate) fn on_snapshot_sent(&mut self, core: &mut Core, link: LinkId, now_ms: u64) {
        let handover = self.handover();
        let Some(learner) = self.learners.get_mut(&link) else { return };
        let LearnerState::SendingTree { at } = learner.state else { return };
        handover.send_behind(core, link, at, learner.observer);
        learner.register(core, now_ms);
    }

    fn start_of_epoch(&self) -> Zxid {
        Zxid::new(u32::try_from(self.epoch).expect("an epoch has 31 bits"), 0)
    }

    fn on_ack(&mut self, core: &mut Core, link: LinkId, zxid: Zxid, now_ms: u64) -> End {
        let newleader = self.start_of_epoch();
        let learner = self.learners.get_mut(&link).expect("the packet came from it");
        let server = learner.server;
        if zxid == newleader {
            if learner.state == LearnerState::ExpectSynced {
                learner.state = LearnerState::Synced;
                learner.deadline_ms = now_ms + core.config.sync_ms();
                if core.config.quorum.has_voter(server) && !learner.observer {
                    self.synced.insert(server);
                }
                self.try_establish(core, now_ms)?;
                if self.is_broadcasting() {
                    self.release(core, link, now_ms);
                    return self.try_commit(core);
                }
            }
            return Ok(());
        }
        if zxid.counter() == 0 {
            return Ok(());
        }
        if zxid > learner.last_sent {
            self.drop_learner(core, link, Reason::Violation("an acknowledgement of what was not sent"));
            return Ok(());
        }
        while learner.unacked.front().is_some_and(|(sent, _)| *sent <= zxid) {
            learner.unacked.pop_front();
        }
        if learner.observer { Ok(()) } else { self.ack(core, server, zxid) }
    }

    /// A quorum has the history: the epoch is established.
    fn try_establish(&mut self, core: &mut Core, now_ms: u64) -> End {
        let enough = self.synced.contains(&core.me())
            && (core.config.quorum.is_quorum(&self.synced) || zoo::is(Mutation::EstablishWithoutQuorum));
        if !matches!(self.phase, Phase::ExpectSynced { .. }) || !enough {
            return Ok(());
        }
        if let Some(next) = core.membership.as_ref().map(|lists| std::sync::Arc::clone(lists.last_seen())) {
            core.activate_members(&next, None, None, false);
        }
        self.phase = Phase::Broadcasting;
        self.next_ping_ms = now_ms + (core.config.tick_ms / 2).max(1);
        self.next_quorum_check_ms = now_ms + core.config.tick_ms;
        core.outputs.push_back(Output::Standing(Standing::Leading { epoch: self.epoch }));
        for link in self.in_state(|state| state == LearnerState::Synced) {
            self.release(core, link, now_ms);
        }
        // A change that was under way took this server's vote; the others find the same, and elect another leader.
        if core.is_electable() { Ok(()) } else { Err(Reason::MembersChanged) }
    }

    /// Lets a learner serve and sends what was held back.
    fn release(&mut self, core: &mut Core, link: LinkId, now_ms: u64) {
        let learner = self.learners.get_mut(&link).expect("it is in the table");
        if learner.state != LearnerState::Synced {
            return;
        }
        learner.state = LearnerState::Serving;
        // What waits for its disk could not be acknowledged until now.
        for (_, sent_ms) in &mut learner.unacked {
            *sent_ms = now_ms;
        }
        core.send(link, Packet::UpToDate);
        for packet in std::mem::take(&mut learner.held) {
            core.send(link, packet);
        }
    }

    fn in_state(&self, wanted: impl Fn(LearnerState) -> bool) -> Vec<LinkId> {
        self.learners.iter().filter(|(_, learner)| wanted(learner.state)).map(|(link, _)| *link).collect()
    }

    pub(crate) fn on_propose(&mut self, core: &mut Core, proposal: Proposal, now_ms: u64) {
        assert_eq!(Some(proposal.zxid), self.next_zxid(core), "a proposal takes the next zxid");
        self.last_proposed = proposal.zxid;
        for (link, learner) in &mut self.learners {
            if !learner.state.is_forwarded() || learner.observer {
                continue;
            }
            learner.last_sent = proposal.zxid;
            // Two are watched: the oldest, and the newest for when the oldest is acknowledged.
            learner.unacked.truncate(1);
            learner.unacked.push_back((proposal.zxid, now_ms));
            core.send(*link, Packet::Proposal { zxid: proposal.zxid, entry: proposal.bytes.clone() });
        }
        let zxid = proposal.zxid;
        core.append(proposal);
        if zoo::is(Mutation::LeaderAcksUnsynced) {
            self.acked.insert(core.me(), zxid);
        }
    }

    /// The own log is durable up to here.
    pub(crate) fn on_persisted(&mut self, core: &mut Core, zxid: Zxid) -> End {
        core.deliver(self.committed);
        if self.acked.contains_key(&core.me()) { self.ack(core, core.me(), zxid) } else { Ok(()) }
    }

    /// A voter has the log up to here on disk. Acknowledgements come in the order of the log, so one stands for all
    /// before it.
    fn ack(&mut self, core: &mut Core, server: ServerId, zxid: Zxid) -> End {
        if !core.config.quorum.has_voter(server) {
            return Ok(());
        }
        let acked = self.acked.entry(server).or_insert(Zxid::ZERO);
        *acked = (*acked).max(zxid);
        if zoo::is(Mutation::CommitWithoutQuorum) && self.is_broadcasting() && zxid > self.committed {
            self.commit(core, zxid);
        }
        self.try_commit(core)
    }

    /// Commits what a quorum has. Whoever did not acknowledge the history does not count: its log holds the proposal,
    /// but its epoch is not on disk, so that it gives way to a server with the epoch and without the proposal.
    fn try_commit(&mut self, core: &mut Core) -> End {
        if !self.is_broadcasting() {
            return Ok(());
        }
        let acked = self.acked.iter().filter(|(server, _)| self.synced.contains(server));
        let upto = core.config.quorum.agreed(&acked.map(|(server, zxid)| (*server, *zxid)).collect());
        if upto > self.committed && upto.epoch() == self.last_proposed.epoch() {
            self.commit(core, upto);
        }
        // The last one of the epoch is committed: only another epoch has room.
        let exhausted = self.committed == self.last_proposed && self.next_zxid(core).is_none();
        if exhausted { Err(Reason::EpochExhausted) } else { Ok(()) }
    }

    fn commit(&mut self, core: &mut Core, upto: Zxid) {
        let fresh: Vec<Proposal> =
            core.history.after(self.committed).take_while(|p| p.zxid <= upto).cloned().collect();
        self.committed = upto;
        for (link, learner) in &mut self.learners {
            if !learner.state.is_forwarded() {
                continue;
            }
            for Proposal { zxid, bytes } in &fresh {
                let packet = if learner.observer {
                    Packet::Inform { zxid: *zxid, entry: bytes.clone() }
                } else {
                    Packet::Commit { zxid: *zxid }
                };
                if learner.state == LearnerState::Serving || zoo::is(Mutation::CommitsNotHeld) {
                    core.send(*link, packet);
                } else {
                    learner.held.push(packet);
                }
            }
        }
        let behind: Vec<LinkId> = self
            .learners
            .iter()
            .filter(|(_, learner)| learner.held.len() > MAX_HELD)
            .map(|(link, _)| *link)
            .collect();
        for link in behind {
            self.drop_learner(core, link, Reason::Overflow);
        }
        core.deliver(self.committed);
    }
}

impl Learner {
    /// It was sent everything up to now, and gets what comes.
    fn register(&mut self, core: &Core, now_ms: u64) {
        self.state = LearnerState::ExpectSynced;
        self.last_sent = core.history.last();
        // Until the history is acknowledged the deadline of joining holds, so old proposals are not watched.
        self.heard(core, now_ms);
    }

    fn heard(&mut self, core: &Core, now_ms: u64) {
        let patience_ms = match self.state {
            LearnerState::Synced | LearnerState::Serving => core.config.sync_ms(),
            LearnerState::ExpectInfo
            | LearnerState::AwaitEpoch
            | LearnerState::ExpectAcceptance
            | LearnerState::AwaitAcceptance { .. }
            | LearnerState::AwaitLog { .. }
            | LearnerState::SendingTree { .. }
            | LearnerState::ExpectSynced => core.config.init_ms() + core.config.sync_ms(),
        };
        self.deadline_ms = now_ms + patience_ms;
    }
}
