//! Every state of bounded worlds. The small ones are part of every test run; `cargo model` looks at the large ones, and
//! prints their bounds and counts.

use std::time::Instant;

use super::explore::{Found, Seen, explore};
use super::model::{Bounds, Free, Model};

/// Prints what was seen of a model; the whole of it must have been.
fn all_of(model: &Model) -> Seen {
    let began = Instant::now();
    let model = &Model { bounds: told(model.bounds), ..model.clone() };
    let most = std::env::var("OSTLER_STATES").map_or(u64::MAX, |most| most.parse().expect("a number"));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let Found { seen, complete, violation } = explore(model, most, threads);
    let Bounds { txns, crashes, cuts, timeouts, rounds, epochs } = model.bounds;
    let limit = match model.free {
        Free::Votes => format!("rounds {rounds}"),
        Free::Packets => format!("epoch {epochs}"),
    };
    let Seen { states, steps, beyond, waiting } = seen;
    let logged = model.disks.iter().flatten().map(|(log, _)| log.len()).max().unwrap_or(0);
    println!(
        "{}, 3 servers, {} beginnings, at most: transactions {logged} on disk and {txns} new, crashes {crashes}, cut links \
         {cuts}, impatience {timeouts}, {limit}\n    {states} unique states, {steps} steps, {beyond} at the last bound, \
         {waiting} where all wait, {:.1} s",
        model.name,
        model.disks.len(),
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

const NOTHING: Bounds = Bounds { txns: 0, crashes: 0, cuts: 0, timeouts: 0, rounds: 1, epochs: 3 };

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
fn every_state_of_large_models() {
    let began = Instant::now();
    let election = Model::election(NOTHING);
    // Three empty servers; one that is ahead of two; one each of three histories; two that have what the third lacks.
    let some = [0, 3, 27, 58].map(|place| election.disks[place].clone()).to_vec();
    let again = Model { disks: some, ..Model::election(Bounds { rounds: 2, ..NOTHING }) };
    let mut sync = Model::sync(Bounds { crashes: 3, ..NOTHING });
    let others = Model { disks: sync.disks.split_off(1), ..Model::sync(Bounds { crashes: 2, ..NOTHING }) };
    let broadcast = Model::broadcast(Bounds { txns: 2, crashes: 1, ..NOTHING });
    let states: u64 =
        [election, again, sync, others, broadcast].iter().map(|model| all_of(model).states).sum();
    println!("{states} unique states in all, no violation, {:.1} s", began.elapsed().as_secs_f64());
    assert!(states >= 2_000_000, "{states}");
}
