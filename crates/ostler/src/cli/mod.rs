//! `ostler cli`: the shell. What scripts know of Java's `zkCli.sh` is the same: commands, options, texts, streams and
//! exit codes; for people there is more.

mod acl;
mod answer;
mod connection;
mod edit;
mod hex;
pub(crate) mod live;
mod nodes;
mod paths;
mod quota;
mod read;
mod shell;
mod subtree;
mod table;
mod terminal;
mod watches;
mod words;
mod write;

use std::io::{BufRead as _, IsTerminal as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Args as ClapArgs;
use connection::{Console, Target};
use shell::{Next, Shell};

/// A command line that makes no sense, or a file that cannot be read.
const INVALID: u8 = 2;

/// The shell: zkCli.sh, and more. `ostler cli --help` explains.
#[derive(ClapArgs)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// What the words before the command say.
#[derive(Debug, PartialEq, Eq)]
struct Start {
    server: String,
    timeout: String,
    read_only: bool,
    wait: bool,
    client_configuration: Option<String>,
    json: bool,
    help: bool,
    complaint: Option<String>,
    command: Vec<String>,
}

impl Start {
    /// Reads options as Java does: unknown ones are passed over, the first word that is none begins the command.
    fn parse(words: &[String]) -> Self {
        let mut start = Self {
            server: "localhost:2181".to_owned(),
            timeout: "30000".to_owned(),
            read_only: false,
            wait: false,
            client_configuration: None,
            json: false,
            help: false,
            complaint: None,
            command: Vec::new(),
        };
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            let mut value = |into: &mut String| match rest.next() {
                Some(value) => {
                    into.clone_from(value);
                    None
                }
                None => Some(format!("Error: no argument found for option {word}")),
            };
            match word.as_str() {
                "-server" | "--server" => start.complaint = value(&mut start.server),
                "-timeout" | "--timeout" => start.complaint = value(&mut start.timeout),
                "-client-configuration" => {
                    let mut file = String::new();
                    start.complaint = value(&mut file);
                    start.client_configuration = start.complaint.is_none().then_some(file);
                }
                "-r" => start.read_only = true,
                "-waitforconnection" => start.wait = true,
                "--json" => start.json = true,
                "-h" | "--help" => start.help = true,
                option if option.starts_with('-') => {}
                command => {
                    start.command.push(command.to_owned());
                    start.command.extend(rest.by_ref().cloned());
                }
            }
            if start.complaint.is_some() {
                break;
            }
        }
        // `ostler cli zoo1:2181` is not what Java understands, but clear enough.
        if let [address] = &start.command[..]
            && table::find(address).is_none()
            && address.contains(':')
        {
            start.server.clone_from(address);
            start.command.clear();
        }
        start
    }
}

/// Runs the shell and ends the process.
pub(crate) fn run(args: Args) -> ! {
    let exit = run_words(&args.words);
    // Not by returning: as with Java's shell, a session that was not closed lives on until its timeout, so that what a
    // script created for its own life is there for a while.
    std::process::exit(i32::from(exit));
}

fn run_words(words: &[String]) -> u8 {
    let start = Start::parse(words);
    if start.help {
        print!("{}", help());
        return 0;
    }
    if let Some(complaint) = &start.complaint {
        eprintln!("{complaint}");
    }
    if let Some(file) = &start.client_configuration
        && let Err(error) = std::fs::read_to_string(file)
    {
        eprintln!("cannot read {file}: {error}");
        return INVALID;
    }
    let Ok(timeout_ms) = start.timeout.parse::<u32>() else {
        eprintln!("For input string: \"{}\"", start.timeout);
        return 1;
    };
    let target = Target {
        servers: start.server,
        timeout: Duration::from_millis(u64::from(timeout_ms)),
        read_only: start.read_only,
    };
    if !start.json {
        println!("Connecting to {}", target.servers);
    }
    let interactive = start.command.is_empty();
    let on_terminal = interactive && std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let console = Arc::new(Console::new());
    console.explain.store(on_terminal, Ordering::Relaxed);
    let timeout = target.timeout;
    let started = connection::background()
        .map_err(|error| answer::Failure::new(format!("{error:#}")))
        .and_then(|handle| Shell::start(handle, target, console, start.json));
    let shell = match started {
        // Never dropped: that would end the session.
        Ok(shell) => Box::leak(Box::new(shell)),
        Err(failure) => {
            eprintln!("{}", failure.message);
            return failure.exit;
        }
    };
    if start.wait
        && let Some(connection) = shell.connection()
        && let Err(failure) = connection.wait_connected(timeout)
    {
        eprintln!("{}", failure.message);
        return failure.exit;
    }
    if !interactive {
        shell.run(&start.command);
        return shell.exit;
    }
    if !start.json {
        println!("Welcome to ZooKeeper!");
    }
    if on_terminal {
        println!("This is Ostler's shell: 'help' lists the commands, Tab completes, Ctrl-D leaves.");
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if let Err(error) = terminal::run(shell, !plain) {
            eprintln!("ostler cli: {error}");
            return 1;
        }
        return shell.exit;
    }
    if !start.json {
        // What Java says when it reads plain lines, as we do here.
        println!("JLine support is disabled");
    }
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        if shell.run_line(&line) == Next::Leave {
            break;
        }
    }
    shell.exit
}

fn help() -> String {
    format!(
        "The shell: what Java's zkCli.sh does, and more.\n\n\
         Usage: ostler cli [-server host:port[,host:port…][/chroot]] [-timeout ms] [-r] [-waitforconnection]\n\
         \x20                 [-client-configuration file] [--json] [command [args…]]\n\n\
         \x20 -server             the servers, and perhaps a path below which everything is (localhost:2181)\n\
         \x20 -timeout            the session timeout in milliseconds (30000)\n\
         \x20 -r                  a read-only server will do\n\
         \x20 -waitforconnection  connect before the first command is run\n\
         \x20 --json              every answer as JSON\n\n\
         Without a command it reads commands: from a terminal with completion, history and hints, else line by line.\n\
         With one it runs that and ends with its code: 0, 1 for an error, 127 for an unknown command. Its session\n\
         then lives on until the timeout, as with zkCli.sh.\n\n{}\n\
         Examples:\n\
         \x20 ostler cli -server zoo1:2181,zoo2:2181/app             interactive\n\
         \x20 ostler cli -server zoo1:2181 get -s /app               one command\n\
         \x20 ostler cli -server zoo1:2181 --json ls -R / | jq .     for programs\n\
         \x20 printf 'create /a 1\\nget /a\\n' | ostler cli            commands from a pipe\n",
        table::overview()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Start {
        Start::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn the_help_has_examples_and_names_every_command() {
        let help = help();
        assert!(help.contains("Examples:"));
        for command in table::COMMANDS.iter().filter(|command| !matches!(command.name, "h" | "?")) {
            assert!(help.contains(&format!("\n  {:22}", command.name)), "{}", command.name);
        }
    }

    #[test]
    fn options_end_where_the_command_begins() {
        let start = parse("-server a:1,b:2/c -timeout 5 -unknown -r create -s /x");
        assert_eq!((start.server.as_str(), start.timeout.as_str()), ("a:1,b:2/c", "5"));
        assert!(start.read_only && !start.wait && start.complaint.is_none());
        assert_eq!(start.command, ["create", "-s", "/x"]);
        assert_eq!(parse("-server").complaint.unwrap(), "Error: no argument found for option -server");
        assert_eq!(parse("zoo:2181").server, "zoo:2181");
        assert_eq!(parse("ls /a:b").command, ["ls", "/a:b"]);
    }
}
