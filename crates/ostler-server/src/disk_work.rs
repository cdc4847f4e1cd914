//! What the log's thread does beside the log, for a member of an ensemble: epochs, cuts, trees. While files of the
//! history are put aside nobody purges and no snapshot gets its name, and one that was begun before never does.

use std::sync::Arc;

use ostler_node::disk_work::{self, Cut};
use ostler_store::RestoreOptions;
use ostler_tree::{Store, TreeConfig};
use ostler_wire::Zxid;
use ostler_zab::EpochKind;
use tracing::{info, warn};

use crate::snapshots::Snapshots;

/// The disk of a member, and how it is read.
pub(crate) struct DiskWork {
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) restore: RestoreOptions,
    pub(crate) tree: TreeConfig,
}

impl DiskWork {
    pub(crate) fn write_epoch(&self, which: EpochKind, epoch: i64) -> ostler_store::Result<()> {
        disk_work::write_epoch(&self.snapshots.disk, which, epoch)
    }

    /// The tree without what was cut, or `None` if nothing was changed.
    pub(crate) fn truncate(&self, to: Zxid) -> ostler_store::Result<Option<Box<Store>>> {
        let _files = self.snapshots.hold_files();
        let cut = disk_work::truncate(&self.snapshots.disk, to, self.restore, &self.tree)?;
        Ok(match cut {
            Cut::Done(recovered) => {
                for warning in &recovered.warnings {
                    warn!("{warning}");
                }
                info!(zxid = %recovered.last, "cut the log: no quorum has what came after");
                Some(Box::new(recovered.store))
            }
            Cut::Refused(why) => {
                warn!(zxid = %to, why, "cannot cut the log as the leader wants");
                None
            }
        })
    }

    pub(crate) fn save_tree(&self, store: &Store, zxid: Zxid) -> ostler_store::Result<()> {
        let mut files = self.snapshots.hold_files();
        let Snapshots { disk, options, .. } = &*self.snapshots;
        let (name, bytes) = disk_work::save_tree(disk, store, zxid, options, self.restore.limits)?;
        files.note_whole(&name);
        info!(name, bytes, "wrote the tree that came from the leader; what was there before is put aside");
        Ok(())
    }
}
