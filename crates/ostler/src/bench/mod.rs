//! `ostler bench`: a load generator for any ZooKeeper server. Each workload is a subcommand; `compare` runs the same
//! loads on two servers in turn. The load path (`engine`, `loads`) is kept lean on purpose: it shares a machine with
//! what it measures.

mod compare;
mod engine;
mod fanout;
mod fill;
mod handshake;
mod loads;
mod options;
mod process;
mod progress;
mod ready;
mod report;
mod run;
mod servers;
mod stats;
mod storm;
mod subtree;

use anyhow::Result;

use self::loads::Mix;
use self::options::{Common, Shape};
use self::report::Report;
use self::run::{LoadSpec, Target};
use self::servers::Servers;

const EXAMPLES: &str = "\
Examples:
  ostler bench get                                     reads from 127.0.0.1:2181, 16 connections x 32 deep
  ostler bench set 10.0.0.1:2181 -c 1 -d 1             one write at a time
  ostler bench get --server-pid $(pidof ostler)        with the server's CPU per operation and memory
  ostler bench paced --rate 3000                       an open loop: latency from the intended start
  ostler bench watch --watchers 5000                   one change, 5,000 who hear of it
  ostler bench compare 127.0.0.1:2181 127.0.0.1:2182   the same loads on two servers in turn
  ostler bench help paced                              more about one of them

Everything happens below one znode (--path, /ostler-bench unless you say otherwise) and is deleted at the end,
except with --keep, and except what `fill` made; `ostler bench clean` deletes what is left.";

const GET_EXAMPLES: &str = "\
Examples:
  ostler bench get                                     10 s on 127.0.0.1:2181
  ostler bench get zk1:2181 -c 16 -d 1                 no pipelining: one request in flight per connection
  ostler bench get -c 1 -d 1 --ops 100000 --json       a number of operations instead of a time, for scripts
  ostler bench get --server-pid 4711                   CPU per read and memory of that process";

const SET_EXAMPLES: &str = "\
Examples:
  ostler bench set -c 16 -d 32 --value-size 1000
  ostler bench set --fsync-probe ./ostler-data         print what fdatasync takes on that disk beside it
  ostler bench set --duration 1m --per-second --watch-dir ./ostler-data";

const CREATE_EXAMPLES: &str = "\
Examples:
  ostler bench create -c 16 -d 32
  ostler bench create --ops 1000000 --keep             leave them there (`ostler bench clean` deletes them)";

const MIXED_EXAMPLES: &str = "\
Examples:
  ostler bench mixed --read-ratio 0.9 -c 64 -d 1
  ostler bench mixed --duration 1m --per-second";

const PACED_EXAMPLES: &str = "\
A request is sent when its time has come, whether or not earlier ones were answered, and its latency counts from the
time at which it was to be sent: a server that stalls for a second is seen to stall by all requests of that second.

Examples:
  ostler bench paced --rate 3000 --read-ratio 0.8 --fsync-probe ./ostler-data
  ostler bench paced --rate 1000 --read-ratio 0 --duration 2m --watch-dir ./ostler-data
                                                       p99 of the seconds in which a snapshot is written, beside
                                                       that of the others";

const WATCH_EXAMPLES: &str = "\
Examples:
  ostler bench watch --watchers 5000                   5,000 connections that watch one znode
  ostler bench watch --watchers 5000 -c 100            100 connections that watch 50 znodes, changed by one multi

The server must allow so many connections from one address (maxClientCnxns=0).";

const CONNECT_EXAMPLES: &str = "\
Examples:
  ostler bench connect --sessions 5000 --concurrency 500

The server must allow so many connections from one address (maxClientCnxns=0).";

const FILL_EXAMPLES: &str = "\
Examples:
  ostler bench fill --parents 1000 --children 1000     a million znodes with names of 10 and values of 100 bytes
  ostler bench fill --parents 1000 --children 1000 --server-pid $(pidof ostler) --settle 10s
                                                       and what memory they take
  ostler bench clean                                   delete them";

const READY_EXAMPLES: &str = "\
Examples:
  ostler bench ready 127.0.0.1:2181 -- ostler server zoo.cfg
                                                       from the start of the command to the first answer
  ostler bench ready --settle 10s -- ostler server zoo.cfg
                                                       and its memory 10 s later";

const COMPARE_EXAMPLES: &str = "\
Examples:
  ostler bench compare 127.0.0.1:2181 127.0.0.1:2182 --label-a ostler --label-b java \\
      --pid-a $(pidof ostler) --pid-b $(pidof java) --workload get,set,create --shapes 16x32,16x1,1x1
  ostler bench compare zk1 zk2 --workload paced --rate 3000 --read-ratio 0.8 --fsync-probe ./ostler-data
  ostler bench compare zk1 zk2 --workload watch --watchers 5000 --rounds 5 --json

A ratio is A / B: above 1 is better for throughput, below 1 for everything else. In brackets: the lowest and the
highest ratio of one round. Give both servers the same disk and the same settings (maxClientCnxns=0).";

/// Measure a server: throughput, latency, CPU per operation.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    workload: Workload,
}

#[derive(Debug, clap::Subcommand)]
enum Workload {
    /// Read random znodes (getData)
    #[command(after_help = GET_EXAMPLES)]
    Get(LoadArgs),
    /// Write random znodes (setData)
    #[command(after_help = SET_EXAMPLES)]
    Set(LoadArgs),
    /// Create znodes
    #[command(after_help = CREATE_EXAMPLES)]
    Create(LoadArgs),
    /// Read and write
    #[command(after_help = MIXED_EXAMPLES)]
    Mixed {
        #[command(flatten)]
        load: LoadArgs,
        /// Share of reads
        #[arg(long, value_name = "0..1", default_value_t = 0.8, value_parser = parse_ratio)]
        read_ratio: f64,
    },
    /// Read and write at a fixed rate, whether or not the server keeps up
    #[command(after_help = PACED_EXAMPLES)]
    Paced {
        #[command(flatten)]
        load: LoadArgs,
        /// Operations per second
        #[arg(long, value_name = "N", default_value_t = 1000.0, value_parser = parse_rate)]
        rate: f64,
        /// Share of reads
        #[arg(long, value_name = "0..1", default_value_t = 0.8, value_parser = parse_ratio)]
        read_ratio: f64,
    },
    /// Change a znode that many watch, and time until the last has heard of it
    #[command(after_help = WATCH_EXAMPLES)]
    Watch {
        #[command(flatten)]
        server: ServerArgs,
        #[command(flatten)]
        fanout: fanout::FanoutArgs,
        #[command(flatten)]
        common: Common,
    },
    /// Open many sessions at once
    #[command(after_help = CONNECT_EXAMPLES)]
    Connect {
        #[command(flatten)]
        server: ServerArgs,
        #[command(flatten)]
        storm: storm::StormArgs,
        #[command(flatten)]
        common: Common,
    },
    /// Fill a server with znodes, and leave them there
    #[command(after_help = FILL_EXAMPLES)]
    Fill {
        #[command(flatten)]
        server: ServerArgs,
        #[command(flatten)]
        fill: fill::FillArgs,
        #[command(flatten)]
        common: Common,
    },
    /// Delete all that benchmarks left
    #[command(after_help = "Example:\n  ostler bench clean zoo1:2181")]
    Clean {
        #[command(flatten)]
        server: ServerArgs,
        #[command(flatten)]
        common: Common,
    },
    /// Time until a server serves
    #[command(after_help = READY_EXAMPLES)]
    Ready {
        #[command(flatten)]
        server: ServerArgs,
        #[command(flatten)]
        ready: ready::ReadyArgs,
        #[command(flatten)]
        common: Common,
    },
    /// Run the same loads on two servers in turn, and print the ratios
    #[command(after_help = COMPARE_EXAMPLES)]
    Compare(Box<compare::CompareArgs>),
}

/// What every load has.
#[derive(Debug, Clone, clap::Args)]
struct LoadArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    common: Common,
}

/// One server, or one ensemble.
#[derive(Debug, Clone, clap::Args)]
struct ServerArgs {
    /// The server, HOST:PORT; or all members of an ensemble, with commas, over which connections are dealt out
    #[arg(value_name = "ADDRESS", default_value = "127.0.0.1:2181")]
    address: String,
    /// The server's process on this machine, or those of all members: report CPU per operation and memory, summed up
    #[arg(long, value_name = "PID,…", value_delimiter = ',')]
    server_pid: Vec<u32>,
}

impl ServerArgs {
    fn target(&self) -> Result<Target> {
        Ok(Target { servers: Servers::resolve(&self.address)?, pids: self.server_pid.clone() })
    }
}

/// Runs the benchmark that was asked for.
pub(crate) fn run(args: Args) -> Result<()> {
    match args.workload {
        Workload::Get(load) => run_load("get", Mix::Ratio(1.0), None, load),
        Workload::Set(load) => run_load("set", Mix::Ratio(0.0), None, load),
        Workload::Create(load) => run_load("create", Mix::Create, None, load),
        Workload::Mixed { load, read_ratio } => run_load("mixed", Mix::Ratio(read_ratio), None, load),
        Workload::Paced { load, rate, read_ratio } => {
            run_load("paced", Mix::Ratio(read_ratio), Some(rate), load)
        }
        Workload::Watch { server, fanout, common } => {
            let target = server.target()?;
            let report = with_probe(&common, || fanout::run(&target, &fanout, &common))?;
            report::print(&report, common.json)
        }
        Workload::Connect { server, storm, common } => {
            let target = server.target()?;
            let report = with_probe(&common, || storm::run(&target, &storm, &common))?;
            report::print(&report, common.json)
        }
        Workload::Fill { server, fill, common } => {
            let target = server.target()?;
            let report = with_probe(&common, || fill::run(&target, &fill, &common))?;
            report::print(&report, common.json)
        }
        Workload::Clean { server, common } => {
            // The check of --path is that of the benchmarks.
            common.subtree("x")?;
            subtree::delete(server.target()?.servers.first(), &common.identity()?, &common.path)
        }
        Workload::Ready { server, ready, common } => ready::run(&server.target()?, &ready, &common),
        Workload::Compare(args) => compare::run(&args),
    }
}

fn run_load(name: &str, mix: Mix, rate: Option<f64>, args: LoadArgs) -> Result<()> {
    let spec = LoadSpec { name: name.to_owned(), mix, rate, shape: args.shape };
    let target = args.server.target()?;
    let report = with_probe(&args.common, || run::run(&target, &spec, &args.common))?;
    report::print(&report, args.common.json)
}

/// Runs something with `--fsync-probe` before and after it.
fn with_probe(common: &Common, run: impl FnOnce() -> Result<Report>) -> Result<Report> {
    let Some(dir) = &common.fsync_probe else { return run() };
    let mut latencies = process::fsync_probe(dir)?;
    let mut report = run()?;
    latencies.add(&process::fsync_probe(dir)?);
    report.fdatasync_us = Some(latencies.quantiles());
    Ok(report)
}

fn parse_ratio(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err(format!("{text:?} is no number from 0 to 1")),
    }
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.001..=1e8).contains(&rate) => Ok(rate),
        _ => Err(format!("{text:?} is no number of operations per second")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn rates_and_ratios_out_of_range_are_refused() {
        for line in [
            &["bench", "mixed", "--read-ratio", "1.1"][..],
            &["bench", "paced", "--rate", "0"],
            &["bench", "get", "--connections", "0"],
            &["bench", "get", "--duration", "1s", "--ops", "5"],
            &["bench", "compare", "a"],
        ] {
            assert!(Cli::try_parse_from(line).is_err(), "{line:?}");
        }
        assert!(
            Cli::try_parse_from(["bench", "paced", "h:1", "--rate", "3000", "--read-ratio", "0.8"]).is_ok()
        );
    }
}
