//! The Java client with its real shell, `ZooKeeperMain`: the same commands to Apache and to Ostler, same output wanted.
//!
//! Most commands run as a process of their own, as scripts do; one long session is typed into the shell's standard
//! input. Times, zxids, session ids and ports are taken out: a command that fails leaves its session behind, and when
//! that expires is up to the clock.

use std::io::Write as _;
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use super::super::apache::Apache;
use super::super::ensemble::Ensemble;
use super::super::scratch::Scratch;
use super::super::server::{Kind, Server, Setup, build_ostler};

/// Options of the stage.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Ostler's lanes.
    #[arg(long, default_value_t = 1)]
    pub(crate) lanes: u32,
    /// Check the checker: Apache against Apache.
    #[arg(long)]
    pub(crate) java_only: bool,
    /// The long session and a few single commands only.
    #[arg(long)]
    pub(crate) smoke: bool,
    /// Three servers of each kind in place of one.
    #[arg(long)]
    pub(crate) ensemble: bool,
}

/// Commands that run in a process each; the first `SMOKE` of them make up the short version.
const SINGLE: [&str; 43] = [
    "create /app one",
    "get -s -w /app",
    "create -e /app/session gone",
    "ls -R -s /",
    "set -s -v 0 /app two",
    "get /nope",
    "stat /app",
    "deleteall /app",
    "create -s /seq- x",
    "create -s -e /seq- x",
    "create -c /box",
    "create -t 3600000 /ttl short",
    "create -t 3600000 -s /ttl/n short",
    "create /app",
    "create /app again",
    "create /app/a data world:anyone:cdrwa",
    "create /app/b data digest:u:Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ=:cdrwa",
    "create /missing/child x",
    "get /app/b",
    "get -b /app/a",
    "get -x /app/a",
    "getAcl -s /app/b",
    "setAcl -s -v 0 /app/a world:anyone:cdrw,ip:127.0.0.1:a",
    "setAcl -R /app/a world:anyone:cdrwa",
    "setAcl /app/a nope:x:r",
    "getAcl /app/a",
    "set -v 7 /app/a wrong",
    "setquota -n 10 /app",
    "setquota -N 3 /app",
    "setquota -B 1000 /app",
    "create /app/c x",
    "create /app/d x",
    "listquota /app",
    "delquota -n /app",
    "delquota /app",
    "listquota /app",
    "sync /app",
    "getEphemerals",
    "getAllChildrenNumber /",
    "whoami",
    "config",
    "delete /app",
    "deleteall /app",
];

/// How many of `SINGLE` the short version runs.
const SMOKE: usize = 8;

/// One session typed into the shell.
const SESSION: &str = "addauth digest u:p
whoami
create /home base
create -e /home/here mine
create /home/locked secret auth::cdrwa
getAcl /home/locked
getEphemerals
getEphemerals /home
get -s -w /home
set /home changed
addWatch -m PERSISTENT /home
create /home/kid x
set /home again
addWatch -m PERSISTENT_RECURSIVE /home
set /home/kid y
removewatches /home
ls -w /home
delete -v 5 /home/kid
delete -v 1 /home/kid
ls -s /home
stat -w /home/none
create /home/none now
history
redo 2
reconfig -add x
setquota -n 2 /home
create /home/over 1
listquota /home
version
getAllChildrenNumber /home
deleteall /home
ls /
close
connect
quit
";

/// Runs the session on both servers and compares.
pub(crate) fn run(options: &Options) -> Result<()> {
    let apache = Apache::install()?;
    let other = if options.java_only {
        Kind::Apache(apache.clone())
    } else {
        Kind::Ostler { binary: build_ostler()?, lanes: options.lanes }
    };
    let reference = Kind::Apache(apache.clone());
    let (java, ours) = std::thread::scope(|scope| {
        let java = scope.spawn(|| transcript(&apache, &reference, options));
        let ours = transcript(&apache, &other, options);
        (java.join().unwrap_or_else(|_| bail!("the session on Apache panicked")), ours)
    });
    let (java, ours) = (java.context("the shell on Apache")?, ours.context("the shell on the other server")?);
    let mut differences = 0;
    for (left, right) in java.iter().zip(&ours) {
        if left.output != right.output {
            differences += 1;
            println!(
                "shell output differs for `{}`\n--- Apache\n{}--- {}\n{}",
                left.command,
                left.output,
                other.name(),
                right.output
            );
        }
    }
    ensure!(java.len() == ours.len(), "{} outputs from Apache, {} from the other", java.len(), ours.len());
    let said: usize = java.iter().map(|part| part.output.lines().count()).sum();
    println!("Java shell: {} outputs with {said} lines compared, {differences} differ", java.len());
    ensure!(said > 2 * java.len(), "the shell said next to nothing ({said} lines): this run proves nothing");
    ensure!(differences == 0, "{differences} outputs of the Java shell differ");
    Ok(())
}

struct Part {
    command: String,
    output: String,
}

fn transcript(apache: &Apache, kind: &Kind, options: &Options) -> Result<Vec<Part>> {
    let home = Scratch::new("shell")?;
    let config = [
        "tickTime=2000",
        "initLimit=10",
        "syncLimit=5",
        "maxClientCnxns=0",
        "4lw.commands.whitelist=*",
        "enforceQuota=true",
        "extendedTypesEnabled=true",
    ];
    let setup = Setup {
        config: config.map(str::to_owned).to_vec(),
        jvm_flags: vec!["-Dznode.container.checkIntervalMs=86400000".to_owned()],
        ..Setup::default()
    };
    let (server, ensemble) = if options.ensemble {
        let mut ensemble = Ensemble::new(
            "shell-three",
            &[kind.clone(), kind.clone(), kind.clone()].map(|kind| (kind, false)),
            &setup,
        )?;
        ensemble.start_all()?;
        (None, Some(ensemble))
    } else {
        (Some(Server::start(kind, &setup, home.path())?), None)
    };
    // One server only: every command is to see what the one before it did.
    let address = match (&server, &ensemble) {
        (Some(server), _) => server.address(),
        (None, Some(ensemble)) => *ensemble.addresses().first().context("a member")?,
        (None, None) => bail!("no server"),
    };
    let address = address.to_string();
    let mut parts = Vec::new();
    let count = if options.smoke { SMOKE } else { SINGLE.len() };
    for command in &SINGLE[..count] {
        let output = apache.shell_command(&address).args(command.split(' ')).stdin(Stdio::null()).output()?;
        let mut text = format!("exit {:?}\n", output.status.code());
        text.push_str(&normalise(&String::from_utf8_lossy(&output.stdout)));
        text.push_str(&normalise(&String::from_utf8_lossy(&output.stderr)));
        parts.push(Part { command: (*command).to_owned(), output: text });
    }
    let mut child = apache
        .shell_command(&address)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("start the shell")?;
    let mut stdin = child.stdin.take().context("the shell has no standard input")?;
    stdin.write_all(SESSION.as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    let streams =
        [("a session, standard output", output.stdout), ("a session, standard error", output.stderr)];
    for (name, bytes) in streams {
        parts.push(Part { command: name.to_owned(), output: session_text(&String::from_utf8_lossy(&bytes)) });
    }
    parts.push(Part {
        command: "a session, exit code".to_owned(),
        output: format!("{:?}\n", output.status.code()),
    });
    if let Some(server) = server {
        server.stop()?;
    }
    Ok(parts)
}

/// A session's output with what the event thread says moved to the end: it comes in between at any moment.
fn session_text(text: &str) -> String {
    let text = normalise(&without_prompts(text));
    let (events, rest): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| line.contains("WATCHER::") || line.contains("WatchedEvent "));
    // The line library says, with the time, that this is no terminal.
    let noise = |line: &str| {
        line.trim().is_empty() || line.contains("org.jline") || line.starts_with("WARNING: Unable")
    };
    let rest = rest.into_iter().filter(|line| !noise(line));
    let events =
        events.into_iter().filter_map(|line| line.split_once("WatchedEvent ")).map(|(_, event)| event);
    let events = events.map(|event| match event.split_once(" zxid: ") {
        Some((event, zxid)) if zxid != "-1" => format!("{event} zxid: <zxid>"),
        _ => event.to_owned(),
    });
    rest.map(str::to_owned).chain(events).map(|line| format!("{line}\n")).collect()
}

/// Puts a line end in place of every prompt: where output ends and the next prompt starts is a race.
fn without_prompts(text: &str) -> String {
    let mut parts = text.split("[zk: ");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push('\n');
        out.push_str(part.split_once("] ").map_or("", |(_, rest)| rest));
    }
    out
}

const CONNECTED: &str = "WatchedEvent state:SyncConnected type:None path:null zxid: -1";

/// Takes out what differs between any two runs.
///
/// That the session is there is told by another thread, anywhere in what the command prints; it comes first here, and
/// the empty lines around it, and with them all others, go.
fn normalise(text: &str) -> String {
    let mut out = String::new();
    if text.contains(CONNECTED) {
        out.push_str("connected\n");
    }
    for line in text.lines() {
        let line = line.trim_end();
        if line.is_empty() || line == "WATCHER::" || line == CONNECTED {
            continue;
        }
        let line = match line.split_once(" = ") {
            Some((key @ ("ctime" | "mtime"), value)) if !value.contains("1970") => format!("{key} = <time>"),
            Some((key @ ("cZxid" | "mZxid" | "pZxid"), value)) if value != "0x0" => format!("{key} = <zxid>"),
            Some((key @ "ephemeralOwner", value)) if value != "0x0" => format!("{key} = <session>"),
            _ => line.to_owned(),
        };
        out.push_str(&without_port(&line));
        out.push('\n');
    }
    out
}

/// Replaces the ports behind every `127.0.0.1:`; a member of an ensemble has two.
fn without_port(line: &str) -> String {
    let mut parts = line.split("127.0.0.1:");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str("127.0.0.1:<port>");
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        let second = rest.strip_prefix(':').map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
        match second {
            Some(rest) if rest.starts_with(':') => {
                out.push_str(":<port>");
                out.push_str(rest);
            }
            _ => out.push_str(rest),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connected_event_may_stand_anywhere() {
        let early = format!("\nWATCHER::\n\n{CONNECTED}\n/\n/app\n");
        let late = format!("/\n\nWATCHER::\n\n{CONNECTED}\n/app\n");
        assert_eq!(normalise(&early), "connected\n/\n/app\n");
        assert_eq!(normalise(&late), normalise(&early));
        assert_ne!(normalise("/\n/app\n"), normalise(&early));
    }

    #[test]
    fn times_sessions_and_ports_are_taken_out() {
        let text = "ctime = Sat Nov 21 2026\nephemeralOwner = 0x100\nephemeralOwner = 0x0\n[zk: 127.0.0.1:21000(CONNECTED) 0]";
        let wanted = "ctime = <time>\nephemeralOwner = <session>\nephemeralOwner = 0x0\n[zk: 127.0.0.1:<port>(CONNECTED) 0]\n";
        assert_eq!(normalise(text), wanted);
    }
}
