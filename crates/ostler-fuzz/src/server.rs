//! A whole server without threads, files or sockets: what clients send, as they may send it.

use std::sync::Arc;

use ostler_node::gate::InFlight;
use ostler_node::{ConnId, Input, Lane, LaneId, LaneOutput, Node, NodeConfig, Now, Output};
use ostler_tree::{Store, TreeConfig};
use ostler_wire::client::connect::ConnectRequest;
use ostler_wire::frame::{self, Head};
use ostler_wire::txn::TxnEntry;
use ostler_wire::{OpCode, SessionId};

/// Bytes from clients. The bits of the first byte choose: after a good handshake; in small pieces; over two
/// connections in turn; as bodies of frames whose header is good (opcode, length in two bytes, body).
pub(crate) fn lane(input: &[u8]) {
    let Some((mode, bytes)) = input.split_first() else { return };
    let mut server = Server::start();
    let mut conns = vec![server.accept()];
    if mode & 4 == 4 {
        conns.push(server.accept());
    }
    if mode & 1 == 1 {
        for conn in &conns {
            server.receive(*conn, &handshake());
        }
    }
    let pieces: Vec<Vec<u8>> = if mode & 8 == 8 {
        requests(bytes)
    } else {
        let piece = if mode & 2 == 2 { 1 + usize::from(mode >> 4) * 16 } else { usize::MAX };
        bytes.chunks(piece).map(<[u8]>::to_vec).collect()
    };
    for (piece, conn) in pieces.iter().zip(conns.iter().cycle()) {
        server.receive(*conn, piece);
    }
    server.stop(&conns);
}

fn handshake() -> Vec<u8> {
    let mut hello = Vec::new();
    let at = frame::start(&mut hello);
    let request = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: 0,
        timeout_ms: 30_000,
        session: SessionId(0),
        password: &[0; 16],
        read_only: Some(false),
    };
    request.encode(&mut hello);
    frame::finish(&mut hello, at);
    hello
}

fn requests(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut xid = 0;
    while let [op, high, low, rest @ ..] = bytes {
        let length = (usize::from(*high) << 8 | usize::from(*low)).min(rest.len());
        let (body, rest) = rest.split_at(length);
        bytes = rest;
        xid += 1;
        let mut request = Vec::with_capacity(12 + body.len());
        let at = frame::start(&mut request);
        request.extend_from_slice(&i32::to_be_bytes(xid));
        let op = OpCode::ALL[usize::from(*op) % OpCode::ALL.len()];
        request.extend_from_slice(&op.to_int().to_be_bytes());
        request.extend_from_slice(body);
        frame::finish(&mut request, at);
        frames.push(request);
    }
    frames
}

/// The settings of a server that is told nothing.
pub(crate) fn config() -> NodeConfig {
    NodeConfig {
        tree: TreeConfig { extended_types: true, enforce_quota: true, ..TreeConfig::default() },
        ..NodeConfig::default()
    }
}

struct Server {
    now: Now,
    store: Store,
    node: Node,
    lane: Lane,
    in_flight: Arc<InFlight>,
}

impl Server {
    fn start() -> Self {
        let config = Arc::new(config());
        let now = Now { mono_ms: 1000, wall_ms: 1_700_000_000_000 };
        let store = Store::new(config.tree.clone());
        let node = Node::solo(Arc::clone(&config), &store, now);
        let in_flight = Arc::new(InFlight::default());
        let lane = Lane::new(LaneId(0), config, Arc::clone(&in_flight), now);
        Self { now, store, node, lane, in_flight }
    }

    fn accept(&mut self) -> ConnId {
        self.lane.accept(self.now, "127.0.0.1".to_owned(), 40_000)
    }

    fn receive(&mut self, conn: ConnId, bytes: &[u8]) {
        self.now.mono_ms += 1;
        self.now.wall_ms += 1;
        self.lane.receive(self.now, conn, bytes, &self.store);
        self.settle();
    }

    /// Carries on until nobody wants anything.
    fn settle(&mut self) {
        loop {
            let mut moved = false;
            while let Some(output) = self.lane.poll_output() {
                moved = true;
                match output {
                    LaneOutput::ToNode(input) => self.node.handle(self.now, input, &self.store),
                    LaneOutput::Word { conn, .. } => self.lane.answer_word(conn, b"imok"),
                    LaneOutput::Close { conn, .. } => {
                        self.flush(conn);
                        self.lane.remove(conn);
                    }
                }
            }
            while let Some(output) = self.node.poll_output() {
                moved = true;
                match output {
                    Output::Append { proposal, generation } => {
                        let entry = TxnEntry::decode(&proposal.bytes).expect("what is logged can be read");
                        assert_eq!(entry.header.zxid, proposal.zxid);
                        let persisted = Input::Persisted { zxid: proposal.zxid, generation };
                        self.node.handle(self.now, persisted, &self.store);
                    }
                    Output::Snapshot => self.node.handle(self.now, Input::SnapshotDone, &self.store),
                    Output::RollLog | Output::Apply => {}
                    Output::Send(_, batch) => self.lane.deliver(self.now, [batch], &self.store),
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
            while self.node.has_committed() {
                moved = true;
                let watching = self.lane.has_watches();
                for (_, batch) in self.node.apply(&mut self.store, &|_| watching) {
                    self.lane.deliver(self.now, [batch], &self.store);
                }
            }
            while let Some(conn) = self.lane.poll_dirty() {
                moved = true;
                self.flush(conn);
                self.lane.resume(self.now, conn, &self.store);
            }
            if !moved {
                return;
            }
        }
    }

    /// Takes everything that is to be sent.
    fn flush(&mut self, conn: ConnId) {
        let unsent = self.lane.unsent(conn);
        if unsent != b"imok" {
            let mut rest = unsent;
            while !rest.is_empty() {
                let Head::Frame { len } = frame::head(rest, usize::MAX >> 1) else {
                    panic!("what is sent is no whole frame: {rest:?}")
                };
                rest = &rest[4 + len..];
            }
        }
        let length = unsent.len();
        self.lane.sent(conn, length);
    }

    fn stop(mut self, conns: &[ConnId]) {
        let _ = self.lane.report();
        let check = self.store.digest_check();
        assert_eq!(check.mismatches, 0, "the digests of decided and applied transactions differ");
        for conn in conns {
            self.lane.disconnected(*conn);
        }
        self.settle();
        assert!(self.lane.is_empty() && !self.lane.has_watches() && self.in_flight.requests() == 0);
        // The sessions expire, and nothing that belongs to them stays.
        for _ in 0..3 {
            self.now.mono_ms += 20_000;
            self.now.wall_ms += 20_000;
            self.node.handle_timeout(self.now, &self.store);
            self.settle();
            self.lane.handle_timeout(self.now, &self.store);
            self.settle();
        }
    }
}
