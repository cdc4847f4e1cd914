//! `cargo xtask interop client`: the client library passes one scripted suite on every kind of server, alone and as an
//! ensemble of three, with servers killed and restarted beneath it.
//!
//! The suite is `crates/ostler-client/suite`, a program of its own. It asks for what is to happen to servers in lines
//! on its output, `@kill 0`, and waits for `ok` on its input.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use super::ensemble::setup;
use crate::apache::Apache;
use crate::ensemble::{End, Ensemble};
use crate::scratch;
use crate::server::{Kind, build_ostler};

/// Fewest scenarios for which a run counts.
const LEAST: u32 = 29;

/// Options of the stage.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Ostler's lanes.
    #[arg(long, default_value_t = 1)]
    lanes: u32,
    /// Only these servers: a part of `ostler-1`, `ostler-3`, `apache-1`, `apache-3`.
    #[arg(long)]
    only: Option<String>,
}

/// Runs the suite on each kind of server.
pub(crate) fn run(options: &Options) -> Result<()> {
    let suite = build_suite()?;
    let ostler = Kind::Ostler { binary: build_ostler()?, lanes: options.lanes };
    let apache = Kind::Apache(Apache::install()?);
    let mut failed = Vec::new();
    for (name, kind, count) in [
        ("ostler-1", &ostler, 1),
        ("ostler-3", &ostler, 3),
        ("apache-1", &apache, 1),
        ("apache-3", &apache, 3),
    ] {
        if options.only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            continue;
        }
        let began = Instant::now();
        match run_on(&suite, kind, count) {
            Ok(passed) => println!("{name}: {passed} scenarios passed in {:.0?}", began.elapsed()),
            Err(error) => {
                println!("{name}: FAILED: {error:#}");
                failed.push(name);
            }
        }
    }
    ensure!(failed.is_empty(), "the client's suite failed on {}", failed.join(", "));
    Ok(())
}

fn build_suite() -> Result<PathBuf> {
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "-p", "ostler-client", "--example", "scenario-suite"])
        .current_dir(scratch::workspace_root()?)
        .status()
        .context("run cargo build")?;
    ensure!(status.success(), "the suite does not build");
    Ok(scratch::metadata()?.target_directory.join("debug/examples/scenario-suite").into_std_path_buf())
}

fn run_on(suite: &Path, kind: &Kind, count: usize) -> Result<u32> {
    let mut setup = setup(None);
    // Sessions that survive the restart of a Java server.
    setup.config.push("maxSessionTimeout=60000".to_owned());
    let mut servers = Ensemble::new("client-suite", &vec![(kind.clone(), false); count], &setup)?;
    servers.start_all()?;
    let mut child = Command::new(suite)
        .arg("--control")
        .args(servers.addresses().iter().map(ToString::to_string))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", suite.display()))?;
    let mut input = child.stdin.take().context("its input")?;
    let output = BufReader::new(child.stdout.take().context("its output")?);
    let mut passed = 0;
    for line in output.lines() {
        let line = line?;
        if let Some(wish) = line.strip_prefix('@') {
            let (what, server) = wish.split_once(' ').context("a wish names a server")?;
            let id = server.parse::<u32>()? + 1;
            match what {
                "kill" => servers.stop(id, End::Kill)?,
                "start" => {
                    servers.start(id)?;
                    servers.await_serving(id)?;
                }
                other => bail!("the suite wants {other:?}"),
            }
            input.write_all(b"ok\n")?;
        } else {
            passed += u32::from(line.starts_with("ok "));
            println!("  {line}");
        }
    }
    let status = child.wait()?;
    ensure!(status.success(), "the suite ended with {status} after {passed} scenarios");
    ensure!(passed >= LEAST, "only {passed} scenarios");
    Ok(passed)
}
