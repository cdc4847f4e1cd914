//! `cargo xtask interop`: other people's clients, and Java's data directories, against Ostler.

pub(crate) mod client;
mod client_suite;
mod ensemble;
mod failover;
mod fill;
mod grow;
pub(crate) mod java_smoke;
pub(crate) mod kazoo;
mod migrate;
mod recipes;
mod roundtrip;
mod shell;
mod steadfast;
mod trials;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

/// Options of the stage.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// kazoo's own test suite and the Java shell, against Apache 3.9.5 and against Ostler, run the same way.
    #[command(
        after_help = "Examples:\n  cargo xtask interop kazoo --lanes 3\n  cargo xtask interop kazoo --smoke\n  \
            cargo xtask interop kazoo --ensemble"
    )]
    Kazoo(kazoo::Options),
    /// Our shell and Java's, on our server and on Apache's, against what Apache's said on Apache's.
    #[command(
        after_help = "Examples:\n  cargo xtask interop shell\n  cargo xtask interop shell --without-java\n  \
        cargo xtask interop shell --record"
    )]
    Shell(shell::Options),
    /// Only the Java shell's session of the stage `kazoo`.
    JavaShell(java_smoke::Options),
    /// A data directory handed from Ostler to Apache and back, and the other way round.
    #[command(after_help = "Example:\n  cargo xtask interop roundtrip --nodes 100000")]
    Roundtrip(roundtrip::Options),
    /// Ensembles of Java and Ostler servers in every mixture, with leader changes and every way of synchronisation.
    #[command(after_help = "Examples:\n  cargo xtask interop ensemble\n  \
        cargo xtask interop ensemble --only JJO --ops 20000 --leader-changes 4\n  \
        cargo xtask interop ensemble --java-version 3.8.4")]
    Ensemble(ensemble::Options),
    /// The client library's scenarios on Ostler and on Apache, with servers killed and restarted beneath it.
    #[command(
        after_help = "Examples:\n  cargo xtask interop client\n  cargo xtask interop client --only apache"
    )]
    Client(client_suite::Options),
    /// The client's recipes together with those of Curator and kazoo, on the same znodes.
    #[command(after_help = "Example:\n  cargo xtask interop recipes --acquisitions 10000")]
    Recipes(recipes::Options),
    /// Three Java servers become Ostler and Java again, one at a time, under load.
    Migrate(migrate::Options),
    /// One server becomes three and one again on its data directory, under load.
    Grow(grow::Options),
    /// How long writes stand still when the leader goes, killed or told to stop.
    #[command(
        after_help = "Examples:\n  cargo xtask interop failover --check\n  cargo xtask interop failover --java"
    )]
    Failover(failover::Options),
    /// What happens to ensembles in daily life: wiped, frozen and missing members, big nodes, groups, killed clients.
    #[command(
        after_help = "Examples:\n  cargo xtask interop trials\n  cargo xtask interop trials --only words"
    )]
    Trials(trials::Options),
}

/// Runs the stage; every part runs even if one before it failed.
pub(crate) fn run(options: &Options) -> Result<()> {
    match &options.what {
        What::Kazoo(options) => {
            let suite = kazoo::run(options);
            let shell = java_smoke::run(&java_smoke::Options {
                lanes: options.lanes,
                java_only: options.java_only,
                smoke: options.smoke,
                ensemble: options.ensemble,
            });
            match (suite, shell) {
                (Err(suite), Err(shell)) => bail!("{suite:#}; and the Java shell: {shell:#}"),
                (suite, shell) => suite.and(shell),
            }
        }
        What::Shell(options) => shell::run(options),
        What::JavaShell(options) => java_smoke::run(options),
        What::Roundtrip(options) => roundtrip::run(options),
        What::Ensemble(options) => ensemble::run(options),
        What::Client(options) => client_suite::run(options),
        What::Recipes(options) => recipes::run(options),
        What::Migrate(options) => migrate::run(options),
        What::Grow(options) => grow::run(options),
        What::Failover(options) => failover::run(options),
        What::Trials(options) => trials::run(options),
    }
}
