//! The verdict over a round: what the clients saw against the one order of the logs, by the simulator's judges, and
//! what only real time can show: sessions that expired too early, and the trees that the disks hold in the end.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, anyhow, ensure};
use ostler_client::Request;
use ostler_sim::check::{clients, state};
use ostler_sim::history::{History, Op, Outcome};
use ostler_sim::model::Model;
use ostler_store::RestoreOptions;
use ostler_store::sim::SimDisk;
use ostler_tree::TreeConfig;
use ostler_wire::Zxid;
use ostler_wire::client::read::Read;
use ostler_wire::client::response::Response;
use ostler_wire::txn::{Txn, TxnEntry};

/// What was looked at.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// Sessions that ended without being asked to.
    pub(super) expired: usize,
}

/// Judges a history; `epoch_ms` is the wall clock when the history's clock said 0, `led_by_us` the epochs in which a
/// server of ours led.
pub(super) fn judge(
    truth: &[TxnEntry],
    history: &mut History,
    epoch_ms: i64,
    led_by_us: &BTreeSet<u32>,
) -> Result<Verdict> {
    settle_epochs(truth, history);
    clients::check(truth, history).map_err(|violation| anyhow!("{violation}"))?;
    check_expiries(truth, history, epoch_ms, led_by_us)
}

/// The disk of a member against the tree that the order makes, and its digest. Our own snapshots must have the right
/// digest all the way from the first transaction after them; Apache notes a transaction's digest a moment after it has
/// changed the tree, and a snapshot in that moment has the digest of one and the nodes of the next.
pub(super) fn judge_disk(truth: &[TxnEntry], disk: &SimDisk, is_ostler: bool) -> Result<usize> {
    let mut model = Model::new();
    let mut changes = Vec::new();
    for entry in truth {
        model.apply(entry, &mut changes).map_err(|why| anyhow!("at {}: {why}", entry.header.zxid))?;
        changes.clear();
    }
    let recovered = ostler_node::recover::recover(disk, RestoreOptions::default(), &TreeConfig::default())?;
    let of = |violation| anyhow!("{violation}");
    state::compare(&recovered.store, &model).map_err(of)?;
    if is_ostler {
        state::check_sums(&recovered.store, model.digest()).map_err(of)?;
    } else if let Some(digest) = model.digest() {
        ensure!(
            recovered.store.digest() == digest,
            "the digest is {:x}, not {digest:x}",
            recovered.store.digest()
        );
    }
    Ok(model.nodes().count())
}

/// A server that has just joined a new leader is at the epoch's own zxid, which is no transaction: its tree is that
/// of the last transaction before it.
fn settle_epochs(truth: &[TxnEntry], history: &mut History) {
    let settle = |zxid: &mut Zxid| {
        if zxid.counter() == 0 && zxid.0 > 0 {
            let after = truth.partition_point(|entry| entry.header.zxid < *zxid);
            *zxid = after.checked_sub(1).map_or(Zxid::ZERO, |at| truth[at].header.zxid);
        }
    };
    for op in &mut history.ops {
        settle(&mut op.floor);
        if let Outcome::Answered { zxid, .. } = &mut op.outcome
            && matches!(op.request, Request::Read(_))
        {
            settle(zxid);
        }
    }
}

/// A session that ends unasked was not heard of for its whole timeout. What a leader is sure to have heard is a
/// write, which it ordered itself; all clocks are those of one machine. Apache's leader goes by what its learners
/// report twice a tick, and so forgets the last that came by a learner which was cut off before its report.
fn check_expiries(
    truth: &[TxnEntry],
    history: &History,
    epoch_ms: i64,
    led_by_us: &BTreeSet<u32>,
) -> Result<Verdict> {
    let mut heard: BTreeMap<usize, u64> = BTreeMap::new();
    for op in &history.ops {
        if let (Request::Write(_), Outcome::Answered { .. }, Some(sent)) = (&op.request, &op.outcome, op.sent)
        {
            let at = heard.entry(op.owner).or_default();
            *at = (*at).max(sent.at_us);
        }
    }
    let stories: BTreeMap<_, _> = history
        .sessions
        .iter()
        .enumerate()
        .filter_map(|(place, story)| story.id.map(|id| (id, (place, story))))
        .collect();
    let mut verdict = Verdict::default();
    for entry in truth {
        if !matches!(entry.txn, Txn::CloseSession { .. }) {
            continue;
        }
        let Some((place, story)) = stories.get(&entry.header.session) else { continue };
        if entry.header.cxid != 0 && story.close_xid == Some(entry.header.cxid) {
            continue;
        }
        verdict.expired += 1;
        if !led_by_us.contains(&entry.header.zxid.epoch()) {
            continue;
        }
        let Some(heard_us) = heard.get(place) else { continue };
        let heard_ms = epoch_ms + i64::try_from(heard_us / 1000)?;
        let timeout_ms = i64::try_from(story.timeout_ms)?;
        // Two clocks that are rounded to milliseconds.
        ensure!(
            entry.header.time_ms + 2 >= heard_ms + timeout_ms,
            "session {} expired at {}, {} ms after it had sent a write that was answered; its timeout is {timeout_ms} ms",
            entry.header.session,
            entry.header.zxid,
            entry.header.time_ms - heard_ms
        );
    }
    Ok(verdict)
}

/// Every sequential name that was given, once: two answers with one name are two clients in one place.
pub(super) fn check_names(history: &History) -> Result<usize> {
    let mut names = BTreeMap::new();
    for (place, op) in history.ops.iter().enumerate() {
        let Outcome::Answered { zxid, result: Ok(response) } = &op.outcome else { continue };
        let (Response::Path(path) | Response::Created { path, .. }) = response else { continue };
        if path.contains("/seq-")
            && let Some(other) = names.insert(path.clone(), place)
        {
            return Err(anyhow!("{path} was given at {zxid} and to request {other} before"));
        }
    }
    Ok(names.len())
}

/// How many syncs were held against everything that anybody had been told before.
pub(super) fn settled_syncs(history: &History) -> usize {
    let is_settled = |op: &&Op| {
        matches!(op.request, Request::Read(Read::Sync { .. }))
            && matches!(op.outcome, Outcome::Answered { .. })
            && !history.leader_changed(op.asked_us, op.done_us)
    };
    history.ops.iter().filter(is_settled).count()
}

/// How many answers were of each kind: accepted, refused.
pub(super) fn answers(history: &History) -> (usize, usize) {
    let count = |good: bool| {
        let fits = |outcome: &Outcome| match outcome {
            Outcome::Answered { result, .. } => result.is_ok() == good,
            Outcome::Open | Outcome::Unknown | Outcome::NotDone => false,
        };
        history.ops.iter().filter(|op| fits(&op.outcome)).count()
    };
    (count(true), count(false))
}
