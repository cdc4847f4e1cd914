//! A disk in memory: files by name, no faults. The simulator's disk numbers and remembers every call, which is more
//! than ten million executions want to pay for.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use ostler_store::{Dir, Disk, DiskError, DiskOp, DiskResult, FilePath};

/// More than a file of a test ever needs; whoever asks for more has believed a length.
const MAX_FILE: u64 = 16 << 20;

type File = Rc<RefCell<Vec<u8>>>;

/// A disk whose clones share their files.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemDisk {
    files: Rc<RefCell<BTreeMap<FilePath, File>>>,
}

impl MemDisk {
    /// Puts a file there.
    pub(crate) fn put(&self, dir: Dir, name: &str, bytes: Vec<u8>) {
        self.files.borrow_mut().insert(FilePath::new(dir, name), Rc::new(RefCell::new(bytes)));
    }

    fn refuse<T>(&self, op: DiskOp, path: &FilePath, kind: io::ErrorKind) -> DiskResult<T> {
        Err(DiskError::new(op, self.show(path), None, kind.into()))
    }
}

impl Disk for MemDisk {
    type File = File;

    fn is_one_directory(&self) -> bool {
        false
    }

    fn show(&self, path: &FilePath) -> String {
        path.to_string()
    }

    fn list(&self, dir: Dir) -> DiskResult<Vec<String>> {
        let files = self.files.borrow();
        Ok(files.keys().filter(|path| path.dir == dir).map(|path| path.name.clone()).collect())
    }

    fn open(&self, path: &FilePath) -> DiskResult<Self::File> {
        match self.files.borrow().get(path) {
            Some(file) => Ok(Rc::clone(file)),
            None => self.refuse(DiskOp::Open, path, io::ErrorKind::NotFound),
        }
    }

    fn open_for_write(&self, path: &FilePath) -> DiskResult<Self::File> {
        self.open(path)
    }

    fn length(&self, file: &Self::File) -> DiskResult<u64> {
        Ok(file.borrow().len() as u64)
    }

    fn read_at(&self, file: &Self::File, offset: u64, buffer: &mut [u8]) -> DiskResult<usize> {
        let file = file.borrow();
        let rest = usize::try_from(offset).ok().and_then(|at| file.get(at..)).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn create(&self, path: &FilePath) -> DiskResult<Self::File> {
        if self.files.borrow().contains_key(path) {
            return self.refuse(DiskOp::Create, path, io::ErrorKind::AlreadyExists);
        }
        self.put(path.dir, &path.name, Vec::new());
        self.open(path)
    }

    fn write_at(&self, file: &Self::File, offset: u64, bytes: &[u8]) -> DiskResult<()> {
        self.allocate(file, offset, bytes.len() as u64)?;
        let at = usize::try_from(offset).expect("it was just allocated");
        file.borrow_mut()[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn allocate(&self, file: &Self::File, offset: u64, len: u64) -> DiskResult<()> {
        let end = offset.saturating_add(len);
        assert!(end <= MAX_FILE, "a file of {end} bytes");
        let end = usize::try_from(end).expect("it is small");
        let mut file = file.borrow_mut();
        if file.len() < end {
            file.resize(end, 0);
        }
        Ok(())
    }

    fn truncate(&self, file: &Self::File, len: u64) -> DiskResult<()> {
        assert!(len <= MAX_FILE, "a file of {len} bytes");
        file.borrow_mut().resize(usize::try_from(len).expect("it is small"), 0);
        Ok(())
    }

    fn sync_data(&self, _: &Self::File) -> DiskResult<()> {
        Ok(())
    }

    fn sync(&self, _: &Self::File) -> DiskResult<()> {
        Ok(())
    }

    fn rename(&self, from: &FilePath, to: &str) -> DiskResult<()> {
        let Some(file) = self.files.borrow_mut().remove(from) else {
            return self.refuse(DiskOp::Rename, from, io::ErrorKind::NotFound);
        };
        self.files.borrow_mut().insert(FilePath::new(from.dir, to), file);
        Ok(())
    }

    fn unlink(&self, path: &FilePath) -> DiskResult<()> {
        match self.files.borrow_mut().remove(path) {
            Some(_) => Ok(()),
            None => self.refuse(DiskOp::Unlink, path, io::ErrorKind::NotFound),
        }
    }

    fn sync_dir(&self, _: Dir) -> DiskResult<()> {
        Ok(())
    }

    fn create_dir(&self, _: Dir) -> DiskResult<()> {
        Ok(())
    }
}
