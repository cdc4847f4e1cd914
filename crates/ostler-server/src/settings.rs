//! From a server's configuration to the arguments of its parts.

use ostler_node::config::{DigestAlgorithm, LargeRequests, MemberServices};
use ostler_node::reaper::ReaperConfig;
use ostler_node::throttle::ThrottleConfig;
use ostler_node::{NodeConfig, Now};
use ostler_store::{Compression, LogOptions, SnapshotOptions};
use ostler_tree::{Schemes, TreeConfig};

use crate::config::{self, ServerConfig};
use crate::os_disk::DiskOptions;
use crate::placement::Placement;

/// Standalone servers number their sessions as server 1, whatever their configuration says.
const SOLO_SERVER_ID: i64 = 1;

pub(crate) fn node_config(config: &ServerConfig, now: Now) -> NodeConfig {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let lanes = config.lanes.map_or_else(|| Placement::default_lanes(processors), usize::from).max(1);
    // What cannot be guessed from outside, and differs from start to start.
    let seed = now.wall_ms.unsigned_abs().rotate_left(20) ^ u64::from(std::process::id()) ^ random_bits();
    NodeConfig {
        server_id: config.member.as_ref().map_or(SOLO_SERVER_ID, |member| member.id.0),
        tick_ms: config.tick_time_ms,
        min_session_timeout_ms: config.min_session_timeout_ms,
        max_session_timeout_ms: config.max_session_timeout_ms,
        max_frame: config.jute_max_buffer,
        tree: TreeConfig {
            skip_acl: config.skip_acl,
            enforce_quota: config.enforce_quota,
            extended_types: config.extended_types_enabled,
            digest_enabled: config.digest_enabled,
            close_session_list: config.close_session_txn_enabled,
            reconfig_enabled: config.reconfig_enabled,
            schemes: Schemes { digest: config.digest_auth.enabled, ..Schemes::default() },
            hash_seed: seed,
        },
        snap_count: config.snapshot.snap_count,
        snap_size: config.snapshot.size_limit_bytes,
        super_digest: config.digest_auth.super_digest.clone(),
        digest_algorithm: match config.digest_auth.algorithm {
            config::DigestAlgorithm::Sha1 => DigestAlgorithm::Sha1,
            config::DigestAlgorithm::Sha224 => DigestAlgorithm::Sha224,
            config::DigestAlgorithm::Sha256 => DigestAlgorithm::Sha256,
            config::DigestAlgorithm::Sha384 => DigestAlgorithm::Sha384,
            config::DigestAlgorithm::Sha512 => DigestAlgorithm::Sha512,
            config::DigestAlgorithm::Sha512_224 => DigestAlgorithm::Sha512_224,
            config::DigestAlgorithm::Sha512_256 => DigestAlgorithm::Sha512_256,
        },
        digest_scheme: config.digest_auth.enabled,
        enforced_schemes: config.enforce_auth_schemes.clone().unwrap_or_default(),
        global_outstanding_limit: config.global_outstanding_limit as usize,
        large_requests: config.large_request_threshold_bytes.map(|threshold| LargeRequests {
            threshold: threshold as usize,
            max_bytes: config.large_request_max_bytes as usize,
        }),
        request_throttle_limit: config.request_throttle.max_requests.unwrap_or(0) as usize,
        throttled_op_wait_ms: u64::from(config.throttled_op_wait_time_ms.unwrap_or(0)),
        sessionless_timeout_ms: u64::from(config.sessionless_cnxn_timeout_ms),
        connection_throttle: connection_throttle(&config.connection_throttle),
        reaper: ReaperConfig {
            check_interval_ms: u64::from(config.container.check_interval_ms),
            max_per_minute: u64::from(config.container.max_per_minute),
            max_never_used_ms: config
                .container
                .max_never_used_ms
                .map_or(0, |ms| i64::try_from(ms).unwrap_or(i64::MAX)),
        },
        lanes,
        member: config.member.is_some(),
        services: config.member.as_ref().map_or_else(MemberServices::default, |member| MemberServices {
            read_only_mode: config.read_only_mode_enabled,
            local_sessions: member.local_sessions_enabled,
            local_sessions_upgrading: member.local_sessions_upgrading_enabled,
            leader_serves: member.leader_serves,
        }),
        seed,
    }
}

fn connection_throttle(throttle: &config::ConnectionThrottle) -> ThrottleConfig {
    ThrottleConfig {
        max_tokens: i64::from(throttle.tokens),
        fill_time_ms: u64::from(throttle.fill_time_ms),
        fill_count: i64::from(throttle.fill_count),
        freeze_time_ms: throttle.freeze_time_ms.map_or(-1, i64::from),
        drop_increase: throttle.drop_increase,
        drop_decrease: throttle.drop_decrease,
        decrease_ratio: throttle.decrease_ratio,
        weight_enabled: throttle.weight_enabled,
        global_session_weight: i64::from(throttle.global_session_weight),
        renew_session_weight: i64::from(throttle.renew_session_weight),
    }
}

pub(crate) fn disk_options(config: &ServerConfig) -> DiskOptions {
    DiskOptions {
        data_dir: config.data_dir.clone(),
        data_log_dir: config.data_log_dir.clone(),
        autocreate: config.datadir_autocreate,
    }
}

pub(crate) fn log_options(config: &ServerConfig) -> LogOptions {
    LogOptions {
        reserve_bytes: config.log.pre_alloc_size_bytes,
        roll_bytes: config.log.size_limit_bytes.unwrap_or(0),
        force_sync: config.log.force_sync,
    }
}

pub(crate) fn snapshot_options(config: &ServerConfig) -> SnapshotOptions {
    SnapshotOptions {
        compression: match config.snapshot.compression {
            config::SnapshotCompression::None => Compression::None,
            config::SnapshotCompression::Gz => Compression::Gzip,
            config::SnapshotCompression::Snappy => Compression::Snappy,
        },
        last_zxid: config.snapshot.serialize_last_processed_zxid,
        ..SnapshotOptions::default()
    }
}

/// A few bits from the system, against names that are chosen to collide in a hash.
fn random_bits() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}
