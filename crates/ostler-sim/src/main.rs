//! The simulator of Ostler: the crates of the server, from a seed, in one thread, on a disk that fails.
//!
//! `cargo sim` runs every scenario of one server with every crash; `cargo sim --seeds 1000` searches at random among
//! whole ensembles.

mod cpu;
mod crash;
mod ensemble;
mod net;
mod scenarios;
mod search;
mod server;
mod swarm;
#[cfg(test)]
mod tests;
mod trace;
mod world;
mod zoo;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use ostler_sim::{check, client, history, model, rng, workload};

/// Simulates servers with their disks and their clients, from a seed.
///
/// Without options: one server, every scripted scenario, with every end at every call of the disk (`cargo sim crash` says
/// the same). With `--seeds`, `--minutes` or `--seed`: whole ensembles, each with a minute of random faults, then healed
/// and judged; `--standalone` makes them single servers. A failure prints the line that replays it, and the exit
/// status is 1.
#[derive(Debug, Parser)]
#[command(name = "cargo sim", after_help = EXAMPLES)]
struct Args {
    /// Search: this many random ensembles.
    #[arg(long)]
    seeds: Option<u64>,
    /// Search among servers that stand alone.
    #[arg(long)]
    standalone: bool,
    /// Search for so many minutes.
    #[arg(long)]
    minutes: Option<u64>,
    /// One random world.
    #[arg(long)]
    seed: Option<u64>,
    /// The first seed of a search, or what the scenarios draw from.
    #[arg(long, default_value_t = 1)]
    start: u64,
    /// The number of lanes; both 1 and 3 if not given.
    #[arg(long)]
    lanes: Option<usize>,
    /// Run one seed in so many twice and compare the traces; 1 for all, 0 for none.
    #[arg(long, default_value_t = 50)]
    twice: u64,
    /// How many threads search among ensembles, or the zoo; as many as there are processors if not given.
    #[arg(long)]
    threads: Option<usize>,
    /// Print what happens.
    #[arg(long)]
    trace: bool,
    /// Stop after so many recoveries, taken from all over; fewer are a failure.
    #[arg(long)]
    recoveries: Option<u64>,
    /// Only this scenario.
    #[arg(long)]
    scenario: Option<String>,
    /// Only this call of the disk.
    #[arg(long)]
    call: Option<u64>,
    #[command(subcommand)]
    command: Option<Command>,
}

const EXAMPLES: &str = "Examples:
  cargo sim                               one server, every crash point of every scenario
  cargo sim --recoveries 2000             the same, thinned out
  cargo sim --seeds 20000                 20,000 ensembles; too small totals are a failure, too
  cargo sim --seeds 500 --start 70001     other ones
  cargo sim --minutes 10 --standalone     single servers for ten minutes
  cargo sim --seed 7 --trace              one ensemble, and all that happens in it
  cargo sim zoo                           are planted bugs found?
  cargo sim zoo --only Sync --starts 1    those whose names have this in them, from one seed each";

#[derive(Debug, Subcommand)]
enum Command {
    /// One server, every scripted scenario with every end at every call of the disk: what runs without options.
    Crash,
    /// Plant bugs in the real code, one at a time, and see that each is found.
    Zoo(zoo::Options),
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let fine = if let Some(Command::Zoo(options)) = &args.command {
        zoo::run(options, args.threads)?
    } else if let Some(seed) = args.seed {
        if args.standalone { one_seed(seed, &args) } else { search::one(seed, args.trace) }
    } else if args.seeds.is_some() || args.minutes.is_some() {
        if args.standalone { search(&args) } else { search::run(&search::Search::of(&args)) }
    } else {
        let lanes = args.lanes.map_or_else(|| vec![1, 3], |lanes| vec![lanes]);
        crash::run(&crash::Plan {
            lanes,
            seed: args.start,
            recoveries: args.recoveries,
            scenario: args.scenario,
            call: args.call,
            print: args.trace,
        })
    };
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[expect(clippy::print_stdout, reason = "the report of a command")]
fn one_seed(seed: u64, args: &Args) -> bool {
    match swarm::run(seed, args.lanes, args.trace) {
        Ok(report) => {
            println!("seed {seed}: {report:?}");
            true
        }
        Err(violation) => {
            println!("seed {seed} FAILED: {violation}");
            false
        }
    }
}

#[expect(clippy::print_stdout, reason = "the report of a command")]
fn search(args: &Args) -> bool {
    let began = Instant::now();
    let until = args.minutes.map(|minutes| began + Duration::from_secs(60 * minutes));
    let end = args.start.saturating_add(args.seeds.unwrap_or(u64::MAX - args.start));
    let next = AtomicU64::new(args.start);
    let failures = AtomicU64::new(0);
    let total: Mutex<(u64, u64, swarm::Report)> = Mutex::default();
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let late = until.is_some_and(|until| Instant::now() > until);
            if seed >= end || late || failures.load(Ordering::Relaxed) >= 10 {
                return;
            }
            let pair = args.twice > 0 && seed.is_multiple_of(args.twice);
            let result = swarm::run(seed, args.lanes, false).and_then(|first| {
                if pair {
                    let second = swarm::run(seed, args.lanes, false)?;
                    if first.hash != second.hash {
                        return Err(check::violation!("two runs have different traces"));
                    }
                }
                Ok(first)
            });
            match result {
                Ok(report) => {
                    let mut total = total.lock().expect("no thread panics with it");
                    (total.0, total.1) = (total.0 + 1, total.1 + u64::from(pair));
                    total.2.add(&report);
                }
                Err(violation) => {
                    failures.fetch_add(1, Ordering::Relaxed);
                    let lanes = args.lanes.map(|lanes| format!(" --lanes {lanes}")).unwrap_or_default();
                    println!(
                        "seed {seed} FAILED: {violation}\n    replay: cargo sim --seed {seed}{lanes} --trace"
                    );
                }
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let (seeds, pairs, sum) = *total.lock().expect("no thread panicked with it");
    let failures = failures.load(Ordering::Relaxed);
    println!(
        "{seeds} seeds, {pairs} of them twice with the same trace, {} steps, {} answers, {} transactions, {} \
         recoveries, {:.1} simulated hours, {failures} failures, {:.1} s",
        sum.steps,
        sum.answered,
        sum.txns,
        sum.recoveries,
        sum.simulated_us as f64 / 3.6e9,
        began.elapsed().as_secs_f64()
    );
    failures == 0
}
