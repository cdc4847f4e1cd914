//! The node: the one place where requests become transactions. It decides with a shared borrow of the store and
//! what is not applied yet, hands the result to the peer, and applies what the peer has committed. Answers to
//! Java's `PrepRequestProcessor`, `SyncRequestProcessor`'s snapshot rule and `FinalRequestProcessor`'s write half.
//! What only a member of an ensemble does is in `member`.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use ostler_tree::{Asker, Outstanding, Store};
use ostler_wire::client::write::{CreateMode, Write};
use ostler_wire::quorum::Packet;
use ostler_wire::txn::TxnEntry;
use ostler_wire::zoo::{self, Mutation};
use ostler_wire::{ServerId, SessionId, Zxid};
use ostler_zab::{Epochs, History, Membership, Peer, PeerConfig, Proposal, Standing as PeerStanding};

use crate::applier::{Applier, Origin};
use crate::config::NodeConfig;
use crate::gate::Random;
use crate::io::{CloseReason, ConnId, Input, LaneBatch, LaneId, Letter, Output, Service, Touch};
use crate::member::Member;
use crate::reaper::Reaper;
use crate::report::NodeReport;
use crate::sessions::{Sessions, Standing};
use crate::throttle::ConnectionThrottle;
use crate::time::Now;

/// A server's mind. See the crate's documentation for how to drive it.
#[derive(Debug)]
pub struct Node {
    pub(crate) config: Arc<NodeConfig>,
    pub(crate) peer: Peer,
    pub(crate) standing: PeerStanding,
    /// Whom the lanes were told to serve.
    pub(crate) service: Service,
    pub(crate) member: Member,
    pub(crate) outstanding: Outstanding,
    pub(crate) sessions: Sessions,
    pub(crate) applier: Applier,
    reaper: Reaper,
    throttle: ConnectionThrottle,
    snapshots: SnapshotRule,
    /// Whether the disk has no room for the log.
    log_full: bool,
    pub(crate) collection: Collection,
    /// When this server begins to serve those who are content to read, unless a leader is found.
    pub(crate) read_only_at_ms: Option<u64>,
    /// When the node last woke, to notice that it stood still.
    awake_ms: u64,
    pub(crate) outputs: VecDeque<Output>,
}

/// The question to all lanes which sessions they heard from, asked before any session expires.
#[derive(Debug, Default)]
pub(crate) struct Collection {
    round: u64,
    /// When it was asked: who was silent until then has been, whatever comes in while the lanes answer.
    asked_ms: u64,
    waiting: BTreeSet<LaneId>,
}

impl Collection {
    /// Answers to what was asked so far come too late.
    pub(crate) fn forget(&mut self) {
        self.round += 1;
        self.waiting.clear();
    }
}

/// When to take a snapshot.
#[derive(Debug)]
struct SnapshotRule {
    count: u32,
    size: Option<u64>,
    random: Random,
    txns_left: u64,
    bytes_left: u64,
    running: bool,
}

impl Node {
    /// A standalone server that starts with this store; all of it is committed.
    #[must_use]
    pub fn solo(config: Arc<NodeConfig>, store: &Store, now: Now) -> Self {
        let peer = Peer::solo(ServerId(config.server_id), store.last_zxid());
        let mut node = Self::new(config, peer, store, now);
        (node.standing, node.service) = (PeerStanding::Solo, Service::Alone);
        for (id, timeout_ms) in store.sessions() {
            node.sessions.track(id, timeout_ms, now.mono_ms, None);
        }
        node
    }

    /// A member of an ensemble that starts with this store and with what its disk says about it. It looks for a
    /// leader at once.
    #[must_use]
    pub fn member(
        config: Arc<NodeConfig>,
        peer: PeerConfig,
        members: Membership,
        epochs: Epochs,
        history: History,
        store: &Store,
        now: Now,
    ) -> Self {
        let mut peer = Peer::member(peer, epochs, history);
        let text = (members.current().version, members.text().clone());
        peer.set_membership(members);
        peer.start(now.mono_ms);
        let mut node = Self::new(config, peer, store, now);
        node.member.members = Some(text);
        node.drain_peer(now, store);
        node
    }

    /// Makes epochs shorter, so that a simulation can come to their end.
    pub fn set_last_counter(&mut self, last_counter: u32) {
        self.peer.set_last_counter(last_counter);
    }

    fn new(config: Arc<NodeConfig>, peer: Peer, store: &Store, now: Now) -> Self {
        Self {
            peer,
            standing: PeerStanding::Looking,
            service: Service::None,
            member: Member::default(),
            outstanding: Outstanding::new(store),
            sessions: Sessions::new(config.tick_ms, config.server_id, now.wall_ms.unsigned_abs()),
            applier: Applier::new(store.last_zxid(), config.lanes),
            reaper: Reaper::new(config.reaper, now),
            throttle: ConnectionThrottle::new(config.connection_throttle, config.seed),
            snapshots: SnapshotRule::new(config.snap_count, config.snap_size, Random::new(config.seed)),
            log_full: false,
            collection: Collection::default(),
            read_only_at_ms: None,
            awake_ms: now.mono_ms,
            outputs: VecDeque::new(),
            config,
        }
    }

    /// Takes one input. `store` holds exactly what [`Self::apply`] has applied to it. After an input that yields
    /// [`Output::Install`] the outputs are to be carried out before the next input.
    pub fn handle(&mut self, now: Now, input: Input, store: &Store) {
        match input {
            Input::Connect { conn, resume, timeout_ms } => {
                self.on_connect(now, conn, resume, timeout_ms, store)
            }
            Input::Request { conn, session, xid, write, ids, behind_reads, body } => {
                let asker = Asker { session, cxid: xid, ids: &ids, session_live: true, session_local: false };
                self.on_request(now, conn, write, &asker, (behind_reads, body), store);
            }
            Input::Sync { conn, session, xid } => self.on_sync(conn, session, xid),
            Input::FencePassed { zxid } => {
                self.applier.open_fence(zxid);
                self.outputs.push_back(Output::Apply);
            }
            Input::Disconnected { conn, session, touch } => {
                if let Some(touch) = touch {
                    self.on_touch(touch);
                }
                self.sessions.unbind(session, conn);
                if self.service == Service::Learning
                    && self.sessions.conn(session).is_none()
                    && !self.sessions.is_local(session)
                {
                    // Whether it lives on is the leader's business.
                    self.sessions.remove(session);
                }
            }
            Input::Touches { lane, round, touches } => self.on_touches(now, lane, round, &touches, store),
            Input::Persisted { zxid, generation } => {
                self.hand_to_peer(now, ostler_zab::Input::Persisted { zxid, generation }, store);
            }
            Input::LogFull => self.on_log_full(now, store),
            Input::LogRoom => self.log_full = false,
            Input::SnapshotDone => self.snapshots.running = false,
            Input::Peer(input) => self.on_peer(now, input, store),
            Input::TreeArrived { link, store: tree } => self.on_tree_arrived(now, link, tree, store),
            Input::TreeSaved { store: tree, generation } => {
                self.install(now, tree);
                self.hand_to_peer(now, ostler_zab::Input::SnapshotSaved { generation }, store);
            }
            Input::Truncated { result, generation } => {
                let last = result.map(|tree| {
                    let last = tree.last_zxid();
                    self.install(now, tree);
                    last
                });
                self.hand_to_peer(now, ostler_zab::Input::Truncated { last, generation }, store);
            }
        }
    }

    fn install(&mut self, now: Now, mut tree: Box<Store>) {
        if let Some((version, text)) = &self.member.members {
            tree.set_config(text, *version, now.wall_ms);
        }
        self.applier.restart(tree.last_zxid());
        self.outputs.push_back(Output::Install(tree));
    }

    /// Does what time asks for: expires sessions, reaps nodes. To be called at [`Self::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Now, store: &Store) {
        self.notice_standstill(now);
        if self.peer.poll_timeout().is_some_and(|(deadline, _)| deadline <= now.mono_ms) {
            self.peer.handle_timeout(now.mono_ms);
            self.drain_peer(now, store);
        }
        self.poll_read_only(now);
        if !self.expires_sessions() {
            return;
        }
        while self.decides()
            && let Some(path) = self.reaper.poll(now, store)
        {
            let write = Write::DeleteContainer { path };
            self.propose_own(now, SessionId(0), write, Origin::Server, store);
        }
        let due = self.sessions.next_deadline_ms().is_some_and(|deadline| deadline <= now.mono_ms);
        if due {
            self.collect_touches(now);
        }
    }

    /// Asks all lanes which sessions they heard from, unless they are being asked.
    pub(crate) fn collect_touches(&mut self, now: Now) {
        if !self.collection.waiting.is_empty() {
            return;
        }
        self.collection.round += 1;
        self.collection.asked_ms = now.mono_ms;
        let round = self.collection.round;
        for lane in (0..self.config.lanes).map(LaneId) {
            self.collection.waiting.insert(lane);
            self.send(lane, Letter::CollectTouches { round });
        }
    }

    /// Whether this server decides on writes and sessions.
    fn decides(&self) -> bool {
        self.peer.next_zxid().is_some() && matches!(self.service, Service::Alone | Service::Leading)
    }

    /// Whether sessions expire here: all of them, or those that only this server knows of.
    fn expires_sessions(&self) -> bool {
        if self.decides() {
            !self.log_full
        } else {
            matches!(self.service, Service::Learning | Service::ReadOnly)
        }
    }

    /// When [`Self::handle_timeout`] is to be called, and for what.
    #[must_use]
    pub fn poll_timeout(&self) -> (u64, &'static str) {
        let heartbeat = (self.awake_ms + self.heartbeat_ms(), "heartbeat");
        let heartbeat =
            self.peer.poll_timeout().map_or(heartbeat, |(deadline, what)| heartbeat.min((deadline, what)));
        let heartbeat = match self.read_only_at_ms {
            Some(at_ms) if self.service == Service::None => heartbeat.min((at_ms, "read-only mode")),
            _ => heartbeat,
        };
        if !self.expires_sessions() {
            return heartbeat;
        }
        let reaper = if self.decides() { (self.reaper.deadline_ms(), "reaper") } else { heartbeat };
        let sessions = match self.sessions.next_deadline_ms() {
            Some(deadline) if self.collection.waiting.is_empty() => (deadline, "session expiry"),
            _ => heartbeat,
        };
        heartbeat.min(reaper).min(sessions)
    }

    /// The next thing that the node wants done.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Applies a bounded batch of what is committed and yields what each lane has to be told, before the store is
    /// released. `watching` says whether a lane holds watches. To be called until [`Self::has_committed`] is false.
    pub fn apply(
        &mut self,
        store: &mut Store,
        watching: &dyn Fn(LaneId) -> bool,
    ) -> Vec<(LaneId, LaneBatch)> {
        let batches = self.applier.apply(store, &mut self.sessions, watching);
        let leads = matches!(self.service, Service::Leading | Service::Alone);
        if leads || !zoo::is(Mutation::StaleOutstanding) {
            self.outstanding.applied(store.last_zxid());
        }
        batches
    }

    /// Whether something is committed and not applied.
    #[must_use]
    pub fn has_committed(&self) -> bool {
        self.applier.has_committed()
    }

    /// Whether something is decided and not applied.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        !self.applier.is_empty()
    }

    /// Whether clients are served.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.service != Service::None
    }

    /// What this server is to its clients.
    #[must_use]
    pub fn standing(&self) -> PeerStanding {
        self.standing
    }

    /// Why the last role as a member ended.
    #[must_use]
    pub fn last_end(&self) -> Option<ostler_zab::Reason> {
        self.peer.last_end()
    }

    /// Takes what is to be said about a quota that a write went beyond.
    pub fn take_quota_warning(&mut self) -> Option<String> {
        self.outstanding.take_quota_warning()
    }

    /// What this server is to the ensemble, to look at.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Figures for the operator.
    #[must_use]
    pub fn report(&self) -> NodeReport {
        NodeReport {
            sessions: self.sessions.len(),
            standing: Some(self.standing),
            service: self.service,
            serves_clients: self.lane_service() != Service::None,
            local_sessions: self.sessions.local_count(),
            learners: self.peer.learners(),
            members: self.peer.membership().map(|lists| Arc::clone(lists.current())),
            leader: self.peer.leader(),
            master: self.peer.master(),
            connected: self.peer.connected().iter().copied().collect(),
            last_end: self.peer.last_end(),
            epochs: self.peer.epochs(),
            last_proposed: self.peer.last_proposed(),
            tally: self.member.tally.clone(),
            pending_syncs: self.member.pending_syncs(),
            outstanding: self.applier.len() + self.member.forwarded.len(),
            session_buckets: self.sessions.buckets().collect(),
            connection_drop_chance: self.throttle.drop_chance(),
            log_full: self.log_full,
            quota_refusals: self.outstanding.quota_refusals().clone(),
        }
    }

    fn on_connect(
        &mut self,
        now: Now,
        conn: ConnId,
        resume: Option<SessionId>,
        timeout_ms: i32,
        store: &Store,
    ) {
        if !self.throttle.admit(now.mono_ms, resume.is_some()) {
            return self.close(conn, CloseReason::ConnectionThrottled);
        }
        match self.service {
            Service::None => return self.close(conn, CloseReason::NotServing),
            Service::ReadOnly => return self.connect_read_only(now, conn, resume, timeout_ms, store),
            Service::Learning => return self.forward_connect(now, conn, resume, timeout_ms),
            Service::Alone | Service::Leading => {}
        }
        let Some(session) = resume else {
            if self.service == Service::Leading && self.config.services.local_sessions {
                return self.open_local(now, conn, timeout_ms);
            }
            if self.log_full {
                return self.close(conn, CloseReason::DiskFull);
            }
            let session = self.sessions.allocate();
            self.sessions.track(session, timeout_ms, now.mono_ms, Some(conn));
            let write = Write::CreateSession { timeout_ms };
            return self.propose_own(now, session, write, Origin::Handshake { conn, timeout_ms }, store);
        };
        if self.sessions.standing(session) != Standing::Live {
            return self.send(conn.lane(), Letter::Refused { conn });
        }
        self.resume(now, conn, session, timeout_ms);
    }

    /// A connection takes up a session that is known here.
    pub(crate) fn resume(&mut self, now: Now, conn: ConnId, session: SessionId, timeout_ms: i32) {
        if let Some(old) = self.sessions.bind(session, conn) {
            self.close(old, CloseReason::SessionResumedElsewhere);
        }
        self.sessions.touch(Touch { session, heard_ms: now.mono_ms, timeout_ms });
        self.send(conn.lane(), Letter::Opened { conn, session, timeout_ms });
    }

    fn on_request(
        &mut self,
        now: Now,
        conn: ConnId,
        write: Write,
        asker: &Asker<'_>,
        (behind_reads, body): (bool, Option<Bytes>),
        store: &Store,
    ) {
        // A session that is closing or gone, or that another connection speaks for: no answer, as in Java; the
        // connection is being closed.
        let session = asker.session;
        if self.sessions.standing(session) != Standing::Live || self.sessions.conn(session) != Some(conn) {
            return;
        }
        let local = self.sessions.is_local(session);
        if local && matches!(write, Write::CloseSession) && !behind_reads && self.closes_local(session) {
            return self.close_local(conn, session);
        }
        if self.log_full {
            return self.close(conn, CloseReason::DiskFull);
        }
        let mut origin = Origin::Client { conn };
        if local && asks_for_ephemeral(&write) {
            if self.config.services.local_sessions_upgrading {
                self.upgrade(now, session, store);
            } else {
                origin = Origin::LocalEphemeral { conn };
            }
        }
        match self.service {
            // Its connection is being closed, or it closes its session with reads under way.
            Service::None | Service::ReadOnly => {
                if matches!(write, Write::CloseSession) {
                    self.sessions.remove(session);
                    self.close(conn, CloseReason::SessionClosed);
                }
            }
            Service::Learning => {
                if matches!(write, Write::CloseSession) {
                    self.sessions.close(session);
                }
                self.member.forwarded.push(session, asker.cxid, origin, behind_reads);
                let body = body.unwrap_or_default();
                self.forward(session, asker.cxid, write.op(), body, Some(asker.ids.to_vec()));
            }
            Service::Alone | Service::Leading => {
                if self.peer.next_zxid().is_none() {
                    return;
                }
                let entry = self.decide(now, write, asker, store);
                self.propose(now, entry, origin, behind_reads, store);
            }
        }
    }

    fn on_touches(&mut self, now: Now, lane: LaneId, round: u64, touches: &[Touch], store: &Store) {
        for touch in touches {
            self.on_touch(*touch);
        }
        if round != self.collection.round || !self.collection.waiting.remove(&lane) {
            return;
        }
        if !self.collection.waiting.is_empty() {
            return;
        }
        self.answer_pings();
        if !self.expires_sessions() {
            return;
        }
        for session in self.sessions.due(self.collection.asked_ms) {
            if self.sessions.is_local(session) {
                self.expire_local(session);
                continue;
            }
            self.propose_own(now, session, Write::CloseSession, Origin::Expiry, store);
        }
    }

    fn on_touch(&mut self, touch: Touch) {
        if self.service == Service::Learning && !self.sessions.is_local(touch.session) {
            self.note_touch(touch);
        } else {
            self.sessions.touch(touch);
        }
    }

    /// No room for the log: what is under way waits for room, its clients are sent away so that they do not wait
    /// with it. Their writes may still happen.
    fn on_log_full(&mut self, now: Now, store: &Store) {
        self.log_full = true;
        // A member lets the others go on without it.
        self.hand_to_peer(now, ostler_zab::Input::LogFull, store);
        for conn in self.applier.waiting_conns() {
            self.close(conn, CloseReason::DiskFull);
        }
    }

    /// What a request becomes: a transaction with the next zxid.
    pub(crate) fn decide(&mut self, now: Now, write: Write, asker: &Asker<'_>, store: &Store) -> TxnEntry {
        let zxid = self.peer.next_zxid().expect("only a role that proposes decides");
        if matches!(write, Write::CloseSession) {
            self.sessions.close(asker.session);
        }
        ostler_tree::prepare(write, asker, (zxid, now.wall_ms), store, &mut self.outstanding)
    }

    /// A transaction of the server's own, in the name of a session or (0) of nobody.
    pub(crate) fn propose_own(
        &mut self,
        now: Now,
        session: SessionId,
        write: Write,
        origin: Origin,
        store: &Store,
    ) {
        if self.peer.next_zxid().is_none() {
            return;
        }
        let entry = self.decide(now, write, &Asker { session, ..Asker::server() }, store);
        self.propose(now, entry, origin, false, store);
    }

    pub(crate) fn propose(
        &mut self,
        now: Now,
        entry: TxnEntry,
        origin: Origin,
        behind_reads: bool,
        store: &Store,
    ) {
        let (zxid, bytes) = (entry.header.zxid, encode(&entry));
        self.member.tally.on_proposed(bytes.len());
        self.applier.push(entry, origin, behind_reads);
        self.hand_to_peer(now, ostler_zab::Input::Propose(Proposal { zxid, bytes }), store);
    }

    pub(crate) fn hand_to_peer(&mut self, now: Now, input: ostler_zab::Input, store: &Store) {
        self.peer.handle(now.mono_ms, input);
        self.drain_peer(now, store);
    }

    fn drain_peer(&mut self, now: Now, store: &Store) {
        self.member.tally.on_state(now.mono_ms, self.peer.state());
        while let Some(output) = self.peer.poll_output() {
            self.member.tally.on_output(&output);
            match output {
                ostler_zab::Output::Append { proposal, generation } => {
                    self.note_appended(&proposal);
                    let size = proposal.bytes.len() as u64;
                    self.outputs.push_back(Output::Append { proposal, generation });
                    if self.snapshots.count_txn(size) {
                        self.outputs.push_back(Output::RollLog);
                        if !std::mem::replace(&mut self.snapshots.running, true) {
                            self.outputs.push_back(Output::Snapshot);
                        }
                    }
                }
                ostler_zab::Output::Commit { upto } => {
                    self.applier.commit(upto);
                    self.outputs.push_back(Output::Apply);
                }
                ostler_zab::Output::Truncate { to, generation } => {
                    self.outputs.push_back(Output::Truncate { to, generation });
                }
                ostler_zab::Output::SaveSnapshot { link, zxid, generation } => {
                    self.save_tree(link, zxid, generation);
                }
                ostler_zab::Output::FromLearner { link, packet, .. } => {
                    self.on_from_learner(now, link, packet, store);
                }
                ostler_zab::Output::FromLeader { link, packet } => self.on_from_leader(now, link, packet),
                // Its clients keep their sessions and come back, here or elsewhere.
                ostler_zab::Output::LearnerGone { .. } => {}
                ostler_zab::Output::Standing(standing) => self.on_standing(now, standing, store),
                ostler_zab::Output::Send { link, packet } => {
                    if let Packet::Commit { zxid } | Packet::Inform { zxid, .. } = packet {
                        self.release_learner_syncs_before(link, zxid);
                    }
                    self.send_packet(link, packet);
                }
                ostler_zab::Output::MembersActivated { members, in_history } => {
                    self.on_members(now, &members, in_history);
                    let output = ostler_zab::Output::MembersActivated { members, in_history };
                    self.outputs.push_back(Output::Peer(output));
                }
                output @ (ostler_zab::Output::WriteEpoch { .. }
                | ostler_zab::Output::MembersSeen(_)
                | ostler_zab::Output::Notify { .. }
                | ostler_zab::Output::Connect { .. }
                | ostler_zab::Output::SendSnapshot { .. }
                | ostler_zab::Output::SearchLog { .. }
                | ostler_zab::Output::SendLog { .. }
                | ostler_zab::Output::Close { .. }) => self.outputs.push_back(Output::Peer(output)),
            }
        }
        self.release_learner_syncs();
        self.poll_read_only(now);
    }

    /// If the whole server stood still (stopped, or starved of its processor), clients could not be heard: nobody
    /// may expire for it.
    fn notice_standstill(&mut self, now: Now) {
        let expected = self.awake_ms + self.heartbeat_ms();
        let late_ms = now.mono_ms.saturating_sub(expected);
        if late_ms > u64::from(self.config.tick_ms) {
            self.sessions.postpone(late_ms);
        }
        self.awake_ms = now.mono_ms;
    }

    fn heartbeat_ms(&self) -> u64 {
        u64::from(self.config.tick_ms / 2).clamp(10, 1000)
    }

    pub(crate) fn close(&mut self, conn: ConnId, reason: CloseReason) {
        self.send(conn.lane(), Letter::Close { conn, reason });
    }

    pub(crate) fn send(&mut self, lane: LaneId, letter: Letter) {
        let batch = LaneBatch { changes: None, letters: vec![(Zxid(i64::MAX), letter)] };
        self.outputs.push_back(Output::Send(lane, batch));
    }
}

/// Whether a request makes a node that goes with its session.
fn asks_for_ephemeral(write: &Write) -> bool {
    let is_ephemeral = |flags| CreateMode::from_flags(flags).is_some_and(CreateMode::is_ephemeral);
    match write {
        Write::Create(create) => is_ephemeral(create.flags),
        Write::Multi(parts) => parts.iter().any(asks_for_ephemeral),
        _ => false,
    }
}

fn encode(entry: &TxnEntry) -> Bytes {
    let mut bytes = Vec::with_capacity(160);
    entry.encode(&mut bytes);
    Bytes::from(bytes)
}

impl SnapshotRule {
    fn new(count: u32, size: Option<u64>, random: Random) -> Self {
        let mut rule =
            Self { count: count.max(2), size, random, txns_left: 0, bytes_left: 0, running: false };
        rule.draw();
        rule
    }

    /// Counts a transaction; whether it is time.
    fn count_txn(&mut self, bytes: u64) -> bool {
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
        self.txns_left = self.txns_left.saturating_sub(1);
        let due = self.txns_left == 0 || (self.size.is_some() && self.bytes_left == 0);
        if due {
            self.draw();
        }
        due
    }

    /// A number between a half and the whole, so that the servers of an ensemble do not all write at once.
    fn draw(&mut self) {
        let half = u64::from(self.count / 2);
        self.txns_left = half + self.random.below(half.max(1)) + 1;
        let half = self.size.unwrap_or(0) / 2;
        self.bytes_left = half + self.random.below(half.max(1)) + 1;
    }
}
