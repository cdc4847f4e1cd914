//! The search among ensembles: seeds by the thousand on all processors, their totals, and the line that replays a
//! failure. Totals that are too small fail too: a test that did too little is no test.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::cpu::Meter;
use crate::ensemble::{self, Report};

/// What is searched.
#[derive(Debug)]
pub(crate) struct Search {
    start: u64,
    seeds: Option<u64>,
    until: Option<Instant>,
    twice: u64,
    threads: usize,
}

impl Search {
    pub(crate) fn of(args: &crate::Args) -> Self {
        Self {
            start: args.start,
            seeds: args.seeds,
            until: args.minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes)),
            twice: args.twice,
            threads: args
                .threads
                .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
        }
    }
}

/// One ensemble.
#[expect(clippy::print_stdout, reason = "the report of a command")]
pub(crate) fn one(seed: u64, print: bool) -> bool {
    match ensemble::run(seed, print) {
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

/// Many.
#[expect(clippy::print_stdout, reason = "the report of a command")]
pub(crate) fn run(search: &Search) -> bool {
    let began = Instant::now();
    let end = search.start.saturating_add(search.seeds.unwrap_or(u64::MAX - search.start));
    let next = AtomicU64::new(search.start);
    let failures = AtomicU64::new(0);
    let total: Mutex<(u64, Report)> = Mutex::default();
    let used = Mutex::new(Duration::ZERO);
    let work = || {
        let meter = Meter::start();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let late = search.until.is_some_and(|until| Instant::now() > until);
            if seed >= end || late || failures.load(Ordering::Relaxed) >= 10 {
                *used.lock().expect("no thread panics with it") += meter.elapsed();
                return;
            }
            let pair = search.twice > 0 && seed.is_multiple_of(search.twice);
            let result = ensemble::run(seed, false).and_then(|first| {
                if pair && ensemble::run(seed, false)?.hash != first.hash {
                    return Err(crate::check::violation!("two runs have different traces"));
                }
                Ok(first)
            });
            match result {
                Ok(report) => {
                    let mut total = total.lock().expect("no thread panics with it");
                    total.0 += u64::from(pair);
                    total.1.add(&report);
                }
                Err(violation) => {
                    failures.fetch_add(1, Ordering::Relaxed);
                    println!("seed {seed} FAILED: {violation}\n    replay: cargo sim --seed {seed} --trace");
                }
            }
        }
    };
    // A panic is a failure of its seed, and is told there.
    std::panic::set_hook(Box::new(|_| {}));
    std::thread::scope(|scope| {
        for _ in 0..search.threads {
            scope.spawn(work);
        }
    });
    let _ = std::panic::take_hook();
    let (pairs, sum) = *total.lock().expect("no thread panicked with it");
    let failures = failures.load(Ordering::Relaxed);
    let seconds = began.elapsed().as_secs_f64();
    let hours = sum.simulated_us as f64 / 3.6e9;
    let used_minutes = used.into_inner().expect("no thread panicked with it").as_secs_f64() / 60.0;
    println!(
        "{} seeds, {pairs} of them twice with the same trace, {failures} failures, {seconds:.1} s\n  \
         client operations {}, acknowledged {}, transactions {}\n  \
         crashes {}, of them power cuts {}, leader changes {}\n  \
         DIFF {}, TRUNC {}, SNAP {}, sessions moved {}, expired {}\n  \
         observers that began with the leader {}, with a follower {}\n  \
         seeds with lanes=1 {}, with lanes=3 {}, {} events\n  \
         {hours:.1} simulated cluster-hours, {:.1} per minute and thread ({} threads), {:.1} per minute of a processor",
        sum.seeds,
        sum.operations,
        sum.answered,
        sum.txns,
        sum.crashes,
        sum.power_cuts,
        sum.leader_changes,
        sum.diffs,
        sum.truncs,
        sum.snaps,
        sum.moved,
        sum.expired,
        sum.observers,
        sum.by_masters,
        sum.one_lane,
        sum.three_lanes,
        sum.events,
        hours / (seconds / 60.0) / search.threads as f64,
        search.threads,
        hours / used_minutes,
    );
    failures == 0 && is_enough(&sum)
}

/// Whether so much happened as has to in so many seeds.
#[expect(clippy::print_stdout, reason = "the report of a command")]
fn is_enough(sum: &Report) -> bool {
    // In a few seeds chance weighs too much.
    if sum.seeds < 200 {
        return true;
    }
    let goals = [
        ("client operations", sum.operations, 10_000_000),
        ("crashes", sum.crashes, 20_000),
        ("leader changes", sum.leader_changes, 20_000),
        ("DIFF", sum.diffs, 2_000),
        ("TRUNC", sum.truncs, 2_000),
        ("SNAP", sum.snaps, 2_000),
        ("observers that began with a follower", sum.by_masters, 10_000),
        ("seeds with lanes=1", sum.one_lane, 5_000),
        ("seeds with lanes=3", sum.three_lanes, 2_500),
    ];
    let mut enough = true;
    for (what, count, of_20_000) in goals {
        let goal = of_20_000 * sum.seeds / 20_000;
        if count < goal {
            println!("too few {what}: {count}, and {goal} are the least in {} seeds", sum.seeds);
            enough = false;
        }
    }
    enough
}
