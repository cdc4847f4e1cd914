//! Writing a snapshot: chunks of the body come in as the tree is walked, the file grows under a temporary name and
//! gets its own only when it is whole and synced. Java writes most snapshots in place and without a sync, so that
//! a crash leaves a torn file with a good name.

use std::io::Write;

use flate2::write::GzEncoder;
use ostler_wire::Zxid;
use ostler_wire::disk::{SNAPSHOT_END, snapshot_header};
use ostler_wire::jute::Writer;
use ostler_wire::txn::DIGEST_VERSION;
use simd_adler32::Adler32;

use super::framing;
use crate::disk::{Dir, Disk, DiskError, DiskOp, FilePath};
use crate::error::Result;
use crate::names::{self, Compression};
use ostler_wire::zoo::{self, Mutation};

/// Bytes gathered before they are written.
pub(super) const PIECE: usize = 256 << 10;

/// How snapshots are written.
#[derive(Debug, Clone, Copy)]
pub struct SnapshotOptions {
    /// `zookeeper.snapshot.compression.method`.
    pub compression: Compression,
    /// `zookeeper.serializeLastProcessedZxid.enabled`: whether the last zxid gets a section. Servers before 3.9
    /// do not read that far.
    pub last_zxid: bool,
    /// After so many bytes what was written is synced, so that no sync of the log waits for hundreds of MiB; 0 is
    /// only at the end.
    pub sync_every_bytes: u64,
}

impl Default for SnapshotOptions {
    fn default() -> Self {
        Self { compression: Compression::None, last_zxid: true, sync_every_bytes: 8 << 20 }
    }
}

/// A snapshot that is being written. One that is dropped before `finish` leaves its temporary file, which the next
/// start removes; `abort` removes it at once.
pub struct SnapshotWriter<D: Disk> {
    disk: D,
    file: D::File,
    path: FilePath,
    name: String,
    with_last_zxid: bool,
    sync_every_bytes: u64,
    adler: Adler32,
    encoder: Encoder,
    written: u64,
    synced: u64,
}

/// What follows the chunks of the body on its way into the file.
pub(super) enum Encoder {
    Plain(Vec<u8>),
    Gzip(GzEncoder<Vec<u8>>),
    Snappy { input: Vec<u8>, output: Vec<u8> },
}

impl<D: Disk> SnapshotWriter<D> {
    /// Begins the snapshot of a zxid: the last one that was applied when its walk began.
    pub fn create(disk: D, zxid: Zxid, options: &SnapshotOptions) -> Result<Self> {
        let name = names::snapshot_name(zxid, options.compression);
        let temporary = names::temporary_name(&name);
        Self::create_as(disk, name, temporary, options)
    }

    /// Begins the snapshot of a tree that came from elsewhere. One of the own tree may be under way, of the same
    /// zxid even: the two do not meet.
    pub fn create_received(disk: D, zxid: Zxid, options: &SnapshotOptions) -> Result<Self> {
        let name = names::snapshot_name(zxid, options.compression);
        let temporary = names::temporary_name(&format!("received.{name}"));
        Self::create_as(disk, name, temporary, options)
    }

    fn create_as(disk: D, name: String, temporary: String, options: &SnapshotOptions) -> Result<Self> {
        let path = FilePath::new(Dir::Snap, temporary);
        if disk.exists(&path)? {
            disk.unlink(&path)?;
        }
        let file = disk.create(&path)?;
        let mut writer = Self {
            disk,
            file,
            path,
            name,
            with_last_zxid: options.last_zxid,
            sync_every_bytes: options.sync_every_bytes,
            adler: Adler32::new(),
            encoder: Encoder::new(options.compression),
            written: 0,
            synced: 0,
        };
        writer.write(&snapshot_header())?;
        Ok(writer)
    }

    /// A chunk of the body: sessions, ACLs, nodes, and at the end the path "/".
    pub fn write(&mut self, chunk: &[u8]) -> Result<()> {
        self.adler.write(chunk);
        self.encoder.write(chunk).map_err(|error| self.encoding_failed(error))?;
        if self.encoder.output().len() >= PIECE {
            self.flush()?;
        }
        Ok(())
    }

    /// Seals the body, adds the sections, and gives the file its name, durably. `last` is the zxid that was
    /// applied last when the walk ended, `digest` what the tree's digest was then, if digests are kept. Says the
    /// name and the length of the file.
    pub fn finish(self, last: Zxid, digest: Option<i64>) -> Result<(String, u64)> {
        self.seal(last, digest.map(|digest| (last, digest)))?.publish()
    }

    /// The first half of [`Self::finish`]: the file is whole and durable, and still under its temporary name.
    /// `digest` says of which zxid it is; of none (0) for a tree that is not exact at any zxid that is known.
    pub fn seal(mut self, last: Zxid, digest: Option<(Zxid, i64)>) -> Result<SealedSnapshot<D>> {
        match self.try_seal(last, digest) {
            Ok(()) => Ok(SealedSnapshot {
                disk: self.disk,
                path: self.path,
                name: self.name,
                written: self.written,
            }),
            Err(error) => {
                self.abort();
                Err(error)
            }
        }
    }

    /// Gives up: removes what was written. If that fails too, the next start does it.
    pub fn abort(self) {
        remove(&self.disk, &self.path);
    }

    /// Bytes in the file so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    fn try_seal(&mut self, last: Zxid, digest: Option<(Zxid, i64)>) -> Result<()> {
        self.write_seal()?;
        if let Some((zxid, digest)) = digest {
            let mut section = Vec::new();
            section.put_long(zxid.0);
            section.put_int(DIGEST_VERSION);
            section.put_long(digest);
            self.write(&section)?;
            self.write_seal()?;
        }
        if self.with_last_zxid {
            self.write(&last.0.to_be_bytes())?;
            self.write_seal()?;
        }
        self.encoder.end().map_err(|error| self.encoding_failed(error))?;
        self.flush()?;
        self.disk.sync(&self.file)?;
        Ok(())
    }

    fn write_seal(&mut self) -> Result<()> {
        let checksum = i64::from(self.adler.finish());
        self.write(&checksum.to_be_bytes())?;
        self.write(&SNAPSHOT_END)
    }

    fn flush(&mut self) -> Result<()> {
        let output = self.encoder.output();
        self.disk.write_at(&self.file, self.written, output)?;
        self.written += output.len() as u64;
        output.clear();
        if self.sync_every_bytes > 0 && self.written - self.synced >= self.sync_every_bytes {
            self.disk.sync_data(&self.file)?;
            self.synced = self.written;
        }
        Ok(())
    }

    fn encoding_failed(&self, error: std::io::Error) -> DiskError {
        DiskError::new(DiskOp::Write, self.disk.show(&self.path), Some(self.written), error)
    }
}

/// A snapshot that is whole and durable, but has no name that a reader looks for.
pub struct SealedSnapshot<D: Disk> {
    disk: D,
    path: FilePath,
    name: String,
    written: u64,
}

impl<D: Disk> SealedSnapshot<D> {
    /// The name that it is to have.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives it its name, durably: from here on it is the one that a start finds. Says the name and the length.
    pub fn publish(self) -> Result<(String, u64)> {
        let mut named = self.disk.rename(&self.path, &self.name);
        if named.is_ok() && !zoo::is(Mutation::NoDirSyncOfSnapshot) {
            named = self.disk.sync_dir(Dir::Snap);
        }
        match named {
            Ok(()) => Ok((self.name, self.written)),
            Err(error) => {
                remove(&self.disk, &self.path);
                Err(error.into())
            }
        }
    }

    /// Removes it: what it was taken of is not to be kept.
    pub fn discard(self) {
        remove(&self.disk, &self.path);
    }

    pub(crate) fn disk(&self) -> &D {
        &self.disk
    }
}

fn remove<D: Disk>(disk: &D, path: &FilePath) {
    if disk.unlink(path).is_ok() {
        // A name that comes back after a power cut is removed by the next start.
        let _ = disk.sync_dir(Dir::Snap);
    }
}

impl Encoder {
    pub(super) fn new(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::Plain(Vec::new()),
            Compression::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::default())),
            Compression::Snappy => Self::Snappy { input: Vec::new(), output: framing::header().to_vec() },
        }
    }

    pub(super) fn write(&mut self, chunk: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Plain(output) => output.extend_from_slice(chunk),
            Self::Gzip(encoder) => encoder.write_all(chunk)?,
            Self::Snappy { input, output } => {
                let mut rest = chunk;
                while !rest.is_empty() {
                    let n = rest.len().min(framing::BLOCK - input.len());
                    input.extend_from_slice(&rest[..n]);
                    rest = &rest[n..];
                    if input.len() == framing::BLOCK {
                        framing::encode_block(input, output).map_err(std::io::Error::other)?;
                        input.clear();
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn end(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Gzip(encoder) => encoder.try_finish(),
            Self::Snappy { input, output } => {
                if !input.is_empty() {
                    framing::encode_block(input, output).map_err(std::io::Error::other)?;
                    input.clear();
                }
                Ok(())
            }
        }
    }

    /// What is ready to be written.
    pub(super) fn output(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Plain(output) | Self::Snappy { output, .. } => output,
            Self::Gzip(encoder) => encoder.get_mut(),
        }
    }
}

/// Removes what unfinished writers left: to be done at the start. The directory is synced in any case, so that the
/// snapshot and the epochs that were found keep their names from here on, also if the process that gave them these
/// names died before it could sync.
pub fn remove_temporaries<D: Disk>(disk: &D) -> Result<usize> {
    let mut removed = 0;
    for name in disk.list(Dir::Snap)? {
        if names::is_temporary(&name) {
            disk.unlink(&FilePath::new(Dir::Snap, name))?;
            removed += 1;
        }
    }
    disk.sync_dir(Dir::Snap)?;
    Ok(removed)
}
