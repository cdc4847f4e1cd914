//! `ostler cleanup`: removes old snapshots and the logs that nobody needs any more. Answers to Java's `PurgeTxnLog`,
//! which `zkCleanup.sh` runs; other than that a snapshot counts only when it was read whole.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args as ClapArgs;
use ostler_store::disk::{Dir, Disk, DiskResult, FilePath};
use ostler_store::purge;
use ostler_store::snapshot::Limits;

use crate::files::{Folder, Shown};
use crate::java::dates;

/// Remove old snapshots and logs, as zkCleanup.sh does.
#[derive(ClapArgs)]
#[command(after_help = "\
Examples:
  ostler cleanup /var/lib/zookeeper -n 3                  keep the newest three snapshots
  ostler cleanup /var/log/zookeeper /var/lib/zookeeper -n 5
                                                          logs and snapshots in two directories
  ostler cleanup --dry-run /var/lib/zookeeper -n 3        only say what would go")]
pub(crate) struct Args {
    /// dataLogDir, or dataDir if they are one
    data_log_dir: PathBuf,
    /// dataDir, if it is another
    snap_dir: Option<PathBuf>,
    /// How many snapshots to keep, 3 or more
    #[arg(short = 'n', value_name = "COUNT")]
    count: usize,
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    match clean(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn clean(args: &Args) -> Result<()> {
    if args.count < purge::MIN_RETAIN {
        bail!("count should be greater than or equal to 3");
    }
    let snap_dir = args.snap_dir.as_deref().unwrap_or(&args.data_log_dir);
    for dir in [&*args.data_log_dir, snap_dir] {
        if !dir.exists() {
            bail!("Path '{}' does not exist. ", dir.display());
        }
    }
    let disk = TwoFolders { logs: folder(&args.data_log_dir), snapshots: folder(snap_dir) };
    let plan = purge::Purge::default().plan(&disk, args.count, Limits::default())?;
    if plan.is_empty() {
        return Ok(());
    }
    for file in plan.superseded.iter().chain(&plan.snapshots).chain(&plan.logs) {
        let path = disk.of(file.dir).path(file);
        let modified = std::fs::metadata(&path).and_then(|metadata| metadata.modified()).ok();
        let time = modified
            .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
            .and_then(|since| i64::try_from(since.as_millis()).ok())
            .map_or_else(String::new, dates::medium);
        println!(
            "{} file: {time}\t{}",
            if args.dry_run { "Would remove" } else { "Removing" },
            path.display()
        );
    }
    if !args.dry_run {
        plan.run(&disk)?;
    }
    Ok(())
}

fn folder(dir: &Path) -> Folder {
    Folder::of_data(dir)
}

/// Logs in one directory, snapshots in another, or in the same.
#[derive(Debug, Clone)]
struct TwoFolders {
    logs: Folder,
    snapshots: Folder,
}

impl TwoFolders {
    fn of(&self, dir: Dir) -> &Folder {
        match dir {
            Dir::Log | Dir::LogParent => &self.logs,
            Dir::Snap | Dir::SnapParent => &self.snapshots,
        }
    }
}

impl Disk for TwoFolders {
    type File = Shown;

    fn is_one_directory(&self) -> bool {
        false
    }

    fn show(&self, path: &FilePath) -> String {
        self.of(path.dir).show(path)
    }

    fn list(&self, dir: Dir) -> DiskResult<Vec<String>> {
        self.of(dir).list(dir)
    }

    fn open(&self, path: &FilePath) -> DiskResult<Shown> {
        self.of(path.dir).open(path)
    }

    fn open_for_write(&self, path: &FilePath) -> DiskResult<Shown> {
        self.of(path.dir).open_for_write(path)
    }

    fn length(&self, file: &Shown) -> DiskResult<u64> {
        self.logs.length(file)
    }

    fn read_at(&self, file: &Shown, offset: u64, buffer: &mut [u8]) -> DiskResult<usize> {
        self.logs.read_at(file, offset, buffer)
    }

    fn create(&self, path: &FilePath) -> DiskResult<Shown> {
        self.of(path.dir).create(path)
    }

    fn write_at(&self, file: &Shown, offset: u64, bytes: &[u8]) -> DiskResult<()> {
        self.logs.write_at(file, offset, bytes)
    }

    fn allocate(&self, file: &Shown, offset: u64, len: u64) -> DiskResult<()> {
        self.logs.allocate(file, offset, len)
    }

    fn truncate(&self, file: &Shown, len: u64) -> DiskResult<()> {
        self.logs.truncate(file, len)
    }

    fn sync_data(&self, file: &Shown) -> DiskResult<()> {
        self.logs.sync_data(file)
    }

    fn sync(&self, file: &Shown) -> DiskResult<()> {
        self.logs.sync(file)
    }

    fn rename(&self, from: &FilePath, to: &str) -> DiskResult<()> {
        self.of(from.dir).rename(from, to)
    }

    fn unlink(&self, path: &FilePath) -> DiskResult<()> {
        self.of(path.dir).unlink(path)
    }

    fn sync_dir(&self, dir: Dir) -> DiskResult<()> {
        self.of(dir).sync_dir(dir)
    }

    fn create_dir(&self, dir: Dir) -> DiskResult<()> {
        self.of(dir).create_dir(dir)
    }
}
