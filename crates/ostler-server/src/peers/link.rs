//! One connection on the learner port: what is to be sent, in order, with a bound; packets, a tree and parts of the log
//! among them, which are written slice by slice so that neither memory nor the store is held for them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use ostler_node::Input;
use ostler_node::tree_stream::{Progress, TreeReceiver, TreeSender};
use ostler_tree::Store;
use ostler_wire::quorum::{Packet, PacketStream, Side};
use ostler_wire::{ServerId, Zxid};
use ostler_zab::LinkId;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use tracing::{debug, info};

use super::{PeersConfig, log_part};
use crate::inbox::NodeLetter;

/// The least room for what arrives.
const READ_BYTES: usize = 64 << 10;

/// What is to be sent.
enum Item {
    Bytes(Vec<u8>),
    Tree(Zxid),
    /// What the log on disk holds behind the first and up to the second.
    Log(Zxid, Zxid),
}

/// One connection.
pub(super) struct Link {
    id: LinkId,
    /// What this side is.
    side: Side,
    /// Who the learner at the other end says that it is.
    learner: Cell<Option<ServerId>>,
    queue: RefCell<VecDeque<Item>>,
    unsent: Cell<usize>,
    /// The last transaction of which a part may be in the tree that was sent.
    in_tree: Cell<Zxid>,
    bell: Notify,
}

impl Link {
    pub(super) fn new(id: LinkId, side: Side) -> Self {
        Self {
            id,
            side,
            learner: Cell::new(None),
            queue: RefCell::default(),
            unsent: Cell::new(0),
            in_tree: Cell::new(Zxid::ZERO),
            bell: Notify::new(),
        }
    }

    /// Queues a packet. `false` if the other side is too far behind.
    pub(super) fn send(&self, packet: &Packet, max_unsent: usize) -> bool {
        self.tell_of_synchronisation(packet);
        let mut queue = self.queue.borrow_mut();
        if !matches!(queue.back(), Some(Item::Bytes(_))) {
            queue.push_back(Item::Bytes(Vec::new()));
        }
        let Some(Item::Bytes(bytes)) = queue.back_mut() else { return false };
        let before = bytes.len();
        packet.behind_tree(self.in_tree.get()).encode(self.side, bytes);
        self.unsent.set(self.unsent.get() + bytes.len() - before);
        self.bell.notify_one();
        self.unsent.get() <= max_unsent
    }

    pub(super) fn send_tree(&self, zxid: Zxid) {
        self.queue.borrow_mut().push_back(Item::Tree(zxid));
        self.bell.notify_one();
    }

    pub(super) fn send_log(&self, after: Zxid, upto: Zxid) {
        self.queue.borrow_mut().push_back(Item::Log(after, upto));
        self.bell.notify_one();
    }

    /// Reads and writes until the connection ends.
    pub(super) async fn run(self: Rc<Self>, config: Rc<PeersConfig>, stream: TcpStream) {
        let (read, write) = stream.into_split();
        let end = tokio::select! {
            end = self.read(&config, read) => end,
            end = self.write(&config, write) => end,
        };
        if let Err(error) = end {
            debug!(link = self.id.0, %error, "a connection between servers ended");
        }
    }

    /// One line for whoever wonders how a member came back.
    fn tell_of_synchronisation(&self, packet: &Packet) {
        let (way, zxid) = match packet {
            Packet::Diff { zxid } => ("DIFF", zxid),
            Packet::Trunc { zxid } => ("TRUNC", zxid),
            Packet::Snap { zxid } => ("SNAP", zxid),
            _ => return,
        };
        match self.side {
            Side::Learner => info!(way, %zxid, "the leader brings this server up to date"),
            Side::Master => {
                let server = self.learner.get().map_or_else(|| "?".to_owned(), |server| server.to_string());
                info!(way, %zxid, server, "bringing a learner up to date");
            }
        }
    }

    async fn write(&self, config: &PeersConfig, mut stream: OwnedWriteHalf) -> std::io::Result<()> {
        loop {
            let next = self.queue.borrow_mut().pop_front();
            match next {
                None => self.bell.notified().await,
                Some(Item::Bytes(bytes)) => {
                    stream.write_all(&bytes).await?;
                    self.unsent.set(self.unsent.get() - bytes.len());
                }
                Some(Item::Tree(zxid)) => {
                    let on_slice = || config.tell(ostler_zab::Input::Heard { link: self.id });
                    self.in_tree.set(write_tree(&config.store, &mut stream, zxid, on_slice).await?);
                    config.tell(ostler_zab::Input::SnapshotSent { link: self.id });
                }
                Some(Item::Log(after, upto)) => {
                    log_part::write(config, &mut stream, after, upto, self.in_tree.get()).await?;
                }
            }
        }
    }

    async fn read(&self, config: &PeersConfig, mut stream: OwnedReadHalf) -> std::io::Result<()> {
        let from = match self.side {
            Side::Learner => Side::Master,
            Side::Master => Side::Learner,
        };
        let mut packets = PacketStream::new(from, config.max_packet);
        let mut letters = Vec::new();
        loop {
            while let Some(packet) = packets.read().map_err(invalid)? {
                self.tell_of_synchronisation(&packet);
                if let Packet::FollowerInfo { info, .. } | Packet::ObserverInfo { info, .. } = &packet {
                    self.learner.set(info.server);
                }
                let tree = match packet {
                    Packet::Snap { zxid } => Some(zxid),
                    _ => None,
                };
                letters.push(NodeLetter::Input(Input::Peer(ostler_zab::Input::Packet {
                    link: self.id,
                    packet,
                })));
                if let Some(zxid) = tree {
                    config.node.push_all(letters.drain(..));
                    self.read_tree(config, &mut stream, &mut packets, zxid).await?;
                }
            }
            if !letters.is_empty() {
                config.node.push_all(letters.drain(..));
            }
            packets.buffer_mut().reserve(READ_BYTES);
            if stream.read_buf(packets.buffer_mut()).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn read_tree(
        &self,
        config: &PeersConfig,
        stream: &mut OwnedReadHalf,
        packets: &mut PacketStream,
        zxid: Zxid,
    ) -> std::io::Result<()> {
        let mut receiver = TreeReceiver::new(config.tree.clone(), config.max_packet);
        loop {
            let buffer = packets.buffer_mut();
            match receiver.feed(buffer).map_err(invalid)? {
                Progress::Done { used } => {
                    let _ = buffer.split_to(used);
                    break;
                }
                Progress::Wanted => buffer.clear(),
            }
            config.tell(ostler_zab::Input::Heard { link: self.id });
            let buffer = packets.buffer_mut();
            buffer.reserve(READ_BYTES);
            if stream.read_buf(buffer).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        let store = Box::new(receiver.finish(zxid).map_err(invalid)?);
        config.node.push(NodeLetter::Input(Input::TreeArrived { link: self.id, store }));
        Ok(())
    }
}

/// Writes the tree as it is once it has reached `zxid`. It goes on changing meanwhile; what it has reached in the end
/// is the answer. Whoever takes a slice is alive, however long the whole may take.
async fn write_tree(
    store: &RwLock<Store>,
    stream: &mut (impl AsyncWrite + Unpin),
    zxid: Zxid,
    on_slice: impl Fn(),
) -> std::io::Result<Zxid> {
    let store = || store.read().unwrap_or_else(PoisonError::into_inner);
    while store().last_zxid() < zxid {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut sender = TreeSender::new(&store());
    let mut slice = Vec::new();
    loop {
        slice.clear();
        let (is_last, reached) = {
            let store = store();
            (sender.next(&store, &mut slice), store.last_zxid())
        };
        stream.write_all(&slice).await?;
        on_slice();
        if is_last {
            return Ok(reached);
        }
    }
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use ostler_tree::TreeConfig;
    use ostler_wire::SessionId;
    use ostler_wire::txn::{DIGEST_VERSION, Txn, TxnDigest, TxnEntry, TxnHeader};

    use super::*;

    /// A store with so many sessions besides its first nodes.
    fn store(sessions: i64) -> RwLock<Store> {
        let mut store = Store::new(TreeConfig::default());
        for zxid in 1..=sessions {
            let header = TxnHeader { session: SessionId(zxid), zxid: Zxid(zxid), ..TxnHeader::default() };
            let txn = Txn::CreateSession { timeout_ms: 4_000 };
            store.apply(&TxnEntry { header, txn, digest: None }, &mut Vec::new());
        }
        RwLock::new(store)
    }

    #[test]
    fn a_tree_is_written_to_its_end_and_once_whether_it_takes_one_slice_or_many() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        for sessions in [0, 3, 2_000] {
            let store = store(sessions);
            // Room for the tree and no more: what goes on writing meets the end.
            let mut room = vec![0; 64 << 10];
            let mut stream = std::io::Cursor::new(room.as_mut_slice());
            runtime.block_on(write_tree(&store, &mut stream, Zxid(sessions), || ())).unwrap();
            let written = usize::try_from(stream.position()).unwrap();
            let mut receiver = TreeReceiver::new(TreeConfig::default(), 1 << 20);
            assert_eq!(receiver.feed(&room[..written]), Ok(Progress::Done { used: written }), "{sessions}");
            assert_eq!(receiver.finish(Zxid(sessions)).unwrap().session_count(), sessions as usize);
        }
    }

    fn proposal(counter: i64, digest: Option<i64>) -> Packet {
        let header = TxnHeader { zxid: Zxid(counter), ..TxnHeader::default() };
        let digest = digest.map(|digest| TxnDigest { version: DIGEST_VERSION, digest });
        let mut entry = Vec::new();
        TxnEntry { header, txn: Txn::CreateSession { timeout_ms: 4_000 }, digest }.encode(&mut entry);
        Packet::Proposal { zxid: Zxid(counter), entry: entry.into() }
    }

    fn digests(bytes: &[u8]) -> Vec<Option<i64>> {
        let mut packets = PacketStream::new(Side::Master, 1 << 20);
        packets.buffer_mut().extend_from_slice(bytes);
        let mut found = Vec::new();
        while let Some(packet) = packets.read().unwrap() {
            let Packet::Proposal { entry, .. } = packet else { panic!("{packet:?}") };
            found.push(TxnEntry::decode(&entry).unwrap().digest.map(|digest| digest.digest));
        }
        found
    }

    #[test]
    fn a_learner_gets_no_digest_that_the_tree_it_was_sent_cannot_have() {
        let link = Link::new(LinkId(1), Side::Master);
        assert!(link.send(&proposal(1, Some(11)), 1 << 20));
        link.send_tree(Zxid(1));
        // While the tree was on its way the store reached 4.
        link.in_tree.set(Zxid(4));
        for counter in 2..=5 {
            assert!(link.send(&proposal(counter, Some(counter + 10)), 1 << 20));
        }
        assert!(link.send(&proposal(6, None), 1 << 20));
        let mut queue = link.queue.borrow_mut();
        assert!(matches!(queue.pop_front(), Some(Item::Bytes(bytes)) if digests(&bytes) == [Some(11)]));
        assert!(matches!(queue.pop_front(), Some(Item::Tree(Zxid(1)))));
        let Some(Item::Bytes(bytes)) = queue.pop_front() else { panic!("packets follow the tree") };
        assert_eq!(digests(&bytes), [None, None, None, Some(15), None]);
    }
}
