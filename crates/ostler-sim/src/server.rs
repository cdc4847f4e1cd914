//! The server of a world: node, lanes, log, snapshots and purge as actors with queues between them. Each method is
//! one turn of one of them, and does what the thread of that name does in the real server; which turn comes next is
//! for the world to draw. Only the threads are missing: every value here is the one that the server runs.

use std::collections::VecDeque;
use std::sync::Arc;

use ostler_node::gate::InFlight;
use ostler_node::recover::recover;
use ostler_node::{ConnId, Input, Lane, LaneBatch, LaneId, LaneOutput, Node, NodeConfig, Now, Output};
use ostler_store::purge::Purge;
use ostler_store::sim::SimDisk;
use ostler_store::{LogOptions, LogWriter, RestoreOptions, SnapshotOptions, SnapshotWriter};
use ostler_tree::{Store, Walk};
use ostler_wire::Zxid;
use ostler_wire::txn::{Txn, TxnEntry};
use ostler_zab::{Generation, Proposal};

use crate::rng::Rng;

/// A lane with so many unread batches is waited for before more is applied.
const LANE_BATCHES: usize = 64;
/// The pause between two looks at a full disk.
const RETRY_US: u64 = 1_000_000;

/// How a server is set up.
#[derive(Debug, Clone)]
pub(crate) struct ServerConfig {
    /// Node and lanes.
    pub node: Arc<NodeConfig>,
    /// The log.
    pub log: LogOptions,
    /// Snapshots.
    pub snapshot: SnapshotOptions,
    /// The most transactions that one sync covers.
    pub max_batch: usize,
    /// Nodes and bytes of one slice of a snapshot.
    pub slice: (usize, usize),
    /// How long a sync takes: percent of slow ones, and how slow at the most, in microseconds.
    pub slow_syncs: (u64, u64),
}

/// What the log is told.
#[derive(Debug)]
enum LogLetter {
    Append(Proposal, Generation),
    Roll,
}

/// Why a server is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// The machine crashed within a call of the disk.
    Crashed,
    /// The log could not be written.
    LogFailed,
}

/// What a turn of the log did, for the trace.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LogTurn {
    /// Nothing to do.
    Idle,
    /// Synced; the news comes at this time.
    Synced(Zxid, u64),
    /// The disk is full.
    Full,
    /// The process ends.
    Stop(Stopped),
}

/// The log's thread.
struct Log {
    writer: LogWriter<SimDisk>,
    letters: VecDeque<LogLetter>,
    /// Appended and not durable.
    newest: Option<(Zxid, Generation)>,
    /// A commit that is done, and when that becomes known.
    done: Option<(u64, Zxid, Generation)>,
    /// A roll was taken, and what came before it is not committed.
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

/// A lane and what lies before it.
pub(crate) struct Seat {
    /// The lane.
    pub lane: Lane,
    /// What the node has to tell.
    pub inbox: VecDeque<LaneBatch>,
    /// What the node believes about its watches.
    watching: bool,
}

/// A server.
pub(crate) struct Server {
    config: ServerConfig,
    disk: SimDisk,
    node: Node,
    /// The tree.
    pub store: Store,
    /// The lanes.
    pub seats: Vec<Seat>,
    inbox: VecDeque<Input>,
    log: Log,
    snapshot: Option<Snapshot>,
    purge: Purge,
    /// Every transaction that was decided since the start.
    pub decided: Vec<TxnEntry>,
    /// Up to here the node was told that the log is durable.
    pub acknowledged: Zxid,
    /// Snapshots that were written whole.
    pub snapshots: u64,
    in_flight: Arc<InFlight>,
}

impl Server {
    /// Starts on a disk, as the real server does: recovers, and gives an empty directory its first snapshot.
    pub(crate) fn start(disk: SimDisk, config: ServerConfig, now: Now) -> ostler_store::Result<Self> {
        let recovered = recover(&disk, RestoreOptions::default(), &config.node.tree)?;
        if recovered.snapshot.is_none() {
            write_first_snapshot(&disk, &config, &recovered.store)?;
        }
        let snapshot_is_stale = recovered.replayed > 0;
        let mut purge = Purge::default();
        if let Some(name) = &recovered.snapshot {
            purge.note_whole(name);
        }
        let store = recovered.store;
        let node = Node::solo(Arc::clone(&config.node), &store, now);
        let in_flight = Arc::new(InFlight::default());
        let seats = (0..config.node.lanes)
            .map(|index| Seat {
                lane: Lane::new(LaneId(index), Arc::clone(&config.node), Arc::clone(&in_flight), now),
                inbox: VecDeque::new(),
                watching: false,
            })
            .collect();
        let log = Log {
            writer: LogWriter::new(disk.clone(), config.log, store.last_zxid()),
            letters: VecDeque::new(),
            newest: None,
            done: None,
            roll_pending: false,
            told_full: false,
            retry_at_us: 0,
        };
        let acknowledged = store.last_zxid();
        let snapshot =
            snapshot_is_stale.then(|| Snapshot { walk: Walk::new(&store), writer: None, walked: false });
        Ok(Self {
            config,
            disk,
            node,
            store,
            seats,
            inbox: VecDeque::new(),
            log,
            snapshot,
            purge,
            decided: Vec::new(),
            acknowledged,
            snapshots: 0,
            in_flight,
        })
    }

    /// Whether the node has something to do at this time.
    pub(crate) fn node_is_ready(&self, now: Now) -> bool {
        (self.node.has_committed() && self.lanes_have_room())
            || !self.inbox.is_empty()
            || self.node.poll_timeout().0 <= now.mono_ms
    }

    /// A turn of the node's loop: takes some of what waits, or applies a batch. Sessions that expired in it.
    pub(crate) fn node_turn(&mut self, now: Now, rng: &mut Rng) -> Vec<ostler_wire::SessionId> {
        if self.node.has_committed() && self.lanes_have_room() {
            self.apply();
            return self.carry_out();
        }
        let most = self.inbox.len().min(1 + rng.index(64));
        for _ in 0..most {
            let Some(input) = self.inbox.pop_front() else { break };
            self.node.handle(now, input, &self.store);
        }
        if now.mono_ms >= self.node.poll_timeout().0 {
            self.node.handle_timeout(now, &self.store);
        }
        self.carry_out()
    }

    /// Whether the log has something to do.
    pub(crate) fn log_is_ready(&self, now_us: u64) -> bool {
        match self.log.done {
            Some((at, ..)) => at <= now_us,
            None if self.log.told_full => self.log.retry_at_us <= now_us,
            None => !self.log.letters.is_empty() || self.log.newest.is_some(),
        }
    }

    /// A turn of the log's thread: reports a finished sync, or takes what waits and syncs it.
    pub(crate) fn log_turn(&mut self, now_us: u64, rng: &mut Rng) -> LogTurn {
        if let Some((_, zxid, generation)) = self.log.done.take() {
            self.inbox.push_back(Input::Persisted { zxid, generation });
            self.acknowledged = self.acknowledged.max(zxid);
            return LogTurn::Idle;
        }
        // Another turn of a log that waits for room takes nothing new: its thread sleeps.
        let mut room = if self.log.told_full { 0 } else { 1 + rng.index(self.config.max_batch) };
        while room > 0 && !self.log.roll_pending {
            match self.log.letters.pop_front() {
                Some(LogLetter::Append(proposal, generation)) => {
                    self.log.newest = Some((proposal.zxid, generation));
                    self.log.writer.append(proposal.zxid, &proposal.bytes);
                    room -= 1;
                }
                Some(LogLetter::Roll) => self.log.roll_pending = true,
                None => break,
            }
        }
        if let Some((zxid, generation)) = self.log.newest {
            match self.log.writer.commit() {
                Ok(durable) => {
                    assert!(durable >= zxid, "a commit makes everything durable that was appended");
                    self.log.newest = None;
                    if std::mem::take(&mut self.log.told_full) {
                        self.inbox.push_back(Input::LogRoom);
                    }
                    let at = now_us + self.draw_sync_us(rng);
                    self.log.done = Some((at, zxid, generation));
                    if std::mem::take(&mut self.log.roll_pending) {
                        self.log.writer.roll();
                    }
                    if self.disk.has_crashed() {
                        return LogTurn::Stop(Stopped::Crashed);
                    }
                    return LogTurn::Synced(zxid, at);
                }
                Err(ostler_store::Error::Full(_)) => {
                    self.log.retry_at_us = now_us + RETRY_US;
                    if !std::mem::replace(&mut self.log.told_full, true) {
                        self.inbox.push_back(Input::LogFull);
                    }
                    return LogTurn::Full;
                }
                Err(_) => return self.log_failed(),
            }
        }
        if std::mem::take(&mut self.log.roll_pending) {
            self.log.writer.roll();
        }
        if self.disk.has_crashed() { LogTurn::Stop(Stopped::Crashed) } else { LogTurn::Idle }
    }

    /// Whether a snapshot is being written.
    pub(crate) fn snapshot_is_ready(&self) -> bool {
        self.snapshot.is_some()
    }

    /// A turn of the snapshot's thread: begins the file, writes a slice, or ends it. Whether the machine crashed.
    pub(crate) fn snapshot_turn(&mut self) -> bool {
        let Some(mut snapshot) = self.snapshot.take() else { return false };
        let (nodes, bytes) = self.config.slice;
        let result = match snapshot.writer.take() {
            None if snapshot.walked => Ok(true),
            None => SnapshotWriter::create(self.disk.clone(), snapshot.walk.zxid(), &self.config.snapshot)
                .map(|writer| snapshot.writer = Some(writer))
                .map(|()| false),
            Some(mut writer) if !snapshot.walked => {
                let mut slice = Vec::new();
                snapshot.walked = snapshot.walk.next(&self.store, nodes, bytes, &mut slice);
                let written = writer.write(&slice);
                snapshot.writer = Some(writer);
                written.map(|()| false)
            }
            Some(writer) => writer.finish(self.store.last_zxid(), digest(&self.store)).map(|(name, _)| {
                self.purge.note_whole(&name);
                self.snapshots += 1;
                true
            }),
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
        self.disk.has_crashed()
    }

    /// A turn of the purge: keeps so many snapshots. Whether the machine crashed.
    pub(crate) fn purge_turn(&mut self, retain: usize) -> bool {
        // That it fails does no harm: it is tried again.
        if let Ok(plan) = self.purge.plan(&self.disk, retain, ostler_store::Limits::default()) {
            let _ = plan.run(&self.disk);
        }
        self.disk.has_crashed()
    }

    /// A turn of a lane: takes its inbox, works, and sets the flag, all under one borrow of the store.
    pub(crate) fn lane_turn(
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

    /// The next transaction begins a new log.
    pub(crate) fn roll_log(&mut self) {
        self.log.letters.push_back(LogLetter::Roll);
    }

    /// A client connects to a lane.
    pub(crate) fn accept(&mut self, index: usize, now: Now, address: String, port: u16) -> ConnId {
        self.seats[index].lane.accept(now, address, port)
    }

    /// The socket of a connection is closed.
    pub(crate) fn remove(&mut self, index: usize, conn: ConnId) {
        let seat = &mut self.seats[index];
        seat.lane.remove(conn);
        while let Some(output) = seat.lane.poll_output() {
            if let LaneOutput::ToNode(input) = output {
                self.inbox.push_back(input);
            }
        }
    }

    /// Whether all is done that does not wait for clients or for time.
    pub(crate) fn is_quiet(&self) -> bool {
        self.inbox.is_empty()
            && !self.node.is_busy()
            && self.log.letters.is_empty()
            && self.log.newest.is_none()
            && self.log.done.is_none()
            && self.snapshot.is_none()
            && self.seats.iter().all(|seat| seat.inbox.is_empty())
    }

    /// The next time at which somebody wants to be called, in microseconds.
    pub(crate) fn next_deadline_us(&self) -> u64 {
        let mut next = self.node.poll_timeout().0 * 1000;
        for seat in &self.seats {
            next = next.min(seat.lane.poll_timeout() * 1000);
        }
        if let Some((at, ..)) = self.log.done {
            next = next.min(at);
        } else if self.log.told_full {
            next = next.min(self.log.retry_at_us);
        }
        next
    }

    /// Requests that the lanes believe to be under way: none when all is quiet.
    pub(crate) fn requests_in_flight(&self) -> usize {
        self.in_flight.requests()
    }

    fn log_failed(&self) -> LogTurn {
        LogTurn::Stop(if self.disk.has_crashed() { Stopped::Crashed } else { Stopped::LogFailed })
    }

    fn draw_sync_us(&self, rng: &mut Rng) -> u64 {
        let (percent, most) = self.config.slow_syncs;
        if rng.percent(percent) { rng.range(5_000, most.max(5_001)) } else { rng.range(50, 3_000) }
    }

    fn lanes_have_room(&self) -> bool {
        self.seats.iter().all(|seat| seat.inbox.len() <= LANE_BATCHES)
    }

    fn apply(&mut self) {
        let seats = &self.seats;
        let watching = |lane: LaneId| seats[lane.0].watching;
        let batches = self.node.apply(&mut self.store, &watching);
        for (lane, batch) in batches {
            self.seats[lane.0].inbox.push_back(batch);
        }
    }

    fn carry_out(&mut self) -> Vec<ostler_wire::SessionId> {
        let mut expired = Vec::new();
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Append { proposal, generation } => {
                    let entry = TxnEntry::decode(&proposal.bytes).expect("the node encoded it");
                    if entry.header.cxid == 0 && matches!(entry.txn, Txn::CloseSession { .. }) {
                        expired.push(entry.header.session);
                    }
                    self.decided.push(entry);
                    self.log.letters.push_back(LogLetter::Append(proposal, generation));
                }
                Output::RollLog => self.log.letters.push_back(LogLetter::Roll),
                Output::Snapshot => {
                    // While the one of the start is still being written, this one is given up, as by the server.
                    if self.snapshot.is_none() {
                        let walk = Walk::new(&self.store);
                        self.snapshot = Some(Snapshot { walk, writer: None, walked: false });
                    } else {
                        self.inbox.push_back(Input::SnapshotDone);
                    }
                }
                Output::Apply => {}
                Output::Send(lane, batch) => self.seats[lane.0].inbox.push_back(batch),
                Output::Peer(_)
                | Output::DiscardSnapshots
                | Output::Truncate { .. }
                | Output::SaveTree { .. }
                | Output::SetConfig { .. }
                | Output::Install(_) => {
                    unreachable!("a standalone server has no peers")
                }
            }
        }
        expired
    }
}

fn write_first_snapshot(disk: &SimDisk, config: &ServerConfig, store: &Store) -> ostler_store::Result<()> {
    let mut walk = Walk::new(store);
    let mut writer = SnapshotWriter::create(disk.clone(), walk.zxid(), &config.snapshot)?;
    let mut slice = Vec::new();
    while !walk.next(store, config.slice.0, config.slice.1, &mut slice) {}
    writer.write(&slice)?;
    writer.finish(store.last_zxid(), digest(store))?;
    Ok(())
}

fn digest(store: &Store) -> Option<i64> {
    store.config().digest_enabled.then(|| store.digest())
}
