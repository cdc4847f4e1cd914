//! The names of logs and snapshots, read as Java reads them: split at the dots, the second part is the zxid in
//! hex, later parts do not matter except that the last one names the compression. Answers to Java's `Util`.

use ostler_wire::Zxid;

use crate::disk::{Dir, Disk, DiskResult, FilePath};

const LOG: &str = "log";
const SNAPSHOT: &str = "snapshot";
/// How our unfinished files begin. Java takes any name that begins with `snapshot.` for a snapshot, whatever comes
/// after it, so the mark stands in front.
const TEMPORARY: &str = "ostler-tmp.";
/// How the names of files begin that are not part of the history any more; in front for the same reason.
const SUPERSEDED: &str = "superseded.";

/// How a snapshot is compressed; its name says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// `.gz`.
    Gzip,
    /// `.snappy`, in the framing of snappy-java.
    Snappy,
}

impl Compression {
    /// What a name ends with.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Snappy => ".snappy",
        }
    }

    /// What the last part of a name says.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        match name.rsplit('.').next() {
            Some("gz") => Self::Gzip,
            Some("snappy") => Self::Snappy,
            _ => Self::None,
        }
    }
}

/// A log or a snapshot and the zxid in its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The file.
    pub path: FilePath,
    /// The zxid in its name.
    pub zxid: Zxid,
    /// How it is compressed.
    pub compression: Compression,
}

/// A log that was named by hand; its zxid is -1 if the name does not tell.
#[must_use]
pub fn given_log(path: FilePath) -> Named {
    given(path, LOG)
}

/// A snapshot that was named by hand; its zxid is -1 if the name does not tell.
#[must_use]
pub fn given_snapshot(path: FilePath) -> Named {
    given(path, SNAPSHOT)
}

fn given(path: FilePath, prefix: &str) -> Named {
    let zxid = zxid_of(&path.name, prefix).unwrap_or(Zxid(-1));
    let compression = Compression::of_name(&path.name);
    Named { path, zxid, compression }
}

/// The name of the log that begins with this zxid.
#[must_use]
pub fn log_name(zxid: Zxid) -> String {
    format!("{LOG}.{:x}", zxid.0)
}

/// The name of the snapshot that begins at this zxid.
#[must_use]
pub fn snapshot_name(zxid: Zxid, compression: Compression) -> String {
    format!("{SNAPSHOT}.{:x}{}", zxid.0, compression.suffix())
}

/// The name of a file that is being written.
#[must_use]
pub fn temporary_name(name: &str) -> String {
    format!("{TEMPORARY}{name}")
}

/// Whether a file was being written when its writer died.
#[must_use]
pub fn is_temporary(name: &str) -> bool {
    name.starts_with(TEMPORARY)
}

/// The name of a file that was put aside: neither Java nor we read it as a log or a snapshot.
#[must_use]
pub fn superseded_name(name: &str) -> String {
    format!("{SUPERSEDED}{name}")
}

/// The files that were put aside.
pub fn superseded<D: Disk>(disk: &D) -> DiskResult<Vec<FilePath>> {
    let mut found = Vec::new();
    for (dir, prefix) in [(Dir::Snap, SNAPSHOT), (Dir::Log, LOG)] {
        let of_kind =
            |name: &String| name.strip_prefix(SUPERSEDED).is_some_and(|name| zxid_of(name, prefix).is_some());
        found.extend(disk.list(dir)?.into_iter().filter(of_kind).map(|name| FilePath::new(dir, name)));
    }
    Ok(found)
}

/// Whether Java takes this name for a log when it looks for misplaced files.
#[must_use]
pub fn looks_like_log(name: &str) -> bool {
    name.starts_with("log.")
}

/// Whether Java takes this name for a snapshot when it looks for misplaced files.
#[must_use]
pub fn looks_like_snapshot(name: &str) -> bool {
    name.starts_with("snapshot.")
}

/// The logs, ascending. Names without a zxid are left out, as in Java.
pub fn logs<D: Disk>(disk: &D) -> DiskResult<Vec<Named>> {
    named(disk, Dir::Log, LOG)
}

/// The snapshots, ascending.
pub fn snapshots<D: Disk>(disk: &D) -> DiskResult<Vec<Named>> {
    named(disk, Dir::Snap, SNAPSHOT)
}

fn named<D: Disk>(disk: &D, dir: Dir, prefix: &str) -> DiskResult<Vec<Named>> {
    let mut found: Vec<Named> = disk
        .list(dir)?
        .into_iter()
        .filter_map(|name| {
            let zxid = zxid_of(&name, prefix)?;
            let compression = Compression::of_name(&name);
            Some(Named { path: FilePath::new(dir, name), zxid, compression })
        })
        .collect();
    found.sort_by(|a, b| (a.zxid, &a.path.name).cmp(&(b.zxid, &b.path.name)));
    Ok(found)
}

/// The zxid in a name, if it is one of this kind.
fn zxid_of(name: &str, prefix: &str) -> Option<Zxid> {
    let mut parts = name.split('.');
    if parts.next() != Some(prefix) {
        return None;
    }
    let hex = parts.next()?;
    // Java reads a signed number and ignores negative ones.
    let zxid = i64::from_str_radix(hex, 16).ok()?;
    (zxid >= 0).then_some(Zxid(zxid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_java_reads_them() {
        for (name, zxid) in [
            ("log.1", Some(1)),
            ("log.FF", Some(255)),
            ("log.5.bak", Some(5)),
            ("log.100000001", Some(0x1_0000_0001)),
            ("log.xyz", None),
            ("log.", None),
            ("log", None),
            ("log.-1", None),
            ("log.ffffffffffffffff", None),
            ("snapshot.1", None),
            ("xlog.1", None),
        ] {
            assert_eq!(zxid_of(name, LOG), zxid.map(Zxid), "{name}");
        }
        assert_eq!(zxid_of("snapshot.5.tmp", SNAPSHOT), Some(Zxid(5)));
    }

    #[test]
    fn what_is_being_written_is_no_snapshot() {
        let name = temporary_name(&snapshot_name(Zxid(5), Compression::Gzip));
        assert_eq!(zxid_of(&name, SNAPSHOT), None);
        assert!(is_temporary(&name) && !looks_like_snapshot(&name));
    }

    #[test]
    fn what_was_put_aside_is_neither() {
        let (log, snapshot) = (superseded_name("log.5"), superseded_name("snapshot.5.gz"));
        assert_eq!((zxid_of(&log, LOG), zxid_of(&snapshot, SNAPSHOT)), (None, None));
        assert!(!looks_like_log(&log) && !looks_like_snapshot(&snapshot));
    }

    #[test]
    fn the_last_part_names_the_compression() {
        assert_eq!(Compression::of_name("snapshot.5.gz"), Compression::Gzip);
        assert_eq!(Compression::of_name("snapshot.5.snappy"), Compression::Snappy);
        assert_eq!(Compression::of_name("snapshot.5"), Compression::None);
    }
}
