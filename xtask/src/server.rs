//! A running server of either kind, Apache's or ours, behind one handle.
//!
//! Both kinds get the same `zoo.cfg`; JVM flags go to Java's command line and to Ostler's `SERVER_JVMFLAGS`. A server
//! is ready when the word `srvr` is answered, and is stopped by SIGTERM, then SIGKILL, when the handle is dropped.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::apache::Apache;
use crate::scratch;

/// Which program serves.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// Apache ZooKeeper from its jars.
    Apache(Apache),
    /// The binary built from this workspace, with a number of lanes.
    Ostler {
        /// Path of the executable.
        binary: PathBuf,
        /// Value of the key `lanes`.
        lanes: u32,
    },
}

impl Kind {
    /// A short name for reports.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Apache(apache) => format!("Apache {}", apache.version()),
            Self::Ostler { lanes, .. } => format!("Ostler (lanes={lanes})"),
        }
    }
}

/// A binary that takes the place of a build; `--ostler` sets it.
static READY_MADE: OnceLock<PathBuf> = OnceLock::new();

/// Names a binary to use instead of building one.
pub(crate) fn set_ostler(binary: PathBuf) {
    let _ = READY_MADE.set(binary);
}

/// Builds the release binary and says where it is.
pub(crate) fn build_ostler() -> Result<PathBuf> {
    if let Some(binary) = READY_MADE.get() {
        return binary.canonicalize().with_context(|| format!("look for {}", binary.display()));
    }
    eprintln!("building ostler (release)");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet", "-p", "ostler"])
        .current_dir(scratch::workspace_root()?)
        .status()
        .context("run cargo build")?;
    ensure!(status.success(), "cargo build --release -p ostler failed");
    let binary = scratch::metadata()?.target_directory.join("release").join("ostler").into_std_path_buf();
    ensure!(binary.exists(), "cargo built no {}", binary.display());
    Ok(binary)
}

/// What a server is started with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Setup {
    /// Lines of `zoo.cfg` besides dataDir, clientPort and clientPortAddress.
    pub(crate) config: Vec<String>,
    /// JVM flags, `-Dkey=value`.
    pub(crate) jvm_flags: Vec<String>,
    /// JVM flags for Java alone.
    pub(crate) java_flags: Vec<String>,
    /// Where the followers of an ensemble take observers; then each member has an address of its own.
    pub(crate) observer_master_port: Option<u16>,
}

/// One server process.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    name: String,
    log: PathBuf,
}

impl Server {
    /// Starts a server on a data directory below `home` and waits until it serves.
    pub(crate) fn start(kind: &Kind, setup: &Setup, home: &Path) -> Result<Self> {
        let mut server = Self::launch(kind, setup, home)?;
        server.await_ready(Duration::from_secs(60))?;
        Ok(server)
    }

    /// Starts a server and returns at once; `await_ready` must follow before use.
    pub(crate) fn launch(kind: &Kind, setup: &Setup, home: &Path) -> Result<Self> {
        let data = home.join("data");
        std::fs::create_dir_all(&data).with_context(|| format!("create {}", data.display()))?;
        let port = scratch::free_port()?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut text =
            format!("dataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\n", data.display());
        for line in &setup.config {
            text.push_str(line);
            text.push('\n');
        }
        let conf = home.join("zoo.cfg");
        let mut command = match kind {
            Kind::Apache(apache) => apache.server_command(&conf, &setup.jvm_flags),
            Kind::Ostler { binary, lanes } => {
                text.push_str(&format!("lanes={lanes}\n"));
                let mut command = Command::new(binary);
                command.arg("server").arg(&conf).env("SERVER_JVMFLAGS", setup.jvm_flags.join(" "));
                command
            }
        };
        std::fs::write(&conf, text).with_context(|| format!("write {}", conf.display()))?;
        let log = home.join("server.log");
        let out = File::options().create(true).append(true).open(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .current_dir(home)
            .spawn()
            .with_context(|| format!("start {} ({:?})", kind.name(), command.get_program()))?;
        Ok(Self { child, address, name: kind.name(), log })
    }

    /// Waits until the word `srvr` is answered by a serving server.
    pub(crate) fn await_ready(&mut self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status} before it served; its log:\n{}", self.name, self.log_tail());
            }
            if let Ok(answer) = four_letter_word(self.address, "srvr")
                && answer.contains("Mode: ")
            {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{} did not serve within {limit:?}; its log:\n{}", self.name, self.log_tail());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The kind's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The last lines that the server wrote to its output.
    pub(crate) fn log_tail(&self) -> String {
        let text = std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let text = text.unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }

    /// `Some` once the process has ended.
    pub(crate) fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends SIGTERM and waits for the end; an error if it takes longer than 20 s.
    pub(crate) fn stop(mut self) -> Result<ExitStatus> {
        self.terminate();
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(Instant::now() < deadline, "{} did not stop within 20 s of SIGTERM", self.name);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn terminate(&self) {
        // `kill` by id: std has no SIGTERM, and a crate only for this would be one crate too many.
        let _ = Command::new("kill").arg(self.child.id().to_string()).stderr(Stdio::null()).status();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Sends a four-letter word and returns the whole answer.
pub(crate) fn four_letter_word(address: SocketAddr, word: &str) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(word.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
