//! Checking logs as a server reads them at its start: checksums, marks, what can be decoded, what the end means, and
//! whether zxids go on without a gap from one log to the next.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use ostler_store::disk::Dir;
use ostler_store::log::{End, LogReader};
use ostler_store::names::{self, Named};
use ostler_store::replay::follows;
use ostler_wire::Zxid;
use ostler_wire::txn::TxnEntry;
use serde_json::json;

use crate::files::Folder;

/// Checks logs, or all those of directories. Says whether everything is right.
pub(super) fn verify(paths: &[PathBuf], as_json: bool) -> Result<bool> {
    let mut right = true;
    for path in paths {
        let (folder, logs) = logs_of(path)?;
        let mut last = None;
        for log in logs {
            let report = check(&folder, &log, last);
            right &= report.is_right();
            last = report.last.or(last);
            if as_json {
                println!("{}", report.json());
            } else {
                println!("{}", report.text());
            }
        }
    }
    Ok(right)
}

fn logs_of(path: &Path) -> Result<(Folder, Vec<Named>)> {
    if !path.is_dir() {
        let (folder, file) = Folder::of_file(path, Dir::Log)?;
        return Ok((folder, vec![names::given_log(file)]));
    }
    let folder = Folder::of_data(path);
    let logs = names::logs(&folder)?;
    if logs.is_empty() {
        bail!("there is no transaction log in {}", path.display());
    }
    Ok((folder, logs))
}

/// What was found in one log.
struct Report {
    file: String,
    records: u64,
    first: Option<Zxid>,
    last: Option<Zxid>,
    end: Option<End>,
    gaps: Vec<(Zxid, Zxid)>,
    problem: Option<String>,
}

fn check(folder: &Folder, log: &Named, before: Option<Zxid>) -> Report {
    let mut report = Report {
        file: folder.path(&log.path).display().to_string(),
        records: 0,
        first: None,
        last: None,
        end: None,
        gaps: Vec::new(),
        problem: None,
    };
    if let Err(error) = read(folder, log, before, &mut report) {
        report.problem = Some(format!("{error:#}"));
    }
    report
}

fn read(folder: &Folder, log: &Named, before: Option<Zxid>, report: &mut Report) -> Result<()> {
    let mut reader = LogReader::open(folder, log)?;
    let mut last = before;
    while let Some(record) = reader.read()? {
        TxnEntry::decode(&record.bytes)?;
        match last {
            Some(last) if record.zxid <= last => {
                bail!("zxid 0x{:x} at byte {} comes after 0x{:x}", record.zxid.0, record.offset, last.0);
            }
            Some(last) if !follows(last, record.zxid) => report.gaps.push((last, record.zxid)),
            _ => {}
        }
        report.records += 1;
        report.first.get_or_insert(record.zxid);
        report.last = Some(record.zxid);
        last = report.last;
    }
    report.end = reader.end();
    Ok(())
}

impl Report {
    fn is_right(&self) -> bool {
        self.problem.is_none() && self.gaps.is_empty()
    }

    fn end(&self) -> String {
        match self.end {
            None => "unknown".to_owned(),
            Some(End::Clean) => "clean".to_owned(),
            Some(End::Torn(what)) => {
                format!("torn by a crash, nothing that was acknowledged is lost ({what})")
            }
            Some(End::NoHeader) => "a log without a header, as a crash leaves it".to_owned(),
        }
    }

    fn text(&self) -> String {
        let mut text = format!("{}: {} records", self.file, self.records);
        if let (Some(first), Some(last)) = (self.first, self.last) {
            text.push_str(&format!(", zxid 0x{:x} to 0x{:x}", first.0, last.0));
        }
        if self.end.is_some() {
            text.push_str(&format!(", end: {}", self.end()));
        }
        for (last, next) in &self.gaps {
            text.push_str(&format!("\n  GAP: 0x{:x} is followed by 0x{:x}", last.0, next.0));
        }
        match &self.problem {
            Some(problem) => text.push_str(&format!("\n  DAMAGED: {problem}")),
            None if self.gaps.is_empty() => text.push_str("\n  OK"),
            None => {}
        }
        text
    }

    fn json(&self) -> serde_json::Value {
        let hex = |zxid: Zxid| format!("0x{:x}", zxid.0);
        json!({
            "file": self.file,
            "ok": self.is_right(),
            "records": self.records,
            "firstZxid": self.first.map(hex),
            "lastZxid": self.last.map(hex),
            "end": self.end(),
            "gaps": self.gaps.iter().map(|(last, next)| json!([hex(*last), hex(*next)])).collect::<Vec<_>>(),
            "problem": self.problem,
        })
    }
}
