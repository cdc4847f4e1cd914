//! The start of a server on its data directory: recovers the store, tells what was found, and sees to it that an
//! empty directory has its first snapshot, without which Java would not take logs seriously.

use ostler_node::recover::{Recovered, recover_member};
use ostler_store::{Limits, RestoreOptions, SnapshotWriter, epochs};
use ostler_tree::{TreeConfig, Walk};
use ostler_zab::Limit;
use tracing::{info, warn};

use crate::config::ServerConfig;
use crate::os_disk::OsDisk;
use crate::snapshots;

/// How the data directory is read.
pub(crate) fn options(config: &ServerConfig) -> RestoreOptions {
    RestoreOptions {
        trust_empty: config.trust_empty_snapshot,
        allow_gaps: config.allow_log_gaps,
        limits: Limits {
            max_field_bytes: config.jute_max_buffer.saturating_add(config.jute_extra_size),
            ..Limits::default()
        },
    }
}

pub(crate) fn start(
    disk: &OsDisk,
    config: &ServerConfig,
    tree: &TreeConfig,
) -> ostler_store::Result<Recovered> {
    let began = std::time::Instant::now();
    // Nobody asks a server that stands alone for what it has done.
    let count = config.member.as_ref().map_or(0, |member| member.commit_log_count);
    let recovered = recover_member(disk, options(config), tree, Limit { count, ..Limit::default() })?;
    for warning in &recovered.warnings {
        warn!("{warning}");
    }
    let check = recovered.store.digest_check();
    if let Some(zxid) = check.first_mismatch {
        warn!(mismatches = check.mismatches, first = %zxid,
            "the tree differs from what its digests say: it was written by a server that differed, or a log is missing");
    }
    if !recovered.dead_sessions.is_empty() {
        warn!(sessions = recovered.dead_sessions.len(), "removed ephemerals of sessions that are gone");
    }
    info!(
        snapshot = recovered.snapshot.as_deref().unwrap_or("none"),
        replayed = recovered.replayed,
        zxid = %recovered.last,
        nodes = recovered.store.node_count(),
        ms = began.elapsed().as_millis(),
        "read the data directory"
    );
    if is_untrusted(config, &recovered) {
        warn!(
            "the database is empty, and nothing says that it may be: this server takes part in no decision until it has \
             the data of the others (to begin with an empty one, write the file initialize into {})",
            config.data_log_dir.display()
        );
    } else if recovered.snapshot.is_none() {
        // Small or trusted; and from now on the directory can be told from one that lost its snapshots.
        let mut walk = Walk::new(&recovered.store);
        let options = crate::settings::snapshot_options(config);
        let mut writer = SnapshotWriter::create(disk.clone(), walk.zxid(), &options)?;
        snapshots::write_body(&mut walk, &mut writer, |work| work(&recovered.store))?;
        let (last, digest) = snapshots::seal(&recovered.store);
        writer.finish(last, digest)?;
        epochs::remove_initialize_marker(disk)?;
    }
    Ok(recovered)
}

/// Whether a member comes without data that it may have had: then its word must not decide who leads and what is
/// committed (ZOOKEEPER-261).
pub(crate) fn is_untrusted(config: &ServerConfig, recovered: &Recovered) -> bool {
    config.member.is_some() && recovered.empty == Some(false) && !config.db_autocreate
}
