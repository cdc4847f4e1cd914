//! What a peer keeps whatever its role: who it is, the epochs on its disk, its log, and what it wants done.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use ostler_wire::quorum::{Members, Packet};
use ostler_wire::zoo::{self, Mutation};
use ostler_wire::{ServerId, Zxid};

use crate::history::History;
use crate::io::{EpochKind, Generation, Input, LinkId, Output, Proposal, Reason};
use crate::masters::Masters;
pub use crate::masters::Observing;
use crate::membership::{Activation, Membership};
use crate::quorum::JointQuorum;

/// Settings of a member of an ensemble.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PeerConfig {
    /// Its id.
    pub server: ServerId,
    /// Who votes. A member that is not among them observes, unless `observer` says otherwise.
    pub quorum: JointQuorum,
    /// Whether it observes.
    pub observer: bool,
    /// The length of a tick in milliseconds.
    pub tick_ms: u64,
    /// How long a learner may take to come to the leader's history, in ticks.
    pub init_limit_ticks: u64,
    /// How long a learner may be silent, in ticks.
    pub sync_limit_ticks: u64,
    /// How many bytes of packets a learner keeps while its disk is busy.
    pub max_waiting_bytes: usize,
    /// Whether learners always get the whole tree (`zookeeper.forceSnapshotSync`).
    pub force_snapshot: bool,
    /// Whether a learner that lags behind what is kept in memory may get what it lacks from the log on disk (not if
    /// `zookeeper.snapshotSizeFactor` is below 0).
    pub log_sync: bool,
    /// How it finds whom to learn from, if it observes.
    pub observing: Observing,
}

impl PeerConfig {
    /// How long joining may take.
    pub(crate) fn init_ms(&self) -> u64 {
        self.tick_ms * self.init_limit_ticks
    }

    /// How long silence may last.
    pub(crate) fn sync_ms(&self) -> u64 {
        self.tick_ms * self.sync_limit_ticks
    }
}

/// The epochs on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Epochs {
    /// The highest that was promised to a leader.
    pub accepted: i64,
    /// The one whose history this server has.
    pub current: i64,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Core {
    pub(crate) config: PeerConfig,
    pub(crate) epochs: Epochs,
    pub(crate) history: History,
    pub(crate) generation: Generation,
    /// What the disk was asked for and has not answered, beyond appends.
    pub(crate) disk: Option<DiskWork>,
    pub(crate) outputs: VecDeque<Output>,
    /// The highest epoch that another voter said it accepted: the next one of this server's goes above it.
    pub(crate) heard_epoch: i64,
    /// The last counter of an epoch that is used.
    pub(crate) last_counter: u32,
    /// The member lists; none where the quorum alone is given.
    pub(crate) membership: Option<Membership>,
    /// Whom an observer learned from.
    pub(crate) masters: Masters,
}

/// One thing at a time is asked of the disk beside appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum DiskWork {
    Epoch(EpochKind, i64),
    Truncate(Zxid),
    Save(Zxid),
}

impl Core {
    /// A random time below one of the delays of an observer.
    pub(crate) fn draw_delay(&mut self, most_ms: u64) -> u64 {
        self.masters.draw(self.config.observing.seed, most_ms)
    }

    pub(crate) fn me(&self) -> ServerId {
        self.config.server
    }

    /// The member list in force as it is told to others.
    pub(crate) fn members_text(&self) -> Option<Bytes> {
        self.membership.as_ref().map(|lists| lists.text().clone())
    }

    /// The version of the member list in force.
    pub(crate) fn members_version(&self) -> i64 {
        self.membership.as_ref().map_or(0, |lists| lists.current().version)
    }

    /// Whether this server may be voted for.
    pub(crate) fn is_electable(&self) -> bool {
        !self.config.observer && self.membership.as_ref().is_none_or(|lists| lists.is_voter(self.me()))
    }

    /// A member list was proposed.
    pub(crate) fn see_members(&mut self, members: &Arc<Members>) {
        let Some(lists) = &mut self.membership else { return };
        if lists.see(members) {
            self.config.quorum = lists.quorum();
            self.outputs.push_back(Output::MembersSeen(Arc::clone(members)));
        }
    }

    /// A leader begins an epoch: it gives members that never changed a version.
    pub(crate) fn establish_members(&mut self, zxid: Zxid) {
        let Some(lists) = &mut self.membership else { return };
        if lists.establish(zxid.0) {
            self.config.quorum = lists.quorum();
            self.outputs.push_back(Output::MembersSeen(Arc::clone(lists.last_seen())));
        }
    }

    /// A member list comes into force, with `leader` so far, and perhaps the one who is to lead from here. Whether
    /// that ends the role: it, or who leads, is another one.
    pub(crate) fn activate_members(
        &mut self,
        members: &Arc<Members>,
        leader: Option<ServerId>,
        next_leader: Option<ServerId>,
        in_history: bool,
    ) -> bool {
        let me = self.me();
        let Some(lists) = &mut self.membership else { return false };
        let before = lists.clone();
        let Activation::InForce { same } = lists.activate(members) else { return false };
        self.config.quorum = lists.quorum();
        let observer = lists.is_observer(me);
        let other_role = std::mem::replace(&mut self.config.observer, observer) != observer;
        let other_leader = leader.is_some_and(|leader| match next_leader {
            Some(next) => next != leader,
            None => !lists.keeps_leader(leader, &before),
        });
        self.outputs.push_back(Output::MembersActivated { members: Arc::clone(members), in_history });
        !same && (other_role || other_leader)
    }

    pub(crate) fn send(&mut self, link: LinkId, packet: Packet) {
        self.outputs.push_back(Output::Send { link, packet });
    }

    pub(crate) fn close(&mut self, link: LinkId, reason: Reason) {
        self.outputs.push_back(Output::Close { link, reason });
    }

    pub(crate) fn append(&mut self, proposal: Proposal) {
        self.history.append(proposal.clone());
        self.outputs.push_back(Output::Append { proposal, generation: self.generation });
    }

    /// Delivers what is committed and on the own disk.
    pub(crate) fn deliver(&mut self, committed: Zxid) {
        if let Some(upto) = self.history.deliver(committed) {
            self.outputs.push_back(Output::Commit { upto });
        }
    }

    pub(crate) fn write_epoch(&mut self, which: EpochKind, epoch: i64) {
        self.ask(DiskWork::Epoch(which, epoch));
        self.outputs.push_back(Output::WriteEpoch { which, epoch, generation: self.generation });
    }

    pub(crate) fn truncate(&mut self, to: Zxid) {
        self.ask(DiskWork::Truncate(to));
        self.outputs.push_back(Output::Truncate { to, generation: self.generation });
    }

    pub(crate) fn save_snapshot(&mut self, link: LinkId, zxid: Zxid) {
        self.ask(DiskWork::Save(zxid));
        self.outputs.push_back(Output::SaveSnapshot { link, zxid, generation: self.generation });
    }

    fn ask(&mut self, work: DiskWork) {
        assert_eq!(self.disk.replace(work), None, "one thing at a time is asked of the disk");
    }

    /// Whether nothing is under way to the disk.
    pub(crate) fn is_settled(&self) -> bool {
        self.disk.is_none() && (self.history.is_durable() || zoo::is(Mutation::RoleEndsUnsettled))
    }

    /// Takes the disk's answers, whatever the role; the role hears of them afterwards. `false` for one that is stale.
    pub(crate) fn on_disk(&mut self, input: &Input) -> bool {
        match *input {
            Input::Persisted { zxid, generation } => {
                let fresh = generation == self.generation;
                if fresh {
                    self.history.persist(zxid);
                }
                fresh
            }
            Input::EpochWritten { which, epoch, generation } => {
                let fresh = self.answered(generation, DiskWork::Epoch(which, epoch));
                if fresh {
                    match which {
                        EpochKind::Accepted => self.epochs.accepted = epoch,
                        EpochKind::Current => self.epochs.current = epoch,
                    }
                }
                fresh
            }
            Input::Truncated { last, generation } => {
                let Some(DiskWork::Truncate(to)) = self.disk else { return false };
                let fresh = self.answered(generation, DiskWork::Truncate(to));
                if fresh && let Some(last) = last {
                    self.history.truncate(last);
                }
                fresh
            }
            Input::SnapshotSaved { generation } => {
                let Some(DiskWork::Save(zxid)) = self.disk else { return false };
                let fresh = self.answered(generation, DiskWork::Save(zxid));
                if fresh {
                    self.history.replace(zxid);
                }
                fresh
            }
            _ => true,
        }
    }

    fn answered(&mut self, generation: Generation, work: DiskWork) -> bool {
        let fresh = generation == self.generation && self.disk == Some(work);
        if fresh {
            self.disk = None;
        }
        fresh
    }
}
