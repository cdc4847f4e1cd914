//! The bytes of a simulated file: sparse, in sectors, so that 64 MiB of reserved zeros cost nothing.

use std::collections::BTreeMap;
use std::ops::Range;

/// What a disk writes as one.
pub(crate) const SECTOR: u64 = 512;

/// The bytes of a file.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Image {
    len: u64,
    reserved: u64,
    sectors: BTreeMap<u64, Box<[u8; SECTOR as usize]>>,
}

impl Image {
    /// Bytes in the file.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Up to where space is used.
    pub(crate) fn reserved(&self) -> u64 {
        self.reserved
    }

    pub(crate) fn reserve(&mut self, end: u64) {
        self.reserved = self.reserved.max(end);
    }

    /// The sectors that were written.
    pub(crate) fn sectors(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.sectors.iter().map(|(sector, bytes)| (*sector, &bytes[..]))
    }

    pub(crate) fn read(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let end = (offset + buffer.len() as u64).min(self.len);
        if offset >= end {
            return 0;
        }
        for (sector, inner, outer) in pieces(offset, end) {
            match self.sectors.get(&sector) {
                Some(bytes) => buffer[outer].copy_from_slice(&bytes[inner]),
                None => buffer[outer].fill(0),
            }
        }
        usize::try_from(end - offset).expect("at most the buffer")
    }

    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let end = offset + bytes.len() as u64;
        for (sector, inner, outer) in pieces(offset, end) {
            let into = self.sectors.entry(sector).or_insert_with(|| Box::new([0; SECTOR as usize]));
            into[inner].copy_from_slice(&bytes[outer]);
        }
        self.len = self.len.max(end);
        self.reserve(end);
    }

    pub(crate) fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.reserved = self.reserved.min(len);
            self.sectors.retain(|sector, _| sector * SECTOR < len);
            let inner = usize::try_from(len % SECTOR).expect("below 512");
            if let Some(bytes) = self.sectors.get_mut(&(len / SECTOR)) {
                bytes[inner..].fill(0);
            }
        }
        self.len = len;
    }

    /// The sectors that a range touches.
    pub(crate) fn touched(offset: u64, len: u64) -> Range<u64> {
        offset / SECTOR..(offset + len).div_ceil(SECTOR)
    }
}

/// A range cut at the sectors: the sector, the range within it, and the range within the buffer.
fn pieces(from: u64, to: u64) -> impl Iterator<Item = (u64, Range<usize>, Range<usize>)> {
    let index = |value: u64| usize::try_from(value).expect("within a buffer");
    let mut at = from;
    std::iter::from_fn(move || {
        if at >= to {
            return None;
        }
        let sector = at / SECTOR;
        let end = ((sector + 1) * SECTOR).min(to);
        let inner = index(at - sector * SECTOR)..index(end - sector * SECTOR);
        let outer = index(at - from)..index(end - from);
        at = end;
        Some((sector, inner, outer))
    })
}
