//! What a client sees in which order, and what the node hears of a client that goes away: regressions that the
//! simulator found.

use std::sync::Arc;

use ostler_node::gate::InFlight;
use ostler_node::{ConnId, Input, Lane, LaneBatch, LaneId, LaneOutput, Node, NodeConfig, Now, Output};
use ostler_tree::{Store, TreeConfig};
use ostler_wire::client::connect::ConnectRequest;
use ostler_wire::client::encode;
use ostler_wire::client::read::Read;
use ostler_wire::client::reply::ReplyHeader;
use ostler_wire::client::write::{Create, Write};
use ostler_wire::jute::Reader;
use ostler_wire::txn::{Txn, TxnEntry};
use ostler_wire::{Acl, OpCode, SessionId, Xid, frame};

/// A server without threads: the test moves it.
struct Server {
    node: Node,
    lane: Lane,
    store: Store,
    batches: Vec<LaneBatch>,
    appended: Vec<(TxnEntry, ostler_zab::Generation)>,
    now: Now,
}

impl Server {
    fn new() -> Self {
        let config = Arc::new(NodeConfig {
            tick_ms: 100,
            min_session_timeout_ms: 200,
            max_session_timeout_ms: 2000,
            ..NodeConfig::default()
        });
        let store = Store::new(TreeConfig::default());
        let now = Now { mono_ms: 1000, wall_ms: 1_700_000_000_000 };
        Self {
            node: Node::solo(Arc::clone(&config), &store, now),
            lane: Lane::new(LaneId(0), config, Arc::new(InFlight::default()), now),
            store,
            batches: Vec::new(),
            appended: Vec::new(),
            now,
        }
    }

    /// What the lane wants goes to the node, and what the node wants is gathered.
    fn exchange(&mut self) {
        while let Some(output) = self.lane.poll_output() {
            if let LaneOutput::ToNode(input) = output {
                self.node.handle(self.now, input, &self.store);
            }
        }
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Append { proposal, generation } => {
                    self.appended.push((
                        TxnEntry::decode(&proposal.bytes).expect("what was encoded decodes"),
                        generation,
                    ));
                }
                Output::Send(_, batch) => self.batches.push(batch),
                Output::Apply | Output::RollLog | Output::Snapshot => {}
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
    }

    /// Everything that was appended becomes durable and is applied; the lane is told nothing yet.
    fn apply(&mut self) {
        if let Some((entry, generation)) = self.appended.last() {
            let input = Input::Persisted { zxid: entry.header.zxid, generation: *generation };
            self.node.handle(self.now, input, &self.store);
        }
        while self.node.has_committed() {
            let batches = self.node.apply(&mut self.store, &|_| true);
            self.batches.extend(batches.into_iter().map(|(_, batch)| batch));
        }
        self.exchange();
    }

    fn deliver(&mut self) {
        while !self.batches.is_empty() {
            let batches = std::mem::take(&mut self.batches);
            self.lane.deliver(self.now, batches, &self.store);
            self.exchange();
            self.apply();
        }
    }

    fn connect(&mut self) -> ConnId {
        let conn = self.lane.accept(self.now, "127.0.0.1".into(), 1);
        let mut bytes = Vec::new();
        let at = frame::start(&mut bytes);
        ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: 0,
            timeout_ms: 500,
            session: SessionId(0),
            password: &[0; 16],
            read_only: Some(false),
        }
        .encode(&mut bytes);
        frame::finish(&mut bytes, at);
        self.lane.receive(self.now, conn, &bytes, &self.store);
        self.exchange();
        self.apply();
        self.deliver();
        let answer = self.lane.unsent(conn).len();
        assert!(answer > 0, "the handshake is answered");
        self.lane.sent(conn, answer);
        conn
    }

    fn send(&mut self, conn: ConnId, xid: i32, op: OpCode, body: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = Vec::new();
        encode::encode_frame(xid, op, &mut bytes, body);
        self.lane.receive(self.now, conn, &bytes, &self.store);
        self.exchange();
    }

    fn set(&mut self, conn: ConnId, xid: i32, path: &str) {
        let write = Write::SetData { path: Some(path.into()), data: None, version: -1 };
        self.send(conn, xid, OpCode::SetData, |out| write.encode(out));
    }

    fn get(&mut self, conn: ConnId, xid: i32, path: &str, watch: bool) {
        let read = Read::GetData { path: path.into(), watch };
        self.send(conn, xid, OpCode::GetData, |out| read.encode(out));
    }

    /// The xids and zxids of all frames that wait to be sent.
    fn heard(&mut self, conn: ConnId) -> Vec<(i32, i64)> {
        let bytes = self.lane.unsent(conn).to_vec();
        self.lane.sent(conn, bytes.len());
        let mut rest = bytes.as_slice();
        let mut heard = Vec::new();
        while let Some((len, body)) = rest.split_first_chunk::<4>() {
            let (frame, after) = body.split_at(usize::try_from(i32::from_be_bytes(*len)).expect("a length"));
            let header = ReplyHeader::decode(&mut Reader::new(frame)).expect("a header");
            heard.push((header.xid, header.zxid.0));
            rest = after;
        }
        heard
    }
}

/// A server with a node `/x` and a client that watches it, and another client.
fn with_watch() -> (Server, ConnId, ConnId) {
    let mut server = Server::new();
    let (a, b) = (server.connect(), server.connect());
    let create = Write::Create(Create {
        op: OpCode::Create,
        path: Some("/x".into()),
        data: None,
        acl: Some(Acl::open().into_iter().map(Into::into).collect()),
        flags: 0,
        ttl: -1,
    });
    server.send(b, 1, OpCode::Create, |out| create.encode(out));
    server.apply();
    server.deliver();
    server.heard(b);
    server.get(a, 1, "/x", true);
    assert_eq!(server.heard(a), [(1, 3)]);
    (server, a, b)
}

#[test]
fn a_read_behind_a_write_hears_of_every_change_that_it_can_see() {
    let (mut server, a, b) = with_watch();
    // The read waits behind the write; before both are told, another client changes what is watched.
    server.set(a, 2, "/");
    server.get(a, 3, "/x", false);
    server.set(b, 2, "/x");
    server.apply();
    server.deliver();
    assert_eq!(server.heard(a), [(2, 4), (Xid::NOTIFICATION.0, 5), (3, 5)]);
}

#[test]
fn events_of_later_batches_come_before_a_read_too() {
    let (mut server, a, b) = with_watch();
    server.set(a, 2, "/");
    server.get(a, 3, "/x", false);
    server.apply();
    server.set(b, 2, "/x");
    server.apply();
    // Two batches lie in the inbox when the lane has its turn.
    assert!(server.batches.len() >= 2);
    server.deliver();
    assert_eq!(server.heard(a), [(2, 4), (Xid::NOTIFICATION.0, 5), (3, 5)]);
}

#[test]
fn a_read_does_not_see_the_write_behind_it() {
    let (mut server, a, _) = with_watch();
    server.set(a, 2, "/");
    server.get(a, 3, "/x", false);
    server.set(a, 4, "/x");
    server.apply();
    server.deliver();
    assert_eq!(server.heard(a), [(2, 4), (3, 4), (Xid::NOTIFICATION.0, 5), (4, 5)]);
}

#[test]
fn a_session_lives_its_timeout_from_the_last_word_of_a_connection_that_is_gone() {
    let mut server = Server::new();
    let conn = server.connect();
    let connected_ms = server.now.mono_ms;
    // Heard shortly before the first deadline, and then the connection breaks.
    server.now.mono_ms += 450;
    server.get(conn, 1, "/", false);
    server.lane.disconnected(conn);
    server.lane.remove(conn);
    server.exchange();
    let closed = loop {
        assert!(server.now.mono_ms < connected_ms + 5000, "it never expires");
        server.now.mono_ms = server.now.mono_ms.max(server.node.poll_timeout().0);
        server.node.handle_timeout(server.now, &server.store);
        server.exchange();
        server.deliver();
        let closes = |(entry, _): &(TxnEntry, _)| matches!(entry.txn, Txn::CloseSession { .. });
        if server.appended.iter().any(closes) {
            break server.now.mono_ms;
        }
    };
    assert!(closed >= connected_ms + 450 + 500, "expired after {} ms", closed - connected_ms);
}

/// ZOOKEEPER-1412: the answer to a read carried the zxid of what the client had asked for before. A client remembers the
/// newest one that it saw, sends its watches with it when it connects again, and missed events or had them twice.
#[test]
fn every_answer_carries_the_zxid_that_its_server_has_reached() {
    let (mut server, a, b) = with_watch();
    for xid in 2..6 {
        server.set(b, xid, "/");
        server.apply();
        server.deliver();
    }
    assert_eq!(server.heard(b), [(2, 4), (3, 5), (4, 6), (5, 7)]);
    // The reader wrote nothing, and what it read did not change.
    server.get(a, 2, "/x", false);
    assert_eq!(server.heard(a), [(2, 7)]);
    server.get(b, 6, "/x", false);
    // A read that fails, and one behind a write that fails.
    server.get(a, 3, "/none", false);
    server.set(a, 4, "/none");
    server.get(a, 5, "/x", false);
    server.apply();
    server.deliver();
    assert_eq!(server.heard(a), [(3, 7), (4, 8), (5, 8)]);
    assert_eq!(server.heard(b), [(6, 7)]);
    server.get(b, 7, "/x", false);
    assert_eq!(server.heard(b), [(7, 8)]);
}
