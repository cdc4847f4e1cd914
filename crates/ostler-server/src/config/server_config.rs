//! What a server is told, in types and units: the value that the rest of the server starts from.
//!
//! Every field has been checked and every default filled in. Answers to `ServerConfig`, and to the static fields that
//! the classes of the Java server fill from system properties.

use std::path::PathBuf;

use ostler_wire::ServerId;
use ostler_wire::quorum::Members;

use super::error::Warning;
use super::member::MemberConfig;
use super::members::{HostPort, MemberLine};
use crate::four_letter::Whitelist;

/// The default of `jute.maxbuffer`: one byte less than a mebibyte.
pub const DEFAULT_JUTE_MAX_BUFFER: usize = 0xf_ffff;

/// All settings of a server.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerConfig {
    /// Where the settings were read: a path, or what stands for one.
    pub origin: String,
    /// The text of the file, for the admin command that shows it.
    pub initial_configuration: InitialConfiguration,
    /// What the caller should log.
    pub warnings: Vec<Warning>,

    /// Snapshots, and the log unless [`Self::data_log_dir`] is elsewhere. Without `version-2`.
    pub data_dir: PathBuf,
    /// The transaction log. Without `version-2`.
    pub data_log_dir: PathBuf,
    /// Create these directories when they are missing.
    pub datadir_autocreate: bool,
    /// Take an empty directory for a new server.
    pub db_autocreate: bool,
    /// Accept logs without any snapshot.
    pub trust_empty_snapshot: bool,
    /// Start over missing transactions, which are lost then.
    pub allow_log_gaps: bool,

    /// Where clients connect.
    pub client_address: HostPort,
    /// The listen backlog, where one was asked for.
    pub listen_backlog: Option<u32>,
    /// Connections from one address, 0 for any number.
    pub max_client_cnxns: u32,
    /// Connections in all, 0 for any number.
    pub max_cnxns: u32,
    /// Keep-alive on client sockets.
    pub client_tcp_keep_alive: bool,
    /// A connection without a session is closed after this.
    pub sessionless_cnxn_timeout_ms: u32,

    /// The unit of time.
    pub tick_time_ms: u32,
    /// The shortest session timeout that is granted.
    pub min_session_timeout_ms: i32,
    /// The longest.
    pub max_session_timeout_ms: i32,

    /// The largest frame.
    pub jute_max_buffer: usize,
    /// What a stored transaction may have beyond that.
    pub jute_extra_size: usize,
    /// Requests queued before reading from sockets stops.
    pub global_outstanding_limit: u32,
    /// Bytes of large requests in flight.
    pub large_request_max_bytes: u32,
    /// What is large; `None` turns the limit off.
    pub large_request_threshold_bytes: Option<u32>,
    /// The limit on new connections, if there is one.
    pub connection_throttle: ConnectionThrottle,
    /// The limit on requests in the pipeline.
    pub request_throttle: RequestThrottle,
    /// A request that waited longer is answered `THROTTLEDOP`; `None` lets it run.
    pub throttled_op_wait_time_ms: Option<u32>,

    /// What the log writer does.
    pub log: LogConfig,
    /// When and how snapshots are written.
    pub snapshot: SnapshotConfig,
    /// When old files are deleted.
    pub autopurge: Autopurge,
    /// Keep and check the digest of the tree.
    pub digest_enabled: bool,
    /// A closeSession transaction lists the ephemeral nodes it deletes.
    pub close_session_txn_enabled: bool,

    /// Check no ACL at all.
    pub skip_acl: bool,
    /// Hard quotas refuse instead of warn.
    pub enforce_quota: bool,
    /// TTL nodes.
    pub extended_types_enabled: bool,
    /// Read the owner of a TTL node as 3.5.3 wrote it.
    pub emulate_353_ttl: bool,
    /// The reaper of containers and TTL nodes.
    pub container: ContainerConfig,
    /// `reconfig` may be called.
    pub reconfig_enabled: bool,
    /// A read-only server runs while the ensemble is lost.
    pub read_only_mode_enabled: bool,

    /// Scheme `digest`.
    pub digest_auth: DigestAuth,
    /// The schemes of which a session must have authenticated with one; `None` for no such demand. Who has not is
    /// answered −124.
    pub enforce_auth_schemes: Option<Vec<String>>,
    /// The open four-letter words.
    pub four_letter_whitelist: Whitelist,

    /// How many lanes to run; the server decides where nothing is said.
    pub lanes: Option<u16>,
    /// How much to log, where the file says so.
    pub log_level: Option<LogLevel>,

    /// What is said about an ensemble.
    pub ensemble: EnsembleConfig,
    /// The settings of a member; `None` for a server that stands alone.
    pub member: Option<MemberConfig>,
}

/// The text of a configuration file. It may hold secrets, so that it is not printed with the rest.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct InitialConfiguration(pub String);

impl std::fmt::Debug for InitialConfiguration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// `connection_throttle_*`: a token bucket, and a chance of refusal that adapts.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectionThrottle {
    /// The size of the bucket, 0 for no limit.
    pub tokens: u32,
    /// How often it is filled.
    pub fill_time_ms: u32,
    /// By how much.
    pub fill_count: u32,
    /// How often the chance of refusal changes, `None` for never.
    pub freeze_time_ms: Option<u32>,
    /// How much the chance grows while tokens are short.
    pub drop_increase: f64,
    /// How much it shrinks while there are enough.
    pub drop_decrease: f64,
    /// From which share of free tokens on it shrinks.
    pub decrease_ratio: f64,
    /// Charge by the kind of session.
    pub weight_enabled: bool,
    /// The price of a new session.
    pub global_session_weight: u32,
    /// The price of a local one.
    pub local_session_weight: u32,
    /// The price of coming back to a session.
    pub renew_session_weight: u32,
}

/// `request_throttle_*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestThrottle {
    /// Requests in the pipeline, `None` for no limit.
    pub max_requests: Option<u32>,
    /// How long a request waits before it looks again.
    pub stall_time_ms: u32,
    /// Drop requests that are stale.
    pub drop_stale: bool,
    /// Stale is what took longer than its session's timeout.
    pub stale_latency_check: bool,
    /// Stale is what came over a connection that is gone.
    pub stale_connection_check: bool,
}

/// The log writer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Sync before an answer. Only `forceSync=no` makes it false.
    pub force_sync: bool,
    /// A slower sync is a warning.
    pub fsync_warning_threshold_ms: u64,
    /// The step in which the file is grown.
    pub pre_alloc_size_bytes: u64,
    /// Start a new file at this size.
    pub size_limit_bytes: Option<u64>,
    /// Wait so long for more to sync at once.
    pub flush_delay_ms: u32,
    /// Within that, wait so long for the next.
    pub max_write_queue_poll_time_ms: u32,
    /// Sync at the latest after so many, 0 for no such limit.
    pub max_batch_size: u32,
}

/// How a snapshot is packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SnapshotCompression {
    /// Not at all.
    #[default]
    None,
    /// `.gz`
    Gz,
    /// `.snappy`
    Snappy,
}

/// When and how snapshots are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotConfig {
    /// At the latest after so many transactions; 2 or more.
    pub snap_count: u32,
    /// At the latest after so many bytes of log.
    pub size_limit_bytes: Option<u64>,
    /// How it is packed.
    pub compression: SnapshotCompression,
    /// Append the last zxid.
    pub serialize_last_processed_zxid: bool,
}

/// When old files are deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Autopurge {
    /// Snapshots kept; 3 or more.
    pub snap_retain_count: u32,
    /// How often, `None` for never.
    pub purge_interval_hours: Option<u32>,
}

/// The reaper of containers and TTL nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerConfig {
    /// How often it looks.
    pub check_interval_ms: u32,
    /// How many nodes it deletes in a minute.
    pub max_per_minute: u32,
    /// A container that never had a child is deleted after this; `None` for never.
    pub max_never_used_ms: Option<u64>,
}

/// The algorithms of scheme `digest`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DigestAlgorithm {
    /// The default.
    #[default]
    Sha1,
    /// Of the SHA-2 family.
    Sha224,
    /// See above.
    Sha256,
    /// See above.
    Sha384,
    /// See above.
    Sha512,
    /// See above.
    Sha512_224,
    /// See above.
    Sha512_256,
}

impl DigestAlgorithm {
    /// The algorithm that Java knows by this name, if Ostler has it.
    #[must_use]
    pub fn from_java_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "SHA" | "SHA1" | "SHA-1" => Self::Sha1,
            "SHA224" | "SHA-224" => Self::Sha224,
            "SHA256" | "SHA-256" => Self::Sha256,
            "SHA384" | "SHA-384" => Self::Sha384,
            "SHA512" | "SHA-512" => Self::Sha512,
            "SHA512/224" | "SHA-512/224" => Self::Sha512_224,
            "SHA512/256" | "SHA-512/256" => Self::Sha512_256,
            _ => return None,
        })
    }
}

/// Scheme `digest`.
#[derive(Clone, PartialEq, Eq)]
pub struct DigestAuth {
    /// The scheme exists.
    pub enabled: bool,
    /// `user:hash` of the super user.
    pub super_digest: Option<String>,
    /// How passwords are hashed; must be the same on all servers.
    pub algorithm: DigestAlgorithm,
}

impl std::fmt::Debug for DigestAuth {
    /// Keeps the hash out of the log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let super_digest = self.super_digest.as_ref().map(|_| "set");
        f.debug_struct("DigestAuth")
            .field("enabled", &self.enabled)
            .field("super_digest", &super_digest)
            .field("algorithm", &self.algorithm)
            .finish()
    }
}

/// How much to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Least.
    Error,
    /// More.
    Warn,
    /// The usual.
    Info,
    /// Much.
    Debug,
    /// All.
    Trace,
}

impl LogLevel {
    /// The word for it.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// What is said about an ensemble, as it is written. A standalone server has at most one member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnsembleConfig {
    /// The `server.N` lines.
    pub members: Vec<MemberLine>,
    /// The `group.G` lines.
    pub groups: Vec<(i64, Vec<i64>)>,
    /// The `weight.N` lines.
    pub weights: Vec<(i64, u64)>,
    /// How long a learner may take to connect and sync.
    pub init_limit_ticks: Option<u32>,
    /// How far it may lag.
    pub sync_limit_ticks: Option<u32>,
    /// The version of the list, from the name of the dynamic file; 0 without one.
    pub version: i64,
}

impl EnsembleConfig {
    /// The member list that the lines make up.
    #[must_use]
    pub fn to_members(&self) -> Members {
        let groups = self.groups.iter();
        Members {
            version: self.version,
            servers: self.members.iter().map(|line| (line.id, line.member.clone())).collect(),
            groups: groups
                .map(|(group, ids)| (*group, ids.iter().copied().map(ServerId).collect()))
                .collect(),
            weights: self.weights.iter().map(|(id, weight)| (ServerId(*id), *weight)).collect(),
        }
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            origin: String::new(),
            initial_configuration: InitialConfiguration::default(),
            warnings: Vec::new(),
            data_dir: PathBuf::from("./ostler-data"),
            data_log_dir: PathBuf::from("./ostler-data"),
            datadir_autocreate: true,
            db_autocreate: true,
            trust_empty_snapshot: false,
            allow_log_gaps: false,
            client_address: HostPort { host: None, port: 2181 },
            listen_backlog: None,
            max_client_cnxns: 60,
            max_cnxns: 0,
            client_tcp_keep_alive: false,
            sessionless_cnxn_timeout_ms: 10_000,
            tick_time_ms: 3000,
            min_session_timeout_ms: 6000,
            max_session_timeout_ms: 60_000,
            jute_max_buffer: DEFAULT_JUTE_MAX_BUFFER,
            jute_extra_size: DEFAULT_JUTE_MAX_BUFFER,
            global_outstanding_limit: 1000,
            large_request_max_bytes: 100 * 1024 * 1024,
            large_request_threshold_bytes: None,
            connection_throttle: ConnectionThrottle::default(),
            request_throttle: RequestThrottle::default(),
            throttled_op_wait_time_ms: None,
            log: LogConfig::default(),
            snapshot: SnapshotConfig::default(),
            autopurge: Autopurge { snap_retain_count: 3, purge_interval_hours: None },
            digest_enabled: true,
            close_session_txn_enabled: true,
            skip_acl: false,
            enforce_quota: false,
            extended_types_enabled: false,
            emulate_353_ttl: false,
            container: ContainerConfig {
                check_interval_ms: 60_000,
                max_per_minute: 10_000,
                max_never_used_ms: None,
            },
            reconfig_enabled: false,
            read_only_mode_enabled: false,
            digest_auth: DigestAuth { enabled: true, super_digest: None, algorithm: DigestAlgorithm::Sha1 },
            enforce_auth_schemes: None,
            four_letter_whitelist: Whitelist::default(),
            lanes: None,
            log_level: None,
            ensemble: EnsembleConfig::default(),
            member: None,
        }
    }
}

impl Default for ConnectionThrottle {
    fn default() -> Self {
        Self {
            tokens: 0,
            fill_time_ms: 1,
            fill_count: 1,
            freeze_time_ms: None,
            drop_increase: 0.02,
            drop_decrease: 0.002,
            decrease_ratio: 0.0,
            weight_enabled: false,
            global_session_weight: 3,
            local_session_weight: 1,
            renew_session_weight: 2,
        }
    }
}

impl Default for RequestThrottle {
    fn default() -> Self {
        Self {
            max_requests: None,
            stall_time_ms: 100,
            drop_stale: true,
            stale_latency_check: false,
            stale_connection_check: true,
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            force_sync: true,
            fsync_warning_threshold_ms: 1000,
            pre_alloc_size_bytes: 65_536 * 1024,
            size_limit_bytes: None,
            flush_delay_ms: 0,
            max_write_queue_poll_time_ms: 0,
            max_batch_size: 1000,
        }
    }
}

impl Default for SnapshotConfig {
    fn default() -> Self {
        Self {
            snap_count: 100_000,
            size_limit_bytes: Some(4_194_304 * 1024),
            compression: SnapshotCompression::None,
            serialize_last_processed_zxid: true,
        }
    }
}
