//! What a follower that serves is to observers which learn from it and not from the leader: it brings them to the
//! history and tells them of each transaction once it is committed. It promises nothing and counts nobody; its
//! observers go when its role ends. Answers to Java's `ObserverMaster`.
//!
//! An observer that comes from another master may be ahead of this one: what it was informed of is committed, and is
//! about to be here. It waits until then, where Java cuts off what its clients may have seen.

use std::collections::BTreeMap;

use ostler_wire::quorum::{LearnerInfo, Packet};
use ostler_wire::{ServerId, Zxid};

use crate::core::Core;
use crate::handover::Handover;
use crate::io::{LinkId, LogPlace, Output, Proposal, Reason};
use crate::leader::MAX_HELD;
use crate::sync::Plan;

/// See the module. Whether there is an epoch to offer, and what of it is committed, the role knows that it is a part
/// of, and says so each time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Master {
    observers: BTreeMap<LinkId, Observer>,
    next_ping_ms: u64,
}

/// An observer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Observer {
    state: State,
    server: ServerId,
    /// The link is closed if nothing was heard until then.
    deadline_ms: u64,
    /// What is held back until UPTODATE.
    held: Vec<Packet>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum State {
    /// Connected.
    ExpectInfo,
    /// LEADERINFO is sent.
    ExpectAcceptance,
    /// Until what it has is committed here.
    AwaitCommit { last: Zxid },
    /// Until it is known whether the log on disk has what it lacks.
    AwaitLog { last: Zxid },
    /// A tree is on its way, which has everything up to there.
    SendingTree { at: Zxid },
    /// NEWLEADER is sent.
    ExpectSynced,
    /// UPTODATE is sent.
    Serving,
}

impl State {
    /// Whether it gets what happens.
    fn is_informed(self) -> bool {
        matches!(self, Self::ExpectSynced | Self::Serving)
    }
}

/// What the role knows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Epoch {
    pub(crate) number: i64,
    /// All up to here is committed, and in the log.
    pub(crate) committed: Zxid,
}

impl Epoch {
    fn start(self) -> Zxid {
        Zxid::new(u32::try_from(self.number).unwrap_or(u32::MAX), 0)
    }

    fn handover(self) -> Handover {
        Handover { epoch_start: self.start(), committed: self.committed }
    }
}

impl Master {
    pub(crate) fn has(&self, link: LinkId) -> bool {
        self.observers.contains_key(&link)
    }

    pub(crate) fn links(&self) -> impl Iterator<Item = LinkId> {
        self.observers.keys().copied()
    }

    /// Those who said who they are: link, server, whether it is in sync.
    pub(crate) fn observers(&self) -> impl Iterator<Item = (LinkId, ServerId, bool)> {
        self.observers
            .iter()
            .filter(|(_, observer)| observer.state != State::ExpectInfo)
            .map(|(link, observer)| (*link, observer.server, observer.state == State::Serving))
    }

    /// When there is something to do, if there is an observer.
    pub(crate) fn deadline_ms(&self) -> Option<u64> {
        let silence = self.observers.values().map(|observer| observer.deadline_ms).min()?;
        Some(silence.min(self.next_ping_ms))
    }

    /// See [`crate::Peer::forget_past`].
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn forget_times(&mut self) {
        self.next_ping_ms = 0;
        self.observers.values_mut().for_each(|observer| observer.deadline_ms = 0);
    }

    pub(crate) fn handle_timeout(&mut self, core: &mut Core, zxid: Zxid, now_ms: u64) {
        let silent: Vec<LinkId> = self
            .observers
            .iter()
            .filter(|(_, observer)| observer.deadline_ms <= now_ms)
            .map(|(link, _)| *link)
            .collect();
        for link in silent {
            self.drop_observer(core, link, Reason::TimedOut);
        }
        if self.next_ping_ms <= now_ms {
            self.next_ping_ms = now_ms + (core.config.tick_ms / 2).max(1);
            for (link, observer) in &self.observers {
                if observer.state.is_informed() {
                    core.send(*link, Packet::Ping { zxid, data: bytes::Bytes::new() });
                }
            }
        }
    }

    pub(crate) fn on_arrived(&mut self, core: &Core, link: LinkId, now_ms: u64) {
        if self.observers.is_empty() {
            self.next_ping_ms = now_ms + (core.config.tick_ms / 2).max(1);
        }
        let deadline_ms = now_ms + core.config.init_ms();
        let state = State::ExpectInfo;
        let observer = Observer { state, server: ServerId(-1), deadline_ms, held: Vec::new() };
        self.observers.insert(link, observer);
    }

    pub(crate) fn on_link_down(&mut self, core: &mut Core, link: LinkId) {
        if self.observers.remove(&link).is_some() {
            core.outputs.push_back(Output::LearnerGone { link });
        }
    }

    pub(crate) fn on_heard(&mut self, core: &Core, link: LinkId, now_ms: u64) {
        if let Some(observer) = self.observers.get_mut(&link) {
            observer.heard(core, now_ms);
        }
    }

    fn drop_observer(&mut self, core: &mut Core, link: LinkId, reason: Reason) {
        if self.observers.remove(&link).is_some() {
            core.close(link, reason);
            core.outputs.push_back(Output::LearnerGone { link });
        }
    }

    pub(crate) fn on_packet(
        &mut self,
        core: &mut Core,
        epoch: Epoch,
        link: LinkId,
        packet: Packet,
        now_ms: u64,
    ) {
        let Some(observer) = self.observers.get_mut(&link) else { return };
        observer.heard(core, now_ms);
        match (observer.state, packet) {
            (State::ExpectInfo, Packet::ObserverInfo { accepted_epoch, info }) => {
                self.on_info(core, epoch, link, accepted_epoch, info);
            }
            (State::ExpectInfo, Packet::FollowerInfo { .. }) => {
                self.drop_observer(core, link, Reason::Violation("only observers learn from a follower"));
            }
            (State::ExpectAcceptance, Packet::AckEpoch { last, .. }) => {
                self.on_acceptance(core, epoch, link, last, now_ms);
            }
            (State::ExpectSynced, Packet::Ack { zxid }) if zxid == epoch.start() => {
                observer.state = State::Serving;
                observer.heard(core, now_ms);
                let held = std::mem::take(&mut observer.held);
                core.send(link, Packet::UpToDate);
                for packet in held {
                    core.send(link, packet);
                }
            }
            // It says so once more when it serves.
            (State::Serving, Packet::Ack { zxid }) if zxid.counter() == 0 => {}
            (
                State::Serving,
                packet @ (Packet::Request(_) | Packet::Revalidate { .. } | Packet::Ping { .. }),
            ) => {
                let server = observer.server;
                core.outputs.push_back(Output::FromLearner { link, server, packet });
            }
            (State::SendingTree { .. } | State::ExpectSynced, Packet::Ping { .. })
            | (_, Packet::Unknown { .. }) => {}
            _ => {
                let why = Reason::Violation("a packet that is not expected from an observer");
                self.drop_observer(core, link, why);
            }
        }
    }

    fn on_info(
        &mut self,
        core: &mut Core,
        epoch: Epoch,
        link: LinkId,
        accepted_epoch: i64,
        info: LearnerInfo,
    ) {
        if !(0..i64::from(i32::MAX)).contains(&accepted_epoch) {
            let why = Reason::Violation("an accepted epoch that cannot be");
            return self.drop_observer(core, link, why);
        }
        if info.members_version > core.members_version() {
            return self.drop_observer(core, link, Reason::MembersAhead);
        }
        let server = info.server.unwrap_or_else(|| link.unlisted_server());
        let same = |other: &LinkId, observer: &Observer| *other != link && observer.server == server;
        let old: Vec<LinkId> = self
            .observers
            .iter()
            .filter(|(other, observer)| same(other, observer))
            .map(|(other, _)| *other)
            .collect();
        for old in old {
            self.drop_observer(core, old, Reason::Replaced);
        }
        let observer = self.observers.get_mut(&link).expect("the packet came from it");
        (observer.server, observer.state) = (server, State::ExpectAcceptance);
        core.send(link, Packet::LeaderInfo { epoch: epoch.number });
    }

    fn on_acceptance(&mut self, core: &mut Core, epoch: Epoch, link: LinkId, last: Zxid, now_ms: u64) {
        if i64::from(last.epoch()) > epoch.number && last.0 >= 0 {
            return self.drop_observer(core, link, Reason::LearnerAhead);
        }
        let is_ahead =
            i64::from(last.epoch()) == epoch.number && last.counter() > 0 && last > epoch.committed;
        if is_ahead {
            // Everything that was proposed in this epoch is committed in it, or the epoch ends, and this role with it.
            let observer = self.observers.get_mut(&link).expect("the packet came from it");
            observer.state = State::AwaitCommit { last };
            return;
        }
        self.sync(core, epoch, link, last, now_ms);
    }

    fn sync(&mut self, core: &mut Core, epoch: Epoch, link: LinkId, last: Zxid, now_ms: u64) {
        match epoch.handover().decide(core, link, last) {
            Some(plan) => self.bring_up_to_date(core, epoch, link, plan, now_ms),
            None => {
                let observer = self.observers.get_mut(&link).expect("it is in the table");
                observer.state = State::AwaitLog { last };
            }
        }
    }

    pub(crate) fn on_log_searched(
        &mut self,
        core: &mut Core,
        epoch: Epoch,
        link: LinkId,
        place: Option<LogPlace>,
        now_ms: u64,
    ) {
        let Some(observer) = self.observers.get(&link) else { return };
        let State::AwaitLog { last } = observer.state else { return };
        let plan = Handover::decide_by_log(core, last, place);
        self.bring_up_to_date(core, epoch, link, plan, now_ms);
    }

    fn bring_up_to_date(&mut self, core: &mut Core, epoch: Epoch, link: LinkId, plan: Plan, now_ms: u64) {
        let tree = epoch.handover().send(core, link, plan, true);
        let observer = self.observers.get_mut(&link).expect("it is in the table");
        observer.state = tree.map_or(State::ExpectSynced, |at| State::SendingTree { at });
        observer.heard(core, now_ms);
    }

    /// The tree is sent: now what is behind it.
    pub(crate) fn on_snapshot_sent(&mut self, core: &mut Core, epoch: Epoch, link: LinkId, now_ms: u64) {
        let Some(observer) = self.observers.get_mut(&link) else { return };
        let State::SendingTree { at } = observer.state else { return };
        observer.state = State::ExpectSynced;
        observer.heard(core, now_ms);
        epoch.handover().send_behind(core, link, at, true);
    }

    /// What is behind `before` is committed up to where the epoch says. If the last of it put a member list into force,
    /// `leader` leads from there.
    pub(crate) fn inform(
        &mut self,
        core: &mut Core,
        epoch: Epoch,
        before: Zxid,
        leader: Option<ServerId>,
        now_ms: u64,
    ) {
        if self.observers.is_empty() {
            return;
        }
        let upto = epoch.committed;
        let fresh: Vec<Proposal> =
            core.history.after(before).take_while(|proposal| proposal.zxid <= upto).cloned().collect();
        for Proposal { zxid, bytes: entry } in fresh {
            let packet = match leader {
                Some(leader) if zxid == upto => Packet::InformAndActivate { zxid, entry, leader },
                _ => Packet::Inform { zxid, entry },
            };
            for (link, observer) in &mut self.observers {
                match observer.state {
                    State::Serving => core.send(*link, packet.clone()),
                    State::ExpectSynced => observer.held.push(packet.clone()),
                    State::ExpectInfo
                    | State::ExpectAcceptance
                    | State::AwaitCommit { .. }
                    | State::AwaitLog { .. }
                    | State::SendingTree { .. } => {}
                }
            }
        }
        let mut behind = Vec::new();
        let mut reached = Vec::new();
        for (link, observer) in &self.observers {
            match observer.state {
                State::AwaitCommit { last } if last <= upto => reached.push((*link, last)),
                _ if observer.held.len() > MAX_HELD => behind.push(*link),
                _ => {}
            }
        }
        for link in behind {
            self.drop_observer(core, link, Reason::Overflow);
        }
        for (link, last) in reached {
            self.sync(core, epoch, link, last, now_ms);
        }
    }
}

impl Observer {
    fn heard(&mut self, core: &Core, now_ms: u64) {
        let patience_ms = match self.state {
            State::Serving => core.config.sync_ms(),
            State::ExpectInfo
            | State::ExpectAcceptance
            | State::AwaitCommit { .. }
            | State::AwaitLog { .. }
            | State::SendingTree { .. }
            | State::ExpectSynced => core.config.init_ms() + core.config.sync_ms(),
        };
        self.deadline_ms = now_ms + patience_ms;
    }
}
