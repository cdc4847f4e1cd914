//! Scripted lives of a server, each about one thing that can go wrong on a disk. A script is run again and again,
//! each time with a fault at another call of the disk, so it must do the same until then.

use std::sync::Arc;

use ostler_client::Request;
use ostler_store::sim::{Fault, PowerCut, SimDisk};
use ostler_store::{Compression, Disk, DiskOp, LogOptions, SnapshotOptions, names};
use ostler_wire::acl::Acl;
use ostler_wire::client::write::{CreateMode, Write};

use crate::check::Violation;
use crate::server::{ServerConfig, Stopped};
use crate::swarm::node_config;
use crate::world::World;

/// A script.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// How its server is set up, beside the number of lanes.
    setup: fn(&mut Setup),
    /// What happens. It stops early when the server is gone.
    script: fn(&mut Script<'_>) -> Done,
}

/// What a scenario chooses.
struct Setup {
    log: LogOptions,
    snapshot: SnapshotOptions,
    snap_count: u32,
    tick_ms: u32,
}

/// A violation, or the news that the server is gone.
enum Cut {
    Stopped,
    Violation(Violation),
}

type Done = Result<(), Cut>;

impl From<Violation> for Cut {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

/// A world and its scripted clients.
struct Script<'a> {
    world: &'a mut World,
    serial: u32,
}

/// All of them.
pub(crate) const SCENARIOS: [Scenario; 19] = [
    Scenario { name: "empty start", setup: |_| {}, script: |s| s.client(4000).map(drop) },
    Scenario { name: "plain writes", setup: |_| {}, script: plain_writes },
    Scenario { name: "pipelined writes", setup: |_| {}, script: |s| s.batches(6, 12) },
    Scenario { name: "roll", setup: |setup| setup.log.roll_bytes = 1500, script: |s| s.batches(10, 3) },
    Scenario { name: "pad", setup: |setup| setup.log.reserve_bytes = 1024, script: pad },
    Scenario {
        name: "nothing reserved ahead",
        setup: |setup| setup.log.reserve_bytes = 0,
        script: plain_writes,
    },
    Scenario { name: "plain snapshot", setup: |setup| setup.snap_count = 12, script: |s| s.batches(9, 3) },
    Scenario {
        name: "gzip snapshot",
        setup: |setup| {
            setup.snap_count = 12;
            setup.snapshot.compression = Compression::Gzip;
        },
        script: |s| s.batches(9, 3),
    },
    Scenario {
        name: "snappy snapshot",
        setup: |setup| {
            setup.snap_count = 12;
            setup.snapshot.compression = Compression::Snappy;
            setup.snapshot.sync_every_bytes = 300;
        },
        script: |s| s.batches(9, 3),
    },
    Scenario { name: "purge", setup: |setup| setup.snap_count = 6, script: purge },
    Scenario {
        name: "purge among rotten snapshots",
        setup: |setup| setup.snap_count = 6,
        script: purge_rotten,
    },
    Scenario { name: "full disk, log", setup: |_| {}, script: full_log },
    Scenario { name: "full disk, snapshot", setup: |setup| setup.snap_count = 8, script: full_snapshot },
    Scenario {
        name: "fall back to an older snapshot",
        setup: |setup| setup.snap_count = 8,
        script: fall_back,
    },
    Scenario { name: "sessions and ephemerals", setup: |setup| setup.tick_ms = 200, script: ephemerals },
    Scenario { name: "multi", setup: |_| {}, script: multi },
    Scenario {
        name: "kill, then a power cut",
        setup: |_| {},
        script: |s| restarts(s, PowerCut::DropUnsynced),
    },
    Scenario { name: "torn tail, then new writes", setup: |_| {}, script: |s| restarts(s, PowerCut::Torn) },
    Scenario { name: "failed sync, then a power cut", setup: |_| {}, script: failed_sync },
];

impl Scenario {
    /// A world before its script; everything about it follows from seed and lanes.
    #[must_use]
    pub(crate) fn world(&self, seed: u64, lanes: usize, print: bool) -> World {
        let mut setup = Setup {
            log: LogOptions { reserve_bytes: 16 << 10, ..LogOptions::default() },
            snapshot: SnapshotOptions::default(),
            snap_count: 100_000,
            tick_ms: 2000,
        };
        (self.setup)(&mut setup);
        let mut node = node_config(lanes, seed);
        node.snap_count = setup.snap_count;
        node.tick_ms = setup.tick_ms;
        let tick_ms = i32::try_from(setup.tick_ms).expect("small");
        (node.min_session_timeout_ms, node.max_session_timeout_ms) = (2 * tick_ms, 20 * tick_ms);
        let config = ServerConfig {
            node: Arc::new(node),
            log: setup.log,
            snapshot: setup.snapshot,
            max_batch: 1000,
            slice: (3, 2000),
            slow_syncs: (5, 100_000),
        };
        World::new(seed, config, print)
    }

    /// Runs the script to its end, or until the server stops.
    pub(crate) fn run(&self, world: &mut World) -> Result<(), Violation> {
        let mut script = Script { world, serial: 0 };
        let done = script.world.start().map_err(Cut::from).and_then(|()| {
            script.up()?;
            (self.script)(&mut script)
        });
        match done {
            Ok(()) | Err(Cut::Stopped) => Ok(()),
            Err(Cut::Violation(violation)) => Err(violation),
        }
    }
}

impl Script<'_> {
    /// The server must be there for what comes next.
    fn up(&self) -> Done {
        if self.world.is_up() { Ok(()) } else { Err(Cut::Stopped) }
    }

    fn settle(&mut self) -> Done {
        self.world.settle()?;
        self.up()
    }

    /// A client with a session.
    fn client(&mut self, timeout_ms: u64) -> Result<usize, Cut> {
        let client = self.world.add_client(timeout_ms, None);
        self.settle()?;
        Ok(client)
    }

    fn ask(&mut self, client: usize, request: Request) -> Done {
        self.world.submit(client, request)?;
        Ok(())
    }

    /// One request, to its end.
    fn call(&mut self, client: usize, request: Request) -> Done {
        self.ask(client, request)?;
        self.settle()
    }

    fn value(&mut self, len: usize) -> Vec<u8> {
        self.serial += 1;
        let mut value = format!("value {} ", self.serial).into_bytes();
        value.resize(value.len() + len, b'a' + u8::try_from(self.serial % 26).expect("small"));
        value
    }

    fn create(&mut self, client: usize, path: &str, len: usize) -> Done {
        let value = self.value(len);
        self.call(client, Request::create(path, value, &Acl::open(), CreateMode::Persistent))
    }

    fn set(&mut self, client: usize, path: &str, len: usize) -> Done {
        let value = self.value(len);
        self.call(client, Request::set_data(path, value, -1))
    }

    /// Two clients, several batches of several writes under way at once.
    fn batches(&mut self, batches: usize, writes: usize) -> Done {
        let (a, b) = (self.client(40_000)?, self.client(40_000)?);
        self.create(a, "/p", 10)?;
        for batch in 0..batches {
            for write in 0..writes {
                let value = self.value(20 * write);
                let path = format!("/p/{batch}-{write}");
                self.ask(a, Request::create(path.clone(), value, &Acl::open(), CreateMode::Persistent))?;
                let value = self.value(30);
                self.ask(b, Request::set_data("/p", value, -1))?;
                if write % 3 == 2 {
                    self.ask(a, Request::delete(path, -1))?;
                }
            }
            self.settle()?;
        }
        Ok(())
    }

    /// The process was killed, or the power failed; then the next server, on what is left.
    fn rise(&mut self, cut: Option<PowerCut>) -> Done {
        if self.world.is_hit() {
            return Err(Cut::Stopped);
        }
        match cut {
            None => self.world.kill(),
            Some(cut) => self.world.cut_power(cut),
        }
        self.restart()
    }

    fn purge(&mut self) -> Done {
        if let Some(server) = &mut self.world.server {
            server.purge_turn(3);
        }
        if self.world.disk.has_crashed() && self.world.is_up() {
            self.world.stop(Stopped::Crashed);
        }
        self.up()
    }

    /// The next server.
    fn restart(&mut self) -> Done {
        self.world.restart_at_us = Some(self.world.now_us + 10_000);
        while !self.world.is_up() {
            if self.world.restart_at_us.is_none() {
                return Err(Cut::Stopped);
            }
            self.world.step()?;
        }
        self.settle()
    }
}

fn plain_writes(s: &mut Script<'_>) -> Done {
    let client = s.client(40_000)?;
    s.create(client, "/a", 100)?;
    for len in [0, 1, 300, 500, 511, 512, 513, 1500] {
        s.set(client, "/a", len)?;
    }
    s.create(client, "/a/b", 5)?;
    s.call(client, Request::delete("/a/b", -1))?;
    s.call(client, Request::delete("/missing", -1))?;
    s.set(client, "/a", 40)
}

/// Records that end at, before and behind the steps in which space is reserved, and ones longer than a step.
fn pad(s: &mut Script<'_>) -> Done {
    let client = s.client(40_000)?;
    s.create(client, "/a", 700)?;
    for len in [100, 900, 1024, 10, 2000, 3, 5000, 1] {
        s.set(client, "/a", len)?;
    }
    Ok(())
}

fn purge(s: &mut Script<'_>) -> Done {
    for _ in 0..3 {
        s.batches(4, 2)?;
        s.purge()?;
        let gone: Vec<usize> = (0..s.world.clients.len()).collect();
        for client in gone {
            s.world.clients[client].dead = true;
        }
    }
    Ok(())
}

/// Snapshots that rotted do not count for a purge, and what it leaves is enough when more of them rot.
fn purge_rotten(s: &mut Script<'_>) -> Done {
    s.batches(10, 3)?;
    s.up()?;
    s.world.kill();
    rot_snapshots(&s.world.disk, 1, 2);
    s.restart()?;
    s.purge()?;
    s.world.kill();
    rot_snapshots(&s.world.disk, 0, 2);
    s.restart()?;
    let client = s.client(40_000)?;
    s.set(client, "/p", 9)
}

fn full_log(s: &mut Script<'_>) -> Done {
    let client = s.client(40_000)?;
    s.create(client, "/a", 100)?;
    for kind in [DiskOp::Allocate, DiskOp::Allocate, DiskOp::Create] {
        s.world.also_at_next(kind, Fault::Full);
        if let Some(server) = s.world.server.as_mut().filter(|_| kind == DiskOp::Create) {
            server.roll_log();
        }
        let value = s.value(20_000);
        s.call(client, Request::set_data("/a", value, -1))?;
        // Refused by closing the connection; a second later there is room.
        s.world.run_for(1_500_000)?;
        s.settle()?;
        s.set(client, "/a", 30)?;
    }
    Ok(())
}

fn full_snapshot(s: &mut Script<'_>) -> Done {
    s.world.also_at_next(DiskOp::Rename, Fault::Full);
    s.batches(6, 3)?;
    s.batches(4, 3)
}

/// The newest snapshot rots while the server is down, and the logs make up for it.
fn fall_back(s: &mut Script<'_>) -> Done {
    s.batches(8, 3)?;
    s.up()?;
    s.world.kill();
    rot_snapshots(&s.world.disk, 0, 1);
    s.restart()?;
    let client = s.client(40_000)?;
    s.set(client, "/p", 9)
}

fn ephemerals(s: &mut Script<'_>) -> Done {
    let stays = s.client(4000)?;
    s.create(stays, "/e", 3)?;
    for round in 0..3 {
        let client = s.client(1000)?;
        for name in ["a", "b", "c"] {
            let value = s.value(10);
            let path = format!("/e/{name}{round}");
            s.call(client, Request::create(path, value, &Acl::open(), CreateMode::Ephemeral))?;
        }
        if round == 1 {
            s.world.close(client)?;
            s.world.clients[client].dead = true;
            s.world.run_for(300_000)?;
        } else {
            s.world.clients[client].dead = true;
            s.world.run_for(2_500_000)?;
        }
        s.settle()?;
    }
    Ok(())
}

fn multi(s: &mut Script<'_>) -> Done {
    let client = s.client(40_000)?;
    s.create(client, "/m", 0)?;
    for round in 0..5 {
        let mut parts = Vec::new();
        for part in 0..4 {
            let value = s.value(400);
            let create =
                Request::create(format!("/m/{round}-{part}"), value, &Acl::open(), CreateMode::Persistent);
            let Request::Write(write) = create else { continue };
            parts.push(write);
        }
        parts.push(Write::SetData { path: Some("/m".into()), data: Some(s.value(600).into()), version: -1 });
        if round % 2 == 1 {
            // Nothing of it may happen.
            parts.push(Write::Check { path: Some("/missing".into()), version: -1 });
        }
        s.call(client, Request::multi(parts))?;
    }
    Ok(())
}

/// A server that is killed in the middle of its writes, the next one, and then the power fails.
fn restarts(s: &mut Script<'_>, cut: PowerCut) -> Done {
    let client = s.client(40_000)?;
    s.create(client, "/a", 100)?;
    for round in 0..3 {
        let value = s.value(800);
        s.ask(client, Request::set_data("/a", value, -1))?;
        // Somewhere before the sync, or right after it.
        let op = if round == 1 { DiskOp::SyncData } else { DiskOp::Write };
        s.world.also_at_next(op, if round == 1 { Fault::CrashBefore } else { Fault::CrashAfter });
        s.world.settle()?;
        s.rise(None)?;
        s.set(client, "/a", 50)?;
        s.set(client, "/a", 10)?;
        s.rise(Some(cut))?;
        s.set(client, "/a", 20)?;
    }
    Ok(())
}

fn failed_sync(s: &mut Script<'_>) -> Done {
    let client = s.client(40_000)?;
    s.create(client, "/a", 100)?;
    for _ in 0..3 {
        let value = s.value(800);
        s.ask(client, Request::set_data("/a", value, -1))?;
        s.world.also_at_next(DiskOp::SyncData, Fault::Error);
        s.world.settle()?;
        s.rise(None)?;
        s.set(client, "/a", 50)?;
        s.rise(Some(PowerCut::DropUnsynced))?;
        s.set(client, "/a", 20)?;
    }
    Ok(())
}

/// One bit in the middle of each of so many snapshots, from the newest but so many on.
fn rot_snapshots(disk: &SimDisk, skip: usize, count: usize) {
    let Ok(found) = names::snapshots(disk) else { return };
    for snapshot in found.iter().rev().skip(skip).take(count) {
        let length = disk.open(&snapshot.path).and_then(|file| disk.length(&file)).unwrap_or(0);
        disk.flip(&snapshot.path, length / 2, 3);
    }
}
