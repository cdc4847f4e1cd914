//! The loop around the [`Node`]: the only place that calls it and the only one that borrows the store exclusively.
//! It runs beside lane 0 where there are few processors, and on a thread of its own where there are more.

use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ostler_node::{LaneId, Node, Output};
use ostler_tree::Store;

use crate::clock::Clock;
use crate::inbox::{Inbox, LaneInbox, NodeLetter};
use crate::log_thread::LogLetter;
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
    pub(crate) log: Sender<LogLetter>,
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) next_quota_warning_ms: u64,
}

impl NodeLoop {
    /// Runs for as long as the server does.
    pub(crate) async fn run(mut self) {
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
            self.handle(&mut letters);
            self.carry_out();
            self.warn_of_quota();
            while self.node.has_committed() {
                self.wait_for_lanes().await;
                self.apply();
            }
        }
    }

    fn handle(&mut self, letters: &mut Vec<NodeLetter>) {
        let now = self.clock.now();
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        for letter in letters.drain(..) {
            match letter {
                NodeLetter::Input(input) => self.node.handle(now, input, &store),
                NodeLetter::Report(reply) => {
                    // Whoever asked may have gone away.
                    let _ = reply.send(self.node.report());
                }
            }
        }
        if now.mono_ms >= self.node.poll_timeout().0 {
            self.node.handle_timeout(now, &store);
        }
    }

    fn carry_out(&mut self) {
        let mut appends = Vec::new();
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Append { proposal, generation } => appends.push((proposal, generation)),
                Output::RollLog => {
                    self.to_log(LogLetter::Append(std::mem::take(&mut appends)));
                    self.to_log(LogLetter::Roll);
                }
                Output::Snapshot => self.snapshots.take(Arc::clone(&self.store), Arc::clone(&self.inbox)),
                // Looked after by the caller: it is what `has_committed` says.
                Output::Apply => {}
                Output::Send(lane, batch) => self.lanes[lane.0].batches.push(batch),
                Output::Truncate { to, generation } => {
                    self.to_log(LogLetter::Append(std::mem::take(&mut appends)));
                    self.to_log(LogLetter::Truncate { to, generation });
                }
                Output::SaveTree { store, zxid, generation } => {
                    self.to_log(LogLetter::Append(std::mem::take(&mut appends)));
                    self.to_log(LogLetter::SaveTree { store, zxid, generation });
                }
                Output::Peer(ostler_zab::Output::WriteEpoch { which, epoch, generation }) => {
                    self.to_log(LogLetter::Append(std::mem::take(&mut appends)));
                    self.to_log(LogLetter::WriteEpoch { which, epoch, generation });
                }
                Output::DiscardSnapshots => self.snapshots.discard_running(),
                Output::Peer(_) | Output::Install(_) => {
                    unreachable!("a standalone server has no peers")
                }
            }
        }
        if !appends.is_empty() {
            self.to_log(LogLetter::Append(appends));
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
        // The log thread ends the process when it ends, so the receiver is there as long as this is.
        let _ = self.log.send(letter);
    }

    async fn wait_for_lanes(&self) {
        while self.lanes.iter().any(|lane| lane.batches.len() > LANE_BATCHES) {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    }

    fn apply(&mut self) {
        let mut store = self.store.write().unwrap_or_else(PoisonError::into_inner);
        let lanes = &self.lanes;
        let watching = |lane: LaneId| lanes[lane.0].watching.load(Ordering::Acquire);
        for (lane, batch) in self.node.apply(&mut store, &watching) {
            lanes[lane.0].batches.push(batch);
        }
        drop(store);
        self.carry_out();
    }
}
