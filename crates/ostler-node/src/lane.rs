//! A lane: the connections, watches and letters of one I/O thread, as a value. Reads are answered here, under a
//! shared borrow of the store; writes go to the node and their replies come back as letters. A lane takes its
//! letters before it reads, so that nobody sees a change before the event that announces it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ostler_tree::{Change, Namespaces, Store, WatchTable};
use ostler_wire::acl::perms;
use ostler_wire::client::connect::{ConnectResponse, session_password};
use ostler_wire::client::event;
use ostler_wire::frame::{self, Head};
use ostler_wire::{OpCode, SessionId, Zxid};

use crate::config::NodeConfig;
use crate::conn::{Conn, Phase, SlotKind};
use crate::gate::InFlight;
use crate::io::{CloseReason, ConnId, Input, LaneBatch, LaneId, Letter, Service, Touch};
use crate::render;
use crate::report::{LaneReport, Traffic};
use crate::time::Now;

/// What a lane wants done.
#[derive(Debug)]
pub enum LaneOutput {
    /// Hand this to the node.
    ToNode(Input),
    /// A four-letter word: answer it with [`Lane::answer_word`].
    Word {
        /// The connection.
        conn: ConnId,
        /// The word.
        word: [u8; 4],
        /// What stmk sends behind it.
        mask: i64,
    },
    /// Send what is unsent if it can be sent at once, then close the socket and call [`Lane::remove`].
    Close {
        /// The connection.
        conn: ConnId,
        /// Why.
        reason: CloseReason,
    },
}

/// The connections of one I/O thread.
#[derive(Debug)]
pub struct Lane {
    conns: BTreeMap<ConnId, Conn>,
    pub(crate) desk: Desk,
    next_conn: u64,
    /// Connections with something to send.
    dirty: BTreeSet<ConnId>,
    /// Connections that were told to wait because of all the others.
    stalled: BTreeSet<ConnId>,
    next_sweep_ms: u64,
}

/// What the connections of a lane share.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) id: LaneId,
    pub(crate) config: Arc<NodeConfig>,
    pub(crate) in_flight: Arc<InFlight>,
    /// Whom the server serves.
    pub(crate) service: Service,
    pub(crate) watches: WatchTable,
    pub(crate) outputs: VecDeque<LaneOutput>,
    /// Packets and latencies of connections that are gone.
    pub(crate) traffic: Traffic,
    pub(crate) counts: Counts,
    /// What was read.
    pub(crate) reads: Namespaces,
}

/// What the letters of an inbox ask for once all of them are read.
#[derive(Debug, Default)]
struct Told {
    /// Connections with an answered write, behind which reads may wait.
    answered: Vec<ConnId>,
    /// Transactions that wait until those reads are answered.
    fences: Vec<Zxid>,
    /// Connections that may go on with what they sent.
    moved: Vec<ConnId>,
}

/// What a lane counts.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) auth_failed: u64,
    pub(crate) sessionless_expired: u64,
    pub(crate) large_rejected: u64,
    pub(crate) throttled_ops: u64,
    pub(crate) connection_requests: u64,
    pub(crate) response_last: u64,
    pub(crate) response_max: u64,
    pub(crate) response_min: Option<u64>,
}

impl Lane {
    /// A lane without connections.
    #[must_use]
    pub fn new(id: LaneId, config: Arc<NodeConfig>, in_flight: Arc<InFlight>, now: Now) -> Self {
        Self {
            conns: BTreeMap::new(),
            desk: Desk {
                id,
                service: if config.member { Service::None } else { Service::Alone },
                config,
                in_flight,
                watches: WatchTable::default(),
                outputs: VecDeque::new(),
                traffic: Traffic::default(),
                counts: Counts::default(),
                reads: Namespaces::default(),
            },
            next_conn: 0,
            dirty: BTreeSet::new(),
            stalled: BTreeSet::new(),
            next_sweep_ms: now.mono_ms,
        }
    }

    /// A client connected. `address` is its address as text, without the port.
    pub fn accept(&mut self, now: Now, address: String, port: u16) -> ConnId {
        let id = ConnId::new(self.desk.id, self.next_conn);
        self.next_conn += 1;
        self.conns.insert(id, Conn::new(id, address, port, now));
        id
    }

    /// Bytes arrived. The letters in the inbox must have been delivered under the same borrow of the store.
    pub fn receive(&mut self, now: Now, id: ConnId, bytes: &[u8], store: &Store) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.traffic.bytes_received += bytes.len() as u64;
        if conn.input.is_empty() {
            let taken = self.desk.take_frames(now, conn, bytes, store);
            conn.input.extend_from_slice(&bytes[taken..]);
            self.settle(now, id);
        } else {
            conn.input.extend_from_slice(bytes);
            self.resume(now, id, store);
        }
    }

    /// Goes on with bytes that had to wait, for instance until enough was sent.
    pub fn resume(&mut self, now: Now, id: ConnId, store: &Store) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if !conn.input.is_empty() && conn.takes_frames() {
            let mut input = std::mem::take(&mut conn.input);
            let taken = self.desk.take_frames(now, conn, &input, store);
            input.drain(..taken);
            conn.input = if input.is_empty() { Vec::new() } else { input };
        }
        self.settle(now, id);
    }

    /// Takes what the node has to tell, which is to be all that is in the inbox: changes become events, letters
    /// become replies, each at its place. Only then are reads answered, since they see the store as it is now, and
    /// every event of a change in it has to come before.
    pub fn deliver(&mut self, now: Now, batches: impl IntoIterator<Item = LaneBatch>, store: &Store) {
        let mut told = Told::default();
        for batch in batches {
            let mut changes = batch.changes.as_deref().unwrap_or_default();
            for (zxid, letter) in batch.letters {
                let before = changes.partition_point(|change| change.zxid <= zxid);
                self.fire(&changes[..before]);
                changes = &changes[before..];
                self.on_letter(now, zxid, letter, &mut told, store);
            }
            self.fire(changes);
        }
        for id in once_each(told.answered) {
            if let Some(conn) = self.conns.get_mut(&id) {
                self.desk.drain_gate(now, conn, store);
            }
        }
        for zxid in told.fences {
            self.desk.outputs.push_back(LaneOutput::ToNode(Input::FencePassed { zxid }));
        }
        if !self.stalled.is_empty() && !self.desk.is_over_limit() {
            told.moved.extend(std::mem::take(&mut self.stalled));
        }
        for id in once_each(told.moved) {
            self.resume(now, id, store);
        }
    }

    /// Whether the socket of this connection is to be read.
    #[must_use]
    pub fn wants_bytes(&self, id: ConnId) -> bool {
        self.conns.get(&id).is_some_and(|conn| {
            conn.takes_frames() && conn.waiting_since_ms.is_none() && !self.stalled.contains(&id)
        })
    }

    /// Whether whole frames wait that could be taken now.
    #[must_use]
    pub fn can_resume(&self, id: ConnId) -> bool {
        self.conns.get(&id).is_some_and(|conn| {
            conn.takes_frames() && conn.waiting_since_ms.is_some() && !self.stalled.contains(&id)
        })
    }

    /// What is to be sent on this connection: send from the front, then say how much with [`Self::sent`].
    #[must_use]
    pub fn unsent(&self, id: ConnId) -> &[u8] {
        self.conns.get(&id).map_or(&[], |conn| &conn.out)
    }

    /// So many bytes were sent.
    pub fn sent(&mut self, id: ConnId, bytes: usize) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.traffic.bytes_sent += bytes as u64;
        conn.out.drain(..bytes);
        // A connection that is quiet holds no memory.
        if conn.out.is_empty() && conn.out.capacity() > 4096 {
            conn.out = Vec::new();
        }
    }

    /// A connection that has something to send since it was last asked.
    pub fn poll_dirty(&mut self) -> Option<ConnId> {
        self.dirty.pop_first()
    }

    /// The next thing that the lane wants done.
    pub fn poll_output(&mut self) -> Option<LaneOutput> {
        self.desk.outputs.pop_front()
    }

    /// The answer to a four-letter word; the connection is closed behind it.
    pub fn answer_word(&mut self, id: ConnId, text: &[u8]) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.out.extend_from_slice(text);
            self.desk.close(conn, CloseReason::Word);
            self.dirty.insert(id);
        }
    }

    /// The peer is gone, or the socket failed.
    pub fn disconnected(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(&id) {
            self.desk.close(conn, CloseReason::Disconnected);
        }
    }

    /// The socket is closed.
    pub fn remove(&mut self, id: ConnId) {
        if let Some(mut conn) = self.conns.remove(&id) {
            self.desk.close(&mut conn, CloseReason::Disconnected);
            self.desk.traffic = self.desk.traffic.merge(conn.traffic);
        }
        self.dirty.remove(&id);
        self.stalled.remove(&id);
    }

    /// Closes connections that took too long for their handshake.
    pub fn handle_timeout(&mut self, now: Now, store: &Store) {
        if !self.stalled.is_empty() && !self.desk.is_over_limit() {
            for id in std::mem::take(&mut self.stalled) {
                self.resume(now, id, store);
            }
        }
        if now.mono_ms < self.next_sweep_ms {
            return;
        }
        let timeout_ms = self.desk.config.sessionless_timeout_ms;
        self.next_sweep_ms = now.mono_ms + (timeout_ms / 4).clamp(50, 5000);
        for conn in self.conns.values_mut() {
            if conn.is_handshake_late(now, timeout_ms) {
                self.desk.counts.sessionless_expired += 1;
                self.desk.close(conn, CloseReason::NoHandshake);
            }
        }
    }

    /// When [`Self::handle_timeout`] is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> u64 {
        if self.stalled.is_empty() { self.next_sweep_ms } else { self.next_sweep_ms.saturating_sub(100) }
    }

    /// Whether the lane holds watches: if not, it need not hear of changes.
    #[must_use]
    pub fn has_watches(&self) -> bool {
        !self.desk.watches.is_empty()
    }

    /// How many connections there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.conns.len()
    }

    /// Whether there are no connections.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.conns.is_empty()
    }

    /// Figures for the operator.
    #[must_use]
    pub fn report(&self) -> LaneReport {
        let counts = &self.desk.counts;
        let session_of = |conn| self.conns.get(&conn).and_then(Conn::session);
        LaneReport {
            conns: self.conns.values().map(Conn::report).collect(),
            traffic: self.conns.values().fold(self.desk.traffic, |sum, conn| sum.merge(conn.traffic)),
            data_watches: self
                .desk
                .watches
                .by_conn()
                .filter_map(|(conn, paths)| {
                    Some((session_of(ConnId(conn.0))?, paths.map(str::to_owned).collect()))
                })
                .collect(),
            watch_count: self.desk.watches.counts().all,
            reads: self.desk.reads.clone(),
            auth_failed: counts.auth_failed,
            sessionless_expired: counts.sessionless_expired,
            large_rejected: counts.large_rejected,
            throttled_ops: counts.throttled_ops,
            connection_requests: counts.connection_requests,
            response_last: counts.response_last,
            response_max: counts.response_max,
            response_min: counts.response_min.unwrap_or(0),
        }
    }

    /// Forgets what the connections have counted (`crst`).
    pub fn reset_conn_stats(&mut self) {
        for conn in self.conns.values_mut() {
            self.desk.traffic = self.desk.traffic.merge(conn.traffic);
            conn.traffic = Traffic::default();
        }
    }

    /// Forgets what the lane has counted (`srst`).
    pub fn reset_server_stats(&mut self) {
        self.reset_conn_stats();
        self.desk.traffic = Traffic::default();
    }

    /// After a connection was worked on: note what it has to send and whether it has to wait.
    fn settle(&mut self, now: Now, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if !conn.out.is_empty() {
            self.dirty.insert(id);
        }
        let whole = matches!(frame::head(&conn.input, self.desk.config.max_frame), Head::Frame { .. });
        if !whole {
            conn.waiting_since_ms = None;
        } else if conn.waiting_since_ms.is_none() {
            conn.waiting_since_ms = Some(now.mono_ms);
        }
        if whole && conn.takes_frames() {
            // Nothing of its own holds it back, so it is the limit on all requests together.
            self.stalled.insert(id);
        }
    }

    fn fire(&mut self, changes: &[Change]) {
        let Self { conns, desk, dirty, .. } = self;
        let Desk { watches, config, .. } = desk;
        let mut mute = Vec::new();
        for change in changes {
            watches.fire(change, &mut |watcher, kind, path, acl| {
                let id = ConnId(watcher.0);
                let Some(conn) = conns.get_mut(&id) else { return };
                if !ostler_tree::acl::check(acl.as_deref(), perms::READ, &conn.ids, &config.tree) {
                    return;
                }
                if conn.is_mute() {
                    mute.push(id);
                    return;
                }
                event::encode_frame(kind, path, change.zxid, &mut conn.out);
                conn.traffic.sent += 1;
                dirty.insert(id);
            });
        }
        for id in mute {
            if let Some(conn) = self.conns.get_mut(&id) {
                self.desk.close(conn, CloseReason::SlowConsumer);
            }
        }
    }

    fn on_letter(&mut self, now: Now, zxid: Zxid, letter: Letter, told: &mut Told, store: &Store) {
        match letter {
            Letter::Reply { conn: id, outcome } => {
                let Some(conn) = self.conns.get_mut(&id) else { return };
                let Some(slot) = conn.take_write() else { return };
                let SlotKind::Write { op, large_bytes } = slot.kind else { return };
                self.desk.in_flight.remove_requests(1);
                self.desk.in_flight.remove_large(large_bytes);
                // What is not of the history is answered with how far the tree has come.
                let zxid = if zxid == Zxid(i64::MAX) { store.last_zxid() } else { zxid };
                let before = conn.out.len();
                render::write_reply(op, slot.xid, zxid, &outcome, &mut conn.out);
                self.desk.note_response(conn.out.len() - before);
                conn.note_reply(now, slot.arrived_ms, zxid.0);
                if op == OpCode::CloseSession {
                    self.desk.close(conn, CloseReason::SessionClosed);
                }
                self.dirty.insert(id);
                told.answered.push(id);
                told.moved.push(id);
            }
            Letter::Synced { conn: id } => {
                let Some(conn) = self.conns.get_mut(&id) else { return };
                conn.release_sync();
                self.dirty.insert(id);
                told.answered.push(id);
                told.moved.push(id);
            }
            Letter::Service(service) => {
                let before = std::mem::replace(&mut self.desk.service, service);
                if service == Service::None || (before == Service::ReadOnly && service != before) {
                    for conn in self.conns.values_mut() {
                        if matches!(conn.phase, Phase::Opening | Phase::Open(_)) {
                            self.desk.close(conn, CloseReason::NotServing);
                        }
                    }
                }
            }
            Letter::Opened { conn: id, session, timeout_ms } => {
                if self.open(now, id, session, timeout_ms) {
                    told.moved.push(id);
                } else {
                    let gone = Input::Disconnected { conn: id, session, touch: None };
                    self.desk.outputs.push_back(LaneOutput::ToNode(gone));
                }
            }
            Letter::Refused { conn: id } => {
                if let Some(conn) = self.conns.get_mut(&id) {
                    self.desk.refuse_session(conn);
                    self.dirty.insert(id);
                }
            }
            Letter::Close { conn: id, reason } => {
                if let Some(conn) = self.conns.get_mut(&id) {
                    self.desk.close(conn, reason);
                }
            }
            Letter::Fence { zxid } => told.fences.push(zxid),
            Letter::CollectTouches { round } => {
                let touches = self.collect_touches();
                let lane = self.desk.id;
                self.desk.outputs.push_back(LaneOutput::ToNode(Input::Touches { lane, round, touches }));
            }
        }
    }

    /// The handshake ends well; whether the connection is still there to hear it.
    fn open(&mut self, now: Now, id: ConnId, session: SessionId, timeout_ms: i32) -> bool {
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| conn.phase == Phase::Opening) else {
            return false;
        };
        conn.phase = Phase::Open(session);
        conn.timeout_ms = timeout_ms;
        conn.heard_ms = now.mono_ms;
        conn.traffic.sent += 1;
        let response = ConnectResponse {
            timeout_ms,
            session,
            password: session_password(session),
            read_only: conn.read_only.map(|_| self.desk.service == Service::ReadOnly),
        };
        let at = frame::start(&mut conn.out);
        response.encode(&mut conn.out);
        frame::finish(&mut conn.out, at);
        self.dirty.insert(id);
        true
    }

    fn collect_touches(&mut self) -> Vec<Touch> {
        self.conns.values_mut().filter_map(Conn::take_touch).collect()
    }
}

/// Each connection once, in order: the sorted list of all that were named costs less than a set that grows.
fn once_each(mut ids: Vec<ConnId>) -> Vec<ConnId> {
    ids.sort_unstable();
    ids.dedup();
    ids
}
