//! Every recipe under faults: at least 1,000 schedules each, from seeds. Connections are lost before a request is done
//! and before its answer arrives, for a moment or until the session lapses or expires; sessions are expired; processes
//! are killed. The first 300 schedules lose the connection at one request after the other, once before and once behind it;
//! the rest is chance. `OSTLER_SCHEDULES` sets another number, `OSTLER_SEED` runs one.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests panic, and tell their counts")]

mod caches;
mod commits;
mod elections;
mod gatherings;
mod locks;
mod values;
mod world;

use std::future::Future;
use std::io::Write as _;
use std::ops::Range;
use std::time::Duration;

use world::{Faults, World};

/// Longer than anything may take, in the time of the world: whoever waits longer waits for ever.
const FOR_EVER: Duration = Duration::from_secs(900);

/// Runs a scenario under many seeds, and prints what happened.
fn schedules<F: Future<Output = ()>>(name: &str, scenario: impl Fn(World) -> F) {
    let number = |key: &str| std::env::var(key).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("OSTLER_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("OSTLER_SCHEDULES").unwrap_or(1000),
    };
    let count = seeds.end - seeds.start;
    let mut faults = Faults::default();
    for seed in seeds {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let run = std::panic::AssertUnwindSafe(|| {
            runtime.block_on(async {
                let world = World::new(seed);
                let done = tokio::time::timeout(FOR_EVER, scenario(world.clone())).await;
                assert!(done.is_ok(), "somebody waits for ever; the tree: {:?}", world.tree());
                world.faults()
            })
        });
        match std::panic::catch_unwind(run) {
            Ok(more) => faults.add(more),
            Err(panic) => {
                eprintln!(
                    "{name} failed; again: OSTLER_SEED={seed} cargo test -p ostler-client --test recipes {name}"
                );
                std::panic::resume_unwind(panic);
            }
        }
    }
    let Faults { lost_requests, lost_replies, outages, expired, killed, requests, aimed } = faults;
    // Past the harness, which keeps what a test prints to itself when it passes.
    let _ = writeln!(
        std::io::stdout(),
        "{name}: {count} schedules, {requests} requests; lost before {lost_requests}, lost after {lost_replies} \
         ({aimed} of them one step after the other), outages {outages}, sessions expired {expired}, \
         processes killed {killed}"
    );
    assert!(
        count < 100 || lost_requests > 0 && lost_replies > 0 && expired > 0,
        "there were next to no faults"
    );
}

/// Perhaps one of the processes that are `victims` is killed, within so many milliseconds: its connections are cut for
/// good, and its task is no more. The tasks are those of the processes from 0 on. Says which.
async fn perhaps_kill<T>(
    world: &World,
    tasks: &mut Vec<tokio::task::JoinHandle<T>>,
    victims: Range<usize>,
    within_ms: u64,
) -> Option<usize> {
    let mut random = world.random();
    if !random.percent(30) {
        return None;
    }
    tokio::time::sleep(random.millis(within_ms)).await;
    let victim = victims.start + usize::try_from(random.below(victims.len() as u64)).unwrap();
    world.kill(victim);
    tasks.remove(victim).abort();
    Some(victim)
}

/// Whether an error only says that the session is over, which every scenario has to live with.
fn session_lost(error: &ostler_client::Error) -> bool {
    error.kind() == ostler_client::ErrorKind::SessionLost
}
