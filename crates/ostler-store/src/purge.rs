//! Which old files may go. Kept are the newest N snapshots that are known to be whole, and every log from the last
//! one that begins at or below the oldest of them. Java counts a snapshot as soon as its last bytes look right, and
//! removes files whose names it cannot read; here a snapshot counts when it was read whole or written by us, and
//! what we do not know stays. Answers to Java's `PurgeTxnLog`.

use std::collections::BTreeSet;

use crate::disk::{Dir, Disk, FilePath};
use crate::error::{Error, Result};
use crate::names::{self, Named};
use crate::snapshot::{self, Limits};
use ostler_wire::zoo::{self, Mutation};

/// The fewest snapshots to keep; Java's too.
pub const MIN_RETAIN: usize = 3;

/// What was found whole so far, so that no snapshot is read twice.
#[derive(Debug, Clone, Default)]
pub struct Purge {
    whole: BTreeSet<String>,
    broken: BTreeSet<String>,
}

/// What is to be removed, in this order: what was put aside, then snapshots, oldest first, then logs, oldest first.
/// A crash in between leaves files without a hole between them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PurgePlan {
    /// Snapshots to remove.
    pub snapshots: Vec<FilePath>,
    /// Files of a history that was given up, kept only until there are enough snapshots of the present one.
    pub superseded: Vec<FilePath>,
    /// Logs to remove.
    pub logs: Vec<FilePath>,
}

impl Purge {
    /// Notes a snapshot that was written and synced, or restored from.
    pub fn note_whole(&mut self, name: &str) {
        self.broken.remove(name);
        self.whole.insert(name.to_owned());
    }

    /// What may go when so many whole snapshots are to be kept. Reads snapshots that it does not know.
    pub fn plan<D: Disk + Clone>(&mut self, disk: &D, retain: usize, limits: Limits) -> Result<PurgePlan> {
        let retain = retain.max(MIN_RETAIN);
        let snapshots = names::snapshots(disk)?;
        self.forget_gone(&snapshots);
        let mut kept = Vec::new();
        for candidate in snapshots.iter().rev() {
            if kept.len() == retain {
                break;
            }
            if self.is_whole(disk, candidate, limits)? {
                kept.push(candidate);
            }
        }
        // With fewer than asked for, nothing may go.
        let Some(oldest) = kept.last().filter(|_| kept.len() == retain) else {
            return Ok(PurgePlan::default());
        };
        let logs = names::logs(disk)?;
        let holds_oldest = logs
            .iter()
            .rev()
            .find(|log| log.zxid <= oldest.zxid && !zoo::is(Mutation::PurgeRemovesNeededLog));
        let first_needed = holds_oldest.map_or(oldest.zxid, |log| log.zxid);
        let older = |files: &[Named], than| {
            files.iter().filter(|file| file.zxid < than).map(|file| file.path.clone()).collect()
        };
        Ok(PurgePlan {
            snapshots: older(&snapshots, oldest.zxid),
            superseded: names::superseded(disk)?,
            logs: older(&logs, first_needed),
        })
    }

    fn is_whole<D: Disk + Clone>(&mut self, disk: &D, candidate: &Named, limits: Limits) -> Result<bool> {
        let name = &candidate.path.name;
        if self.whole.contains(name) || zoo::is(Mutation::PurgeCountsUnread) {
            return Ok(true);
        }
        if self.broken.contains(name) || !snapshot::is_plausible(disk, candidate)? {
            return Ok(false);
        }
        match snapshot::verify(disk, candidate, limits) {
            Ok(_) => {
                // Java does not sync its snapshots: what was read may be nowhere but in memory.
                disk.sync(&disk.open_for_write(&candidate.path)?)?;
                self.whole.insert(name.clone());
                Ok(true)
            }
            Err(Error::BadSnapshot { .. }) => {
                self.broken.insert(name.clone());
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn forget_gone(&mut self, present: &[Named]) {
        let present: BTreeSet<&String> = present.iter().map(|file| &file.path.name).collect();
        self.whole.retain(|name| present.contains(name));
        self.broken.retain(|name| present.contains(name));
    }
}

/// Plans and removes in one go, with nothing known before. Says what was removed.
pub fn purge<D: Disk + Clone>(disk: &D, retain: usize, limits: Limits) -> Result<Vec<FilePath>> {
    let plan = Purge::default().plan(disk, retain, limits)?;
    plan.run(disk)?;
    Ok(plan.superseded.into_iter().chain(plan.snapshots).chain(plan.logs).collect())
}

impl PurgePlan {
    /// Whether there is nothing to remove.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many files are to be removed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.superseded.len() + self.snapshots.len() + self.logs.len()
    }

    /// Removes the files. The snapshots are gone for good before the first log goes: a snapshot without the logs
    /// after it is of no use.
    pub fn run<D: Disk>(&self, disk: &D) -> Result<()> {
        for file in &self.superseded {
            disk.unlink(file)?;
        }
        for (files, dir) in [(&self.snapshots, Dir::Snap), (&self.logs, Dir::Log)] {
            for file in files {
                disk.unlink(file)?;
            }
            if !files.is_empty() {
                disk.sync_dir(dir)?;
            }
        }
        Ok(())
    }
}
