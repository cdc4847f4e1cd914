//! The test of the tester: bugs are planted in the real code, one at a time, and each has to be found by random
//! simulation: of a server alone, or of whole ensembles.

use clap::Args;

/// What of the zoo is run.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only bugs whose names contain this.
    #[arg(long)]
    only: Option<String>,
    /// From how many seeds each is looked for; the median is printed beside the first.
    #[arg(long, default_value_t = 5)]
    starts: u64,
    /// The most time of a processor for one search, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// Builds the simulator with the planted bugs, into a folder of its own, and runs it there.
#[cfg(not(ostler_zoo))]
pub(crate) fn run(options: &Options, threads: Option<usize>) -> anyhow::Result<bool> {
    use anyhow::Context as _;

    let variable = |name, other: &str| std::env::var_os(name).unwrap_or_else(|| other.into());
    let target = std::path::PathBuf::from(variable("CARGO_TARGET_DIR", "target")).join("zoo");
    let mut command = std::process::Command::new(variable("CARGO", "cargo"));
    command
        .args(["run", "--quiet", "--profile", "sim", "--package", "ostler-sim", "--"])
        .args(threads.map(|threads| format!("--threads={threads}")))
        .arg("zoo")
        .args([format!("--starts={}", options.starts), format!("--seconds={}", options.seconds)])
        .args(options.only.as_ref().map(|only| format!("--only={only}")))
        .env("RUSTFLAGS", "--cfg ostler_zoo")
        .env("CARGO_TARGET_DIR", target);
    Ok(command.status().context("cannot run cargo to build the zoo")?.success())
}

/// Plants one bug after the other and looks for it, from each start for the given time of a processor at the most.
#[cfg(ostler_zoo)]
#[expect(clippy::print_stdout, reason = "the report of a command")]
#[expect(clippy::unnecessary_wraps, reason = "the other build can fail")]
pub(crate) fn run(options: &Options, threads: Option<usize>) -> anyhow::Result<bool> {
    use std::time::Duration;

    use ostler_wire::zoo::{Mutation, plant};

    let threads = threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let limit = Duration::from_secs(options.seconds);
    let starts = options.starts.max(1);
    let alone = Mutation::ALL.iter().map(|bug| (*bug, hunt_alone as Hunt, false));
    let together = Mutation::ENSEMBLE.iter().chain(&Mutation::SERVER).map(|bug| (*bug, hunt as Hunt, true));
    let seeds: String = (0..starts).map(|at| format!(" {:>9}", start_of(at))).collect();
    println!(
        "seconds of a processor from each first seed until a planted bug is found, at most {}",
        options.seconds
    );
    println!("{:<24}{seeds} {:>9}  found from the first by", "planted bug", "median");
    // Planted, and found from the first seed and in the median: by servers alone, by ensembles.
    let mut counts = [(0, 0); 2];
    for (bug, hunt, ensemble) in alone.chain(together) {
        let name = format!("{bug:?}");
        if options.only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            continue;
        }
        plant(bug);
        let hunts = from_all_starts(hunt, starts, limit, threads);
        let mut times: Vec<Duration> =
            hunts.iter().map(|(took, found)| if found.is_some() { *took } else { Duration::MAX }).collect();
        let show = |took: &Duration| match *took {
            Duration::MAX => format!(" {:>9}", "-"),
            took => format!(" {:>9.2}", took.as_secs_f64()),
        };
        let each: String = times.iter().map(show).collect();
        times.sort_unstable();
        let median = times[times.len() / 2];
        let (_, found) = &hunts[0];
        let (planted, hits) = &mut counts[usize::from(ensemble)];
        *planted += 1;
        *hits += u32::from(found.is_some() && median < Duration::MAX);
        let mut what = found.clone().unwrap_or_else(|| "NOT FOUND".to_owned());
        if let Some((end, _)) = what.char_indices().nth(140) {
            what.truncate(end);
        }
        println!("{name:<24}{each}{}  {what}", show(&median));
    }
    plant(Mutation::None);
    let [(alone, of_alone), (together, of_together)] = counts.map(|(planted, hits)| (hits, planted));
    println!(
        "{together} of {of_together} bugs of ensembles and {alone} of {of_alone} of servers alone are found from the \
         first seed and in the median of {starts}, within {} s of a processor each",
        options.seconds
    );
    let least = if options.only.is_some() { of_together } else { 25 };
    Ok(together >= least && alone == of_alone && of_together + of_alone > 0)
}

/// The first seed of a search.
#[cfg(ostler_zoo)]
fn start_of(at: u64) -> u64 {
    1 + at * 1_000_000
}

/// Looks for a failure from a seed on: what it found.
#[cfg(ostler_zoo)]
type Hunt = fn(u64, std::time::Duration) -> Option<String>;

/// Searches from several seeds at once; how long each took and what it found, in the order of the seeds.
#[cfg(ostler_zoo)]
fn from_all_starts(
    hunt: Hunt,
    starts: u64,
    limit: std::time::Duration,
    threads: usize,
) -> Vec<(std::time::Duration, Option<String>)> {
    use std::collections::BTreeMap;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    let next = AtomicU64::new(0);
    let misses = AtomicU64::new(0);
    let hunts = Mutex::new(BTreeMap::new());
    // A panic is a finding, and is told in the table.
    std::panic::set_hook(Box::new(|_| {}));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= starts {
                        return;
                    }
                    let meter = crate::cpu::Meter::start();
                    // Where the median cannot be found any more there is nothing left to look for.
                    let hopeless = misses.load(Ordering::Relaxed) * 2 > starts;
                    let found = if hopeless { None } else { hunt(start_of(at), limit) };
                    misses.fetch_add(u64::from(found.is_none()), Ordering::Relaxed);
                    hunts.lock().expect("no thread panics with it").insert(at, (meter.elapsed(), found));
                }
            });
        }
    });
    let _ = std::panic::take_hook();
    hunts.into_inner().expect("no thread panicked with it").into_values().collect()
}

/// Among servers that stand alone: crashes and random worlds in turn.
#[cfg(ostler_zoo)]
fn hunt_alone(start: u64, limit: std::time::Duration) -> Option<String> {
    crate::crash::hunt(start, limit)
}

/// Among ensembles.
#[cfg(ostler_zoo)]
fn hunt(start: u64, limit: std::time::Duration) -> Option<String> {
    let meter = crate::cpu::Meter::start();
    (start..)
        .take_while(|_| meter.elapsed() < limit)
        .find_map(|seed| crate::ensemble::run(seed, false).err().map(|why| format!("seed {seed}: {why}")))
}
