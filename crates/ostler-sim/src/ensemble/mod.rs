//! Whole ensembles from a seed: voters and observers with their disks, lanes and threads, the network between them,
//! real client sessions, and a minute of faults; then all is healed, must come to life again in bounded time, and is
//! judged.

mod cluster;
mod elections;
mod faults;
mod heal;
mod ledger;
mod links;
mod member;
mod net;
mod patron;
mod pipes;
mod power;
mod settings;

use crate::check::{Violation, violation};
use cluster::{Cluster, Event};

/// The faults of a seed last so long.
const FAULTS_US: u64 = 60_000_000;

/// What a run of a seed, or of many, came to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Report {
    pub hash: u64,
    pub seeds: u64,
    pub events: u64,
    pub operations: u64,
    pub answered: u64,
    pub txns: u64,
    pub crashes: u64,
    pub power_cuts: u64,
    pub leader_changes: u64,
    pub diffs: u64,
    pub truncs: u64,
    pub snaps: u64,
    pub moved: u64,
    pub observers: u64,
    pub by_masters: u64,
    pub expired: u64,
    pub one_lane: u64,
    pub three_lanes: u64,
    pub simulated_us: u64,
}

impl Report {
    /// Adds another report to a sum.
    pub(crate) fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.events += other.events;
        self.operations += other.operations;
        self.answered += other.answered;
        self.txns += other.txns;
        self.crashes += other.crashes;
        self.power_cuts += other.power_cuts;
        self.leader_changes += other.leader_changes;
        self.diffs += other.diffs;
        self.truncs += other.truncs;
        self.snaps += other.snaps;
        self.moved += other.moved;
        self.observers += other.observers;
        self.by_masters += other.by_masters;
        self.expired += other.expired;
        self.one_lane += other.one_lane;
        self.three_lanes += other.three_lanes;
        self.simulated_us += other.simulated_us;
    }
}

/// Runs a seed.
pub(crate) fn run(seed: u64, print: bool) -> Result<Report, Violation> {
    let mut cluster = Cluster::new(seed, print);
    if print {
        let settings = format!("{:?}", cluster.settings);
        cluster.trace.say(0, format_args!("{settings}"));
    }
    let lived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| live(&mut cluster)));
    match lived {
        Ok(result) => {
            result.map_err(|violation| violation!("at {:.6}: {violation}", cluster.now_us as f64 / 1e6))?
        }
        Err(panic) => {
            let what = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                .unwrap_or_default();
            return Err(violation!("at {:.6}: panic: {what}", cluster.now_us as f64 / 1e6));
        }
    }
    let counts = cluster.counts;
    Ok(Report {
        hash: cluster.trace.hash(),
        seeds: 1,
        events: counts.events,
        operations: cluster.history.ops.len() as u64,
        answered: cluster.history.answered() as u64,
        txns: cluster.ledger.committed().len() as u64,
        crashes: counts.crashes,
        power_cuts: counts.power_cuts,
        leader_changes: cluster.ledger.established.saturating_sub(1),
        diffs: counts.diffs,
        truncs: counts.truncs,
        snaps: counts.snaps,
        moved: counts.moved,
        observers: counts.observers,
        by_masters: counts.by_masters,
        expired: counts.expired,
        one_lane: u64::from(cluster.settings.node.lanes == 1),
        three_lanes: u64::from(cluster.settings.node.lanes == 3),
        simulated_us: cluster.now_us,
    })
}

fn live(cluster: &mut Cluster) -> Result<(), Violation> {
    for place in 0..cluster.settings.servers() {
        let at = cluster.now_us + cluster.rng.below(300_000);
        cluster.machines[place].start_at_us = at;
        cluster.at(at, Event::Start(place));
    }
    for client in 0..cluster.patrons.len() {
        let at = cluster.now_us + cluster.rng.below(2_000_000);
        cluster.patrons[client].client.retry_at_us = at;
        cluster.wake_client(client);
    }
    let warm = cluster.now_us + 2_000_000;
    cluster.run_until(warm)?;
    cluster.plan_faults(FAULTS_US);
    let until = cluster.now_us + FAULTS_US;
    cluster.run_until(until)?;
    cluster.finish()
}
