//! The role of a follower or observer: promises an epoch, comes to the leader's history, makes it durable before it
//! says so, then logs what is proposed and delivers what is committed. Answers to Java's `Learner`, `Follower` and
//! `Observer`.
//!
//! The order at NEWLEADER is what ZooKeeper got wrong most often (ZOOKEEPER-3023, 3911, 4643, 4646, 4785): first the
//! history is on disk, then the epoch, and only then the acknowledgement leaves.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ostler_wire::quorum::{LearnerInfo, Members, Packet};
use ostler_wire::zoo::{self, Mutation};
use ostler_wire::{ServerId, Zxid};

use crate::core::Core;
use crate::history::NOTHING;
use crate::io::{EpochKind, Input, LinkId, LogPlace, Output, Proposal, Reason, Standing};
use crate::leader::End;
use crate::master::{Epoch, Master};
use crate::masters::{Search, Step};
use crate::membership;

/// The version of the learner protocol.
const PROTOCOL: i32 = 0x10000;

/// A server that follows, or is about to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Learner {
    leader: ServerId,
    observer: bool,
    search: Search,
    /// The observers that learn from this follower.
    master: Master,
    link: Option<LinkId>,
    phase: Phase,
    epoch: i64,
    deadline_ms: u64,
    /// Proposals that are not in the log yet.
    not_logged: VecDeque<Proposal>,
    /// Those of them that are committed.
    committed: BTreeSet<Zxid>,
    /// The newest proposal that was taken, to see a hole.
    last_queued: Option<Zxid>,
    /// The newest commit, once in the log.
    commit: Zxid,
    /// Appended and not acknowledged.
    unacked: VecDeque<Zxid>,
    /// What came while the disk was busy.
    waiting: VecDeque<Packet>,
    waiting_bytes: usize,
    /// The tree that the leader sent ends here: what is proposed up to here is in it.
    snapshot: Option<Zxid>,
    /// Where the log is being cut.
    cut_at: Zxid,
    /// The log cannot be cut where the leader wants it, so only a whole tree helps.
    need_snapshot: bool,
    /// Member lists that transactions bring, until they are in force.
    announced: BTreeMap<Zxid, Arc<Members>>,
    /// The member list of the leader.
    leaders_members: Option<Arc<Members>>,
    /// Who is to lead when a change of the members ends the role.
    next_leader: Option<ServerId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    /// Until it may be tried again to connect.
    Resting {
        until_ms: u64,
    },
    Connecting,
    ExpectEpoch,
    /// The promise is being written. `counts` says whether this acceptance is the first of the epoch.
    WritingAccepted,
    /// How to come to the history.
    ExpectPlan,
    /// The log is being cut.
    Truncating,
    /// The tree is on its way.
    ReceivingSnapshot {
        zxid: Zxid,
    },
    /// The tree is being made durable.
    SavingSnapshot,
    /// Until NEWLEADER.
    Syncing,
    /// The history is being made durable.
    LoggingHistory {
        upto: Zxid,
    },
    /// The epoch is being made durable.
    WritingCurrent,
    /// The history is acknowledged.
    ExpectUpToDate,
    Broadcasting,
}

impl Phase {
    /// Whether packets wait for the disk.
    fn is_busy(self) -> bool {
        matches!(
            self,
            Self::WritingAccepted
                | Self::Truncating
                | Self::ReceivingSnapshot { .. }
                | Self::SavingSnapshot
                | Self::LoggingHistory { .. }
                | Self::WritingCurrent
        )
    }
}

impl Learner {
    pub(crate) fn new(core: &mut Core, leader: ServerId, now_ms: u64) -> Self {
        let observer = core.config.observer;
        let (search, step) = Search::new(core, leader, observer, now_ms);
        let mut learner = Self {
            leader,
            observer,
            search,
            master: Master::default(),
            link: None,
            phase: Phase::Connecting,
            epoch: 0,
            deadline_ms: 0,
            not_logged: VecDeque::new(),
            committed: BTreeSet::new(),
            last_queued: None,
            commit: core.history.delivered(),
            unacked: VecDeque::new(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            snapshot: None,
            cut_at: Zxid::ZERO,
            need_snapshot: false,
            announced: BTreeMap::new(),
            leaders_members: None,
            next_leader: None,
        };
        learner.take_step(core, step);
        learner
    }

    fn take_step(&mut self, core: &mut Core, step: Step) {
        match step {
            Step::Rest { until_ms } => {
                self.phase = Phase::Resting { until_ms };
                self.deadline_ms = until_ms;
            }
            Step::Connect { server, door, within_ms } => {
                self.phase = Phase::Connecting;
                self.deadline_ms = self.search.deadline_ms();
                let generation = core.generation;
                core.outputs.push_back(Output::Connect { server, door, within_ms, generation });
            }
        }
    }

    /// Nobody could be reached where this server was to connect to.
    pub(crate) fn on_unreachable(&mut self, core: &mut Core, now_ms: u64) -> End {
        if self.phase == Phase::Connecting {
            let step = self.search.on_unreachable(core, now_ms)?;
            self.take_step(core, step);
        }
        Ok(())
    }

    /// Who is to lead from here, if a change of the members said so.
    pub(crate) fn next_leader(&self) -> Option<ServerId> {
        self.next_leader
    }

    /// What the transaction of this zxid does to the members; the packet that brings it comes behind.
    pub(crate) fn on_members_proposed(&mut self, link: LinkId, zxid: Zxid, members: Arc<Members>) {
        if self.link == Some(link) {
            self.announced.insert(zxid, members);
        }
    }

    /// A change of the members comes to be known before it is logged.
    fn see_announced(&self, core: &mut Core, zxid: Zxid) {
        if let Some(members) = self.announced.get(&zxid) {
            core.see_members(members);
        }
    }

    /// A change of the members is committed; whether it ends the role.
    fn activate_announced(&mut self, core: &mut Core, zxid: Zxid, leader: ServerId) -> bool {
        let Some(members) = self.announced.remove(&zxid) else { return false };
        let ends = core.activate_members(&members, Some(self.leader), Some(leader), true);
        if ends {
            self.next_leader = Some(leader);
        }
        ends
    }

    pub(crate) fn leader(&self) -> ServerId {
        self.leader
    }

    /// Whom it learns from.
    pub(crate) fn learns_from(&self) -> ServerId {
        self.search.server()
    }

    /// Its role ended: a master that took the connection and did not bring this server to serve was of no use.
    pub(crate) fn note_end(&self, core: &mut Core) {
        if self.link.is_some() && self.search.is_for_master() && !self.is_serving() {
            core.masters.note_lost();
        }
    }

    pub(crate) fn observer(&self) -> bool {
        self.observer
    }

    pub(crate) fn link(&self) -> Option<LinkId> {
        self.link
    }

    pub(crate) fn is_serving(&self) -> bool {
        self.phase == Phase::Broadcasting
    }

    /// The newest commit that the leader told of and that is in the log.
    pub(crate) fn commit(&self) -> Zxid {
        self.commit
    }

    pub(crate) fn deadline_ms(&self) -> u64 {
        self.master.deadline_ms().map_or(self.deadline_ms, |due| due.min(self.deadline_ms))
    }

    /// See [`crate::Peer::forget_past`].
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn forget_times(&mut self) {
        self.deadline_ms = 0;
        self.search.forget_times();
        self.master.forget_times();
    }

    pub(crate) fn handle_timeout(&mut self, core: &mut Core, now_ms: u64) -> End {
        if let Phase::Resting { until_ms } = self.phase {
            if until_ms <= now_ms {
                let step = self.search.next(core, now_ms);
                self.take_step(core, step);
            }
            return Ok(());
        }
        if self.deadline_ms <= now_ms {
            return Err(Reason::TimedOut);
        }
        if self.master.deadline_ms().is_some_and(|due| due <= now_ms) {
            self.master.handle_timeout(core, self.commit, now_ms);
        }
        Ok(())
    }

    /// Silence is measured from here.
    fn heard(&mut self, core: &Core, now_ms: u64) {
        let patience_ms = match self.phase {
            Phase::ExpectUpToDate | Phase::Broadcasting => core.config.sync_ms(),
            _ => core.config.init_ms(),
        };
        self.deadline_ms = now_ms + patience_ms;
    }

    pub(crate) fn on_heard(&mut self, core: &Core, link: LinkId, now_ms: u64) {
        if self.link == Some(link) {
            self.heard(core, now_ms);
        }
        self.master.on_heard(core, link, now_ms);
    }

    pub(crate) fn on_leader_reached(&mut self, core: &mut Core, link: LinkId, now_ms: u64) {
        if self.phase != Phase::Connecting {
            return core.close(link, Reason::RoleEnded);
        }
        self.link = Some(link);
        self.phase = Phase::ExpectEpoch;
        self.heard(core, now_ms);
        let accepted_epoch = core.epochs.accepted;
        let info = LearnerInfo {
            server: Some(core.me()),
            protocol: PROTOCOL,
            members_version: core.members_version(),
        };
        let hello = if self.observer {
            Packet::ObserverInfo { accepted_epoch, info }
        } else {
            Packet::FollowerInfo { accepted_epoch, info }
        };
        core.send(link, hello);
    }

    pub(crate) fn on_packet(&mut self, core: &mut Core, link: LinkId, packet: Packet, now_ms: u64) -> End {
        if self.link != Some(link) {
            return Ok(());
        }
        self.heard(core, now_ms);
        if self.phase.is_busy() {
            // A ping is a sign of life and nothing else while joining.
            if !matches!(packet, Packet::Ping { .. }) {
                self.waiting_bytes += size(&packet);
                self.waiting.push_back(packet);
                if self.waiting_bytes > core.config.max_waiting_bytes {
                    return Err(Reason::Overflow);
                }
            }
            return Ok(());
        }
        self.take(core, packet, now_ms)
    }

    /// Takes what waited, for as long as the disk is not needed again.
    fn take_waiting(&mut self, core: &mut Core, now_ms: u64) -> End {
        while !self.phase.is_busy()
            && let Some(packet) = self.waiting.pop_front()
        {
            self.waiting_bytes -= size(&packet);
            self.take(core, packet, now_ms)?;
        }
        Ok(())
    }

    fn take(&mut self, core: &mut Core, packet: Packet, now_ms: u64) -> End {
        match self.phase {
            Phase::ExpectEpoch => self.on_epoch(core, &packet),
            Phase::ExpectPlan => self.on_plan(core, &packet),
            Phase::Syncing => self.on_sync_packet(core, packet, now_ms),
            Phase::ExpectUpToDate => self.on_late_packet(core, packet, now_ms),
            Phase::Broadcasting => self.on_live_packet(core, packet, now_ms),
            Phase::Resting { .. }
            | Phase::Connecting
            | Phase::WritingAccepted
            | Phase::Truncating
            | Phase::ReceivingSnapshot { .. }
            | Phase::SavingSnapshot
            | Phase::LoggingHistory { .. }
            | Phase::WritingCurrent => unreachable!("packets wait for the disk"),
        }
    }

    fn on_epoch(&mut self, core: &mut Core, packet: &Packet) -> End {
        let Packet::LeaderInfo { epoch } = *packet else {
            return Err(Reason::Violation("the leader did not offer an epoch first"));
        };
        self.epoch = epoch;
        // Nobody counts on the promise of an observer, so it need not stay outside until the next election.
        let bound = if self.observer { core.epochs.current } else { core.epochs.accepted };
        if epoch < bound {
            return Err(Reason::OldEpoch);
        }
        if epoch <= core.epochs.accepted {
            // Promised before, perhaps to another leader of that epoch: not to be counted again.
            self.phase = Phase::ExpectPlan;
            let last = if self.need_snapshot { NOTHING } else { core.history.persisted() };
            self.send(core, Packet::AckEpoch { last, current_epoch: None });
            return Ok(());
        }
        if zoo::is(Mutation::AcceptWithoutWriting) {
            core.epochs.accepted = epoch;
            self.phase = Phase::WritingAccepted;
            self.on_accepted_written(core);
            return Ok(());
        }
        self.phase = Phase::WritingAccepted;
        core.write_epoch(EpochKind::Accepted, epoch);
        Ok(())
    }

    /// Connects once more and says that there is nothing here. This acceptance does not count, since the epoch was
    /// accepted before, so nobody takes this server's word for what is committed.
    fn ask_for_snapshot(&mut self, core: &mut Core, now_ms: u64) -> End {
        let Some(link) = self.link.take() else { return Ok(()) };
        core.close(link, Reason::CannotTruncate);
        let (epoch, leader) = (self.epoch, self.leader);
        *self = Self::new(core, leader, now_ms);
        self.need_snapshot = epoch <= core.epochs.accepted;
        Ok(())
    }

    fn on_accepted_written(&mut self, core: &mut Core) {
        self.phase = Phase::ExpectPlan;
        let (last, current_epoch) = (core.history.persisted(), Some(core.epochs.current));
        self.send(core, Packet::AckEpoch { last, current_epoch });
    }

    fn on_plan(&mut self, core: &mut Core, packet: &Packet) -> End {
        match *packet {
            Packet::Diff { .. } => self.phase = Phase::Syncing,
            Packet::Trunc { zxid } => {
                if zxid >= core.history.last() {
                    // Nothing is above it; but what the leader means must be here.
                    if zxid > core.history.last() {
                        return Err(Reason::Violation("the log does not reach the point to cut it at"));
                    }
                    self.phase = Phase::Syncing;
                } else {
                    if zoo::is(Mutation::TruncateInMemory) {
                        core.history.truncate(zxid);
                        self.phase = Phase::Syncing;
                        return Ok(());
                    }
                    self.phase = Phase::Truncating;
                    self.cut_at = zxid;
                    core.truncate(zxid);
                }
            }
            Packet::Snap { zxid } => {
                self.phase = Phase::ReceivingSnapshot { zxid };
            }
            _ => return Err(Reason::Violation("neither DIFF nor TRUNC nor SNAP")),
        }
        Ok(())
    }

    pub(crate) fn on_snapshot_arrived(&mut self, core: &mut Core, link: LinkId, now_ms: u64) -> End {
        if self.link != Some(link) {
            return Ok(());
        }
        let Phase::ReceivingSnapshot { zxid } = self.phase else {
            return Err(Reason::Violation("a tree that nobody announced"));
        };
        self.heard(core, now_ms);
        self.phase = Phase::SavingSnapshot;
        self.snapshot = Some(zxid);
        core.save_snapshot(link, zxid);
        if zoo::is(Mutation::AckBeforeSnapshot) {
            core.disk = None;
            core.history.replace(zxid);
            self.phase = Phase::Syncing;
            return self.take_waiting(core, now_ms);
        }
        Ok(())
    }

    /// The disk did what it was asked for; `core` knows already.
    pub(crate) fn on_disk(&mut self, core: &mut Core, input: &Input, now_ms: u64) -> End {
        match (self.phase, input) {
            (Phase::WritingAccepted, Input::EpochWritten { which: EpochKind::Accepted, .. }) => {
                self.on_accepted_written(core);
            }
            (Phase::Truncating, Input::Truncated { last, .. }) => {
                let Some(last) = *last else {
                    return self.ask_for_snapshot(core, now_ms);
                };
                if last != self.cut_at {
                    return Err(Reason::Violation("the log does not hold the point to cut it at"));
                }
                self.commit = core.history.delivered();
                self.phase = Phase::Syncing;
            }
            (Phase::SavingSnapshot, Input::SnapshotSaved { .. }) => {
                self.commit = core.history.delivered();
                self.phase = Phase::Syncing;
            }
            (Phase::LoggingHistory { upto }, Input::Persisted { .. }) => {
                core.deliver(self.commit);
                if core.history.persisted() >= upto {
                    self.write_current(core);
                }
            }
            (Phase::WritingCurrent, Input::EpochWritten { which: EpochKind::Current, .. })
                if zoo::is(Mutation::EpochBeforeHistory) && !core.history.is_durable() => {}
            (Phase::WritingCurrent, Input::EpochWritten { which: EpochKind::Current, .. }) => {
                self.acknowledge_history(core, now_ms);
            }
            (Phase::WritingCurrent, Input::Persisted { .. })
                if zoo::is(Mutation::EpochBeforeHistory)
                    && core.history.is_durable()
                    && core.epochs.current == self.epoch =>
            {
                self.acknowledge_history(core, now_ms);
            }
            (Phase::WritingCurrent | Phase::ExpectUpToDate, Input::Persisted { .. }) => {
                core.deliver(self.commit)
            }
            (Phase::Broadcasting, Input::Persisted { .. }) => self.acknowledge_logged(core),
            _ => {}
        }
        self.heard(core, now_ms);
        self.take_waiting(core, now_ms)
    }

    /// Before NEWLEADER.
    fn on_sync_packet(&mut self, core: &mut Core, packet: Packet, now_ms: u64) -> End {
        match packet {
            Packet::Proposal { .. } if zoo::is(Mutation::DropAfterSnapshot) && self.snapshot.is_some() => {}
            Packet::Proposal { zxid, entry } => {
                self.see_announced(core, zxid);
                self.queue(core, Proposal { zxid, bytes: entry })?;
            }
            Packet::Inform { zxid, entry } => {
                self.queue(core, Proposal { zxid, bytes: entry })?;
                self.committed.insert(zxid);
            }
            Packet::InformAndActivate { zxid, entry, leader } => {
                self.queue(core, Proposal { zxid, bytes: entry })?;
                self.committed.insert(zxid);
                if self.activate_announced(core, zxid, leader) {
                    return Err(Reason::MembersChanged);
                }
            }
            Packet::Commit { zxid } => self.note_commit(zxid),
            Packet::CommitAndActivate { zxid, leader } => {
                self.note_commit(zxid);
                if self.activate_announced(core, zxid, leader) {
                    return Err(Reason::MembersChanged);
                }
            }
            Packet::NewLeader { zxid, members } => {
                if i64::from(zxid.epoch()) != self.epoch || zxid.counter() != 0 {
                    return Err(Reason::Violation("NEWLEADER of another epoch"));
                }
                self.leaders_members = members.as_deref().and_then(membership::decode);
                if let Some(members) = &self.leaders_members {
                    core.see_members(members);
                }
                self.log_history(core, now_ms);
            }
            Packet::UpToDate => return Err(Reason::Violation("UPTODATE before NEWLEADER")),
            _ => {}
        }
        Ok(())
    }

    fn note_commit(&mut self, zxid: Zxid) {
        // The commit of what the tree holds already says nothing new.
        if self.not_logged.iter().rev().any(|proposal| proposal.zxid == zxid) {
            self.committed.insert(zxid);
        }
    }

    /// Keeps a proposal until it may be logged. There must be no hole (ZOOKEEPER-4925).
    fn queue(&mut self, core: &Core, proposal: Proposal) -> End {
        let zxid = proposal.zxid;
        let last = self.last_queued.unwrap_or_else(|| core.history.last());
        if self.last_queued.is_none() && zxid <= last {
            // A tree is sent while it changes: it holds the first ones that follow it already.
            return if self.snapshot.is_some() {
                Ok(())
            } else {
                Err(Reason::Violation("a proposal that the log holds already"))
            };
        }
        if !continues(last, zxid) {
            return Err(Reason::Violation("a hole in the proposals"));
        }
        self.last_queued = Some(zxid);
        self.not_logged.push_back(proposal);
        Ok(())
    }

    /// NEWLEADER: what is committed goes to disk; what is not waits until the leader is established.
    fn log_history(&mut self, core: &mut Core, now_ms: u64) {
        if zoo::is(Mutation::EpochBeforeHistory) {
            self.write_current(core);
        }
        while let Some(front) = self.not_logged.front()
            && self.committed.remove(&front.zxid)
        {
            let proposal = self.not_logged.pop_front().expect("it was just seen");
            self.commit = proposal.zxid;
            core.append(proposal);
        }
        if zoo::is(Mutation::AckHistoryBeforeSync) && !core.history.is_durable() {
            self.send(core, Packet::Ack { zxid: self.start_of_epoch() });
        }
        if zoo::is(Mutation::EpochBeforeHistory) {
            // The epoch is on its way, ahead of what was just logged.
        } else if core.history.is_durable() {
            self.write_current(core);
        } else {
            self.phase = Phase::LoggingHistory { upto: core.history.last() };
        }
        self.heard(core, now_ms);
    }

    fn write_current(&mut self, core: &mut Core) {
        self.phase = Phase::WritingCurrent;
        core.write_epoch(EpochKind::Current, self.epoch);
    }

    fn acknowledge_history(&mut self, core: &mut Core, now_ms: u64) {
        self.phase = Phase::ExpectUpToDate;
        self.heard(core, now_ms);
        self.send(core, Packet::Ack { zxid: self.start_of_epoch() });
    }

    fn start_of_epoch(&self) -> Zxid {
        Zxid::new(u32::try_from(self.epoch).unwrap_or(u32::MAX), 0)
    }

    /// Between NEWLEADER and UPTODATE.
    fn on_late_packet(&mut self, core: &mut Core, packet: Packet, now_ms: u64) -> End {
        match packet {
            Packet::UpToDate => {
                if let Some(members) = self.leaders_members.take()
                    && core.activate_members(&members, Some(self.leader), None, false)
                {
                    return Err(Reason::MembersChanged);
                }
                self.serve(core, now_ms);
            }
            Packet::NewLeader { .. } => return Err(Reason::Violation("NEWLEADER twice")),
            packet => return self.on_sync_packet(core, packet, now_ms),
        }
        Ok(())
    }

    fn serve(&mut self, core: &mut Core, now_ms: u64) {
        self.phase = Phase::Broadcasting;
        self.heard(core, now_ms);
        self.send(core, Packet::Ack { zxid: self.start_of_epoch() });
        let link = self.link.expect("packets come by it");
        let (leader, master, observer) = (self.leader, self.search.server(), self.observer);
        core.masters.note_found();
        let standing = Standing::Following { leader, master, link, observer };
        core.outputs.push_back(Output::Standing(standing));
        while let Some(proposal) = self.not_logged.pop_front() {
            if self.observer {
                if !self.committed.remove(&proposal.zxid) {
                    // Only informs are logged by an observer, and this one was not committed yet: it comes again.
                    continue;
                }
                self.commit = proposal.zxid;
            } else {
                if self.committed.remove(&proposal.zxid) {
                    self.commit = proposal.zxid;
                }
                self.unacked.push_back(proposal.zxid);
            }
            core.append(proposal);
        }
        core.deliver(self.commit);
    }

    /// What may be said once the log is durable.
    fn acknowledge_logged(&mut self, core: &mut Core) {
        let persisted = core.history.persisted();
        while self.unacked.front().is_some_and(|zxid| *zxid <= persisted) {
            let zxid = self.unacked.pop_front().expect("it was just seen");
            self.send(core, Packet::Ack { zxid });
        }
        core.deliver(self.commit);
    }

    fn on_live_packet(&mut self, core: &mut Core, packet: Packet, now_ms: u64) -> End {
        let link = self.link.expect("packets come by it");
        match packet {
            Packet::Proposal { zxid, entry } if !self.observer => {
                check_continues(core, zxid)?;
                self.see_announced(core, zxid);
                self.unacked.push_back(zxid);
                let before = core.history.last();
                core.append(Proposal { zxid, bytes: entry });
                if zoo::is(Mutation::MasterInformsEarly) {
                    let epoch = Epoch { committed: zxid, ..self.epoch() };
                    self.master.inform(core, epoch, before, None, now_ms);
                }
                if zoo::is(Mutation::AckBeforeSync) {
                    self.unacked.pop_back();
                    self.send(core, Packet::Ack { zxid });
                }
            }
            Packet::Commit { zxid } if !self.observer => self.on_commit(core, zxid, None, now_ms)?,
            Packet::CommitAndActivate { zxid, leader } if !self.observer => {
                let ends = self.activate_announced(core, zxid, leader);
                self.on_commit(core, zxid, Some(leader), now_ms)?;
                if ends {
                    return Err(Reason::MembersChanged);
                }
            }
            Packet::Inform { zxid, entry } if self.observer => self.on_inform(core, zxid, entry)?,
            Packet::InformAndActivate { zxid, entry, leader } if self.observer => {
                let ends = self.activate_announced(core, zxid, leader);
                self.on_inform(core, zxid, entry)?;
                if ends {
                    return Err(Reason::MembersChanged);
                }
            }
            packet @ (Packet::Ping { .. } | Packet::Revalidated { .. } | Packet::Sync) => {
                core.outputs.push_back(Output::FromLeader { link, packet });
            }
            // As Java: neither UPTODATE twice nor a type that is not known here ends the role.
            _ => {}
        }
        Ok(())
    }

    fn on_commit(&mut self, core: &mut Core, zxid: Zxid, activates: Option<ServerId>, now_ms: u64) -> End {
        if zxid > core.history.last() {
            return Err(Reason::Violation("a commit of what was not proposed"));
        }
        let before = self.commit;
        self.commit = self.commit.max(zxid);
        let epoch = self.epoch();
        if !zoo::is(Mutation::MasterInformsEarly) {
            self.master.inform(core, epoch, before, activates, now_ms);
        }
        core.deliver(self.commit);
        Ok(())
    }

    fn on_inform(&mut self, core: &mut Core, zxid: Zxid, entry: bytes::Bytes) -> End {
        check_continues(core, zxid)?;
        self.commit = zxid;
        core.append(Proposal { zxid, bytes: entry });
        Ok(())
    }

    fn send(&self, core: &mut Core, packet: Packet) {
        core.send(self.link.expect("the role speaks once it is connected"), packet);
    }
}

/// What it does for the observers that learn from it.
impl Learner {
    pub(crate) fn observers(&self) -> &Master {
        &self.master
    }

    fn epoch(&self) -> Epoch {
        Epoch { number: self.epoch, committed: self.commit }
    }

    pub(crate) fn on_observer_arrived(&mut self, core: &mut Core, link: LinkId, now_ms: u64) {
        if self.is_serving() && !self.observer {
            self.master.on_arrived(core, link, now_ms);
        } else {
            core.close(link, Reason::NoMaster);
        }
    }

    pub(crate) fn on_observer_packet(&mut self, core: &mut Core, link: LinkId, packet: Packet, now_ms: u64) {
        let epoch = self.epoch();
        self.master.on_packet(core, epoch, link, packet, now_ms);
    }

    pub(crate) fn on_observer_gone(&mut self, core: &mut Core, link: LinkId) {
        self.master.on_link_down(core, link);
    }

    pub(crate) fn on_snapshot_sent(&mut self, core: &mut Core, link: LinkId, now_ms: u64) {
        let epoch = self.epoch();
        self.master.on_snapshot_sent(core, epoch, link, now_ms);
    }

    pub(crate) fn on_log_searched(
        &mut self,
        core: &mut Core,
        link: LinkId,
        place: Option<LogPlace>,
        now_ms: u64,
    ) {
        let epoch = self.epoch();
        self.master.on_log_searched(core, epoch, link, place, now_ms);
    }
}

/// Whether nothing can be between two zxids: they follow one another, or the second begins an epoch.
fn continues(last: Zxid, zxid: Zxid) -> bool {
    zxid == last.next() || (zxid.epoch() > last.epoch() && zxid.counter() == 1)
}

fn check_continues(core: &Core, zxid: Zxid) -> End {
    if continues(core.history.last(), zxid) {
        Ok(())
    } else {
        Err(Reason::Violation("a hole in the proposals"))
    }
}

/// About what a packet takes in memory.
fn size(packet: &Packet) -> usize {
    64 + match packet {
        Packet::Proposal { entry, .. }
        | Packet::Inform { entry, .. }
        | Packet::InformAndActivate { entry, .. } => entry.len(),
        _ => 0,
    }
}
