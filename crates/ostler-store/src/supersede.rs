//! A tree that came from the leader takes the place of the own history: its snapshot becomes the one that a start
//! finds, and everything older is put aside, so that nothing ever leads back into a history that was given up: no
//! fallback from a snapshot that goes bad, and no record of an old leader's uncommitted end (ZOOKEEPER-2846). Answers
//! to what Java does after SNAP: it adds the snapshot and leaves the rest lying.
//!
//! A crash at any step leaves a directory that restores to the new tree, or to the old history with at most that
//! missing which lies beyond the zxid of the new tree. Why each step does:
//!
//! 1. The new snapshot is whole and durable, under a name that nobody reads: the old history.
//! 2. If snapshots rank above the new one (an uncommitted end had been snapshotted), all of them but the one that
//!    a start uses are put aside: still the old history.
//! 3. Log records beyond the new tree are removed as in a truncation, since they would be replayed on top of it. The
//!    old history, cut; if a snapshot above is in use, it has what was cut and needs no logs.
//! 4. The new snapshot gets its name: one call. From here on a start finds the new tree, unless there is a snapshot
//!    above, with which it finds the old history still.
//! 5. That one is put aside, again one call: the new tree, and no log that goes beyond it.
//! 6. What is left is older than the new tree and not read by a start, so each of it may go or stay. What had been put
//!    aside at an earlier time is removed.
//!
//! Whoever writes the log has closed it, and nobody purges or names another snapshot meanwhile.

use ostler_wire::Zxid;
use ostler_wire::zoo::{self, Mutation};

use crate::disk::{Dir, Disk, FilePath};
use crate::error::{Error, Result};
use crate::names::{self, Named};
use crate::snapshot::{self, Limits, SealedSnapshot};
use crate::truncate::cut_logs;

/// Makes a sealed snapshot of `zxid` the whole history. Says its name and length. If there was no space, it can be
/// done again with another snapshot of the same tree.
pub fn supersede<D: Disk + Clone>(
    sealed: SealedSnapshot<D>,
    zxid: Zxid,
    limits: Limits,
) -> Result<(String, u64)> {
    let disk = sealed.disk().clone();
    let name = sealed.name().to_owned();
    let earlier = names::superseded(&disk)?;
    let mut above = names::snapshots(&disk)?;
    let in_use = match above.iter().position(|file| (file.zxid, &file.path.name) > (zxid, &name)) {
        Some(first) => in_use(&disk, &above, limits)?.filter(|used| *used >= first).map(|used| used - first),
        None => None,
    };
    above.retain(|file| (file.zxid, &file.path.name) > (zxid, &name));
    let in_use = in_use.map(|used| above.remove(used));
    put_aside(&disk, &above)?;
    if !zoo::is(Mutation::TreeBesideLog) {
        cut_logs(&disk, zxid, zxid)?;
    }
    let published = sealed.publish()?;
    put_aside(&disk, in_use.as_slice())?;
    let older: Vec<Named> =
        names::snapshots(&disk)?.into_iter().filter(|file| file.path.name != name).collect();
    let logs = names::logs(&disk)?;
    put_aside(&disk, &older)?;
    if !zoo::is(Mutation::TreeBesideLog) {
        put_aside(&disk, &logs)?;
    }
    remove_earlier(&disk, &earlier, [&above, in_use.as_slice(), &older, &logs])?;
    Ok(published)
}

/// The place of the snapshot that a start would use.
fn in_use<D: Disk + Clone>(disk: &D, snapshots: &[Named], limits: Limits) -> Result<Option<usize>> {
    for (at, candidate) in snapshots.iter().enumerate().rev() {
        if !snapshot::is_plausible(disk, candidate)? {
            continue;
        }
        match snapshot::verify(disk, candidate, limits) {
            Ok(_) => return Ok(Some(at)),
            Err(Error::BadSnapshot { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Gives files names under which nobody reads them, durably.
pub(crate) fn put_aside<D: Disk>(disk: &D, files: &[Named]) -> Result<()> {
    for file in files {
        disk.rename(&file.path, &names::superseded_name(&file.path.name))?;
    }
    for dir in [Dir::Snap, Dir::Log] {
        if files.iter().any(|file| file.path.dir == dir) {
            disk.sync_dir(dir)?;
        }
    }
    Ok(())
}

/// Removes what was put aside before, unless another file has taken its name.
fn remove_earlier<D: Disk>(disk: &D, earlier: &[FilePath], now: [&[Named]; 4]) -> Result<()> {
    let is_new = |path: &FilePath| {
        now.iter().any(|files| files.iter().any(|file| names::superseded_name(&file.path.name) == path.name))
    };
    let gone: Vec<&FilePath> = earlier.iter().filter(|path| !is_new(path)).collect();
    for path in &gone {
        disk.unlink(path)?;
    }
    for dir in [Dir::Snap, Dir::Log] {
        if gone.iter().any(|path| path.dir == dir) {
            disk.sync_dir(dir)?;
        }
    }
    Ok(())
}
