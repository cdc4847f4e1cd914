//! A copy of a log with its checksums put right, and a copy that ends at a zxid. The original stays as it is: what is
//! taken from where is for a person to decide. Answers to the recovery and chop modes of Java's `TxnLogToolkit`.

use std::io::{BufRead, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use ostler_store::disk::{Dir, Disk, FilePath};
use ostler_store::log::{Entry, Header};
use ostler_wire::disk::END_OF_RECORD;
use ostler_wire::txn::TxnEntry;
use ostler_wire::{Zxid, jute::Writer as _};

use super::dump::{self, Shape};
use super::text;
use crate::files::Folder;

/// Records are gathered up to so many bytes before they are written.
const PIECE: usize = 256 << 10;

/// What a repair is to do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice {
    /// Do not ask.
    pub(super) yes: bool,
    /// Print every entry.
    pub(super) verbose: bool,
}

/// Why a repair stopped without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Written,
    Aborted,
}

/// Writes `<log>.fixed`, with every wrong checksum put right that the answers, or `yes`, allow.
pub(super) fn repair(
    path: &Path,
    choice: Choice,
    answers: &mut impl BufRead,
    out: &mut impl Write,
) -> Result<Outcome> {
    let (folder, file) = Folder::of_file(path, Dir::Log)?;
    let fixed = FilePath::new(Dir::Log, format!("{}.fixed", file.name));
    let shown = format!("{}.fixed", path.display());
    if folder.exists(&fixed)? {
        bail!("Recovery file {shown} already exists or not writable");
    }
    let mut scan = dump::open(&folder, &file, Shape::Text, out)?;
    let mut copy = Copy::create(folder, &fixed, scan.header()?.context("it was there")?)?;
    let (mut fixes, mut count) = (0_u64, 0_u64);
    loop {
        match scan.read()? {
            Entry::End => break,
            Entry::Unreadable { length, .. } if super::reaches_the_end(length) => break,
            Entry::Unreadable { offset, length } => bail!("Unreasonable length = {length} at byte {offset}"),
            Entry::Record { checksum, computed, bytes, marked, .. } => {
                let text = text::entry(&bytes)?;
                let mut keep = checksum;
                if checksum != computed && choice.yes {
                    write!(out, "CRC FIXED - {text}")?;
                    keep = computed;
                } else if checksum != computed {
                    write!(out, "CRC ERROR - {text}")?;
                    match ask(answers, out)? {
                        Answer::Yes => keep = computed,
                        Answer::No => {}
                        Answer::Abort => return Ok(Outcome::Aborted),
                    }
                }
                fixes += u64::from(keep != checksum);
                if choice.verbose {
                    write!(out, "{text}")?;
                }
                if !marked {
                    bail!("Last transaction was partial.");
                }
                copy.put(keep, &bytes)?;
                count += 1;
            }
        }
    }
    copy.finish()?;
    writeln!(out, "EOF reached after {count} txns.")?;
    writeln!(out, "Recovery file {shown} has been written with {fixes} fixed CRC error(s)")?;
    Ok(Outcome::Written)
}

/// Writes `<log>.chopped<zxid>` with everything up to this zxid. Says whether anything is behind it: if nothing is,
/// there was nothing to be cut off.
pub(super) fn chop(path: &Path, zxid: Zxid, out: &mut impl Write) -> Result<bool> {
    let (folder, file) = Folder::of_file(path, Dir::Log)?;
    let target = FilePath::new(Dir::Log, format!("{}.chopped{}", file.name, zxid.0));
    let mut scan = dump::open(&folder, &file, Shape::Text, out)?;
    if folder.exists(&target)? {
        folder.unlink(&target)?;
    }
    let mut copy = Copy::create(folder, &target, scan.header()?.context("it was there")?)?;
    let (mut count, mut found, mut before) = (0_u64, false, None);
    loop {
        let Entry::Record { checksum, computed, bytes, marked, .. } = scan.read()? else {
            copy.finish()?;
            writeln!(out, "EOF reached after {count} txns.")?;
            return Ok(false);
        };
        if checksum != computed {
            copy.finish()?;
            bail!("CRC doesn't match {checksum} vs {computed}");
        }
        let this = TxnEntry::decode(&bytes)?.header.zxid;
        if !marked {
            writeln!(out, "Last transaction was partial.")?;
            bail!("Last transaction was partial.");
        }
        found |= this == zxid;
        if let Some(before) = before {
            note_gap(before, this, out)?;
        }
        before = Some(this);
        if this > zxid {
            if count == 0 || !found {
                writeln!(out, "This log does not contain zxid {:x}", zxid.0)?;
                copy.finish()?;
                return Ok(false);
            }
            writeln!(out, "Chopping at {:x} new log has {count} records", zxid.0)?;
            copy.finish()?;
            return Ok(true);
        }
        copy.put(checksum, &bytes)?;
        count += 1;
    }
}

fn note_gap(before: Zxid, this: Zxid, out: &mut impl Write) -> Result<()> {
    if this.0 == before.0.wrapping_add(1) {
        return Ok(());
    }
    let counter = this.0 & 0xffff_ffff;
    if this.0 >> 32 == before.0 >> 32 {
        writeln!(out, "There is intra-epoch gap between {:x} and {:x}", before.0, this.0)?;
    } else if counter != 1 {
        writeln!(out, "There is inter-epoch gap between {:x} and {:x}", before.0, this.0)?;
    }
    Ok(())
}

enum Answer {
    Yes,
    No,
    Abort,
}

fn ask(answers: &mut impl BufRead, out: &mut impl Write) -> Result<Answer> {
    loop {
        write!(out, "Would you like to fix it (Yes/No/Abort) ? ")?;
        out.flush()?;
        let mut line = String::new();
        if answers.read_line(&mut line)? == 0 {
            bail!("no answer: run it on a terminal, or with -y");
        }
        match line.trim().chars().next().map(|letter| letter.to_ascii_uppercase()) {
            Some('Y') => return Ok(Answer::Yes),
            Some('N') => return Ok(Answer::No),
            Some('A') => return Ok(Answer::Abort),
            _ => {}
        }
    }
}

/// A log that is being written.
struct Copy {
    folder: Folder,
    file: crate::files::Shown,
    buffer: Vec<u8>,
    written: u64,
}

impl Copy {
    fn create(folder: Folder, target: &FilePath, header: Header) -> Result<Self> {
        let file = folder.create(target)?;
        let mut buffer = header.magic.to_vec();
        buffer.put_int(header.version);
        buffer.put_long(header.database_id);
        Ok(Self { folder, file, buffer, written: 0 })
    }

    fn put(&mut self, checksum: i64, bytes: &[u8]) -> Result<()> {
        self.buffer.put_long(checksum);
        self.buffer.put_buffer(Some(bytes));
        self.buffer.push(END_OF_RECORD);
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        self.flush()?;
        self.folder.sync(&self.file)?;
        self.folder.sync_dir(Dir::Log)?;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.folder.write_at(&self.file, self.written, &self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}
