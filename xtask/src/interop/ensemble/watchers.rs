//! One client at each member that leaves watches and reads on: whoever sees a change must have had the event for it.
//!
//! A ticker changes a value, a set of children and a node that comes and goes, through one member after the other. Each
//! watcher arms a watch with a read, then repeats the read without a watch. When the answer is another one and no event
//! has come before it, the promise is broken, whatever kind of server the watcher is attached to. After a broken
//! connection the watches are handed in again, as clients do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow, bail, ensure};

use super::super::client::{Client, Session, Welcome};
use super::super::fill;
use crate::differential::content::open_acl;
use crate::differential::op;
use crate::differential::raw::Enc;

const SESSION_TIMEOUT: Duration = Duration::from_secs(8);
const PATIENCE: Duration = Duration::from_secs(10);
const NO_NODE: i32 = -101;

/// What is watched: the read that leaves the watch, and the path.
const WATCHED: [(i32, &str); 3] =
    [(op::GET_DATA, "/tick/data"), (op::GET_CHILDREN2, "/tick/kids"), (op::EXISTS, "/tick/here")];

/// The ticker and the watchers.
pub(crate) struct Watchers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<()>>>,
    events: Arc<AtomicU64>,
    rearmed: Arc<AtomicU64>,
}

impl Watchers {
    /// Makes the nodes and starts one watcher at each address, and the ticker.
    pub(crate) fn start(addresses: &[SocketAddr]) -> Result<Self> {
        let mut client = Client::connect(addresses[0])?;
        for path in ["/tick", "/tick/data", "/tick/kids"] {
            let reply = client.call(op::CREATE, &fill::create(path, Some(b"0"), &open_acl(), 0))?;
            ensure!(reply.err == 0, "create of {path} answered {}", reply.err);
        }
        client.call(op::SYNC, &Enc::new().string("/").0)?;
        client.close()?;
        let stop = Arc::new(AtomicBool::new(false));
        let (events, rearmed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (all, end) = (addresses.to_vec(), stop.clone());
        let mut threads = vec![std::thread::spawn(move || tick(&all, &end))];
        for address in addresses {
            let mut watcher = Watcher {
                address: *address,
                session: Session::default(),
                armed: [None, None, None],
                broken: None,
                events: events.clone(),
                rearmed: rearmed.clone(),
            };
            let stop = stop.clone();
            threads.push(std::thread::spawn(move || watcher.run(&stop)));
        }
        Ok(Self { stop, threads, events, rearmed })
    }

    /// Ends them; how many events came, and how many watches were handed in again after a broken connection.
    pub(crate) fn finish(self) -> Result<(u64, u64)> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().map_err(|_| anyhow!("a watcher panicked"))??;
        }
        Ok((self.events.load(Ordering::Relaxed), self.rearmed.load(Ordering::Relaxed)))
    }
}

/// Changes what is watched until told to stop.
fn tick(addresses: &[SocketAddr], stop: &AtomicBool) -> Result<()> {
    let (mut at, mut count, mut session) = (0, 0_u64, Session::default());
    while !stop.load(Ordering::Relaxed) {
        at += 1;
        let address = addresses[at % addresses.len()];
        let Ok(Welcome::Back(mut client)) = Client::resume(address, &session, SESSION_TIMEOUT, PATIENCE)
        else {
            std::thread::sleep(Duration::from_millis(50));
            continue;
        };
        // Some changes a member, then on to the next.
        for _ in 0..40 {
            count += 1;
            let kid = format!("/tick/kids/k{}", count / 2 % 5);
            let make = count.is_multiple_of(2);
            let open = open_acl();
            let changes = if make {
                [
                    (op::CREATE, fill::create(&kid, None, &open, 0)),
                    (op::CREATE, fill::create("/tick/here", None, &open, 1)),
                ]
            } else {
                [
                    (op::DELETE, Enc::new().string(&kid).int(-1).0),
                    (op::DELETE, Enc::new().string("/tick/here").int(-1).0),
                ]
            };
            let value = Enc::new().string("/tick/data").string(&count.to_string()).int(-1).0;
            let [first, second] = changes;
            if client.calls(&[first, second, (op::SET_DATA, value)]).is_err() || stop.load(Ordering::Relaxed)
            {
                break;
            }
            std::thread::sleep(Duration::from_millis(15));
        }
        session = client.session().afresh();
        let _ = client.close();
    }
    Ok(())
}

/// Which of those that are watched this is.
fn place(path: &str) -> Option<usize> {
    WATCHED.iter().position(|(_, watched)| *watched == path)
}

/// What a read answered.
type Answer = (i32, Vec<u8>);

struct Watcher {
    address: SocketAddr,
    session: Session,
    /// What each watch was left with; `None` if there is none.
    armed: [Option<Answer>; WATCHED.len()],
    broken: Option<String>,
    events: Arc<AtomicU64>,
    rearmed: Arc<AtomicU64>,
}

impl Watcher {
    fn run(&mut self, stop: &AtomicBool) -> Result<()> {
        while !stop.load(Ordering::Relaxed) {
            match Client::resume(self.address, &self.session, SESSION_TIMEOUT, PATIENCE) {
                Ok(Welcome::Back(mut client)) => {
                    let watched = self.watch(&mut client, stop);
                    self.session = client.session().clone();
                    // What came ahead of an answer before the connection broke was told: the last zxid that was seen may
                    // be beyond it, and then it is not told again.
                    for path in client.take_events() {
                        if let Some(at) = place(&path) {
                            self.armed[at] = None;
                        }
                    }
                    // A broken connection is part of the run, a broken promise is not.
                    if let (Ok(()), Some(broken)) = (watched, &self.broken) {
                        bail!("{broken}");
                    }
                }
                Ok(Welcome::Expired) => {
                    self.session = self.session.afresh();
                    self.armed = [None, None, None];
                }
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
        Ok(())
    }

    fn watch(&mut self, client: &mut Client, stop: &AtomicBool) -> Result<()> {
        self.hand_in(client)?;
        while !stop.load(Ordering::Relaxed) {
            for (index, (code, path)) in WATCHED.iter().enumerate() {
                let read = |watch: u8| Enc::new().string(path).byte(watch).0;
                let Some(armed) = &self.armed[index] else {
                    let reply = client.call(*code, &read(1))?;
                    ensure!(matches!(reply.err, 0 | NO_NODE), "a read of {path} answered {}", reply.err);
                    // getData and getChildren leave no watch where nothing is.
                    self.armed[index] =
                        (reply.err == 0 || *code == op::EXISTS).then_some((reply.err, reply.body));
                    continue;
                };
                let reply = client.call(*code, &read(0))?;
                ensure!(matches!(reply.err, 0 | NO_NODE), "a read of {path} answered {}", reply.err);
                let events = client.take_events();
                self.events.fetch_add(events.len() as u64, Ordering::Relaxed);
                let told: Vec<usize> = events.iter().filter_map(|path| place(path)).collect();
                if *armed != (reply.err, reply.body) && !told.contains(&index) {
                    self.broken = Some(format!("{path} at {} changed, and no event said so", self.address));
                    return Ok(());
                }
                for at in told {
                    self.armed[at] = None;
                }
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Hands the watches in again, as of the last zxid that was seen.
    fn hand_in(&mut self, client: &mut Client) -> Result<()> {
        let mut lists: [Vec<&str>; 3] = Default::default();
        for ((code, path), armed) in WATCHED.iter().zip(&self.armed) {
            let Some((err, _)) = armed else { continue };
            let list = match *code {
                op::GET_CHILDREN2 => 2,
                _ if *err == NO_NODE => 1,
                _ => 0,
            };
            lists[list].push(path);
        }
        if lists.iter().all(Vec::is_empty) {
            return Ok(());
        }
        let mut body = Enc::new().long(self.session.last_zxid);
        for list in &lists {
            body = body.int(i32::try_from(list.len())?);
            for path in list {
                body = body.string(path);
                self.rearmed.fetch_add(1, Ordering::Relaxed);
            }
        }
        let reply = client.call(op::SET_WATCHES, &body.0)?;
        ensure!(reply.err == 0, "setWatches answered {}", reply.err);
        Ok(())
    }
}
