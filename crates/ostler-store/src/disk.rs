//! What the store needs of a disk: a synchronous trait with the dozen calls that matter for durability, and its
//! errors. Everything in this crate is generic over it, so that the server runs it on files and the simulator on a
//! disk in memory that numbers every mutating call and can fail, crash or lose power at each of them.
//!
//! The calls are synchronous on purpose. An earlier design had the writer yield its operations and wait for their
//! completion; a plain call has the same crash points (each mutating call is one), and the code that uses it reads
//! from top to bottom. That a disk is slow is the matter of the thread that calls: it hands on the result late.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use ostler_wire::zoo::{self, Mutation};

pub mod contract;

/// The directories of a server. `Log` and `Snap` may be the same directory, and then so may their parents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dir {
    /// `<dataLogDir>/version-2`: transaction logs.
    Log,
    /// `<dataDir>/version-2`: snapshots and epochs.
    Snap,
    /// `<dataLogDir>`: the marker `initialize`.
    LogParent,
    /// `<dataDir>`: `myid`.
    SnapParent,
}

impl fmt::Display for Dir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Log => "<log>/version-2",
            Self::Snap => "<snap>/version-2",
            Self::LogParent => "<log>",
            Self::SnapParent => "<snap>",
        })
    }
}

/// A file by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePath {
    /// Where it is.
    pub dir: Dir,
    /// Its name; never with a separator in it.
    pub name: String,
}

impl FilePath {
    /// The file of that name in a directory.
    pub fn new(dir: Dir, name: impl Into<String>) -> Self {
        Self { dir, name: name.into() }
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.dir, self.name)
    }
}

/// A call of the disk, for errors and traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "named as the calls of the trait")]
pub enum DiskOp {
    List,
    Open,
    Length,
    Read,
    Create,
    Write,
    Allocate,
    SyncData,
    Sync,
    Truncate,
    Rename,
    Unlink,
    SyncDir,
    CreateDir,
}

impl fmt::Display for DiskOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::List => "list",
            Self::Open => "open",
            Self::Length => "length",
            Self::Read => "read",
            Self::Create => "create",
            Self::Write => "write",
            Self::Allocate => "allocate",
            Self::SyncData => "fdatasync",
            Self::Sync => "fsync",
            Self::Truncate => "truncate",
            Self::Rename => "rename",
            Self::Unlink => "unlink",
            Self::SyncDir => "fsync of the directory",
            Self::CreateDir => "create directory",
        })
    }
}

/// What kind of failure it is; everything that is not told apart here is `Io`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskErrorKind {
    /// There is no such file.
    NotFound,
    /// `create` found a file of that name.
    Exists,
    /// No space is left, or a quota is used up.
    Full,
    /// We may not.
    Denied,
    /// Anything else: the disk is broken.
    Io,
    /// The simulated machine has crashed.
    Crashed,
}

/// A call of the disk that failed.
#[derive(Debug, thiserror::Error)]
#[error("{op} of {path}{} failed: {source}", offset.map(|at| format!(" at byte {at}")).unwrap_or_default())]
pub struct DiskError {
    /// The call.
    pub op: DiskOp,
    /// The file or directory, as the user knows it.
    pub path: String,
    /// Where in the file.
    pub offset: Option<u64>,
    /// What kind of failure.
    pub kind: DiskErrorKind,
    /// What the system says.
    pub source: io::Error,
}

impl DiskError {
    /// The error of a call, with the kind read off what the system says.
    pub fn new(op: DiskOp, path: impl Into<String>, offset: Option<u64>, source: io::Error) -> Self {
        let kind = match source.kind() {
            io::ErrorKind::NotFound => DiskErrorKind::NotFound,
            io::ErrorKind::AlreadyExists => DiskErrorKind::Exists,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                DiskErrorKind::Full
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => DiskErrorKind::Denied,
            _ => DiskErrorKind::Io,
        };
        Self { op, path: path.into(), offset, kind, source }
    }

    /// Whether no space is left.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.kind == DiskErrorKind::Full
    }

    /// Whether the file is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.kind == DiskErrorKind::NotFound
    }
}

/// The result of a call.
pub type DiskResult<T> = Result<T, DiskError>;

/// A disk. What is written is durable only after `sync_data` or `sync` of the file; that a file has a name, another
/// name or none is durable only after `sync_dir` of its directory. After a failed sync nothing is known about what
/// was written before it, and a second sync tells nothing.
pub trait Disk {
    /// An open file.
    type File;

    /// Whether `Log` and `Snap` are one directory.
    fn is_one_directory(&self) -> bool;

    /// A path as the user knows it, for messages.
    fn show(&self, path: &FilePath) -> String;

    /// The names of the regular files in a directory, sorted by bytes. Names that are not UTF-8 are left out: no
    /// file of ours has one.
    fn list(&self, dir: Dir) -> DiskResult<Vec<String>>;

    /// Opens a file for reading.
    fn open(&self, path: &FilePath) -> DiskResult<Self::File>;

    /// Opens a file for writing.
    fn open_for_write(&self, path: &FilePath) -> DiskResult<Self::File>;

    /// Bytes in a file.
    fn length(&self, file: &Self::File) -> DiskResult<u64>;

    /// Reads at an offset until the buffer is full or the file ends; says how much was read.
    fn read_at(&self, file: &Self::File, offset: u64, buffer: &mut [u8]) -> DiskResult<usize>;

    /// Creates an empty file for writing. It is an error if there is one.
    fn create(&self, path: &FilePath) -> DiskResult<Self::File>;

    /// Writes all the bytes at an offset.
    fn write_at(&self, file: &Self::File, offset: u64, bytes: &[u8]) -> DiskResult<()>;

    /// Makes the file at least `offset + len` bytes long and reserves space for the range, so that a later write
    /// into it cannot run out of space. Bytes that were not there before read as zero; others keep.
    fn allocate(&self, file: &Self::File, offset: u64, len: u64) -> DiskResult<()>;

    /// Cuts the file, or extends it with zeros that take no space.
    fn truncate(&self, file: &Self::File, len: u64) -> DiskResult<()>;

    /// Makes the bytes and the length durable.
    fn sync_data(&self, file: &Self::File) -> DiskResult<()>;

    /// Makes the bytes and all metadata durable.
    fn sync(&self, file: &Self::File) -> DiskResult<()>;

    /// Gives a file another name in the same directory, in place of a file that had it.
    fn rename(&self, from: &FilePath, to: &str) -> DiskResult<()>;

    /// Removes a file.
    fn unlink(&self, path: &FilePath) -> DiskResult<()>;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: Dir) -> DiskResult<()>;

    /// Creates a directory and its parents where they are missing, durably.
    fn create_dir(&self, dir: Dir) -> DiskResult<()>;

    /// Whether there is such a file.
    fn exists(&self, path: &FilePath) -> DiskResult<bool> {
        match self.open(path) {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A whole small file, or `None` if there is none; of a longer one the first `limit` bytes.
    fn read_small(&self, path: &FilePath, limit: usize) -> DiskResult<Option<Vec<u8>>> {
        let file = match self.open(path) {
            Ok(file) => file,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let length = usize::try_from(self.length(&file)?).unwrap_or(usize::MAX).min(limit);
        let mut bytes = vec![0; length];
        let read = self.read_at(&file, 0, &mut bytes)?;
        bytes.truncate(read);
        Ok(Some(bytes))
    }

    /// Replaces a small file so that after a crash there is the old one or the new one: written under a temporary
    /// name, synced, renamed, and the directory synced.
    fn replace_small(&self, path: &FilePath, temporary: &str, bytes: &[u8]) -> DiskResult<()> {
        let temporary = FilePath::new(path.dir, temporary);
        if self.exists(&temporary)? {
            self.unlink(&temporary)?;
        }
        let file = self.create(&temporary)?;
        self.write_at(&file, 0, bytes)?;
        self.sync(&file)?;
        self.rename(&temporary, &path.name)?;
        if zoo::is(Mutation::NoDirSyncOfEpoch) {
            return Ok(());
        }
        self.sync_dir(path.dir)
    }
}

/// A handle to a disk is a disk.
macro_rules! disk_by_handle {
    ($($handle:ty),*) => {$(
        impl<D: Disk> Disk for $handle {
            type File = D::File;

            fn is_one_directory(&self) -> bool {
                (**self).is_one_directory()
            }

            fn show(&self, path: &FilePath) -> String {
                (**self).show(path)
            }

            fn list(&self, dir: Dir) -> DiskResult<Vec<String>> {
                (**self).list(dir)
            }

            fn open(&self, path: &FilePath) -> DiskResult<D::File> {
                (**self).open(path)
            }

            fn open_for_write(&self, path: &FilePath) -> DiskResult<D::File> {
                (**self).open_for_write(path)
            }

            fn length(&self, file: &D::File) -> DiskResult<u64> {
                (**self).length(file)
            }

            fn read_at(&self, file: &D::File, offset: u64, buffer: &mut [u8]) -> DiskResult<usize> {
                (**self).read_at(file, offset, buffer)
            }

            fn create(&self, path: &FilePath) -> DiskResult<D::File> {
                (**self).create(path)
            }

            fn write_at(&self, file: &D::File, offset: u64, bytes: &[u8]) -> DiskResult<()> {
                (**self).write_at(file, offset, bytes)
            }

            fn allocate(&self, file: &D::File, offset: u64, len: u64) -> DiskResult<()> {
                (**self).allocate(file, offset, len)
            }

            fn truncate(&self, file: &D::File, len: u64) -> DiskResult<()> {
                (**self).truncate(file, len)
            }

            fn sync_data(&self, file: &D::File) -> DiskResult<()> {
                (**self).sync_data(file)
            }

            fn sync(&self, file: &D::File) -> DiskResult<()> {
                (**self).sync(file)
            }

            fn rename(&self, from: &FilePath, to: &str) -> DiskResult<()> {
                (**self).rename(from, to)
            }

            fn unlink(&self, path: &FilePath) -> DiskResult<()> {
                (**self).unlink(path)
            }

            fn sync_dir(&self, dir: Dir) -> DiskResult<()> {
                (**self).sync_dir(dir)
            }

            fn create_dir(&self, dir: Dir) -> DiskResult<()> {
                (**self).create_dir(dir)
            }
        }
    )*};
}

disk_by_handle!(&D, Rc<D>, Arc<D>);
