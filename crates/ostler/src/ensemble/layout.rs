//! Who is in the ensemble, on which ports, and with which files.

use std::fmt::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::Args;

/// Learner ports lie so far above client ports, and election ports twice as far.
const PORT_STEP: u16 = 100;

/// The most servers: their ports must not meet.
const MAX_MEMBERS: usize = 64;

/// Where the jars of an Apache server lie, and how many servers to make of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Java {
    path: PathBuf,
    count: u16,
}

impl Java {
    /// Reads `PATH[:COUNT]`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (path, count) = match text.rsplit_once(':') {
            Some((path, count)) if count.bytes().all(|digit| digit.is_ascii_digit()) && !count.is_empty() => {
                (path, count.parse().map_err(|_| format!("{count} is too many"))?)
            }
            _ => (text, 1),
        };
        if path.is_empty() || count == 0 || count > 32 {
            return Err("wants a directory, and perhaps behind a colon how many, up to 32".to_owned());
        }
        Ok(Self { path: path.into(), count })
    }

    /// The class path: the configuration of the distribution, for its logging, and all jars.
    fn class_path(&self) -> Result<String> {
        let dirs = [self.path.join("lib"), self.path.clone()];
        let lib = dirs.iter().find(|dir| has_server_jar(dir)).with_context(|| {
            format!(
                "there is no zookeeper-<version>.jar in {} or in its lib: --with-java wants an unpacked distribution of \
                 Apache ZooKeeper or a directory with its jars",
                self.path.display()
            )
        })?;
        let conf = self.path.join("conf");
        let conf = if conf.is_dir() { format!("{}:", conf.display()) } else { String::new() };
        Ok(format!("{conf}{}/*", lib.display()))
    }
}

/// `zookeeper-3.9.5.jar`, but not `zookeeper-jute-3.9.5.jar`.
fn has_server_jar(dir: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(dir) else { return false };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let version = name.to_str().and_then(|name| name.strip_prefix("zookeeper-")?.strip_suffix(".jar"));
        version.is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit()))
    })
}

/// One server to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Planned {
    pub(super) id: i64,
    pub(super) observer: bool,
    /// The class path, for a server of Apache's.
    pub(super) java: Option<String>,
    pub(super) client_port: u16,
    quorum_port: u16,
    election_port: u16,
}

/// The whole ensemble, before it is started.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) members: Vec<Planned>,
    pub(super) dir: PathBuf,
    settings: Vec<String>,
}

impl Layout {
    pub(super) fn plan(args: &Args) -> Result<Self> {
        let java = args.with_java.as_ref();
        let class_path = java.map(Java::class_path).transpose()?;
        let java_count = java.map_or(0, |java| usize::from(java.count));
        let voters = usize::from(args.servers) + java_count;
        let total = voters + usize::from(args.observers);
        ensure!(voters > 0, "--servers 0 leaves nobody to vote");
        ensure!(total <= MAX_MEMBERS, "{total} servers are more than the {MAX_MEMBERS} there are ports for");
        let last = args.base_port.checked_add(2 * PORT_STEP).and_then(|port| port.checked_add(PORT_STEP - 1));
        ensure!(last.is_some(), "--base-port {} leaves no room for the other ports", args.base_port);
        let members = (0..total)
            .map(|index| {
                let client_port = args.base_port + u16::try_from(index).unwrap_or(PORT_STEP);
                let is_java = (usize::from(args.servers)..voters).contains(&index);
                Planned {
                    id: index as i64 + 1,
                    observer: index >= voters,
                    java: class_path.clone().filter(|_| is_java),
                    client_port,
                    quorum_port: client_port + PORT_STEP,
                    election_port: client_port + 2 * PORT_STEP,
                }
            })
            .collect();
        let dir = std::path::absolute(&args.dir)
            .with_context(|| format!("{} is no usable path", args.dir.display()))?;
        Ok(Self { members, dir, settings: args.set.clone() })
    }

    /// `127.0.0.1:2181,127.0.0.1:2182`
    pub(super) fn connect_string(&self) -> String {
        let each = self.members.iter().map(|member| format!("127.0.0.1:{}", member.client_port));
        each.collect::<Vec<_>>().join(",")
    }

    /// `3 voters (1 of them Java) and 1 observer`
    pub(super) fn summary(&self) -> String {
        let count =
            |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
        let observers = self.members.iter().filter(|member| member.observer).count();
        let java = self.members.iter().filter(|member| member.java.is_some()).count();
        let mut text = count(self.members.len() - observers, "voter");
        if java > 0 {
            let _ = write!(text, " ({java} of them Java)");
        }
        if observers > 0 {
            let _ = write!(text, " and {}", count(observers, "observer"));
        }
        text
    }

    /// Refuses with all ports that are taken: a server that finds out by itself says it in the middle of a log.
    pub(super) fn check_ports(&self) -> Result<()> {
        let mut taken = Vec::new();
        for member in &self.members {
            let ports = [
                (member.client_port, "clients"),
                (member.quorum_port, "learners"),
                (member.election_port, "votes"),
            ];
            for (port, what) in ports {
                if let Err(error) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                    taken.push(format!("{port} (server {}, {what}: {error})", member.id));
                }
            }
        }
        ensure!(
            taken.is_empty(),
            "these ports cannot be used: {}; choose others with --base-port",
            taken.join(", ")
        );
        Ok(())
    }

    /// Writes `zoo.cfg` and `myid` of each server. The data of an earlier run stays, unless it is of another ensemble.
    pub(super) fn write_files(&self) -> Result<()> {
        std::fs::create_dir_all(&self.dir).with_context(|| format!("cannot make {}", self.dir.display()))?;
        let roles: Vec<&str> =
            self.members.iter().map(|member| if member.observer { "observer" } else { "voter" }).collect();
        let roles = roles.join("\n") + "\n";
        let kept = self.dir.join("members");
        match std::fs::read_to_string(&kept) {
            // Servers with nothing on disk could outvote those that know something.
            Ok(before) if before != roles => bail!(
                "{} holds an ensemble of {} servers with other roles: start it with the arguments of then, or choose \
                 another --dir",
                self.dir.display(),
                before.lines().count()
            ),
            Ok(_) => {}
            Err(_) => write(&kept, &roles)?,
        }
        for member in &self.members {
            let data = self.data_dir(member);
            std::fs::create_dir_all(&data).with_context(|| format!("cannot make {}", data.display()))?;
            write(&data.join("myid"), &format!("{}\n", member.id))?;
            write(&self.config_file(member), &self.config(member))?;
        }
        Ok(())
    }

    pub(super) fn home(&self, member: &Planned) -> PathBuf {
        self.dir.join(format!("server-{}", member.id))
    }

    pub(super) fn config_file(&self, member: &Planned) -> PathBuf {
        self.home(member).join("zoo.cfg")
    }

    fn data_dir(&self, member: &Planned) -> PathBuf {
        self.home(member).join("data")
    }

    fn config(&self, member: &Planned) -> String {
        let mut text = format!(
            "# Written by ostler ensemble at each start.\ntickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir={}\n\
             clientPort={}\nclientPortAddress=127.0.0.1\npreAllocSize=4096\n4lw.commands.whitelist=*\n\
             admin.enableServer=false\n",
            escaped(&self.data_dir(member)),
            member.client_port
        );
        if self.members.iter().filter(|member| !member.observer).count() == 1 {
            // One voter is a server alone unless it is told otherwise.
            text.push_str("standaloneEnabled=false\n");
        }
        if member.observer {
            text.push_str("peerType=observer\n");
        }
        for setting in &self.settings {
            text.push_str(setting);
            text.push('\n');
        }
        for other in &self.members {
            let role = if other.observer { ":observer" } else { "" };
            let _ = writeln!(
                text,
                "server.{}=127.0.0.1:{}:{}{role}",
                other.id, other.quorum_port, other.election_port
            );
        }
        text
    }
}

/// A path as a value in a file of properties.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace('\\', "\\\\")
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests panic")]
mod tests {
    use clap::Parser;
    use ostler_server::config::{EnvSettings, ServerConfig};

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn plan(words: &str) -> Result<Layout> {
        let line = Line::try_parse_from(std::iter::once("x").chain(words.split_whitespace()))?;
        Layout::plan(&line.args)
    }

    #[test]
    fn ports_ids_and_roles() {
        let layout = plan("--servers 3 --observers 1 --base-port 9181").unwrap();
        let ports: Vec<_> = layout
            .members
            .iter()
            .map(|m| (m.id, m.client_port, m.quorum_port, m.election_port, m.observer))
            .collect();
        assert_eq!(ports[0], (1, 9181, 9281, 9381, false));
        assert_eq!(ports[3], (4, 9184, 9284, 9384, true));
        assert_eq!(layout.summary(), "3 voters and 1 observer");
        assert_eq!(layout.connect_string(), "127.0.0.1:9181,127.0.0.1:9182,127.0.0.1:9183,127.0.0.1:9184");
        for bad in [
            "--servers 0",
            "--servers 33",
            "--base-port 65400",
            "--base-port 0",
            "--with-java /nowhere",
            "--set x",
        ] {
            assert!(plan(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn java_and_how_many() {
        let java = |path: &str, count| Ok(Java { path: path.into(), count });
        assert_eq!(Java::parse("/opt/zk"), java("/opt/zk", 1));
        assert_eq!(Java::parse("/opt/zk:2"), java("/opt/zk", 2));
        assert_eq!(Java::parse("/opt/a:b"), java("/opt/a:b", 1));
        assert_eq!(Java::parse("/opt/zk:"), java("/opt/zk:", 1));
        for bad in ["", ":2", "/opt/zk:0", "/opt/zk:33", "/opt/zk:99999999"] {
            assert!(Java::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn files_are_what_a_server_reads_and_are_kept_for_the_next_run() {
        let dir = std::env::temp_dir().join(format!("ostler-layout-{}", std::process::id()));
        let plan = |more: &str| plan(&format!("--dir {} {more}", dir.display())).unwrap();
        let layout = plan("--observers 1 --set snapCount=1000");
        layout.write_files().unwrap();
        for member in &layout.members {
            let config =
                ServerConfig::from_file(&layout.config_file(member), &EnvSettings::default()).unwrap();
            assert_eq!(config.warnings, []);
            assert_eq!((config.client_address.port, config.snapshot.snap_count), (member.client_port, 1000));
            let read = config.member.unwrap();
            assert_eq!((read.id.0, read.observer), (member.id, member.observer));
            assert_eq!(read.members.servers.len(), 4);
        }
        plan("--observers 1").write_files().unwrap();
        let error = plan("--servers 5").write_files().unwrap_err().to_string();
        assert!(error.contains("an ensemble of 4 servers"), "{error}");
        std::fs::remove_dir_all(&dir).unwrap();

        let alone = plan("--servers 1");
        alone.write_files().unwrap();
        let config =
            ServerConfig::from_file(&alone.config_file(&alone.members[0]), &EnvSettings::default()).unwrap();
        assert!(config.member.is_some());
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_port_that_is_taken_is_named() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let Ok(layout) = plan(&format!("--servers 1 --base-port {port}")) else { return };
        let error = layout.check_ports().unwrap_err().to_string();
        assert!(error.contains(&format!("{port} (server 1, clients: ")), "{error}");
    }
}
