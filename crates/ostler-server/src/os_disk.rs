//! The disk of the operating system: the one file of the server that touches data files. Space is really reserved,
//! directories are synced, and a lock file keeps a second server out.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ostler_store::disk::{Dir, Disk, DiskError, DiskOp, DiskResult, FilePath};
use rustix::fs::{FallocateFlags, FlockOperation, Mode, fallocate, flock};

use crate::run::StartError;

/// The subdirectory of both directories in which the files lie.
const VERSION_DIR: &str = "version-2";
/// Held locked for as long as the server lives.
const LOCK_FILE: &str = "ostler.lock";

/// Where the files lie.
#[derive(Debug, Clone)]
pub struct DiskOptions {
    /// `dataDir`: snapshots.
    pub data_dir: PathBuf,
    /// `dataLogDir`: transaction logs.
    pub data_log_dir: PathBuf,
    /// Whether missing directories are made.
    pub autocreate: bool,
}

/// The data directory of a server, locked for as long as a handle on it lives.
#[derive(Debug, Clone)]
pub struct OsDisk(Arc<Directories>);

#[derive(Debug)]
struct Directories {
    snapshots: PathBuf,
    snapshot_home: PathBuf,
    logs: PathBuf,
    log_home: PathBuf,
    /// The locks are released when these are closed.
    _locks: Vec<File>,
}

impl OsDisk {
    /// Makes the directories where that is allowed, checks that they can be written, and locks them.
    pub fn open(options: &DiskOptions) -> Result<Self, StartError> {
        let snapshots = prepare(&options.data_dir, options.autocreate)?;
        let logs = prepare(&options.data_log_dir, options.autocreate)?;
        let mut locks = vec![lock(&options.data_dir)?];
        if snapshots != logs {
            locks.push(lock(&options.data_log_dir)?);
        }
        Ok(Self(Arc::new(Directories {
            snapshots,
            snapshot_home: options.data_dir.clone(),
            logs,
            log_home: options.data_log_dir.clone(),
            _locks: locks,
        })))
    }

    fn dir(&self, dir: Dir) -> &Path {
        match dir {
            Dir::Log => &self.0.logs,
            Dir::Snap => &self.0.snapshots,
            Dir::LogParent => &self.0.log_home,
            Dir::SnapParent => &self.0.snapshot_home,
        }
    }

    fn path(&self, path: &FilePath) -> PathBuf {
        self.dir(path.dir).join(&path.name)
    }

    fn error(&self, op: DiskOp, path: &FilePath, source: io::Error) -> DiskError {
        DiskError::new(op, self.path(path).display().to_string(), None, source)
    }
}

/// Makes the directory below `home`, or says why not, and proves that it can be written. Yields its one true path,
/// so that two spellings of one directory are one.
fn prepare(home: &Path, autocreate: bool) -> Result<PathBuf, StartError> {
    let dir = &home.join(VERSION_DIR);
    let shown = dir.display();
    if !dir.is_dir() {
        if !autocreate {
            return Err(StartError::Directory(format!(
                "{shown} does not exist and datadir.autocreate=false: create it, or correct dataDir"
            )));
        }
        std::fs::create_dir_all(dir)
            .map_err(|error| StartError::Directory(format!("cannot create {shown}: {error}")))?;
        let made = dir.ancestors().skip(1).find(|parent| parent.is_dir()).unwrap_or(dir);
        let _ = File::open(made).and_then(|parent| parent.sync_all());
    }
    rustix::fs::access(dir, rustix::fs::Access::WRITE_OK).map_err(|error| {
        StartError::Directory(format!(
            "cannot write to {shown}: {error}; the server needs a directory of its own"
        ))
    })?;
    dir.canonicalize().map_err(|error| StartError::Directory(format!("cannot open {shown}: {error}")))
}

fn lock(home: &Path) -> Result<File, StartError> {
    let path = home.join(LOCK_FILE);
    let failed = |error: io::Error| {
        StartError::Directory(format!(
            "cannot lock {}: {error}; the server needs to write there",
            path.display()
        ))
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(Mode::from(0o644).bits())
        .open(&path)
        .map_err(failed)?;
    if let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if error != rustix::io::Errno::WOULDBLOCK {
            return Err(failed(error.into()));
        }
        let holder = std::fs::read_to_string(&path).unwrap_or_default();
        let holder = holder.trim();
        let holder =
            if holder.is_empty() { "another process".to_owned() } else { format!("process {holder}") };
        return Err(StartError::Directory(format!(
            "{} is in use by {holder} (it holds {LOCK_FILE}): two servers must not share a data directory",
            home.display()
        )));
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(failed)?;
    Ok(file)
}

impl Disk for OsDisk {
    type File = OsFile;

    fn is_one_directory(&self) -> bool {
        self.0.logs == self.0.snapshots
    }

    fn show(&self, path: &FilePath) -> String {
        self.path(path).display().to_string()
    }

    fn list(&self, dir: Dir) -> DiskResult<Vec<String>> {
        let path = self.dir(dir);
        let list = || -> io::Result<Vec<String>> {
            let mut names = Vec::new();
            for entry in std::fs::read_dir(path)? {
                let entry = entry?;
                if entry.file_type()?.is_file()
                    && let Ok(name) = entry.file_name().into_string()
                {
                    names.push(name);
                }
            }
            names.sort();
            Ok(names)
        };
        list().map_err(|error| DiskError::new(DiskOp::List, path.display().to_string(), None, error))
    }

    fn open(&self, path: &FilePath) -> DiskResult<OsFile> {
        let file = self.path(path);
        match File::open(&file) {
            Ok(handle) => Ok(OsFile { handle, path: file }),
            Err(error) => Err(self.error(DiskOp::Open, path, error)),
        }
    }

    fn open_for_write(&self, path: &FilePath) -> DiskResult<OsFile> {
        let file = self.path(path);
        match OpenOptions::new().read(true).write(true).open(&file) {
            Ok(handle) => Ok(OsFile { handle, path: file }),
            Err(error) => Err(self.error(DiskOp::Open, path, error)),
        }
    }

    fn length(&self, file: &OsFile) -> DiskResult<u64> {
        file.handle.metadata().map(|data| data.len()).map_err(|error| file.error(DiskOp::Length, None, error))
    }

    fn read_at(&self, file: &OsFile, offset: u64, buffer: &mut [u8]) -> DiskResult<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match file.handle.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(file.error(DiskOp::Read, Some(offset), error)),
            }
        }
        Ok(filled)
    }

    fn create(&self, path: &FilePath) -> DiskResult<OsFile> {
        let file = self.path(path);
        match OpenOptions::new().read(true).write(true).create_new(true).mode(0o644).open(&file) {
            Ok(handle) => Ok(OsFile { handle, path: file }),
            Err(error) => Err(self.error(DiskOp::Create, path, error)),
        }
    }

    fn write_at(&self, file: &OsFile, offset: u64, bytes: &[u8]) -> DiskResult<()> {
        file.handle
            .write_all_at(bytes, offset)
            .map_err(|error| file.error(DiskOp::Write, Some(offset), error))
    }

    fn allocate(&self, file: &OsFile, offset: u64, len: u64) -> DiskResult<()> {
        let allocate = || match fallocate(&file.handle, FallocateFlags::empty(), offset, len) {
            // A file system that cannot reserve is given the bytes themselves.
            Err(rustix::io::Errno::OPNOTSUPP) => fill_with_zeros(&file.handle, offset, len),
            other => other.map_err(io::Error::from),
        };
        allocate().map_err(|error| file.error(DiskOp::Allocate, Some(offset), error))
    }

    fn truncate(&self, file: &OsFile, len: u64) -> DiskResult<()> {
        file.handle.set_len(len).map_err(|error| file.error(DiskOp::Truncate, Some(len), error))
    }

    fn sync_data(&self, file: &OsFile) -> DiskResult<()> {
        file.handle.sync_data().map_err(|error| file.error(DiskOp::SyncData, None, error))
    }

    fn sync(&self, file: &OsFile) -> DiskResult<()> {
        file.handle.sync_all().map_err(|error| file.error(DiskOp::Sync, None, error))
    }

    fn rename(&self, from: &FilePath, to: &str) -> DiskResult<()> {
        std::fs::rename(self.path(from), self.dir(from.dir).join(to))
            .map_err(|error| self.error(DiskOp::Rename, from, error))
    }

    fn unlink(&self, path: &FilePath) -> DiskResult<()> {
        std::fs::remove_file(self.path(path)).map_err(|error| self.error(DiskOp::Unlink, path, error))
    }

    fn sync_dir(&self, dir: Dir) -> DiskResult<()> {
        let path = self.dir(dir);
        File::open(path)
            .and_then(|dir| dir.sync_all())
            .map_err(|error| DiskError::new(DiskOp::SyncDir, path.display().to_string(), None, error))
    }

    fn create_dir(&self, dir: Dir) -> DiskResult<()> {
        let path = self.dir(dir);
        std::fs::create_dir_all(path)
            .map_err(|error| DiskError::new(DiskOp::CreateDir, path.display().to_string(), None, error))
    }
}

/// An open file that knows its name, for messages.
#[derive(Debug)]
pub struct OsFile {
    handle: File,
    path: PathBuf,
}

impl OsFile {
    fn error(&self, op: DiskOp, offset: Option<u64>, source: io::Error) -> DiskError {
        DiskError::new(op, self.path.display().to_string(), offset, source)
    }
}

/// Writes zeros over what lies beyond the end of the file; what is there already is left alone.
fn fill_with_zeros(file: &File, offset: u64, len: u64) -> io::Result<()> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    let end = offset + len;
    let mut at = file.metadata()?.len();
    while at < end {
        let step = usize::try_from(end - at).unwrap_or(usize::MAX).min(ZEROS.len());
        file.write_all_at(&ZEROS[..step], at)?;
        at += step as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("ostler-os-disk-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        dir
    }

    fn options(home: &Path, log_dir: &str) -> DiskOptions {
        DiskOptions { data_dir: home.join("data"), data_log_dir: home.join(log_dir), autocreate: true }
    }

    #[test]
    fn files_keep_the_contract_of_a_disk() {
        for log_dir in ["data", "logs"] {
            let home = scratch(log_dir);
            ostler_store::disk::contract::run(&OsDisk::open(&options(&home, log_dir)).unwrap());
            std::fs::remove_dir_all(home).unwrap();
        }
    }

    #[test]
    fn a_second_server_is_told_who_holds_the_directory() {
        let home = scratch("lock");
        let first = OsDisk::open(&options(&home, "data")).unwrap();
        let refused = OsDisk::open(&options(&home, "data")).expect_err("it is locked").to_string();
        assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
        drop(first);
        OsDisk::open(&options(&home, "data")).unwrap();
        std::fs::remove_dir_all(home).unwrap();
    }
}
