//! `cargo xtask differential`: random raw requests to Apache ZooKeeper and to Ostler, side by side.
//!
//! A run is cut into segments. Each starts two servers on empty directories, so that every zxid, sequence number and
//! version can be compared outright, and each replays alone from the seed and its number.

pub(crate) mod content;
mod explained;
mod harm;
mod model;
pub(crate) mod op;
mod plan;
pub(crate) mod raw;
mod reply;
mod report;
mod requests;
mod segment;
mod side;
pub(crate) mod words;

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::apache::Apache;
use crate::scratch::Scratch;
use crate::server::{Kind, Server, Setup, build_ostler};
use plan::Planner;
use report::Report;
use segment::Segment;
use side::Side;

/// Options of the stage.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many requests to send to each side.
    #[arg(long, default_value_t = 20_000)]
    pub(crate) ops: u64,
    /// The seed; the same seed sends the same requests.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Requests per segment: after so many, both servers start afresh.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) segment_ops: u64,
    /// Run this one segment only (how a difference is replayed).
    #[arg(long)]
    pub(crate) segment: Option<u64>,
    /// Ostler's lanes; without it segments alternate between 1 and 3.
    #[arg(long)]
    pub(crate) lanes: Option<u32>,
    /// Check the checker: compare Apache with a second Apache.
    #[arg(long)]
    pub(crate) java_only: bool,
    /// Compare two servers that run already (both must be empty): ADDR_A ADDR_B.
    #[arg(long, num_args = 2, value_names = ["ADDR_A", "ADDR_B"])]
    pub(crate) against: Option<Vec<SocketAddr>>,
    /// Most requests in one pipelined batch; 1 takes pipelining out of a difference.
    #[arg(long, default_value_t = 64)]
    pub(crate) max_batch: usize,
    /// Compare the shapes of the four-letter words instead.
    #[arg(long)]
    pub(crate) words: bool,
    /// Stop after so many differences.
    #[arg(long, default_value_t = 5)]
    pub(crate) max_differences: usize,
}

/// What both servers are configured with.
pub(crate) fn setup() -> Setup {
    let config = [
        "tickTime=3000",
        // Nobody expires by accident: a session lives longer than the run.
        "minSessionTimeout=3600000",
        "maxSessionTimeout=7200000",
        "maxClientCnxns=0",
        "4lw.commands.whitelist=*",
        "enforceQuota=true",
        "extendedTypesEnabled=true",
        "forceSync=no",
        "admin.enableServer=false",
    ];
    let mut config: Vec<String> = config.iter().map(|line| (*line).to_owned()).collect();
    config.push(format!("DigestAuthenticationProvider.superDigest={}", content::SUPER.1));
    // The reaper of containers and TTL nodes works by the clock; here it must not.
    let jvm_flags = vec!["-Dznode.container.checkIntervalMs=86400000".to_owned()];
    Setup { config, jvm_flags, ..Setup::default() }
}

/// A pair of running servers with their directories.
struct Pair {
    a: Server,
    b: Server,
    _homes: [Scratch; 2],
}

fn launch(apache: &Apache, other: &Kind) -> Result<Pair> {
    let homes = [Scratch::new("diff-a")?, Scratch::new("diff-b")?];
    let setup = setup();
    let a = Server::launch(&Kind::Apache(apache.clone()), &setup, homes[0].path())?;
    let b = Server::launch(other, &setup, homes[1].path())?;
    Ok(Pair { a, b, _homes: homes })
}

/// Runs the stage.
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.words {
        return words::run(options.java_only, options.lanes.unwrap_or(1));
    }
    let started = Instant::now();
    let mut report = Report::default();
    if let Some(addresses) = &options.against {
        let number = options.segment.unwrap_or(0);
        let planner = Planner::new(options.seed, number, options.max_batch);
        let (a, b) = (Side::new(addresses[0]), Side::new(addresses[1]));
        Segment::new(a, b, !options.java_only, planner, &mut report, replay(options, number))
            .run(options.ops)?;
    } else {
        run_segments(options, &mut report)?;
    }
    for difference in &report.differences {
        println!("DIFFERENCE: {difference}");
    }
    print!("{}", report.summary());
    println!("took {:.1} s", started.elapsed().as_secs_f64());
    ensure!(report.differences.is_empty(), "{} unexplained differences", report.differences.len());
    ensure!(report.requests >= options.ops * 9 / 10, "only {} requests were compared", report.requests);
    Ok(())
}

fn run_segments(options: &Options, report: &mut Report) -> Result<()> {
    let apache = Apache::install()?;
    let binary = if options.java_only { None } else { Some(build_ostler()?) };
    let count = options.ops.div_ceil(options.segment_ops.max(1));
    let numbers: Vec<u64> = options.segment.map_or_else(|| (0..count).collect(), |number| vec![number]);
    let kind = |number: u64| match &binary {
        None => Kind::Apache(apache.clone()),
        Some(binary) => {
            let lanes = options.lanes.unwrap_or_else(|| if number.is_multiple_of(2) { 1 } else { 3 });
            Kind::Ostler { binary: binary.clone(), lanes }
        }
    };
    let mut next = Some(launch(&apache, &kind(numbers[0]))?);
    let mut left = options.ops;
    for (index, number) in numbers.iter().enumerate() {
        let Some(mut pair) = next.take() else { bail!("no servers for segment {number}") };
        pair.a.await_ready(std::time::Duration::from_secs(60))?;
        pair.b.await_ready(std::time::Duration::from_secs(60))?;
        // The next pair starts up while this one works.
        if let Some(following) = numbers.get(index + 1) {
            next = Some(launch(&apache, &kind(*following))?);
        }
        let operations =
            if options.segment.is_some() { options.segment_ops } else { left.min(options.segment_ops) };
        left = left.saturating_sub(operations);
        let planner = Planner::new(options.seed, *number, options.max_batch);
        let (a, b) = (Side::new(pair.a.address()), Side::new(pair.b.address()));
        let label = replay(options, *number);
        let mut segment = Segment::new(a, b, binary.is_some(), planner, report, label);
        let outcome = segment.run(operations);
        let addresses = segment.addresses();
        for server in [&mut pair.a, &mut pair.b] {
            if let Some(status) = server.exit_status() {
                report.differences.push(format!(
                    "segment {number} ({addresses}): {} ended by itself with {status}; its log:\n{}",
                    server.name(),
                    server.log_tail()
                ));
            }
        }
        outcome.with_context(|| format!("segment {number} of seed {}", options.seed))?;
        eprintln!(
            "segment {number} with {}: {} requests so far, {} differences",
            pair.b.name(),
            report.requests,
            report.differences.len()
        );
        if report.differences.len() >= options.max_differences {
            eprintln!("stopping after {} differences", report.differences.len());
            break;
        }
    }
    Ok(())
}

/// The command that runs one segment again.
fn replay(options: &Options, number: u64) -> String {
    let lanes = options.lanes.map_or_else(String::new, |lanes| format!(" --lanes {lanes}"));
    let java = if options.java_only { " --java-only" } else { "" };
    format!(
        "replay: cargo xtask differential --seed {} --segment {number} --ops {1} --segment-ops {1} --max-batch {2}{lanes}{java}",
        options.seed, options.segment_ops, options.max_batch
    )
}
