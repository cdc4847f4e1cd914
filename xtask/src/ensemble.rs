//! Servers of either kind that form one ensemble on loopback, each a process that can be stopped, frozen and replaced.
//!
//! All members get the same `server.N` lines and otherwise the same `zoo.cfg`; which program serves a member may change
//! between two starts, on the same data directory. A member's output is appended to one log per member, with a line of
//! ours at every start, so that what it said since then can be found. It may assume that nobody else takes the ports.

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::scratch::{self, Scratch};
use crate::server::{Kind, Setup, four_letter_word};

/// How a member ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// SIGTERM: it may say good-bye.
    Term,
    /// SIGKILL.
    Kill,
}

/// One server of the ensemble, running or not.
#[derive(Debug)]
pub(crate) struct Member {
    /// `myid`.
    pub(crate) id: u32,
    /// Which program serves at the next start.
    pub(crate) kind: Kind,
    /// Serves clients but does not vote.
    pub(crate) observer: bool,
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    ports: [u16; 2],
    home: PathBuf,
    child: Option<Child>,
}

/// All members of one ensemble.
#[derive(Debug)]
pub(crate) struct Ensemble {
    members: Vec<Member>,
    /// Ids in the list of members that the next start is given; a list of one makes a server that stands alone.
    listed: Vec<u32>,
    setup: Setup,
    _home: Scratch,
    /// How long anything that an ensemble does by itself may take.
    patience: Duration,
}

impl Ensemble {
    /// Lays out the directories; member 1 is the first of `kinds`. Nothing is started.
    pub(crate) fn new(label: &str, kinds: &[(Kind, bool)], setup: &Setup) -> Result<Self> {
        let home = Scratch::new(label)?;
        let mut members = Vec::new();
        for (index, (kind, observer)) in kinds.iter().enumerate() {
            let id = u32::try_from(index + 1)?;
            let address = SocketAddr::from(([127, 0, 0, 1], scratch::free_port()?));
            let ports = [scratch::free_port()?, scratch::free_port()?];
            let member_home = home.path().join(format!("member-{id}"));
            let data = member_home.join("data");
            std::fs::create_dir_all(&data).with_context(|| format!("create {}", data.display()))?;
            std::fs::write(data.join("myid"), format!("{id}\n"))?;
            members.push(Member {
                id,
                kind: kind.clone(),
                observer: *observer,
                address,
                ports,
                home: member_home,
                child: None,
            });
        }
        let listed = members.iter().map(|member| member.id).collect();
        Ok(Self { members, listed, setup: setup.clone(), _home: home, patience: Duration::from_secs(120) })
    }

    /// Whether followers take observers.
    pub(crate) fn has_observer_masters(&self) -> bool {
        self.setup.observer_master_port.is_some()
    }

    /// The members in the order of their ids.
    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    /// One member by id.
    pub(crate) fn member(&self, id: u32) -> &Member {
        &self.members[id as usize - 1]
    }

    /// Ids of all voting members.
    pub(crate) fn voters(&self) -> Vec<u32> {
        self.members.iter().filter(|member| !member.observer).map(|member| member.id).collect()
    }

    /// Ids of all members.
    pub(crate) fn ids(&self) -> Vec<u32> {
        self.members.iter().map(|member| member.id).collect()
    }

    /// Where clients connect, member by member.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.members.iter().map(|member| member.address).collect()
    }

    /// Which members the next start of any of them is told of.
    pub(crate) fn list(&mut self, ids: &[u32]) {
        self.listed = ids.to_vec();
    }

    /// Makes another program serve this member from its next start on.
    pub(crate) fn replace(&mut self, id: u32, kind: Kind) {
        self.members[id as usize - 1].kind = kind;
    }

    /// Starts a member and returns at once.
    pub(crate) fn start(&mut self, id: u32) -> Result<()> {
        // One alone is no ensemble: its configuration names no servers.
        let servers: String = self
            .members
            .iter()
            .filter(|member| self.listed.len() > 1 && self.listed.contains(&member.id))
            .map(|member| {
                let [quorum, election] = member.ports;
                let role = if member.observer { "observer" } else { "participant" };
                let host = if self.setup.observer_master_port.is_some() { member.id } else { 1 };
                format!("server.{}=127.0.0.{host}:{quorum}:{election}:{role}\n", member.id)
            })
            .collect();
        let member = &mut self.members[id as usize - 1];
        ensure!(member.child.is_none(), "member {id} runs already");
        let mut text = format!(
            "dataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\n{servers}",
            member.home.join("data").display(),
            member.address.port()
        );
        if member.observer {
            text.push_str("peerType=observer\n");
        }
        if let Some(port) = self.setup.observer_master_port {
            text.push_str(&format!("observerMasterPort={port}\n"));
        }
        for line in &self.setup.config {
            text.push_str(line);
            text.push('\n');
        }
        let conf = member.home.join("zoo.cfg");
        let mut command = match &member.kind {
            Kind::Apache(apache) => {
                let flags = [self.setup.jvm_flags.as_slice(), self.setup.java_flags.as_slice()].concat();
                apache.server_command(&conf, &flags)
            }
            Kind::Ostler { binary, lanes } => {
                text.push_str(&format!("lanes={lanes}\n"));
                let mut command = Command::new(binary);
                command.arg("server").arg(&conf).env("SERVER_JVMFLAGS", self.setup.jvm_flags.join(" "));
                command
            }
        };
        std::fs::write(&conf, text).with_context(|| format!("write {}", conf.display()))?;
        let mut out = File::options().create(true).append(true).open(member.log())?;
        writeln!(out, "{START_MARK} {} as member {id}", member.kind.name())?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .current_dir(&member.home)
            .spawn()
            .with_context(|| format!("start {} ({:?})", member.kind.name(), command.get_program()))?;
        member.child = Some(child);
        Ok(())
    }

    /// Starts all and waits until all serve.
    pub(crate) fn start_all(&mut self) -> Result<()> {
        for id in self.ids() {
            self.start(id)?;
        }
        self.await_all()
    }

    /// Ends a member and waits until the process is gone.
    pub(crate) fn stop(&mut self, id: u32, end: End) -> Result<()> {
        self.stop_many(&[id], end)
    }

    /// Ends members, all at once, and waits until the processes are gone.
    pub(crate) fn stop_many(&mut self, ids: &[u32], end: End) -> Result<()> {
        let signal_name = if end == End::Term { "TERM" } else { "KILL" };
        for id in ids {
            if let Some(child) = &self.member(*id).child {
                signal(child.id(), signal_name);
            }
        }
        let deadline = Instant::now() + Duration::from_secs(40);
        for id in ids {
            let member = &mut self.members[*id as usize - 1];
            let Some(mut child) = member.child.take() else { continue };
            while child.try_wait()?.is_none() {
                if Instant::now() > deadline {
                    let _ = child.kill();
                    let _ = child.wait();
                    bail!("member {id} ({}) did not stop within 40 s of {signal_name}", member.kind.name());
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        Ok(())
    }

    /// Freezes a member, as a long pause of its machine would.
    pub(crate) fn pause(&self, id: u32) {
        if let Some(child) = &self.member(id).child {
            signal(child.id(), "STOP");
        }
    }

    /// Lets a frozen member go on.
    pub(crate) fn resume(&self, id: u32) {
        if let Some(child) = &self.member(id).child {
            signal(child.id(), "CONT");
        }
    }

    /// Empties the data directory of a member that is stopped; its id stays.
    pub(crate) fn wipe(&self, id: u32) -> Result<()> {
        let data = self.member(id).home.join("data/version-2");
        ensure!(!self.is_running(id), "member {id} runs");
        std::fs::remove_dir_all(&data).with_context(|| format!("remove {}", data.display()))
    }

    /// Makes a member that is stopped believe that its data is of this epoch.
    pub(crate) fn pretend_epoch(&self, id: u32, epoch: i64) -> Result<()> {
        ensure!(!self.is_running(id), "member {id} runs");
        for name in ["acceptedEpoch", "currentEpoch"] {
            std::fs::write(self.member(id).home.join("data/version-2").join(name), epoch.to_string())?;
        }
        Ok(())
    }

    /// True while the member's process is meant to run.
    pub(crate) fn is_running(&self, id: u32) -> bool {
        self.member(id).child.is_some()
    }

    /// Waits until a member serves; the mode it serves in.
    pub(crate) fn await_serving(&mut self, id: u32) -> Result<Mode> {
        let deadline = Instant::now() + self.patience;
        loop {
            let member = &mut self.members[id as usize - 1];
            let name = member.kind.name();
            let Some(child) = &mut member.child else { bail!("member {id} is not running") };
            if let Some(status) = child.try_wait()? {
                member.child = None;
                bail!("member {id} ({name}) ended with {status}; its log:\n{}", self.member(id).log_tail());
            }
            if let Some(mode) = self.mode(id) {
                return Ok(mode);
            }
            if Instant::now() > deadline {
                bail!(
                    "member {id} ({name}) did not serve within {:?}; its log:\n{}",
                    self.patience,
                    self.member(id).log_tail()
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until every member that runs serves.
    pub(crate) fn await_all(&mut self) -> Result<()> {
        for id in self.ids() {
            if self.is_running(id) {
                self.await_serving(id)?;
            }
        }
        Ok(())
    }

    /// Waits until one of the members that run leads; its id.
    pub(crate) fn await_leader(&self) -> Result<u32> {
        let deadline = Instant::now() + self.patience;
        loop {
            for id in self.voters() {
                if self.is_running(id) && self.mode(id) == Some(Mode::Leader) {
                    return Ok(id);
                }
            }
            if Instant::now() > deadline {
                let tails: Vec<String> = self
                    .members
                    .iter()
                    .map(|member| {
                        format!("--- member {} ({})\n{}", member.id, member.kind.name(), member.log_tail())
                    })
                    .collect();
                bail!("nobody leads after {:?}\n{}", self.patience, tails.join("\n"));
            }
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// What a member says it is; `None` while it does not serve.
    pub(crate) fn mode(&self, id: u32) -> Option<Mode> {
        let answer = four_letter_word(self.member(id).address, "srvr").ok()?;
        let mode = answer.lines().find_map(|line| line.strip_prefix("Mode: "))?;
        Some(match mode {
            "leader" => Mode::Leader,
            "follower" => Mode::Follower,
            "observer" => Mode::Observer,
            "standalone" => Mode::Standalone,
            _ => return None,
        })
    }

    /// The last zxid that a member has applied.
    pub(crate) fn zxid(&self, id: u32) -> Option<i64> {
        let answer = four_letter_word(self.member(id).address, "srvr").ok()?;
        let text = answer.lines().find_map(|line| line.strip_prefix("Zxid: 0x"))?;
        i64::from_str_radix(text.trim(), 16).ok()
    }

    /// Waits until all members that run have applied the same transaction, twice in a row.
    pub(crate) fn await_level(&self) -> Result<i64> {
        let deadline = Instant::now() + self.patience;
        let mut last = None;
        loop {
            let zxids: Vec<Option<i64>> =
                self.ids().into_iter().filter(|id| self.is_running(*id)).map(|id| self.zxid(id)).collect();
            let level = zxids.first().copied().flatten();
            if level.is_some() && zxids.iter().all(|zxid| *zxid == level) {
                if last == level {
                    return level.context("a zxid");
                }
                last = level;
            } else {
                last = None;
            }
            ensure!(Instant::now() < deadline, "the members' zxids do not meet: {zxids:x?}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Makes `leader` lead: all stop, it and a quorum's worth of smaller ids come up first, then the others.
    pub(crate) fn form(&mut self, leader: u32) -> Result<()> {
        // Just enough for a quorum.
        let majority = self.voters().len() / 2 + 1;
        let partners: Vec<u32> =
            self.voters().into_iter().filter(|id| *id < leader).take(majority - 1).collect();
        ensure!(
            partners.len() == majority - 1,
            "member {leader} has too few with smaller ids to win among equals"
        );
        let running: Vec<u32> = self.ids().into_iter().filter(|id| self.is_running(*id)).collect();
        if running.len() == self.members.len() {
            self.await_level()?;
        }
        self.stop_many(&self.ids(), End::Term)?;
        self.start(leader)?;
        for partner in partners {
            self.start(partner)?;
        }
        let elected = self.await_leader()?;
        ensure!(elected == leader, "member {elected} leads where {leader} was meant to");
        for id in self.ids() {
            if !self.is_running(id) {
                self.start(id)?;
            }
        }
        self.await_all()
    }

    /// Copies every member's log into a directory that stays.
    pub(crate) fn keep_logs(&self, label: &str) -> Result<PathBuf> {
        let dir = scratch::keep_dir()?.join("ensemble").join(label);
        std::fs::create_dir_all(&dir)?;
        for member in &self.members {
            if member.log().exists() {
                std::fs::copy(member.log(), dir.join(format!("member-{}.log", member.id)))?;
            }
        }
        Ok(dir)
    }
}

impl Drop for Ensemble {
    fn drop(&mut self) {
        for member in &mut self.members {
            if let Some(mut child) = member.child.take() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// What `srvr` calls a serving member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It leads.
    Leader,
    /// It follows and votes.
    Follower,
    /// It follows and does not vote.
    Observer,
    /// It has no other members.
    Standalone,
}

/// Opens every run of a member in its log.
const START_MARK: &str = "==== start:";

impl Member {
    /// True for Apache's server.
    pub(crate) fn is_java(&self) -> bool {
        matches!(self.kind, Kind::Apache(_))
    }

    /// One letter for tables.
    pub(crate) fn letter(&self) -> char {
        if self.is_java() { 'J' } else { 'O' }
    }

    fn log(&self) -> PathBuf {
        self.home.join("server.log")
    }

    /// How long the log is now; a place for `log_since`.
    pub(crate) fn log_length(&self) -> u64 {
        std::fs::metadata(self.log()).map(|data| data.len()).unwrap_or_default()
    }

    /// What the member wrote since the log had this length.
    pub(crate) fn log_since(&self, length: u64) -> String {
        let bytes = std::fs::read(self.log()).unwrap_or_default();
        let start = usize::try_from(length).unwrap_or(usize::MAX).min(bytes.len());
        String::from_utf8_lossy(&bytes[start..]).into_owned()
    }

    /// The last lines of the log.
    pub(crate) fn log_tail(&self) -> String {
        let text = self.log_since(self.log_length().saturating_sub(200_000));
        // Java notes every word that it is asked.
        let lines: Vec<&str> = text.lines().filter(|line| !line.contains(" - Processing srvr")).collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }

    /// One line of `mntr`, as a number.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let text = four_letter_word(self.address, "mntr").ok()?;
        let line = text.lines().find(|line| line.split('\t').next() == Some(name))?;
        line.split('\t').nth(1)?.trim().parse().ok()
    }
}

/// Sends a signal by id: std knows SIGKILL only.
fn signal(process: u32, name: &str) {
    let _ =
        Command::new("kill").args([&format!("-{name}"), &process.to_string()]).stderr(Stdio::null()).status();
}
