//! One member of an ensemble: node, lanes, log, snapshots and trees on their way as actors with queues between them.
//! Each method is one turn of one of them. Every value here is the one that the server runs; what a turn wants of
//! the network is handed to the cluster.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use ostler_node::disk_work::{self, Cut};
use ostler_node::gate::InFlight;
use ostler_node::recover::recover_member;
use ostler_node::tree_stream::TreeSender;
use ostler_node::{ConnId, Input, Lane, LaneBatch, LaneId, LaneOutput, Node, NodeConfig, Now, Output};
use ostler_store::purge::Purge;
use ostler_store::sim::SimDisk;
use ostler_store::{Limits, LogPart, LogWriter, RestoreOptions, SnapshotWriter, epochs};
use ostler_tree::{Store, Walk};
use ostler_wire::Zxid;
use ostler_wire::quorum::{Members, Packet};
use ostler_zab::{EpochKind, Epochs, Generation, History, LinkId, Membership, Proposal};

use super::settings::Settings;
use crate::rng::Rng;

/// The pause between two looks at a full disk.
const RETRY_US: u64 = 1_000_000;

/// What the log's thread is told.
#[derive(Debug)]
enum LogLetter {
    Append(Proposal, Generation),
    Roll,
    Epoch(EpochKind, i64, Generation),
    Truncate(Zxid, Generation),
    SaveTree(Box<Store>, Zxid, Generation),
}

/// What a turn of the log came to.
#[derive(Debug)]
pub(super) enum LogTurn {
    /// Nothing that the others care for.
    Idle,
    /// The log is durable up to here.
    Durable(Zxid),
    /// An epoch is durable.
    Epoch(EpochKind, i64),
    /// The log was cut and ends here; `None` if that could not be done.
    Cut(Zxid, Option<Zxid>),
    /// A tree took the place of the log.
    Saved(Zxid),
    /// The disk failed for good: the process ends.
    Failed,
}

/// The log's thread.
struct Log {
    writer: LogWriter<SimDisk>,
    letters: VecDeque<LogLetter>,
    /// Appended and not durable.
    newest: Option<(Zxid, Generation)>,
    /// What is done, and when that becomes known.
    done: Option<(u64, Vec<Input>)>,
    roll_pending: bool,
    told_full: bool,
    retry_at_us: u64,
}

/// A snapshot under way.
struct Snapshot {
    walk: Walk,
    writer: Option<SnapshotWriter<SimDisk>>,
    walked: bool,
}

/// A tree or a part of the log on its way to a learner, and what has to wait behind it.
struct Sending {
    what: Freight,
    behind: Vec<Packet>,
}

enum Freight {
    /// The tree, once it has reached a zxid.
    Tree(Zxid, Option<TreeSender>),
    /// The log behind a zxid and up to another.
    Log(Zxid, Zxid, Option<LogPart<SimDisk>>),
}

/// A lane and what lies before it.
pub(super) struct Seat {
    pub lane: Lane,
    pub inbox: VecDeque<LaneBatch>,
    /// What the node believes about its watches.
    watching: bool,
    /// The pipes of its connections.
    pub pipes: BTreeMap<ConnId, usize>,
    /// Connections with bytes that the lane does not take yet.
    pub stalled: Vec<ConnId>,
}

/// Something for a learner or the leader.
#[derive(Debug)]
pub(super) enum Parcel {
    Packet(Packet),
    /// A part of a tree.
    Tree(Bytes),
}

/// What a turn wants of the cluster.
#[derive(Debug, Default)]
pub(super) struct Wants {
    /// Of the network, in order.
    pub net: Vec<ostler_zab::Output>,
    /// For links, in order.
    pub parcels: Vec<(LinkId, Parcel)>,
    /// What was handed to the log, in order.
    pub appended: Vec<Proposal>,
    /// Lanes with something to read.
    pub lanes: Vec<usize>,
    pub log: bool,
    pub snapshot: bool,
    pub sender: bool,
    /// The log will be cut behind here, or a tree of this zxid takes its place.
    pub cut: Option<Zxid>,
}

/// What a start found on the disk.
pub(super) struct Found {
    pub last: Zxid,
    pub epochs: Epochs,
}

/// A member that runs.
pub(super) struct Member {
    pub node: Node,
    pub store: Store,
    pub seats: Vec<Seat>,
    pub inbox: VecDeque<Input>,
    disk: SimDisk,
    log: Log,
    snapshot: Option<Snapshot>,
    sending: BTreeMap<LinkId, Sending>,
    /// The last transaction of which a part may be in the tree that went over a link.
    in_tree: BTreeMap<LinkId, Zxid>,
    /// Looks into the log: the learner's link, the end of its log, and what is to be behind it.
    searches: VecDeque<(LinkId, (Zxid, Zxid, Zxid))>,
    purge: Purge,
    /// When each actor is called next.
    pub wakes: Wakes,
    in_flight: Arc<InFlight>,
}

/// When the actors of a member are called next.
pub(super) struct Wakes {
    pub node: Wake,
    pub log: Wake,
    pub snapshot: Wake,
    pub sender: Wake,
    pub lanes: Vec<Wake>,
}

/// When an actor is called next. Its events in the cluster's queue are known, so that none is added for a time that an
/// earlier one can be moved to.
#[derive(Debug, Clone)]
pub(super) struct Wake {
    /// `u64::MAX` for not at all.
    pub at_us: u64,
    /// The times of events that are queued, the earliest last.
    queued: Vec<u64>,
}

impl Wake {
    const NEVER: Self = Self { at_us: u64::MAX, queued: Vec::new() };

    /// Calls at a time, unless it is called sooner; whether an event is to be queued for it.
    pub(super) fn set(&mut self, at_us: u64) -> bool {
        if at_us >= self.at_us {
            return false;
        }
        self.at_us = at_us;
        let new = self.queued.last().is_none_or(|first| *first > at_us);
        if new {
            self.queued.push(at_us);
        }
        new
    }

    /// An event has come: whether the actor is called.
    pub(super) fn rings(&mut self, now_us: u64) -> bool {
        // If not, it was queued for an earlier life of the server.
        if self.queued.last() == Some(&now_us) {
            self.queued.pop();
        }
        let rings = self.at_us == now_us;
        if rings {
            self.at_us = u64::MAX;
        }
        rings
    }

    /// After an event that came too early: when the next is to be queued, if none is.
    pub(super) fn again(&mut self) -> Option<u64> {
        let missing = self.at_us < u64::MAX && self.queued.last().is_none_or(|first| *first > self.at_us);
        if !missing {
            return None;
        }
        self.queued.push(self.at_us);
        Some(self.at_us)
    }
}

impl Member {
    /// Starts on a disk, as the real server does.
    pub(super) fn start(
        disk: SimDisk,
        settings: &Settings,
        place: usize,
        life: u64,
        now: Now,
    ) -> ostler_store::Result<(Self, Found)> {
        let mut config: NodeConfig = settings.node.clone();
        config.server_id = super::settings::id_of(place).0;
        config.seed = config.seed.wrapping_add((place as u64) << 32).wrapping_add(life << 40);
        let config = Arc::new(config);
        let limit = settings.commit_log;
        let recovered = recover_member(&disk, RestoreOptions::default(), &config.tree, limit)?;
        if recovered.snapshot.is_none() {
            write_first_snapshot(&disk, settings, &recovered.store)?;
        }
        let epochs = epochs::load_epochs(&disk, recovered.last)?;
        let epochs = Epochs { accepted: epochs.accepted, current: epochs.current };
        let mut purge = Purge::default();
        if let Some(name) = &recovered.snapshot {
            purge.note_whole(name);
        }
        let mut store = recovered.store;
        store.set_config(&settings.members, 0, now.wall_ms);
        let history = History::new(recovered.history.base, recovered.history.proposals, limit)
            .with_whole_log_since(recovered.history.whole_since);
        let members = Members::decode(&settings.members).expect("a list of our own");
        let members = Membership::fixed(members).expect("every voter is in one group");
        let mut node =
            Node::member(Arc::clone(&config), settings.peer(place), members, epochs, history, &store, now);
        if let Some(last_counter) = settings.last_counter {
            node.set_last_counter(last_counter);
        }
        let in_flight = Arc::new(InFlight::default());
        let seats: Vec<Seat> = (0..config.lanes)
            .map(|index| Seat {
                lane: Lane::new(LaneId(index), Arc::clone(&config), Arc::clone(&in_flight), now),
                inbox: VecDeque::new(),
                watching: false,
                pipes: BTreeMap::new(),
                stalled: Vec::new(),
            })
            .collect();
        let log = Log {
            writer: LogWriter::new(disk.clone(), settings.log, store.last_zxid()),
            letters: VecDeque::new(),
            newest: None,
            done: None,
            roll_pending: false,
            told_full: false,
            retry_at_us: 0,
        };
        let found = Found { last: store.last_zxid(), epochs };
        let snapshot = (recovered.replayed > 0).then(|| Snapshot {
            walk: Walk::new(&store),
            writer: None,
            walked: false,
        });
        let wakes = Wakes {
            node: Wake::NEVER,
            log: Wake::NEVER,
            snapshot: Wake::NEVER,
            sender: Wake::NEVER,
            lanes: vec![Wake::NEVER; config.lanes],
        };
        let member = Self {
            node,
            store,
            seats,
            inbox: VecDeque::new(),
            disk,
            log,
            snapshot,
            sending: BTreeMap::new(),
            in_tree: BTreeMap::new(),
            searches: VecDeque::new(),
            purge,
            wakes,
            in_flight,
        };
        Ok((member, found))
    }

    /// A turn of the node's loop: takes so many inputs, applies what is committed.
    pub(super) fn node_turn(&mut self, now: Now, most: usize, wants: &mut Wants) {
        for _ in 0..most {
            let Some(input) = self.inbox.pop_front() else { break };
            self.node.handle(now, input, &self.store);
            self.carry_out(wants);
        }
        if now.mono_ms >= self.node.poll_timeout().0 {
            self.node.handle_timeout(now, &self.store);
            self.carry_out(wants);
        }
        while self.node.has_committed() {
            let seats = &self.seats;
            let watching = |lane: LaneId| seats[lane.0].watching;
            let batches = self.node.apply(&mut self.store, &watching);
            for (lane, batch) in batches {
                self.seats[lane.0].inbox.push_back(batch);
                wants.lanes.push(lane.0);
            }
            self.carry_out(wants);
        }
        wants.sender |= !self.sending.is_empty() || !self.searches.is_empty();
    }

    /// Whether a snapshot is due at the start.
    pub(super) fn has_snapshot(&self) -> bool {
        self.snapshot.is_some()
    }

    /// Takes what the node wants; also to be called after the start.
    pub(super) fn carry_out(&mut self, wants: &mut Wants) {
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Append { proposal, generation } => {
                    wants.appended.push(proposal.clone());
                    wants.log = true;
                    self.log.letters.push_back(LogLetter::Append(proposal, generation));
                }
                Output::RollLog => self.log.letters.push_back(LogLetter::Roll),
                Output::Snapshot => {
                    if self.snapshot.is_none() {
                        let walk = Walk::new(&self.store);
                        self.snapshot = Some(Snapshot { walk, writer: None, walked: false });
                        wants.snapshot = true;
                    } else {
                        self.inbox.push_back(Input::SnapshotDone);
                    }
                }
                Output::DiscardSnapshots => self.discard_snapshot(),
                Output::Peer(output) => self.carry_out_peer(output, wants),
                Output::Truncate { to, generation } => {
                    wants.cut = Some(to);
                    self.log.letters.push_back(LogLetter::Truncate(to, generation));
                    wants.log = true;
                }
                Output::SaveTree { store, zxid, generation } => {
                    wants.cut = Some(zxid);
                    self.log.letters.push_back(LogLetter::SaveTree(store, zxid, generation));
                    wants.log = true;
                }
                Output::Install(store) => {
                    self.discard_snapshot();
                    self.store = *store;
                }
                Output::SetConfig { version, text, wall_ms } => {
                    self.store.set_config(&text, version, wall_ms);
                }
                Output::Apply => {}
                Output::Send(lane, batch) => {
                    self.seats[lane.0].inbox.push_back(batch);
                    wants.lanes.push(lane.0);
                }
            }
        }
    }

    fn carry_out_peer(&mut self, output: ostler_zab::Output, wants: &mut Wants) {
        match output {
            ostler_zab::Output::WriteEpoch { which, epoch, generation } => {
                self.log.letters.push_back(LogLetter::Epoch(which, epoch, generation));
                wants.log = true;
            }
            ostler_zab::Output::Send { link, packet } => match self.sending.get_mut(&link) {
                Some(sending) => sending.behind.push(packet),
                None => wants.parcels.push((link, self.parcel(link, &packet))),
            },
            ostler_zab::Output::SendSnapshot { link, zxid } => {
                self.sending.insert(link, Sending { what: Freight::Tree(zxid, None), behind: Vec::new() });
                wants.sender = true;
            }
            ostler_zab::Output::SearchLog { link, peer, through, upto } => {
                self.searches.push_back((link, (peer, through, upto)));
                wants.sender = true;
            }
            ostler_zab::Output::SendLog { link, after, upto } => {
                let what = Freight::Log(after, upto, None);
                self.sending.insert(link, Sending { what, behind: Vec::new() });
                wants.sender = true;
            }
            ostler_zab::Output::Close { link, reason } => {
                self.forget_link(link);
                // What was said before the end goes out before the end.
                wants.net.push(ostler_zab::Output::Close { link, reason });
            }
            other => wants.net.push(other),
        }
    }

    /// A link is gone.
    pub(super) fn forget_link(&mut self, link: LinkId) {
        self.sending.remove(&link);
        self.in_tree.remove(&link);
    }

    /// A packet for a link, behind whatever tree went over it.
    fn parcel(&self, link: LinkId, packet: &Packet) -> Parcel {
        let in_tree = self.in_tree.get(&link).copied().unwrap_or_default();
        Parcel::Packet(packet.behind_tree(in_tree).into_owned())
    }

    fn discard_snapshot(&mut self) {
        if let Some(snapshot) = self.snapshot.take() {
            if let Some(writer) = snapshot.writer {
                writer.abort();
            }
            self.inbox.push_back(Input::SnapshotDone);
        }
    }

    /// A turn of whoever sends trees and looks into the log: one look, and a slice of each. Whether there is more.
    pub(super) fn sender_turn(&mut self, settings: &Settings, wants: &mut Wants) -> bool {
        if let Some((link, wanted)) = self.searches.pop_front() {
            let factor = settings.snapshot_size_factor;
            let search = |factor| disk_work::search_log(&self.disk, wanted, factor).ok().flatten();
            let place = factor.and_then(search);
            self.inbox.push_back(Input::Peer(ostler_zab::Input::LogSearched { link, place }));
        }
        let links: Vec<LinkId> = self.sending.keys().copied().collect();
        let mut more = !self.searches.is_empty();
        for link in links {
            let sending = self.sending.get_mut(&link).expect("it was just listed");
            let done = match &mut sending.what {
                Freight::Tree(zxid, tree) => {
                    if tree.is_none() && self.store.last_zxid() < *zxid {
                        // It begins with a turn of the node that applies what is missing.
                        continue;
                    }
                    let tree = tree.get_or_insert_with(|| TreeSender::new(&self.store));
                    let mut bytes = Vec::new();
                    let done = tree.next_slice(&self.store, settings.slice.0, settings.slice.1, &mut bytes);
                    wants.parcels.push((link, Parcel::Tree(Bytes::from(bytes))));
                    done
                }
                Freight::Log(after, upto, part) => {
                    match send_log(&self.disk, (*after, *upto), part, settings.slice.0) {
                        Ok((packets, done)) => {
                            wants
                                .parcels
                                .extend(packets.iter().map(|packet| (link, self.parcel(link, packet))));
                            done
                        }
                        Err(_) => {
                            // Purged meanwhile: the learner has to come again.
                            self.sending.remove(&link);
                            self.inbox.push_back(Input::Peer(ostler_zab::Input::LinkDown { link }));
                            let reason = ostler_zab::Reason::LinkDown;
                            wants.net.push(ostler_zab::Output::Close { link, reason });
                            continue;
                        }
                    }
                }
            };
            if done {
                let sending = self.sending.remove(&link).expect("it was just seen");
                if matches!(sending.what, Freight::Tree(..)) {
                    self.in_tree.insert(link, self.store.last_zxid());
                    self.inbox.push_back(Input::Peer(ostler_zab::Input::SnapshotSent { link }));
                }
                wants.parcels.extend(sending.behind.iter().map(|packet| (link, self.parcel(link, packet))));
            } else {
                more = true;
            }
        }
        more
    }

    /// A turn of the log's thread: reports what is finished, or takes what waits and does it.
    pub(super) fn log_turn(
        &mut self,
        now_us: u64,
        settings: &Settings,
        slow_us: u64,
        rng: &mut Rng,
    ) -> LogTurn {
        if let Some((at, inputs)) = self.log.done.take() {
            if at > now_us {
                self.log.done = Some((at, inputs));
                return LogTurn::Idle;
            }
            self.inbox.extend(inputs);
            return LogTurn::Idle;
        }
        if self.log.told_full && self.log.retry_at_us > now_us {
            return LogTurn::Idle;
        }
        let mut room = if self.log.told_full { 0 } else { 1 + rng.index(settings.max_batch) };
        while room > 0 && !self.log.roll_pending {
            match self.log.letters.front() {
                Some(LogLetter::Append(..)) => {
                    let Some(LogLetter::Append(proposal, generation)) = self.log.letters.pop_front() else {
                        unreachable!("it was just seen")
                    };
                    self.log.newest = Some((proposal.zxid, generation));
                    self.log.writer.append(proposal.zxid, &proposal.bytes);
                    room -= 1;
                }
                Some(LogLetter::Roll) => {
                    self.log.letters.pop_front();
                    self.log.roll_pending = true;
                }
                Some(LogLetter::Epoch(..) | LogLetter::Truncate(..) | LogLetter::SaveTree(..)) | None => {
                    break;
                }
            }
        }
        let took = draw_sync_us(settings, rng) + slow_us;
        if let Some((zxid, generation)) = self.log.newest {
            return match self.log.writer.commit() {
                Ok(durable) => {
                    assert!(durable >= zxid, "a commit makes everything durable that was appended");
                    self.log.newest = None;
                    let mut inputs = Vec::new();
                    if std::mem::take(&mut self.log.told_full) {
                        inputs.push(Input::LogRoom);
                    }
                    inputs.push(Input::Persisted { zxid, generation });
                    self.finish_at(now_us + took, inputs);
                    if std::mem::take(&mut self.log.roll_pending) {
                        self.log.writer.roll();
                    }
                    LogTurn::Durable(zxid)
                }
                Err(ostler_store::Error::Full(_)) => {
                    self.log.retry_at_us = now_us + RETRY_US;
                    if !std::mem::replace(&mut self.log.told_full, true) {
                        self.inbox.push_back(Input::LogFull);
                    }
                    LogTurn::Idle
                }
                Err(_) => LogTurn::Failed,
            };
        }
        if std::mem::take(&mut self.log.roll_pending) {
            self.log.writer.roll();
            return LogTurn::Idle;
        }
        let Some(letter) = self.log.letters.pop_front() else { return LogTurn::Idle };
        self.disk_work(letter, now_us + took, settings)
    }

    fn disk_work(&mut self, letter: LogLetter, done_us: u64, settings: &Settings) -> LogTurn {
        if matches!(letter, LogLetter::Truncate(..) | LogLetter::SaveTree(..)) {
            self.discard_snapshot();
        }
        match letter {
            LogLetter::Append(..) | LogLetter::Roll => unreachable!("they were taken"),
            LogLetter::Epoch(which, epoch, generation) => {
                if disk_work::write_epoch(&self.disk, which, epoch).is_err() {
                    return LogTurn::Failed;
                }
                let written = ostler_zab::Input::EpochWritten { which, epoch, generation };
                self.finish_at(done_us, vec![Input::Peer(written)]);
                LogTurn::Epoch(which, epoch)
            }
            LogLetter::Truncate(to, generation) => {
                self.log.writer.close();
                let tree = &settings.node.tree;
                match disk_work::truncate(&self.disk, to, RestoreOptions::default(), tree) {
                    Ok(Cut::Done(recovered)) => {
                        let last = recovered.last;
                        self.log.writer.continue_after(last);
                        let result = Some(Box::new(recovered.store));
                        self.finish_at(done_us, vec![Input::Truncated { result, generation }]);
                        LogTurn::Cut(to, Some(last))
                    }
                    Ok(Cut::Refused(_)) => {
                        self.finish_at(done_us, vec![Input::Truncated { result: None, generation }]);
                        LogTurn::Cut(to, None)
                    }
                    Err(_) => LogTurn::Failed,
                }
            }
            LogLetter::SaveTree(store, zxid, generation) => {
                self.log.writer.close();
                let saved =
                    disk_work::save_tree(&self.disk, &store, zxid, &settings.snapshot, Limits::default());
                match saved {
                    Ok((name, _)) => {
                        self.purge.note_whole(&name);
                        self.log.writer.continue_after(zxid);
                        self.finish_at(done_us, vec![Input::TreeSaved { store, generation }]);
                        LogTurn::Saved(zxid)
                    }
                    Err(_) => LogTurn::Failed,
                }
            }
        }
    }

    fn finish_at(&mut self, at_us: u64, inputs: Vec<Input>) {
        self.log.done = Some((at_us, inputs));
    }

    /// When the log has something to do next; `now_us` for at once.
    pub(super) fn log_deadline_us(&self, now_us: u64) -> u64 {
        match &self.log.done {
            Some((at, _)) => *at,
            None if self.log.told_full => self.log.retry_at_us,
            None if self.log.letters.is_empty() && self.log.newest.is_none() => u64::MAX,
            None => now_us,
        }
    }

    /// A turn of the snapshot's thread: begins the file, writes a slice, or ends it. Whether a whole one came of it.
    pub(super) fn snapshot_turn(&mut self, settings: &Settings) -> bool {
        let Some(mut snapshot) = self.snapshot.take() else { return false };
        let (nodes, bytes) = settings.slice;
        let result = match snapshot.writer.take() {
            None if snapshot.walked => Ok(true),
            None => SnapshotWriter::create(self.disk.clone(), snapshot.walk.zxid(), &settings.snapshot)
                .map(|writer| snapshot.writer = Some(writer))
                .map(|()| false),
            Some(mut writer) if !snapshot.walked => {
                let mut slice = Vec::new();
                snapshot.walked = snapshot.walk.next(&self.store, nodes, bytes, &mut slice);
                let written = writer.write(&slice);
                snapshot.writer = Some(writer);
                written.map(|()| false)
            }
            Some(writer) => {
                let store = &self.store;
                let digest = store.config().digest_enabled.then(|| store.digest());
                writer.finish(store.last_zxid(), digest).map(|(name, _)| {
                    self.purge.note_whole(&name);
                    true
                })
            }
        };
        match result {
            Ok(false) => self.snapshot = Some(snapshot),
            Ok(true) => self.inbox.push_back(Input::SnapshotDone),
            Err(_) => {
                if let Some(writer) = snapshot.writer.take() {
                    writer.abort();
                }
                self.inbox.push_back(Input::SnapshotDone);
            }
        }
        self.snapshot.is_none()
    }

    /// A turn of the purge.
    pub(super) fn purge_turn(&mut self, retain: usize) {
        // Nobody purges while the log's thread changes files.
        if self.log.done.is_some() {
            return;
        }
        // That it fails does no harm: it is tried again.
        if let Ok(plan) = self.purge.plan(&self.disk, retain, Limits::default()) {
            let _ = plan.run(&self.disk);
        }
    }

    /// A turn of a lane: takes its inbox, works, and sets the flag, all under one borrow of the store. What it
    /// wants beside the node.
    pub(super) fn lane_turn(
        &mut self,
        index: usize,
        now: Now,
        work: impl FnOnce(&mut Lane, &Store),
    ) -> Vec<LaneOutput> {
        let seat = &mut self.seats[index];
        seat.lane.deliver(now, seat.inbox.drain(..), &self.store);
        work(&mut seat.lane, &self.store);
        seat.watching = seat.lane.has_watches();
        let mut rest = Vec::new();
        while let Some(output) = seat.lane.poll_output() {
            match output {
                LaneOutput::ToNode(input) => self.inbox.push_back(input),
                other @ (LaneOutput::Close { .. } | LaneOutput::Word { .. }) => rest.push(other),
            }
        }
        rest
    }

    /// Whether all is done that does not wait for others or for time.
    pub(super) fn is_quiet(&self) -> bool {
        self.unfinished().next().is_none()
    }

    /// What is not done.
    pub(super) fn unfinished(&self) -> impl Iterator<Item = &'static str> {
        let waits = [
            (!self.inbox.is_empty(), "inbox"),
            (self.node.is_busy(), "node"),
            (!self.log.letters.is_empty(), "letters of the log"),
            (self.log.newest.is_some(), "log"),
            (self.log.done.is_some(), "sync"),
            (!self.sending.is_empty() || !self.searches.is_empty(), "trees"),
            (self.seats.iter().any(|seat| !seat.inbox.is_empty()), "lanes"),
            (self.in_flight.requests() > 0, "requests"),
        ];
        waits.into_iter().filter_map(|(waits, what)| waits.then_some(what))
    }
}

/// Some more transactions of a part of the log, and whether they are the last.
fn send_log(
    disk: &SimDisk,
    (after, upto): (Zxid, Zxid),
    part: &mut Option<LogPart<SimDisk>>,
    most: usize,
) -> ostler_store::Result<(Vec<Packet>, bool)> {
    let part = match part {
        Some(part) => part,
        None => part.insert(LogPart::open(disk, after, upto)?),
    };
    let mut packets = Vec::new();
    for _ in 0..most {
        let Some(record) = part.read()? else { return Ok((packets, true)) };
        packets.push(Packet::Proposal { zxid: record.zxid, entry: record.bytes });
        packets.push(Packet::Commit { zxid: record.zxid });
    }
    Ok((packets, false))
}

fn draw_sync_us(settings: &Settings, rng: &mut Rng) -> u64 {
    let (low, high) = settings.sync_us;
    rng.range(low, high)
}

fn write_first_snapshot(disk: &SimDisk, settings: &Settings, store: &Store) -> ostler_store::Result<()> {
    let mut walk = Walk::new(store);
    let mut writer = SnapshotWriter::create(disk.clone(), walk.zxid(), &settings.snapshot)?;
    let mut slice = Vec::new();
    while !walk.next(store, 1000, 1 << 20, &mut slice) {}
    writer.write(&slice)?;
    writer.finish(store.last_zxid(), store.config().digest_enabled.then(|| store.digest()))?;
    Ok(())
}
