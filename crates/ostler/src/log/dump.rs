//! Printing a log from its beginning, and following one that grows: into the next file, too, when the server begins
//! another.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ostler_store::disk::{Dir, FilePath};
use ostler_store::log::{Entry, Scan};
use ostler_store::names;
use ostler_wire::disk::LOG_MAGIC;

use super::{json, text};
use crate::files::Folder;

/// How often a log that is followed is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How entries are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Text,
    Json,
}

/// Prints a whole log.
pub(super) fn dump(path: &Path, shape: Shape, out: &mut impl Write) -> Result<()> {
    let (folder, file) = Folder::of_file(path, Dir::Log)?;
    let mut scan = open(&folder, &file, shape, out)?;
    let count = drain(&mut scan, shape, out)?;
    if shape == Shape::Text {
        writeln!(out, "EOF reached after {count} txns.")?;
    }
    Ok(())
}

/// Prints what a log holds, or with `from_end` nothing of that, and then what is added, until the process is ended.
pub(super) fn follow(path: &Path, shape: Shape, from_end: bool, out: &mut impl Write) -> Result<()> {
    let (folder, mut file) = if path.is_dir() {
        let folder = Folder::of_data(path);
        let logs = names::logs(&folder)?;
        let newest = logs.last().with_context(|| format!("there is no log in {}", path.display()))?;
        (folder, newest.path.clone())
    } else {
        Folder::of_file(path, Dir::Log)?
    };
    let mut scan = if from_end {
        let mut scan = Scan::open(&folder, &file)?;
        drain(&mut scan, Shape::Text, &mut std::io::sink())?;
        scan
    } else {
        open(&folder, &file, shape, out)?
    };
    loop {
        drain(&mut scan, shape, out)?;
        out.flush()?;
        let position = scan.position();
        // Whatever is added to a log is there before the next one is begun.
        let next = next_log(&folder, &file)?;
        scan = Scan::reopen(&folder, &file, position)?;
        drain(&mut scan, shape, out)?;
        out.flush()?;
        match next {
            Some(next) => {
                file = next;
                scan = open(&folder, &file, shape, out)?;
            }
            None => {
                std::thread::sleep(LOOK_EVERY);
                let position = scan.position();
                scan = Scan::reopen(&folder, &file, position)?;
            }
        }
    }
}

/// Opens a log and says in its first line what it is.
pub(super) fn open(
    folder: &Folder,
    file: &FilePath,
    shape: Shape,
    out: &mut impl Write,
) -> Result<Scan<Folder>> {
    let mut scan = Scan::open(folder, file)?;
    let header = scan.header()?.with_context(|| format!("{} is too short for a log", file.name))?;
    if header.magic != LOG_MAGIC {
        bail!("Invalid magic number for {}", file.name);
    }
    if shape == Shape::Text {
        let (database_id, version) = (header.database_id, header.version);
        writeln!(
            out,
            "ZooKeeper Transactional Log File with dbid {database_id} txnlog format version {version}"
        )?;
    }
    Ok(scan)
}

/// Prints up to the present end; says how many entries.
fn drain(scan: &mut Scan<Folder>, shape: Shape, out: &mut impl Write) -> Result<u64> {
    let mut count = 0;
    loop {
        match scan.read()? {
            Entry::End => return Ok(count),
            Entry::Unreadable { length, .. } if super::reaches_the_end(length) => return Ok(count),
            Entry::Unreadable { offset, length } => {
                bail!("Unreasonable length = {length} at byte {offset}")
            }
            Entry::Record { offset, checksum, computed, bytes, marked } => {
                let right = checksum == computed;
                match shape {
                    Shape::Json => writeln!(out, "{}", json::entry(offset, &bytes, right)?)?,
                    Shape::Text => {
                        let text = text::entry(&bytes)?;
                        if !right {
                            write!(out, "CRC ERROR - {text}")?;
                        }
                        write!(out, "{text}")?;
                    }
                }
                if !marked {
                    bail!("Last transaction was partial.");
                }
                count += 1;
            }
        }
    }
}

fn next_log(folder: &Folder, file: &FilePath) -> Result<Option<FilePath>> {
    let now = names::given_log(file.clone()).zxid;
    Ok(names::logs(folder)?.into_iter().find(|log| log.zxid > now).map(|log| log.path))
}
