//! What the four-letter words tell, as plain data: the server fills these in, the renderers print them.
//!
//! Nothing here is computed and nothing is looked up; a figure that the server does not keep yet stays at its default and
//! is printed as the zero that the Apache server prints before its first sample.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::java_text;
use super::metric_names::{ADVANCED_SUMMARIES, BASIC_SUMMARIES, COUNTERS};

/// The part that a server plays, as `Mode:` and `zk_server_state` name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// An ensemble of one.
    #[default]
    Standalone,
    /// Leads an ensemble.
    Leader,
    /// Votes and follows.
    Follower,
    /// Follows without a vote.
    Observer,
    /// Lost its ensemble and serves reads only.
    ReadOnly,
}

impl Mode {
    /// The word in the answers.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Standalone => "standalone",
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Observer => "observer",
            Self::ReadOnly => "read-only",
        }
    }
}

/// Least, most, how many and their sum: what is kept of a measured quantity. All zero before the first sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The smallest sample.
    pub min: i64,
    /// The largest sample.
    pub max: i64,
    /// The number of samples.
    pub count: u64,
    /// Their sum.
    pub sum: i64,
}

impl Summary {
    /// One sample more.
    pub fn add(&mut self, sample: i64) {
        self.min = if self.count == 0 { sample } else { self.min.min(sample) };
        self.max = if self.count == 0 { sample } else { self.max.max(sample) };
        self.count = self.count.saturating_add(1);
        self.sum = self.sum.saturating_add(sample);
    }

    /// The samples of both, since each lane keeps its own.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        if self.count == 0 {
            return other;
        }
        if other.count == 0 {
            return self;
        }
        Self {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
            count: self.count.saturating_add(other.count),
            sum: self.sum.saturating_add(other.sum),
        }
    }

    /// The mean, rounded to four decimals; zero without a sample.
    #[must_use]
    pub fn average(&self) -> f64 {
        java_text::average(self.sum, self.count)
    }
}

/// Where the samples of a summary lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Percentiles {
    /// Half of the samples are at or below.
    pub p50: i64,
    /// 95 %.
    pub p95: i64,
    /// 99 %.
    pub p99: i64,
    /// 99.9 %.
    pub p999: i64,
}

/// The latest, smallest and largest size of something that is sent; −1 before the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// The latest.
    pub last: i64,
    /// The smallest.
    pub min: i64,
    /// The largest.
    pub max: i64,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { last: -1, min: -1, max: -1 }
    }
}

/// What `srvr` and `stat` tell of the server as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerReport {
    /// The part this server plays.
    pub mode: Mode,
    /// Milliseconds from the receipt of a request to its answer, since the last reset.
    pub latency_ms: Summary,
    /// Frames received since the last reset, the four letters of a word among them.
    pub packets_received: u64,
    /// Frames sent since the last reset.
    pub packets_sent: u64,
    /// Open connections, the asking one among them.
    pub connections: u64,
    /// Requests in the pipeline.
    pub outstanding_requests: u64,
    /// The last transaction applied.
    pub zxid: i64,
    /// Nodes of the tree.
    pub node_count: u64,
    /// Sizes of the proposals; a leader alone has them.
    pub proposal_bytes: Option<Sizes>,
}

/// What `stat` and `cons` tell of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionReport {
    /// The other end.
    pub remote: SocketAddr,
    /// What the connection waits for: 1 to read, 4 to write, 5 for both, 0 for the one that asks.
    pub interest_ops: u32,
    /// Requests received and not answered.
    pub queued: u64,
    /// Frames received.
    pub received: u64,
    /// Frames sent.
    pub sent: u64,
    /// What is known once the connection has a session.
    pub session: Option<SessionTraffic>,
}

/// The second half of a `cons` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionTraffic {
    /// The session.
    pub session_id: i64,
    /// The short name of the last operation: `GETD`, `PING`, `NA` after a reset.
    pub last_operation: &'static str,
    /// When the connection was accepted, by the wall clock.
    pub established_unix_ms: i64,
    /// The negotiated timeout.
    pub timeout_ms: i32,
    /// The xid of the last request; below zero it is left out.
    pub last_cxid: i64,
    /// The zxid of the last answer, −1 when there was none.
    pub last_zxid: i64,
    /// When it was sent, by the monotonic clock; 0 when there was none.
    pub last_response_ms: i64,
    /// How long it took.
    pub last_latency_ms: i64,
    /// The latencies of this connection. Their mean is printed as a whole number.
    pub latency_ms: Summary,
}

/// One moment of an expiry queue and what expires then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpiryBucket<T> {
    /// The moment, by the wall clock.
    pub expires_unix_ms: i64,
    /// What expires.
    pub elements: Vec<T>,
}

/// What `dump` tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DumpReport {
    /// Sessions by the moment of their expiry, earliest first.
    pub sessions: Vec<ExpiryBucket<i64>>,
    /// A learner, which does not decide on expiry, tells this instead: each session and its timeout in milliseconds, in
    /// the order of the ids.
    pub global_sessions: Option<Vec<(i64, i32)>>,
    /// The sessions that own ephemeral nodes, and their paths.
    pub ephemerals: Vec<(i64, Vec<String>)>,
    /// Connections by the moment at which they are closed for silence, earliest first: remote end and session, 0
    /// before the handshake.
    pub connections: Vec<ExpiryBucket<(SocketAddr, i64)>>,
}

/// The data watches, for `wchs`, `wchc` and `wchp`. Child watches are not among them, in the reference neither.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchReport {
    /// Sessions and the paths they watch.
    pub by_session: Vec<(i64, Vec<String>)>,
}

/// What `conf` tells of a standalone server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfReport {
    /// The plain client port.
    pub client_port: u16,
    /// The client port with TLS.
    pub secure_client_port: Option<u16>,
    /// Where the snapshots lie, absolute, `version-2` included.
    pub data_dir: PathBuf,
    /// Bytes there.
    pub data_dir_bytes: u64,
    /// Where the transaction logs lie, absolute, `version-2` included.
    pub data_log_dir: PathBuf,
    /// Bytes there.
    pub data_log_bytes: u64,
    /// The tick.
    pub tick_time_ms: u32,
    /// Connections allowed from one address, 0 for any number.
    pub max_client_cnxns: u32,
    /// Bounds of the negotiated timeout.
    pub min_session_timeout_ms: i32,
    /// See above.
    pub max_session_timeout_ms: i32,
    /// The backlog of the listening socket, if one was set.
    pub listen_backlog: Option<u32>,
    /// The id within the ensemble; 0 on a standalone server.
    pub server_id: i64,
    /// What a member of an ensemble tells beyond that.
    pub member: Option<MemberConf>,
}

/// What `conf` tells of a member of an ensemble beyond what it tells of every server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberConf {
    /// How long a learner may take to connect and sync.
    pub init_limit_ticks: u32,
    /// How far it may lag.
    pub sync_limit_ticks: u32,
    /// Where votes are exchanged; one port for each address.
    pub election_ports: Vec<u16>,
    /// Where learners connect.
    pub quorum_ports: Vec<u16>,
    /// Does it follow without a vote?
    pub observer: bool,
    /// The list of members, with its version.
    pub membership: String,
}

/// What `envi` tells. The `java.` lines are printed with `<NA>`, which is what the reference prints for a property
/// that its runtime lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvironmentReport {
    /// The name of the host.
    pub host_name: String,
    /// `Linux`.
    pub os_name: String,
    /// `amd64`, `aarch64`.
    pub os_arch: String,
    /// The release of the kernel.
    pub os_version: String,
    /// Who runs the server.
    pub user_name: String,
    /// Their home.
    pub user_home: String,
    /// The working directory.
    pub user_dir: String,
    /// The directory for temporary files.
    pub tmp_dir: String,
    /// Memory not in use, in MiB.
    pub memory_free_mib: u64,
    /// The most that may be used, in MiB.
    pub memory_max_mib: u64,
    /// Memory taken from the system, in MiB.
    pub memory_total_mib: u64,
}

/// What `mntr` tells beyond a [`ServerReport`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MonitorReport {
    /// The figures that `srvr` shows as well.
    pub server: ServerReport,
    /// Milliseconds since the start.
    pub uptime_ms: u64,
    /// Watches of all kinds.
    pub watch_count: u64,
    /// Ephemeral nodes.
    pub ephemerals_count: u64,
    /// Bytes of all paths and values.
    pub approximate_data_bytes: u64,
    /// Sessions.
    pub global_sessions: u64,
    /// Sessions that live on this server alone.
    pub local_sessions: u64,
    /// Open files.
    pub open_file_descriptors: u64,
    /// How many may be open.
    pub max_file_descriptors: u64,
    /// The chance at which the connection throttle drops a connection.
    pub connection_drop_probability: f64,
    /// Sizes of the answers.
    pub client_response_bytes: Sizes,
    /// TLS handshakes under way.
    pub outstanding_tls_handshakes: u64,
    /// Failed authentications.
    pub auth_failed_count: u64,
    /// Connections that could have used mutual TLS and did not, from afar and from this host.
    pub non_mtls_remote_connections: u64,
    /// See above.
    pub non_mtls_local_connections: u64,
    /// Quotas by the first element of their path.
    pub quotas: BTreeMap<String, QuotaReport>,
    /// What a member of an ensemble tells beyond that.
    pub member: Option<MemberMonitor>,
    /// The instruments.
    pub metrics: Metrics,
}

/// What `mntr` tells of a member of an ensemble.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberMonitor {
    /// How many members vote.
    pub quorum_size: u64,
    /// What a leader tells.
    pub leader: Option<LeaderMonitor>,
    /// Observers in sync that learn from a follower, if it takes any.
    pub observers: Option<u64>,
    /// From whom an observer takes its transactions.
    pub observer_master_id: Option<i64>,
}

/// What `mntr` tells of a leader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaderMonitor {
    /// The ids of its learners, in sync or not.
    pub learners: Vec<i64>,
    /// Followers in sync, those without a vote among them.
    pub synced_followers: u64,
    /// Followers in sync that are not in the list of members as voters.
    pub synced_non_voting_followers: u64,
    /// Observers in sync.
    pub synced_observers: u64,
    /// Syncs that wait for a commit.
    pub pending_syncs: u64,
    /// How long it has led.
    pub uptime_ms: u64,
}

/// The quotas below one first path element, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuotaReport {
    /// Nodes and bytes allowed, the hard limit where there is one; `None` where no node says.
    pub limits: Option<(i64, i64)>,
    /// Nodes and bytes used.
    pub usage: Option<(i64, i64)>,
}

/// Counters and summaries by the names of the reference; what was never set is zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    counters: BTreeMap<&'static str, u64>,
    summaries: BTreeMap<&'static str, (Summary, Percentiles)>,
    /// Bytes read and written, by the first element of the path.
    pub read_per_namespace: BTreeMap<String, Summary>,
    /// See above.
    pub write_per_namespace: BTreeMap<String, Summary>,
    /// Refusals by a hard quota, by the first element of the path.
    pub quota_exceeded_error_per_namespace: BTreeMap<String, u64>,
}

impl Metrics {
    /// Sets a counter.
    ///
    /// # Panics
    /// If the reference has no counter of this name.
    pub fn set_counter(&mut self, name: &'static str, value: u64) {
        assert!(COUNTERS.contains(&name), "{name} is no counter");
        self.counters.insert(name, value);
    }

    /// Sets a summary without percentiles.
    ///
    /// # Panics
    /// If the reference has no basic summary of this name.
    pub fn set_summary(&mut self, name: &'static str, value: Summary) {
        assert!(BASIC_SUMMARIES.contains(&name), "{name} is no basic summary");
        self.summaries.insert(name, (value, Percentiles::default()));
    }

    /// Sets a summary with percentiles.
    ///
    /// # Panics
    /// If the reference has no advanced summary of this name.
    pub fn set_advanced(&mut self, name: &'static str, value: Summary, percentiles: Percentiles) {
        assert!(ADVANCED_SUMMARIES.contains(&name), "{name} is no advanced summary");
        self.summaries.insert(name, (value, percentiles));
    }

    /// A counter, zero if it was never set.
    #[must_use]
    pub fn counter(&self, name: &str) -> u64 {
        self.counters.get(name).copied().unwrap_or_default()
    }

    /// A summary of either kind, empty if it was never set.
    #[must_use]
    pub fn summary(&self, name: &str) -> (Summary, Percentiles) {
        self.summaries.get(name).copied().unwrap_or_default()
    }
}
