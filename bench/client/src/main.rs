//! What a get costs the client in CPU time and allocations: unpipelined, and with 64 under way, as futures of their own
//! and as batches. Three take turns in one process against one server: a bare epoll loop that sends and reads the same
//! frames and knows nothing else, this project's client, and the crate `zookeeper-client`. Ratios are between neighbours
//! in time, and the median counts, as the machine may have other work.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement prints, and stops at the first surprise"
)]

mod bare;

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::time::{ClockId, clock_gettime};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[allow(unsafe_code, reason = "to count allocations one has to be the allocator")]
// SAFETY: everything is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

pub(crate) const PATH: &str = "/bench-client";
const DEPTH: usize = 64;
const ROUNDS: usize = 15;
/// While one has its turn the others do not run, and cannot ping.
const LONG: std::time::Duration = std::time::Duration::from_secs(3600);

/// CPU time of this process, in microseconds.
fn cpu_us() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

/// CPU microseconds and allocations per get.
#[derive(Clone, Copy)]
struct Cost {
    us: f64,
    allocations: f64,
}

fn measure(gets: usize, mut run: impl FnMut(usize)) -> Cost {
    let (cpu, allocations) = (cpu_us(), ALLOCATIONS.load(Ordering::Relaxed));
    run(gets);
    let per_get = |total: f64| total / gets as f64;
    Cost {
        us: per_get(cpu_us() - cpu),
        allocations: per_get((ALLOCATIONS.load(Ordering::Relaxed) - allocations) as f64),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let server = std::env::args().nth(1).expect("usage: ostler-bench-client host:port [pipelined]");
    // Only that part, for a look with a profiler.
    let only_pipelined = std::env::args().nth(2).is_some_and(|word| word == "pipelined");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ours = runtime.block_on(async {
        let builder = ostler_client::Client::builder(&server).unwrap().session_timeout(LONG);
        let client = builder.connect().await.unwrap();
        let created = client.create(PATH, vec![7_u8; 128], ostler_client::CreateMode::Persistent).await;
        drop(created);
        client
    });
    let theirs = zookeeper_client::Client::connector().with_session_timeout(LONG);
    let theirs = runtime.block_on(theirs.connect(&server)).unwrap();
    let mut bare = bare::Bare::connect(&server);
    let mut failed = false;
    for (name, depth, gets, batches, bound) in [
        ("unpipelined", 1, 4_000, false, Some(1.5)),
        ("64 under way, a future each", DEPTH, 60_000, false, None),
        ("64 under way, in batches of 32", DEPTH, 60_000, true, Some(1.5)),
    ] {
        if only_pipelined && depth == 1 {
            continue;
        }
        let mut costs: [Vec<Cost>; 3] = Default::default();
        for round in 0..=ROUNDS {
            let turn = [
                measure(gets, |gets| bare.run(gets, depth)),
                measure(gets, |gets| {
                    let ours = ours.clone();
                    in_a_task(&runtime, async move {
                        if batches {
                            run_batches(gets, depth, &ours).await;
                        } else {
                            run_gets(gets, depth, || ours.get_data(PATH)).await;
                        }
                    });
                }),
                measure(gets, |gets| {
                    let theirs = theirs.clone();
                    in_a_task(&runtime, async move { run_gets(gets, depth, || theirs.get_data(PATH)).await });
                }),
            ];
            // The first warms up.
            if round > 0 {
                for (list, cost) in costs.iter_mut().zip(turn) {
                    list.push(cost);
                }
            }
        }
        let us = |who: usize| median(costs[who].iter().map(|cost| cost.us).collect());
        let allocations = |who: usize| median(costs[who].iter().map(|cost| cost.allocations).collect());
        let ratio =
            |a: usize, b: usize| median(costs[a].iter().zip(&costs[b]).map(|(a, b)| a.us / b.us).collect());
        println!("{name}: CPU µs and allocations per get, median of {ROUNDS} rounds of {gets}");
        for (who, label) in ["bare epoll loop", "ostler-client", "zookeeper-client"].iter().enumerate() {
            println!("  {label:<18} {:>7.3} µs  {:>5.2} allocations", us(who), allocations(who));
        }
        let said = bound.map_or_else(String::new, |bound| format!("   (at most {bound:.2})"));
        println!("  ostler-client / bare loop        {:.2}{said}", ratio(1, 0));
        println!("  ostler-client / zookeeper-client {:.2}   (below 1.00)", ratio(1, 2));
        failed |= bound.is_some_and(|bound| ratio(1, 0) > bound) || ratio(1, 2) >= 1.0 || allocations(1) > 2.0;
    }
    runtime.block_on(async {
        drop(ours.delete(PATH, ostler_client::ANY_VERSION).await);
        ours.close().await;
    });
    println!("{}", if failed { "a bound is missed" } else { "all bounds are kept" });
    std::process::exit(i32::from(failed));
}

/// Runs something as programs do, in a task: whoever blocks on a future has tokio look at the sockets once more each time
/// that the future is woken.
fn in_a_task(runtime: &tokio::runtime::Runtime, work: impl Future<Output = ()> + Send + 'static) {
    runtime.block_on(runtime.spawn(work)).unwrap();
}

/// Keeps so many gets under way until so many are answered.
async fn run_gets<D: AsRef<[u8]>, S, E: std::fmt::Debug, R>(gets: usize, depth: usize, get: impl Fn() -> R)
where
    R: Future<Output = Result<(D, S), E>>,
{
    let mut under_way = VecDeque::with_capacity(depth);
    for _ in 0..gets {
        if under_way.len() == depth {
            assert_eq!(length(under_way.pop_front().unwrap()).await, 128);
        }
        under_way.push_back(get());
    }
    for reply in under_way {
        length(reply).await;
    }
}

/// The same with batches, two of which are under way.
async fn run_batches(gets: usize, depth: usize, client: &ostler_client::Client) {
    let paths = vec![PATH; depth / 2];
    let mut under_way = VecDeque::with_capacity(2);
    let mut asked = 0;
    while asked < gets || !under_way.is_empty() {
        while asked < gets && under_way.len() < 2 {
            let paths = &paths[..paths.len().min(gets - asked)];
            under_way.push_back(client.get_data_batch(paths));
            asked += paths.len();
        }
        let mut answers = under_way.pop_front().unwrap();
        while let Some(answer) = answers.next().await {
            assert_eq!(answer.unwrap().0.len(), 128);
        }
    }
}

/// Waits for an answer: how long the data is.
async fn length<D: AsRef<[u8]>, S, E: std::fmt::Debug>(
    reply: impl Future<Output = Result<(D, S), E>>,
) -> usize {
    reply.await.unwrap().0.as_ref().len()
}
