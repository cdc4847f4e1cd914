//! Random search: a seed draws a server's settings, clients with habits, and which kinds of faults there are; then
//! everything happens at once, then all is healed, and what the clients saw is judged.

use std::sync::Arc;

use ostler_client::Request;
use ostler_node::NodeConfig;
use ostler_store::sim::{Fault, FaultPlan, PowerCut};
use ostler_store::{Compression, LogOptions, SnapshotOptions};
use ostler_tree::TreeConfig;

use crate::check::{Violation, violation};
use crate::rng::Rng;
use crate::server::{ServerConfig, Stopped};
use crate::workload::Habits;
use crate::world::World;

/// What a run of a seed came to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Report {
    /// The hash of its trace.
    pub hash: u64,
    /// Steps.
    pub steps: u64,
    /// Requests that were answered.
    pub answered: u64,
    /// Transactions that were agreed.
    pub txns: u64,
    /// Starts of a server after the first.
    pub recoveries: u64,
    /// Simulated time, in microseconds.
    pub simulated_us: u64,
}

/// Which faults a world has.
#[derive(Debug)]
struct Faults {
    kills: bool,
    power_cuts: bool,
    crashes_in_calls: bool,
    errors: bool,
    full: bool,
    hang_ups: bool,
    deafness: bool,
    deaths: bool,
    wall_jumps: bool,
    pauses: bool,
    purges: bool,
}

/// The settings of a node, as good as those of a server that is told nothing.
#[must_use]
pub(crate) fn node_config(lanes: usize, seed: u64) -> NodeConfig {
    NodeConfig {
        tree: TreeConfig { hash_seed: seed, ..TreeConfig::default() },
        lanes,
        seed,
        ..NodeConfig::default()
    }
}

/// Runs a seed. `lanes` is drawn if not given.
pub(crate) fn run(seed: u64, lanes: Option<usize>, print: bool) -> Result<Report, Violation> {
    let (world, result) = live_through(seed, lanes, print);
    result?;
    Ok(Report {
        hash: world.trace.hash(),
        steps: world.steps,
        answered: world.history.answered() as u64,
        txns: world.truth.len() as u64,
        recoveries: world.starts - 1,
        simulated_us: world.now_us,
    })
}

/// The world of a seed at its end, and what was wrong with it.
pub(crate) fn live_through(seed: u64, lanes: Option<usize>, print: bool) -> (World, Result<(), Violation>) {
    let mut world = draw_world(seed, lanes, print);
    let faults = Faults::draw(&mut world.rng);
    world.trace.note(0, format_args!("{:?}", world.config));
    world.trace.note(0, format_args!("{faults:?}"));
    for (id, client) in world.clients.iter().enumerate() {
        world.trace.note(0, format_args!("c{id} {} ms {:?}", client.timeout_ms, client.habits));
    }
    let result = live(&mut world, &faults);
    world.trace.note(world.now_us, format_args!("{result:?}"));
    (world, result)
}

fn draw_world(seed: u64, lanes: Option<usize>, print: bool) -> World {
    let mut rng = Rng::new(seed ^ 0x0051_7e55);
    let drawn = *rng.pick(&[1, 1, 3]);
    let mut node = node_config(lanes.unwrap_or(drawn), seed);
    node.tick_ms = u32::try_from(*rng.pick(&[100, 500, 2000])).expect("small");
    node.min_session_timeout_ms = 2 * i32::try_from(node.tick_ms).expect("small");
    node.max_session_timeout_ms = 20 * i32::try_from(node.tick_ms).expect("small");
    node.snap_count = u32::try_from(*rng.pick(&[5, 20, 60, 300, 100_000])).expect("small");
    node.snap_size = rng.one_in(4).then(|| rng.range(2_000, 60_000));
    node.tree.extended_types = rng.one_in(2);
    node.tree.digest_enabled = !rng.one_in(8);
    node.global_outstanding_limit = usize::try_from(*rng.pick(&[2, 20, 1000])).expect("small");
    node.reaper.check_interval_ms = *rng.pick(&[300, 5_000, 60_000]);
    let lifetimes = node.tree.extended_types;
    let tick_ms = u64::from(node.tick_ms);
    let log = LogOptions {
        reserve_bytes: *rng.pick(&[0, 512, 4096, 65_536, 65_536, 1 << 20]),
        roll_bytes: *rng.pick(&[0, 0, 3_000, 40_000]),
        ..LogOptions::default()
    };
    let compression = *rng.pick(&[Compression::None, Compression::Gzip, Compression::Snappy]);
    let snapshot = SnapshotOptions {
        compression,
        sync_every_bytes: *rng.pick(&[0, 1_000, 8 << 20]),
        ..SnapshotOptions::default()
    };
    let config = ServerConfig {
        node: Arc::new(node),
        log,
        snapshot,
        max_batch: usize::try_from(*rng.pick(&[1, 5, 1000])).expect("small"),
        slice: (usize::try_from(rng.range(1, 20)).expect("small"), 4096),
        slow_syncs: *rng.pick(&[(0, 0), (10, 100_000), (3, 6_000_000)]),
    };
    let mut world = World::new(seed, config, print);
    for _ in 0..rng.range(1, 6) {
        let habits = Habits::draw(&mut rng, lifetimes);
        let timeout_ms = tick_ms * rng.range(2, 20);
        world.add_client(timeout_ms, Some(habits));
    }
    world
}

impl Faults {
    /// Each kind in about half of the seeds.
    fn draw(rng: &mut Rng) -> Self {
        Self {
            kills: rng.one_in(2),
            power_cuts: rng.one_in(2),
            crashes_in_calls: rng.one_in(2),
            errors: rng.one_in(3),
            full: rng.one_in(3),
            hang_ups: rng.one_in(2),
            deafness: rng.one_in(3),
            deaths: rng.one_in(3),
            wall_jumps: rng.one_in(3),
            pauses: rng.one_in(4),
            purges: rng.one_in(2),
        }
    }

    fn stops(&self) -> bool {
        self.kills || self.power_cuts || self.crashes_in_calls || self.errors
    }
}

fn live(world: &mut World, faults: &Faults) -> Result<(), Violation> {
    world.start()?;
    let steps = world.rng.range(200, 6_000);
    let crashes = if faults.stops() { world.rng.range(1, 6) } else { 0 };
    let crash_every = steps / (crashes + 1) + 1;
    for step in 1..=steps {
        world.step()?;
        if world.stopped.is_some() && world.restart_at_us.is_none() && !world.is_up() {
            after_stop(world, faults);
        }
        if step % crash_every == 0 && world.is_up() {
            crash(world, faults);
        }
        if world.rng.one_in(150) {
            disturb(world, faults)?;
        }
    }
    heal(world)
}

/// The server is down: what is left of its disk, and when the next one starts.
fn after_stop(world: &mut World, faults: &Faults) {
    let failed = world.stopped == Some(Stopped::LogFailed);
    if faults.power_cuts && (!failed || world.rng.one_in(2)) && world.rng.one_in(2) {
        let cut = *world.rng.pick(&PowerCut::ALL);
        world.cut_power(cut);
    } else {
        world.kill();
    }
    if world.rng.one_in(4) {
        // It crashes again while it starts.
        let fault = *world.rng.pick(&[Fault::CrashBefore, Fault::CrashAfter]);
        world.disk.plan(FaultPlan::at(world.disk.ops() + world.rng.below(6), fault));
    }
    world.restart_at_us = Some(world.now_us + world.rng.range(1_000, 3_000_000));
}

fn crash(world: &mut World, faults: &Faults) {
    let kinds = [faults.kills, faults.power_cuts, faults.crashes_in_calls, faults.errors];
    let possible: Vec<usize> = (0..kinds.len()).filter(|kind| kinds[*kind]).collect();
    if possible.is_empty() {
        return;
    }
    let number = world.disk.ops() + world.rng.below(12);
    match *world.rng.pick(&possible) {
        0 => world.stop(Stopped::Crashed),
        1 => {
            let cut = *world.rng.pick(&PowerCut::ALL);
            world.cut_power(cut);
        }
        2 => {
            let fault = *world.rng.pick(&[Fault::CrashBefore, Fault::CrashAfter]);
            world.disk.plan(FaultPlan::at(number, fault));
        }
        _ => {
            let fault = *world.rng.pick(&[Fault::Error, Fault::Short]);
            world.disk.plan(FaultPlan::at(number, fault));
        }
    }
}

/// Something that a server has to live with.
fn disturb(world: &mut World, faults: &Faults) -> Result<(), Violation> {
    let client = world.rng.index(world.clients.len());
    match world.rng.below(8) {
        0 if faults.hang_ups => world.hang_up(client)?,
        1 if faults.deafness => {
            world.clients[client].deaf_until_us = world.now_us + world.rng.range(1_000, 8_000_000);
        }
        2 if faults.deaths && world.rng.one_in(3) => {
            world.clients[client].dead = true;
            let timeout_ms = world.clients[client].timeout_ms;
            let habits = world.clients[client].habits.clone();
            world.hang_up(client)?;
            world.add_client(timeout_ms, habits);
        }
        3 if faults.deaths => world.close(client)?,
        4 if faults.wall_jumps => {
            let jump = i64::try_from(world.rng.range(1, 400_000_000)).expect("small");
            world.wall_jump_ms += if world.rng.one_in(2) { jump } else { -jump };
        }
        5 if faults.pauses => {
            // The whole machine stands still.
            let paused_us = world.rng.range(10_000, 60_000_000);
            world.now_us += paused_us;
            world.paused_us += paused_us;
        }
        6 if faults.purges => {
            if let Some(server) = &mut world.server {
                server.purge_turn(3);
            }
            if world.disk.has_crashed() && world.is_up() {
                world.stop(Stopped::Crashed);
            }
        }
        7 if faults.full && world.is_up() => {
            let plan = if world.rng.one_in(2) {
                FaultPlan::default()
            } else {
                FaultPlan::at(world.disk.ops() + world.rng.below(8), Fault::Full)
            };
            world.disk.plan(plan);
        }
        _ => {}
    }
    Ok(())
}

/// No more faults: everybody who lives gets through, the dead expire, and then all is judged.
fn heal(world: &mut World) -> Result<(), Violation> {
    world.disk.plan(FaultPlan::default());
    for client in &mut world.clients {
        client.habits = None;
        client.deaf_until_us = 0;
    }
    if !world.is_up() {
        if world.disk.has_crashed() || world.stopped.is_some() {
            world.kill();
        }
        world.restart_at_us = Some(world.now_us);
    }
    world.settle()?;
    // Longer than any session lives without a word.
    let longest = u64::try_from(world.config.node.max_session_timeout_ms).expect("positive");
    // Sessions are given the time in which the server could not hear them.
    let ticks = 3 * u64::from(world.config.node.tick_ms);
    world.run_for((longest + ticks) * 1000 + world.paused_us)?;
    world.settle()?;
    let living: Vec<usize> = (0..world.clients.len()).filter(|id| !world.clients[*id].dead).collect();
    for id in living {
        world.submit(id, Request::exists("/", false))?;
    }
    world.settle()?;
    world.judge()?;
    no_dead_sessions(world)?;
    // And what is on the disk is the same.
    world.cut_power(PowerCut::DropUnsynced);
    world.start()?;
    Ok(())
}

fn no_dead_sessions(world: &World) -> Result<(), Violation> {
    let Some(server) = &world.server else { return Err(violation!("the server is gone at the end")) };
    for (session, _) in server.store.sessions() {
        let lives =
            world.clients.iter().any(|client| !client.dead && client.session.credentials().0 == session);
        if !lives {
            return Err(violation!("session {session} of a client that is gone never expired"));
        }
    }
    Ok(())
}

impl Report {
    /// Adds another report to a sum.
    pub(crate) fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.answered += other.answered;
        self.txns += other.txns;
        self.recoveries += other.recoveries;
        self.simulated_us += other.simulated_us;
    }
}
