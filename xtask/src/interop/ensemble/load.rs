//! Clients that write and read through all members while leaders come and go, and remember what was acknowledged.
//!
//! Each worker has a subtree of its own, a part that all share and fight for, and one session at a time, which it
//! closes, moves to another member, or leaves to expire. Answers that say no are part of the mix; an answer that never
//! came counts as unknown, and what it asked for may or may not be there in the end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use super::super::client::{Client, Reply, Session, Welcome};
use super::super::fill::{self, Tree};
use crate::differential::content::{self, SUPER, USERS};
use crate::differential::op;
use crate::differential::raw::{Dec, Enc};
use crate::rng::Rng;

/// Clients at the same time.
const WORKERS: usize = 6;

/// Most requests in one write to the socket.
const BATCH: usize = 60;

/// Sessions live so long without a sign of life: some of them must expire during the run.
const SESSION_TIMEOUT: Duration = Duration::from_secs(4);

/// How long a server may take to answer before the client gives up on it.
const PATIENCE: Duration = Duration::from_secs(20);

const SESSION_EXPIRED: i32 = -112;
const SESSION_MOVED: i32 = -118;

/// What the clients counted.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Requests answered with success.
    pub(crate) acked: AtomicU64,
    /// Requests answered with an error code.
    pub(crate) refused: AtomicU64,
    /// Requests whose answer never came.
    pub(crate) unknown: AtomicU64,
    /// Connections that broke or were refused.
    pub(crate) reconnects: AtomicU64,
    /// Watch events.
    pub(crate) events: AtomicU64,
    /// Sessions closed in order.
    pub(crate) closed: AtomicU64,
    /// Sessions left to expire.
    pub(crate) abandoned: AtomicU64,
    /// Sessions taken to another member.
    pub(crate) moved: AtomicU64,
}

impl Counts {
    /// Requests that were answered.
    pub(crate) fn answered(&self) -> u64 {
        self.acked.load(Ordering::Relaxed) + self.refused.load(Ordering::Relaxed)
    }
}

/// What a worker knows must be in the tree at the end.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    paths: Vec<String>,
    counter_path: String,
    counter: u64,
}

/// The running clients.
pub(crate) struct Load {
    /// Their counts, live.
    pub(crate) counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<Result<Kept>>>,
}

impl Load {
    /// Makes the common parents and starts the clients.
    pub(crate) fn start(addresses: &[SocketAddr], seed: u64) -> Result<Self> {
        let first = addresses.first().context("no servers")?;
        let mut client = Client::connect(*first)?;
        client.authenticate(SUPER.0)?;
        let open = content::open_acl();
        let mut requests = Vec::new();
        for path in ["/shared", "/quota", "/zookeeper/quota/quota"] {
            requests.push((op::CREATE, fill::create(path, Some(b""), &open, 0)));
        }
        for (name, text) in
            [("limits", "count=9000000,bytes=-1=;byteHardLimit=900000000"), ("stats", "count=0,bytes=0")]
        {
            let path = format!("/zookeeper/quota/quota/zookeeper_{name}");
            requests.push((op::CREATE, fill::create(&path, Some(text.as_bytes()), &open, 0)));
        }
        for worker in 0..WORKERS {
            for path in [format!("/w{worker}"), format!("/w{worker}/counter")] {
                requests.push((op::CREATE, fill::create(&path, Some(b"0"), &open, 0)));
            }
        }
        for reply in client.calls(&requests)? {
            ensure!(reply.err == 0, "making the parents answered {}", reply.err);
        }
        client.close()?;
        let counts = Arc::new(Counts::default());
        let stop = Arc::new(AtomicBool::new(false));
        let workers = (0..WORKERS)
            .map(|index| {
                let mut worker = Worker {
                    index,
                    addresses: addresses.to_vec(),
                    rng: Rng::new(seed, index as u64 + 1),
                    counts: counts.clone(),
                    stop: stop.clone(),
                    kept: Kept { counter_path: format!("/w{index}/counter"), ..Kept::default() },
                    names: Vec::new(),
                    next_name: 0,
                    sent_counter: 0,
                };
                std::thread::spawn(move || worker.run())
            })
            .collect();
        Ok(Self { counts, stop, workers })
    }

    /// Ends the clients; what must be in the tree now.
    pub(crate) fn finish(self) -> Result<(Vec<Kept>, Arc<Counts>)> {
        self.stop.store(true, Ordering::Relaxed);
        let mut kept = Vec::new();
        for worker in self.workers {
            kept.push(worker.join().map_err(|_| anyhow!("a client panicked"))??);
        }
        Ok((kept, self.counts))
    }
}

impl Kept {
    /// Checks a whole tree; how many acknowledged writes were looked up.
    pub(crate) fn check(&self, tree: &Tree) -> Result<usize> {
        for path in &self.paths {
            ensure!(tree.contains_key(path), "{path} was acknowledged and is not there");
        }
        let (data, _) =
            tree.get(&self.counter_path).with_context(|| format!("{} is gone", self.counter_path))?;
        let text = Dec::new(data).string().context("a reply without data")?;
        let value: u64 = text.parse().with_context(|| format!("{} holds {text:?}", self.counter_path))?;
        ensure!(
            value >= self.counter,
            "{} holds {value}, but {} was acknowledged",
            self.counter_path,
            self.counter
        );
        Ok(self.paths.len() + 1)
    }
}

/// What to do with the answer to one request.
enum Note {
    Nothing,
    Keep(String),
    Count(u64),
}

struct Worker {
    index: usize,
    addresses: Vec<SocketAddr>,
    rng: Rng,
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    kept: Kept,
    /// Some of the nodes that this worker asked for and may change or delete.
    names: Vec<String>,
    next_name: u64,
    sent_counter: u64,
}

impl Worker {
    fn run(&mut self) -> Result<Kept> {
        let mut session = Session::default();
        let mut at = self.index;
        let mut silent_since = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            at += 1;
            let address = self.addresses[at % self.addresses.len()];
            match Client::resume(address, &session, SESSION_TIMEOUT, PATIENCE) {
                Ok(Welcome::Back(client)) => {
                    silent_since = Instant::now();
                    session = self.serve(client);
                }
                Ok(Welcome::Expired) => session = session.afresh(),
                Err(_) => {
                    self.counts.reconnects.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
            ensure!(
                silent_since.elapsed() < Duration::from_secs(180),
                "client {} reached no server for 3 minutes",
                self.index
            );
        }
        Ok(std::mem::take(&mut self.kept))
    }

    /// Works on one connection until it breaks or is given up; the session to go on with.
    fn serve(&mut self, mut client: Client) -> Session {
        if client.authenticate(USERS[self.index % 3].0).is_err() {
            return client.session().clone();
        }
        loop {
            let (notes, wire): (Vec<Note>, Vec<(i32, Vec<u8>)>) = self.batch().into_iter().unzip();
            let (replies, end) = client.calls_while_connected(&wire);
            self.counts.unknown.fetch_add((wire.len() - replies.len()) as u64, Ordering::Relaxed);
            // Of the watches that the reads left; whether they come in time is for the watchers to see.
            self.counts.events.fetch_add(client.take_events().len() as u64, Ordering::Relaxed);
            let mut session_over = false;
            for (reply, note) in replies.iter().zip(notes) {
                session_over |= matches!(reply.err, SESSION_EXPIRED | SESSION_MOVED);
                self.note(reply, note);
            }
            let fresh = client.session().afresh();
            if end.is_err() || session_over {
                self.counts.reconnects.fetch_add(1, Ordering::Relaxed);
                // Half of the sessions whose server went away are left to expire.
                return if session_over || self.rng.chance(50) { fresh } else { client.session().clone() };
            }
            if self.stop.load(Ordering::Relaxed) {
                let _ = client.close();
                return fresh;
            }
            match self.rng.below(200) {
                0..3 => {
                    let _ = client.close();
                    self.counts.closed.fetch_add(1, Ordering::Relaxed);
                    return fresh;
                }
                3 => {
                    self.counts.abandoned.fetch_add(1, Ordering::Relaxed);
                    return fresh;
                }
                4..7 => {
                    self.counts.moved.fetch_add(1, Ordering::Relaxed);
                    return client.session().clone();
                }
                _ => {}
            }
        }
    }

    fn note(&mut self, reply: &Reply, note: Note) {
        if reply.err != 0 {
            self.counts.refused.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.counts.acked.fetch_add(1, Ordering::Relaxed);
        match note {
            Note::Nothing => {}
            Note::Keep(path) => self.kept.paths.push(path),
            Note::Count(value) => self.kept.counter = self.kept.counter.max(value),
        }
    }

    fn batch(&mut self) -> Vec<(Note, (i32, Vec<u8>))> {
        let size = 1 + self.rng.below(BATCH);
        (0..size).map(|_| self.request()).collect()
    }

    fn request(&mut self) -> (Note, (i32, Vec<u8>)) {
        let open = content::open_acl();
        let own = format!("/w{}", self.index);
        let number = self.next_name;
        self.next_name += 1;
        let fresh = format!("{own}/n{number}");
        let data = vec![number as u8; self.rng.below(120)];
        let plain = |code: i32, body: Vec<u8>| (Note::Nothing, (code, body));
        match self.rng.below(100) {
            0..14 => {
                self.remember(&fresh);
                plain(op::CREATE, fill::create(&fresh, Some(&data), &open, 0))
            }
            14..18 => {
                let path = format!("{own}/kept-{number}");
                let body = fill::create(&path, Some(&data), &open, 0);
                (Note::Keep(path), (op::CREATE, body))
            }
            18..22 => plain(op::CREATE2, fill::create(&format!("{own}/s-"), Some(&data), &open, 2)),
            22..27 => {
                let flags = if self.rng.chance(50) { 1 } else { 3 };
                plain(op::CREATE, fill::create(&format!("{fresh}-e"), Some(&data), &open, flags))
            }
            27..29 => {
                // With a child that goes away again, so that the reaper has something to do.
                let path = format!("{own}/box{}", number % 64);
                self.remember(&format!("{path}/kid{number}"));
                match self.rng.below(3) {
                    0 => plain(op::CREATE_CONTAINER, fill::create(&path, None, &open, 4)),
                    1 => plain(op::CREATE, fill::create(&format!("{path}/kid{number}"), None, &open, 0)),
                    _ => plain(op::GET_CHILDREN2, Enc::new().string(&path).byte(0).0),
                }
            }
            29..31 => {
                let ttl = if self.rng.chance(50) { 500 } else { 86_400_000 };
                let flags = if self.rng.chance(50) { 5 } else { 6 };
                let body = Enc::new().bytes(&fill::create(&format!("{fresh}-t"), Some(&data), &open, flags));
                plain(op::CREATE_TTL, body.long(ttl).0)
            }
            31..36 => {
                self.sent_counter += 1;
                let text = self.sent_counter.to_string();
                let body = Enc::new().string(&format!("{own}/counter")).string(&text).int(-1).0;
                (Note::Count(self.sent_counter), (op::SET_DATA, body))
            }
            36..48 => {
                let path = self.known();
                let version = content::version(&mut self.rng);
                plain(op::SET_DATA, Enc::new().string(&path).buffer(Some(&data)).int(version).0)
            }
            48..58 => {
                let path = self.known();
                plain(op::DELETE, Enc::new().string(&path).int(-1).0)
            }
            58..64 => plain(op::MULTI, fill::multi(&format!("{fresh}-m"), &open)),
            64..66 => plain(op::MULTI, fill::failing_multi(&fresh, &open)),
            66..70 => {
                let path = self.known();
                let list =
                    if self.rng.chance(50) { fill::acl(31, "digest", USERS[self.index % 3].1) } else { open };
                plain(op::SET_ACL, Enc::new().string(&path).bytes(&list).int(-1).0)
            }
            70..74 => plain(
                op::CREATE,
                fill::create(&format!("/quota/q{}-{number}", self.index), Some(&data), &open, 0),
            ),
            74..82 => {
                let path = format!("/shared/n{}", self.rng.below(40));
                match self.rng.below(4) {
                    0 => plain(op::CREATE, fill::create(&path, Some(&data), &open, 0)),
                    1 => plain(op::DELETE, Enc::new().string(&path).int(-1).0),
                    2 => plain(op::CREATE, fill::create(&format!("{path}/kid"), None, &open, 0)),
                    _ => plain(op::SET_DATA, Enc::new().string(&path).buffer(Some(&data)).int(-1).0),
                }
            }
            82..84 => plain(op::CREATE, fill::create("/shared/line-", Some(&data), &open, 2)),
            84..86 => plain(op::SYNC, Enc::new().string(&own).0),
            86..89 => {
                let path = self.known();
                plain(op::EXISTS, Enc::new().string(&path).byte(1).0)
            }
            89..91 => plain(op::GET_CHILDREN2, Enc::new().string("/shared").byte(1).0),
            _ => {
                let path = self.known();
                plain(op::GET_DATA, Enc::new().string(&path).byte(u8::from(self.rng.chance(30))).0)
            }
        }
    }

    fn remember(&mut self, path: &str) {
        if self.names.len() < 400 {
            self.names.push(path.to_owned());
        } else {
            let at = self.rng.below(self.names.len());
            path.clone_into(&mut self.names[at]);
        }
    }

    fn known(&mut self) -> String {
        if self.names.is_empty() {
            "/shared".to_owned()
        } else {
            let at = self.rng.below(self.names.len());
            self.names[at].clone()
        }
    }
}
