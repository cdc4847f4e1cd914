//! Lock, read/write lock, semaphore, multi-lock: who holds at the same time, in which order, and what is left.

use std::sync::{Arc, Mutex};

use ostler_client::recipes::{Holding, Lock, MultiLock, ReadWriteLock, Semaphore, Tenure};
use ostler_client::{Error, Zxid};

use super::world::World;
use super::{FOR_EVER, perhaps_kill, schedules, session_lost};

const PROCESSES: usize = 3;
const ROUNDS: usize = 3;

/// What is held now, as the holders see it: until they let go, or are told that it is lost.
#[derive(Default)]
struct Holders(Mutex<Vec<Held>>);

struct Held {
    process: usize,
    exclusive: bool,
    tenure: Tenure,
    token: Zxid,
}

impl Holders {
    /// Somebody acquired: those who still believe that they hold must be compatible and not too many.
    fn enter(&self, process: usize, exclusive: bool, tenure: Tenure, token: Zxid, limit: usize) {
        let mut held = self.0.lock().unwrap();
        held.retain(|other| other.tenure.holding() != Holding::Lost);
        if tenure.holding() == Holding::Lost {
            return;
        }
        for other in held.iter() {
            assert!(!exclusive && !other.exclusive, "{process} and {} hold at the same time", other.process);
            assert!(limit > 1 || other.token < token, "tokens must grow");
        }
        held.push(Held { process, exclusive, tenure, token });
        assert!(held.len() <= limit, "{} hold, and {limit} may", held.len());
    }

    fn exit(&self, token: Zxid) {
        self.0.lock().unwrap().retain(|other| other.token != token);
    }
}

/// What a process does once with what it wants to hold.
trait Recipe: Clone + Send + 'static {
    fn once(
        self,
        world: World,
        client: ostler_client::Client,
        process: usize,
        holders: Arc<Holders>,
    ) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Each process acquires some times, with a new session whenever the old one is lost; one is killed perhaps.
async fn contend<R: Recipe>(world: World, recipe: R) {
    let holders = Arc::new(Holders::default());
    let mut tasks = Vec::new();
    for process in 0..PROCESSES {
        let (world, recipe, holders) = (world.clone(), recipe.clone(), holders.clone());
        tasks.push(tokio::spawn(async move {
            let mut done = 0;
            while done < ROUNDS {
                let client = world.client(process).await;
                while done < ROUNDS {
                    match recipe.clone().once(world.clone(), client.clone(), process, holders.clone()).await {
                        Ok(()) => done += 1,
                        Err(error) => {
                            assert!(session_lost(&error), "{error}");
                            break;
                        }
                    }
                }
                client.close().await;
            }
        }));
    }
    perhaps_kill(&world, &mut tasks, 0..PROCESSES, 400).await;
    for task in tasks {
        task.await.unwrap();
    }
    world.be_kind();
    let left = world.left_over().await;
    assert!(left.keys().all(|path| !path.contains("_c_")), "orphans: {left:?}");
}

#[derive(Clone)]
struct OneLock;

impl Recipe for OneLock {
    async fn once(
        self,
        world: World,
        client: ostler_client::Client,
        process: usize,
        holders: Arc<Holders>,
    ) -> Result<(), Error> {
        let mut random = world.random();
        let lock = Lock::new(&client, "/locks/a").with_id(format!("p{process}"));
        let guard = if random.percent(20) {
            // Gives up at any step.
            let Some(guard) = lock.acquire_within(random.millis(30)).await? else { return Ok(()) };
            guard
        } else {
            lock.acquire().await?
        };
        holders.enter(process, true, guard.tenure(), guard.token(), 1);
        tokio::time::sleep(random.millis(50)).await;
        holders.exit(guard.token());
        if random.percent(30) {
            drop(guard);
            Ok(())
        } else {
            guard.release().await
        }
    }
}

#[test]
fn lock() {
    schedules("lock", |world| contend(world, OneLock));
}

#[derive(Clone)]
struct Shared;

impl Recipe for Shared {
    async fn once(
        self,
        world: World,
        client: ostler_client::Client,
        process: usize,
        holders: Arc<Holders>,
    ) -> Result<(), Error> {
        let mut random = world.random();
        let lock = ReadWriteLock::new(&client, "/locks/rw");
        let exclusive = random.percent(40);
        let guard = if random.percent(20) {
            let time = random.millis(40);
            let guard =
                if exclusive { lock.write_within(time).await? } else { lock.read_within(time).await? };
            let Some(guard) = guard else { return Ok(()) };
            guard
        } else if exclusive {
            lock.write().await?
        } else {
            lock.read().await?
        };
        holders.enter(
            process,
            exclusive,
            guard.tenure(),
            guard.token(),
            if exclusive { 1 } else { PROCESSES },
        );
        tokio::time::sleep(random.millis(50)).await;
        holders.exit(guard.token());
        guard.release().await
    }
}

#[test]
fn read_write_lock() {
    schedules("read_write_lock", |world| contend(world, Shared));
}

#[derive(Clone)]
struct TwoPermits;

impl Recipe for TwoPermits {
    async fn once(
        self,
        world: World,
        client: ostler_client::Client,
        process: usize,
        holders: Arc<Holders>,
    ) -> Result<(), Error> {
        let mut random = world.random();
        let lease = Semaphore::new(&client, "/locks/s", 2).acquire().await?;
        holders.enter(process, false, lease.tenure(), lease.token(), 2);
        tokio::time::sleep(random.millis(50)).await;
        holders.exit(lease.token());
        if random.percent(30) {
            drop(lease);
            Ok(())
        } else {
            lease.release().await
        }
    }
}

#[test]
fn semaphore() {
    schedules("semaphore", |world| contend(world, TwoPermits));
}

#[derive(Clone)]
struct Pairs;

impl Recipe for Pairs {
    async fn once(
        self,
        world: World,
        client: ostler_client::Client,
        process: usize,
        holders: Arc<Holders>,
    ) -> Result<(), Error> {
        let mut random = world.random();
        // Named in any order; each pair shares a lock with each other pair.
        let paths = [["/m/c", "/m/a"], ["/m/a", "/m/b"], ["/m/b", "/m/c"]][process];
        let guard = MultiLock::new(&client, &paths).acquire().await?;
        let tokens = guard.tokens();
        holders.enter(process, true, guard.tenure(), tokens[0], 1);
        tokio::time::sleep(random.millis(50)).await;
        holders.exit(tokens[0]);
        guard.release().await
    }
}

#[test]
fn multi_lock() {
    schedules("multi_lock", |world| contend(world, Pairs));
}

/// The order of the creates is the order of the holders, whoever of them dies, and a holder that is asked lets go.
#[test]
fn fairness_and_revocation() {
    schedules("fairness_and_revocation", |world| async move {
        let order = Arc::new(Mutex::new(Vec::new()));
        let client = world.client(0).await;
        let first = Lock::new(&client, "/locks/f").acquire().await;
        let mut tasks = Vec::new();
        for process in 1..4 {
            let (world, order) = (world.clone(), order.clone());
            tasks.push(tokio::spawn(async move {
                let client = world.client(process).await;
                match Lock::new(&client, "/locks/f").acquire().await {
                    Ok(guard) => {
                        order.lock().unwrap().push(guard.token());
                        drop(guard.release().await);
                    }
                    Err(error) => assert!(session_lost(&error), "{error}"),
                }
                client.close().await;
            }));
        }
        tokio::time::sleep(std::time::Duration::from_millis(60)).await;
        let mut random = world.random();
        if random.percent(30) {
            let victim = usize::try_from(random.below(3)).unwrap();
            world.kill(victim + 1);
            tasks.remove(victim).abort();
        }
        let asker = world.client(4).await;
        let asked = match Lock::new(&asker, "/locks/f").revoke().await {
            Ok(asked) => asked,
            Err(error) => {
                assert!(session_lost(&error), "{error}");
                false
            }
        };
        if let Ok(guard) = first {
            if asked {
                // It hears of that, or the lock was another's already.
                tokio::select! {
                    biased;
                    heard = guard.revoked() => assert!(heard.is_ok() || client.status().is_ended()),
                    () = guard.lost() => {}
                    () = tokio::time::sleep(FOR_EVER / 9) => panic!("the holder does not hear that it was asked"),
                }
            }
            drop(guard.release().await);
        }
        client.close().await;
        asker.close().await;
        for task in tasks {
            task.await.unwrap();
        }
        let order = order.lock().unwrap().clone();
        assert!(order.is_sorted(), "{order:?}");
    });
}
