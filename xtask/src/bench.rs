//! `cargo xtask bench`: measurements that need more than the binary.
//!
//! `client`: what a get costs the client library, in CPU time and allocations, against a bare epoll loop and against the
//! crate `zookeeper-client`, in one process and in turns. The program is in `bench/client`, a workspace of its own.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};

use crate::scratch::{self, Scratch};
use crate::server::{Kind, Server, Setup, build_ostler};

/// Options of the stage.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// CPU time and allocations per get of the client library, as ratios.
    #[command(after_help = "Example:\n  cargo xtask bench client")]
    Client,
}

/// Runs a measurement.
pub(crate) fn run(options: &Options) -> Result<()> {
    match options.what {
        What::Client => client(),
    }
}

fn client() -> Result<()> {
    let target = scratch::keep_dir()?.join("bench-client");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet", "--manifest-path", "bench/client/Cargo.toml", "--target-dir"])
        .arg(&target)
        .current_dir(scratch::workspace_root()?)
        .status()
        .context("run cargo build")?;
    ensure!(status.success(), "bench/client does not build");
    let kind = Kind::Ostler { binary: build_ostler()?, lanes: 1 };
    let scratch = Scratch::new("bench-client")?;
    // The bare loop does not ping.
    let setup = Setup {
        config: vec!["maxSessionTimeout=3600000".to_owned()],
        jvm_flags: Vec::new(),
        java_flags: Vec::new(),
        observer_master_port: None,
    };
    let server = Server::start(&kind, &setup, scratch.path())?;
    let status = Command::new(target.join("release/ostler-bench-client"))
        .arg(server.address().to_string())
        .status()
        .context("run the measurement")?;
    ensure!(status.success(), "a bound is missed");
    Ok(())
}
