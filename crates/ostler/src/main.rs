//! The binary `ostler`: one file per subcommand, none of which holds anything that others would want.

#![allow(clippy::print_stdout, reason = "a command talks to whoever runs it")]

mod bench;
mod cleanup;
mod cli;
mod ensemble;
mod files;
mod java;
mod log;
mod perms;
mod server;
mod snapshot;
mod word;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;

/// A write is allocated by a lane and freed by the log's thread, which is what the allocator of glibc is worst at: it
/// takes a third of the time of a write with it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// A coordination service that replaces Apache `ZooKeeper` on the spot.
#[derive(Parser)]
#[command(name = "ostler", version, about, long_about = None, after_help = "\
Examples:
  ostler                         a server on port 2181, data in ./ostler-data
  ostler server conf/zoo.cfg     a server as zoo.cfg says
  ostler ensemble                a local ensemble of three servers
  ostler cli -server localhost:2181
                                 the shell, as zkCli.sh
  ostler log --help              look at transaction logs
  ostler snapshot --help         look at snapshots
  ostler bench get --help        how fast is it?")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    Server(server::Args),
    Ensemble(ensemble::Args),
    Cli(cli::Args),
    Log(log::Args),
    Snapshot(snapshot::Args),
    Bench(bench::Args),
    Word(word::Args),
    Cleanup(cleanup::Args),
}

fn main() -> ExitCode {
    match Cli::parse().command.unwrap_or_else(|| Command::Server(server::Args::default())) {
        Command::Server(args) => server::run(args),
        Command::Ensemble(args) => ensemble::run(args),
        Command::Cli(args) => cli::run(args),
        Command::Word(args) => word::run(&args),
        Command::Cleanup(args) => cleanup::run(&args),
        Command::Log(args) => log::run(args),
        Command::Snapshot(args) => snapshot::run(args),
        Command::Bench(args) => match bench::run(args) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("ostler bench: {error:#}");
                ExitCode::FAILURE
            }
        },
    }
}

/// Whether whoever read our output has had enough, such as `head`: no reason to complain.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// The names on the way to a command, for each whose help has no example.
    fn without_example(
        command: &mut clap::Command,
        way: &str,
        counted: &mut usize,
        missing: &mut Vec<String>,
    ) {
        *counted += 1;
        let way = format!("{way} {}", command.get_name());
        // The shell reads its words itself, and has a help of its own, with a test of its own.
        if way != " ostler cli" && !command.render_long_help().to_string().contains("Example") {
            missing.push(way.clone());
        }
        // Hidden are Java's own tools, with Java's own help.
        let shown = |below: &&mut clap::Command| below.get_name() != "help" && !below.is_hide_set();
        for below in command.get_subcommands_mut().filter(shown) {
            without_example(below, &way, counted, missing);
        }
    }

    #[test]
    fn every_help_has_an_example() {
        let (mut counted, mut missing) = (0, Vec::new());
        without_example(&mut Cli::command(), "", &mut counted, &mut missing);
        assert_eq!(missing, Vec::<String>::new());
        assert!(counted >= 31, "only {counted} commands were looked at");
    }
}
