//! `cargo xtask interop failover`: how long writes stand still when the leader goes, killed or told to stop.
//!
//! One writer per member writes one node after another and tries its server again every 5 ms when that fails; what counts
//! is the longest time in which no write of any of them was acknowledged.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::super::differential::{content, op};
use super::client::Client;
use super::fill;
use crate::apache::{self, Apache};
use crate::ensemble::{End, Ensemble};
use crate::server::{Kind, Setup, build_ostler};

/// How often a writer without a server tries again.
const AGAIN: Duration = Duration::from_millis(5);

/// Options of the stage.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How often the leader goes, each way.
    #[arg(long, default_value_t = 30)]
    trials: usize,
    /// Java servers instead of Ostler's.
    #[arg(long)]
    java: bool,
    /// Ostler's lanes.
    #[arg(long, default_value_t = 1)]
    lanes: u32,
    /// Fail unless the goals are met: p50 350 ms and p99 1.2 s after a kill, p99 300 ms at a planned stop.
    #[arg(long)]
    check: bool,
}

/// Runs both kinds and prints quantiles.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(options.trials > 0, "at least one trial");
    let kind = if options.java {
        Kind::Apache(Apache::install_version(apache::VERSION)?)
    } else {
        Kind::Ostler { binary: build_ostler()?, lanes: options.lanes }
    };
    let limits =
        ["tickTime=2000", "initLimit=10", "syncLimit=5", "maxClientCnxns=0", "admin.enableServer=false"];
    let mut setup = Setup { config: limits.map(str::to_owned).to_vec(), ..Setup::default() };
    setup.config.push("4lw.commands.whitelist=*".to_owned());
    let mut ensemble = Ensemble::new(
        "failover",
        &[(kind.clone(), false), (kind.clone(), false), (kind.clone(), false)],
        &setup,
    )?;
    ensemble.start_all()?;
    println!("3 x {}, tickTime=2000; milliseconds without an acknowledged write", kind.name());
    // Java's followers tell of no zxid before the first write, and its leader of the epoch's.
    ensemble.await_all()?;
    let writers = Writers::start(&ensemble.addresses());
    std::thread::sleep(Duration::from_millis(500));
    writers.finish();
    let mut missed = Vec::new();
    for (end, what, goals) in [
        (End::Kill, "kill -9 of the leader", [Some(350), Some(1200)]),
        (End::Term, "planned stop of the leader", [None, Some(300)]),
    ] {
        let mut gaps = Vec::new();
        for _ in 0..options.trials {
            gaps.push(trial(&mut ensemble, end)?);
        }
        gaps.sort_unstable();
        let quantiles = [quantile(&gaps, 50), quantile(&gaps, 99)];
        println!(
            "{what}: p50 {} ms, p99 {} ms, all {:?}",
            quantiles[0].as_millis(),
            quantiles[1].as_millis(),
            gaps.iter().map(Duration::as_millis).collect::<Vec<_>>()
        );
        for (is, goal) in quantiles.iter().zip(goals) {
            if let Some(goal) = goal.map(Duration::from_millis).filter(|goal| is > goal) {
                missed.push(format!("{what}: {} ms where {} is the goal", is.as_millis(), goal.as_millis()));
            }
        }
    }
    ensure!(missed.is_empty() || !options.check, "{}", missed.join("; "));
    Ok(())
}

/// The leader goes, and comes back; how long nothing was acknowledged.
fn trial(ensemble: &mut Ensemble, end: End) -> Result<Duration> {
    ensemble.await_all()?;
    ensemble.await_level()?;
    let leader = ensemble.await_leader()?;
    let writers = Writers::start(&ensemble.addresses());
    std::thread::sleep(Duration::from_millis(500));
    let gone = Instant::now();
    ensemble.stop(leader, end)?;
    std::thread::sleep(Duration::from_secs(4));
    let acknowledged = writers.finish();
    ensemble.start(leader)?;
    let before = acknowledged.iter().filter(|at| **at <= gone).count();
    ensure!(before > 0, "nothing was written before the leader went");
    let around = &acknowledged[before - 1..];
    let (from, to) = around
        .windows(2)
        .map(|pair| (pair[0], pair[1]))
        .max_by_key(|(from, to)| *to - *from)
        .context("nothing was acknowledged within 4 s of the leader's going")?;
    // The signal itself is sent by another program, which may be slow to start: the gap is what a client sees.
    Ok(to - from)
}

/// The smallest value that so many per cent do not exceed.
fn quantile(sorted: &[Duration], per_cent: usize) -> Duration {
    let rank = (sorted.len() * per_cent).div_ceil(100).max(1);
    sorted[rank - 1]
}

/// One writer for each server.
struct Writers {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<Vec<Instant>>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Writers {
    fn start(addresses: &[SocketAddr]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let threads = addresses.iter().map(|address| {
            let (address, stop, acknowledged) = (*address, Arc::clone(&stop), Arc::clone(&acknowledged));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    // Whatever ends the connection is what this is about.
                    let _ = write(address, &stop, &acknowledged);
                    std::thread::sleep(AGAIN);
                }
            })
        });
        Self { threads: threads.collect(), stop, acknowledged }
    }

    /// When a write was acknowledged, oldest first.
    fn finish(self) -> Vec<Instant> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            let _ = thread.join();
        }
        let mut all = std::mem::take(&mut *self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner));
        all.sort_unstable();
        all
    }
}

/// Writes by one connection for as long as it lasts.
fn write(address: SocketAddr, stop: &AtomicBool, acknowledged: &Mutex<Vec<Instant>>) -> Result<()> {
    let mut client = Client::connect_within(address, Duration::from_secs(10), Duration::from_secs(3))?;
    let request = fill::create("/failover-", Some(b"x"), &content::open_acl(), 2);
    while !stop.load(Ordering::Relaxed) {
        let reply = client.call(op::CREATE, &request)?;
        ensure!(reply.err == 0, "create answered {}", reply.err);
        acknowledged.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
        // Enough to see a gap of a few milliseconds, and no load.
        std::thread::sleep(Duration::from_millis(2));
    }
    client.close()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let ms = |values: &[u64]| values.iter().map(|ms| Duration::from_millis(*ms)).collect::<Vec<_>>();
        assert_eq!(quantile(&ms(&[7]), 50), Duration::from_millis(7));
        let many: Vec<u64> = (1..=100).collect();
        assert_eq!(quantile(&ms(&many), 50), Duration::from_millis(50));
        assert_eq!(quantile(&ms(&many), 99), Duration::from_millis(99));
        assert_eq!(quantile(&ms(&many[..30]), 99), Duration::from_millis(30));
    }
}
