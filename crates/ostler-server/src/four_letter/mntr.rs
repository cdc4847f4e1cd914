//! `mntr`: every metric as a line `zk_<name>`, tab, value.
//!
//! Prints all names that a standalone Apache server prints, those of parts that do not exist here among them, with the
//! zero that the reference shows before the first sample: a dashboard that asks for them must find a number. Answers to
//! `MonitorCommand` and `DefaultMetricsProvider`.

use std::fmt::{Display, Write};

use super::java_text;
use super::metric_names::{ADVANCED_SUMMARIES, BASIC_SUMMARIES, COUNTERS};
use super::render::put;
use super::report::{Metrics, MonitorReport, QuotaReport, Summary};
use super::version;

/// The answer to `mntr`.
#[must_use]
pub fn mntr(report: &MonitorReport) -> String {
    let mut text = String::with_capacity(20 * 1024);
    line(&mut text, "", "version", version());
    line(&mut text, "", "server_state", report.server.mode.text());
    gauges(&mut text, report);
    quotas(&mut text, report);
    metrics(&mut text, &report.metrics);
    text
}

fn gauges(text: &mut String, report: &MonitorReport) {
    let server = &report.server;
    let latency = &server.latency_ms;
    let sizes = &report.client_response_bytes;
    let mut gauge = |name: &str, value: &dyn Display| line(text, "", name, value);
    gauge("ephemerals_count", &report.ephemerals_count);
    gauge("num_alive_connections", &server.connections);
    gauge("avg_latency", &java_text::double(latency.average()));
    gauge("outstanding_requests", &server.outstanding_requests);
    gauge("znode_count", &server.node_count);
    gauge("global_sessions", &report.global_sessions);
    gauge("non_mtls_remote_conn_count", &report.non_mtls_remote_connections);
    gauge("last_client_response_size", &sizes.last);
    gauge("packets_sent", &server.packets_sent);
    gauge("packets_received", &server.packets_received);
    gauge("max_client_response_size", &sizes.max);
    gauge("connection_drop_probability", &java_text::double(report.connection_drop_probability));
    gauge("watch_count", &report.watch_count);
    gauge("auth_failed_count", &report.auth_failed_count);
    gauge("min_latency", &latency.min);
    gauge("max_file_descriptor_count", &report.max_file_descriptors);
    gauge("approximate_data_size", &report.approximate_data_bytes);
    gauge("open_file_descriptor_count", &report.open_file_descriptors);
    gauge("local_sessions", &report.local_sessions);
    gauge("uptime", &report.uptime_ms);
    gauge("max_latency", &latency.max);
    gauge("outstanding_tls_handshake", &report.outstanding_tls_handshakes);
    gauge("min_client_response_size", &sizes.min);
    gauge("non_mtls_local_conn_count", &report.non_mtls_local_connections);
}

fn quotas(text: &mut String, report: &MonitorReport) {
    type View = fn(&QuotaReport) -> Option<i64>;
    let views: [(&str, View); 4] = [
        ("quota_bytes_limit_per_namespace", |quota| Some(quota.limits?.1)),
        ("quota_count_usage_per_namespace", |quota| Some(quota.usage?.0)),
        ("quota_count_limit_per_namespace", |quota| Some(quota.limits?.0)),
        ("quota_bytes_usage_per_namespace", |quota| Some(quota.usage?.1)),
    ];
    for (name, view) in views {
        for (namespace, quota) in &report.quotas {
            if let Some(value) = view(quota) {
                line(text, namespace, name, value);
            }
        }
    }
}

fn metrics(text: &mut String, metrics: &Metrics) {
    for name in COUNTERS {
        line(text, "", name, metrics.counter(name));
    }
    for (namespace, count) in &metrics.quota_exceeded_error_per_namespace {
        line(text, namespace, "quota_exceeded_error_per_namespace", count);
    }
    for name in BASIC_SUMMARIES {
        summary(text, "", name, &metrics.summary(name).0);
    }
    for name in ADVANCED_SUMMARIES {
        let (figures, percentiles) = metrics.summary(name);
        summary(text, "", name, &figures);
        line(text, "p50", name, percentiles.p50);
        line(text, "p95", name, percentiles.p95);
        line(text, "p99", name, percentiles.p99);
        line(text, "p999", name, percentiles.p999);
    }
    for (namespace, figures) in &metrics.read_per_namespace {
        summary(text, namespace, "read_per_namespace", figures);
    }
    for (namespace, figures) in &metrics.write_per_namespace {
        summary(text, namespace, "write_per_namespace", figures);
    }
}

fn summary(text: &mut String, key: &str, name: &str, figures: &Summary) {
    let name = if key.is_empty() { name.to_owned() } else { format!("{key}_{name}") };
    line(text, "avg", &name, java_text::double(figures.average()));
    line(text, "min", &name, figures.min);
    line(text, "max", &name, figures.max);
    line(text, "cnt", &name, figures.count);
    line(text, "sum", &name, figures.sum);
}

fn line(text: &mut String, prefix: &str, name: &str, value: impl Display) {
    let joint = if prefix.is_empty() { "" } else { "_" };
    put!(text, "zk_{prefix}{joint}{name}\t{value}\n");
}
