//! `cargo xtask interop migrate`: three Java servers become Ostler and Java again, one at a time, under load.
//!
//! Each member is stopped, and the other program is started on its data directory and its configuration. Nothing that
//! was acknowledged may be lost and no session of 10 s may expire: see [`super::steadfast`].

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;

use super::ensemble::setup;
use super::steadfast::Crowd;
use crate::apache::{self, Apache};
use crate::ensemble::{End, Ensemble};
use crate::server::{Kind, build_ostler};

/// Options of the stage.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Release of the Java members.
    #[arg(long, default_value = apache::VERSION)]
    java_version: String,
    /// Ostler's lanes.
    #[arg(long, default_value_t = 1)]
    lanes: u32,
    /// Seconds under load between two steps.
    #[arg(long, default_value_t = 5)]
    rest: u64,
    /// Check the checker: Java in place of Java.
    #[arg(long)]
    java_only: bool,
}

/// Runs the migration and prints what it cost.
pub(crate) fn run(options: &Options) -> Result<()> {
    let java = Kind::Apache(Apache::install_version(&options.java_version)?);
    let ours = if options.java_only {
        java.clone()
    } else {
        Kind::Ostler { binary: build_ostler()?, lanes: options.lanes }
    };
    let mut setup = setup(None);
    // A session of 10 s is within 20 ticks only with a tick as people have it.
    setup.config.push("maxSessionTimeout=40000".to_owned());
    let mut ensemble = Ensemble::new(
        "migrate",
        &[(java.clone(), false), (java.clone(), false), (java.clone(), false)],
        &setup,
    )?;
    ensemble.start_all()?;
    let crowd = Crowd::start(&ensemble.addresses());
    let ending = match migrate(options, &mut ensemble, &java, &ours) {
        Ok(()) => crowd.finish(&ensemble, "migration", 1_000, 6),
        Err(error) => {
            crowd.abandon();
            Err(error)
        }
    };
    ending.or_else(|error| {
        let dir = ensemble.keep_logs("migrate")?;
        Err(error.context(format!("migration; the members' logs are in {}", dir.display())))
    })
}

fn migrate(options: &Options, ensemble: &mut Ensemble, java: &Kind, ours: &Kind) -> Result<()> {
    let rest = Duration::from_secs(options.rest);
    std::thread::sleep(rest);
    for kind in [ours, java] {
        for id in ensemble.ids() {
            let was = ensemble.mode(id);
            let started = Instant::now();
            ensemble.stop(id, End::Term)?;
            ensemble.replace(id, kind.clone());
            ensemble.start(id)?;
            let mode = ensemble.await_serving(id)?;
            println!(
                "  member {id}: {was:?} before, {} as {mode:?} after {:.1} s",
                kind.name(),
                started.elapsed().as_secs_f64()
            );
            std::thread::sleep(rest);
        }
    }
    Ok(())
}
