//! What a lane does with the frames of a connection: handshake, authentication, reads in place, writes to the node.

use std::sync::Arc;

use bytes::Bytes;
use ostler_tree::{Namespaces, Store, WatchTable};
use ostler_wire::client::connect::{ConnectRequest, ConnectResponse, session_password};
use ostler_wire::client::event::{self, EventType};
use ostler_wire::client::read::{AddWatchMode, MultiReadOp, Read, SetWatches};
use ostler_wire::client::reply::{self, MultiHeader, ReplyHeader};
use ostler_wire::client::write::Write;
use ostler_wire::client::{AuthRequest, RequestHeader};
use ostler_wire::frame::{self, Head};
use ostler_wire::jute::{Reader, Writer};
use ostler_wire::zoo::{self, Mutation};
use ostler_wire::{Acl, Code, Id, OpCode, SessionId, Xid, Zxid, acl};

use crate::auth;
use crate::conn::{Conn, Phase, Slot, SlotKind};
use crate::io::{CloseReason, Input, Service};
use crate::lane::{Desk, LaneOutput};
use crate::time::Now;

impl Desk {
    /// Takes whole frames off the front of `bytes` as long as the connection may go on; yields how many bytes were
    /// taken.
    pub(crate) fn take_frames(&mut self, now: Now, conn: &mut Conn, bytes: &[u8], store: &Store) -> usize {
        let mut at = 0;
        while conn.takes_frames() && !self.must_stall(conn) {
            let rest = &bytes[at..];
            if conn.phase == Phase::Fresh
                && let Some(word) = rest.first_chunk::<4>().filter(|word| frame::is_four_letter_word(**word))
            {
                return at + self.on_word(conn, *word, rest);
            }
            match frame::head(rest, self.config.max_frame) {
                Head::Partial { .. } => break,
                Head::BadLength(_) => {
                    self.close(conn, CloseReason::BadFrame);
                    break;
                }
                Head::Frame { len } => {
                    at += 4 + len;
                    self.on_frame(now, conn, &rest[4..4 + len], store);
                }
            }
        }
        // What follows a frame that closed the connection is not looked at.
        if matches!(conn.phase, Phase::Closing(_)) { bytes.len() } else { at }
    }

    /// Whether all connections together have as much under way as is allowed.
    pub(crate) fn is_over_limit(&self) -> bool {
        let limit = self.config.request_throttle_limit;
        let requests = self.in_flight.requests();
        requests > self.config.global_outstanding_limit || (limit > 0 && requests >= limit)
    }

    fn must_stall(&self, conn: &Conn) -> bool {
        let limit = self.config.request_throttle_limit;
        let requests = self.in_flight.requests();
        (requests > self.config.global_outstanding_limit && !conn.gate_is_open())
            || (limit > 0 && requests >= limit)
    }

    /// A four-letter word; yields the bytes it takes, 0 while the argument of stmk is missing.
    fn on_word(&mut self, conn: &mut Conn, word: [u8; 4], rest: &[u8]) -> usize {
        let mut mask = 0;
        if &word == b"stmk" {
            let Some(bytes) = rest[4..].first_chunk::<8>() else { return 0 };
            mask = i64::from_be_bytes(*bytes);
        }
        conn.traffic.received += 1;
        // Nothing more is read while the answer is made.
        conn.phase = Phase::Word;
        self.outputs.push_back(LaneOutput::Word { conn: conn.id, word, mask });
        rest.len()
    }

    fn on_frame(&mut self, now: Now, conn: &mut Conn, payload: &[u8], store: &Store) {
        match conn.phase {
            Phase::Fresh => self.on_connect(now, conn, payload, store),
            Phase::Open(session) => self.on_request(now, conn, session, payload, store),
            Phase::Opening | Phase::Word | Phase::Closing(_) => {}
        }
    }

    fn on_connect(&mut self, now: Now, conn: &mut Conn, payload: &[u8], store: &Store) {
        self.counts.connection_requests += 1;
        conn.note_request(now, -1, Some(OpCode::CreateSession));
        let Ok(request) = ConnectRequest::decode(&mut Reader::new(payload)) else {
            return self.close(conn, CloseReason::BadFrame);
        };
        conn.read_only = request.read_only;
        let wants_more = self.service == Service::ReadOnly && request.read_only != Some(true);
        if self.service == Service::None || wants_more {
            return self.close(conn, CloseReason::NotServing);
        }
        if request.last_zxid_seen > store.last_zxid().0 {
            return self.close(conn, CloseReason::ClientAhead);
        }
        let timeout_ms = request
            .timeout_ms
            .max(self.config.min_session_timeout_ms)
            .min(self.config.max_session_timeout_ms);
        let resume = (request.session != SessionId(0)).then_some(request.session);
        if let Some(session) = resume
            && session_password(session) != request.password
        {
            return self.refuse_session(conn);
        }
        conn.phase = Phase::Opening;
        self.outputs.push_back(LaneOutput::ToNode(Input::Connect { conn: conn.id, resume, timeout_ms }));
    }

    /// The session is gone: say so, then close.
    pub(crate) fn refuse_session(&mut self, conn: &mut Conn) {
        let at = frame::start(&mut conn.out);
        ConnectResponse::expired(conn.read_only.map(|_| false)).encode(&mut conn.out);
        frame::finish(&mut conn.out, at);
        self.close(conn, CloseReason::NoSuchSession);
    }

    fn on_request(&mut self, now: Now, conn: &mut Conn, session: SessionId, payload: &[u8], store: &Store) {
        let mut reader = Reader::new(payload);
        let Ok(header) = RequestHeader::decode(&mut reader) else {
            return self.close(conn, CloseReason::BadFrame);
        };
        let op = OpCode::from_int(header.op);
        let body = reader.rest();
        match op {
            Some(OpCode::Auth) => return self.on_auth(conn, header.xid, body),
            Some(OpCode::Sasl) => return on_sasl(conn, header.xid),
            _ => {}
        }
        if !self.is_authenticated(conn) {
            conn.traffic.received += 1;
            let code = Code::SessionClosedRequireSaslAuth;
            reply::encode_error(header.xid, Zxid::ZERO, code, &mut conn.out);
            return self.close(conn, CloseReason::AuthFailed);
        }
        conn.note_request(now, header.xid, op);
        let xid = header.xid;
        let waited_ms = conn.waiting_since_ms.map_or(0, |since| now.mono_ms.saturating_sub(since));
        let limit_ms = self.config.throttled_op_wait_ms;
        let arrived_ms = now.mono_ms - waited_ms;
        let refuse = |code, close| Slot { xid, arrived_ms, kind: SlotKind::Refuse { code, close } };
        match op {
            Some(OpCode::Ping) => {
                // At once, ahead of writes that wait: a slow disk must not look like a dead server.
                reply::encode_frame(Xid::PING.0, store.last_zxid(), &mut conn.out, |_| {});
                conn.note_reply(now, arrived_ms, store.last_zxid().0);
            }
            Some(op) if limit_ms > 0 && waited_ms > limit_ms && op != OpCode::CloseSession => {
                self.counts.throttled_ops += 1;
                conn.enqueue(refuse(Code::ThrottledOp, false));
                self.drain_gate(now, conn, store);
            }
            Some(op)
                if self.service == Service::ReadOnly
                    && op != OpCode::CloseSession
                    && (op.is_write() || op == OpCode::Sync) =>
            {
                conn.enqueue(refuse(Code::NotReadOnly, false));
                self.drain_gate(now, conn, store);
            }
            // Containers are deleted by the server alone; a check alone would be logged for nobody to read.
            None | Some(OpCode::Check | OpCode::DeleteContainer | OpCode::CreateSession | OpCode::Error) => {
                conn.enqueue(refuse(Code::Unimplemented, true));
                self.drain_gate(now, conn, store);
            }
            Some(op) if op.is_write() => self.on_write(now, conn, session, xid, op, body, store),
            Some(OpCode::Sync) if matches!(self.service, Service::Leading | Service::Learning) => {
                conn.enqueue(Slot { xid, arrived_ms, kind: SlotKind::Sync { body: body.into() } });
                self.outputs.push_back(LaneOutput::ToNode(Input::Sync { conn: conn.id, session, xid }));
            }
            Some(op) if conn.gate_is_open() => {
                let ids = Arc::clone(&conn.ids);
                self.answer(now, conn, &Ask { xid, op, arrived_ms, ids: &ids }, body, store);
            }
            Some(op) => {
                let kind = SlotKind::Read { op, body: body.into(), ids: Arc::clone(&conn.ids) };
                conn.enqueue(Slot { xid, arrived_ms, kind });
            }
        }
    }

    fn is_authenticated(&self, conn: &Conn) -> bool {
        let schemes = &self.config.enforced_schemes;
        schemes.is_empty() || conn.ids.iter().any(|id| schemes.contains(&id.scheme))
    }

    fn on_auth(&mut self, conn: &mut Conn, xid: i32, body: &[u8]) {
        conn.traffic.received += 1;
        let Ok(request) = AuthRequest::decode(&mut Reader::new(body)) else {
            return self.close(conn, CloseReason::BadFrame);
        };
        conn.traffic.sent += 1;
        match auth::authenticate(&request, &conn.address, &self.config) {
            Some(gained) => {
                conn.ids = auth::with(&conn.ids, gained);
                reply::encode_frame(xid, Zxid::ZERO, &mut conn.out, |_| {});
            }
            None => {
                self.counts.auth_failed += 1;
                reply::encode_error(xid, Zxid::ZERO, Code::AuthFailed, &mut conn.out);
                self.close(conn, CloseReason::AuthFailed);
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "these are the fields of one request")]
    fn on_write(
        &mut self,
        now: Now,
        conn: &mut Conn,
        session: SessionId,
        xid: i32,
        op: OpCode,
        body: &[u8],
        store: &Store,
    ) {
        let arrived_ms = now.mono_ms;
        let mut large_bytes = 0;
        if let Some(limits) = self.config.large_requests
            && body.len() + 8 > limits.threshold
        {
            if !self.in_flight.try_add_large(body.len(), limits.max_bytes) {
                self.counts.large_rejected += 1;
                return self.close(conn, CloseReason::LargeRequest);
            }
            large_bytes = body.len();
        }
        let body = Bytes::copy_from_slice(body);
        let Ok(write) = Write::decode(op, &body) else {
            self.in_flight.remove_large(large_bytes);
            let kind = SlotKind::Refuse { code: Code::MarshallingError, close: false };
            conn.enqueue(Slot { xid, arrived_ms, kind });
            return self.drain_gate(now, conn, store);
        };
        self.in_flight.add_request();
        let behind_reads = conn.has_reads_waiting();
        conn.enqueue(Slot { xid, arrived_ms, kind: SlotKind::Write { op, large_bytes } });
        let ids = Arc::clone(&conn.ids);
        let body = (self.service == Service::Learning).then_some(body);
        let request = Input::Request { conn: conn.id, session, xid, write, ids, behind_reads, body };
        self.outputs.push_back(LaneOutput::ToNode(request));
    }

    /// Answers what waits at the front of the gate and no longer has to.
    pub(crate) fn drain_gate(&mut self, now: Now, conn: &mut Conn, store: &Store) {
        while let Some(slot) = conn.take_ready() {
            let Slot { xid, arrived_ms, kind } = slot;
            match kind {
                SlotKind::Read { op, body, ids } => {
                    self.answer(now, conn, &Ask { xid, op, arrived_ms, ids: &ids }, &body, store);
                }
                SlotKind::Refuse { code, close } => {
                    // An opcode that nobody knows never reached the tree, and says so.
                    let zxid = if close { Zxid(-1) } else { store.last_zxid() };
                    reply::encode_error(xid, zxid, code, &mut conn.out);
                    conn.note_reply(now, arrived_ms, zxid.0);
                    if close {
                        return self.close(conn, CloseReason::UnknownOpcode);
                    }
                }
                SlotKind::Write { .. } | SlotKind::Sync { .. } => {}
            }
        }
    }

    /// Answers a read from the store.
    fn answer(&mut self, now: Now, conn: &mut Conn, ask: &Ask<'_>, body: &[u8], store: &Store) {
        let zxid = store.last_zxid();
        let at = conn.out.len();
        // SetWatches puts events of its own before the reply.
        let frame_at = match Read::decode(ask.op, &mut Reader::new(body)) {
            Err(_) => {
                reply::encode_error(ask.xid, zxid, Code::MarshallingError, &mut conn.out);
                at
            }
            Ok(read) => self.encode_answer(conn, ask, &read, store),
        };
        self.note_response(conn.out.len() - frame_at);
        conn.note_reply(now, ask.arrived_ms, zxid.0);
    }

    /// Appends the frame of an answer; yields where it begins.
    fn encode_answer(&mut self, conn: &mut Conn, ask: &Ask<'_>, read: &Read<'_>, store: &Store) -> usize {
        if let Read::SetWatches(wanted) = read {
            self.set_watches(conn, wanted, store);
        }
        let at = frame::start(&mut conn.out);
        let zxid =
            if zoo::is(Mutation::ZxidOfLastReply) { conn.last_reply_zxid() } else { store.last_zxid() };
        ReplyHeader { xid: ask.xid, zxid, err: 0 }.encode(&mut conn.out);
        let body_at = conn.out.len();
        if let Err(code) = self.encode_body(conn, ask, read, store) {
            conn.out.truncate(body_at);
            conn.out[body_at - 4..body_at].copy_from_slice(&code.to_int().to_be_bytes());
        }
        frame::finish(&mut conn.out, at);
        at
    }

    fn encode_body(
        &mut self,
        conn: &mut Conn,
        ask: &Ask<'_>,
        read: &Read<'_>,
        store: &Store,
    ) -> Result<(), Code> {
        let (out, watches, id) = (&mut conn.out, &mut self.watches, ostler_tree::ConnId(conn.id.0));
        let (ids, reads) = (ask.ids, &mut self.reads);
        match read {
            Read::Ping => {}
            // What could be done is done by now.
            Read::SetWatches(wanted) if wanted.cut => return Err(Code::MarshallingError),
            Read::SetWatches(_) => {}
            Read::Exists { path, watch } => {
                if path.contains('\0') {
                    return Err(Code::BadArguments);
                }
                let found = store.exists(path, ids);
                // A missing node is worth waiting for; one that may not be read is not.
                if *watch && matches!(found, Ok(_) | Err(Code::NoNode)) {
                    watches.add_data(id, path);
                }
                found?.encode(out);
                reads.add(path, path.len() + STAT_BYTES);
            }
            Read::GetData { path, watch } => {
                encode_data(store, path, ids, out, reads)?;
                if *watch {
                    watches.add_data(id, path);
                }
            }
            Read::GetChildren { path, watch } => {
                encode_children(store, path, ids, out, reads, false)?;
                if *watch {
                    watches.add_child(id, path);
                }
            }
            Read::GetChildren2 { path, watch } => {
                encode_children(store, path, ids, out, reads, true)?;
                if *watch {
                    watches.add_child(id, path);
                }
            }
            Read::GetAcl { path } => {
                let (list, stat): (Vec<Acl>, _) = store.acl(path, ids)?;
                acl::encode_list(&list, out);
                stat.encode(out);
            }
            Read::GetAllChildrenNumber { path } => out.put_int(store.all_children_number(path, ids)?),
            Read::GetEphemerals { prefix } => {
                let session = conn.session().unwrap_or_default();
                conn.out.put_strings(&store.ephemerals_under(session, prefix.as_deref()));
            }
            Read::Sync { path } => out.put_buffer(path.as_ref().map(|path| path.as_bytes())),
            Read::MultiRead(ops) => encode_multi_read(store, ops, ids, out, reads),
            Read::AddWatch { path, mode } => {
                match (path, mode) {
                    // Nothing happens to a node without a path.
                    (None, _) => {}
                    (Some(path), AddWatchMode::Persistent) => watches.add_persistent(id, path),
                    (Some(path), AddWatchMode::PersistentRecursive) => watches.add_recursive(id, path),
                }
                out.put_int(0);
            }
            Read::CheckWatches { path, kind } => {
                if !path.as_ref().is_some_and(|path| watches.has(id, path, *kind)) {
                    return Err(Code::NoWatcher);
                }
            }
            Read::RemoveWatches { path, kind } => {
                if !path.as_ref().is_some_and(|path| watches.remove(id, path, *kind)) {
                    return Err(Code::NoWatcher);
                }
            }
            Read::WhoAmI => {
                let infos: Vec<_> = auth::client_infos(ids).collect();
                out.put_count(infos.len());
                for info in infos {
                    out.put_string(&info.scheme);
                    out.put_string(&info.user);
                }
            }
        }
        Ok(())
    }

    /// Arms the watches that a client brings back from another connection, and tells it what it missed.
    fn set_watches(&mut self, conn: &mut Conn, wanted: &SetWatches, store: &Store) {
        let id = ostler_tree::ConnId(conn.id.0);
        let since = wanted.relative_zxid;
        let missed = |conn: &mut Conn, kind, path: &str| {
            event::encode_frame(kind, path, Zxid(-1), &mut conn.out);
            conn.traffic.sent += 1;
        };
        let arm: &mut WatchTable = &mut self.watches;
        for path in &wanted.data {
            match store.peek(path) {
                None => missed(conn, EventType::NodeDeleted, path),
                Some(stat) if stat.mzxid > since => missed(conn, EventType::NodeDataChanged, path),
                Some(_) => arm.add_data(id, path),
            }
        }
        for path in &wanted.exist {
            match store.peek(path) {
                None => arm.add_data(id, path),
                Some(_) => missed(conn, EventType::NodeCreated, path),
            }
        }
        for path in &wanted.child {
            match store.peek(path) {
                None => missed(conn, EventType::NodeDeleted, path),
                Some(stat) if stat.pzxid > since => missed(conn, EventType::NodeChildrenChanged, path),
                Some(_) => arm.add_child(id, path),
            }
        }
        for path in &wanted.persistent {
            arm.add_persistent(id, path);
        }
        for path in &wanted.persistent_recursive {
            arm.add_recursive(id, path);
        }
    }

    pub(crate) fn note_response(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        let counts = &mut self.counts;
        counts.response_last = bytes;
        counts.response_max = counts.response_max.max(bytes);
        counts.response_min = Some(counts.response_min.map_or(bytes, |least| least.min(bytes)));
    }

    /// Begins to close a connection: its watches go, its session is left, what it waited for is forgotten. What is
    /// unsent may still go out.
    pub(crate) fn close(&mut self, conn: &mut Conn, reason: CloseReason) {
        if matches!(conn.phase, Phase::Closing(_)) {
            return;
        }
        if let Some(session) = conn.session() {
            let touch = conn.take_touch().filter(|_| !zoo::is(Mutation::ForgetTouch));
            let gone = Input::Disconnected { conn: conn.id, session, touch };
            self.outputs.push_back(LaneOutput::ToNode(gone));
        }
        conn.phase = Phase::Closing(reason);
        self.watches.remove_conn(ostler_tree::ConnId(conn.id.0));
        let (writes, large_bytes) = conn.abandon();
        self.in_flight.remove_requests(writes);
        self.in_flight.remove_large(large_bytes);
        conn.input = Vec::new();
        conn.waiting_since_ms = None;
        self.outputs.push_back(LaneOutput::Close { conn: conn.id, reason });
    }
}

/// What a Stat counts for in the figures of what was read.
const STAT_BYTES: usize = 68;

/// A read and who asks.
struct Ask<'a> {
    xid: i32,
    op: OpCode,
    arrived_ms: u64,
    ids: &'a [Id],
}

/// A server without SASL answers every token with none.
fn on_sasl(conn: &mut Conn, xid: i32) {
    conn.traffic.received += 1;
    conn.traffic.sent += 1;
    reply::encode_frame(xid, Zxid::ZERO, &mut conn.out, |out| out.put_buffer(None));
}

fn encode_data(
    store: &Store,
    path: &str,
    ids: &[Id],
    out: &mut Vec<u8>,
    reads: &mut Namespaces,
) -> Result<(), Code> {
    let (data, stat) = store.data(path, ids)?;
    reads.add(path, path.len() + data.map_or(0, <[u8]>::len) + STAT_BYTES);
    out.put_buffer(data);
    stat.encode(out);
    Ok(())
}

fn encode_children(
    store: &Store,
    path: &str,
    ids: &[Id],
    out: &mut Vec<u8>,
    reads: &mut Namespaces,
    with_stat: bool,
) -> Result<(), Code> {
    let (children, stat) = store.children(path, ids)?;
    out.put_count(children.len());
    let mut bytes = 0;
    for name in children.iter() {
        bytes += name.len();
        out.put_string(name);
    }
    reads.add(path, path.len() + bytes + STAT_BYTES);
    if with_stat {
        stat.encode(out);
    }
    Ok(())
}

/// Each read of a multiRead stands for itself.
fn encode_multi_read(
    store: &Store,
    ops: &[MultiReadOp<'_>],
    ids: &[Id],
    out: &mut Vec<u8>,
    reads: &mut Namespaces,
) {
    for op in ops {
        let at = out.len();
        let result = match op {
            MultiReadOp::GetData { path } => {
                MultiHeader { op: OpCode::GetData.to_int(), done: false, err: 0 }.encode(out);
                encode_data(store, path, ids, out, reads)
            }
            MultiReadOp::GetChildren { path } => {
                MultiHeader { op: OpCode::GetChildren.to_int(), done: false, err: 0 }.encode(out);
                encode_children(store, path, ids, out, reads, false)
            }
        };
        if let Err(code) = result {
            out.truncate(at);
            reply::encode_multi_error(code.to_int(), out);
        }
    }
    MultiHeader::END.encode(out);
}
