//! The shell against its golden transcript: commands recorded from Apache's own shell on Apache's server, which must
//! read the same from our shell on our server, from Apache's shell on ours, and from our shell on Apache's.
//!
//! All commands are typed into one session, from a pipe: behind each comes one whose answer on standard output is
//! known, and one that is unknown, so that both streams can be cut into the answers. A few run as processes of their
//! own, for the exit codes. Times, zxids, session ids, versions and ports are taken out; watch events are gathered at
//! the end, since they come in between at any moment.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::apache::Apache;
use crate::scratch::{self, Scratch};
use crate::server::{Kind, Server, Setup, build_ostler};

/// Options of the stage.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Ostler's lanes.
    #[arg(long, default_value_t = 1)]
    lanes: u32,
    /// Write the transcript anew, from Apache's shell on Apache's server.
    #[arg(long)]
    record: bool,
    /// Only our shell on our server: no Java is needed.
    #[arg(long, conflicts_with = "record")]
    without_java: bool,
}

/// The fewest commands that the transcript must have.
const FEWEST: usize = 120;
/// What `printwatches` answers, behind every command.
const OUT_MARK: [&str; 2] = ["printwatches is on", "printwatches is off"];
/// What an unknown command says at the end, behind every command.
const ERR_MARK: &str = "Command not found: Command not found mark";
/// What it says first.
const USAGE: &str = "ZooKeeper -server host:port -client-configuration properties-file cmd args";

/// A command and what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Block {
    command: String,
    /// In a process of its own.
    single: bool,
    exit: Option<i32>,
    out: Vec<String>,
    err: Vec<String>,
}

/// What was said in all.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Transcript {
    blocks: Vec<Block>,
    events: Vec<String>,
}

/// A program that is a shell.
enum Shell<'a> {
    Java(&'a Apache),
    Ours(&'a PathBuf),
}

impl Shell<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Java(_) => "Apache's zkCli",
            Self::Ours(_) => "ostler cli",
        }
    }

    fn command(&self, address: &str) -> Result<Command> {
        Ok(match self {
            Self::Java(apache) => apache.plain_shell_command(address)?,
            Self::Ours(binary) => {
                let mut command = Command::new(binary);
                command.args(["cli", "-server", address]);
                command
            }
        })
    }
}

/// Runs every pair of shell and server and compares with the transcript.
pub(crate) fn run(options: &Options) -> Result<()> {
    let file = scratch::workspace_root()?.join("xtask/golden/shell.txt");
    let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    let golden = parse(&text)?;
    ensure!(golden.blocks.len() >= FEWEST, "only {} commands are in {}", golden.blocks.len(), file.display());
    let apache = if options.without_java { None } else { Some(Apache::install()?) };
    if options.record {
        let apache = apache.as_ref().context("Java is needed")?;
        let recorded = transcript(&Shell::Java(apache), &Kind::Apache(apache.clone()), &golden)?;
        std::fs::write(&file, recorded.render())?;
        println!("shell: {} commands recorded in {}", recorded.blocks.len(), file.display());
        return Ok(());
    }
    let binary = build_ostler()?;
    let ours = Kind::Ostler { binary: binary.clone(), lanes: options.lanes };
    let mut pairs = vec![(Shell::Ours(&binary), ours.clone())];
    if let Some(apache) = &apache {
        pairs.push((Shell::Java(apache), ours));
        pairs.push((Shell::Ours(&binary), Kind::Apache(apache.clone())));
        pairs.push((Shell::Java(apache), Kind::Apache(apache.clone())));
    }
    let mut failed = 0;
    for (shell, kind) in &pairs {
        let said = transcript(shell, kind, &golden)?;
        let differences = compare(&golden, &said);
        let (name, kind) = (shell.name(), kind.name());
        for difference in &differences {
            println!("{name} on {kind}: {difference}");
        }
        let count = golden.blocks.len();
        println!(
            "shell: {name} on {kind}: {} of {count} commands the same",
            count - differences.len().min(count)
        );
        failed += differences.len();
    }
    ensure!(failed == 0, "{failed} answers of a shell differ from Apache 3.9.5's");
    Ok(())
}

/// Identities come in the order of a hash table in Java: they are put into one of their own.
fn sort_identities(transcript: &mut Transcript) {
    for block in transcript.blocks.iter_mut().filter(|block| block.command == "whoami") {
        if let Some((_, identities)) = block.out.split_first_mut() {
            identities.sort();
        }
    }
}

fn compare(golden: &Transcript, said: &Transcript) -> Vec<String> {
    let mut differences = Vec::new();
    for (wanted, got) in golden.blocks.iter().zip(&said.blocks) {
        if wanted != got {
            differences.push(format!(
                "`{}`\n--- wanted\n{}--- got\n{}",
                wanted.command,
                wanted.render(),
                got.render()
            ));
        }
    }
    if golden.blocks.len() != said.blocks.len() {
        differences.push(format!("{} answers in place of {}", said.blocks.len(), golden.blocks.len()));
    }
    if golden.events != said.events {
        differences.push(format!(
            "watch events\n--- wanted\n{}\n--- got\n{}",
            golden.events.join("\n"),
            said.events.join("\n")
        ));
    }
    differences
}

/// Runs all commands of the golden transcript.
fn transcript(shell: &Shell<'_>, kind: &Kind, golden: &Transcript) -> Result<Transcript> {
    let home = Scratch::new("golden-shell")?;
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
        java_flags: Vec::new(),
        observer_master_port: None,
    };
    let server = Server::start(kind, &setup, home.path())?;
    let address = server.address().to_string();
    let typed: Vec<&str> =
        golden.blocks.iter().filter(|block| !block.single).map(|block| block.command.as_str()).collect();
    let mut said = session(shell, &address, &typed)
        .with_context(|| format!("a session of {} on {}", shell.name(), kind.name()))?;
    for block in golden.blocks.iter().filter(|block| block.single) {
        said.blocks.push(single(shell, &address, &block.command)?);
    }
    server.stop()?;
    sort_identities(&mut said);
    Ok(said)
}

fn session(shell: &Shell<'_>, address: &str, commands: &[&str]) -> Result<Transcript> {
    let mut child = shell
        .command(address)?
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("start the shell")?;
    let mut stdin = child.stdin.take().context("the shell has no standard input")?;
    let input: String = commands.iter().map(|command| format!("{command}\nprintwatches\nmark\n")).collect();
    // It may end before it has read all of this; what it said shows it.
    let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output()?;
    let _ = writer.join();
    let (out, events) = without_events(&String::from_utf8_lossy(&output.stdout));
    let out = cut_out(&out, commands)?;
    let err = cut_err(&String::from_utf8_lossy(&output.stderr), commands.len())?;
    let blocks = commands.iter().zip(out).zip(err).map(|((command, out), err)| Block {
        command: (*command).to_owned(),
        single: false,
        exit: None,
        out,
        err,
    });
    Ok(Transcript { blocks: blocks.collect(), events })
}

/// Standard output in pieces, one for each command.
fn cut_out(lines: &[String], commands: &[&str]) -> Result<Vec<Vec<String>>> {
    let mut pieces = Vec::new();
    let mut piece = Vec::new();
    for line in lines {
        match OUT_MARK.iter().find_map(|mark| line.strip_suffix(mark)) {
            None => piece.push(normalise(line)),
            // The command itself is asked once more behind itself.
            Some("") if commands.get(pieces.len()) == Some(&"printwatches") && piece.is_empty() => {
                piece.push(line.clone());
            }
            Some(before) => {
                if !before.is_empty() {
                    piece.push(normalise(before));
                }
                pieces.push(std::mem::take(&mut piece));
            }
        }
    }
    ensure!(
        pieces.len() == commands.len(),
        "{} answers on standard output to {} commands; the last begins with {:?}",
        pieces.len(),
        commands.len(),
        pieces.last()
    );
    // What the shell says of itself, in its first lines.
    if let Some(first) = pieces.first_mut() {
        first.retain(|line| !line.starts_with("Connecting to ") && !line.starts_with("Welcome to "));
        first.retain(|line| !line.starts_with("JLine support"));
    }
    Ok(pieces)
}

/// Standard error in pieces, one for each command.
fn cut_err(text: &str, count: usize) -> Result<Vec<Vec<String>>> {
    let mut pieces = Vec::new();
    let mut piece: Vec<String> = Vec::new();
    for line in text.lines() {
        if line != ERR_MARK {
            piece.push(normalise(line));
            continue;
        }
        let usage =
            piece.iter().rposition(|line| line == USAGE).context("an unknown command without the usage")?;
        piece.truncate(usage);
        pieces.push(std::mem::take(&mut piece));
    }
    ensure!(pieces.len() == count, "{} answers on standard error to {count} commands", pieces.len());
    Ok(pieces)
}

fn single(shell: &Shell<'_>, address: &str, command: &str) -> Result<Block> {
    let output = shell
        .command(address)?
        .args(command.split(' '))
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("run `{command}`"))?;
    let (out, _) = without_events(&String::from_utf8_lossy(&output.stdout));
    let out =
        out.iter().filter(|line| !line.starts_with("Connecting to ")).map(|line| normalise(line)).collect();
    let err = String::from_utf8_lossy(&output.stderr).lines().map(normalise).collect();
    Ok(Block { command: command.to_owned(), single: true, exit: output.status.code(), out, err })
}

/// The lines without watch events, and those, sorted.
fn without_events(text: &str) -> (Vec<String>, Vec<String>) {
    let lines: Vec<&str> = text.lines().collect();
    let (mut rest, mut events) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < lines.len() {
        // Java's shell prints the two halves of an event one after the other, each behind an end of line, from a
        // thread of its own: what a command prints may come between them, and the end of line may end its line.
        let half =
            lines.get(at + 1).filter(|line| **line == "WATCHER::" || line.starts_with("WatchedEvent "));
        if half.is_none() || !lines[at].is_empty() {
            rest.push(lines[at].to_owned());
        }
        events.extend(half.filter(|line| **line != "WATCHER::").map(|event| normalise(event)));
        at += if half.is_some() { 2 } else { 1 };
    }
    events.sort();
    (rest, events)
}

/// Takes out what differs between any two runs.
fn normalise(line: &str) -> String {
    let line = line.trim_end();
    if let Some((key, value)) = line.split_once(" = ") {
        match key {
            "ctime" | "mtime" if !value.contains(" 1970") => return format!("{key} = <time>"),
            "cZxid" | "mZxid" | "pZxid" if value != "0x0" => return format!("{key} = <zxid>"),
            "ephemeralOwner" if value != "0x0" => return format!("{key} = <session>"),
            _ => {}
        }
    }
    if let Some((event, zxid)) = line.split_once(" zxid: ")
        && zxid != "-1"
    {
        return format!("{event} zxid: <zxid>");
    }
    if line.starts_with("ZooKeeper CLI version: 3.9.5-") {
        return "ZooKeeper CLI version: 3.9.5-<build>".to_owned();
    }
    // A set has no order.
    if let Some(list) = line.strip_prefix("[/").and_then(|rest| rest.strip_suffix(']')) {
        let mut paths: Vec<&str> = list.split(", /").collect();
        paths.sort_unstable();
        return format!("[/{}]", paths.join(", /"));
    }
    line.to_owned()
}

impl Block {
    fn render(&self) -> String {
        let mut text = format!("{} {}\n", if self.single { "!" } else { "$" }, self.command);
        for (mark, lines) in [("1:", &self.out), ("2:", &self.err)] {
            for line in lines {
                text.push_str(format!("{mark} {line}").trim_end());
                text.push('\n');
            }
        }
        if let Some(exit) = self.exit {
            text.push_str(&format!("= {exit}\n"));
        }
        text
    }
}

impl Transcript {
    fn render(&self) -> String {
        let mut text = "# What the shell of Apache ZooKeeper 3.9.5 says on its own server, recorded by\n# `cargo xtask \
                        interop shell --record`. `$` is typed into a session, `!` is a process of its own; 1: is\n# \
                        standard output, 2: standard error, = the exit code, * an event of a watch.\n"
            .to_owned();
        self.blocks.iter().for_each(|block| text.push_str(&block.render()));
        self.events.iter().for_each(|event| text.push_str(&format!("* {event}\n")));
        text
    }
}

/// Reads a transcript; one without answers, to be recorded, is fine.
fn parse(text: &str) -> Result<Transcript> {
    let mut transcript = Transcript { blocks: Vec::new(), events: Vec::new() };
    for (at, line) in text.lines().enumerate() {
        let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.to_owned();
        let block = transcript.blocks.last_mut();
        match (mark, block) {
            ("#", _) => {}
            ("$" | "!", _) => transcript.blocks.push(Block {
                command: rest,
                single: mark == "!",
                exit: None,
                out: Vec::new(),
                err: Vec::new(),
            }),
            ("1:", Some(block)) => block.out.push(rest),
            ("2:", Some(block)) => block.err.push(rest),
            ("=", Some(block)) => block.exit = Some(rest.parse().context("an exit code")?),
            ("*", _) => transcript.events.push(rest),
            _ => bail!("line {} of the transcript makes no sense: {line}", at + 1),
        }
    }
    Ok(transcript)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transcript_survives_its_file() {
        let text = "# head\n$ get /a\n1: x\n1:\n2: y\n! ls /\n1: []\n= 0\n* WatchedEvent x\n";
        let parsed = parse(text).unwrap();
        assert_eq!(parsed.blocks[0].out, ["x", ""]);
        assert_eq!(parsed.blocks[1].exit, Some(0));
        assert_eq!(parse(&parsed.render()).unwrap(), parsed);
        assert!(parse("nonsense").is_err());
    }

    #[test]
    fn streams_are_cut_at_the_marks() {
        let out = "x\nprintwatches is on\nopenprintwatches is on\nprintwatches is on\nprintwatches is on\n";
        let lines: Vec<String> = out.lines().map(str::to_owned).collect();
        let pieces = cut_out(&lines, &["a", "b", "printwatches"]).unwrap();
        assert_eq!(pieces, [vec!["x"], vec!["open"], vec!["printwatches is on"]]);
        let err =
            format!("oops\n{USAGE}\n\ta b\n{ERR_MARK}\n{USAGE}\n\ta b\nreal\n{USAGE}\n\ta b\n{ERR_MARK}\n");
        assert_eq!(cut_err(&err, 2).unwrap(), [vec!["oops"], vec![USAGE, "\ta b", "real"]]);
        assert!(cut_err(&err, 3).is_err());
    }

    #[test]
    fn events_are_taken_out() {
        let text = "a\n\nWATCHER::\n\nWatchedEvent b zxid: 7\nc\n";
        let (rest, events) = without_events(text);
        assert_eq!(
            (rest, events),
            (vec!["a".to_owned(), "c".to_owned()], vec!["WatchedEvent b zxid: <zxid>".to_owned()])
        );
        let between = "open\nWATCHER::\nprintwatches is on\n\nWatchedEvent b zxid: 7\nc\n";
        let (rest, events) = without_events(between);
        assert_eq!(rest, ["open", "printwatches is on", "c"]);
        assert_eq!(events, ["WatchedEvent b zxid: <zxid>"]);
    }
}
