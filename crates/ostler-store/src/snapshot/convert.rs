//! From one compression to another: the uncompressed bytes stay what they are, so that every seal still holds. The
//! new file grows under a temporary name and gets its own only when it is whole, synced and read back.

use std::io::Read;

use super::read::{Limits, verify};
use super::source::{FileStream, Source};
use super::write::{Encoder, PIECE};
use crate::disk::{Disk, DiskError, DiskOp, FilePath};
use crate::error::Result;
use crate::names::{self, Compression, Named};

/// Writes a snapshot once more beside itself, compressed in another way; the old file stays. A snapshot that cannot
/// be read, or that is there already, is refused. Says which file it is and how long.
pub fn convert<D: Disk + Clone>(
    disk: &D,
    from: &Named,
    to: Compression,
    limits: Limits,
) -> Result<(Named, u64)> {
    verify(disk, from, limits)?;
    let old = &from.path;
    let stem = old.name.strip_suffix(from.compression.suffix()).unwrap_or(&old.name);
    let name = format!("{stem}{}", to.suffix());
    let target = Named { path: FilePath::new(old.dir, name), zxid: from.zxid, compression: to };
    if disk.exists(&target.path)? {
        let source = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
        return Err(DiskError::new(DiskOp::Create, disk.show(&target.path), None, source).into());
    }
    let temporary = FilePath::new(old.dir, names::temporary_name(&target.path.name));
    if disk.exists(&temporary)? {
        disk.unlink(&temporary)?;
    }
    let written = copy(disk, from, &temporary, to).and_then(|written| {
        verify(disk, &Named { path: temporary.clone(), ..target.clone() }, limits)?;
        disk.rename(&temporary, &target.path.name)?;
        disk.sync_dir(old.dir)?;
        Ok(written)
    });
    if written.is_err() {
        // It is of no use to anybody, and the error that led here is what the caller has to know.
        let _ = disk.unlink(&temporary);
    }
    Ok((target, written?))
}

fn copy<D: Disk + Clone>(disk: &D, from: &Named, temporary: &FilePath, to: Compression) -> Result<u64> {
    let mut source = Source::new(FileStream::open(disk, &from.path)?, from.compression);
    let file = disk.create(temporary)?;
    let failed = |op, path, source| DiskError::new(op, disk.show(path), None, source);
    let mut encoder = Encoder::new(to);
    let mut piece = vec![0; PIECE];
    let mut written = 0;
    loop {
        let read = match source.read(&mut piece) {
            Ok(read) => read,
            Err(error) => {
                let error = source.take_failure().unwrap_or_else(|| failed(DiskOp::Read, &from.path, error));
                return Err(error.into());
            }
        };
        if read == 0 {
            encoder.end().map_err(|error| failed(DiskOp::Write, temporary, error))?;
        } else {
            encoder.write(&piece[..read]).map_err(|error| failed(DiskOp::Write, temporary, error))?;
        }
        let output = encoder.output();
        disk.write_at(&file, written, output)?;
        written += output.len() as u64;
        output.clear();
        if read == 0 {
            break;
        }
    }
    disk.sync(&file)?;
    Ok(written)
}

#[cfg(test)]
mod tests {
    use ostler_wire::Zxid;

    use super::*;
    use crate::disk::Dir;
    use crate::sim::SimDisk;
    use crate::snapshot::{SnapshotOptions, SnapshotWriter};

    #[test]
    fn every_compression_becomes_every_other() {
        let disk = SimDisk::new(true);
        disk.create_dir(Dir::Snap).unwrap();
        let mut writer = SnapshotWriter::create(disk.clone(), Zxid(5), &SnapshotOptions::default()).unwrap();
        // No sessions, no ACLs, no nodes.
        writer.write(&[0; 8]).unwrap();
        writer.write(b"\0\0\0\x01/").unwrap();
        let (name, _) = writer.finish(Zxid(5), Some(7)).unwrap();
        let plain = names::given_snapshot(FilePath::new(Dir::Snap, name));
        let limits = Limits::default();
        let whole = verify(&disk, &plain, limits).unwrap();
        let (gzip, _) = convert(&disk, &plain, Compression::Gzip, limits).unwrap();
        let (snappy, _) = convert(&disk, &gzip, Compression::Snappy, limits).unwrap();
        assert_eq!(
            (gzip.path.name.as_str(), snappy.path.name.as_str()),
            ("snapshot.5.gz", "snapshot.5.snappy")
        );
        assert_eq!(verify(&disk, &snappy, limits).unwrap(), whole);
        assert!(convert(&disk, &snappy, Compression::None, limits).is_err(), "it is there");
        disk.unlink(&plain.path).unwrap();
        let (back, _) = convert(&disk, &snappy, Compression::None, limits).unwrap();
        assert_eq!((verify(&disk, &back, limits).unwrap(), back), (whole, plain));
    }
}
