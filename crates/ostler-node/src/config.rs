//! The settings of a node and its lanes, as arguments: nothing in here reads a file or the environment.

use ostler_tree::TreeConfig;

/// Settings of a node and its lanes.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// The id of this server; standalone servers number their sessions as server 1.
    pub server_id: i64,
    /// The base unit of time, in milliseconds.
    pub tick_ms: u32,
    /// The least session timeout that is granted, in milliseconds.
    pub min_session_timeout_ms: i32,
    /// The largest session timeout that is granted, in milliseconds.
    pub max_session_timeout_ms: i32,
    /// The longest frame that is accepted, in bytes (`jute.maxbuffer`).
    pub max_frame: usize,
    /// Settings of the tree.
    pub tree: TreeConfig,
    /// Transactions between snapshots; each time a number between a half of it and all of it is drawn.
    pub snap_count: u32,
    /// Bytes of log between snapshots, drawn likewise; `None` for no such limit.
    pub snap_size: Option<u64>,
    /// `user:base64(digest)` of the super user.
    pub super_digest: Option<String>,
    /// How passwords of the digest scheme are hashed.
    pub digest_algorithm: DigestAlgorithm,
    /// Whether the digest scheme is offered.
    pub digest_scheme: bool,
    /// Schemes of which a connection must have one before it may do anything; empty for no such rule.
    pub enforced_schemes: Vec<String>,
    /// Requests that may be under way before connections that have some are no longer read.
    pub global_outstanding_limit: usize,
    /// Large requests: how large one is, and how many bytes of them may be under way. `None` for no limit.
    pub large_requests: Option<LargeRequests>,
    /// Requests that may be under way at all, 0 for no limit.
    pub request_throttle_limit: usize,
    /// A request that had to wait longer than this before it was looked at is answered -127; 0 for no limit.
    pub throttled_op_wait_ms: u64,
    /// How long a connection may take for its handshake, in milliseconds.
    pub sessionless_timeout_ms: u64,
    /// The throttle of new connections.
    pub connection_throttle: crate::throttle::ThrottleConfig,
    /// The reaper of containers and TTL nodes.
    pub reaper: crate::reaper::ReaperConfig,
    /// How many lanes there are.
    pub lanes: usize,
    /// Whether the server is a member of an ensemble, and serves nobody until there is a leader.
    pub member: bool,
    /// What a member does beyond taking part.
    pub services: MemberServices,
    /// What session ids and everything drawn begin with.
    pub seed: u64,
}

/// What Apache ZooKeeper has where nothing is set, standalone and with one lane.
impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            server_id: 1,
            tick_ms: 2000,
            min_session_timeout_ms: 4000,
            max_session_timeout_ms: 40_000,
            max_frame: 0xf_ffff,
            tree: TreeConfig::default(),
            snap_count: 100_000,
            snap_size: None,
            super_digest: None,
            digest_algorithm: DigestAlgorithm::Sha1,
            digest_scheme: true,
            enforced_schemes: Vec::new(),
            global_outstanding_limit: 1000,
            large_requests: None,
            request_throttle_limit: 0,
            throttled_op_wait_ms: 0,
            sessionless_timeout_ms: 10_000,
            connection_throttle: crate::throttle::ThrottleConfig::default(),
            reaper: crate::reaper::ReaperConfig::default(),
            lanes: 1,
            member: false,
            services: MemberServices::default(),
            seed: 1,
        }
    }
}

/// What a member of an ensemble does for clients, beyond what every member does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberServices {
    /// Reads are served while no leader is found.
    pub read_only_mode: bool,
    /// New sessions live on this server alone.
    pub local_sessions: bool,
    /// Such a session becomes a global one when it asks for an ephemeral node.
    pub local_sessions_upgrading: bool,
    /// A leader serves clients.
    pub leader_serves: bool,
}

impl Default for MemberServices {
    fn default() -> Self {
        Self {
            read_only_mode: false,
            local_sessions: false,
            local_sessions_upgrading: false,
            leader_serves: true,
        }
    }
}

/// The limits on large requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LargeRequests {
    /// A frame of more bytes is large.
    pub threshold: usize,
    /// Bytes of large frames that may be under way.
    pub max_bytes: usize,
}

/// How a password of the digest scheme is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DigestAlgorithm {
    /// SHA-1, the default.
    Sha1,
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
    /// SHA-512/224.
    Sha512_224,
    /// SHA-512/256.
    Sha512_256,
}
