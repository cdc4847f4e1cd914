//! The epochs that a member of an ensemble has accepted and belongs to, and the marker of an empty database. Each
//! file is replaced so that a crash leaves the old or the new one, and its name is synced, which Java omits.
//! Answers to Java's `QuorumPeer.readEpochFromFile` and `AtomicFileOutputStream`.

use ostler_wire::Zxid;

use crate::disk::{Dir, Disk, FilePath};
use crate::error::{Error, Result};

const INITIALIZE: &str = "initialize";
/// More than the longest number.
const MAX_FILE_BYTES: usize = 64;

/// Which of the two epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EpochFile {
    /// The highest epoch that was promised to a leader.
    Accepted,
    /// The epoch of the last leader whose history was taken over.
    Current,
}

impl EpochFile {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted => "acceptedEpoch",
            Self::Current => "currentEpoch",
        }
    }

    fn temporary(self) -> &'static str {
        match self {
            Self::Accepted => "acceptedEpoch.tmp",
            Self::Current => "currentEpoch.tmp",
        }
    }

    fn path(self) -> FilePath {
        FilePath::new(Dir::Snap, self.name())
    }
}

/// Both epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epochs {
    /// See `EpochFile::Accepted`.
    pub accepted: i64,
    /// See `EpochFile::Current`.
    pub current: i64,
}

/// Reads an epoch; `None` if there is no file.
pub fn read_epoch<D: Disk>(disk: &D, which: EpochFile) -> Result<Option<i64>> {
    read_number(disk, &which.path())
}

/// Makes an epoch durable.
pub fn write_epoch<D: Disk>(disk: &D, which: EpochFile, epoch: i64) -> Result<()> {
    Ok(disk.replace_small(&which.path(), which.temporary(), epoch.to_string().as_bytes())?)
}

/// Both epochs as a member starts with them, given the last zxid of its history. A directory of a server that never
/// was in an ensemble has no files yet; they are written then.
///
/// A crash between the history of an epoch and its `currentEpoch` leaves an epoch that is behind the history. Java
/// refuses to start then, unless the temporary file is there. It is safe to go on if the epoch was accepted: a
/// transaction of an epoch is written only after the whole history before it.
pub fn load_epochs<D: Disk>(disk: &D, last: Zxid) -> Result<Epochs> {
    let of_history = if last.0 < 0 { 0 } else { i64::from(last.epoch()) };
    let accepted_read = read_epoch(disk, EpochFile::Accepted)?;
    let mut current = match read_epoch(disk, EpochFile::Current)? {
        Some(current) => current,
        None => {
            write_epoch(disk, EpochFile::Current, of_history)?;
            of_history
        }
    };
    if of_history > current {
        let unfinished = read_number(disk, &FilePath::new(Dir::Snap, EpochFile::Current.temporary()));
        let next = match unfinished {
            Ok(Some(unfinished)) if unfinished >= of_history => unfinished,
            _ if accepted_read.is_some_and(|accepted| accepted >= of_history) => of_history,
            _ => {
                return Err(Error::Epoch(format!(
                    "currentEpoch is {current}, but the last zxid is {last}, of epoch {of_history}, which this \
                     server never accepted: the files do not belong together"
                )));
            }
        };
        write_epoch(disk, EpochFile::Current, next)?;
        current = next;
    }
    let accepted = match accepted_read {
        Some(accepted) => accepted,
        None => {
            write_epoch(disk, EpochFile::Accepted, of_history)?;
            of_history
        }
    };
    if accepted < current {
        return Err(Error::Epoch(format!(
            "acceptedEpoch is {accepted}, less than currentEpoch {current}: the files do not belong together"
        )));
    }
    Ok(Epochs { accepted, current })
}

/// Whether the marker is there that makes an empty database a trusted one.
pub fn has_initialize_marker<D: Disk>(disk: &D) -> Result<bool> {
    Ok(disk.exists(&FilePath::new(Dir::LogParent, INITIALIZE))?)
}

/// Removes the marker, once a snapshot of the empty database is durable.
pub fn remove_initialize_marker<D: Disk>(disk: &D) -> Result<()> {
    let path = FilePath::new(Dir::LogParent, INITIALIZE);
    if disk.exists(&path)? {
        disk.unlink(&path)?;
        disk.sync_dir(Dir::LogParent)?;
    }
    Ok(())
}

fn read_number<D: Disk>(disk: &D, path: &FilePath) -> Result<Option<i64>> {
    let Some(bytes) = disk.read_small(path, MAX_FILE_BYTES)? else { return Ok(None) };
    let first_line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let text = String::from_utf8_lossy(first_line);
    match text.trim_end_matches('\r').parse::<u32>() {
        Ok(number) => Ok(Some(i64::from(number))),
        Err(_) => Err(Error::Epoch(format!("{} should hold a number and reads {text:?}", disk.show(path)))),
    }
}
