//! The world of a schedule: one server made of the real tree, a network that loses connections at chosen requests, and
//! time that passes when all wait. A seed is the whole of what happens.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ostler_client::{Client, Connecting, Connector, Host, Transport};
use ostler_tree::{Asker, ConnId, Outcome, Outstanding, Part, Store, TreeConfig, WatchTable, prepare};
use ostler_wire::client::RequestHeader;
use ostler_wire::client::connect::{ConnectRequest, ConnectResponse, session_password};
use ostler_wire::client::event::{self, EventType};
use ostler_wire::client::read::{AddWatchMode, Read, SetWatches};
use ostler_wire::client::reply::{self, MultiHeader};
use ostler_wire::client::write::Write;
use ostler_wire::jute::{Reader, Writer};
use ostler_wire::{Code, OpCode, SessionId, Zxid, frame};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::Instant;

/// At each of so many first requests there is a schedule that loses the connection before it, and one after.
const STEPS: u64 = 150;

/// What every session asks for and gets.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(4);

/// Random numbers (splitmix64).
#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x5bf0_3635_dcf9_8e17);
        rng.bits();
        rng
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.bits() % bound
    }

    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn millis(&mut self, bound: u64) -> Duration {
        Duration::from_millis(self.below(bound))
    }
}

/// How often each fault happened.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    pub(crate) lost_requests: u64,
    pub(crate) lost_replies: u64,
    pub(crate) outages: u64,
    pub(crate) expired: u64,
    pub(crate) killed: u64,
    pub(crate) requests: u64,
    /// Steps at which the connection was to be lost, and was.
    pub(crate) aimed: u64,
}

impl Faults {
    pub(crate) fn add(&mut self, other: Self) {
        self.lost_requests += other.lost_requests;
        self.lost_replies += other.lost_replies;
        self.outages += other.outages;
        self.expired += other.expired;
        self.killed += other.killed;
        self.requests += other.requests;
        self.aimed += other.aimed;
    }
}

#[derive(Debug, Default)]
struct Conn {
    client: usize,
    session: Option<SessionId>,
    inbox: Vec<u8>,
    out: Vec<u8>,
    dead: bool,
    reader: Option<Waker>,
    arrived: Arc<Notify>,
}

#[derive(Debug)]
struct Session {
    timeout: Duration,
    expires: Instant,
    conn: Option<u64>,
}

struct State {
    store: Store,
    outstanding: Outstanding,
    watches: WatchTable,
    zxid: i64,
    sessions: BTreeMap<i64, Session>,
    conns: BTreeMap<u64, Conn>,
    next_conn: u64,
    next_session: i64,
    rng: Rng,
    /// How many more faults there may be: then the world is kind, so that everything can end.
    faults_left: u32,
    /// The request at which there is surely a fault, and whether behind it.
    aim: Option<(u64, bool)>,
    faults: Faults,
    /// Who cannot reach the server, and until when.
    cut_off: BTreeMap<usize, Option<Instant>>,
    epoch: Instant,
}

/// The world. Clones share it.
#[derive(Clone)]
pub(crate) struct World(Arc<Mutex<State>>);

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("World")
    }
}

impl World {
    /// To be called on the schedule's runtime.
    pub(crate) fn new(seed: u64) -> Self {
        let store = Store::new(TreeConfig { hash_seed: seed, ..TreeConfig::default() });
        let mut rng = Rng::new(seed);
        let faults_left = u32::try_from(rng.below(7)).unwrap();
        let state = State {
            outstanding: Outstanding::new(&store),
            store,
            watches: WatchTable::default(),
            zxid: 0,
            sessions: BTreeMap::new(),
            conns: BTreeMap::new(),
            next_conn: 0,
            next_session: 0x0100_0000_0000_0001,
            rng,
            faults_left,
            aim: (seed < 2 * STEPS).then_some((1 + seed / 2, seed % 2 == 1)),
            faults: Faults::default(),
            cut_off: BTreeMap::new(),
            epoch: Instant::now(),
        };
        let world = Self(Arc::new(Mutex::new(state)));
        let keeper = world.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(250)).await;
                keeper.lock().keep_house();
            }
        });
        world
    }

    /// A new client of this process. Waits until it is connected, however long that takes.
    pub(crate) async fn client(&self, process: usize) -> Client {
        let seed = self.lock().rng.bits();
        let connector = Net { world: self.clone(), process };
        loop {
            let builder = Client::builder("server:1").unwrap().session_timeout(TIMEOUT);
            let connected = builder
                .connector(connector.clone())
                .connect_patience(Duration::from_secs(600))
                .seed(seed)
                .connect()
                .await;
            if let Ok(client) = connected {
                return client;
            }
        }
    }

    pub(crate) fn random(&self) -> Rng {
        Rng::new(self.lock().rng.bits())
    }

    /// The process is gone, as its clients' servers see it. To be followed by the abortion of its tasks.
    pub(crate) fn kill(&self, process: usize) {
        let mut state = self.lock();
        state.faults.killed += 1;
        state.cut_off.insert(process, None);
        state.cut(process);
    }

    pub(crate) fn faults(&self) -> Faults {
        self.lock().faults
    }

    /// No more faults.
    pub(crate) fn be_kind(&self) {
        let mut state = self.lock();
        (state.faults_left, state.aim) = (0, None);
    }

    /// Every znode but those of the server itself, with its data.
    pub(crate) fn tree(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.lock();
        let mut found = BTreeMap::new();
        let mut open = vec!["/".to_owned()];
        while let Some(path) = open.pop() {
            let (names, _) = state.store.children(&path, &[]).unwrap();
            for name in names.iter() {
                let child = if path == "/" { format!("/{name}") } else { format!("{path}/{name}") };
                if child != "/zookeeper" {
                    let data = state.store.data(&child, &[]).unwrap().0.unwrap_or_default().to_vec();
                    found.insert(child.clone(), data);
                    open.push(child);
                }
            }
        }
        found
    }

    /// What is left once every session is gone, by word or by silence, and empty containers were removed.
    pub(crate) async fn left_over(&self) -> BTreeMap<String, Vec<u8>> {
        tokio::time::sleep(TIMEOUT * 4).await;
        assert!(self.lock().sessions.is_empty(), "a session is left: {:?}", self.lock().sessions);
        self.tree()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl State {
    fn keep_house(&mut self) {
        let now = Instant::now();
        let over: Vec<i64> =
            self.sessions.iter().filter(|(_, session)| session.expires <= now).map(|(id, _)| *id).collect();
        for id in over {
            self.faults.expired += 1;
            self.end_session(id);
        }
        let wall_ms = self.wall_ms();
        for path in self.store.expired_containers(wall_ms, 0) {
            self.write(Write::DeleteContainer { path }, SessionId(0), 0);
        }
    }

    fn wall_ms(&self) -> i64 {
        1_000_000 + i64::try_from(self.epoch.elapsed().as_millis()).unwrap()
    }

    fn end_session(&mut self, id: i64) {
        self.write(Write::CloseSession, SessionId(id), 0);
        if let Some(conn) = self.sessions.remove(&id).and_then(|session| session.conn) {
            self.hang_up(conn);
        }
    }

    /// Decides and applies; events go out before anything else.
    fn write(&mut self, write: Write, session: SessionId, cxid: i32) -> Outcome {
        self.zxid += 1;
        let asker = Asker { session, cxid, ids: &[], session_live: true, session_local: false };
        let at = (Zxid(self.zxid), self.wall_ms());
        let entry = prepare(write, &asker, at, &self.store, &mut self.outstanding);
        let mut changes = Vec::new();
        let outcome = self.store.apply(&entry, &mut changes);
        self.outstanding.applied(entry.header.zxid);
        let conns = &mut self.conns;
        for change in &changes {
            self.watches.fire(change, &mut |conn, kind, path, _| {
                if let Some(conn) = conns.get_mut(&conn.0) {
                    event::encode_frame(kind, path, change.zxid, &mut conn.out);
                    if let Some(reader) = conn.reader.take() {
                        reader.wake();
                    }
                }
            });
        }
        outcome
    }

    fn hang_up(&mut self, id: u64) {
        self.watches.remove_conn(ConnId(id));
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.dead = true;
            conn.arrived.notify_one();
            if let Some(reader) = conn.reader.take() {
                reader.wake();
            }
        }
        for session in self.sessions.values_mut().filter(|session| session.conn == Some(id)) {
            session.conn = None;
        }
    }

    /// Cuts all connections of a process; what was on its way to it is lost.
    fn cut(&mut self, process: usize) {
        let ids: Vec<u64> =
            self.conns.iter().filter(|(_, conn)| conn.client == process).map(|(id, _)| *id).collect();
        for id in ids {
            if let Some(conn) = self.conns.get_mut(&id) {
                conn.out.clear();
            }
            self.hang_up(id);
        }
    }

    /// Perhaps a fault at this request. Whether the connection is gone.
    fn fault(&mut self, process: usize, done: bool) -> bool {
        if self.aim == Some((self.faults.requests, done)) {
            self.aim = None;
            self.faults.aimed += 1;
        } else if self.faults_left > 0 && self.rng.percent(4) {
            self.faults_left -= 1;
        } else {
            return false;
        }
        if done {
            self.faults.lost_replies += 1;
        } else {
            self.faults.lost_requests += 1;
        }
        let kind = self.rng.below(10);
        // Long enough to be suspended, to lapse, or to expire; sometimes surely the last. Nobody expires a session
        // before its time: then no holder could know.
        if kind < 4 {
            self.faults.outages += 1;
            let least = if kind == 0 { TIMEOUT + Duration::from_secs(1) } else { Duration::ZERO };
            let time = least + self.rng.millis(2 * 4000);
            self.cut_off.insert(process, Some(Instant::now() + time));
        }
        self.cut(process);
        true
    }

    fn is_cut_off(&self, process: usize) -> bool {
        self.cut_off.get(&process).is_some_and(|until| until.is_none_or(|until| until > Instant::now()))
    }

    /// The next frame of a connection; `false` if there is none.
    fn serve_frame(&mut self, id: u64) -> bool {
        let Some(conn) = self.conns.get_mut(&id) else { return false };
        let frame::Head::Frame { len } = frame::head(&conn.inbox, 1 << 20) else { return false };
        let payload: Vec<u8> = conn.inbox.drain(..4 + len).skip(4).collect();
        let process = conn.client;
        self.faults.requests += 1;
        if self.fault(process, false) {
            return false;
        }
        let mut out = Vec::new();
        let handshake = self.conns[&id].session.is_none();
        let closed = if handshake {
            self.handshake(id, &payload, &mut out)
        } else {
            self.request(id, &payload, &mut out)
        };
        if self.fault(process, true) {
            return false;
        }
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.out.extend_from_slice(&out);
            if let Some(reader) = conn.reader.take() {
                reader.wake();
            }
        }
        if closed {
            self.hang_up(id);
        }
        !closed
    }

    /// Whether the connection is closed behind the answer.
    fn handshake(&mut self, id: u64, payload: &[u8], out: &mut Vec<u8>) -> bool {
        let request = ConnectRequest::decode(&mut Reader::new(payload)).unwrap();
        let wanted = request.session;
        let answer = |session: SessionId, timeout: Duration| ConnectResponse {
            timeout_ms: i32::try_from(timeout.as_millis()).unwrap(),
            session,
            password: session_password(session),
            read_only: Some(false),
        };
        let timeout = Duration::from_millis(request.timeout_ms.try_into().unwrap());
        let session = if wanted == SessionId(0) {
            let session = SessionId(self.next_session);
            self.next_session += 1;
            self.write(Write::CreateSession { timeout_ms: request.timeout_ms }, session, 0);
            let expires = Instant::now() + timeout;
            self.sessions.insert(session.0, Session { timeout, expires, conn: None });
            session
        } else {
            wanted
        };
        let at = frame::start(out);
        let known = self.sessions.contains_key(&session.0);
        if known { answer(session, timeout) } else { ConnectResponse::expired(Some(false)) }.encode(out);
        frame::finish(out, at);
        if !known {
            return true;
        }
        if let Some(old) = self.sessions[&session.0].conn {
            self.hang_up(old);
        }
        let entry = self.sessions.get_mut(&session.0).unwrap();
        entry.conn = Some(id);
        entry.expires = Instant::now() + entry.timeout;
        self.conns.get_mut(&id).unwrap().session = Some(session);
        false
    }

    fn request(&mut self, id: u64, payload: &[u8], out: &mut Vec<u8>) -> bool {
        let mut reader = Reader::new(payload);
        let RequestHeader { xid, op } = RequestHeader::decode(&mut reader).unwrap();
        let op = OpCode::from_int(op).unwrap();
        let body = &payload[8..];
        let session = self.conns[&id].session.unwrap();
        let Some(entry) = self.sessions.get_mut(&session.0) else { return true };
        entry.expires = Instant::now() + entry.timeout;
        if op == OpCode::CloseSession {
            // Its own events come first.
            let before = self.conns[&id].out.len();
            self.write(Write::CloseSession, session, xid);
            self.sessions.remove(&session.0);
            let _ = before;
            reply::encode_frame(xid, Zxid(self.zxid), out, |_| {});
            return true;
        }
        if op.is_write() {
            let write = Write::decode(op, &body.to_vec().into()).unwrap();
            let outcome = self.write(write, session, xid);
            write_reply(op, xid, Zxid(self.zxid), &outcome, out);
            return false;
        }
        let read = Read::decode(op, &mut Reader::new(body)).unwrap();
        if let Read::SetWatches(wanted) = &read {
            self.set_watches(id, wanted, out);
            reply::encode_frame(xid, Zxid(self.zxid), out, |_| {});
            return false;
        }
        let at = frame::start(out);
        let header = reply::ReplyHeader { xid, zxid: Zxid(self.zxid), err: 0 };
        header.encode(out);
        let body_at = out.len();
        if let Err(code) = self.read(ConnId(id), &read, out) {
            out.truncate(body_at - reply::ReplyHeader::LEN);
            reply::ReplyHeader { err: code.to_int(), ..header }.encode(out);
        }
        frame::finish(out, at);
        false
    }

    fn read(&mut self, conn: ConnId, read: &Read<'_>, out: &mut Vec<u8>) -> Result<(), Code> {
        match read {
            Read::Ping => {}
            Read::Sync { path } => out.put_string(path.as_deref().unwrap_or_default()),
            Read::Exists { path, watch } => {
                let found = self.store.exists(path, &[]);
                if *watch {
                    self.watches.add_data(conn, path);
                }
                found?.encode(out);
            }
            Read::GetData { path, watch } => {
                let (data, stat) = self.store.data(path, &[])?;
                out.put_buffer(data);
                stat.encode(out);
                if *watch {
                    self.watches.add_data(conn, path);
                }
            }
            Read::GetChildren2 { path, watch } => {
                let (names, stat) = self.store.children(path, &[])?;
                out.put_strings(&names.iter().collect::<Vec<_>>());
                stat.encode(out);
                if *watch {
                    self.watches.add_child(conn, path);
                }
            }
            Read::AddWatch { path, mode } => {
                let path = path.as_deref().unwrap();
                match mode {
                    AddWatchMode::Persistent => self.watches.add_persistent(conn, path),
                    AddWatchMode::PersistentRecursive => self.watches.add_recursive(conn, path),
                }
                out.put_int(0);
            }
            Read::RemoveWatches { path, kind } => {
                if !self.watches.remove(conn, path.as_deref().unwrap(), *kind) {
                    return Err(Code::NoWatcher);
                }
            }
            other => panic!("no recipe asks for this: {other:?}"),
        }
        Ok(())
    }

    fn set_watches(&mut self, id: u64, wanted: &SetWatches, out: &mut Vec<u8>) {
        let conn = ConnId(id);
        let since = wanted.relative_zxid;
        let mut missed = |kind, path: &str| event::encode_frame(kind, path, Zxid(-1), out);
        for path in &wanted.data {
            match self.store.peek(path) {
                None => missed(EventType::NodeDeleted, path),
                Some(stat) if stat.mzxid > since => missed(EventType::NodeDataChanged, path),
                Some(_) => self.watches.add_data(conn, path),
            }
        }
        for path in &wanted.exist {
            match self.store.peek(path) {
                None => self.watches.add_data(conn, path),
                Some(_) => missed(EventType::NodeCreated, path),
            }
        }
        for path in &wanted.child {
            match self.store.peek(path) {
                None => missed(EventType::NodeDeleted, path),
                Some(stat) if stat.pzxid > since => missed(EventType::NodeChildrenChanged, path),
                Some(_) => self.watches.add_child(conn, path),
            }
        }
        for path in &wanted.persistent {
            self.watches.add_persistent(conn, path);
        }
        for path in &wanted.persistent_recursive {
            self.watches.add_recursive(conn, path);
        }
    }
}

fn write_reply(op: OpCode, xid: i32, zxid: Zxid, outcome: &Outcome, out: &mut Vec<u8>) {
    match outcome {
        Outcome::Error(code) => reply::encode_error(xid, zxid, *code, out),
        Outcome::Done | Outcome::Session { .. } => reply::encode_frame(xid, zxid, out, |_| {}),
        Outcome::Created { path, stat } => reply::encode_frame(xid, zxid, out, |out| {
            out.put_string(path);
            if op != OpCode::Create {
                stat.encode(out);
            }
        }),
        Outcome::Stat(stat) => reply::encode_frame(xid, zxid, out, |out| stat.encode(out)),
        Outcome::Multi(parts) => reply::encode_frame(xid, zxid, out, |out| {
            for part in parts {
                multi_part(part, out);
            }
            MultiHeader::END.encode(out);
        }),
    }
}

fn multi_part(part: &Part, out: &mut Vec<u8>) {
    if part.op == OpCode::Error {
        return reply::encode_multi_error(part.err, out);
    }
    MultiHeader { op: part.op.to_int(), done: false, err: 0 }.encode(out);
    match &part.outcome {
        Outcome::Created { path, stat } => {
            out.put_string(path);
            if part.op != OpCode::Create {
                stat.encode(out);
            }
        }
        Outcome::Stat(stat) => stat.encode(out),
        Outcome::Done | Outcome::Session { .. } | Outcome::Error(_) | Outcome::Multi(_) => {}
    }
}

/// The network of one process.
#[derive(Debug, Clone)]
struct Net {
    world: World,
    process: usize,
}

impl Connector for Net {
    fn connect<'a>(&'a self, _: &'a Host) -> Connecting<'a> {
        Box::pin(async move {
            let latency = self.world.lock().rng.millis(4);
            tokio::time::sleep(latency).await;
            let mut state = self.world.lock();
            if state.is_cut_off(self.process) {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let id = state.next_conn;
            state.next_conn += 1;
            let conn = Conn { client: self.process, ..Conn::default() };
            let arrived = conn.arrived.clone();
            state.conns.insert(id, conn);
            drop(state);
            let world = self.world.clone();
            tokio::spawn(async move {
                loop {
                    arrived.notified().await;
                    loop {
                        let latency = Duration::from_millis(1) + world.lock().rng.millis(3);
                        tokio::time::sleep(latency).await;
                        let mut state = world.lock();
                        if state.conns.get(&id).is_none_or(|conn| conn.dead) {
                            return;
                        }
                        if !state.serve_frame(id) {
                            break;
                        }
                    }
                }
            });
            Ok(Box::new(Pipe { world: self.world.clone(), id }) as Box<dyn Transport>)
        })
    }
}

/// A client's end of a connection.
struct Pipe {
    world: World,
    id: u64,
}

impl AsyncRead for Pipe {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.world.lock();
        let Some(conn) = state.conns.get_mut(&self.id) else { return Poll::Ready(Ok(())) };
        if conn.out.is_empty() {
            if conn.dead {
                return Poll::Ready(Ok(()));
            }
            conn.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let n = conn.out.len().min(buf.remaining());
        buf.put_slice(&conn.out[..n]);
        conn.out.drain(..n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.world.lock();
        match state.conns.get_mut(&self.id) {
            Some(conn) if !conn.dead => {
                conn.inbox.extend_from_slice(bytes);
                conn.arrived.notify_one();
                Poll::Ready(Ok(bytes.len()))
            }
            _ => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let mut state = self.world.lock();
        state.hang_up(self.id);
        state.conns.remove(&self.id);
    }
}
