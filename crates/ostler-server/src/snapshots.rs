//! Snapshots in the background: one at a time, slice by slice, so that writes go on; and the purge of old ones.
//!
//! A snapshot belongs to the generation in which it was begun. When a server's role ends, or its tree is replaced, the
//! tree holds, or no longer holds, what may be forgotten: what was begun before is given up.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
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
    /// Counts how often what was running was given up.
    pub(crate) generation: AtomicU64,
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

    /// Gives up a snapshot that is running: it never gets its name. Does not wait for it. If the tree is replaced, this
    /// comes while it is borrowed exclusively.
    pub(crate) fn discard_running(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Until this is let go nobody purges, and no snapshot gets its name; one that is running is given up.
    pub(crate) fn hold_files(&self) -> MutexGuard<'_, Purge> {
        self.discard_running();
        self.purge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a snapshot now; a failure is told and does no harm, since the log has everything.
    pub(crate) fn write_and_report(&self, store: &RwLock<Store>) {
        if self.running.swap(true, Ordering::AcqRel) {
            return;
        }
        let began = Instant::now();
        match self.write(store) {
            Ok(None) => info!("gave a snapshot up: the tree that it was taken of may be forgotten"),
            Ok(Some((name, bytes))) => {
                self.stats.note_snapshot();
                info!(name, bytes, ms = began.elapsed().as_millis(), "wrote a snapshot");
            }
            Err(error) => warn!(%error, "cannot write a snapshot; the log is kept, so nothing is lost"),
        }
        self.running.store(false, Ordering::Release);
    }

    /// The name and length of the snapshot, or `None` if it was given up.
    fn write(&self, store: &RwLock<Store>) -> ostler_store::Result<Option<(String, u64)>> {
        let begun;
        let mut walk;
        {
            let store = store.read().unwrap_or_else(PoisonError::into_inner);
            begun = self.generation.load(Ordering::Acquire);
            walk = Walk::new(&store);
        }
        // The tree is the one that the walk began with for as long as it is borrowed in the same generation.
        let read = || {
            let store = store.read().unwrap_or_else(PoisonError::into_inner);
            self.is_current(begun).then_some(store)
        };
        let mut writer = SnapshotWriter::create(self.disk.clone(), walk.zxid(), &self.options)?;
        let mut slice = Vec::with_capacity(SLICE_BYTES * 2);
        let mut done = false;
        while !done {
            slice.clear();
            let Some(store) = read() else {
                writer.abort();
                return Ok(None);
            };
            done = walk.next(&store, SLICE_NODES, SLICE_BYTES, &mut slice);
            drop(store);
            if let Err(error) = writer.write(&slice) {
                writer.abort();
                return Err(error);
            }
        }
        let Some((last, digest)) = read().map(|store| seal(&store)) else {
            writer.abort();
            return Ok(None);
        };
        let sealed = writer.seal(last, digest.map(|digest| (last, digest)))?;
        let mut purge = self.purge.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_current(begun) {
            sealed.discard();
            return Ok(None);
        }
        let (name, bytes) = sealed.publish()?;
        purge.note_whole(&name);
        Ok(Some((name, bytes)))
    }

    fn is_current(&self, generation: u64) -> bool {
        self.generation.load(Ordering::Acquire) == generation
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
