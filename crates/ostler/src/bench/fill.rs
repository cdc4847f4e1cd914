//! Filling a server with znodes, to see what memory, restarts and snapshots cost then.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::engine::Engine;
use super::loads::{Bulk, Random};
use super::options::{Common, parse_duration};
use super::progress::Progress;
use super::report::Report;
use super::run::{Meter, Target, to_f64};
use super::servers;
use super::subtree;

/// The shape of a fill.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct FillArgs {
    /// Znodes on the first level
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) parents: u32,
    /// Znodes below each of them
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub(super) children: u32,
    /// Characters of a name
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(8..=200))]
    pub(super) name_size: u32,
    /// Bytes of data of a znode
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub(super) value_size: u32,
    /// Znodes in one multi
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=5000))]
    pub(super) batch: u32,
    /// Connections
    #[arg(short, long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) connections: u32,
    /// Multis in flight per connection
    #[arg(short, long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) depth: u32,
    /// With --server-pid: wait this long after the last answer before memory is measured
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse_duration)]
    pub(super) settle: Duration,
}

/// Runs it. The znodes stay.
pub(super) fn run(target: &Target, args: &FillArgs, common: &Common) -> Result<Report> {
    let identity = common.identity()?;
    let root = common.subtree("fill")?;
    let total = u64::from(args.parents) * (1 + u64::from(args.children));
    if args.batch * (args.value_size + args.name_size + 80) > 900_000 {
        bail!("a multi of {} znodes of {} bytes is too long: lower --batch", args.batch, args.value_size);
    }
    subtree::create(target.servers.first(), &identity, &root)?;
    let before = (!target.pids.is_empty()).then(|| servers::resident_bytes(&target.pids)).transpose()?;
    let width = args.name_size as usize - 1;
    let parent = |i: u32| format!("{root}/p{i:0width$}");
    let mut parents = (0..args.parents).map(parent);
    let mut children = (0..args.parents)
        .flat_map(|i| (0..args.children).map(move |j| (i, j)))
        .map(|(i, j)| format!("{}/c{j:0width$}", parent(i)));
    let value = Random::new(common.seed).bytes(args.value_size as usize);

    let mut progress = Progress::new("fill", Some(total));
    let mut engine =
        Engine::connect(&target.servers, &identity, args.connections as usize, args.depth as usize)?;
    let meter = Meter::start(&target.pids)?;
    let began = Instant::now();
    // Children come when all parents are there: the multis of a connection overtake those of another.
    let batch = args.batch as usize;
    let mut first = Bulk::new(subtree::create_batches(&mut parents, &value, batch), &[]);
    subtree::run_bulk(&mut engine, &mut first, &mut progress)?;
    let mut second = Bulk::new(subtree::create_batches(&mut children, &value, batch), &[]);
    if first.failure.is_none() {
        subtree::run_bulk(&mut engine, &mut second, &mut progress)?;
    }
    let mut report = Report {
        workload: "fill".to_owned(),
        address: target.servers.to_string(),
        connections: args.connections,
        depth: args.depth,
        value_size: args.value_size,
        seconds: began.elapsed().as_secs_f64(),
        unit: "nodes",
        ops: total,
        latency_of: "multi latency",
        ..Report::default()
    };
    if let Some(failure) = first.failure.as_ref().or(second.failure.as_ref()) {
        bail!("cannot fill {root}: {failure}");
    }
    report.throughput = to_f64(total) / report.seconds.max(1e-9);
    let mut latencies = first.latencies.clone();
    latencies.add(&second.latencies);
    report.latency_us = latencies.quantiles();
    meter.finish(&mut report)?;
    drop(progress);
    engine.close();
    std::thread::sleep(args.settle);
    if let (Some(before), Some(server)) = (before, &mut report.server) {
        server.rss_bytes = servers::resident_bytes(&target.pids)?;
        let grown = server.rss_bytes.saturating_sub(before);
        report.more.insert("RSS bytes a node", to_f64(grown) / to_f64(total));
    }
    Ok(report)
}
