//! What a benchmark prints: for eyes, or as JSON for scripts.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Result;
use serde::Serialize;

use super::stats::{Quantiles, Second};

/// The result of one run. Times are microseconds unless the name says otherwise.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Report {
    pub(super) workload: String,
    pub(super) address: String,
    pub(super) connections: u32,
    pub(super) depth: u32,
    pub(super) value_size: u32,
    pub(super) seconds: f64,
    /// What an operation is: `ops`, `events`, `sessions`, `nodes`.
    pub(super) unit: &'static str,
    pub(super) ops: u64,
    pub(super) throughput: f64,
    /// What the latency is of.
    pub(super) latency_of: &'static str,
    pub(super) latency_us: Quantiles,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reads_us: Option<Quantiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) writes_us: Option<Quantiles>,
    pub(super) errors: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) server: Option<ServerUse>,
    pub(super) client_cpu_us_per_op: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fdatasync_us: Option<Quantiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) snapshots: Option<SnapshotSplit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) per_second: Option<Vec<Second>>,
    /// Further numbers of this workload.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) more: BTreeMap<&'static str, f64>,
}

/// What the processes of the servers used in the measured interval, together.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ServerUse {
    pub(super) pids: Vec<u32>,
    pub(super) cpu_seconds: f64,
    pub(super) cpu_us_per_op: f64,
    pub(super) rss_bytes: u64,
}

/// Latencies of the seconds in which a snapshot was written, beside the others.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct SnapshotSplit {
    pub(super) seconds_with: u64,
    pub(super) seconds_without: u64,
    pub(super) p99_us_with: f64,
    pub(super) p99_us_without: f64,
    pub(super) p99_ratio: f64,
}

/// Prints a report.
#[expect(clippy::print_stdout, reason = "the report is what the command is for")]
pub(super) fn print(report: &Report, json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(report)?);
    } else {
        print!("{}", text(report));
    }
    Ok(())
}

/// Prints any text of a benchmark.
#[expect(clippy::print_stdout, reason = "the report is what the command is for")]
pub(super) fn print_text(text: &str) {
    print!("{text}");
}

/// The report for eyes.
pub(super) fn text(report: &Report) -> String {
    let mut out = String::new();
    let r = report;
    writeln!(
        out,
        "{} on {}: {} connections, depth {}, values of {} bytes, {:.1} s",
        r.workload, r.address, r.connections, r.depth, r.value_size, r.seconds
    )
    .expect("a string takes all");
    let mut line = |name: &str, text: String| {
        writeln!(out, "  {name:<14} {text}").expect("a string takes all");
    };
    line("throughput", format!("{} {}/s ({} {})", thousands(r.throughput), r.unit, count(r.ops), r.unit));
    line(r.latency_of, quantiles(&r.latency_us));
    if let Some(reads) = &r.reads_us {
        line("  reads", quantiles(reads));
    }
    if let Some(writes) = &r.writes_us {
        line("  writes", quantiles(writes));
    }
    if r.errors.is_empty() {
        line("errors", "none".to_owned());
    }
    for (name, number) in &r.errors {
        line("errors", format!("{} × {name}", count(*number)));
    }
    if let Some(server) = &r.server {
        line(
            "server",
            format!(
                "{:.2} µs CPU per {} ({:.2} s), RSS {}",
                server.cpu_us_per_op,
                r.unit.trim_end_matches('s'),
                server.cpu_seconds,
                mib(server.rss_bytes)
            ),
        );
    }
    line("generator", format!("{:.2} µs CPU per {}", r.client_cpu_us_per_op, r.unit.trim_end_matches('s')));
    if let Some(fdatasync) = &r.fdatasync_us {
        line(
            "fdatasync",
            format!(
                "p50 {} · p95 {} · p99 {}",
                micros(fdatasync.p50),
                micros(fdatasync.p95),
                micros(fdatasync.p99)
            ),
        );
    }
    for (name, number) in &r.more {
        line(name, format!("{number:.1}"));
    }
    if let Some(s) = &r.snapshots {
        line(
            "snapshots",
            format!(
                "p99 {} in the {} seconds with one, {} in the other {}: {:.2} ×",
                micros(s.p99_us_with),
                s.seconds_with,
                micros(s.p99_us_without),
                s.seconds_without,
                s.p99_ratio
            ),
        );
    }
    for second in r.per_second.iter().flatten() {
        line(
            &format!("  second {}", second.second),
            format!(
                "{} {}, p50 {} · p99 {} · max {}{}",
                count(second.ops),
                r.unit,
                micros(second.p50_us),
                micros(second.p99_us),
                micros(second.max_us),
                if second.snapshot == Some(true) { "  (snapshot)" } else { "" }
            ),
        );
    }
    out
}

fn quantiles(q: &Quantiles) -> String {
    format!(
        "p50 {} · p95 {} · p99 {} · p99.9 {} · max {}",
        micros(q.p50),
        micros(q.p95),
        micros(q.p99),
        micros(q.p999),
        micros(q.max)
    )
}

/// Microseconds in a unit that reads well.
pub(super) fn micros(us: f64) -> String {
    if us >= 1e6 {
        format!("{:.2} s", us / 1e6)
    } else if us >= 1000.0 {
        format!("{:.2} ms", us / 1000.0)
    } else {
        format!("{us:.0} µs")
    }
}

#[expect(clippy::cast_precision_loss, reason = "for eyes")]
pub(super) fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[expect(clippy::cast_precision_loss, reason = "for eyes")]
fn count(number: u64) -> String {
    thousands(number as f64)
}

/// A whole number with commas.
pub(super) fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_eyes() {
        assert_eq!(thousands(1_234_567.4), "1,234,567");
        assert_eq!(thousands(123.0), "123");
        assert_eq!(micros(12.4), "12 µs");
        assert_eq!(micros(12_400.0), "12.40 ms");
        assert_eq!(micros(2.5e6), "2.50 s");
        assert_eq!(mib(3 << 20), "3.0 MiB");
    }

    #[test]
    fn a_report_names_its_errors_and_its_server() {
        let report = Report {
            workload: "get".to_owned(),
            unit: "ops",
            latency_of: "latency",
            errors: BTreeMap::from([("NoNode".to_owned(), 3)]),
            server: Some(ServerUse {
                pids: vec![1],
                cpu_seconds: 1.0,
                cpu_us_per_op: 2.5,
                rss_bytes: 5 << 20,
            }),
            ..Report::default()
        };
        let text = text(&report);
        assert!(text.contains("3 × NoNode"), "{text}");
        assert!(text.contains("2.50 µs CPU per op"), "{text}");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["errors"]["NoNode"], 3);
    }
}
