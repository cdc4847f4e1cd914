//! Every state of bounded worlds. The small ones are part of every test run; `cargo model` looks at the large ones, and
//! prints their bounds and counts.

use std::time::Instant;

use super::explore::{Found, Seen, explore};
use super::model::{Bounds, Model};

/// Prints what was seen of a model; the whole of it must have been.
fn all_of(model: &Model) -> Seen {
    let began = Instant::now();
    let model = &Model { bounds: told(model.bounds), ..model.clone() };
    let most = std::env::var("OSTLER_STATES").map_or(u64::MAX, |most| most.parse().expect("a number"));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let Found { seen, complete, violation } = explore(model, most, threads);
    println!(
        "{}, 3 servers, {} beginnings, at most {:?}: {seen:?}, {:.1} s",
        model.name,
        model.disks.len(),
        model.bounds,
        began.elapsed().as_secs_f64()
    );
    if let Some((violation, trace)) = violation {
        for line in trace {
            println!("{line}");
        }
        panic!("{violation}");
    }
    assert!(complete, "there are more states");
    seen
}

/// Other bounds, if the environment has them: `OSTLER_BOUNDS=txns,crashes,cuts,timeouts,rounds,epochs`.
fn told(bounds: Bounds) -> Bounds {
    let Ok(text) = std::env::var("OSTLER_BOUNDS") else { return bounds };
    let numbers: Vec<u8> = text.split(',').map(|number| number.parse().expect("a number")).collect();
    let [txns, crashes, cuts, timeouts, rounds, epochs] = numbers[..] else { panic!("six numbers") };
    Bounds { txns, crashes, cuts, timeouts, rounds, epochs }
}

const NOTHING: Bounds = Bounds { txns: 0, crashes: 0, cuts: 0, timeouts: 0, rounds: 2, epochs: 20 };

#[test]
fn some_states_of_an_election() {
    let mut model = Model::election(NOTHING);
    model.disks.truncate(1);
    let seen = all_of(&model);
    assert!(seen.states > 1_000, "{seen:?}");
}

#[test]
fn some_states_of_a_sync() {
    let mut model = Model::sync(Bounds { crashes: 1, ..NOTHING });
    model.disks.truncate(1);
    let seen = all_of(&model);
    assert!(seen.states > 1_000, "{seen:?}");
}

#[test]
fn some_states_of_a_broadcast() {
    let seen = all_of(&Model::broadcast(Bounds { txns: 1, ..NOTHING }));
    assert!(seen.states > 500, "{seen:?}");
}

#[test]
#[ignore = "minutes; `cargo model` runs it"]
fn every_state_of_an_election() {
    let seen = all_of(&Model::election(NOTHING));
    assert!(seen.states > 100_000, "{seen:?}");
}

#[test]
#[ignore = "minutes; `cargo model` runs it"]
fn every_state_of_a_sync() {
    let mut model = Model::sync(Bounds { crashes: 3, ..NOTHING });
    model.disks.truncate(1);
    let seen = all_of(&model);
    assert!(seen.states > 1_000_000, "{seen:?}");
}

#[test]
#[ignore = "minutes; `cargo model` runs it"]
fn every_state_of_a_sync_from_other_beginnings() {
    let seen = all_of(&Model::sync(Bounds { crashes: 1, ..NOTHING }));
    assert!(seen.states > 10_000, "{seen:?}");
}

#[test]
#[ignore = "minutes; `cargo model` runs it"]
fn every_state_of_a_broadcast() {
    let seen = all_of(&Model::broadcast(Bounds { txns: 2, crashes: 1, ..NOTHING }));
    assert!(seen.states > 100_000, "{seen:?}");
}
