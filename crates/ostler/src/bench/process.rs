//! What the operating system says of a server's process and of a disk: CPU time, memory, the time of fdatasync, and
//! when snapshot files grow.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::stats::Latencies;

/// CPU time of a process so far, user and system together.
pub(super) fn cpu_time(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {path}: is there a process {pid} on this machine?"))?;
    let ticks = parse_cpu_ticks(&text).with_context(|| format!("{path} has an unknown form"))?;
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_nanos(ticks * 1_000_000_000 / per_second.max(1)))
}

/// utime and stime, the 14th and 15th field; the second one may contain spaces and parentheses.
fn parse_cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// Resident memory of a process in bytes.
pub(super) fn resident_bytes(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {path}: is there a process {pid} on this machine?"))?;
    parse_resident(&text).with_context(|| format!("{path} has no VmRSS"))
}

fn parse_resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Raises the soft limit of open files as far as is allowed, and says whether `wanted` fit.
pub(super) fn raise_file_limit(wanted: u64) -> Result<()> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit).context("cannot raise the limit of open files")?;
    }
    if limit.current.is_some_and(|current| current < wanted) {
        anyhow::bail!(
            "{wanted} open files are needed, and the limit is {}: raise it (ulimit -Hn)",
            limit.current.unwrap_or_default()
        );
    }
    Ok(())
}

const PROBE_WRITES: usize = 200;
const PROBE_BYTES: usize = 512;

/// How long an append of 512 bytes to an allocated file takes to reach the disk of this directory.
pub(super) fn fsync_probe(dir: &Path) -> Result<Latencies> {
    let path = dir.join(format!(".ostler-bench-fsync-{}", std::process::id()));
    let result = probe_file(&path).with_context(|| format!("cannot measure fdatasync in {}", dir.display()));
    drop(std::fs::remove_file(&path));
    result
}

fn probe_file(path: &Path) -> Result<Latencies> {
    let mut file = File::create_new(path)?;
    file.write_all(&vec![0; PROBE_WRITES * PROBE_BYTES])?;
    file.sync_all()?;
    file.seek(SeekFrom::Start(0))?;
    let mut latencies = Latencies::new();
    for _ in 0..PROBE_WRITES {
        file.write_all(&[1; PROBE_BYTES])?;
        let start = Instant::now();
        file.sync_data()?;
        latencies.record(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    Ok(latencies)
}

const WATCH_INTERVAL: Duration = Duration::from_millis(50);

/// Notes when files with `snapshot` in their name appear or grow in a directory (and one below, `version-2`).
pub(super) struct SnapshotWatch {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<Instant>>>,
    thread: Option<JoinHandle<()>>,
}

impl SnapshotWatch {
    /// Begins to watch.
    pub(super) fn start(dir: &Path) -> Result<Self> {
        let mut sizes = snapshot_sizes(dir).with_context(|| format!("cannot watch {}", dir.display()))?;
        let dir = dir.to_owned();
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (stopped, noted) = (Arc::clone(&stop), Arc::clone(&seen));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                std::thread::sleep(WATCH_INTERVAL);
                // A file that vanished between list and stat is looked at again next time.
                let Ok(now) = snapshot_sizes(&dir) else { continue };
                if now.iter().any(|(path, size)| sizes.get(path).is_none_or(|before| before < size)) {
                    noted.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
                }
                sizes = now;
            }
        });
        Ok(Self { stop, seen, thread: Some(thread) })
    }

    /// Ends; in which seconds after `origin` a snapshot was being written.
    pub(super) fn finish(mut self, origin: Instant) -> BTreeSet<u64> {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter()
            // What is seen now happened up to one interval ago, perhaps in the second before.
            .flat_map(|at| [Some(*at), at.checked_sub(WATCH_INTERVAL)])
            .filter_map(|at| Some(at?.checked_duration_since(origin)?.as_secs()))
            .collect()
    }
}

fn snapshot_sizes(dir: &Path) -> std::io::Result<BTreeMap<PathBuf, u64>> {
    let mut sizes = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    dirs.extend(Some(dir.join("version-2")).filter(|below| below.is_dir()));
    for dir in dirs {
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().contains("snapshot")
                && let Ok(metadata) = entry.metadata()
                && metadata.is_file()
            {
                sizes.insert(entry.path(), metadata.len());
            }
        }
    }
    Ok(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_proc() {
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194560 1 2 3 4 250 50 7 8 20 0 9 0 100 1 2";
        assert_eq!(parse_cpu_ticks(stat), Some(300));
        assert_eq!(parse_resident("Name:\tx\nVmRSS:\t   2048 kB\nVmX: 1 kB\n"), Some(2 << 20));
        assert_eq!(parse_resident("Name:\tx\n"), None);
        assert!(cpu_time(std::process::id()).is_ok());
        assert!(resident_bytes(std::process::id()).unwrap() > 100_000);
    }

    #[test]
    fn snapshots_that_grow_are_noticed() {
        let dir = std::env::temp_dir().join(format!("ostler-bench-test-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("version-2")).unwrap();
        let origin = Instant::now();
        let watch = SnapshotWatch::start(&dir).unwrap();
        std::fs::write(dir.join("version-2/log.1"), b"x").unwrap();
        std::thread::sleep(WATCH_INTERVAL * 3);
        std::fs::write(dir.join("version-2/snapshot.1"), b"x").unwrap();
        std::thread::sleep(WATCH_INTERVAL * 3);
        let seconds = watch.finish(origin);
        assert!(!seconds.is_empty() && seconds.iter().all(|second| *second < 5), "{seconds:?}");
        let watch = SnapshotWatch::start(&dir).unwrap();
        std::thread::sleep(WATCH_INTERVAL * 3);
        assert!(watch.finish(origin).is_empty());
        assert!(fsync_probe(&dir).unwrap().quantiles().count == 200);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
