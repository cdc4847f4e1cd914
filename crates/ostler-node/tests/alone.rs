//! What a member does for clients without the others: reads while there is no leader, and sessions that only it knows
//! of; and what it does for clients whose requests are on their way to the leader.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use bytes::Bytes;
use ostler_node::config::MemberServices;
use ostler_node::gate::InFlight;
use ostler_node::{
    ConnId, Input, Lane, LaneBatch, LaneId, LaneOutput, Node, NodeConfig, Now, Output, Service,
};
use ostler_tree::{Store, TreeConfig};
use ostler_wire::client::connect::{ConnectRequest, ConnectResponse};
use ostler_wire::client::encode;
use ostler_wire::client::read::Read;
use ostler_wire::client::reply::ReplyHeader;
use ostler_wire::client::write::{Create, Write};
use ostler_wire::jute::Reader;
use ostler_wire::quorum::{Forwarded, LearnerInfo, Members, Notification, Packet, PeerState, Vote};
use ostler_wire::txn::{CreateKind, CreateTxn, Txn, TxnEntry, TxnHeader};
use ostler_wire::{Acl, Code, OpCode, ServerId, SessionId, Zxid, frame};
use ostler_zab::{Epochs, History, Limit, LinkId, Membership, Observing, PeerConfig};

const LINK: LinkId = LinkId(1);

/// Server 1 of three, without threads: the test moves it.
struct Member {
    node: Node,
    lane: Lane,
    store: Store,
    batches: Vec<LaneBatch>,
    /// What was sent to the leader.
    sent: Vec<Packet>,
    now: Now,
}

impl Member {
    fn new(services: MemberServices) -> Self {
        let config = Arc::new(NodeConfig {
            tick_ms: 100,
            min_session_timeout_ms: 200,
            max_session_timeout_ms: 2000,
            member: true,
            services,
            ..NodeConfig::default()
        });
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
        let node = Node::member(Arc::clone(&config), peer, membership, epochs, history, &store, now);
        let lane = Lane::new(LaneId(0), config, Arc::new(InFlight::default()), now);
        let mut member = Self { node, lane, store, batches: Vec::new(), sent: Vec::new(), now };
        member.run();
        member
    }

    /// Everything moves until nothing does; the disk does at once what it is asked for.
    fn run(&mut self) {
        loop {
            let mut inputs = Vec::new();
            while let Some(output) = self.lane.poll_output() {
                match output {
                    LaneOutput::ToNode(input) => inputs.push(input),
                    LaneOutput::Close { conn, .. } => self.lane.remove(conn),
                    LaneOutput::Word { .. } => unreachable!("nobody asks"),
                }
            }
            while let Some(output) = self.node.poll_output() {
                match output {
                    Output::Append { proposal, generation } => {
                        inputs.push(Input::Persisted { zxid: proposal.zxid, generation });
                    }
                    Output::Send(_, batch) => self.batches.push(batch),
                    Output::Peer(ostler_zab::Output::WriteEpoch { which, epoch, generation }) => {
                        inputs.push(Input::Peer(ostler_zab::Input::EpochWritten {
                            which,
                            epoch,
                            generation,
                        }));
                    }
                    Output::Peer(ostler_zab::Output::Connect { generation, .. }) => {
                        let reached = ostler_zab::Input::LeaderReached { link: LINK, generation };
                        inputs.push(Input::Peer(reached));
                    }
                    Output::Peer(ostler_zab::Output::Send { packet, .. }) => self.sent.push(packet),
                    _ => {}
                }
            }
            let idle = inputs.is_empty() && self.batches.is_empty();
            for input in inputs {
                self.node.handle(self.now, input, &self.store);
            }
            while self.node.has_committed() {
                let batches = self.node.apply(&mut self.store, &|_| true);
                self.batches.extend(batches.into_iter().map(|(_, batch)| batch));
            }
            let batches = std::mem::take(&mut self.batches);
            self.lane.deliver(self.now, batches, &self.store);
            if idle {
                return;
            }
        }
    }

    fn pass(&mut self, ms: u64) {
        let until = self.now.mono_ms + ms;
        while self.now.mono_ms < until {
            self.now.mono_ms = self.node.poll_timeout().0.clamp(self.now.mono_ms + 1, until);
            self.node.handle_timeout(self.now, &self.store);
            self.run();
        }
    }

    fn packet(&mut self, packet: Packet) {
        let input = Input::Peer(ostler_zab::Input::Packet { link: LINK, packet });
        self.node.handle(self.now, input, &self.store);
        self.run();
    }

    fn hear(&mut self, from: i64, state: PeerState) {
        let vote = Vote { leader: ServerId(2), zxid: Zxid::ZERO, epoch: 1 };
        let notification = Notification { state, vote, round: 1, members: None };
        let heard = ostler_zab::Input::Notification { from: ServerId(from), notification };
        self.node.handle(self.now, Input::Peer(heard), &self.store);
        self.run();
    }

    /// Server 2 leads.
    fn follow(&mut self) {
        self.hear(2, PeerState::Leading);
        self.hear(3, PeerState::Following);
        self.packet(Packet::LeaderInfo { epoch: 1 });
        self.packet(Packet::Diff { zxid: Zxid::ZERO });
        self.packet(Packet::NewLeader { zxid: Zxid::new(1, 0), members: None });
        self.packet(Packet::UpToDate);
        assert_eq!(self.node.report().service, Service::Learning);
        self.sent.clear();
    }

    /// The leader's transaction, committed unless it is said to wait.
    fn propose(&mut self, counter: u32, session: SessionId, cxid: i32, txn: Txn, commit: bool) {
        let zxid = Zxid::new(1, counter);
        let header = TxnHeader { session, cxid, zxid, time_ms: 1 };
        let mut entry = Vec::new();
        TxnEntry { header, txn, digest: None }.encode(&mut entry);
        self.packet(Packet::Proposal { zxid, entry: entry.into() });
        if commit {
            self.packet(Packet::Commit { zxid });
        }
    }

    fn connect(&mut self, session: SessionId, read_only: bool) -> (ConnId, Option<ConnectResponse>) {
        let conn = self.lane.accept(self.now, "127.0.0.1".into(), 1);
        let mut bytes = Vec::new();
        let at = frame::start(&mut bytes);
        ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: 0,
            timeout_ms: 500,
            session,
            password: &ostler_wire::client::connect::session_password(session),
            read_only: Some(read_only),
        }
        .encode(&mut bytes);
        frame::finish(&mut bytes, at);
        self.lane.receive(self.now, conn, &bytes, &self.store);
        self.run();
        let out = self.lane.unsent(conn).to_vec();
        self.lane.sent(conn, out.len());
        let response = out
            .get(4..)
            .map(|body| ConnectResponse::decode(&mut Reader::new(body)).expect("the answer to a handshake"));
        (conn, response)
    }

    fn open(&mut self) -> (ConnId, SessionId) {
        let (conn, response) = self.connect(SessionId(0), false);
        (conn, response.expect("an answer").session)
    }

    fn write(&mut self, conn: ConnId, xid: i32, write: &Write) {
        let mut bytes = Vec::new();
        encode::encode_frame(xid, write.op(), &mut bytes, |out| write.encode(out));
        self.lane.receive(self.now, conn, &bytes, &self.store);
        self.run();
    }

    fn sync(&mut self, conn: ConnId, xid: i32) {
        let mut bytes = Vec::new();
        let read = Read::Sync { path: Some("/".into()) };
        encode::encode_frame(xid, OpCode::Sync, &mut bytes, |out| read.encode(out));
        self.lane.receive(self.now, conn, &bytes, &self.store);
        self.run();
    }

    fn get(&mut self, conn: ConnId, xid: i32) {
        let mut bytes = Vec::new();
        let read = Read::GetData { path: "/".into(), watch: false };
        encode::encode_frame(xid, OpCode::GetData, &mut bytes, |out| read.encode(out));
        self.lane.receive(self.now, conn, &bytes, &self.store);
        self.run();
    }

    /// The xids and errors of all answers.
    fn heard(&mut self, conn: ConnId) -> Vec<(i32, i32)> {
        let bytes = self.lane.unsent(conn).to_vec();
        self.lane.sent(conn, bytes.len());
        let mut rest = bytes.as_slice();
        let mut heard = Vec::new();
        while let Some((len, body)) = rest.split_first_chunk::<4>() {
            let (frame, after) = body.split_at(usize::try_from(i32::from_be_bytes(*len)).unwrap());
            let header = ReplyHeader::decode(&mut Reader::new(frame)).unwrap();
            heard.push((header.xid, header.err));
            rest = after;
        }
        heard
    }

    fn requests(&mut self) -> Vec<(i32, Option<OpCode>, SessionId)> {
        let sent = std::mem::take(&mut self.sent);
        let requests = sent.into_iter().filter_map(|packet| match packet {
            Packet::Request(Forwarded { session, cxid, op, .. }) => {
                Some((cxid, OpCode::from_int(op), session))
            }
            _ => None,
        });
        requests.collect()
    }
}

fn create(path: &str, flags: i32) -> Write {
    let acl = Some(Acl::open().into_iter().map(Into::into).collect());
    Write::Create(Create { op: OpCode::Create, path: Some(path.into()), data: None, acl, flags, ttl: -1 })
}

fn created(path: &str, ephemeral: bool) -> Txn {
    let kind = CreateKind::Plain { second: false, ephemeral };
    let (data, acl) = (Some(Bytes::new()), None);
    Txn::Create(CreateTxn { kind, path: path.into(), data, acl, parent_cversion: 1 })
}

#[test]
fn reads_are_served_without_a_leader_to_those_who_ask_for_it() {
    let mut member = Member::new(MemberServices { read_only_mode: true, ..MemberServices::default() });
    assert_eq!(member.connect(SessionId(0), true).1, None, "it looks for a leader first");
    member.pass(2500);
    assert_eq!(member.node.report().service, Service::ReadOnly);
    assert_eq!(member.connect(SessionId(0), false).1, None);
    assert_eq!(member.connect(SessionId(2 << 56), true).1, None, "who knows whether it lives");
    let (conn, response) = member.connect(SessionId(0), true);
    let response = response.expect("a session");
    assert_eq!((response.read_only, response.session.0 >> 56), (Some(true), 1));

    member.get(conn, 1);
    member.write(conn, 2, &create("/x", 0));
    member.sync(conn, 3);
    let refused = Code::NotReadOnly.to_int();
    assert_eq!(member.heard(conn), [(1, 0), (2, refused), (3, refused)]);
    // The session moves to another connection, and is closed by its client.
    let (again, resumed) = member.connect(response.session, true);
    assert_eq!(resumed.expect("an answer").session, response.session);
    member.write(again, 1, &Write::CloseSession);
    assert_eq!(member.heard(again), [], "the connection is gone with its answer");

    let (other, _) = member.connect(SessionId(0), true);
    member.follow();
    member.get(other, 1);
    assert_eq!(member.heard(other), [], "closed when there was a leader");
    member.node.handle(member.now, Input::Peer(ostler_zab::Input::LinkDown { link: LINK }), &member.store);
    member.run();
    assert_eq!(member.node.report().service, Service::None, "and then patience again");
}

#[test]
fn a_local_session_is_nobody_elses_business() {
    let mut member = Member::new(MemberServices { local_sessions: true, ..MemberServices::default() });
    member.follow();
    let (conn, session) = member.open();
    assert_eq!((member.requests(), member.node.report().local_sessions), (vec![], 1));
    // Its writes go to the leader as those of any other.
    member.write(conn, 1, &create("/x", 0));
    assert_eq!(member.requests(), [(1, Some(OpCode::Create), session)]);
    member.propose(1, session, 1, created("/x", false), true);
    assert_eq!(member.heard(conn), [(1, 0)]);
    // An ephemeral node is not for it; the leader, which does not know it, says so in other words.
    member.write(conn, 2, &create("/e", 1));
    let code = Code::SessionExpired.to_int();
    member.propose(2, session, 2, Txn::Error { code }, true);
    assert_eq!(member.heard(conn), [(2, Code::EphemeralOnLocalSession.to_int())]);
    // It lives its time, and is closed here.
    member.pass(300);
    member.get(conn, 3);
    member.pass(400);
    assert_eq!((member.heard(conn), member.node.report().local_sessions), (vec![(3, 0)], 1));
    member.requests();
    member.write(conn, 4, &Write::CloseSession);
    assert_eq!((member.requests(), member.node.report().local_sessions), (vec![], 0));
    let (_, session) = member.open();
    member.pass(1000);
    assert_eq!((member.requests(), member.node.report().local_sessions), (vec![], 0));
    member.connect(session, false);
    let asked = |packet: &Packet| matches!(packet, Packet::Revalidate { .. });
    assert!(member.sent.iter().any(asked), "what is not known here the leader may know");
}

#[test]
fn a_local_session_that_wants_an_ephemeral_node_becomes_a_global_one() {
    let services =
        MemberServices { local_sessions: true, local_sessions_upgrading: true, ..MemberServices::default() };
    let mut member = Member::new(services);
    member.follow();
    let (conn, session) = member.open();
    member.write(conn, 7, &create("/e", 1));
    assert_eq!(
        member.requests(),
        [(0, Some(OpCode::CreateSession), session), (7, Some(OpCode::Create), session)]
    );
    assert_eq!(member.node.report().local_sessions, 0);
    member.propose(1, session, 0, Txn::CreateSession { timeout_ms: 500 }, true);
    member.propose(2, session, 7, created("/e", true), true);
    assert_eq!(member.heard(conn), [(7, 0)]);
    assert_eq!(member.store.ephemerals_count(), 1);
    // From now on the leader looks after its time, and closes it.
    member.pass(3000);
    member.write(conn, 8, &Write::CloseSession);
    assert_eq!(member.requests(), [(8, Some(OpCode::CloseSession), session)]);
}

#[test]
fn a_sync_behind_a_read_behind_a_write_is_answered() {
    let mut member = Member::new(MemberServices::default());
    member.follow();
    let (conn, _) = member.connect(SessionId(0), false);
    let session = member.requests()[0].2;
    member.propose(1, session, 0, Txn::CreateSession { timeout_ms: 500 }, true);
    let bytes = member.lane.unsent(conn).len();
    member.lane.sent(conn, bytes);
    member.write(conn, 1, &create("/x", 0));
    member.get(conn, 2);
    member.sync(conn, 3);
    member.propose(2, session, 1, created("/x", false), false);
    // Commit and SYNC arrive together.
    for packet in [Packet::Commit { zxid: Zxid::new(1, 2) }, Packet::Sync] {
        let input = Input::Peer(ostler_zab::Input::Packet { link: LINK, packet });
        member.node.handle(member.now, input, &member.store);
    }
    member.run();
    assert_eq!(member.heard(conn), [(1, 0), (2, 0), (3, 0)]);
}

#[test]
fn a_leader_may_leave_clients_to_the_others() {
    let mut member = Member::new(MemberServices { leader_serves: false, ..MemberServices::default() });
    let vote = Vote { leader: ServerId(1), zxid: Zxid::ZERO, epoch: 0 };
    for from in [2, 3].map(ServerId) {
        let notification = Notification { state: PeerState::Looking, vote, round: 1, members: None };
        let heard = ostler_zab::Input::Notification { from, notification };
        member.node.handle(member.now, Input::Peer(heard), &member.store);
        member.run();
    }
    member.pass(300);
    let arrived = Input::Peer(ostler_zab::Input::LearnerArrived { link: LINK });
    member.node.handle(member.now, arrived, &member.store);
    let info = LearnerInfo { server: Some(ServerId(2)), protocol: 0x10000, members_version: 0 };
    member.packet(Packet::FollowerInfo { accepted_epoch: 0, info });
    member.packet(Packet::AckEpoch { last: Zxid::ZERO, current_epoch: Some(0) });
    member.packet(Packet::Ack { zxid: Zxid::new(1, 0) });
    let report = member.node.report();
    assert_eq!((report.service, report.serves_clients), (Service::Leading, false));
    assert_eq!(member.connect(SessionId(0), true).1, None);
}
