//! A disk in memory for tests and the simulator. Every mutating call has a number; at any of them the disk can fail,
//! run out of space, or crash, and after a crash a power cut decides which of the bytes and names that were not
//! synced are there. Deterministic: the only randomness is a seed. What it can do to files is what real file systems
//! were seen to do: unsynced sectors written or not, lengths that lag, names that come back or never came.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::rc::Rc;

use crate::disk::{Dir, Disk, DiskError, DiskErrorKind, DiskOp, DiskResult, FilePath};

mod fault;
mod image;
mod power;
mod rng;

pub use fault::{Fault, FaultPlan};
pub use image::Image;
pub use power::PowerCut;
pub use rng::Rng;

/// A mutating call, as it is kept in the trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traced {
    /// Its number, from 0.
    pub number: u64,
    /// The call.
    pub op: DiskOp,
    /// The file or directory.
    pub path: String,
    /// Where in the file.
    pub offset: u64,
    /// How many bytes.
    pub len: u64,
}

impl fmt::Display for Traced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} {} {} {}+{}", self.number, self.op, self.path, self.offset, self.len)
    }
}

/// A simulated disk; clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct SimDisk(Rc<RefCell<State>>);

/// An open file of a simulated disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimFile {
    inode: u64,
    path: FilePath,
}

#[derive(Debug, Clone)]
pub(crate) struct State {
    one_directory: bool,
    pub(crate) inodes: BTreeMap<u64, Inode>,
    pub(crate) dirs: BTreeMap<Dir, Directory>,
    next_inode: u64,
    faults: FaultPlan,
    crashed: bool,
    /// The write that is running stops half-way.
    short: bool,
    ops: u64,
    trace: Vec<Traced>,
}

/// A file: what is surely on the disk, what is seen, and what lies between the two.
#[derive(Debug, Default, Clone)]
pub(crate) struct Inode {
    pub(crate) durable: Image,
    pub(crate) seen: Image,
    pub(crate) pending: Vec<Change>,
}

/// A change of a file that is not synced, with the number of the call.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Write { number: u64, offset: u64, bytes: Vec<u8> },
    Length { number: u64, len: u64 },
}

/// The names of a directory, likewise.
#[derive(Debug, Default, Clone)]
pub(crate) struct Directory {
    pub(crate) durable: BTreeMap<String, u64>,
    pub(crate) seen: BTreeMap<String, u64>,
    pub(crate) pending: Vec<(u64, NameChange)>,
}

#[derive(Debug, Clone)]
pub(crate) enum NameChange {
    Create { name: String, inode: u64 },
    Rename { from: String, to: String, inode: u64 },
    Unlink { name: String },
}

impl SimDisk {
    /// An empty disk; logs and snapshots in one directory or in two.
    #[must_use]
    pub fn new(one_directory: bool) -> Self {
        Self(Rc::new(RefCell::new(State {
            one_directory,
            inodes: BTreeMap::new(),
            dirs: BTreeMap::new(),
            next_inode: 0,
            faults: FaultPlan::default(),
            crashed: false,
            short: false,
            ops: 0,
            trace: Vec::new(),
        })))
    }

    /// Plans faults, by the numbers of the calls to come.
    pub fn plan(&self, faults: FaultPlan) {
        self.0.borrow_mut().faults = faults;
    }

    /// How many mutating calls were made: the number of the next one.
    #[must_use]
    pub fn ops(&self) -> u64 {
        self.0.borrow().ops
    }

    /// The mutating calls so far.
    #[must_use]
    pub fn trace(&self) -> Vec<Traced> {
        self.0.borrow().trace.clone()
    }

    /// Whether a planned crash has happened.
    #[must_use]
    pub fn has_crashed(&self) -> bool {
        self.0.borrow().crashed
    }

    /// Crashes now: every call from here on fails.
    pub fn crash(&self) {
        self.0.borrow_mut().crashed = true;
    }

    /// The process was killed and the machine went on: the same disk, on which what was not synced is seen and can
    /// still be lost. No more faults are planned.
    #[must_use]
    pub fn revive(&self) -> Self {
        let mut state = self.0.borrow_mut();
        state.crashed = false;
        state.faults = FaultPlan::default();
        drop(state);
        self.clone()
    }

    /// Another disk that is like this one is now, crashed or not, with the same faults to come and no trace.
    #[must_use]
    pub fn fork(&self) -> Self {
        let mut state = self.0.borrow().clone();
        state.trace = Vec::new();
        Self(Rc::new(RefCell::new(state)))
    }

    /// What is on the disk after the power failed now: a new disk, on which everything is durable.
    #[must_use]
    pub fn power_cut(&self, seed: u64, cut: PowerCut) -> Self {
        let state = self.0.borrow();
        let after = Self::new(state.one_directory);
        power::cut(&state, &mut Rng::new(seed), cut, &mut after.0.borrow_mut());
        after
    }

    /// Puts a file there, durably, without a number: to begin with, or to damage it.
    pub fn put(&self, path: &FilePath, bytes: &[u8]) {
        let mut state = self.0.borrow_mut();
        let dir = state.place(path.dir);
        let inode = state.new_inode();
        let file = state.inodes.entry(inode).or_default();
        file.durable.write(0, bytes);
        file.seen = file.durable.clone();
        let directory = state.dirs.entry(dir).or_default();
        directory.durable.insert(path.name.clone(), inode);
        directory.seen.insert(path.name.clone(), inode);
    }

    /// Flips a bit, on the disk and in what is seen. False if there is no such byte.
    pub fn flip(&self, path: &FilePath, offset: u64, bit: u8) -> bool {
        let mut state = self.0.borrow_mut();
        let Some(inode) = state.lookup(path) else { return false };
        let file = state.inodes.entry(inode).or_default();
        if offset >= file.seen.len() {
            return false;
        }
        for image in [&mut file.durable, &mut file.seen] {
            if offset < image.len() {
                let mut byte = [0];
                image.read(offset, &mut byte);
                image.write(offset, &[byte[0] ^ (1 << (bit % 8))]);
            }
        }
        true
    }

    /// A hash of all that is seen, to count distinct images.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let state = self.0.borrow();
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut mix = |bytes: &[u8]| {
            for byte in bytes {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        };
        for (dir, directory) in &state.dirs {
            mix(&[*dir as u8]);
            for (name, inode) in &directory.seen {
                mix(name.as_bytes());
                let Some(file) = state.inodes.get(inode) else { continue };
                mix(&file.seen.len().to_be_bytes());
                for (sector, bytes) in file.seen.sectors() {
                    mix(&sector.to_be_bytes());
                    mix(bytes);
                }
            }
        }
        hash
    }
}

impl State {
    fn place(&self, dir: Dir) -> Dir {
        match dir {
            Dir::Log if self.one_directory => Dir::Snap,
            Dir::LogParent if self.one_directory => Dir::SnapParent,
            Dir::Log | Dir::LogParent | Dir::Snap | Dir::SnapParent => dir,
        }
    }

    fn lookup(&self, path: &FilePath) -> Option<u64> {
        self.dirs.get(&self.place(path.dir))?.seen.get(&path.name).copied()
    }

    pub(crate) fn new_inode(&mut self) -> u64 {
        self.next_inode += 1;
        self.inodes.insert(self.next_inode, Inode::default());
        self.next_inode
    }

    fn failure(op: DiskOp, path: &FilePath, kind: DiskErrorKind) -> DiskError {
        let source = match kind {
            DiskErrorKind::NotFound => io::ErrorKind::NotFound.into(),
            DiskErrorKind::Exists => io::ErrorKind::AlreadyExists.into(),
            DiskErrorKind::Full => io::ErrorKind::StorageFull.into(),
            DiskErrorKind::Denied => io::ErrorKind::PermissionDenied.into(),
            DiskErrorKind::Io => io::Error::other("simulated disk error"),
            DiskErrorKind::Crashed => io::Error::other("the simulated machine has crashed"),
        };
        DiskError { op, path: path.to_string(), offset: None, kind, source }
    }

    fn refuse_if_crashed(&self, op: DiskOp, path: &FilePath) -> DiskResult<()> {
        if self.crashed { Err(Self::failure(op, path, DiskErrorKind::Crashed)) } else { Ok(()) }
    }

    /// Counts a mutating call and runs it, unless a fault is planned for it.
    fn mutate<T>(
        &mut self,
        op: DiskOp,
        path: &FilePath,
        (offset, len): (u64, u64),
        run: impl FnOnce(&mut Self, u64) -> DiskResult<T>,
    ) -> DiskResult<T> {
        self.refuse_if_crashed(op, path)?;
        let number = self.ops;
        self.ops += 1;
        self.trace.push(Traced { number, op, path: path.to_string(), offset, len });
        match self.faults.take(number, op) {
            Some(Fault::CrashBefore) => {
                self.crashed = true;
                Err(Self::failure(op, path, DiskErrorKind::Crashed))
            }
            Some(Fault::CrashAfter) => {
                // The call is done, and nobody hears of it.
                let _ = run(self, number);
                self.crashed = true;
                Err(Self::failure(op, path, DiskErrorKind::Crashed))
            }
            Some(Fault::Error) => {
                if matches!(op, DiskOp::Sync | DiskOp::SyncData) {
                    self.lose_pending(path);
                }
                Err(Self::failure(op, path, DiskErrorKind::Io))
            }
            Some(Fault::Short) => {
                self.short = op == DiskOp::Write;
                if self.short {
                    let _ = run(self, number);
                    self.short = false;
                }
                Err(Self::failure(op, path, DiskErrorKind::Io))
            }
            Some(Fault::Full) => Err(Self::failure(op, path, DiskErrorKind::Full)),
            None => run(self, number),
        }
    }

    /// What a failed sync was to write is gone, though it is still seen.
    fn lose_pending(&mut self, path: &FilePath) {
        if let Some(inode) = self.lookup(path)
            && let Some(file) = self.inodes.get_mut(&inode)
        {
            file.pending.clear();
        }
    }

    /// Space for so many more bytes of a file, if it has a bound.
    fn use_space(&mut self, op: DiskOp, file: &SimFile, end: u64) -> DiskResult<()> {
        let Some(space) = self.faults.space_bytes else { return Ok(()) };
        let named = self.dirs.values().flat_map(|directory| directory.seen.values());
        let used: u64 =
            named.filter_map(|inode| self.inodes.get(inode)).map(|inode| inode.seen.reserved()).sum();
        let grows = end.saturating_sub(self.inodes.get(&file.inode).map_or(0, |inode| inode.seen.reserved()));
        if grows > 0 && used + grows > space {
            return Err(Self::failure(op, &file.path, DiskErrorKind::Full));
        }
        Ok(())
    }

    fn file(&mut self, file: &SimFile) -> &mut Inode {
        self.inodes.entry(file.inode).or_default()
    }

    fn sync_file(&mut self, file: &SimFile) {
        let inode = self.file(file);
        for change in std::mem::take(&mut inode.pending) {
            change.apply(&mut inode.durable);
        }
    }
}

impl Change {
    pub(crate) fn apply(&self, image: &mut Image) {
        match self {
            Self::Write { offset, bytes, .. } => image.write(*offset, bytes),
            Self::Length { len, .. } => image.set_len(*len),
        }
    }

    pub(crate) fn number(&self) -> u64 {
        match self {
            Self::Write { number, .. } | Self::Length { number, .. } => *number,
        }
    }
}

impl NameChange {
    pub(crate) fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Create { name, inode } => {
                names.insert(name.clone(), *inode);
            }
            Self::Rename { from, to, inode } => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
            Self::Unlink { name } => {
                names.remove(name);
            }
        }
    }
}

impl Disk for SimDisk {
    type File = SimFile;

    fn is_one_directory(&self) -> bool {
        self.0.borrow().one_directory
    }

    fn show(&self, path: &FilePath) -> String {
        path.to_string()
    }

    fn list(&self, dir: Dir) -> DiskResult<Vec<String>> {
        let state = self.0.borrow();
        state.refuse_if_crashed(DiskOp::List, &FilePath::new(dir, ""))?;
        let directory = state.dirs.get(&state.place(dir));
        Ok(directory.map(|directory| directory.seen.keys().cloned().collect()).unwrap_or_default())
    }

    fn open(&self, path: &FilePath) -> DiskResult<SimFile> {
        let state = self.0.borrow();
        state.refuse_if_crashed(DiskOp::Open, path)?;
        match state.lookup(path) {
            Some(inode) => Ok(SimFile { inode, path: path.clone() }),
            None => Err(State::failure(DiskOp::Open, path, DiskErrorKind::NotFound)),
        }
    }

    fn open_for_write(&self, path: &FilePath) -> DiskResult<SimFile> {
        self.open(path)
    }

    fn length(&self, file: &SimFile) -> DiskResult<u64> {
        let state = self.0.borrow();
        state.refuse_if_crashed(DiskOp::Length, &file.path)?;
        Ok(state.inodes.get(&file.inode).map_or(0, |inode| inode.seen.len()))
    }

    fn read_at(&self, file: &SimFile, offset: u64, buffer: &mut [u8]) -> DiskResult<usize> {
        let state = self.0.borrow();
        state.refuse_if_crashed(DiskOp::Read, &file.path)?;
        Ok(state.inodes.get(&file.inode).map_or(0, |inode| inode.seen.read(offset, buffer)))
    }

    fn create(&self, path: &FilePath) -> DiskResult<SimFile> {
        self.0.borrow_mut().mutate(DiskOp::Create, path, (0, 0), |state, number| {
            if state.lookup(path).is_some() {
                return Err(State::failure(DiskOp::Create, path, DiskErrorKind::Exists));
            }
            let inode = state.new_inode();
            state.change_name(number, path.dir, NameChange::Create { name: path.name.clone(), inode });
            Ok(SimFile { inode, path: path.clone() })
        })
    }

    fn write_at(&self, file: &SimFile, offset: u64, bytes: &[u8]) -> DiskResult<()> {
        let range = (offset, bytes.len() as u64);
        self.0.borrow_mut().mutate(DiskOp::Write, &file.path, range, |state, number| {
            state.use_space(DiskOp::Write, file, offset + bytes.len() as u64)?;
            let bytes = if state.short { &bytes[..bytes.len() / 2] } else { bytes };
            let inode = state.file(file);
            inode.seen.write(offset, bytes);
            inode.pending.push(Change::Write { number, offset, bytes: bytes.to_vec() });
            Ok(())
        })
    }

    fn allocate(&self, file: &SimFile, offset: u64, len: u64) -> DiskResult<()> {
        self.0.borrow_mut().mutate(DiskOp::Allocate, &file.path, (offset, len), |state, number| {
            state.use_space(DiskOp::Allocate, file, offset + len)?;
            let inode = state.file(file);
            inode.seen.reserve(offset + len);
            if offset + len > inode.seen.len() {
                inode.seen.set_len(offset + len);
                inode.pending.push(Change::Length { number, len: offset + len });
            }
            Ok(())
        })
    }

    fn truncate(&self, file: &SimFile, len: u64) -> DiskResult<()> {
        self.0.borrow_mut().mutate(DiskOp::Truncate, &file.path, (len, 0), |state, number| {
            let inode = state.file(file);
            inode.seen.set_len(len);
            inode.pending.push(Change::Length { number, len });
            Ok(())
        })
    }

    fn sync_data(&self, file: &SimFile) -> DiskResult<()> {
        self.0.borrow_mut().mutate(DiskOp::SyncData, &file.path, (0, 0), |state, _| {
            state.sync_file(file);
            Ok(())
        })
    }

    fn sync(&self, file: &SimFile) -> DiskResult<()> {
        self.0.borrow_mut().mutate(DiskOp::Sync, &file.path, (0, 0), |state, _| {
            state.sync_file(file);
            Ok(())
        })
    }

    fn rename(&self, from: &FilePath, to: &str) -> DiskResult<()> {
        self.0.borrow_mut().mutate(DiskOp::Rename, from, (0, 0), |state, number| {
            let Some(inode) = state.lookup(from) else {
                return Err(State::failure(DiskOp::Rename, from, DiskErrorKind::NotFound));
            };
            let change = NameChange::Rename { from: from.name.clone(), to: to.to_owned(), inode };
            state.change_name(number, from.dir, change);
            Ok(())
        })
    }

    fn unlink(&self, path: &FilePath) -> DiskResult<()> {
        self.0.borrow_mut().mutate(DiskOp::Unlink, path, (0, 0), |state, number| {
            if state.lookup(path).is_none() {
                return Err(State::failure(DiskOp::Unlink, path, DiskErrorKind::NotFound));
            }
            state.change_name(number, path.dir, NameChange::Unlink { name: path.name.clone() });
            Ok(())
        })
    }

    fn sync_dir(&self, dir: Dir) -> DiskResult<()> {
        let path = FilePath::new(dir, "");
        self.0.borrow_mut().mutate(DiskOp::SyncDir, &path, (0, 0), |state, _| {
            let dir = state.place(dir);
            let directory = state.dirs.entry(dir).or_default();
            directory.durable = directory.seen.clone();
            directory.pending.clear();
            Ok(())
        })
    }

    fn create_dir(&self, dir: Dir) -> DiskResult<()> {
        let path = FilePath::new(dir, "");
        self.0.borrow_mut().mutate(DiskOp::CreateDir, &path, (0, 0), |state, _| {
            let dir = state.place(dir);
            state.dirs.entry(dir).or_default();
            Ok(())
        })
    }
}

impl State {
    fn change_name(&mut self, number: u64, dir: Dir, change: NameChange) {
        let dir = self.place(dir);
        let directory = self.dirs.entry(dir).or_default();
        change.apply(&mut directory.seen);
        directory.pending.push((number, change));
    }
}
