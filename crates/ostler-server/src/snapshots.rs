//! Snapshots in the background: one at a time, slice by slice, so that writes go on; and the purge of old ones.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use ostler_node::Input;
use ostler_store::purge::Purge;
use ostler_store::{Disk, Limits, SnapshotOptions, SnapshotWriter};
use ostler_tree::{Store, Walk};
use ostler_wire::Zxid;
use tracing::{debug, info, warn};

use crate::inbox::{Inbox, NodeLetter};
use crate::log_thread::LogStats;
use crate::os_disk::OsDisk;

/// Nodes and bytes that are read under one shared borrow of the store.
const SLICE_NODES: usize = 256;
const SLICE_BYTES: usize = 64 << 10;

/// Takes snapshots and purges them.
pub(crate) struct Snapshots {
    pub(crate) disk: OsDisk,
    pub(crate) options: SnapshotOptions,
    pub(crate) purge: Mutex<Purge>,
    pub(crate) stats: Arc<LogStats>,
    pub(crate) running: AtomicBool,
}

impl Snapshots {
    /// Begins a snapshot; the node hears when it is done.
    pub(crate) fn take(self: &Arc<Self>, store: Arc<RwLock<Store>>, node: Arc<Inbox<NodeLetter>>) {
        let this = Arc::clone(self);
        let done = Arc::clone(&node);
        let spawned = std::thread::Builder::new().name("snapshot".into()).spawn(move || {
            this.write_and_report(&store);
            done.push(NodeLetter::Input(Input::SnapshotDone));
        });
        if let Err(error) = spawned {
            warn!(%error, "cannot start a thread for a snapshot; the next one will be tried later");
            node.push(NodeLetter::Input(Input::SnapshotDone));
        }
    }

    /// Writes a snapshot now; a failure is told and does no harm, since the log has everything.
    pub(crate) fn write_and_report(&self, store: &RwLock<Store>) {
        if self.running.swap(true, Ordering::AcqRel) {
            return;
        }
        let began = Instant::now();
        match self.write(store) {
            Ok((name, bytes)) => {
                self.stats.note_snapshot();
                info!(name, bytes, ms = began.elapsed().as_millis(), "wrote a snapshot");
            }
            Err(error) => warn!(%error, "cannot write a snapshot; the log is kept, so nothing is lost"),
        }
        self.running.store(false, Ordering::Release);
    }

    fn write(&self, store: &RwLock<Store>) -> ostler_store::Result<(String, u64)> {
        let read = || store.read().unwrap_or_else(PoisonError::into_inner);
        let mut walk = Walk::new(&read());
        let mut writer = SnapshotWriter::create(self.disk.clone(), walk.zxid(), &self.options)?;
        if let Err(error) = write_body(&mut walk, &mut writer, |work| work(&read())) {
            writer.abort();
            return Err(error);
        }
        let (last, digest) = seal(&read());
        let (name, bytes) = writer.finish(last, digest)?;
        self.purge.lock().unwrap_or_else(PoisonError::into_inner).note_whole(&name);
        Ok((name, bytes))
    }

    /// Purges now and then at an interval, for as long as the server runs.
    pub(crate) fn purge_forever(&self, retain: usize, every: Duration) {
        loop {
            match self.purge(retain) {
                Ok(0) => debug!("nothing to purge"),
                Ok(count) => info!(count, "purged old snapshots and logs"),
                Err(error) => warn!(%error, "cannot purge old snapshots and logs"),
            }
            std::thread::sleep(every);
        }
    }

    fn purge(&self, retain: usize) -> ostler_store::Result<usize> {
        let mut purge = self.purge.lock().unwrap_or_else(PoisonError::into_inner);
        let plan = purge.plan(&self.disk, retain, Limits::default())?;
        plan.run(&self.disk)?;
        Ok(plan.len())
    }
}

/// Writes the body of a snapshot slice by slice; `borrow` lends the store for one slice.
pub(crate) fn write_body<D: Disk>(
    walk: &mut Walk,
    writer: &mut SnapshotWriter<D>,
    borrow: impl Fn(&mut dyn FnMut(&Store)),
) -> ostler_store::Result<()> {
    let mut slice = Vec::with_capacity(SLICE_BYTES * 2);
    let mut done = false;
    while !done {
        slice.clear();
        borrow(&mut |store| done = walk.next(store, SLICE_NODES, SLICE_BYTES, &mut slice));
        writer.write(&slice)?;
    }
    Ok(())
}

/// What a snapshot ends with once its walk is over: what was applied last, and the digest of the tree then.
pub(crate) fn seal(store: &Store) -> (Zxid, Option<i64>) {
    (store.last_zxid(), store.config().digest_enabled.then(|| store.digest()))
}
