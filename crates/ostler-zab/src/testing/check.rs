//! What must be true, whatever happens: the predicates that ZooKeeper's own TLA+ specifications state, and those that
//! its bugs teach. They look at all disks at once, which no server can.

use std::collections::BTreeMap;

use bytes::Bytes;
use ostler_wire::Zxid;

use super::disk::{EpochWrite, LogWrite};
use super::world::{World, server};
use crate::{EpochKind, Proposal, Standing};

/// What is remembered of the past to judge the present.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Record {
    /// What was ever proposed.
    pub(super) proposed: BTreeMap<Zxid, Bytes>,
    /// What is committed, in order: nothing of it may be lost or change.
    pub(super) truth: Vec<Proposal>,
    /// Who established which epoch.
    pub(super) established: BTreeMap<i64, usize>,
    /// The history with which an epoch began, and its leader.
    pub(super) initial: BTreeMap<i64, (usize, Vec<Proposal>)>,
}

fn is_prefix(short: &[Proposal], long: &[Proposal]) -> bool {
    long.len() >= short.len() && long[..short.len()] == *short
}

impl World {
    /// After everything that a server did.
    pub(super) fn check_node(&mut self, node: usize) {
        let Some(running) = &self.nodes[node].running else { return };
        let serving = running.peer.is_serving();
        if serving != running.is_serving() {
            let standing = running.standing;
            return self.fail(|| format!("s{} serves: {serving}, its standing: {standing:?}", node + 1));
        }
        if running.is_leading() {
            let committed = running.peer.committed();
            self.extend_truth(node, committed);
        }
        let Some(running) = &self.nodes[node].running else { return };
        if running.is_serving() && !is_prefix(&running.applied, &self.record.truth) {
            let last = running.applied.last().map(|proposal| proposal.zxid);
            self.fail(|| format!("s{} serves what is not committed: its tree ends with {last:?}", node + 1));
        }
    }

    /// What a leader knows to be committed joins the truth: it must continue it, and be durable on a quorum.
    pub(super) fn extend_truth(&mut self, node: usize, committed: Zxid) {
        let Some(running) = &self.nodes[node].running else { return };
        let known = self.record.truth.len();
        let appends = running.pending.log.iter().filter_map(|write| match write {
            LogWrite::Append(proposal, _) => Some(proposal),
            LogWrite::Truncate(..) | LogWrite::Save { .. } => None,
        });
        let mut own = self.nodes[node].disk.log.iter().chain(appends);
        let agrees = self
            .record
            .truth
            .iter()
            .all(|known| own.next().is_none_or(|mine| mine == known || mine.zxid > committed));
        let fresh: Vec<Proposal> = own.take_while(|mine| mine.zxid <= committed).cloned().collect();
        if !agrees {
            return self
                .fail(|| format!("s{} leads with a history that contradicts the committed one", node + 1));
        }
        if fresh.is_empty() {
            return;
        }
        self.stats.commits += fresh.len() as u64;
        for proposal in &fresh {
            if self.record.proposed.get(&proposal.zxid) != Some(&proposal.bytes) {
                self.fail(|| format!("{} is committed, but nobody proposed it", proposal.zxid));
            }
        }
        self.record.truth.extend(fresh);
        if known < self.record.truth.len() {
            self.check_durable("a commit");
        }
    }

    /// What is committed is on the disks of a quorum, those of crashed servers counted.
    pub(super) fn check_durable(&mut self, after: &str) {
        let truth = &self.record.truth;
        let having = (0..self.nodes.len())
            .filter(|node| is_prefix(truth, &self.nodes[*node].disk.log))
            .map(server)
            .collect();
        if !truth.is_empty() && !self.quorum.is_quorum(&having) {
            let last = truth.last().map(|last| last.zxid);
            self.fail(|| format!("after {after} the committed {last:?} is durable on {having:?} only"));
        }
    }

    /// A server begins to lead or to follow.
    pub(super) fn check_standing(&mut self, node: usize, standing: Standing) {
        match standing {
            Standing::Leading { epoch } => {
                if self.quorum.weight(server(node)) == 0 {
                    self.fail(|| format!("s{} leads and has no weight", node + 1));
                }
                self.stats.established += 1;
                if let Some(other) = self.record.established.insert(epoch, node) {
                    self.fail(|| {
                        format!("epoch {epoch} is established twice, by s{} and s{}", other + 1, node + 1)
                    });
                }
                // An epoch may be established late, when a newer one has gone on; it can commit nothing any more.
                let older = self.record.truth.partition_point(|known| i64::from(known.zxid.epoch()) < epoch);
                if !is_prefix(&self.record.truth[..older], &self.nodes[node].disk.log) {
                    self.fail(|| format!("s{} leads epoch {epoch} without all that is committed", node + 1));
                }
                let synced = (0..self.nodes.len())
                    .filter(|node| self.nodes[*node].disk.epochs.current >= epoch)
                    .map(server)
                    .collect();
                if !self.quorum.is_quorum(&synced) {
                    self.fail(|| format!("epoch {epoch} is established by {synced:?} only"));
                }
            }
            Standing::Following { .. } => {
                let disk = &self.nodes[node].disk;
                if i64::from(disk.last().epoch()) > disk.epochs.current {
                    self.fail(|| format!("s{} serves an epoch that it did not write", node + 1));
                }
            }
            Standing::Looking | Standing::Solo => {}
        }
    }

    /// Makes a write durable and looks at what it did.
    pub(super) fn write_log(&mut self, node: usize, write: &LogWrite) -> Option<Zxid> {
        let disk = &mut self.nodes[node].disk;
        let before = disk.last();
        let left = disk.write_log(write);
        if let LogWrite::Append(proposal, _) = write {
            let zxid = proposal.zxid;
            let starts = zxid.epoch() > before.epoch() && zxid.counter() == 1;
            if zxid != before.next() && !starts {
                self.fail(|| format!("s{} logs {zxid} after {before}", node + 1));
            }
        }
        left
    }

    /// Makes an epoch durable and looks at what it means.
    pub(super) fn write_epoch(&mut self, node: usize, write: &EpochWrite) {
        let disk = &mut self.nodes[node].disk;
        let before = disk.epochs;
        disk.write_epoch(write);
        let after = disk.epochs;
        if after.accepted < before.accepted || after.current < before.current {
            self.fail(|| format!("s{}: epochs go back from {before:?} to {after:?}", node + 1));
        }
        if after.current > after.accepted {
            self.fail(|| format!("s{}: current epoch above the accepted one: {after:?}", node + 1));
        }
        if write.which == EpochKind::Current {
            self.check_history_of_epoch(node, write.epoch, "writes");
        }
    }

    /// Who has an epoch has its history on disk.
    pub(super) fn check_history_of_epoch(&mut self, node: usize, epoch: i64, verb: &str) {
        let Some((leader, initial)) = self.record.initial.get(&epoch) else { return };
        if *leader != node && !is_prefix(initial, &self.nodes[node].disk.log) {
            self.fail(|| format!("s{} {verb} epoch {epoch} without its history on disk", node + 1));
        }
    }

    /// An observer is told of nothing but what is committed, and forgets nothing of it, whoever tells it next.
    pub(super) fn check_forgotten(&mut self, node: usize, above: Zxid) {
        let truth = &self.record.truth;
        let lost = |mine: &&Proposal| mine.zxid > above && truth.contains(mine);
        let lost = self.nodes[node].disk.log.iter().find(lost).map(|mine| mine.zxid);
        if let Some(zxid) = lost.filter(|_| node >= self.setup.voters) {
            self.fail(|| format!("s{} observes, and forgets {zxid}, which is committed", node + 1));
        }
    }

    /// Everything in this world agrees and serves; why not, otherwise.
    pub(super) fn disagreement(&self, core: &[usize]) -> Option<String> {
        for &node in core {
            let Some(running) = &self.nodes[node].running else {
                return Some(format!("s{} is down", node + 1));
            };
            if !running.is_serving() {
                return Some(format!("s{} does not serve: {:?}", node + 1, running.peer.last_end()));
            }
            if running.applied != self.record.truth {
                return Some(format!("the tree of s{} is not what is committed", node + 1));
            }
        }
        None
    }
}
