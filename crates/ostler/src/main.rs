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
