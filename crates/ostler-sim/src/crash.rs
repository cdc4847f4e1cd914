//! Every call of the disk that a scenario makes is, once for each kind of end, the last one: the process is killed
//! before it or after it, the power fails and leaves this or that, the call fails, the disk is full. Each time the
//! server has to come back with everything that was acknowledged and nothing that was half done, to survive a
//! second crash while it comes back, and to go on. At the end of a scenario every file rots, bit by bit.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ostler_client::Request;
use ostler_node::recover::recover;
use ostler_store::sim::{Fault, FaultPlan, PowerCut, SimDisk};
use ostler_store::{Dir, Disk, DiskOp, FilePath, RestoreOptions};
use ostler_wire::acl::Acl;
use ostler_wire::client::write::CreateMode;

use crate::check::{Violation, violation};
use crate::history::Outcome;
use crate::scenarios::{SCENARIOS, Scenario};
use crate::world::{World, judge_store};

/// The images that a power cut leaves after each call, by kind; each with a seed of its own.
const CUTS: [PowerCut; 8] = [
    PowerCut::DropUnsynced,
    PowerCut::Prefix,
    PowerCut::Torn,
    PowerCut::Torn,
    PowerCut::Torn,
    PowerCut::LoseNames,
    PowerCut::Anything,
    PowerCut::Anything,
];
/// How many bits of each file rot at the most, in a full run and in a short one.
const FLIPS_A_FILE: [u64; 2] = [400, 10];

/// What to run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The lanes to run with.
    pub lanes: Vec<usize>,
    /// What the scenarios draw from.
    pub seed: u64,
    /// Stop after so many recoveries.
    pub recoveries: Option<u64>,
    /// Only the scenario of this name.
    pub scenario: Option<String>,
    /// Only this call of the disk.
    pub call: Option<u64>,
    /// Print the traces.
    pub print: bool,
}

/// What a run came to.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Restores of a tree from a disk.
    pub recoveries: AtomicU64,
    /// Crash images that had not been seen before, by hash.
    images: Mutex<BTreeSet<u64>>,
    /// Bits that rotted; of those, starts that were refused.
    flips: AtomicU64,
    refused: AtomicU64,
    errors: AtomicU64,
}

/// One scenario with one number of lanes, and how many calls it makes.
struct Course {
    scenario: Scenario,
    lanes: usize,
    calls: u64,
    covered: AtomicU64,
}

/// Runs the plan on all processors and prints the totals. Whether all was well.
#[expect(clippy::print_stdout, reason = "the report of a command")]
pub(crate) fn run(plan: &Plan) -> bool {
    let began = Instant::now();
    let tally = Tally::default();
    let failures: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let courses = courses(plan, &failures);
    // The last item of each course, behind its calls, is the rot.
    let mut items: Vec<(usize, u64)> = Vec::new();
    for (at, course) in courses.iter().enumerate() {
        let calls = (0..=course.calls).filter(|call| plan.call.is_none_or(|only| only == *call));
        items.extend(calls.map(|call| (at, call)));
    }
    // A short run takes a bit of everything.
    let stride = if plan.recoveries.is_some() { 7919 } else { 1 };
    let count = items.len().max(1);
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let work = || {
        loop {
            let turn = next.fetch_add(1, Ordering::Relaxed);
            if turn >= items.len() || stop.load(Ordering::Relaxed) {
                return;
            }
            let (at, call) = items[(turn * stride) % count];
            let course = &courses[at];
            let result = if call == course.calls {
                rot(course, plan, &tally)
            } else {
                end_at(course, call, plan, &tally)
            };
            match result {
                Ok(()) => {
                    course.covered.fetch_add(u64::from(call < course.calls), Ordering::Relaxed);
                }
                Err(why) => {
                    let mut failures = failures.lock().expect("no thread panics with it");
                    failures.push(format!(
                        "{} ({} lanes), call {call}: {why}\n    {}",
                        course.scenario.name,
                        course.lanes,
                        replay_line(plan.seed, course, call)
                    ));
                    stop.fetch_or(failures.len() >= 10, Ordering::Relaxed);
                }
            }
            let enough = plan.recoveries.is_some_and(|most| tally.recoveries.load(Ordering::Relaxed) >= most);
            stop.fetch_or(enough, Ordering::Relaxed);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let failures = failures.into_inner().expect("no thread panicked with it");
    report(&courses, &tally, &failures, began.elapsed());
    let recoveries = tally.recoveries.load(Ordering::Relaxed);
    let mut fine = failures.is_empty();
    if let Some(wanted) = plan.recoveries {
        if recoveries < wanted {
            println!("too few recoveries: {recoveries} of {wanted}");
            fine = false;
        }
    } else if plan.call.is_none()
        && courses.iter().any(|course| course.covered.load(Ordering::Relaxed) < course.calls)
    {
        println!("not every call was covered");
        fine = false;
    }
    fine
}

/// Looks for a first failure with one processor, crashes and random worlds in turn. What found it, if anything did.
#[cfg(ostler_zoo)]
pub(crate) fn hunt(start: u64, limit: Duration) -> Option<String> {
    let meter = crate::cpu::Meter::start();
    let lanes = vec![1, 3];
    let plan = Plan { lanes, seed: start, recoveries: None, scenario: None, call: None, print: false };
    let failures = Mutex::new(Vec::new());
    let courses = courses(&plan, &failures);
    let tally = Tally::default();
    if let Some(first) = failures.into_inner().ok().and_then(|failures| failures.into_iter().next()) {
        return Some(first);
    }
    let mut items: Vec<(&Course, u64)> = Vec::new();
    for course in &courses {
        items.extend((0..course.calls).map(|call| (course, call)));
    }
    let mut seed = start;
    for turn in 0.. {
        if meter.elapsed() > limit {
            return None;
        }
        if turn % 6 == 5 || turn >= items.len() {
            if let Err(why) = crate::swarm::run(seed, None, false) {
                return Some(format!("seed {seed}: {why}"));
            }
            seed += 1;
        } else {
            let (course, call) = items[(turn * 7919) % items.len()];
            if let Err(why) = end_at(course, call, &plan, &tally) {
                return Some(format!(
                    "{} ({} lanes), call {call}: {why}",
                    course.scenario.name, course.lanes
                ));
            }
        }
    }
    None
}

/// Every scenario once without a fault: how many calls it makes, and whether it is right as such.
fn courses(plan: &Plan, failures: &Mutex<Vec<String>>) -> Vec<Course> {
    let mut courses = Vec::new();
    for scenario in SCENARIOS {
        if plan.scenario.as_ref().is_some_and(|name| name != scenario.name) {
            continue;
        }
        for lanes in &plan.lanes {
            let mut world = scenario.world(plan.seed, *lanes, plan.print && plan.call.is_none());
            let mut course = Course { scenario, lanes: *lanes, calls: 0, covered: AtomicU64::new(0) };
            let result = scenario.run(&mut world).and_then(|()| {
                if world.is_up() { world.judge() } else { Err(violation!("the script did not end")) }
            });
            course.calls = world.calls();
            if let Err(why) = result {
                let mut failures = failures.lock().expect("no thread panics with it");
                failures.push(format!("{} ({lanes} lanes) without a fault: {why}", scenario.name));
            }
            courses.push(course);
        }
    }
    courses
}

fn replay_line(seed: u64, course: &Course, call: u64) -> String {
    format!(
        "replay: cargo sim --scenario \"{}\" --lanes {} --start {seed} --call {call} --trace",
        course.scenario.name, course.lanes
    )
}

/// All the ends that a scenario can have at one call.
fn end_at(course: &Course, call: u64, plan: &Plan, tally: &Tally) -> Result<(), Violation> {
    let before = play(course, call, Fault::CrashBefore, plan)?;
    judge_image(&before, &before.disk.fork().revive(), tally)
        .map_err(|why| violation!("killed before it: {why}"))?;
    let after = play(course, call, Fault::CrashAfter, plan)?;
    judge_image(&after, &after.disk.fork().revive(), tally)
        .map_err(|why| violation!("killed after it: {why}"))?;
    for (number, cut) in CUTS.iter().enumerate() {
        let image = after.disk.power_cut(call * 64 + number as u64, *cut);
        judge_image(&after, &image, tally)
            .map_err(|why| violation!("power cut {cut:?} (image {number}) after it: {why}"))?;
    }
    for fault in [Fault::Error, Fault::Short, Fault::Full] {
        fail_at(course, call, fault, plan, tally).map_err(|why| violation!("{fault:?}: {why}"))?;
    }
    Ok(())
}

/// Plays a scenario until the machine crashes at a call.
fn play(course: &Course, call: u64, fault: Fault, plan: &Plan) -> Result<World, Violation> {
    let mut world = course.scenario.world(plan.seed, course.lanes, plan.print);
    world.aim(call, fault);
    course.scenario.run(&mut world)?;
    if !world.is_hit() || !world.disk.has_crashed() || world.is_up() {
        return Err(violation!("the script never came to call {call}: it is not the same each time"));
    }
    Ok(world)
}

/// The call fails. Either the server does without it, or it stops and the next one makes good.
fn fail_at(course: &Course, call: u64, fault: Fault, plan: &Plan, tally: &Tally) -> Result<(), Violation> {
    let mut world = course.scenario.world(plan.seed, course.lanes, plan.print);
    world.aim(call, fault);
    course.scenario.run(&mut world)?;
    if !world.is_hit() {
        return Err(violation!("the script never came to call {call}"));
    }
    tally.errors.fetch_add(1, Ordering::Relaxed);
    if world.is_up() {
        if fault != Fault::Full && must_stop(&world, call) {
            return Err(violation!("the log could not be written, and the server went on"));
        }
        world.judge()?;
    }
    world.absorb();
    judge_image(&world, &world.disk.fork().revive(), tally)
        .map_err(|why| violation!("then killed: {why}"))?;
    let image = world.disk.power_cut(call, PowerCut::DropUnsynced);
    judge_image(&world, &image, tally).map_err(|why| violation!("then a power cut: {why}"))
}

/// Whether a call is one that makes records durable: without it the server must not go on.
fn must_stop(world: &World, call: u64) -> bool {
    let trace = world.disk.trace();
    let Some(traced) = call.checked_sub(world.calls() - trace.len() as u64) else { return false };
    trace.get(usize::try_from(traced).expect("an index")).is_some_and(|traced| {
        matches!(traced.op, DiskOp::Write | DiskOp::SyncData | DiskOp::Sync)
            && traced.path.starts_with("<log>/version-2/log.")
    })
}

/// A server starts on an image, writes, and loses its power; and others are stopped at each call while they start.
fn judge_image(world: &World, image: &SimDisk, tally: &Tally) -> Result<(), Violation> {
    let first_seen = tally.images.lock().expect("no thread panics with it").insert(image.fingerprint());
    let mut next = world.successor(image.fork().revive());
    let calls_before = next.disk.ops();
    next.start()?;
    count(tally);
    let start_calls = next.disk.ops() - calls_before;
    go_on(&mut next, tally)?;
    if !first_seen {
        // The same bytes were judged with the same second crashes; what was acknowledged is compared above.
        return Ok(());
    }
    for call in 0..start_calls {
        for fault in [Fault::CrashBefore, Fault::CrashAfter] {
            second_crash(world, image, calls_before + call, fault, tally)
                .map_err(|why| violation!("{fault:?} at call {call} of the start: {why}"))?;
        }
    }
    Ok(())
}

/// What a server does that has come back.
fn go_on(world: &mut World, tally: &Tally) -> Result<(), Violation> {
    let client = world.add_client(4000, None);
    for (path, len) in [("/after-the-crash", 10), ("/after-the-crash/more", 700)] {
        let request = Request::create(path, vec![b'x'; len], &Acl::open(), CreateMode::Persistent);
        let place = world.submit(client, request)?;
        world.settle()?;
        let answered = place.is_some_and(|place| {
            matches!(world.history.ops[place].outcome, Outcome::Answered { result: Ok(_), .. })
        });
        if !answered {
            return Err(violation!("the server that came back does not write"));
        }
    }
    world.absorb();
    world.cut_power(PowerCut::DropUnsynced);
    world.start().map_err(|why| violation!("after new writes and a power cut: {why}"))?;
    count(tally);
    Ok(())
}

/// The machine crashes while the server starts.
fn second_crash(
    world: &World,
    image: &SimDisk,
    call: u64,
    fault: Fault,
    tally: &Tally,
) -> Result<(), Violation> {
    let mut next = world.successor(image.fork().revive());
    next.disk.plan(FaultPlan::at(call, fault));
    next.start()?;
    if !next.disk.has_crashed() {
        return Err(violation!("the start is not the same each time"));
    }
    for third in [
        next.disk.fork().revive(),
        next.disk.power_cut(call, PowerCut::DropUnsynced),
        next.disk.power_cut(call, PowerCut::Anything),
    ] {
        tally.images.lock().expect("no thread panics with it").insert(third.fingerprint());
        let mut last = world.successor(third);
        last.start()?;
        count(tally);
    }
    Ok(())
}

/// Every file of the end rots in one bit: the server refuses, or it has everything all the same.
fn rot(course: &Course, plan: &Plan, tally: &Tally) -> Result<(), Violation> {
    let mut world = course.scenario.world(plan.seed, course.lanes, false);
    course.scenario.run(&mut world)?;
    world.absorb();
    let disk = world.disk.power_cut(0, PowerCut::KeepAll);
    for dir in [Dir::Log, Dir::Snap] {
        for name in disk.list(dir).map_err(|error| violation!("{error}"))? {
            let path = FilePath::new(dir, name);
            let length = disk.open(&path).and_then(|file| disk.length(&file)).unwrap_or(0);
            let most = FLIPS_A_FILE[usize::from(plan.recoveries.is_some())];
            let step = (length * 8 / most).max(1) | 1;
            let mut bit = 0;
            while bit < length * 8 {
                flip(&world, &disk, &path, bit, tally)
                    .map_err(|why| violation!("bit {bit} of {path} flipped: {why}"))?;
                bit += step;
            }
        }
        if disk.is_one_directory() {
            break;
        }
    }
    Ok(())
}

fn flip(world: &World, disk: &SimDisk, path: &FilePath, bit: u64, tally: &Tally) -> Result<(), Violation> {
    let rotten = disk.fork().revive();
    rotten.flip(path, bit / 8, u8::try_from(bit % 8).expect("below 8"));
    tally.flips.fetch_add(1, Ordering::Relaxed);
    let Ok(recovered) = recover(&rotten, RestoreOptions::default(), &world.config.node.tree) else {
        tally.refused.fetch_add(1, Ordering::Relaxed);
        return Ok(());
    };
    count(tally);
    if recovered.store.last_zxid() < world.floor {
        return Err(violation!(
            "{} is served, and {} was acknowledged",
            recovered.store.last_zxid(),
            world.floor
        ));
    }
    judge_store(&recovered.store, &world.truth)
}

fn count(tally: &Tally) {
    tally.recoveries.fetch_add(1, Ordering::Relaxed);
}

#[expect(clippy::print_stdout, reason = "the report of a command")]
fn report(courses: &[Course], tally: &Tally, failures: &[String], took: Duration) {
    println!("{:<34} {:>5} {:>12}", "scenario", "lanes", "calls");
    let (mut covered, mut calls) = (0, 0);
    for course in courses {
        let done = course.covered.load(Ordering::Relaxed);
        println!("{:<34} {:>5} {:>5} of {:>4}", course.scenario.name, course.lanes, done, course.calls);
        (covered, calls) = (covered + done, calls + course.calls);
    }
    for failure in failures {
        println!("FAILED {failure}");
    }
    let images = tally.images.lock().map_or(0, |images| images.len());
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!(
        "{} recoveries, {images} distinct crash images, {covered} of {calls} calls ({:.1} %), {} failed calls, {} \
         flipped bits ({} refused), {} failures, {:.1} s",
        load(&tally.recoveries),
        if calls == 0 { 0.0 } else { 100.0 * covered as f64 / calls as f64 },
        load(&tally.errors),
        load(&tally.flips),
        load(&tally.refused),
        failures.len(),
        took.as_secs_f64()
    );
}
