//! `ostler ensemble`: a local ensemble, for development and demonstrations. Each server is a process of its own, as in
//! production; this one writes their files, shows what they say, and stops them.

mod children;
mod layout;
mod status;

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args as ClapArgs;
use ostler_server::exit;

use self::children::Children;
use self::layout::{Java, Layout};
use self::status::Status;

/// How long a server may take to stop before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// Start a local ensemble: several servers on this machine.
#[derive(ClapArgs)]
#[command(after_help = "\
Examples:
  ostler ensemble                             three servers, on ports 2181, 2182 and 2183
  ostler ensemble --servers 5 --quiet         five, with a table of their state instead of their logs
  ostler ensemble --observers 1               three voters and an observer
  ostler ensemble --base-port 9181 --dir /tmp/e
                                              ports 9181.., 9281.. and 9381.., data in /tmp/e
  ostler ensemble --servers 2 --with-java ~/apache-zookeeper-3.9.5-bin
                                              two Ostler servers and one of Apache ZooKeeper
  ostler ensemble --set snapCount=1000        a line more in each zoo.cfg

Servers take the ports from --base-port on for clients, those from 100 above for learners, and those from 200 above for
votes. What they store stays in --dir; the same arguments start the same ensemble again. Ctrl-C stops all.")]
pub(crate) struct Args {
    /// How many servers vote
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(0..=32))]
    servers: u16,
    /// How many follow without a vote
    #[arg(long, value_name = "M", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=32))]
    observers: u16,
    /// The client port of the first server
    #[arg(long, value_name = "P", default_value_t = 2181, value_parser = clap::value_parser!(u16).range(1..=65_000))]
    base_port: u16,
    /// Where configurations and data go
    #[arg(long, value_name = "DIR", default_value = "ostler-ensemble")]
    dir: PathBuf,
    /// Show a table of the servers' state; their logs go to files in --dir
    #[arg(long)]
    quiet: bool,
    /// Add Apache servers, one or COUNT, that vote: an unpacked distribution, or a directory with its jars
    #[arg(long, value_name = "PATH[:COUNT]", value_parser = Java::parse)]
    with_java: Option<Java>,
    /// A line for every zoo.cfg, may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    set: Vec<String>,
}

/// What the main loop waits for.
#[derive(Debug)]
pub(crate) enum Event {
    /// A server said something.
    Line { id: i64, text: String },
    /// What all servers answered.
    Statuses(Vec<Status>),
    /// Ctrl-C or SIGTERM.
    Stop,
}

pub(crate) fn run(args: Args) -> ExitCode {
    match Layout::plan(&args) {
        Ok(layout) => match Ensemble::start(layout, args.quiet).and_then(Ensemble::watch) {
            Ok(code) => code,
            Err(error) => refuse(&error, exit::FAILED),
        },
        Err(error) => refuse(&error, exit::BAD_CONFIG),
    }
}

fn refuse(error: &anyhow::Error, code: i32) -> ExitCode {
    eprintln!("ostler ensemble: {error:#}");
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

fn setting(text: &str) -> Result<String, String> {
    let good =
        text.split_once('=').is_some_and(|(key, _)| !key.trim().is_empty()) && !text.contains(['\n', '\r']);
    if good { Ok(text.to_owned()) } else { Err("wants KEY=VALUE, as snapCount=1000".to_owned()) }
}

/// A running ensemble, and the screen.
struct Ensemble {
    layout: Layout,
    children: Children,
    events: Receiver<Event>,
    screen: Screen,
}

impl Ensemble {
    fn start(layout: Layout, quiet: bool) -> Result<Self> {
        layout.check_ports()?;
        layout.write_files()?;
        let (sender, events) = mpsc::channel();
        watch_signals(sender.clone())?;
        let children = Children::start(&layout, quiet, &sender)?;
        let asked = layout.members.iter().map(|member| (member.id, member.client_port)).collect();
        std::thread::spawn(move || status::poll_forever(asked, sender));
        Ok(Self { layout, children, events, screen: Screen::new(quiet) })
    }

    /// Shows what happens until a signal comes or no server is left.
    fn watch(mut self) -> Result<ExitCode> {
        let mut is_up = false;
        loop {
            match self.events.recv_timeout(Duration::from_millis(200)) {
                Ok(Event::Line { id, text }) => self.screen.line(id, &text),
                Ok(Event::Statuses(statuses)) => {
                    if !is_up && statuses.iter().all(|status| status.mode.is_some()) {
                        is_up = true;
                        self.screen.say(&self.greeting(&statuses));
                    }
                    self.screen.table(&self.layout, &self.children, &statuses);
                }
                Ok(Event::Stop) => break,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("the watcher of signals never ends"),
            }
            for (id, how) in self.children.ended() {
                self.screen.say(&format!("server {id} ended: {how}"));
            }
            if self.children.is_empty() {
                self.drain();
                self.screen.say("no server is left");
                return Ok(ExitCode::FAILURE);
            }
        }
        self.stop();
        Ok(ExitCode::SUCCESS)
    }

    /// SIGTERM for all, and SIGKILL for those who do not listen.
    fn stop(&mut self) {
        self.screen.say("stopping all servers; once more to kill them");
        self.children.terminate();
        let deadline = Instant::now() + STOP_PATIENCE;
        while !self.children.is_empty() {
            let impatient = match self.events.recv_timeout(Duration::from_millis(20)) {
                Ok(Event::Line { id, text }) => {
                    self.screen.line(id, &text);
                    false
                }
                Ok(Event::Stop) => true,
                Ok(Event::Statuses(_)) | Err(_) => false,
            };
            drop(self.children.ended());
            if impatient || Instant::now() > deadline {
                for id in self.children.kill() {
                    self.screen.say(&format!("server {id} did not stop and was killed"));
                }
            }
        }
        self.drain();
        self.screen.say("all servers have stopped");
    }

    /// What was said last.
    fn drain(&mut self) {
        while let Ok(event) = self.events.recv_timeout(Duration::from_millis(50)) {
            if let Event::Line { id, text } = event {
                self.screen.line(id, &text);
            }
        }
    }

    fn greeting(&self, statuses: &[Status]) -> String {
        let leader = statuses.iter().find(|status| status.mode.as_deref() == Some("leader"));
        let leads = leader.map_or(String::new(), |leader| format!("; server {} leads", leader.id));
        let addresses = self.layout.connect_string();
        format!(
            "the ensemble is up: {}{leads}\n  connect with  zkCli.sh -server {addresses}\n                or, in \
             Python: KazooClient('{addresses}')\n  data in       {}\n  stop with     Ctrl-C",
            self.layout.summary(),
            self.layout.dir.display()
        )
    }
}

/// Sends an event at each Ctrl-C and SIGTERM.
fn watch_signals(events: Sender<Event>) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut terminate, mut interrupt) = {
        let _inside = runtime.enter();
        let listen = |kind| signal(kind).context("cannot listen for signals");
        (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?)
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                if events.send(Event::Stop).is_err() {
                    return;
                }
            }
        });
    });
    Ok(())
}

/// Standard output: one stream of lines, or a table that is drawn again in its place.
struct Screen {
    quiet: bool,
    is_terminal: bool,
    colours: bool,
    /// Lines of the table that is on the screen.
    drawn: usize,
    /// The table without figures that change all the time, as it was last printed where there is no terminal.
    shown: BTreeMap<i64, String>,
}

impl Screen {
    fn new(quiet: bool) -> Self {
        let is_terminal = std::io::stdout().is_terminal();
        let colours = is_terminal && std::env::var_os("NO_COLOR").is_none();
        Self { quiet, is_terminal, colours, drawn: 0, shown: BTreeMap::new() }
    }

    fn line(&mut self, id: i64, text: &str) {
        let colour = 31 + (id - 1).rem_euclid(6);
        self.print(&if self.colours {
            format!("\x1b[{colour}m{id:>2} |\x1b[0m {text}\n")
        } else {
            format!("{id:>2} | {text}\n")
        });
    }

    fn say(&mut self, text: &str) {
        // What is said stays; the table is drawn again below it.
        self.drawn = 0;
        self.print(&format!("{text}\n"));
    }

    fn table(&mut self, layout: &Layout, children: &Children, statuses: &[Status]) {
        if !self.quiet {
            return;
        }
        let rows = status::rows(layout, |id| children.pid(id), statuses);
        if self.is_terminal {
            let up = if self.drawn == 0 { String::new() } else { format!("\x1b[{}A\x1b[J", self.drawn) };
            self.drawn = rows.len();
            self.print(&format!("{up}{}\n", rows.join("\n")));
            return;
        }
        let shown =
            statuses.iter().map(|status| (status.id, status.mode.clone().unwrap_or_default())).collect();
        if self.shown != shown {
            self.shown = shown;
            self.print(&format!("{}\n", rows.join("\n")));
        }
    }

    fn print(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        // Whoever reads it may be gone, which is no reason to leave servers behind.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_for_the_configuration() {
        assert_eq!(setting("snapCount=1000"), Ok("snapCount=1000".to_owned()));
        assert_eq!(setting("a="), Ok("a=".to_owned()));
        for bad in ["snapCount", "=5", "a=b\nc=d"] {
            assert!(setting(bad).is_err(), "{bad}");
        }
    }
}
