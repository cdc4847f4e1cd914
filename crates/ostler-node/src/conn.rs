//! One client connection as a value: its handshake, its session, and the gate that keeps its answers in order. A
//! read waits for the connection's own earlier writes and for nothing else. Answers to Java's `NIOServerCnxn` and
//! to the per-session queues of `CommitProcessor`.

use std::collections::VecDeque;
use std::sync::Arc;

use ostler_wire::{Code, Id, OpCode, SessionId, Zxid};

use crate::io::{CloseReason, ConnId, Touch};
use crate::report::{ConnReport, Traffic};
use crate::time::Now;

/// A connection may have this many requests and bytes of requests waiting at its gate before no more are taken.
const GATE_REQUESTS: usize = 2000;
const GATE_BYTES: usize = 1 << 20;
/// With so many bytes unsent, no more requests are taken.
const SOFT_UNSENT: usize = 64 << 10;
/// With so many bytes unsent when something more must be sent, the client is given up.
const HARD_UNSENT: usize = 1 << 20;

/// One client connection.
#[derive(Debug)]
pub struct Conn {
    pub(crate) id: ConnId,
    /// The peer's address without the port: the identity of the scheme `ip`.
    pub(crate) address: String,
    port: u16,
    pub(crate) phase: Phase,
    /// Whether the client knows of read-only servers, and would take one.
    pub(crate) read_only: Option<bool>,
    pub(crate) ids: Arc<[Id]>,
    pub(crate) timeout_ms: i32,
    /// Bytes that have arrived and are not taken yet: a part of a frame, or frames behind a closed gate.
    pub(crate) input: Vec<u8>,
    /// Since when whole frames lie in `input`, for the limit on waiting.
    pub(crate) waiting_since_ms: Option<u64>,
    queue: VecDeque<Slot>,
    queued_bytes: usize,
    /// What is to be sent.
    pub(crate) out: Vec<u8>,
    pub(crate) heard_ms: u64,
    /// Whether it was heard from since the node last asked.
    pub(crate) touched: bool,
    accepted_ms: u64,
    established_wall_ms: i64,
    pub(crate) traffic: Traffic,
    last: Last,
}

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing was said yet.
    Fresh,
    /// The handshake is with the node; nothing more is read until it answers.
    Opening,
    /// A four-letter word is being answered; nothing more is read.
    Word,
    /// It speaks for a session.
    Open(SessionId),
    /// No more is read; what is unsent may still go out.
    Closing(CloseReason),
}

/// A request that waits for its turn.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) xid: i32,
    pub(crate) arrived_ms: u64,
    pub(crate) kind: SlotKind,
}

/// What is to become of a waiting request.
#[derive(Debug)]
pub(crate) enum SlotKind {
    /// The node has it; `large_bytes` are held for it.
    Write { op: OpCode, large_bytes: usize },
    /// The node asks the leader for it; the body goes back with the answer.
    Sync { body: Box<[u8]> },
    /// To be answered when everything before it is.
    Read { op: OpCode, body: Box<[u8]>, ids: Arc<[Id]> },
    /// To be refused when everything before it is answered.
    Refuse { code: Code, close: bool },
}

#[derive(Debug, Default)]
struct Last {
    latency_ms: u64,
    op: Option<OpCode>,
    xid: i32,
    zxid: i64,
    reply_ms: u64,
}

impl Conn {
    pub(crate) fn new(id: ConnId, address: String, port: u16, now: Now) -> Self {
        Self {
            id,
            ids: Arc::from([Id::new("ip", address.clone())]),
            address,
            port,
            phase: Phase::Fresh,
            read_only: None,
            timeout_ms: 0,
            input: Vec::new(),
            waiting_since_ms: None,
            queue: VecDeque::new(),
            queued_bytes: 0,
            out: Vec::new(),
            heard_ms: now.mono_ms,
            touched: false,
            accepted_ms: now.mono_ms,
            established_wall_ms: now.wall_ms,
            traffic: Traffic::default(),
            last: Last { xid: -1, ..Last::default() },
        }
    }

    /// The session that it speaks for.
    pub(crate) fn session(&self) -> Option<SessionId> {
        match self.phase {
            Phase::Open(session) => Some(session),
            Phase::Fresh | Phase::Opening | Phase::Word | Phase::Closing(_) => None,
        }
    }

    /// When its session was last heard from, if that was after the last time this was asked.
    pub(crate) fn take_touch(&mut self) -> Option<Touch> {
        if !std::mem::take(&mut self.touched) {
            return None;
        }
        let session = self.session()?;
        Some(Touch { session, heard_ms: self.heard_ms, timeout_ms: self.timeout_ms })
    }

    /// Whether another frame may be taken.
    pub(crate) fn takes_frames(&self) -> bool {
        matches!(self.phase, Phase::Fresh | Phase::Open(_))
            && self.out.len() < SOFT_UNSENT
            && self.queue.len() < GATE_REQUESTS
            && self.queued_bytes < GATE_BYTES
    }

    /// Whether so much is unsent that a client that must be told more is given up.
    pub(crate) fn is_mute(&self) -> bool {
        self.out.len() >= HARD_UNSENT
    }

    pub(crate) fn is_handshake_late(&self, now: Now, timeout_ms: u64) -> bool {
        matches!(self.phase, Phase::Fresh) && now.mono_ms.saturating_sub(self.accepted_ms) >= timeout_ms
    }

    /// Whether nothing waits: a read may be answered at once.
    pub(crate) fn gate_is_open(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether something that is answered here waits behind the last write: a read, or a sync, which will be one.
    pub(crate) fn has_reads_waiting(&self) -> bool {
        self.queue.back().is_some_and(|slot| !matches!(slot.kind, SlotKind::Write { .. }))
    }

    /// The oldest sync that waits for the node may be answered once what is in front of it is.
    pub(crate) fn release_sync(&mut self) {
        let ids = &self.ids;
        let sync = self.queue.iter_mut().find(|slot| matches!(slot.kind, SlotKind::Sync { .. }));
        if let Some(slot) = sync
            && let SlotKind::Sync { body } = &mut slot.kind
        {
            let body = std::mem::take(body);
            slot.kind = SlotKind::Read { op: OpCode::Sync, body, ids: Arc::clone(ids) };
        }
    }

    pub(crate) fn enqueue(&mut self, slot: Slot) {
        self.queued_bytes += slot.bytes();
        self.queue.push_back(slot);
    }

    /// Takes the write that the node has answered: the oldest slot, since reads behind a write wait for it.
    pub(crate) fn take_write(&mut self) -> Option<Slot> {
        if self.queue.front()?.kind.is_with_node() { self.take() } else { None }
    }

    /// Takes the oldest slot unless it waits for the node.
    pub(crate) fn take_ready(&mut self) -> Option<Slot> {
        if self.queue.front()?.kind.is_with_node() { None } else { self.take() }
    }

    fn take(&mut self) -> Option<Slot> {
        let slot = self.queue.pop_front()?;
        self.queued_bytes -= slot.bytes();
        Some(slot)
    }

    /// Empties the gate; yields how many writes and bytes of large requests were with the node.
    pub(crate) fn abandon(&mut self) -> (usize, usize) {
        let mut held = (0, 0);
        for slot in self.queue.drain(..) {
            if let SlotKind::Write { large_bytes, .. } = slot.kind {
                held = (held.0 + 1, held.1 + large_bytes);
            }
        }
        self.queued_bytes = 0;
        held
    }

    /// A request arrived.
    pub(crate) fn note_request(&mut self, now: Now, xid: i32, op: Option<OpCode>) {
        self.traffic.received += 1;
        self.touched = true;
        self.heard_ms = now.mono_ms;
        self.last.xid = xid;
        if op.is_some() {
            self.last.op = op;
        }
    }

    /// A reply is under way.
    pub(crate) fn note_reply(&mut self, now: Now, arrived_ms: u64, zxid: i64) -> u64 {
        let latency = now.mono_ms.saturating_sub(arrived_ms);
        self.traffic.sent += 1;
        self.traffic.add_latency(latency);
        self.last.latency_ms = latency;
        self.last.zxid = zxid;
        self.last.reply_ms = now.mono_ms;
        latency
    }

    /// The zxid of the last reply.
    pub(crate) fn last_reply_zxid(&self) -> Zxid {
        Zxid(self.last.zxid)
    }

    /// The peer as Java prints it: address and port.
    #[must_use]
    pub fn peer(&self) -> String {
        if self.address.contains(':') {
            format!("[{}]:{}", self.address, self.port)
        } else {
            format!("{}:{}", self.address, self.port)
        }
    }

    pub(crate) fn report(&self) -> ConnReport {
        ConnReport {
            peer: self.peer(),
            session: self.session(),
            timeout_ms: self.timeout_ms,
            established_wall_ms: self.established_wall_ms,
            queued: self.queue.len(),
            traffic: self.traffic,
            last_latency_ms: self.last.latency_ms,
            last_op: self.last.op,
            last_xid: self.last.xid,
            last_zxid: self.last.zxid,
            last_reply_ms: self.last.reply_ms,
            readable: self.takes_frames(),
        }
    }
}

impl SlotKind {
    /// Whether its answer comes from the node.
    fn is_with_node(&self) -> bool {
        matches!(self, Self::Write { .. } | Self::Sync { .. })
    }
}

impl Slot {
    fn bytes(&self) -> usize {
        match &self.kind {
            SlotKind::Read { body, .. } | SlotKind::Sync { body } => body.len(),
            SlotKind::Write { .. } | SlotKind::Refuse { .. } => 0,
        }
    }
}
