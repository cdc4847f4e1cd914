//! Files that tools look at, wherever they lie: a disk of one directory, without the lock of a server, since looking
//! at the files of a running one must be possible. What is written goes to new files beside the old ones.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ostler_store::disk::{Dir, Disk, DiskError, DiskOp, DiskResult, FilePath};

/// A directory.
#[derive(Debug, Clone)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// The directory of a file, and the file in it.
    pub(crate) fn of_file(path: &Path, dir: Dir) -> Result<(Self, FilePath)> {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.with_context(|| format!("{} is not the name of a file", path.display()))?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        Ok((Self(parent.unwrap_or_else(|| Path::new(".")).to_owned()), FilePath::new(dir, name)))
    }

    /// A directory with logs or snapshots in it, or one whose `version-2` is that.
    pub(crate) fn of_data(path: &Path) -> Self {
        let below = path.join("version-2");
        Self(if below.is_dir() { below } else { path.to_owned() })
    }

    /// Where a file is.
    pub(crate) fn path(&self, file: &FilePath) -> PathBuf {
        self.0.join(&file.name)
    }

    fn error(&self, op: DiskOp, path: &FilePath, source: io::Error) -> DiskError {
        DiskError::new(op, self.show(path), None, source)
    }

    fn of_open(&self, op: DiskOp, file: &Shown, source: io::Error) -> DiskError {
        DiskError::new(op, file.path.display().to_string(), None, source)
    }
}

/// An open file that knows its name.
#[derive(Debug)]
pub(crate) struct Shown {
    file: File,
    path: PathBuf,
}

impl Disk for Folder {
    type File = Shown;

    fn is_one_directory(&self) -> bool {
        true
    }

    fn show(&self, path: &FilePath) -> String {
        self.path(path).display().to_string()
    }

    fn list(&self, dir: Dir) -> DiskResult<Vec<String>> {
        let failed = |error| self.error(DiskOp::List, &FilePath::new(dir, ""), error);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.0).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_type().is_ok_and(|kind| !kind.is_dir())
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn open(&self, path: &FilePath) -> DiskResult<Shown> {
        let at = self.path(path);
        let file = File::open(&at).map_err(|error| self.error(DiskOp::Open, path, error))?;
        Ok(Shown { file, path: at })
    }

    fn open_for_write(&self, path: &FilePath) -> DiskResult<Shown> {
        let at = self.path(path);
        let file = File::options().read(true).write(true).open(&at);
        Ok(Shown { file: file.map_err(|error| self.error(DiskOp::Open, path, error))?, path: at })
    }

    fn length(&self, file: &Shown) -> DiskResult<u64> {
        let metadata = file.file.metadata();
        Ok(metadata.map_err(|error| self.of_open(DiskOp::Length, file, error))?.len())
    }

    fn read_at(&self, file: &Shown, offset: u64, buffer: &mut [u8]) -> DiskResult<usize> {
        let mut read = 0;
        while read < buffer.len() {
            match file.file.read_at(&mut buffer[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(n) => read += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.of_open(DiskOp::Read, file, error)),
            }
        }
        Ok(read)
    }

    fn create(&self, path: &FilePath) -> DiskResult<Shown> {
        let at = self.path(path);
        let file = File::options().read(true).write(true).create_new(true).open(&at);
        Ok(Shown { file: file.map_err(|error| self.error(DiskOp::Create, path, error))?, path: at })
    }

    fn write_at(&self, file: &Shown, offset: u64, bytes: &[u8]) -> DiskResult<()> {
        file.file.write_all_at(bytes, offset).map_err(|error| self.of_open(DiskOp::Write, file, error))
    }

    fn allocate(&self, file: &Shown, offset: u64, len: u64) -> DiskResult<()> {
        if self.length(file)? < offset + len {
            self.truncate(file, offset + len)?;
        }
        Ok(())
    }

    fn truncate(&self, file: &Shown, len: u64) -> DiskResult<()> {
        file.file.set_len(len).map_err(|error| self.of_open(DiskOp::Truncate, file, error))
    }

    fn sync_data(&self, file: &Shown) -> DiskResult<()> {
        file.file.sync_data().map_err(|error| self.of_open(DiskOp::SyncData, file, error))
    }

    fn sync(&self, file: &Shown) -> DiskResult<()> {
        file.file.sync_all().map_err(|error| self.of_open(DiskOp::Sync, file, error))
    }

    fn rename(&self, from: &FilePath, to: &str) -> DiskResult<()> {
        std::fs::rename(self.path(from), self.0.join(to))
            .map_err(|error| self.error(DiskOp::Rename, from, error))
    }

    fn unlink(&self, path: &FilePath) -> DiskResult<()> {
        std::fs::remove_file(self.path(path)).map_err(|error| self.error(DiskOp::Unlink, path, error))
    }

    fn sync_dir(&self, dir: Dir) -> DiskResult<()> {
        let synced = File::open(&self.0).and_then(|dir| dir.sync_all());
        synced.map_err(|error| self.error(DiskOp::SyncDir, &FilePath::new(dir, ""), error))
    }

    fn create_dir(&self, dir: Dir) -> DiskResult<()> {
        std::fs::create_dir_all(&self.0)
            .map_err(|error| self.error(DiskOp::CreateDir, &FilePath::new(dir, ""), error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_keeps_the_contract_of_a_disk() {
        let dir = std::env::temp_dir().join(format!("ostler-folder-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        let (folder, file) = Folder::of_file(&dir.join("snapshot.5"), Dir::Snap).unwrap();
        assert_eq!(folder.path(&file), dir.join("snapshot.5"));
        assert!(folder.open(&file).is_err_and(|error| error.is_not_found()));
        let created = folder.create(&file).unwrap();
        folder.write_at(&created, 3, b"abc").unwrap();
        assert!(folder.create(&file).is_err(), "it is there");
        let mut buffer = [9; 8];
        assert_eq!(folder.read_at(&created, 2, &mut buffer).unwrap(), 4);
        assert_eq!(&buffer[..4], b"\0abc");
        folder.rename(&file, "snapshot.6").unwrap();
        assert_eq!(folder.list(Dir::Snap).unwrap(), ["snapshot.6"]);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
