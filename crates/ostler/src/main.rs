//! (being written)

use clap::Parser as _;

pub(crate) mod bench;

#[derive(clap::Parser)]
#[command(name = "ostler", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Bench(bench::Args),
}

fn main() -> anyhow::Result<()> {
    let Command::Bench(args) = Cli::parse().command;
    bench::run(args)
}
