//! The shell between the lines that come in and the session: history, `redo`, `connect`, and what is printed where.
//! Answers to `ZooKeeperMain`, whose order of doing things shows in its output and is kept.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::json;
use tokio::runtime::Handle;

use super::answer::{Answer, Failure};
use super::connection::{Connection, Console, Target};
use super::table::{self, Call, Command, Runner};
use super::words;
use crate::java::options;

/// How many commands `history` lists, the present one included.
const SHOWN: usize = 11;

/// What comes after a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Line,
    Leave,
}

/// The shell.
pub(super) struct Shell {
    handle: Handle,
    target: Target,
    connection: Option<Connection>,
    console: Arc<Console>,
    /// Lines by their numbers.
    history: BTreeMap<usize, String>,
    count: usize,
    /// Every answer as JSON.
    json: bool,
    /// The code of the last command.
    pub(super) exit: u8,
}

impl Shell {
    /// Begins to connect.
    pub(super) fn start(
        handle: Handle,
        target: Target,
        console: Arc<Console>,
        json: bool,
    ) -> Result<Self, Failure> {
        console.json.store(json, Ordering::Relaxed);
        let connection = Some(Connection::start(&handle, &target, &console)?);
        Ok(Self { handle, target, connection, console, history: BTreeMap::new(), count: 0, json, exit: 0 })
    }

    pub(super) fn connection(&self) -> Option<&Connection> {
        self.connection.as_ref()
    }

    pub(super) fn console(&self) -> &Arc<Console> {
        &self.console
    }

    /// The prompt of Java's shell.
    pub(super) fn prompt(&self) -> String {
        let state = self.connection.as_ref().map_or("CLOSED", Connection::state);
        format!("[zk: {}({state}) {}] ", self.target.servers, self.count)
    }

    /// Runs a line that was typed.
    pub(super) fn run_line(&mut self, line: &str) -> Next {
        if line.is_empty() {
            return Next::Line;
        }
        self.history.insert(self.count, line.to_owned());
        let next = self.run(&words::split(line));
        self.count += 1;
        next
    }

    /// Runs a command and prints what it says.
    pub(super) fn run(&mut self, words: &[String]) -> Next {
        let (outcome, next) = self.dispatch(words);
        let json = self.json || words.iter().any(|word| word == "--json");
        match outcome {
            // The code is that of the command before.
            Ok(_) if next == Next::Leave => {}
            Ok(answer) => {
                self.exit = 0;
                print(&answer, json);
            }
            Err(failure) => {
                self.exit = failure.exit;
                eprint!("{}", failure.before);
                if json {
                    println!("{}", failure.json());
                } else {
                    eprintln!("{}", failure.message);
                }
            }
        }
        next
    }

    fn dispatch(&mut self, words: &[String]) -> (Result<Answer, Failure>, Next) {
        let Some(name) = words.first() else {
            let usage = Failure::new("No command entered");
            return (Err(Failure { before: table::java_usage(), ..usage }), Next::Line);
        };
        let Some(command) = table::find(name) else {
            let failure = Failure { before: table::java_usage(), ..Failure::not_found(name) };
            return (Err(failure), Next::Line);
        };
        if words.iter().any(|word| word == "--help") {
            return (
                Ok(Answer::out(table::help(command), json!({"help": table::help(command)}))),
                Next::Line,
            );
        }
        match name.as_str() {
            "quit" | "exit" => {
                if let Some(connection) = &self.connection {
                    connection.close();
                }
                return (Ok(Answer::default()), Next::Leave);
            }
            "redo" if words.len() >= 2 => return self.redo(&words[1]),
            "help" | "h" | "?" => return (help(words), Next::Line),
            "connect" => {
                if let Err(failure) = self.connect(words.get(1)) {
                    return (Err(failure), Next::Line);
                }
            }
            _ => {}
        }
        let mut said = match name.as_str() {
            "history" => self.list_history(),
            "printwatches" => self.print_watches(words.get(1)),
            _ => Answer::default(),
        };
        let Some(connection) = self.connection.clone().filter(Connection::is_alive) else {
            said.out.push_str("Not connected\n");
            said.json = json!({"ok": false, "problem": "Not connected"});
            return (Ok(said), Next::Line);
        };
        if name == "close" {
            connection.close();
            return (Ok(Answer::done()), Next::Line);
        }
        let Runner::Session(run) = command.run else { return (Ok(said), Next::Line) };
        let live = matches!(name.as_str(), "watch" | "top");
        self.console.muted.store(live, Ordering::Relaxed);
        let outcome = parse(command, words, self.json).and_then(|(before, call)| {
            let outcome = run(&connection, &call);
            with_before(before, outcome)
        });
        self.console.muted.store(false, Ordering::Relaxed);
        (outcome, Next::Line)
    }

    fn redo(&mut self, number: &str) -> (Result<Answer, Failure>, Next) {
        let number = crate::log::number(number).and_then(|number| usize::try_from(number).ok());
        let line = number.filter(|number| *number < self.count).and_then(|number| self.history.get(&number));
        let Some(line) = line.cloned() else {
            return (Err(Failure::new("Command index out of range")), Next::Line);
        };
        let words = words::split(&line);
        if words.first().is_some_and(|word| word == "redo") {
            return (Err(Failure::new("No redoing redos")), Next::Line);
        }
        self.history.insert(self.count, line);
        self.dispatch(&words)
    }

    fn connect(&mut self, servers: Option<&String>) -> Result<(), Failure> {
        if let Some(connection) = self.connection.take().filter(Connection::is_alive) {
            connection.close();
        }
        if let Some(servers) = servers {
            self.target.servers.clone_from(servers);
        }
        self.connection = Some(Connection::start(&self.handle, &self.target, &self.console)?);
        Ok(())
    }

    fn list_history(&self) -> Answer {
        let mut text = String::new();
        let mut list = Vec::new();
        for number in (self.count + 1).saturating_sub(SHOWN)..=self.count {
            let line = self.history.get(&number).map_or("null", String::as_str);
            text.push_str(&format!("{number} - {line}\n"));
            list.push(json!({"number": number, "line": line}));
        }
        Answer::out(text, json!({"history": list}))
    }

    fn print_watches(&self, word: Option<&String>) -> Answer {
        match word {
            Some(word) => {
                self.console.print_watches.store(word == "on", Ordering::Relaxed);
                Answer::done()
            }
            None => {
                let on = self.console.print_watches.load(Ordering::Relaxed);
                let word = if on { "on" } else { "off" };
                Answer::out(format!("printwatches is {word}\n"), json!({"printwatches": on}))
            }
        }
    }
}

fn help(words: &[String]) -> Result<Answer, Failure> {
    let text = match words.get(1) {
        None => table::overview(),
        Some(name) => {
            let name = name.as_str();
            table::find(name)
                .map(table::help)
                .ok_or_else(|| Failure::new(format!("there is no command '{name}'")))?
        }
    };
    Ok(Answer::out(text.clone(), json!({"help": text})))
}

/// Takes a command line apart, with what Java has to complain about on the way.
fn parse(command: &Command, words: &[String], json: bool) -> Result<(Answer, Call), Failure> {
    let dry_run = command.changes && words.iter().any(|word| word == "--dry-run");
    let as_json = json || words.iter().any(|word| word == "--json");
    let is_ours = |word: &String| word == "--json" || (dry_run && word == "--dry-run");
    let mut words: Vec<String> = words.iter().filter(|word| !is_ours(word)).cloned().collect();
    let apart = |words: &[String]| {
        options::parse(command.options, words)
            .map_err(|refused| Failure::new(format!("{}: {refused}", refused.java_class())))
    };
    let mut parsed = apart(&words)?;
    let mut before = Answer::default();
    if command.name == "setquota" && !["n", "b", "N", "B"].iter().any(|option| parsed.has(option)) {
        return Err(Failure::new(
            "org.apache.commons.cli.MissingOptionException: Missing required option: [-n num soft quota, -b bytes soft \
             quota, -N num hard quota, -B bytes hard quota]",
        ));
    }
    if command.name == "ls" && parsed.has("?") {
        before.out.push_str("usage: ls [options] path\n -?   help\n -R   recurse\n -s   stat\n -w   watch\n");
    }
    // A word too many was once how one asked for a watch: whatever is third counts as the option.
    if parsed.args.len() > 2
        && let Some((form, instead)) = match command.name {
            "get" => Some(("get path [watch]", "get [-s] [-w] path")),
            "ls" => Some(("ls path [watch]", "ls [-w] path")),
            "stat" => Some(("stat path [watch]", "stat [-w] path")),
            _ => None,
        }
    {
        before.err.push_str(&format!("'{form}' has been deprecated. Please use '{instead}' instead.\n"));
        "-w".clone_into(&mut words[2]);
        parsed = apart(&words)?;
    }
    let call = Call { parsed, dry_run, json: as_json };
    let least = if command.name == "ls" || command.name == "ls2" { 2 } else { command.least };
    if call.len() < least {
        let failure = Failure::new(command.usage_text());
        return Err(Failure { before: before.err, ..failure });
    }
    Ok((before, call))
}

fn with_before(before: Answer, outcome: Result<Answer, Failure>) -> Result<Answer, Failure> {
    match outcome {
        Ok(answer) => {
            Ok(Answer { out: before.out + &answer.out, err: before.err + &answer.err, json: answer.json })
        }
        Err(mut failure) => {
            print!("{}", before.out);
            failure.before.insert_str(0, &before.err);
            Err(failure)
        }
    }
}

fn print(answer: &Answer, json: bool) {
    let mut out = std::io::stdout().lock();
    // Nobody may be reading any more, such as `head`; that is no reason to fail.
    let written = if json && !answer.json.is_null() {
        match &answer.json {
            serde_json::Value::Array(lines) => lines.iter().try_for_each(|line| writeln!(out, "{line}")),
            value => writeln!(out, "{value}"),
        }
    } else {
        out.write_all(answer.out.as_bytes())
    };
    drop(written.and_then(|()| out.flush()));
    if !json {
        eprint!("{}", answer.err);
    }
}
