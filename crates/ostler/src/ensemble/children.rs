//! The processes of the servers: started, listened to, stopped.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::Event;
use super::layout::{Layout, Planned};

/// The longest line that is shown; a server that forgets its line ends must not fill the memory.
const MAX_LINE_BYTES: u64 = 64 << 10;

/// The servers that run. Dropping it kills them.
#[derive(Debug)]
pub(super) struct Children {
    running: BTreeMap<i64, Child>,
}

impl Children {
    pub(super) fn start(layout: &Layout, quiet: bool, events: &Sender<Event>) -> Result<Self> {
        let mut children = Self { running: BTreeMap::new() };
        for member in &layout.members {
            let mut command = command(layout, member)?;
            // Ctrl-C is for this process, which passes it on.
            command.stdin(Stdio::null()).process_group(0);
            if quiet {
                let path = layout.home(member).join("log");
                let log = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
                command.stdout(log.try_clone()?).stderr(log);
            } else {
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
            }
            let mut child = command.spawn().with_context(|| {
                format!("cannot start server {} ({})", member.id, command.get_program().display())
            })?;
            if let Some(stdout) = child.stdout.take() {
                listen(member.id, stdout, events.clone());
            }
            if let Some(stderr) = child.stderr.take() {
                listen(member.id, stderr, events.clone());
            }
            children.running.insert(member.id, child);
        }
        Ok(children)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    pub(super) fn pid(&self, id: i64) -> Option<u32> {
        self.running.get(&id).map(Child::id)
    }

    /// Those that ended since the last call, and how.
    pub(super) fn ended(&mut self) -> Vec<(i64, String)> {
        let mut ended = Vec::new();
        self.running.retain(|id, child| match child.try_wait() {
            Ok(None) => true,
            Ok(Some(status)) => {
                ended.push((*id, how(status)));
                false
            }
            Err(error) => {
                ended.push((*id, error.to_string()));
                false
            }
        });
        ended
    }

    /// Asks all to stop.
    pub(super) fn terminate(&self) {
        for child in self.running.values() {
            let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
            // One that has just ended is what is wanted.
            let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
        }
    }

    /// Ends those that run; yields their ids.
    pub(super) fn kill(&mut self) -> Vec<i64> {
        let running = std::mem::take(&mut self.running);
        let kill = |(id, mut child): (i64, Child)| {
            let _ = child.kill();
            let _ = child.wait();
            id
        };
        running.into_iter().map(kill).collect()
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        self.kill();
    }
}

fn command(layout: &Layout, member: &Planned) -> Result<Command> {
    let mut command = match &member.java {
        Some(class_path) => {
            let mut command = Command::new("java");
            command.args(["-Xmx512m", "-XX:+UseSerialGC", "-cp", class_path]);
            command.arg("org.apache.zookeeper.server.quorum.QuorumPeerMain");
            command
        }
        None => {
            let mut command =
                Command::new(std::env::current_exe().context("this program does not find itself")?);
            command.arg("server");
            command
        }
    };
    command.arg(layout.config_file(member));
    Ok(command)
}

fn how(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// Passes on what a server says, line by line.
fn listen(id: i64, stream: impl Read + Send + 'static, events: Sender<Event>) {
    std::thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        loop {
            let mut line = Vec::new();
            let read = stream.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line);
            if !read.is_ok_and(|bytes| bytes > 0) {
                return;
            }
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if events.send(Event::Line { id, text }).is_err() {
                return;
            }
        }
    });
}
