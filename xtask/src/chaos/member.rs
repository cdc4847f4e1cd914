//! One server of a round: a process in its own network namespace, with its data on a file system of its own in an
//! image file, so that its disk can fill up and its power can fail.
//!
//! A power cut is the ioctl SHUTDOWN of ext4 without a flush of the journal: from that moment nothing reaches the
//! disk, and what was not synced is gone when the file system is mounted again, with files and renames that had no
//! sync of their directory. The process is killed after it, so it cannot write what a dead machine would not.

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::net::{Net, server_address};
use crate::server::{Kind, four_letter_word};

/// Where servers listen for clients, and for one another.
pub(super) const CLIENT_PORT: u16 = 2181;
const QUORUM_PORT: u16 = 2888;
const ELECTION_PORT: u16 = 3888;
/// The milliseconds of a tick; sessions live for 2 to 20 of them.
pub(super) const TICK_MS: u64 = 500;
const IMAGE_BYTES: u64 = 96 << 20;
/// What a line of the log begins with before each start.
const START: &str = "==== start: ";

/// A server.
#[derive(Debug)]
pub(super) struct Member {
    /// From 0; `myid` is one more.
    pub(super) place: usize,
    /// Which program serves.
    pub(super) kind: Kind,
    /// It is stopped by SIGSTOP.
    pub(super) is_paused: bool,
    /// Its disk was filled since it was started: it may end by itself.
    pub(super) was_full: bool,
    /// Lines of `zoo.cfg` besides the usual ones.
    config: String,
    home: PathBuf,
    child: Option<Child>,
    is_mounted: bool,
}

/// What a member says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// It leads.
    pub(super) leads: bool,
    /// The newest transaction it has applied.
    pub(super) zxid: i64,
}

impl Member {
    /// Makes the disk. Nothing is started.
    pub(super) fn new(place: usize, kind: Kind, config: &str, round: &Path) -> Result<Self> {
        let home = round.join(format!("member-{}", place + 1));
        std::fs::create_dir_all(home.join("disk"))?;
        File::create(home.join("disk.img"))?.set_len(IMAGE_BYTES)?;
        let image = home.join("disk.img").display().to_string();
        run("mkfs.ext4", &["-q", "-F", "-m", "0", "-J", "size=4", &image])?;
        let mut member = Self {
            place,
            kind,
            is_paused: false,
            was_full: false,
            config: config.to_owned(),
            home,
            child: None,
            is_mounted: false,
        };
        member.mount()?;
        std::fs::create_dir(member.data())?;
        std::fs::write(member.data().join("myid"), format!("{}\n", place + 1))?;
        File::open(member.data().join("myid"))?.sync_all()?;
        File::open(member.data())?.sync_all()?;
        run("sync", &["-f", &member.home.join("disk").display().to_string()])?;
        Ok(member)
    }

    /// True for our own server.
    pub(super) fn is_ostler(&self) -> bool {
        matches!(self.kind, Kind::Ostler { .. })
    }

    /// Where clients connect.
    pub(super) fn address(&self) -> SocketAddr {
        SocketAddr::from((server_address(self.place), CLIENT_PORT))
    }

    /// `dataDir`.
    pub(super) fn data(&self) -> PathBuf {
        self.home.join("disk/data")
    }

    fn log(&self) -> PathBuf {
        self.home.join("server.log")
    }

    /// What the server said.
    pub(super) fn log_text(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(self.log())?).into_owned())
    }

    /// What it said since it was started last.
    pub(super) fn log_since_start(&self) -> Result<String> {
        let log = self.log_text()?;
        Ok(log.rsplit_once(START).map_or(log.as_str(), |(_, since)| since).to_owned())
    }

    /// True while there is a process.
    pub(super) fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Starts the process and returns at once.
    pub(super) fn start(&mut self, servers: usize, net: &Net) -> Result<()> {
        ensure!(self.child.is_none(), "member {} runs already", self.place + 1);
        self.mount()?;
        let address = server_address(self.place);
        let mut text = format!(
            "dataDir={}\nclientPort={CLIENT_PORT}\nclientPortAddress={address}\ntickTime={TICK_MS}\ninitLimit=10\n\
             syncLimit=4\nsnapCount=600\npreAllocSize=64\ncnxTimeout=1000\nmaxClientCnxns=0\n\
             admin.enableServer=false\n4lw.commands.whitelist=*\n{}",
            self.data().display(),
            self.config
        );
        for server in 0..servers {
            text.push_str(&format!(
                "server.{}={}:{QUORUM_PORT}:{ELECTION_PORT}\n",
                server + 1,
                server_address(server)
            ));
        }
        let conf = self.home.join("zoo.cfg");
        let plain = match &self.kind {
            Kind::Apache(apache) => apache.server_command(&conf, &[]),
            Kind::Ostler { binary, lanes } => {
                text.push_str(&format!("lanes={lanes}\n"));
                let mut command = Command::new(binary);
                command.arg("server").arg(&conf);
                command
            }
        };
        std::fs::write(&conf, text)?;
        let mut out = File::options().create(true).append(true).open(self.log())?;
        writeln!(out, "{START}{} as member {}", self.kind.name(), self.place + 1)?;
        let program = plain.get_program().to_string_lossy().into_owned();
        let child = net
            .command(self.place, &program)
            .args(plain.get_args())
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .current_dir(&self.home)
            .spawn()
            .with_context(|| format!("start {program}"))?;
        self.child = Some(child);
        self.was_full = false;
        Ok(())
    }

    /// SIGKILL, and waits for the end.
    pub(super) fn kill(&mut self) -> Result<()> {
        self.is_paused = false;
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// The power fails: what was not synced is gone.
    pub(super) fn cut_power(&mut self) -> Result<()> {
        run("xfs_io", &["-x", "-c", "shutdown", &self.home.join("disk").display().to_string()])?;
        self.kill()?;
        self.unmount()
    }

    /// SIGSTOP.
    pub(super) fn pause(&mut self) -> Result<()> {
        self.is_paused = true;
        self.signal("STOP")
    }

    /// SIGCONT.
    pub(super) fn resume(&mut self) -> Result<()> {
        if std::mem::take(&mut self.is_paused) { self.signal("CONT") } else { Ok(()) }
    }

    /// Leaves no byte free on the disk.
    pub(super) fn fill_disk(&mut self) -> Result<()> {
        self.was_full = true;
        let path = self.home.join("disk/filler");
        let mut file = File::create(&path)?;
        let mut size = IMAGE_BYTES;
        // As much as one extent may hold, then ever less.
        while size >= 4096 {
            let _ = Command::new("fallocate")
                .args(["-l", &size.to_string(), &format!("{}-{size}", path.display())])
                .stderr(Stdio::null())
                .status();
            size /= 2;
        }
        while file.write_all(&[7; 4096]).and_then(|()| file.sync_data()).is_ok() {}
        Ok(())
    }

    /// Gives the space back.
    pub(super) fn empty_disk(&mut self) -> Result<()> {
        for entry in std::fs::read_dir(self.home.join("disk"))? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("filler")) {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// How the process ended, if it did so by itself; it counts as stopped from then on.
    pub(super) fn has_ended(&mut self) -> Result<Option<ExitStatus>> {
        let Some(child) = &mut self.child else { return Ok(None) };
        let status = child.try_wait()?;
        if status.is_some() {
            self.child = None;
            self.is_paused = false;
        }
        Ok(status)
    }

    /// What it says of itself; `None` while it does not serve.
    pub(super) fn standing(&self) -> Option<Standing> {
        if self.child.is_none() || self.is_paused {
            return None;
        }
        let answer = four_letter_word(self.address(), "srvr").ok()?;
        let mode = answer.lines().find_map(|line| line.strip_prefix("Mode: "))?;
        let zxid = answer.lines().find_map(|line| line.strip_prefix("Zxid: 0x"))?;
        Some(Standing { leads: mode == "leader", zxid: i64::from_str_radix(zxid.trim(), 16).ok()? })
    }

    /// A line of `mntr`.
    pub(super) fn metric(&self, name: &str) -> Option<f64> {
        let text = four_letter_word(self.address(), "mntr").ok()?;
        let line = text.lines().find(|line| line.split('\t').next() == Some(name))?;
        line.split('\t').nth(1)?.trim().parse().ok()
    }

    fn signal(&self, name: &str) -> Result<()> {
        match &self.child {
            Some(child) => run("kill", &[&format!("-{name}"), &child.id().to_string()]),
            None => Ok(()),
        }
    }

    fn mount(&mut self) -> Result<()> {
        if !self.is_mounted {
            let (image, disk) = (self.home.join("disk.img"), self.home.join("disk"));
            run("mount", &["-o", "loop", &image.display().to_string(), &disk.display().to_string()])?;
            self.is_mounted = true;
        }
        Ok(())
    }

    fn unmount(&mut self) -> Result<()> {
        let disk = self.home.join("disk").display().to_string();
        for attempt in 0.. {
            match run("umount", &[&disk]) {
                Ok(()) => break,
                Err(error) if attempt == 50 => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        self.is_mounted = false;
        Ok(())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn run(program: &str, words: &[&str]) -> Result<()> {
    let output = Command::new(program).args(words).output().with_context(|| format!("run {program}"))?;
    ensure!(
        output.status.success(),
        "{program} {}: {}",
        words.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
