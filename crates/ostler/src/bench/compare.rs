//! The same loads on two servers in turn, A B A B, so that what the machine does meanwhile meets both alike; medians
//! of the rounds, and their ratios.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::fanout::{self, FanoutArgs};
use super::loads::Mix;
use super::options::{Common, Shape};
use super::report::{Report, mib, micros, print_text, thousands};
use super::run::{self, LoadSpec, Target};
use super::servers::Servers;
use super::storm::{self, StormArgs};

/// What to compare.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct CompareArgs {
    /// The first server, HOST:PORT, or all members of the first ensemble, with commas
    #[arg(value_name = "A")]
    a: String,
    /// The second server, or all members of the second ensemble
    #[arg(value_name = "B")]
    b: String,
    /// The process of the first server, or those of all its members: compare CPU per operation and memory
    #[arg(long, value_name = "PID,…", value_delimiter = ',')]
    pid_a: Vec<u32>,
    /// The process of the second server, or those of all its members
    #[arg(long, value_name = "PID,…", value_delimiter = ',')]
    pid_b: Vec<u32>,
    /// What to call the first server
    #[arg(long, value_name = "NAME", default_value = "A")]
    label_a: String,
    /// What to call the second server
    #[arg(long, value_name = "NAME", default_value = "B")]
    label_b: String,
    /// Rounds that count
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Rounds before those, that do not count
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=1000))]
    warmup_rounds: u32,
    /// Loads, one after the other: get, set, create, mixed, paced, watch, connect
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "get,set,create")]
    workload: Vec<Kind>,
    /// Shapes of get, set, create and mixed, as CONNECTIONSxDEPTH, instead of --connections and --depth
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = parse_shape)]
    shapes: Vec<(u32, u32)>,
    /// Operations per second of paced
    #[arg(long, value_name = "N", default_value_t = 3000.0, value_parser = super::parse_rate)]
    rate: f64,
    /// Share of reads of mixed and paced
    #[arg(long, value_name = "0..1", default_value_t = 0.8, value_parser = super::parse_ratio)]
    read_ratio: f64,
    /// Watchers of watch, each with a connection of its own
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    watchers: u32,
    /// Changes in one round of watch
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    changes: u32,
    /// Sessions of connect
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    sessions: u32,
    /// Sessions of connect that are being opened at any time
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    concurrency: u32,
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    Get,
    Set,
    Create,
    Mixed,
    Paced,
    Watch,
    Connect,
}

/// The comparison of one load.
#[derive(Debug, Serialize)]
struct Comparison {
    workload: String,
    connections: u32,
    depth: u32,
    metrics: Vec<Metric>,
    errors_a: u64,
    errors_b: u64,
    rounds_a: Vec<Report>,
    rounds_b: Vec<Report>,
}

/// One number of both.
#[derive(Debug, Serialize)]
struct Metric {
    name: &'static str,
    a: f64,
    b: f64,
    /// a / b; `None` when b is 0.
    ratio: Option<f64>,
    /// The lowest and the highest ratio of a round.
    ratio_range: Option<(f64, f64)>,
}

/// Runs it.
pub(super) fn run(args: &CompareArgs) -> Result<()> {
    if args.shape.watch_dir.is_some() {
        bail!("--watch-dir is about one server: use it with the workload itself");
    }
    let a = Target { servers: Servers::resolve(&args.a)?, pids: args.pid_a.clone() };
    let b = Target { servers: Servers::resolve(&args.b)?, pids: args.pid_b.clone() };
    let mut all = Vec::new();
    for (kind, shape) in plan(args) {
        let comparison = compare(args, kind, &shape, &a, &b)?;
        if !args.common.json {
            print_text(&table(&comparison, &args.label_a, &args.label_b));
        }
        all.push(comparison);
    }
    if args.common.json {
        let json = serde_json::json!({ "a": args.label_a, "b": args.label_b, "loads": all });
        print_text(&format!("{}\n", serde_json::to_string_pretty(&json)?));
    }
    Ok(())
}

/// Every load with every shape that applies to it.
fn plan(args: &CompareArgs) -> Vec<(Kind, Shape)> {
    let mut plan = Vec::new();
    for kind in &args.workload {
        let shaped = matches!(kind, Kind::Get | Kind::Set | Kind::Create | Kind::Mixed);
        if args.shapes.is_empty() || !shaped {
            plan.push((*kind, args.shape.clone()));
            continue;
        }
        for (connections, depth) in &args.shapes {
            plan.push((*kind, Shape { connections: *connections, depth: *depth, ..args.shape.clone() }));
        }
    }
    plan
}

fn compare(args: &CompareArgs, kind: Kind, shape: &Shape, a: &Target, b: &Target) -> Result<Comparison> {
    let (mut rounds_a, mut rounds_b) = (Vec::new(), Vec::new());
    for round in 0..args.warmup_rounds + args.rounds {
        for (target, label, rounds) in [(a, &args.label_a, &mut rounds_a), (b, &args.label_b, &mut rounds_b)]
        {
            let report = super::with_probe(&args.common, || run_once(args, kind, shape, target))
                .with_context(|| format!("on {label} ({}), round {}", target.servers, round + 1))?;
            if round >= args.warmup_rounds {
                rounds.push(report);
            }
        }
    }
    Ok(summarize(rounds_a, rounds_b))
}

fn run_once(args: &CompareArgs, kind: Kind, shape: &Shape, target: &Target) -> Result<Report> {
    let load = |name: &str, mix, rate| {
        let spec = LoadSpec { name: name.to_owned(), mix, rate, shape: shape.clone() };
        run::run(target, &spec, &args.common)
    };
    match kind {
        Kind::Get => load("get", Mix::Ratio(1.0), None),
        Kind::Set => load("set", Mix::Ratio(0.0), None),
        Kind::Create => load("create", Mix::Create, None),
        Kind::Mixed => load("mixed", Mix::Ratio(args.read_ratio), None),
        Kind::Paced => load("paced", Mix::Ratio(args.read_ratio), Some(args.rate)),
        Kind::Watch => {
            let fanout = FanoutArgs {
                watchers: args.watchers,
                connections: None,
                rounds: args.changes,
                value_size: shape.value_size,
            };
            fanout::run(target, &fanout, &args.common)
        }
        Kind::Connect => {
            let storm = StormArgs { sessions: args.sessions, concurrency: args.concurrency };
            storm::run(target, &storm, &args.common)
        }
    }
}

fn summarize(rounds_a: Vec<Report>, rounds_b: Vec<Report>) -> Comparison {
    let mut metrics = Vec::new();
    for (name, number) in NUMBERS {
        let numbers = |rounds: &[Report]| rounds.iter().map(number).collect::<Option<Vec<f64>>>();
        let (Some(a), Some(b)) = (numbers(&rounds_a), numbers(&rounds_b)) else { continue };
        let ratios: Vec<f64> = a.iter().zip(&b).filter(|(_, b)| **b > 0.0).map(|(a, b)| a / b).collect();
        let (median_a, median_b) = (median(&a), median(&b));
        metrics.push(Metric {
            name,
            a: median_a,
            b: median_b,
            ratio: (median_b > 0.0).then(|| median_a / median_b),
            ratio_range: ratios.iter().copied().fold(None, |range: Option<(f64, f64)>, ratio| {
                Some(range.map_or((ratio, ratio), |(low, high)| (low.min(ratio), high.max(ratio))))
            }),
        });
    }
    let errors = |rounds: &[Report]| rounds.iter().flat_map(|report| report.errors.values()).sum();
    let first = rounds_a.first();
    Comparison {
        workload: first.map(|report| report.workload.clone()).unwrap_or_default(),
        connections: first.map_or(0, |report| report.connections),
        depth: first.map_or(0, |report| report.depth),
        metrics,
        errors_a: errors(&rounds_a),
        errors_b: errors(&rounds_b),
        rounds_a,
        rounds_b,
    }
}

type Number = fn(&Report) -> Option<f64>;

/// The numbers that are compared, where both sides have them.
const NUMBERS: [(&str, Number); 10] = [
    ("throughput /s", |report| Some(report.throughput)),
    ("p50 µs", |report| Some(report.latency_us.p50)),
    ("p99 µs", |report| Some(report.latency_us.p99)),
    ("p99.9 µs", |report| Some(report.latency_us.p999)),
    ("max µs", |report| Some(report.latency_us.max)),
    ("read p99 µs", |report| Some(report.reads_us?.p99)),
    ("write p99 µs", |report| Some(report.writes_us?.p99)),
    ("CPU µs/op", |report| Some(report.server.as_ref()?.cpu_us_per_op)),
    ("RSS bytes", |report| Some(run::to_f64(report.server.as_ref()?.rss_bytes))),
    ("fdatasync p95 µs", |report| Some(report.fdatasync_us?.p95)),
];

fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        n if n.is_multiple_of(2) => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
        n => sorted[n / 2],
    }
}

fn table(comparison: &Comparison, label_a: &str, label_b: &str) -> String {
    let mut out = String::new();
    writeln!(
        out,
        "{}, {} connections x depth {}, median of {} rounds",
        comparison.workload,
        comparison.connections,
        comparison.depth,
        comparison.rounds_a.len()
    )
    .expect("a string takes all");
    let mut line = |name: &str, a: &str, b: &str, ratio: &str| {
        writeln!(out, "  {name:<18} {a:>14} {b:>14}   {ratio}").expect("a string takes all");
    };
    line("", label_a, label_b, &format!("{label_a} / {label_b}"));
    for metric in &comparison.metrics {
        let text = |number: f64| match metric.name {
            "throughput /s" => thousands(number),
            "RSS bytes" => bytes(number),
            "CPU µs/op" => format!("{number:.2}"),
            _ => micros(number),
        };
        let ratio = metric.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"));
        let range =
            metric.ratio_range.map_or_else(String::new, |(low, high)| format!("  ({low:.3} to {high:.3})"));
        let name = metric.name.trim_end_matches(" µs").trim_end_matches(" bytes");
        line(name, &text(metric.a), &text(metric.b), &format!("{ratio}{range}"));
    }
    line("errors", &comparison.errors_a.to_string(), &comparison.errors_b.to_string(), "");
    out
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was a count of bytes")]
fn bytes(number: f64) -> String {
    mib(number as u64)
}

fn parse_shape(text: &str) -> Result<(u32, u32), String> {
    let wrong = || format!("{text:?} is not a shape; write CONNECTIONSxDEPTH, for example 16x32");
    let (connections, depth) = text.split_once('x').ok_or_else(wrong)?;
    match (connections.parse(), depth.parse()) {
        (Ok(connections @ 1..=100_000), Ok(depth @ 1..=100_000)) => Ok((connections, depth)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::ServerUse;

    #[test]
    fn medians() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
    }

    #[test]
    fn shapes() {
        assert_eq!(parse_shape("16x32"), Ok((16, 32)));
        for wrong in ["16", "0x1", "x", "16x32x1"] {
            assert!(parse_shape(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ratios_are_of_medians_and_what_one_side_lacks_is_left_out() {
        let report = |throughput, pid: bool| Report {
            throughput,
            server: pid.then(|| ServerUse {
                pids: vec![1],
                cpu_seconds: 1.0,
                cpu_us_per_op: 2.0,
                rss_bytes: 1,
            }),
            ..Report::default()
        };
        let a = vec![report(30.0, true), report(10.0, true), report(20.0, true)];
        let b = vec![report(5.0, false), report(10.0, false), report(20.0, false)];
        let comparison = summarize(a, b);
        let throughput = &comparison.metrics[0];
        assert_eq!((throughput.a, throughput.b, throughput.ratio), (20.0, 10.0, Some(2.0)));
        assert_eq!(throughput.ratio_range, Some((1.0, 6.0)));
        assert!(comparison.metrics.iter().all(|metric| metric.name != "CPU µs/op"));
        // A latency of 0 on side b has no ratio.
        assert_eq!(comparison.metrics[1].ratio, None);
        assert!(table(&comparison, "ostler", "java").contains("ostler / java"));
    }
}
