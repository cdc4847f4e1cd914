//! Tests of the tester: it does the same each time, what it runs is right, and it sees what is wrong.

use ostler_client::Request;
use ostler_wire::client::response::Response;
use ostler_wire::txn::Txn;
use ostler_wire::{Code, Zxid};

use crate::check::clients;
use crate::crash;
use crate::ensemble;
use crate::history::{Expiry, Item, Outcome};
use crate::swarm;
use crate::world::World;

/// A world that ended well, with something of everything in it.
fn good_world(seed: u64) -> World {
    let (world, result) = swarm::live_through(seed, None, false);
    assert_eq!(result, Ok(()), "seed {seed}");
    world
}

#[test]
fn some_seeds_are_right_and_do_the_same_twice() {
    let mut hashes = Vec::new();
    for seed in 0..6 {
        let lanes = Some(if seed % 2 == 0 { 1 } else { 3 });
        let first = swarm::run(seed, lanes, false).unwrap();
        let second = swarm::run(seed, lanes, false).unwrap();
        assert_eq!(first.hash, second.hash, "seed {seed}");
        assert_eq!(first.steps, second.steps, "seed {seed}");
        hashes.push(first.hash);
    }
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 6, "every seed is another world");
}

#[test]
fn some_ensembles_are_right_and_do_the_same_twice() {
    let mut hashes = Vec::new();
    for seed in 1..=5 {
        let first = ensemble::run(seed, false).unwrap();
        let second = ensemble::run(seed, false).unwrap();
        assert_eq!((first.hash, first.events), (second.hash, second.events), "seed {seed}");
        assert!(first.simulated_us > 60_000_000, "seed {seed} has a minute of faults");
        hashes.push(first.hash);
    }
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 5, "every seed is another ensemble");
}

#[test]
fn a_short_run_of_the_scenarios_is_right() {
    let plan = crash::Plan {
        lanes: vec![1, 3],
        seed: 1,
        recoveries: Some(400),
        scenario: None,
        call: None,
        print: false,
    };
    assert!(crash::run(&plan));
}

/// Histories that are wrong in one place each must all be refused.
#[test]
fn wrong_histories_are_refused() {
    let mut tried = [0; 9];
    for seed in 100..130 {
        for (kind, tried) in tried.iter_mut().enumerate().filter(|(_, tried)| **tried == 0) {
            let mut world = good_world(seed);
            assert_eq!(clients::check(&world.truth, &world.history), Ok(()));
            let Some(what) = spoil(&mut world, kind) else { continue };
            assert!(
                clients::check(&world.truth, &world.history).is_err(),
                "seed {seed}: {what} was not seen"
            );
            *tried += 1;
        }
    }
    assert!(tried.iter().all(|tried| *tried > 0), "not every kind was tried: {tried:?}");
}

/// Makes one thing wrong; `None` if the history has nothing of the kind.
fn spoil(world: &mut World, kind: usize) -> Option<&'static str> {
    let World { history, truth, .. } = world;
    let answered_write = |op: &crate::history::Op| {
        matches!(op.request, Request::Write(_))
            && matches!(op.outcome, Outcome::Answered { result: Ok(_), .. })
    };
    match kind {
        0 => {
            let op = history.ops.iter().rev().find(|op| answered_write(op))?;
            let Outcome::Answered { zxid, .. } = op.outcome else { return None };
            truth.retain(|entry| entry.header.zxid != zxid);
            Some("a lost write")
        }
        1 => {
            let answer = history.ops.iter_mut().find_map(|op| match &mut op.outcome {
                Outcome::Answered { result: Ok(Response::Data { data, .. }), .. } => Some(data),
                _ => None,
            })?;
            *answer = Some("something else".into());
            Some("wrong data")
        }
        2 => {
            let stat = history.ops.iter_mut().find_map(|op| match &mut op.outcome {
                Outcome::Answered { result: Ok(Response::Stat(stat)), .. } => Some(stat),
                _ => None,
            })?;
            stat.pzxid += 1;
            Some("a wrong Stat")
        }
        3 => {
            let code = history.ops.iter_mut().find_map(|op| match &mut op.outcome {
                Outcome::Answered { result: Err(code @ Code::NoNode), .. } => Some(code),
                _ => None,
            })?;
            *code = Code::NodeExists;
            Some("a wrong code")
        }
        4 => {
            let (story, at) = find_event(world)?;
            world.history.sessions[story].items.remove(at);
            Some("a missing event")
        }
        5 => {
            let (story, at) = find_event(world)?;
            let Item::Event { kind, path, zxid } = &world.history.sessions[story].items[at] else {
                return None;
            };
            let again = Item::Event { kind: *kind, path: path.clone(), zxid: *zxid };
            world.history.sessions[story].items.insert(at, again);
            Some("an event that came twice")
        }
        6 => {
            let op = history.ops.iter_mut().find(|op| answered_write(op))?;
            op.outcome = Outcome::NotDone;
            Some("a write that was said not to have happened")
        }
        7 => {
            let op = history.ops.iter().rev().find(|op| answered_write(op))?;
            let session = op.sent?.session;
            history.expiries.push(Expiry { session, at_us: op.done_us + 1, zxid: None });
            Some("an early expiry")
        }
        _ => {
            let at = truth.iter().rposition(|entry| matches!(entry.txn, Txn::Create(_)))?;
            let mut again = truth[at].clone();
            again.header.zxid = Zxid(truth.last()?.header.zxid.0 + 1);
            truth.push(again);
            Some("a write that happened twice")
        }
    }
}

/// An event of a one-shot watch, told by its zxid, with a later answer on the same connection that proves it due.
fn find_event(world: &World) -> Option<(usize, usize)> {
    for (story, session) in world.history.sessions.iter().enumerate() {
        for (at, item) in session.items.iter().enumerate() {
            let Item::Event { zxid, .. } = item else { continue };
            let mut after = session.items[at + 1..].iter();
            let next = after.find(|item| matches!(item, Item::Reply(_) | Item::Disconnected));
            if let Some(Item::Reply(op)) = next
                && zxid.0 > 0
                && matches!(&world.history.ops[*op].outcome, Outcome::Answered { zxid: seen, .. } if seen >= zxid)
            {
                return Some((story, at));
            }
        }
    }
    None
}
