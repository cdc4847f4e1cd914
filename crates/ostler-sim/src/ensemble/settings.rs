//! What a seed draws before anything happens: how many servers, how they are set up, how far apart they are, what
//! their clients are like, and which classes of faults there will be.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bytes::Bytes;
use ostler_node::NodeConfig;
use ostler_store::{Compression, LogOptions, SnapshotOptions};
use ostler_wire::ServerId;
use ostler_wire::quorum::Members;
use ostler_zab::{JointQuorum, Limit, Observing, PeerConfig, Quorum};

use crate::rng::Rng;
use crate::swarm::node_config;
use crate::workload::Habits;

/// Everything that is drawn.
#[derive(Debug)]
pub(super) struct Settings {
    pub voters: usize,
    pub observers: usize,
    /// The member list, as text.
    pub members: Bytes,
    pub quorum: Quorum,
    /// Of each server, but for its id.
    pub node: NodeConfig,
    pub init_limit_ticks: u64,
    pub sync_limit_ticks: u64,
    pub max_waiting_bytes: usize,
    pub force_snapshot: bool,
    /// How large a part of the log may be beside a snapshot to be sent in place of a tree.
    pub snapshot_size_factor: Option<f64>,
    /// So many transactions fit into an epoch, if that is less than usual.
    pub last_counter: Option<u32>,
    pub commit_log: Limit,
    pub log: LogOptions,
    pub snapshot: SnapshotOptions,
    /// The most transactions that one sync covers.
    pub max_batch: usize,
    /// Nodes and bytes of one slice of a snapshot.
    pub slice: (usize, usize),
    /// Microseconds that a sync takes.
    pub sync_us: (u64, u64),
    /// Microseconds between two machines.
    pub latency_us: (u64, u64),
    /// Whether packets travel as values and not as bytes.
    pub raw_packets: bool,
    /// Percent of pieces of a stream that are cut in two.
    pub choppy: u64,
    pub clients: Vec<ClientPlan>,
    pub faults: Faults,
    /// Whether observers learn from followers.
    pub observer_masters: bool,
    /// The longest pauses of an observer before it connects, and before it looks for a leader.
    pub observer_delays_ms: (u64, u64),
    /// Whether the faults end when sessions of dead clients have expired, which takes long.
    pub await_expiry: bool,
}

/// A client to be.
#[derive(Debug, Clone)]
pub(super) struct ClientPlan {
    pub habits: Habits,
    pub timeout_ms: u64,
    /// Microseconds between two bursts of requests, on average.
    pub think_us: u64,
}

/// Which classes of faults there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Faults {
    /// How many faults in all.
    pub count: u64,
    pub kills: bool,
    pub power_cuts: bool,
    pub power_cut_of_all: bool,
    pub crashes_in_calls: bool,
    pub pauses: bool,
    pub partitions: bool,
    pub isolated_leader: bool,
    pub one_way: bool,
    pub bridge: bool,
    pub cuts: bool,
    pub half_open: bool,
    pub slow_links: bool,
    pub slow_disks: bool,
    pub disk_errors: bool,
    pub full_disks: bool,
    pub wall_jumps: bool,
    pub hang_ups: bool,
    pub deafness: bool,
    pub deaths: bool,
    /// Observers lose what they have.
    pub wipes: bool,
    pub purges: bool,
}

impl Faults {
    /// Each class in about half of the seeds.
    fn draw(rng: &mut Rng) -> Self {
        let mut half = || rng.one_in(2);
        Self {
            count: 0,
            kills: half() || half(),
            power_cuts: half(),
            power_cut_of_all: half(),
            crashes_in_calls: half(),
            pauses: half(),
            partitions: half(),
            isolated_leader: half(),
            one_way: half(),
            bridge: half(),
            cuts: half(),
            half_open: half(),
            slow_links: half(),
            slow_disks: half(),
            disk_errors: half(),
            full_disks: half(),
            wall_jumps: half(),
            hang_ups: half(),
            deafness: half(),
            deaths: half(),
            wipes: half(),
            purges: half(),
        }
        .with_count(rng)
    }

    fn with_count(self, rng: &mut Rng) -> Self {
        Self { count: *rng.pick(&[4, 8, 12, 12, 20, 30]), ..self }
    }
}

impl Settings {
    pub(super) fn draw(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x00e5_5e4b_1e00);
        let rng = &mut rng;
        let voters = *rng.pick(&[3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 5, 5, 5, 5, 1, 2, 4, 6, 7]);
        let observers = *rng.pick(&[0, 0, 0, 0, 0, 0, 1, 1, 2, 3]);
        let mut node = node_config(*rng.pick(&[1, 1, 2, 3]), seed);
        node.member = true;
        // Short ticks cost the most, since servers ping one another.
        node.tick_ms = *rng.pick(&[2000, 2000, 2000, 2000, 2000, 1000, 1000, 1000, 500, 500, 200, 100]);
        if voters + observers <= 3 && rng.one_in(20) {
            node.tick_ms = *rng.pick(&[20, 50]);
        }
        let tick = i32::try_from(node.tick_ms).expect("small");
        node.min_session_timeout_ms = 2 * tick;
        node.max_session_timeout_ms = 20 * tick;
        node.snap_count = *rng.pick(&[5, 20, 60, 300, 300, 100_000, 100_000]);
        node.snap_size = rng.one_in(8).then(|| rng.range(2_000, 60_000));
        node.tree.extended_types = rng.one_in(2);
        node.tree.digest_enabled = !rng.one_in(8);
        node.global_outstanding_limit = *rng.pick(&[20, 1000, 1000]);
        node.reaper.check_interval_ms = *rng.pick(&[5_000, 60_000]);
        let reserve_bytes = *rng.pick(&[0, 512, 4096, 65_536]);
        let log = LogOptions {
            reserve_bytes,
            roll_bytes: *rng.pick(&[0, 0, 0, 3_000, 40_000]),
            ..LogOptions::default()
        };
        let compression = if rng.one_in(20) {
            *rng.pick(&[Compression::Gzip, Compression::Snappy])
        } else {
            Compression::None
        };
        let snapshot = SnapshotOptions {
            compression,
            sync_every_bytes: *rng.pick(&[0, 1_000, 8 << 20]),
            ..SnapshotOptions::default()
        };
        let init_limit_ticks = *rng.pick(&[3, 5, 10, 10, 20]);
        let sync_limit_ticks = *rng.pick(&[2, 3, 5, 5, 10]);
        let mut sync_us = *rng.pick(&[(20, 200), (50, 3_000), (50, 3_000), (1_000, 20_000)]);
        let mut latency_us = *rng.pick(&[(20, 200), (50, 500), (50, 5_000), (1_000, 30_000)]);
        // Where a tick is not long beside network and disk, no quorum can hold, and no session.
        let tick_us = u64::from(node.tick_ms) * 1000;
        if 10 * latency_us.1 > tick_us {
            latency_us = (50, 500);
        }
        if 4 * sync_us.1 > sync_limit_ticks * tick_us {
            sync_us = (50, 3_000);
        }
        let (members, quorum) = draw_members(rng, voters, observers);
        let clients = draw_clients(rng, &node);
        Self {
            voters,
            observers,
            members,
            quorum,
            init_limit_ticks,
            sync_limit_ticks,
            max_waiting_bytes: *rng.pick(&[100_000, 64 << 20]),
            force_snapshot: rng.one_in(10),
            last_counter: rng.one_in(20).then(|| *rng.pick(&[20, 60, 150])),
            commit_log: Limit {
                count: *rng.pick(&[2, 5, 5, 20, 100, 500]),
                bytes: *rng.pick(&[2_000, 64 << 20, 64 << 20]),
            },
            log,
            snapshot,
            max_batch: *rng.pick(&[1, 5, 1000]),
            slice: (*rng.pick(&[2, 5, 20, 1000]), 4096),
            sync_us,
            latency_us,
            raw_packets: rng.one_in(4),
            choppy: *rng.pick(&[0, 0, 5, 30]),
            clients,
            faults: Faults::draw(rng),
            await_expiry: rng.one_in(4),
            snapshot_size_factor: *rng.pick(&[None, None, Some(0.0), Some(0.33), Some(1.0)]),
            observer_masters: !rng.one_in(3),
            observer_delays_ms: *rng.pick(&[(0, 0), (0, 200), (300, 200)]),
            node,
        }
    }

    pub(super) fn servers(&self) -> usize {
        self.voters + self.observers
    }

    /// Whether the server at this place observes.
    pub(super) fn observes(&self, place: usize) -> bool {
        place >= self.voters
    }

    pub(super) fn peer(&self, place: usize) -> PeerConfig {
        PeerConfig {
            server: id_of(place),
            quorum: JointQuorum::new(self.quorum.clone()),
            observer: self.observes(place),
            tick_ms: u64::from(self.node.tick_ms),
            init_limit_ticks: self.init_limit_ticks,
            sync_limit_ticks: self.sync_limit_ticks,
            max_waiting_bytes: self.max_waiting_bytes,
            force_snapshot: self.force_snapshot,
            log_sync: self.snapshot_size_factor.is_some(),
            observing: Observing {
                masters: self.observer_masters,
                connect_ms: u64::from(self.node.tick_ms),
                reconnect_delay_ms: self.observer_delays_ms.0,
                election_delay_ms: self.observer_delays_ms.1,
                seed: self.node.seed.wrapping_add(place as u64),
            },
        }
    }

    /// So many ticks in microseconds.
    pub(super) fn ticks_us(&self, ticks: u64) -> u64 {
        ticks * u64::from(self.node.tick_ms) * 1000
    }
}

/// The id of the server at a place.
pub(super) fn id_of(place: usize) -> ServerId {
    ServerId(i64::try_from(place + 1).expect("few servers"))
}

/// The place of a server.
pub(super) fn place_of(id: ServerId) -> usize {
    usize::try_from(id.0 - 1).expect("a member")
}

fn draw_members(rng: &mut Rng, voters: usize, observers: usize) -> (Bytes, Quorum) {
    let mut text = String::new();
    for place in 0..voters + observers {
        let role = if place < voters { "participant" } else { "observer" };
        let id = place + 1;
        // Writing to a string does not fail.
        let _ = writeln!(text, "server.{id}=10.0.1.{id}:2888:3888:{role}");
    }
    if voters >= 3 && rng.one_in(10) {
        let mut groups: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        let count = *rng.pick(&[1, 2, 3]);
        for place in 0..voters {
            groups.entry(place % count).or_default().push((place + 1).to_string());
        }
        for (group, servers) in groups {
            let _ = writeln!(text, "group.{}={}", group + 1, servers.join(":"));
        }
        for place in 0..voters {
            // One of weight 0 has no say; somebody must.
            let weight = if place == 0 { 1 } else { *rng.pick(&[0, 1, 1, 1, 2]) };
            let _ = writeln!(text, "weight.{}={weight}", place + 1);
        }
    }
    let _ = write!(text, "version=0");
    let members = Members::parse(&text).expect("a list of our own");
    let quorum = Quorum::of(&members).expect("every voter is in one group");
    (Bytes::from(text), quorum)
}

fn draw_clients(rng: &mut Rng, node: &NodeConfig) -> Vec<ClientPlan> {
    let count = *rng.pick(&[1, 2, 3, 4, 5, 6, 8, 12, 40]);
    // All of them together make about so many bursts in a minute.
    let bursts = *rng.pick(&[100, 250, 400, 700]);
    let think_us = 60_000_000 * count / bursts;
    let lifetimes = node.tree.extended_types;
    (0..count)
        .map(|_| {
            let mut habits = Habits::draw(rng, lifetimes);
            habits.value = habits.value.min(300);
            ClientPlan {
                habits,
                timeout_ms: u64::from(node.tick_ms) * rng.range(2, 20),
                think_us: think_us / 2 + rng.below(think_us),
            }
        })
        .collect()
}
