//! A window over a file for readers that go forward: whole pieces are read at a time, and a slice that is asked for
//! is there in one piece. Memory is bounded by the window and by the longest slice, which lies within the file.

use crate::disk::{Disk, DiskResult, FilePath};

/// Bytes read at a time.
const PIECE: usize = 256 << 10;

/// A file and the piece of it that is in memory.
pub(super) struct ReadAhead<D: Disk> {
    disk: D,
    file: D::File,
    length: u64,
    buffer: Vec<u8>,
    /// The offset of the buffer in the file.
    start: u64,
}

impl<D: Disk + Clone> ReadAhead<D> {
    pub(super) fn open(disk: &D, path: &FilePath) -> DiskResult<Self> {
        let file = disk.open(path)?;
        let length = disk.length(&file)?;
        Ok(Self { disk: disk.clone(), file, length, buffer: Vec::new(), start: 0 })
    }
}

impl<D: Disk> ReadAhead<D> {
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// `len` bytes at an offset; both must lie within the file.
    pub(super) fn slice(&mut self, at: u64, len: usize) -> DiskResult<&[u8]> {
        let end = at + len as u64;
        assert!(end <= self.length, "slice {at}+{len} of a file of {} bytes", self.length);
        if at < self.start || end > self.start + self.buffer.len() as u64 {
            self.load(at, len)?;
        }
        let from = usize::try_from(at - self.start).expect("within the buffer");
        Ok(&self.buffer[from..from + len])
    }

    /// One byte somewhere ahead, without moving the window if it is outside.
    pub(super) fn byte_ahead(&mut self, at: u64) -> DiskResult<u8> {
        if at >= self.start && at < self.start + self.buffer.len() as u64 {
            return Ok(self.buffer[usize::try_from(at - self.start).expect("within the buffer")]);
        }
        let mut byte = [0];
        self.disk.read_at(&self.file, at, &mut byte)?;
        Ok(byte[0])
    }

    /// The first byte from an offset on that is not zero.
    pub(super) fn first_nonzero(&mut self, from: u64) -> DiskResult<Option<u64>> {
        let mut at = from;
        while at < self.length {
            let len = usize::try_from((self.length - at).min(PIECE as u64)).expect("a piece");
            let piece = self.slice(at, len)?;
            if let Some(found) = piece.iter().position(|byte| *byte != 0) {
                return Ok(Some(at + found as u64));
            }
            at += len as u64;
        }
        Ok(None)
    }

    fn load(&mut self, at: u64, len: usize) -> DiskResult<()> {
        let want =
            usize::try_from((self.length - at).min(len.max(PIECE) as u64)).expect("a piece or a record");
        self.buffer.resize(want, 0);
        self.start = at;
        let read = self.disk.read_at(&self.file, at, &mut self.buffer)?;
        // The file became shorter since it was opened: the rest reads as zeros.
        self.buffer[read..].fill(0);
        Ok(())
    }
}
