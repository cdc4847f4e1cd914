//! The project's automation: what CI runs and what a person runs by hand, in Rust so that nothing must be installed.
#![allow(clippy::print_stdout, reason = "a command-line tool talks on its standard output")]

mod apache;
mod bench;
mod chaos;
mod ci;
mod differential;
mod ensemble;
mod fuzz;
mod interop;
mod rng;
mod scratch;
mod server;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's automation.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, about)]
struct Cli {
    /// First TCP port that servers started by this run may take.
    #[arg(long, global = true, default_value_t = 21_000, env = "XTASK_PORT_BASE")]
    port_base: u16,
    /// This binary of Ostler instead of a release build.
    #[arg(long, global = true, env = "XTASK_OSTLER")]
    ostler: Option<PathBuf>,
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Send random raw requests to Apache ZooKeeper and to Ostler and compare every answer.
    #[command(after_help = "Examples:\n  cargo xtask differential --ops 200000 --seed 7\n  \
        cargo xtask differential --seed 7 --segment 3 --ops 10000   (replay one segment)\n  \
        cargo xtask differential --java-only --ops 20000            (check the checker)")]
    Differential(differential::Options),
    /// Run other people's clients, and Java's data directories, against Ostler.
    Interop(interop::Options),
    /// Measure what needs more than the binary.
    Bench(bench::Options),
    /// Feed every decoder with inputs that libFuzzer makes up.
    #[command(
        after_help = "Examples:\n  cargo xtask fuzz                              (a short run of every target)\n  \
        cargo xtask fuzz --runs 10000000 --jobs 2\n  \
        cargo xtask fuzz --target lane --runs 1000000 --minimise"
    )]
    Fuzz(fuzz::Options),
    /// Run ensembles of real servers through real faults, and judge what their clients saw by the servers' logs.
    #[command(
        after_help = "Examples:\n  cargo xtask chaos                                     (20 rounds of 20 s)\n  \
        cargo xtask chaos --rounds 4 --seconds 12             (a short run)\n  \
        cargo xtask chaos --seed 7 --round 3                  (repeat a round)\n  \
        cargo xtask chaos --shape JJJ --rounds 5              (check the checker: Apache's servers alone)\n\n\
        Needs root: every round makes network, mount and process namespaces of its own, which end with it."
    )]
    Chaos(chaos::Options),
    /// Check who imports whom, what pure crates mention, how files open and where links lead.
    Tidy,
    /// Run everything that CI runs and print one table.
    #[command(after_help = "Examples:\n  cargo ci\n  cargo ci --only differential\n  cargo ci --with-deny")]
    Ci(ci::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    scratch::set_port_base(cli.port_base);
    if let Some(binary) = cli.ostler {
        server::set_ostler(binary);
    }
    let outcome = match cli.task {
        Task::Differential(options) => differential::run(&options),
        Task::Interop(options) => interop::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Chaos(options) => chaos::run(&options),
        Task::Tidy => tidy::run().map(drop),
        Task::Ci(options) => ci::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
