//! The loop around the [`Node`]: the only place that calls it and the only one that borrows the store exclusively.
//! It runs beside lane 0 where there are few processors, and on a thread of its own where there are more.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ostler_node::{Input, LaneId, Node, Output};
use ostler_tree::Store;
use ostler_wire::ServerId;
use ostler_wire::quorum::Members;

use crate::client_port::ClientPort;
use crate::clock::Clock;
use crate::config::HostPort;
use crate::inbox::{Inbox, LaneInbox, NodeLetter};
use crate::log_box::LogBox;
use crate::log_thread::LogLetter;
use crate::peers::{Peers, PeersConfig};
use crate::snapshots::Snapshots;

/// A lane with so many unread batches is waited for before more is applied.
const LANE_BATCHES: usize = 64;

/// Everything the node's loop works with.
pub(crate) struct NodeLoop {
    pub(crate) node: Node,
    pub(crate) clock: Clock,
    pub(crate) store: Arc<RwLock<Store>>,
    pub(crate) inbox: Arc<Inbox<NodeLetter>>,
    pub(crate) lanes: Vec<Arc<LaneInbox>>,
    pub(crate) log: Arc<LogBox>,
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) next_quota_warning_ms: u64,
    /// Which of the members this is, and its port for clients.
    pub(crate) client_port: Option<(ServerId, Arc<ClientPort>)>,
    /// The sockets to the other members, to be opened on the node's thread.
    pub(crate) peers: Option<PeersConfig>,
    /// The others were told to go on without this server.
    pub(crate) stopping: bool,
}

impl NodeLoop {
    /// Runs for as long as the server does.
    pub(crate) async fn run(mut self) {
        let peers = self.peers.take().map(Peers::start);
        let peers = peers.as_ref();
        self.carry_out(peers);
        let mut letters = Vec::new();
        loop {
            self.inbox.take(&mut letters);
            let (timeout_ms, _) = self.node.poll_timeout();
            if letters.is_empty() && self.clock.now().mono_ms < timeout_ms {
                let until = self.clock.instant(timeout_ms);
                tokio::select! {
                    () = self.inbox.rung() => {}
                    () = tokio::time::sleep_until(until.into()) => {}
                }
                continue;
            }
            let mut rest = letters.drain(..);
            loop {
                let replaced = self.handle(&mut rest);
                self.carry_out(peers);
                self.warn_of_quota();
                while self.node.has_committed() {
                    self.wait_for_lanes().await;
                    self.apply(peers);
                }
                if !replaced {
                    break;
                }
            }
            drop(rest);
            if let Some(peers) = peers {
                if self.stopping {
                    // At once, and not when the process ends: they elect another leader in the meantime. This one says
                    // nothing more, or it would win again.
                    return peers.close();
                }
                peers.note(self.node.standing(), self.node.last_end());
                // The sockets of the other members are served on this thread, too. Where nothing is left to do, waiting
                // lets them have their turn, and asks the kernel once for what has come instead of twice.
                if self.inbox.len() > 0 {
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Hands letters to the node: all of them, or up to one that replaces the store, in which case there may be more
    /// once that is done.
    fn handle(&mut self, letters: &mut impl Iterator<Item = NodeLetter>) -> bool {
        let now = self.clock.now();
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        for letter in letters {
            match letter {
                NodeLetter::Input(input) => {
                    let replaces = matches!(input, Input::TreeSaved { .. } | Input::Truncated { .. });
                    self.node.handle(now, input, &store);
                    if replaces {
                        return true;
                    }
                }
                NodeLetter::Report(reply) => {
                    // Whoever asked may have gone away.
                    let _ = reply.send(self.node.report());
                }
                NodeLetter::Stop => self.stopping = true,
            }
        }
        if now.mono_ms >= self.node.poll_timeout().0 {
            self.node.handle_timeout(now, &store);
        }
        false
    }

    fn carry_out(&mut self, peers: Option<&Peers>) {
        let mut appends = Vec::new();
        while let Some(output) = self.node.poll_output() {
            if !appends.is_empty()
                && !matches!(output, Output::Append { .. } | Output::Send(..) | Output::Apply)
            {
                // Whatever else goes to the log goes behind what was appended.
                self.to_log(LogLetter::Append(std::mem::take(&mut appends)));
            }
            match output {
                Output::Append { proposal, generation } => appends.push((proposal, generation)),
                Output::RollLog => self.to_log(LogLetter::Roll),
                Output::Snapshot => self.snapshots.take(Arc::clone(&self.store), Arc::clone(&self.inbox)),
                Output::DiscardSnapshots => self.snapshots.discard_running(),
                // Looked after by the caller: it is what `has_committed` says.
                Output::Apply => {}
                Output::Send(lane, batch) => self.lanes[lane.0].batches.push(batch),
                Output::Install(store) => {
                    let mut old = self.store.write().unwrap_or_else(PoisonError::into_inner);
                    // One that was begun since the log's thread stopped them would be of both trees.
                    self.snapshots.discard_running();
                    *old = *store;
                }
                Output::SetConfig { version, text, wall_ms } => {
                    let mut store = self.store.write().unwrap_or_else(PoisonError::into_inner);
                    store.set_config(&text, version, wall_ms);
                }
                Output::Truncate { to, generation } => self.to_log(LogLetter::Truncate { to, generation }),
                Output::SaveTree { store, zxid, generation } => {
                    self.to_log(LogLetter::SaveTree { store, zxid, generation });
                }
                Output::Peer(ostler_zab::Output::WriteEpoch { which, epoch, generation }) => {
                    self.to_log(LogLetter::WriteEpoch { which, epoch, generation });
                }
                Output::Peer(output) => {
                    if let ostler_zab::Output::MembersActivated { members, .. } = &output {
                        self.move_client_port(members);
                    }
                    peers
                        .expect("only a member of an ensemble has something to say to others")
                        .carry_out(output);
                }
            }
        }
        if !appends.is_empty() {
            self.to_log(LogLetter::Append(appends));
        }
    }

    /// Clients are to find this server where the new list has it; one that does not say leaves it where it is.
    fn move_client_port(&self, members: &Members) {
        if let Some((me, port)) = &self.client_port
            && let Some(address) = members.servers.get(me).and_then(HostPort::of_clients)
        {
            port.move_to(address);
        }
    }

    /// Says that a quota was exceeded, once a second at the most.
    fn warn_of_quota(&mut self) {
        let Some(text) = self.node.take_quota_warning() else { return };
        let now_ms = self.clock.now().mono_ms;
        if now_ms >= self.next_quota_warning_ms {
            self.next_quota_warning_ms = now_ms + 1000;
            tracing::warn!("{text}");
        }
    }

    fn to_log(&self, letter: LogLetter) {
        self.log.push(letter);
    }

    async fn wait_for_lanes(&self) {
        while self.lanes.iter().any(|lane| lane.batches.len() > LANE_BATCHES) {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    }

    fn apply(&mut self, peers: Option<&Peers>) {
        let mut store = self.store.write().unwrap_or_else(PoisonError::into_inner);
        let lanes = &self.lanes;
        let watching = |lane: LaneId| lanes[lane.0].watching.load(Ordering::Acquire);
        for (lane, batch) in self.node.apply(&mut store, &watching) {
            lanes[lane.0].batches.push(batch);
        }
        drop(store);
        self.carry_out(peers);
    }
}
