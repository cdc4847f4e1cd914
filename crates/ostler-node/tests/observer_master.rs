//! A follower between observers and the leader: whose question the leader answers, in which order, and which of those who
//! had a session may ask in its name.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use bytes::Bytes;
use ostler_node::{ConnId, Input, LaneId, Letter, Node, NodeConfig, Now, Output};
use ostler_tree::{Store, TreeConfig};
use ostler_wire::client::write::Write;
use ostler_wire::quorum::{Forwarded, LearnerInfo, Members, Notification, Packet, PeerState, Vote};
use ostler_wire::txn::{Txn, TxnEntry, TxnHeader};
use ostler_wire::{OpCode, ServerId, SessionId, Zxid};
use ostler_zab::{Epochs, History, Limit, LinkId, Membership, Observing, PeerConfig};

const LEADER: LinkId = LinkId(1);
const OBSERVERS: [LinkId; 2] = [LinkId(11), LinkId(12)];
const SESSION: SessionId = SessionId(0x0300_0000_0000_0001);

/// Server 1 of three, which follows server 2 and has two observers.
struct Follower {
    node: Node,
    store: Store,
    /// What was sent, and to whom.
    sent: Vec<(LinkId, Packet)>,
    letters: Vec<Letter>,
    now: Now,
}

impl Follower {
    fn new() -> Self {
        let mut follower = Self::looking();
        follower.follow();
        for (link, server) in OBSERVERS.into_iter().zip([4, 5]) {
            follower.join(link, server);
        }
        follower.sent.clear();
        follower.letters.clear();
        follower
    }

    fn looking() -> Self {
        let config = Arc::new(NodeConfig { tick_ms: 100, member: true, ..NodeConfig::default() });
        let store = Store::new(TreeConfig::default());
        let now = Now { mono_ms: 1000, wall_ms: 1_700_000_000_000 };
        let members = Members::parse("server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2").unwrap();
        let membership = Membership::fixed(members).unwrap();
        let peer = PeerConfig {
            server: ServerId(1),
            quorum: membership.quorum(),
            observer: false,
            tick_ms: 100,
            init_limit_ticks: 1000,
            sync_limit_ticks: 1000,
            max_waiting_bytes: 1 << 20,
            force_snapshot: false,
            log_sync: true,
            observing: Observing::default(),
        };
        let history = History::new(Zxid::ZERO, [], Limit::default());
        let epochs = Epochs { accepted: 0, current: 0 };
        let node = Node::member(config, peer, membership, epochs, history, &store, now);
        let mut follower = Self { node, store, sent: Vec::new(), letters: Vec::new(), now };
        follower.run();
        follower
    }

    fn follow(&mut self) {
        for (from, state) in [(2, PeerState::Leading), (3, PeerState::Following)] {
            let vote = Vote { leader: ServerId(2), zxid: Zxid::ZERO, epoch: 1 };
            let notification = Notification { state, vote, round: 1, members: None };
            self.peer(ostler_zab::Input::Notification { from: ServerId(from), notification });
        }
        self.hear(LEADER, Packet::LeaderInfo { epoch: 1 });
        self.hear(LEADER, Packet::Diff { zxid: Zxid::ZERO });
        self.hear(LEADER, Packet::NewLeader { zxid: Zxid::new(1, 0), members: None });
        self.hear(LEADER, Packet::UpToDate);
    }

    fn join(&mut self, link: LinkId, server: i64) {
        self.peer(ostler_zab::Input::ObserverArrived { link });
        let info = LearnerInfo { server: Some(ServerId(server)), protocol: 0x10000, members_version: 0 };
        self.hear(link, Packet::ObserverInfo { accepted_epoch: 1, info });
        self.hear(link, Packet::AckEpoch { last: self.store.last_zxid(), current_epoch: None });
        self.hear(link, Packet::Ack { zxid: Zxid::new(1, 0) });
        assert_eq!(self.sent.last(), Some(&(link, Packet::UpToDate)));
    }

    fn peer(&mut self, input: ostler_zab::Input) {
        self.give(Input::Peer(input));
    }

    fn hear(&mut self, link: LinkId, packet: Packet) {
        self.peer(ostler_zab::Input::Packet { link, packet });
    }

    fn give(&mut self, input: Input) {
        self.node.handle(self.now, input, &self.store);
        self.run();
    }

    /// Everything moves until nothing does; disk and lane do at once what they are asked for.
    fn run(&mut self) {
        loop {
            let mut inputs = Vec::new();
            while let Some(output) = self.node.poll_output() {
                match output {
                    Output::Append { proposal, generation } => {
                        inputs.push(Input::Persisted { zxid: proposal.zxid, generation });
                    }
                    Output::Send(lane, batch) => {
                        for (_, letter) in batch.letters {
                            if let Letter::CollectTouches { round } = letter {
                                inputs.push(Input::Touches { lane, round, touches: Vec::new() });
                            }
                            self.letters.push(letter);
                        }
                    }
                    Output::Peer(ostler_zab::Output::WriteEpoch { which, epoch, generation }) => {
                        let written = ostler_zab::Input::EpochWritten { which, epoch, generation };
                        inputs.push(Input::Peer(written));
                    }
                    Output::Peer(ostler_zab::Output::Connect { generation, .. }) => {
                        let reached = ostler_zab::Input::LeaderReached { link: LEADER, generation };
                        inputs.push(Input::Peer(reached));
                    }
                    Output::Peer(ostler_zab::Output::Send { link, packet }) => self.sent.push((link, packet)),
                    _ => {}
                }
            }
            let idle = inputs.is_empty();
            for input in inputs {
                self.node.handle(self.now, input, &self.store);
            }
            while self.node.has_committed() {
                for (_, batch) in self.node.apply(&mut self.store, &|_| true) {
                    self.letters.extend(batch.letters.into_iter().map(|(_, letter)| letter));
                }
            }
            if idle {
                return;
            }
        }
    }

    /// What was sent to the leader since the last time.
    fn asked(&mut self) -> Vec<Packet> {
        let sent = std::mem::take(&mut self.sent);
        sent.into_iter().filter(|(link, _)| *link == LEADER).map(|(_, packet)| packet).collect()
    }

    /// The leader's transaction.
    fn proposed(&mut self, counter: u32, cxid: i32, txn: Txn) -> (Zxid, Bytes) {
        let zxid = Zxid::new(1, counter);
        let mut entry = Vec::new();
        let header = TxnHeader { session: SESSION, cxid, zxid, time_ms: 1 };
        TxnEntry { header, txn, digest: None }.encode(&mut entry);
        let entry = Bytes::from(entry);
        self.hear(LEADER, Packet::Proposal { zxid, entry: entry.clone() });
        (zxid, entry)
    }
}

fn request(cxid: i32, op: OpCode, body: Bytes) -> Packet {
    Packet::Request(Forwarded { session: SESSION, cxid, op: op.to_int(), body, ids: Some(Vec::new()) })
}

fn set_data() -> Bytes {
    let mut body = Vec::new();
    Write::SetData { path: Some("/a".into()), data: None, version: -1 }.encode(&mut body);
    body.into()
}

#[test]
fn an_observer_is_told_of_what_is_committed_and_of_nothing_else() {
    let mut follower = Follower::new();
    let (zxid, entry) = follower.proposed(1, 0, Txn::CreateSession { timeout_ms: 1000 });
    assert_eq!(follower.sent, [(LEADER, Packet::Ack { zxid })], "it is on the own disk, and not committed");
    follower.sent.clear();
    follower.hear(LEADER, Packet::Commit { zxid });
    let informs = OBSERVERS.map(|link| (link, Packet::Inform { zxid, entry: entry.clone() }));
    assert_eq!(follower.sent, informs);
    assert_eq!(follower.node.report().learners.len(), 2);
}

#[test]
fn a_follower_is_turned_away() {
    let mut follower = Follower::new();
    let link = LinkId(20);
    follower.peer(ostler_zab::Input::ObserverArrived { link });
    let info = LearnerInfo { server: Some(ServerId(3)), protocol: 0x10000, members_version: 0 };
    follower.hear(link, Packet::FollowerInfo { accepted_epoch: 1, info });
    follower.hear(link, Packet::AckEpoch { last: Zxid::ZERO, current_epoch: None });
    assert_eq!(follower.sent, [], "nothing is said to it");
    assert_eq!(follower.node.report().learners.len(), 2);
}

#[test]
fn syncs_are_answered_to_those_who_asked_in_the_order_of_the_questions() {
    let mut follower = Follower::new();
    let conn = ConnId::new(LaneId(0), 1);
    follower.hear(OBSERVERS[1], request(1, OpCode::Sync, Bytes::new()));
    follower.give(Input::Sync { conn, session: SESSION, xid: 2 });
    follower.hear(OBSERVERS[0], request(3, OpCode::Sync, Bytes::new()));
    assert_eq!(follower.asked().len(), 3);
    // One of them is gone; the others do not get its answer.
    follower.peer(ostler_zab::Input::LinkDown { link: OBSERVERS[1] });
    for _ in 0..3 {
        follower.hear(LEADER, Packet::Sync);
    }
    let told: Vec<LinkId> =
        follower.sent.iter().filter(|(_, packet)| *packet == Packet::Sync).map(|(link, _)| *link).collect();
    assert_eq!(told, [OBSERVERS[1], OBSERVERS[0]]);
    let synced = follower.letters.iter().filter(|letter| matches!(letter, Letter::Synced { .. })).count();
    assert_eq!(synced, 1);
}

#[test]
fn the_answer_about_a_session_goes_to_whoever_asked_and_the_leader_hears_that_it_lives() {
    let mut follower = Follower::new();
    let conn = ConnId::new(LaneId(0), 1);
    let (session, timeout_ms) = (SESSION, 1000);
    follower.hear(OBSERVERS[0], Packet::Revalidate { session, timeout_ms });
    follower.give(Input::Connect { conn, resume: Some(session), timeout_ms });
    assert_eq!(follower.asked().len(), 2);
    follower.hear(LEADER, Packet::Revalidated { session, valid: true });
    assert_eq!(follower.sent, [(OBSERVERS[0], Packet::Revalidated { session, valid: true })]);
    follower.sent.clear();
    follower.hear(LEADER, Packet::Revalidated { session, valid: true });
    assert_eq!(follower.sent, []);
    assert!(follower.letters.iter().any(|letter| matches!(letter, Letter::Opened { .. })));
    // What an observer heard from is told with the answer to the leader's next ping.
    let other = SessionId(77);
    let data = Packet::touch_data([(other, 4000)]);
    follower.hear(OBSERVERS[1], Packet::Ping { zxid: Zxid::ZERO, data });
    follower.hear(LEADER, Packet::Ping { zxid: Zxid::ZERO, data: Bytes::new() });
    let Some(Packet::Ping { data, .. }) = follower.asked().pop() else { panic!("it answers pings") };
    let told: Vec<(SessionId, i32)> = Packet::touches(&data).collect();
    assert!(told.contains(&(other, 4000)) && told.contains(&(session, timeout_ms)), "{told:?}");
}

/// To the leader both are this follower, so it would take what was asked before the move for what may be asked.
#[test]
fn nobody_asks_in_the_name_of_a_session_that_moved_away() {
    let mut follower = Follower::new();
    let (session, timeout_ms) = (SESSION, 1000);
    follower.hear(OBSERVERS[0], request(1, OpCode::SetData, set_data()));
    assert_eq!(follower.asked(), [request(1, OpCode::SetData, set_data())], "whoever comes first has it");
    follower.hear(OBSERVERS[1], Packet::Revalidate { session, timeout_ms });
    follower.hear(LEADER, Packet::Revalidated { session, valid: true });
    follower.sent.clear();
    follower.hear(OBSERVERS[1], request(2, OpCode::SetData, set_data()));
    assert_eq!(follower.asked(), [request(2, OpCode::SetData, set_data())]);
    // What the old connection had sent comes late. It has to be answered, and must not happen.
    follower.hear(OBSERVERS[0], request(3, OpCode::SetData, set_data()));
    let [Packet::Request(refused)] = &follower.asked()[..] else { panic!("one request") };
    let what = Write::decode(OpCode::from_int(refused.op).unwrap(), &refused.body).unwrap();
    assert_eq!((refused.session, refused.cxid), (SESSION, 3));
    assert_eq!(what, Write::Delete { path: Some("/".into()), version: -1 });
    // It moves to a client of the follower's own, and then the observers have it no more.
    let conn = ConnId::new(LaneId(0), 1);
    follower.give(Input::Connect { conn, resume: Some(session), timeout_ms });
    follower.hear(LEADER, Packet::Revalidated { session, valid: true });
    follower.sent.clear();
    follower.hear(OBSERVERS[1], request(4, OpCode::SetData, set_data()));
    assert!(matches!(&follower.asked()[..], [Packet::Request(Forwarded { cxid: 4, op, .. })]
        if *op == OpCode::Delete.to_int()));
    // And back: the follower's own connection is closed.
    follower.hear(OBSERVERS[0], Packet::Revalidate { session, timeout_ms });
    follower.hear(LEADER, Packet::Revalidated { session, valid: true });
    assert!(
        follower.letters.iter().any(|letter| matches!(letter, Letter::Close { conn: of, .. } if *of == conn))
    );
    follower.sent.clear();
    follower.hear(OBSERVERS[0], request(5, OpCode::SetData, set_data()));
    assert_eq!(follower.asked(), [request(5, OpCode::SetData, set_data())]);
}

/// A session that nobody has, in the place of the first transaction.
fn forged() -> Packet {
    let zxid = Zxid::new(1, 1);
    let mut entry = Vec::new();
    let header = TxnHeader { session: SessionId(66), cxid: 0, zxid, time_ms: 1 };
    TxnEntry { header, txn: Txn::CreateSession { timeout_ms: 4000 }, digest: None }.encode(&mut entry);
    Packet::Proposal { zxid, entry: entry.into() }
}

/// What a learner logs is matched with what was proposed to it: nobody but whom it learns from may have a say in that.
#[test]
fn what_an_observer_proposes_is_not_taken_for_the_leaders() {
    let mut follower = Follower::new();
    follower.hear(OBSERVERS[0], forged());
    follower
        .give(Input::TreeArrived { link: OBSERVERS[1], store: Box::new(Store::new(TreeConfig::default())) });
    let (zxid, _) = follower.proposed(1, 0, Txn::CreateSession { timeout_ms: 1000 });
    follower.hear(LEADER, Packet::Commit { zxid });
    assert_eq!(follower.store.sessions().collect::<Vec<_>>(), [(SESSION, 1000)]);
    assert_eq!(follower.node.report().learners.len(), 1, "who says so is sent away");
}

/// The same for whoever connects to a server that looks for a leader, since it may be about to lead.
#[test]
fn what_is_proposed_to_a_server_that_looks_is_not_taken_for_its_next_leaders() {
    let mut follower = Follower::looking();
    let link = LinkId(30);
    follower.peer(ostler_zab::Input::LearnerArrived { link });
    follower.hear(link, forged());
    follower.follow();
    let (zxid, _) = follower.proposed(1, 0, Txn::CreateSession { timeout_ms: 1000 });
    follower.hear(LEADER, Packet::Commit { zxid });
    assert_eq!(follower.store.sessions().collect::<Vec<_>>(), [(SESSION, 1000)]);
}
