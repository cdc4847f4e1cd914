//! Where xtask puts things: the target directory, scratch directories that vanish, and free ports.
//!
//! It may assume a Unix machine with a loopback interface. Scratch lives in `/dev/shm` where that exists, so that
//! neither server of a comparison waits for a disk.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

use anyhow::{Context, Result, bail};

/// First port that `free_port` tries; `--port-base` sets it.
static NEXT_PORT: AtomicU16 = AtomicU16::new(21_000);
static SCRATCH_COUNT: AtomicU32 = AtomicU32::new(0);

/// The workspace's metadata, read once.
pub(crate) fn metadata() -> Result<&'static cargo_metadata::Metadata> {
    static METADATA: OnceLock<cargo_metadata::Metadata> = OnceLock::new();
    if let Some(found) = METADATA.get() {
        return Ok(found);
    }
    let read = cargo_metadata::MetadataCommand::new()
        .manifest_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .exec()
        .context("cargo metadata")?;
    Ok(METADATA.get_or_init(|| read))
}

/// The root of the workspace.
pub(crate) fn workspace_root() -> Result<PathBuf> {
    Ok(metadata()?.workspace_root.clone().into_std_path_buf())
}

/// `target/xtask`: downloads and reports that are worth keeping between runs.
pub(crate) fn keep_dir() -> Result<PathBuf> {
    let dir = metadata()?.target_directory.clone().into_std_path_buf().join("xtask");
    std::fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    Ok(dir)
}

/// Sets the first port that servers started by this run may use.
pub(crate) fn set_port_base(base: u16) {
    NEXT_PORT.store(base, Ordering::Relaxed);
}

/// A port on the loopback interface that nobody listens on now.
pub(crate) fn free_port() -> Result<u16> {
    for _ in 0..2_000 {
        let port = NEXT_PORT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port found on the loopback interface")
}

/// A directory that is removed when the value is dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes an empty directory whose name starts with `label`.
    pub(crate) fn new(label: &str) -> Result<Self> {
        let shm = Path::new("/dev/shm");
        let base = if shm.is_dir() { shm.to_path_buf() } else { std::env::temp_dir() };
        let count = SCRATCH_COUNT.fetch_add(1, Ordering::Relaxed);
        let path = base.join(format!("ostler-{label}-{}-{count}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(Self { path })
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
