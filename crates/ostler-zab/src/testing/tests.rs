//! Random runs. `OSTLER_SEEDS=100000 OSTLER_START=1 cargo test -p ostler-zab random_runs` for more,
//! `OSTLER_SEED=7 cargo test -p ostler-zab one_seed -- --nocapture` to see one.

use std::time::Instant;

use super::swarm;
use super::world::Stats;

fn number(name: &str, other: u64) -> u64 {
    std::env::var(name).map_or(other, |value| value.parse().expect("a number"))
}

impl Stats {
    fn add(&mut self, more: &Self) {
        self.events += more.events;
        self.elections += more.elections;
        self.established += more.established;
        self.diffs += more.diffs;
        self.truncs += more.truncs;
        self.snaps += more.snaps;
        self.crashes += more.crashes;
        self.cuts += more.cuts;
        self.commits += more.commits;
        self.proposals += more.proposals;
        self.cannot_truncate += more.cannot_truncate;
        self.exhausted += more.exhausted;
        self.from_logs += more.from_logs;
    }
}

/// Runs a seed; a panic of the peer is a violation as well.
fn violation(seed: u64, total: &mut Stats) -> Option<String> {
    match std::panic::catch_unwind(|| swarm::run(seed)) {
        Ok(outcome) => {
            total.add(&outcome.stats);
            outcome.violation
        }
        Err(panic) => Some(
            panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                .unwrap_or_default(),
        ),
    }
}

#[test]
fn random_runs() {
    let (start, seeds) = (number("OSTLER_START", 1), number("OSTLER_SEEDS", 3000));
    let began = Instant::now();
    let mut total = Stats::default();
    let mut failed = Vec::new();
    for seed in start..start + seeds {
        if let Some(violation) = violation(seed, &mut total) {
            failed.push((seed, violation));
            if failed.len() >= 10 {
                break;
            }
        }
    }
    println!("{seeds} seeds in {:?}: {total:?}", began.elapsed());
    for (seed, violation) in &failed {
        println!("seed {seed}: {violation}");
    }
    assert!(failed.is_empty(), "{} of {seeds} seeds failed", failed.len());
    if seeds >= 1000 {
        // A run that saw too little says nothing.
        assert!(total.established > 2 * seeds, "{total:?}");
        assert!(total.commits > 10 * seeds, "{total:?}");
        assert!(total.diffs > seeds && total.snaps > seeds / 2 && total.truncs > seeds / 6, "{total:?}");
        assert!(total.crashes > seeds && total.cuts > seeds / 4, "{total:?}");
        assert!(total.exhausted > 10, "{total:?}");
        assert!(total.from_logs > seeds / 10, "{total:?}");
    }
}

#[test]
fn one_seed() {
    let Ok(seed) = std::env::var("OSTLER_SEED") else { return };
    let outcome = swarm::trace(seed.parse().expect("a number"));
    for line in &outcome.trace {
        println!("{line}");
    }
    assert_eq!(outcome.violation, None);
}

#[test]
fn a_seed_is_the_whole_of_what_happens() {
    for seed in 1..=20 {
        let (one, two) = (swarm::trace(seed), swarm::trace(seed));
        assert_eq!(one.trace, two.trace, "seed {seed}");
    }
}

/// The test of the tester: each planted bug has to be found, from seed 1 and in the median of five starts.
/// `RUSTFLAGS='--cfg ostler_zoo'`, in a target directory of its own: `cargo test -p ostler-zab --lib the_zoo --
/// --nocapture`; `OSTLER_SEEDS` is how many seeds each search may take.
#[cfg(ostler_zoo)]
#[test]
fn the_zoo() {
    use ostler_wire::zoo::{Mutation, plant};

    // One bug at a time is planted in the whole process, so the other tests must not run beside this one.
    std::panic::set_hook(Box::new(|_| {}));
    let seeds = number("OSTLER_SEEDS", 20_000);
    let mut missed = Vec::new();
    for mutation in Mutation::ENSEMBLE {
        plant(mutation);
        let mut needed = Vec::new();
        let mut first = None;
        for start in (0..5).map(|at| 1 + at * 1_000_000) {
            let began = Instant::now();
            let found = (start..start + seeds)
                .find_map(|seed| violation(seed, &mut Stats::default()).map(|why| (seed + 1 - start, why)));
            let seconds = began.elapsed().as_secs_f64();
            if start == 1 {
                first.clone_from(&found);
            }
            needed.push((found.map_or(u64::MAX, |(count, _)| count), seconds));
            if start == 1 && first.is_none() {
                break;
            }
        }
        needed.sort_by_key(|(count, _)| *count);
        let median = needed[needed.len() / 2];
        match first {
            Some((count, why)) if median.0 < u64::MAX => {
                let (median, seconds) = median;
                println!("{mutation:?} | {count} | {median} | {seconds:.2} s | {why}");
            }
            _ => {
                println!("{mutation:?} | NOT FOUND in {seeds} seeds");
                missed.push(mutation);
            }
        }
    }
    plant(Mutation::None);
    let _ = std::panic::take_hook();
    assert!(missed.is_empty(), "not found: {missed:?}");
}
