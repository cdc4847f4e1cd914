//! From a data directory to a store: the newest snapshot that can be read, the logs after it, and what has to be put
//! right on the disk before anything new is written. A start that is cut off anywhere in here can be begun again.

use ostler_store::restore::{Origin, RestoreOptions, RestoreSink, Restored};
use ostler_store::{Disk, Replayed, SnapshotDigest, Warning};
use ostler_tree::{Change, Loader, Store, TreeConfig};
use ostler_wire::disk::StatPersisted;
use ostler_wire::txn::TxnDigest;
use ostler_wire::{Acl, SessionId, Zxid};

/// A store, and how it came about.
#[derive(Debug)]
pub struct Recovered {
    /// The tree with its sessions.
    pub store: Store,
    /// The last zxid of the log, after which new ones go on.
    pub last: Zxid,
    /// The name of the snapshot that was read, if any.
    pub snapshot: Option<String>,
    /// How many transactions were replayed after it.
    pub replayed: u64,
    /// Sessions whose ephemerals were removed, since the session is gone.
    pub dead_sessions: Vec<SessionId>,
    /// What was odd.
    pub warnings: Vec<Warning>,
}

/// Reads the data directory and makes it ready to be written.
pub fn recover<D: Disk + Clone>(
    disk: &D,
    options: RestoreOptions,
    config: &TreeConfig,
) -> ostler_store::Result<Recovered> {
    let mut rebuild =
        Rebuild { config, stage: Stage::Live(Box::new(Store::new(config.clone()))), ignored: Vec::new() };
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
        snapshot: match restored.origin {
            Origin::Snapshot { snapshot, .. } => Some(snapshot.path.name),
            Origin::Logs | Origin::Empty { .. } => None,
        },
        replayed: restored.replayed,
        dead_sessions,
        warnings: restored.warnings,
    })
}

/// Takes what is read.
struct Rebuild<'a> {
    config: &'a TreeConfig,
    stage: Stage,
    /// Nobody watches during a replay.
    ignored: Vec<Change>,
}

enum Stage {
    Loading(Box<Loader>),
    Live(Box<Store>),
    /// Between the two.
    Nothing,
}

impl Rebuild<'_> {
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
        Ok(())
    }

    fn apply(&mut self, txn: Replayed) -> Result<(), String> {
        let Stage::Live(store) = &mut self.stage else {
            return Err("a transaction before there is a tree".to_owned());
        };
        store.apply(&txn.entry, &mut self.ignored);
        self.ignored.clear();
        Ok(())
    }
}
