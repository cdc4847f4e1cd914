//! Clients that never give up: writers that note what was acknowledged, and keepers that only hold a session.
//!
//! They are at work while the servers under them are stopped and replaced. In the end nothing acknowledged may be
//! missing and no session of 10 s may have expired; that connections break is all that a client may notice.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::client::{Client, Session, Welcome};
use super::ensemble::agree::{self, Agreement};
use super::ensemble::logs;
use super::fill;
use crate::differential::content::open_acl;
use crate::differential::op;
use crate::differential::raw::{Dec, Enc};
use crate::ensemble::Ensemble;

const WRITERS: usize = 4;
const KEEPERS: usize = 12;
const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
/// A client looks for another server when one is silent for so long, as clients do: a third of the session timeout.
const PATIENCE: Duration = Duration::from_millis(3_300);

/// What the clients do: work, only keep their sessions, end.
const WORK: u8 = 0;
const KEEP: u8 = 1;
const END: u8 = 2;

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

/// The clients at work.
pub(super) struct Crowd {
    counts: Arc<Counts>,
    phase: Arc<AtomicU8>,
    threads: Vec<JoinHandle<Result<Kept>>>,
}

impl Crowd {
    /// Starts them; each goes round the addresses.
    pub(super) fn start(addresses: &[SocketAddr]) -> Self {
        let counts = Arc::new(Counts::default());
        let phase = Arc::new(AtomicU8::new(WORK));
        let threads = (0..WRITERS + KEEPERS)
            .map(|index| {
                let mut client = Steadfast {
                    index,
                    addresses: addresses.to_vec(),
                    counts: counts.clone(),
                    phase: phase.clone(),
                    session: Session::default(),
                    paths: Vec::new(),
                    last_heard: Instant::now(),
                };
                std::thread::spawn(move || client.run())
            })
            .collect();
        Self { counts, phase, threads }
    }

    /// Ends them and checks that nothing is missing; they must have done so much.
    pub(super) fn finish(
        self,
        ensemble: &Ensemble,
        what: &str,
        least_acked: u64,
        least_reconnects: u64,
    ) -> Result<()> {
        // Sessions must live until the trees were compared, and nothing may change meanwhile.
        self.phase.store(KEEP, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(500));
        let agreement = agree::check(ensemble, Duration::from_secs(90));
        self.phase.store(END, Ordering::Relaxed);
        let kept: Result<Vec<Kept>> = self
            .threads
            .into_iter()
            .map(|client| client.join().map_err(|_| anyhow!("a client panicked"))?)
            .collect();
        judge(ensemble, &agreement?, &kept?, &self.counts, what, least_acked, least_reconnects)
    }

    /// Ends them without looking.
    pub(super) fn abandon(self) {
        self.phase.store(END, Ordering::Relaxed);
        for client in self.threads {
            let _ = client.join();
        }
    }
}

fn judge(
    ensemble: &Ensemble,
    agreement: &Agreement,
    kept: &[Kept],
    counts: &Counts,
    what: &str,
    least_acked: u64,
    least_reconnects: u64,
) -> Result<()> {
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
        "{what}: {} writes acknowledged, {} lost; {} sessions of 10 s, {expired} expired; {} reconnects; longest \
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
    let (acked, reconnects) = (count(&counts.acked), count(&counts.reconnects));
    ensure!(acked >= least_acked, "only {acked} writes: this run says little");
    ensure!(reconnects >= least_reconnects, "hardly a client noticed: this run says little");
    let lines = logs::suspicious_lines(ensemble);
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
    phase: Arc<AtomicU8>,
    session: Session,
    paths: Vec<String>,
    last_heard: Instant,
}

impl Steadfast {
    fn run(&mut self) -> Result<Kept> {
        let ephemeral = format!("/here-{}", self.index);
        let mut at = self.index;
        let mut made = false;
        while self.phase.load(Ordering::Relaxed) < END {
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
            let writes = self.index < WRITERS && self.phase.load(Ordering::Relaxed) == WORK;
            let broken =
                if writes { self.write(&mut client) } else { Ok(()) }.and_then(|()| self.keep(&mut client));
            self.session = client.session().clone();
            if broken.is_err() {
                self.counts.reconnects.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(Kept { paths: std::mem::take(&mut self.paths), session: self.session.clone(), ephemeral })
    }

    fn write(&mut self, client: &mut Client) -> Result<()> {
        while self.phase.load(Ordering::Relaxed) == WORK {
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
        while self.phase.load(Ordering::Relaxed) < END {
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
