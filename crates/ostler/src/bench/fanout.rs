//! The watch fan-out: many watchers on a znode, one change, and the time until the last of them has heard of it.

use std::time::Duration;

use anyhow::{Result, bail};
use ostler_wire::client::encode;
use ostler_wire::client::reply::MultiHeader;
use ostler_wire::{OpCode, path};

use super::engine::{Engine, Issued, Load, Reply};
use super::handshake::code_name;
use super::loads::Random;
use super::options::Common;
use super::process;
use super::progress::Progress;
use super::report::Report;
use super::run::{Meter, Target, nanos, to_f64};
use super::stats::{Latencies, us};
use super::subtree;

/// How long one round may take.
const PATIENCE: Duration = Duration::from_secs(60);
const ARM_DEPTH: usize = 64;
/// Rounds that are not counted.
const WARMUP_ROUNDS: u32 = 2;

/// The shape of a fan-out.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct FanoutArgs {
    /// Watches in all
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) watchers: u32,
    /// Connections that hold them. A connection has one watch on a znode, so with fewer connections than watchers
    /// there are several znodes, all changed by one multi [default: one per watcher, all on one znode]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) connections: Option<u32>,
    /// How often the znodes are changed
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) rounds: u32,
    /// Bytes of data of a znode
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub(super) value_size: u32,
}

/// Sets the watches, then changes what they watch, from the connection after the last watcher's.
struct Fanout {
    paths: Vec<String>,
    value: Vec<u8>,
    watchers: usize,
    connections: usize,
    /// Watches that each connection still has to ask for.
    to_arm: Vec<usize>,
    armed: usize,
    phase: Phase,
    changed_at: u64,
    answered_at: Option<u64>,
    first_event: Option<u64>,
    last_event: u64,
    events: usize,
    failure: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Watches are being set.
    Arming,
    /// The change is to be sent.
    Changing,
    /// It was sent.
    Changed,
}

/// What one round measured, in nanoseconds after the change was sent.
struct Round {
    first: u64,
    last: u64,
    answer: u64,
}

/// Runs it.
pub(super) fn run(target: &Target, args: &FanoutArgs, common: &Common) -> Result<Report> {
    let identity = common.identity()?;
    let root = common.subtree("watch")?;
    let connections = args.connections.unwrap_or(args.watchers).min(args.watchers);
    process::raise_file_limit(u64::from(connections) + 64)?;
    let nodes = args.watchers.div_ceil(connections);
    let paths: Vec<String> = (0..nodes).map(|i| format!("{root}/n{i:09}")).collect();
    let value = Random::new(common.seed).bytes(args.value_size as usize);
    if paths.len() * (value.len() + path::parent(&root).len() + 40) > 900_000 {
        bail!("{nodes} znodes of {} bytes do not fit in one multi: use more connections", value.len());
    }
    subtree::create(target.servers.first(), &identity, &root)?;
    let mut progress = Progress::new("watch: connecting", None);
    progress.show(0);
    subtree::create_nodes(
        target.servers.first(),
        &identity,
        &mut paths.iter().cloned(),
        &value,
        &mut progress,
    )?;

    subtree::sync(&target.servers, &identity, &root)?;
    let engine = Engine::connect(&target.servers, &identity, connections as usize + 1, ARM_DEPTH)?;
    let load = Fanout {
        paths,
        value,
        watchers: args.watchers as usize,
        connections: connections as usize,
        to_arm: vec![0; connections as usize],
        armed: 0,
        phase: Phase::Arming,
        changed_at: 0,
        answered_at: None,
        first_event: None,
        last_event: 0,
        events: 0,
        failure: None,
    };
    let result = measure(engine, load, target, args);
    drop(progress);
    let tidied = if common.keep { Ok(()) } else { subtree::tidy(target.servers.first(), &identity, &root) };
    let mut report = result?;
    tidied?;
    report.connections = connections;
    Ok(report)
}

fn measure(mut engine: Engine, mut load: Fanout, target: &Target, args: &FanoutArgs) -> Result<Report> {
    let mut progress = Progress::new("watch: rounds", Some(u64::from(args.rounds)));
    let (mut first, mut last, mut answer) = (Latencies::new(), Latencies::new(), Latencies::new());
    let mut report = Report {
        workload: "watch".to_owned(),
        address: target.servers.to_string(),
        depth: 1,
        value_size: args.value_size,
        unit: "events",
        latency_of: "last event",
        ..Report::default()
    };
    let mut meter = Meter::start(&target.pids)?;
    for round in 0..WARMUP_ROUNDS + args.rounds {
        if round == WARMUP_ROUNDS {
            meter = Meter::start(&target.pids)?;
        }
        let times = load.round(&mut engine, &mut progress)?;
        if round >= WARMUP_ROUNDS {
            first.record(times.first);
            last.record(times.last);
            answer.record(times.answer);
            report.ops += load.events as u64;
            report.seconds += us(times.last) / 1e6;
        }
    }
    // CPU of setting the watches is in it too: an event cannot be had without its watch.
    meter.finish(&mut report)?;
    drop(progress);
    engine.close();
    report.latency_us = last.quantiles();
    report.throughput = to_f64(report.ops) / report.seconds.max(1e-9);
    report.more.insert("first event µs", first.quantiles().p50);
    report.more.insert("reply µs", answer.quantiles().p50);
    report.more.insert("znodes", to_f64(load.paths.len() as u64));
    Ok(report)
}

impl Fanout {
    fn round(&mut self, engine: &mut Engine, progress: &mut Progress) -> Result<Round> {
        let mut left = self.watchers;
        for share in &mut self.to_arm {
            *share = left.min(self.paths.len());
            left -= *share;
        }
        (self.armed, self.events) = (0, 0);
        (self.first_event, self.answered_at) = (None, None);
        self.phase = Phase::Arming;
        self.finish_phase(engine, progress)?;
        self.phase = Phase::Changing;
        self.finish_phase(engine, progress)?;
        let after = |at: u64| at.saturating_sub(self.changed_at);
        Ok(Round {
            first: after(self.first_event.unwrap_or(self.last_event)),
            last: after(self.last_event),
            answer: after(self.answered_at.unwrap_or_default()),
        })
    }

    fn finish_phase(&mut self, engine: &mut Engine, progress: &mut Progress) -> Result<()> {
        let until = engine.now() + nanos(PATIENCE);
        engine.run(self, until, progress)?;
        if let Some(failure) = &self.failure {
            bail!("{failure}");
        }
        if !self.is_done() {
            bail!(
                "within {PATIENCE:?} only {} of {} watches were set and {} events came",
                self.armed,
                self.watchers,
                self.events
            );
        }
        Ok(())
    }

    fn encode_change(&self, xid: i32, out: &mut Vec<u8>) {
        if let [path] = &self.paths[..] {
            encode::encode_frame(xid, OpCode::SetData, out, |out| {
                encode::set_data_body(path, &self.value, -1, out);
            });
            return;
        }
        encode::encode_frame(xid, OpCode::Multi, out, |out| {
            for path in &self.paths {
                encode::multi_header(OpCode::SetData, out);
                encode::set_data_body(path, &self.value, -1, out);
            }
            MultiHeader::END.encode(out);
        });
    }
}

impl Load for Fanout {
    fn next(&mut self, conn: usize, now: u64, xid: i32, out: &mut Vec<u8>) -> Option<Issued> {
        if conn == self.connections {
            if self.phase != Phase::Changing {
                return None;
            }
            self.phase = Phase::Changed;
            self.changed_at = now;
            self.encode_change(xid, out);
            return Some(Issued { tag: 1, start: now });
        }
        let share = self.to_arm.get_mut(conn).filter(|share| **share > 0)?;
        *share -= 1;
        let path = &self.paths[*share];
        encode::encode_frame(xid, OpCode::GetData, out, |out| encode::path_watch_body(path, true, out));
        Some(Issued { tag: 0, start: now })
    }

    fn on_reply(&mut self, _conn: usize, reply: &Reply<'_>) {
        if reply.err != 0 {
            self.failure = Some(format!("the server refused: {}", code_name(reply.err)));
        } else if reply.issued.tag == 0 {
            self.armed += 1;
        } else {
            self.answered_at = Some(reply.now);
        }
    }

    fn on_event(&mut self, _conn: usize, now: u64) {
        self.events += 1;
        self.first_event.get_or_insert(now);
        self.last_event = now;
    }

    fn on_lost(&mut self, _conn: usize, _issued: Issued) {
        self.failure = Some("a connection was lost".to_owned());
    }

    fn is_done(&self) -> bool {
        self.failure.is_some()
            || match self.phase {
                Phase::Arming => self.armed == self.watchers,
                Phase::Changing | Phase::Changed => {
                    self.answered_at.is_some() && self.events >= self.watchers
                }
            }
    }

    fn completed(&self) -> u64 {
        self.events as u64
    }
}
