//! One run of one load against one server: prepare, warm up, measure, tidy up.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::engine::Engine;
use super::loads::{Mix, Operations, READ, Random, WRITE};
use super::options::{Common, Shape};
use super::process::{self, SnapshotWatch};
use super::progress::Progress;
use super::report::{Report, ServerUse, SnapshotSplit};
use super::servers::{self, Servers};
use super::stats::{CountBy, Recorder};
use super::subtree;

/// How long answers are awaited after the last request.
const PATIENCE: Duration = Duration::from_secs(60);

/// A load.
#[derive(Debug, Clone)]
pub(super) struct LoadSpec {
    pub(super) name: String,
    pub(super) mix: Mix,
    /// Operations per second of an open loop; `None` is a closed loop.
    pub(super) rate: Option<f64>,
    pub(super) shape: Shape,
}

/// A server, or an ensemble.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) servers: Servers,
    /// Their processes, if they are to be metered.
    pub(super) pids: Vec<u32>,
}

/// CPU time used between two moments, by the servers and by this process.
pub(super) struct Meter {
    pids: Vec<u32>,
    server: Duration,
    own: Duration,
}

impl Meter {
    pub(super) fn start(pids: &[u32]) -> Result<Self> {
        Ok(Self {
            pids: pids.to_vec(),
            server: servers::cpu_time(pids)?,
            own: process::cpu_time(std::process::id())?,
        })
    }

    /// Notes the usage per operation in the report.
    pub(super) fn finish(&self, report: &mut Report) -> Result<()> {
        let per_op = |used: Duration| 1e6 * used.as_secs_f64() / to_f64(report.ops.max(1));
        report.client_cpu_us_per_op = per_op(process::cpu_time(std::process::id())?.saturating_sub(self.own));
        if !self.pids.is_empty() {
            let used = servers::cpu_time(&self.pids)?.saturating_sub(self.server);
            report.server = Some(ServerUse {
                pids: self.pids.clone(),
                cpu_seconds: used.as_secs_f64(),
                cpu_us_per_op: per_op(used),
                rss_bytes: servers::resident_bytes(&self.pids)?,
            });
        }
        Ok(())
    }
}

/// Runs a load and reports it.
pub(super) fn run(target: &Target, spec: &LoadSpec, common: &Common) -> Result<Report> {
    let identity = common.identity()?;
    let root = common.subtree(&spec.name)?;
    let shape = &spec.shape;
    process::raise_file_limit(u64::from(shape.connections) + 64)?;
    let first = target.servers.first();
    subtree::create(first, &identity, &root)?;
    let nodes = if spec.mix == Mix::Create { shape.connections } else { shape.nodes };
    let paths: Vec<String> = (0..nodes).map(|i| format!("{root}/n{i:09}")).collect();
    let value = if spec.mix == Mix::Create {
        Vec::new()
    } else {
        Random::new(common.seed).bytes(shape.value_size as usize)
    };
    let mut preparing = Progress::new(format!("{}: preparing", spec.name), Some(u64::from(nodes)));
    subtree::create_nodes(first, &identity, &mut paths.iter().cloned(), &value, &mut preparing)?;
    drop(preparing);
    subtree::sync(&target.servers, &identity, &root)?;

    let result = measure(target, spec, common, paths);
    // What was created goes away also when the run failed, if the server still answers.
    let tidied = if common.keep { Ok(()) } else { subtree::tidy(first, &identity, &root) };
    let report = result?;
    tidied?;
    Ok(report)
}

fn measure(target: &Target, spec: &LoadSpec, common: &Common, paths: Vec<String>) -> Result<Report> {
    let shape = &spec.shape;
    let per_second = shape.per_second || shape.watch_dir.is_some();
    let by = if spec.rate.is_some() { CountBy::Start } else { CountBy::Answer };
    let recorder = Recorder::new(by, 2, per_second);
    let mut load = Operations::new(spec.mix, paths, shape.value_size as usize, common.seed, recorder);
    let identity = common.identity()?;
    let mut engine =
        Engine::connect(&target.servers, &identity, shape.connections as usize, shape.depth as usize)?;
    let mut progress = Progress::new(spec.name.clone(), None);

    let from = engine.now() + nanos(shape.warmup);
    let until = shape.ops.map_or_else(|| from + nanos(shape.duration), |_| u64::MAX / 2);
    if let Some(rate) = spec.rate {
        load.pace(engine.now(), until, rate, u64::from(shape.connections));
    }
    engine.run(&mut load, from, &mut progress)?;

    let watch = shape.watch_dir.as_deref().map(SnapshotWatch::start).transpose()?;
    let began = Instant::now();
    let meter = Meter::start(&target.pids)?;
    // Now rather than `from`: what came in since the warm-up ended is not of the metered interval.
    let from = engine.now();
    load.recorder.begin(from, until, shape.ops.unwrap_or(u64::MAX));
    engine.run(&mut load, until, &mut progress)?;
    let ended = engine.now();
    let mut report = Report {
        workload: spec.name.clone(),
        address: target.servers.to_string(),
        connections: shape.connections,
        depth: shape.depth,
        value_size: shape.value_size,
        unit: "ops",
        latency_of: "latency",
        ops: load.recorder.ops(),
        ..Report::default()
    };
    meter.finish(&mut report)?;
    engine.drain(&mut load, PATIENCE, &mut progress)?;
    drop(progress);
    engine.close();

    report.seconds = Duration::from_nanos(ended - from).as_secs_f64();
    fill_in(&mut report, &load.recorder, spec);
    let snapshots = watch.map(|watch| watch.finish(began));
    report.per_second = match &snapshots {
        Some(seconds) => load.recorder.seconds(Some(&|second| seconds.contains(&second))),
        None => load.recorder.seconds(None),
    };
    report.snapshots = snapshots.map(|seconds| split(&load.recorder, &|second| seconds.contains(&second)));
    if report.ops == 0 {
        bail!("no operation was answered within the measured {:.1} s", report.seconds);
    }
    Ok(report)
}

fn fill_in(report: &mut Report, recorder: &Recorder, spec: &LoadSpec) {
    // An open loop's answers after the end count too, so the number is taken when all are in.
    report.ops = recorder.ops();
    report.throughput = to_f64(report.ops) / report.seconds.max(1e-9);
    report.latency_us = recorder.total();
    report.errors = recorder.errors();
    if let Mix::Ratio(ratio) = spec.mix
        && ratio > 0.0
        && ratio < 1.0
    {
        report.reads_us = Some(recorder.kind(READ));
        report.writes_us = Some(recorder.kind(WRITE));
    }
    if let Some(rate) = spec.rate {
        report.more.insert("rate asked", rate);
    }
}

fn split(recorder: &Recorder, with_snapshot: &dyn Fn(u64) -> bool) -> SnapshotSplit {
    let with = recorder.seconds_where(with_snapshot);
    let without = recorder.seconds_where(|second| !with_snapshot(second));
    let seconds = recorder.seconds(Some(with_snapshot)).unwrap_or_default();
    let seconds_with = seconds.iter().filter(|second| second.snapshot == Some(true)).count() as u64;
    SnapshotSplit {
        seconds_with,
        seconds_without: seconds.len() as u64 - seconds_with,
        p99_us_with: with.p99,
        p99_us_without: without.p99,
        p99_ratio: if without.p99 > 0.0 { with.p99 / without.p99 } else { 0.0 },
    }
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 4)
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^53")]
pub(super) fn to_f64(n: u64) -> f64 {
    n as f64
}
