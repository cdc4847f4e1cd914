//! A file as a stream of its uncompressed bytes. The framing of snappy-java is read here; gzip by `flate2`.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;

use super::framing::SnappyReader;
use crate::disk::{Disk, DiskError, DiskResult, FilePath};
use crate::names::Compression;

/// A file read from its beginning to its end. An error of the disk is kept aside, since `Read` has no room for it.
pub(super) struct FileStream<D: Disk> {
    disk: D,
    file: D::File,
    at: u64,
    failed: Option<DiskError>,
}

impl<D: Disk + Clone> FileStream<D> {
    pub(super) fn open(disk: &D, path: &FilePath) -> DiskResult<Self> {
        Ok(Self { disk: disk.clone(), file: disk.open(path)?, at: 0, failed: None })
    }
}

impl<D: Disk> Read for FileStream<D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.disk.read_at(&self.file, self.at, buffer) {
            Ok(read) => {
                self.at += read as u64;
                Ok(read)
            }
            Err(error) => {
                let told = io::Error::other(error.to_string());
                self.failed = Some(error);
                Err(told)
            }
        }
    }
}

/// The uncompressed bytes of a file.
pub(super) enum Source<D: Disk> {
    Plain(FileStream<D>),
    Gzip(Box<MultiGzDecoder<FileStream<D>>>),
    Snappy(SnappyReader<FileStream<D>>),
}

impl<D: Disk> Source<D> {
    pub(super) fn new(stream: FileStream<D>, compression: Compression) -> Self {
        match compression {
            Compression::None => Self::Plain(stream),
            Compression::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(stream))),
            Compression::Snappy => Self::Snappy(SnappyReader::new(stream)),
        }
    }

    /// The error of the disk, if it was one.
    pub(super) fn take_failure(&mut self) -> Option<DiskError> {
        match self {
            Self::Plain(stream) => stream.failed.take(),
            Self::Gzip(decoder) => decoder.get_mut().failed.take(),
            Self::Snappy(reader) => reader.get_mut().failed.take(),
        }
    }
}

impl<D: Disk> Read for Source<D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Snappy(reader) => reader.read(buffer),
        }
    }
}
