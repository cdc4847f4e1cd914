//! The leader of an ensemble and what its learner asks for: when syncs are answered, and in which order among commits;
//! what becomes of a request that no client may make; sessions that it found when it began to lead. The ensemble has one
//! voter, whose own disk is the quorum, and an observer.

use std::sync::Arc;

use bytes::Bytes;
use ostler_node::{ConnId, Input, LaneId, Letter, Node, NodeConfig, Now, Output};
use ostler_tree::{Store, TreeConfig};
use ostler_wire::client::write::Write;
use ostler_wire::quorum::{Forwarded, LearnerInfo, Members, Packet};
use ostler_wire::txn::{Txn, TxnEntry, TxnHeader};
use ostler_wire::{Code, OpCode, ServerId, SessionId, Zxid};
use ostler_zab::{
    Epochs, Generation, History, JointQuorum, Limit, LinkId, Membership, Observing, PeerConfig, Proposal,
    Quorum,
};

const SESSION: SessionId = SessionId(0x0100_0000_0000_0001);
const LINK: LinkId = LinkId(7);

/// A leader without threads: the test moves it.
struct Leader {
    node: Node,
    store: Store,
    now: Now,
    appended: Vec<(Zxid, Generation)>,
    /// The last question to the lane whom it heard from.
    asked: Option<u64>,
    /// All that was ever appended.
    logged: Vec<TxnEntry>,
    /// What was sent to the observer.
    sent: Vec<Packet>,
    /// What the lane was told.
    letters: Vec<Letter>,
}

impl Leader {
    /// One that leads epoch 2, in which nothing was proposed; epoch 1 made a session.
    fn new() -> Self {
        let members = Members::parse(
            "server.1=127.0.0.1:2888:3888:participant\nserver.2=127.0.0.1:2889:3889:observer\nversion=0",
        )
        .expect("a list");
        let now = Now { mono_ms: 1000, wall_ms: 1_700_000_000_000 };
        let mut store = Store::new(TreeConfig::default());
        let header = TxnHeader { session: SESSION, cxid: 0, zxid: Zxid::new(1, 1), time_ms: now.wall_ms };
        let entry = TxnEntry { header, txn: Txn::CreateSession { timeout_ms: 1000 }, digest: None };
        store.apply(&entry, &mut Vec::new());
        let mut bytes = Vec::new();
        entry.encode(&mut bytes);
        let proposal = Proposal { zxid: header.zxid, bytes: Bytes::from(bytes) };
        let peer = PeerConfig {
            server: ServerId(1),
            quorum: JointQuorum::new(Quorum::of(&members).expect("a majority")),
            observer: false,
            tick_ms: 100,
            init_limit_ticks: 10,
            sync_limit_ticks: 5,
            max_waiting_bytes: 1 << 20,
            force_snapshot: false,
            log_sync: true,
            observing: Observing::default(),
        };
        let epochs = Epochs { accepted: 1, current: 1 };
        let history = History::new(Zxid::ZERO, [proposal], Limit::default());
        let lists = Membership::fixed(members).expect("a majority");
        let node = Node::member(Arc::new(config()), peer, lists, epochs, history, &store, now);
        let mut leader = Self {
            node,
            store,
            now,
            appended: Vec::new(),
            asked: None,
            logged: Vec::new(),
            sent: Vec::new(),
            letters: Vec::new(),
        };
        for _ in 0..100 {
            leader.carry_out();
            leader.now.mono_ms += 20;
            leader.node.handle_timeout(leader.now, &leader.store);
            leader.carry_out();
        }
        assert!(leader.node.is_serving(), "its own vote is the whole quorum");
        leader.letters.clear();
        leader
    }

    /// Whether a session is closed while so much time passes in which no lane heard of anybody.
    fn closes_within(&mut self, ms: u64) -> bool {
        let until_ms = self.now.mono_ms + ms;
        while self.now.mono_ms < until_ms {
            self.now.mono_ms += 20;
            self.node.handle_timeout(self.now, &self.store);
            self.carry_out();
            if let Some(round) = self.asked.take() {
                self.give(Input::Touches { lane: LaneId(0), round, touches: Vec::new() });
            }
        }
        self.logged.iter().any(|entry| matches!(entry.txn, Txn::CloseSession { .. }))
    }

    fn give(&mut self, input: Input) {
        self.node.handle(self.now, input, &self.store);
        self.carry_out();
    }

    fn hear(&mut self, packet: Packet) {
        self.give(Input::Peer(ostler_zab::Input::Packet { link: LINK, packet }));
    }

    /// Does what the node wants, but for what was appended, which waits for [`Self::persist`].
    fn carry_out(&mut self) {
        loop {
            while let Some(output) = self.node.poll_output() {
                match output {
                    Output::Append { proposal, generation } => {
                        self.appended.push((proposal.zxid, generation));
                        self.logged.push(TxnEntry::decode(&proposal.bytes).expect("it was encoded"));
                    }
                    Output::Peer(ostler_zab::Output::WriteEpoch { which, epoch, generation }) => {
                        let written = ostler_zab::Input::EpochWritten { which, epoch, generation };
                        self.node.handle(self.now, Input::Peer(written), &self.store);
                    }
                    Output::Peer(ostler_zab::Output::Send { packet, .. }) => self.sent.push(packet),
                    Output::Send(_, batch) => {
                        for (_, letter) in &batch.letters {
                            if let Letter::CollectTouches { round } = letter {
                                self.asked = Some(*round);
                            }
                        }
                        self.letters.extend(batch.letters.into_iter().map(|(_, letter)| letter));
                    }
                    Output::Apply | Output::SetConfig { .. } | Output::DiscardSnapshots | Output::Peer(_) => {
                    }
                    other => panic!("nobody asked for {other:?}"),
                }
            }
            if !self.node.has_committed() {
                return;
            }
            for (_, batch) in self.node.apply(&mut self.store, &|_| true) {
                self.letters.extend(batch.letters.into_iter().map(|(_, letter)| letter));
            }
        }
    }

    /// All that was appended is on the disk.
    fn persist(&mut self) {
        if let Some((zxid, generation)) = self.appended.pop() {
            self.appended.clear();
            self.give(Input::Persisted { zxid, generation });
        }
    }

    fn join_observer(&mut self) {
        self.give(Input::Peer(ostler_zab::Input::LearnerArrived { link: LINK }));
        let info = LearnerInfo { server: Some(ServerId(2)), protocol: 0x10000, members_version: 0 };
        self.hear(Packet::ObserverInfo { accepted_epoch: 1, info });
        self.hear(Packet::AckEpoch { last: self.store.last_zxid(), current_epoch: None });
        self.hear(Packet::Ack { zxid: Zxid::new(2, 0) });
        assert_eq!(self.sent.last(), Some(&Packet::UpToDate));
        self.sent.clear();
    }

    fn hear_request(&mut self, cxid: i32, op: OpCode, body: Bytes) {
        let request = Forwarded { session: SESSION, cxid, op: op.to_int(), body, ids: None };
        self.hear(Packet::Request(request));
    }
}

#[test]
fn a_sync_at_a_new_leader_waits_for_no_write() {
    let mut leader = Leader::new();
    let conn = ConnId::new(LaneId(0), 1);
    leader.give(Input::Connect { conn, resume: Some(SESSION), timeout_ms: 1000 });
    assert!(matches!(leader.letters.pop(), Some(Letter::Opened { .. })), "the session lives");
    leader.give(Input::Sync { conn, session: SESSION, xid: 1 });
    assert!(matches!(leader.letters.pop(), Some(Letter::Synced { .. })), "all that is decided is applied");
}

#[test]
fn a_sync_of_a_learner_at_a_new_leader_waits_for_no_write() {
    let mut leader = Leader::new();
    leader.join_observer();
    leader.hear_request(1, OpCode::Sync, Bytes::new());
    assert_eq!(leader.sent, [Packet::Sync]);
}

#[test]
fn a_sync_of_a_learner_is_answered_before_the_write_that_came_behind_it() {
    let mut leader = Leader::new();
    leader.join_observer();
    leader.hear(Packet::Revalidate { session: SESSION, timeout_ms: 1000 });
    leader.sent.clear();
    let mut body = Vec::new();
    Write::SetData { path: Some("/".into()), data: None, version: -1 }.encode(&mut body);
    let body = Bytes::from(body);
    leader.hear_request(1, OpCode::SetData, body.clone());
    leader.hear_request(2, OpCode::Sync, Bytes::new());
    leader.hear_request(3, OpCode::SetData, body);
    assert_eq!(leader.sent, [], "nothing is on the disk");
    leader.persist();
    let order: Vec<&str> = leader
        .sent
        .iter()
        .map(|packet| match packet {
            Packet::Inform { .. } => "inform",
            Packet::Sync => "sync",
            _ => "other",
        })
        .collect();
    assert_eq!(order, ["inform", "sync", "inform"]);
}

/// ZOOKEEPER-2623: a `check` outside of a multi, which no client of Java sends, was logged as a transaction of its own, and
/// no server could read its log any more.
#[test]
fn a_lone_check_of_a_learners_client_is_refused_and_not_logged() {
    let mut leader = Leader::new();
    leader.join_observer();
    leader.hear(Packet::Revalidate { session: SESSION, timeout_ms: 1000 });
    let before = leader.logged.len();
    let mut body = Vec::new();
    Write::Check { path: Some("/".into()), version: -1 }.encode(&mut body);
    leader.hear_request(1, OpCode::Check, Bytes::from(body));
    leader.hear_request(2, OpCode::DeleteContainer, Bytes::from_static(&[0, 0, 0, 1, b'/']));
    // The learner waits for a transaction, and gets one that says no.
    let logged: Vec<&Txn> = leader.logged[before..].iter().map(|entry| &entry.txn).collect();
    let refused = Txn::Error { code: Code::Unimplemented.to_int() };
    assert_eq!(logged, [&refused, &refused]);
}

/// ZOOKEEPER-1367: a session that came to a server while it was brought up to date was watched by nobody once that server
/// led, and its ephemerals stayed for ever.
#[test]
fn a_new_leader_lets_a_session_expire_that_it_found_in_its_history() {
    let mut leader = Leader::new();
    let began_ms = leader.now.mono_ms;
    let closes =
        |entry: &TxnEntry| matches!(entry.txn, Txn::CloseSession { .. }) && entry.header.session == SESSION;
    while !leader.logged.iter().any(closes) {
        assert!(leader.now.mono_ms < began_ms + 3000, "nobody watches over it");
        leader.now.mono_ms += 20;
        leader.node.handle_timeout(leader.now, &leader.store);
        leader.carry_out();
        if let Some(round) = leader.asked.take() {
            leader.give(Input::Touches { lane: LaneId(0), round, touches: Vec::new() });
        }
    }
    // It has 1000 ms from the moment at which somebody could hear of it.
    assert!(leader.now.mono_ms > began_ms - 2000 + 1000, "after {} ms", leader.now.mono_ms - began_ms);
    leader.persist();
    assert_eq!(leader.store.session_count(), 0);
}

/// A learner that is cut off right behind a client's write reports no more whom it heard. Java's leader goes by those
/// reports alone.
#[test]
fn a_write_by_a_learner_counts_as_a_sign_of_life() {
    let mut leader = Leader::new();
    leader.join_observer();
    leader.hear(Packet::Revalidate { session: SESSION, timeout_ms: 1000 });
    assert!(!leader.closes_within(400), "it was heard of just now");
    let mut body = Vec::new();
    Write::SetData { path: Some("/".into()), data: None, version: -1 }.encode(&mut body);
    leader.hear_request(1, OpCode::SetData, Bytes::from(body));
    assert!(!leader.closes_within(1000), "it has all of its timeout from its write");
    assert!(leader.closes_within(200));
}

fn config() -> NodeConfig {
    NodeConfig {
        tick_ms: 100,
        min_session_timeout_ms: 200,
        max_session_timeout_ms: 2000,
        member: true,
        ..NodeConfig::default()
    }
}
