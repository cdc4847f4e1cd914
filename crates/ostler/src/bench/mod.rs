//! `ostler bench`: a load generator for any ZooKeeper server. Each workload is a subcommand; `compare` runs the same
//! loads on two servers in turn. The load path (`engine`, `loads`) is kept lean on purpose: it shares a machine with
//! what it measures.

mod engine;
mod handshake;
mod loads;
mod options;
mod process;
mod progress;
mod report;
mod run;
mod stats;
mod subtree;

use anyhow::Result;

use self::loads::Mix;
use self::options::{Common, Shape};
use self::run::{LoadSpec, Target};

const EXAMPLES: &str = "\
Examples:
  ostler bench get                                       reads from 127.0.0.1:2181, 16 connections x 32 deep
  ostler bench set 10.0.0.1:2181 -c 1 -d 1               one write at a time
  ostler bench mixed --read-ratio 0.9 --duration 1m --per-second
  ostler bench get --server-pid $(pidof ostler)          with the server's CPU per operation and memory
  ostler bench paced --rate 3000 --read-ratio 0.8        an open loop: latency from the intended start
  ostler bench help paced                                more about one of them";

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
    Get(LoadArgs),
    /// Write random znodes (setData)
    Set(LoadArgs),
    /// Create znodes
    Create(LoadArgs),
    /// Read and write
    Mixed {
        #[command(flatten)]
        load: LoadArgs,
        /// Share of reads
        #[arg(long, value_name = "0..1", default_value_t = 0.8)]
        read_ratio: f64,
    },
    /// Read and write at a fixed rate, whether or not the server keeps up
    Paced {
        #[command(flatten)]
        load: LoadArgs,
        /// Operations per second
        #[arg(long, value_name = "N", default_value_t = 1000.0)]
        rate: f64,
        /// Share of reads
        #[arg(long, value_name = "0..1", default_value_t = 0.8)]
        read_ratio: f64,
    },
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

/// One server.
#[derive(Debug, Clone, clap::Args)]
struct ServerArgs {
    /// The server, HOST:PORT
    #[arg(value_name = "ADDRESS", default_value = "127.0.0.1:2181")]
    address: String,
    /// The server's process on this machine: report its CPU per operation and its memory
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,
}

impl ServerArgs {
    fn target(&self) -> Result<Target> {
        Ok(Target { address: handshake::resolve(&self.address)?, pid: self.server_pid })
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
    }
}

fn run_load(name: &str, mix: Mix, rate: Option<f64>, args: LoadArgs) -> Result<()> {
    let spec = LoadSpec { name: name.to_owned(), mix, rate, shape: args.shape };
    let report = run::run(&args.server.target()?, &spec, &args.common)?;
    report::print(&report, args.common.json)
}
