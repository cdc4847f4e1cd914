//! From a data directory to a store: the newest snapshot that can be read, the logs after it, and what has to be put
//! right on the disk before anything new is written. A start that is cut off anywhere in here can be begun again.

use std::collections::VecDeque;

use ostler_store::replay::follows;
use ostler_store::restore::{Origin, RestoreOptions, RestoreSink, Restored};
use ostler_store::{Disk, Replayed, SnapshotDigest, Warning};
use ostler_tree::{Change, Loader, Store, TreeConfig};
use ostler_wire::disk::StatPersisted;
use ostler_wire::txn::TxnDigest;
use ostler_wire::{Acl, SessionId, Zxid};
use ostler_zab::{Limit, Proposal};

/// A store, and how it came about.
#[derive(Debug)]
pub struct Recovered {
    /// The tree with its sessions.
    pub store: Store,
    /// The last zxid of the log, after which new ones go on.
    pub last: Zxid,
    /// Whether there was nothing at all; then, whether the marker `initialize` says that this is as it should be.
    pub empty: Option<bool>,
    /// The name of the snapshot that was read, if any.
    pub snapshot: Option<String>,
    /// How many transactions were replayed after it.
    pub replayed: u64,
    /// Sessions whose ephemerals were removed, since the session is gone.
    pub dead_sessions: Vec<SessionId>,
    /// The end of the log, for members that lag.
    pub history: Recent,
    /// What was odd.
    pub warnings: Vec<Warning>,
}

/// The newest transactions of the log, without a hole, as they were logged: what `ostler_zab::History` begins with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recent {
    /// The zxid in front of the first of them; 0 only if there was nothing in front of it ever.
    pub base: Zxid,
    /// The log on disk has everything behind this one: that of the snapshot that was read.
    pub whole_since: Zxid,
    /// Oldest first; each is the entry that a log record and a proposal carry.
    pub proposals: Vec<Proposal>,
}

/// Reads the data directory of a standalone server and makes it ready to be written.
pub fn recover<D: Disk + Clone>(
    disk: &D,
    options: RestoreOptions,
    config: &TreeConfig,
) -> ostler_store::Result<Recovered> {
    recover_member(disk, options, config, Limit { count: 0, bytes: 0 })
}

/// Reads the data directory of a member of an ensemble, keeps so much of the end of its log in memory, and makes the
/// directory ready to be written.
pub fn recover_member<D: Disk + Clone>(
    disk: &D,
    options: RestoreOptions,
    config: &TreeConfig,
    keep: Limit,
) -> ostler_store::Result<Recovered> {
    let mut rebuild = Rebuild {
        config,
        stage: Stage::Live(Box::new(Store::new(config.clone()))),
        ignored: Vec::new(),
        keep,
        kept: VecDeque::new(),
        kept_bytes: 0,
        base: Zxid::ZERO,
        whole_since: Zxid::ZERO,
        seen: Zxid::ZERO,
    };
    let restored: Restored = ostler_store::restore(disk, options, &mut rebuild)?;
    let Stage::Live(mut store) = rebuild.stage else {
        return Err(ostler_store::Error::NoValidSnapshot {
            tried: vec!["a snapshot without an end".to_owned()],
        });
    };
    if let Some(tail) = &restored.tail {
        ostler_store::mend(disk, tail)?;
    }
    ostler_store::snapshot::remove_temporaries(disk)?;
    if restored.last > store.last_zxid() {
        store.set_last_zxid(restored.last);
    }
    // Trees of 3.4 have no node for the configuration.
    store.ensure_config_node();
    let dead_sessions = store.clear_dead_sessions();
    Ok(Recovered {
        last: store.last_zxid(),
        store: *store,
        empty: match restored.origin {
            Origin::Empty { marked } => Some(marked),
            Origin::Snapshot { .. } | Origin::Logs => None,
        },
        snapshot: match restored.origin {
            Origin::Snapshot { snapshot, .. } => Some(snapshot.path.name),
            Origin::Logs | Origin::Empty { .. } => None,
        },
        replayed: restored.replayed,
        dead_sessions,
        history: Recent {
            base: rebuild.base,
            whole_since: rebuild.whole_since,
            proposals: rebuild.kept.into(),
        },
        warnings: restored.warnings,
    })
}

/// Takes what is read.
struct Rebuild<'a> {
    config: &'a TreeConfig,
    stage: Stage,
    /// Nobody watches during a replay.
    ignored: Vec<Change>,
    keep: Limit,
    kept: VecDeque<Proposal>,
    kept_bytes: usize,
    /// The zxid in front of what is kept.
    base: Zxid,
    /// The zxid of the snapshot, or of the last hole behind it.
    whole_since: Zxid,
    /// The newest zxid so far.
    seen: Zxid,
}

enum Stage {
    Loading(Box<Loader>),
    Live(Box<Store>),
    /// Between the two.
    Nothing,
}

impl Rebuild<'_> {
    /// The history begins behind this zxid.
    fn begin_history(&mut self, at: Zxid) {
        self.kept.clear();
        self.kept_bytes = 0;
        self.base = at;
        self.whole_since = at;
        self.seen = at;
    }

    fn keep(&mut self, txn: &Replayed) {
        let zxid = txn.record.zxid;
        if !follows(self.seen, zxid) {
            // A hole that the settings let pass. Nobody else is to be led across it.
            return self.begin_history(zxid);
        }
        self.seen = zxid;
        self.kept_bytes += txn.record.bytes.len();
        self.kept.push_back(Proposal { zxid, bytes: txn.record.bytes.clone() });
        while self.kept.len() > self.keep.count || self.kept_bytes > self.keep.bytes {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.kept_bytes -= oldest.bytes.len();
            self.base = oldest.zxid;
        }
    }

    fn loader(&mut self) -> Result<&mut Loader, String> {
        match &mut self.stage {
            Stage::Loading(loader) => Ok(loader),
            Stage::Live(_) | Stage::Nothing => Err("a part of a snapshot outside of one".to_owned()),
        }
    }
}

impl RestoreSink for Rebuild<'_> {
    fn fresh(&mut self) {
        self.stage = Stage::Live(Box::new(Store::new(self.config.clone())));
        self.begin_history(Zxid::ZERO);
    }

    fn begin_snapshot(&mut self) {
        self.stage = Stage::Loading(Box::new(Loader::new(self.config.clone())));
    }

    fn session(&mut self, id: SessionId, timeout_ms: i32) -> Result<(), String> {
        self.loader()?.session(id, timeout_ms);
        Ok(())
    }

    fn acl(&mut self, id: i64, list: Vec<Acl>) -> Result<(), String> {
        self.loader()?.acl(id, list);
        Ok(())
    }

    fn node(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl_id: i64,
        stat: &StatPersisted,
    ) -> Result<(), String> {
        self.loader()?.node(path, data, acl_id, stat).map_err(|error| error.to_string())
    }

    fn end_snapshot(&mut self, zxid: Zxid, digest: Option<SnapshotDigest>) -> Result<(), String> {
        let Stage::Loading(loader) = std::mem::replace(&mut self.stage, Stage::Nothing) else {
            return Err("the end of a snapshot outside of one".to_owned());
        };
        let digest =
            digest.map(|digest| (digest.zxid, TxnDigest { version: digest.version, digest: digest.digest }));
        self.stage = Stage::Live(Box::new(loader.finish(zxid, digest).map_err(|error| error.to_string())?));
        self.begin_history(zxid);
        Ok(())
    }

    fn apply(&mut self, txn: Replayed) -> Result<(), String> {
        let Stage::Live(store) = &mut self.stage else {
            return Err("a transaction before there is a tree".to_owned());
        };
        store.apply(&txn.entry, &mut self.ignored);
        self.ignored.clear();
        self.keep(&txn);
        Ok(())
    }
}
