//! `cargo xtask interop grow`: one server becomes three and one again, on the data directory that it has, under load.
//!
//! The one is restarted with a list of three, the new ones come up empty behind it, a member list at a time; then the
//! other way round. Nothing that was acknowledged may be lost and no session of 10 s may expire.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;

use super::ensemble::setup;
use super::steadfast::Crowd;
use crate::apache::{self, Apache};
use crate::ensemble::{End, Ensemble, Mode};
use crate::server::{Kind, build_ostler};

/// Options of the stage.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Ostler's lanes.
    #[arg(long, default_value_t = 1)]
    lanes: u32,
    /// Seconds under load between two steps.
    #[arg(long, default_value_t = 3)]
    rest: u64,
    /// Check the checker: with Java servers.
    #[arg(long)]
    java_only: bool,
}

/// Runs it and prints what it cost.
pub(crate) fn run(options: &Options) -> Result<()> {
    let kind = if options.java_only {
        Kind::Apache(Apache::install_version(apache::VERSION)?)
    } else {
        Kind::Ostler { binary: build_ostler()?, lanes: options.lanes }
    };
    let mut setup = setup(None);
    setup.config.push("maxSessionTimeout=40000".to_owned());
    let kinds = [kind.clone(), kind.clone(), kind].map(|kind| (kind, false));
    let mut ensemble = Ensemble::new("grow", &kinds, &setup)?;
    ensemble.list(&[1]);
    ensemble.start(1)?;
    ensemble.await_serving(1)?;
    let crowd = Crowd::start(&ensemble.addresses());
    let ending = match grow(options, &mut ensemble) {
        Ok(()) => crowd.finish(&ensemble, "one server, three, one", 500, 6),
        Err(error) => {
            crowd.abandon();
            Err(error)
        }
    };
    ending.or_else(|error| {
        let dir = ensemble.keep_logs("grow")?;
        Err(error.context(format!("growing; the members' logs are in {}", dir.display())))
    })
}

fn grow(options: &Options, ensemble: &mut Ensemble) -> Result<()> {
    let rest = || std::thread::sleep(Duration::from_secs(options.rest));
    rest();
    let started = Instant::now();
    // The member with the data and one more are a quorum that has everything; only then may a second empty one come.
    ensemble.list(&[1, 2, 3]);
    ensemble.stop(1, End::Term)?;
    ensemble.start(1)?;
    ensemble.start(2)?;
    let leader = ensemble.await_leader()?;
    ensure!(leader == 1, "member {leader} leads, which has no data");
    ensemble.start(3)?;
    ensemble.await_all()?;
    println!("  one server became three in {:.1} s", started.elapsed().as_secs_f64());
    rest();
    ensemble.stop(1, End::Term)?;
    ensemble.await_leader()?;
    ensemble.start(1)?;
    ensemble.await_all()?;
    println!("  the two that came empty went on without the first");
    rest();
    let started = Instant::now();
    // The one that stays has everything once it is level with the others, which then take no more writes.
    ensemble.stop(3, End::Term)?;
    ensemble.await_leader()?;
    ensemble.await_serving(1)?;
    ensemble.stop(2, End::Term)?;
    ensemble.stop(1, End::Term)?;
    ensemble.list(&[1]);
    ensemble.start(1)?;
    let mode = ensemble.await_serving(1)?;
    ensure!(mode == Mode::Standalone, "the one that is left says it is {mode:?}");
    println!("  three servers became one in {:.1} s", started.elapsed().as_secs_f64());
    rest();
    Ok(())
}
