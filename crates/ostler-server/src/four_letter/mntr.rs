//! `mntr`: every metric as a line `zk_<name>`, tab, value.
//!
//! Prints all names that a standalone Apache server prints, those of parts that do not exist here among them, with the
//! zero that the reference shows before the first sample: a dashboard that asks for them must find a number. Answers to
//! `MonitorCommand` and `DefaultMetricsProvider`.

use std::fmt::{Display, Write};

use super::java_text;
use super::metric_names::{ADVANCED_SUMMARIES, BASIC_SUMMARIES, COUNTERS};
use super::render::put;
use super::report::{LeaderMonitor, Metrics, Mode, MonitorReport, QuotaReport, Summary};
use super::version;

/// The answer to `mntr`.
#[must_use]
pub fn mntr(report: &MonitorReport) -> String {
    let mut text = String::with_capacity(20 * 1024);
    line(&mut text, "", "version", version());
    line(&mut text, "", "server_state", report.server.mode.text());
    if let Some(member) = &report.member {
        line(&mut text, "", "peer_state", peer_state(report.server.mode));
        if let Some(master) = member.observer_master_id {
            line(&mut text, "", "observer_master_id", master);
        }
    }
    gauges(&mut text, report);
    quotas(&mut text, report);
    metrics(&mut text, &report.metrics);
    if let Some(leader) = report.member.as_ref().and_then(|member| member.leader.as_ref()) {
        learner_queues(&mut text, leader);
    }
    text
}

/// What a member does, in the words of its protocol. Only who serves tells it, so that it is always the last phase.
const fn peer_state(mode: Mode) -> &'static str {
    match mode {
        Mode::Leader => "leading - broadcast",
        Mode::Follower => "following - broadcast",
        Mode::Observer => "observing - broadcast",
        Mode::Standalone | Mode::ReadOnly => "looking",
    }
}

fn gauges(text: &mut String, report: &MonitorReport) {
    let server = &report.server;
    let latency = &server.latency_ms;
    let sizes = &report.client_response_bytes;
    let leader = report.member.as_ref().and_then(|member| member.leader.as_ref());
    let proposals = server.proposal_bytes.unwrap_or_default();
    let mut gauge = |name: &str, value: &dyn Display| line(text, "", name, value);
    gauge("ephemerals_count", &report.ephemerals_count);
    gauge("num_alive_connections", &server.connections);
    gauge("avg_latency", &java_text::double(latency.average()));
    if leader.is_some() {
        gauge("min_proposal_size", &proposals.min);
    }
    gauge("outstanding_requests", &server.outstanding_requests);
    gauge("znode_count", &server.node_count);
    gauge("global_sessions", &report.global_sessions);
    gauge("non_mtls_remote_conn_count", &report.non_mtls_remote_connections);
    gauge("last_client_response_size", &sizes.last);
    gauge("packets_sent", &server.packets_sent);
    gauge("packets_received", &server.packets_received);
    if leader.is_some() {
        gauge("max_proposal_size", &proposals.max);
    }
    gauge("max_client_response_size", &sizes.max);
    if let Some(leader) = leader {
        gauge("synced_followers", &leader.synced_followers);
    }
    gauge("connection_drop_probability", &java_text::double(report.connection_drop_probability));
    gauge("watch_count", &report.watch_count);
    if let Some(leader) = leader {
        gauge("synced_non_voting_followers", &leader.synced_non_voting_followers);
        gauge("synced_observers", &leader.synced_observers);
    }
    if let Some(observers) = report.member.as_ref().and_then(|member| member.observers) {
        gauge("synced_observers", &observers);
    }
    gauge("auth_failed_count", &report.auth_failed_count);
    gauge("min_latency", &latency.min);
    gauge("max_file_descriptor_count", &report.max_file_descriptors);
    gauge("approximate_data_size", &report.approximate_data_bytes);
    gauge("open_file_descriptor_count", &report.open_file_descriptors);
    if let Some(leader) = leader {
        gauge("last_proposal_size", &proposals.last);
        gauge("pending_syncs", &leader.pending_syncs);
        gauge("leader_uptime", &leader.uptime_ms);
    }
    gauge("local_sessions", &report.local_sessions);
    gauge("uptime", &report.uptime_ms);
    gauge("max_latency", &latency.max);
    gauge("outstanding_tls_handshake", &report.outstanding_tls_handshakes);
    if let Some(leader) = leader {
        gauge("learners", &leader.learners.len());
    }
    gauge("min_client_response_size", &sizes.min);
    gauge("non_mtls_local_conn_count", &report.non_mtls_local_connections);
    if let Some(member) = &report.member {
        gauge("quorum_size", &member.quorum_size);
    }
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

/// The queues of packets for each learner, which are not measured here.
fn learner_queues(text: &mut String, leader: &LeaderMonitor) {
    for learner in &leader.learners {
        summary(text, &learner.to_string(), "learner_handler_qp_size", &Summary::default());
    }
    for learner in &leader.learners {
        summary(text, &learner.to_string(), "learner_handler_qp_time_ms", &Summary::default());
        for percentile in ["p50", "p95", "p99", "p999"] {
            line(text, percentile, &format!("{learner}_learner_handler_qp_time_ms"), 0);
        }
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
