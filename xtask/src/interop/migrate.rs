//! `cargo xtask interop migrate`: three Java servers become Ostler and Java again, one at a time, under load.
//!
//! Each member is stopped, and the other program is started on its data directory and its configuration. Writers note
//! every write that was acknowledged, and keepers only hold a session of 10 s with an ephemeral; nobody may lose either.
//! Clients may see connections break, and nothing else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;

use super::client::{Client, Session, Welcome};
use super::ensemble::{agree, setup};
use super::fill;
use crate::apache::{self, Apache};
use crate::differential::content::open_acl;
use crate::differential::op;
use crate::differential::raw::{Dec, Enc};
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

const WRITERS: usize = 4;
const KEEPERS: usize = 12;
const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
/// A client looks for another server when one is silent for so long, as clients do: a third of the session timeout.
const PATIENCE: Duration = Duration::from_millis(3_300);

/// What the clients counted.
#[derive(Debug, Default)]
struct Counts {
    acked: AtomicU64,
    reconnects: AtomicU64,
    expired: AtomicU64,
    longest_gap_ms: AtomicU64,
}

/// What one client must find in the end.
struct Kept {
    paths: Vec<String>,
    session: Session,
    ephemeral: String,
}

/// Runs the migration and prints what it cost.
pub(crate) fn run(options: &Options) -> Result<()> {
    let java = Kind::Apache(Apache::install_version(&options.java_version)?);
    let ours = if options.java_only {
        java.clone()
    } else {
        Kind::Ostler { binary: build_ostler()?, lanes: options.lanes }
    };
    let mut setup = setup(false);
    // A session of 10 s is within 20 ticks only with a tick as people have it.
    setup.config.push("maxSessionTimeout=40000".to_owned());
    let mut ensemble = Ensemble::new(
        "migrate",
        &[(java.clone(), false), (java.clone(), false), (java.clone(), false)],
        &setup,
    )?;
    ensemble.start_all()?;
    let counts = Arc::new(Counts::default());
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..WRITERS + KEEPERS)
        .map(|index| {
            let mut client = Steadfast {
                index,
                addresses: ensemble.addresses(),
                counts: counts.clone(),
                stop: stop.clone(),
                session: Session::default(),
                paths: Vec::new(),
                last_heard: Instant::now(),
            };
            std::thread::spawn(move || client.run())
        })
        .collect();
    let migrated = migrate(options, &mut ensemble, &java, &ours);
    stop.store(true, Ordering::Relaxed);
    let kept: Result<Vec<Kept>> =
        clients.into_iter().map(|client| client.join().map_err(|_| anyhow!("a client panicked"))?).collect();
    let ending = migrated.and_then(|()| judge(&ensemble, &kept?, &counts));
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

fn judge(ensemble: &Ensemble, kept: &[Kept], counts: &Counts) -> Result<()> {
    let agreement = agree::check(ensemble, Duration::from_secs(30))?;
    let mut lost = Vec::new();
    for client in kept {
        lost.extend(client.paths.iter().filter(|path| !agreement.tree.contains_key(*path)).cloned());
        let (data, _) =
            agreement.tree.get(&client.ephemeral).with_context(|| format!("{} is gone", client.ephemeral))?;
        let owner = owner(data).context("a short Stat")?;
        ensure!(owner == client.session.id, "{} belongs to session {owner:#x}", client.ephemeral);
    }
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let expired = count(&counts.expired);
    println!(
        "migration: {} writes acknowledged, {} lost; {} sessions of 10 s, {expired} expired; {} reconnects; longest \
         time without an answer {} ms; {} nodes and {} digests equal",
        count(&counts.acked),
        lost.len(),
        kept.len(),
        count(&counts.reconnects),
        count(&counts.longest_gap_ms),
        agreement.tree.len(),
        agreement.digests
    );
    ensure!(lost.is_empty(), "{} acknowledged writes are lost, {} the first", lost.len(), lost[0]);
    ensure!(expired == 0, "{expired} sessions expired");
    ensure!(count(&counts.acked) > 1_000, "only {} writes: this run says little", count(&counts.acked));
    ensure!(count(&counts.reconnects) >= 6, "hardly a client noticed: this run says little");
    let lines = agree::suspicious_lines(ensemble);
    ensure!(
        lines.is_empty(),
        "{} lines in the logs that nobody explains:\n{}",
        lines.len(),
        lines.join("\n")
    );
    Ok(())
}

/// The owner of an ephemeral from an answer to getData.
fn owner(data: &[u8]) -> Option<i64> {
    let mut dec = Dec::new(data);
    dec.buffer()?;
    // czxid, mzxid, ctime, mtime, version, cversion, aversion.
    for _ in 0..4 {
        dec.long()?;
    }
    for _ in 0..3 {
        dec.int()?;
    }
    dec.long()
}

/// A client that never gives its session up: a writer, or a keeper that only pings.
struct Steadfast {
    index: usize,
    addresses: Vec<SocketAddr>,
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    session: Session,
    paths: Vec<String>,
    last_heard: Instant,
}

impl Steadfast {
    fn run(&mut self) -> Result<Kept> {
        let ephemeral = format!("/here-{}", self.index);
        let mut at = self.index;
        let mut made = false;
        while !self.stop.load(Ordering::Relaxed) {
            at += 1;
            let address = self.addresses[at % self.addresses.len()];
            let mut client = match Client::resume(address, &self.session, SESSION_TIMEOUT, PATIENCE) {
                Ok(Welcome::Back(client)) => client,
                Ok(Welcome::Expired) => {
                    self.counts.expired.fetch_add(1, Ordering::Relaxed);
                    bail!("session {:#x} of client {} expired", self.session.id, self.index);
                }
                Err(_) => {
                    self.counts.reconnects.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(100));
                    continue;
                }
            };
            self.session = client.session().clone();
            self.heard();
            if !made {
                let body = fill::create(&ephemeral, Some(b"me"), &open_acl(), 1);
                // Somebody whose first answer was lost has it already.
                made = client.call(op::CREATE, &body).is_ok_and(|reply| matches!(reply.err, 0 | -110));
            }
            let broken = if self.index < WRITERS { self.write(&mut client) } else { self.keep(&mut client) };
            self.session = client.session().clone();
            if broken.is_err() {
                self.counts.reconnects.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(Kept { paths: std::mem::take(&mut self.paths), session: self.session.clone(), ephemeral })
    }

    fn write(&mut self, client: &mut Client) -> Result<()> {
        while !self.stop.load(Ordering::Relaxed) {
            let path = format!("/note-{}-{}", self.index, self.paths.len());
            let made =
                client.call(op::CREATE, &fill::create(&path, Some(b"acknowledged"), &open_acl(), 0))?;
            ensure!(matches!(made.err, 0 | -110), "create of {path} answered {}", made.err);
            self.heard();
            self.counts.acked.fetch_add(1, Ordering::Relaxed);
            self.paths.push(path.clone());
            let read = client.call(op::GET_DATA, &Enc::new().string(&path).byte(0).0)?;
            ensure!(read.err == 0, "{path} cannot be read by who wrote it: {}", read.err);
            // Load enough to matter, and few enough nodes to read them all back.
            std::thread::sleep(Duration::from_millis(3));
        }
        Ok(())
    }

    fn keep(&mut self, client: &mut Client) -> Result<()> {
        let mut pinged = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(100));
            if pinged.elapsed() > SESSION_TIMEOUT / 10 {
                client.ping()?;
                self.last_heard = Instant::now();
                pinged = self.last_heard;
            }
        }
        Ok(())
    }

    /// Notes how long a writer had to wait.
    fn heard(&mut self) {
        let gap = u64::try_from(self.last_heard.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.counts.longest_gap_ms.fetch_max(gap, Ordering::Relaxed);
        self.last_heard = Instant::now();
    }
}
