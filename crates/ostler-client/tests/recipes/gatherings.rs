//! Barriers and gatherings: nobody before all are there, all in the end, in order.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ostler_client::recipes::{Barrier, DoubleBarrier, Gathering, Holding, Tenure};

use super::{perhaps_kill, schedules, session_lost};

/// Nobody passes while it stands, everybody once it does not.
#[test]
fn barrier() {
    schedules("barrier", |world| async move {
        let lifted = Arc::new(Mutex::new(false));
        let mut setter = world.client(9).await;
        while Barrier::new(&setter, "/b/one").set().await.is_err() {
            setter = world.client(9).await;
        }
        let mut tasks = Vec::new();
        for process in 0..3 {
            let (world, lifted) = (world.clone(), lifted.clone());
            tasks.push(tokio::spawn(async move {
                loop {
                    let client = world.client(process).await;
                    let waited = Barrier::new(&client, "/b/one").wait().await;
                    client.close().await;
                    match waited {
                        Ok(()) => break assert!(*lifted.lock().unwrap(), "{process} passed"),
                        Err(error) => assert!(session_lost(&error), "{error}"),
                    }
                }
            }));
        }
        let mut random = world.random();
        tokio::time::sleep(random.millis(200)).await;
        perhaps_kill(&world, &mut tasks, 0..3, 100).await;
        *lifted.lock().unwrap() = true;
        while Barrier::new(&setter, "/b/one").lift().await.is_err() {
            setter = world.client(9).await;
        }
        for task in tasks {
            task.await.unwrap();
        }
        setter.close().await;
        assert!(!world.left_over().await.contains_key("/b/one"));
    });
}

/// As many inside as members, before any goes on; all have left before any is outside.
#[test]
fn double_barrier() {
    schedules("double_barrier", |world| async move {
        const MEMBERS: usize = 3;
        // (came, left), of members whose session lived.
        let counts = Arc::new(Mutex::new((0, 0)));
        let mut random = world.random();
        let mut tasks = Vec::new();
        for process in 0..MEMBERS {
            let (world, counts) = (world.clone(), counts.clone());
            let delay = random.millis(100);
            tasks.push(tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                let client = world.client(process).await;
                let mut barrier = DoubleBarrier::new(&client, "/b/double", MEMBERS);
                counts.lock().unwrap().0 += 1;
                // One that is lost leaves the others waiting: they give up.
                let entered = match barrier.enter_within(Duration::from_secs(60)).await {
                    Ok(entered) => {
                        let came = counts.lock().unwrap().0;
                        assert!(!entered || came == MEMBERS, "{process} entered too early");
                        entered
                    }
                    Err(error) => {
                        assert!(session_lost(&error), "{error}");
                        false
                    }
                };
                let alive = entered && !client.status().is_ended();
                if entered {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    counts.lock().unwrap().1 += 1;
                    let left = tokio::time::timeout(Duration::from_secs(60), barrier.leave()).await;
                    match left {
                        Ok(Ok(())) => {
                            // Whose session is lost has left, and so has who was killed once the session expired.
                            let dead = usize::try_from(world.faults().expired).unwrap();
                            assert!(counts.lock().unwrap().1 + dead >= MEMBERS, "{process} left too early");
                        }
                        Ok(Err(error)) => assert!(session_lost(&error), "{error}"),
                        Err(_) => panic!("{process} waits to leave"),
                    }
                }
                drop(barrier);
                client.close().await;
                alive
            }));
        }
        let mut all = perhaps_kill(&world, &mut tasks, 0..MEMBERS, 200).await.is_none();
        for task in tasks {
            all &= task.await.unwrap();
        }
        // Without a lost session nobody gives up.
        let faults = world.faults();
        assert!(all || faults.expired > 0 || faults.outages > 0 || faults.killed > 0, "a wake-up was lost");
        let left = world.left_over().await;
        assert!(left.keys().all(|path| !path.starts_with("/b/double/")), "{left:?}");
    });
}

/// All members there before the first runs; one at a time; in order; all in the end.
#[test]
fn gathering() {
    schedules("gathering", |world| async move {
        const MEMBERS: usize = 3;
        let came = Arc::new(Mutex::new(0));
        let running: Arc<Mutex<Vec<Tenure>>> = Arc::default();
        let tokens = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for process in 0..MEMBERS {
            let (world, came, running, tokens) =
                (world.clone(), came.clone(), running.clone(), tokens.clone());
            tasks.push(tokio::spawn(async move {
                let mut random = world.random();
                tokio::time::sleep(random.millis(100)).await;
                *came.lock().unwrap() += 1;
                let client = world.client(process).await;
                // One that is lost leaves the others waiting: they give up.
                let joined = tokio::time::timeout(Duration::from_secs(60), async {
                    Gathering::new(&client, "/queue", MEMBERS).join(b"").await
                });
                let finished = match joined.await {
                    Ok(Ok(turn)) => {
                        assert_eq!(*came.lock().unwrap(), MEMBERS, "{process} runs too early");
                        {
                            let mut running = running.lock().unwrap();
                            running.retain(|other| other.holding() != Holding::Lost);
                            assert!(running.is_empty(), "two run");
                            if turn.holding() != Holding::Lost {
                                running.push(turn.tenure());
                                tokens.lock().unwrap().push(turn.token());
                            }
                        }
                        tokio::time::sleep(random.millis(30)).await;
                        running.lock().unwrap().clear();
                        if let Err(error) = turn.done().await {
                            assert!(session_lost(&error), "{error}");
                        }
                        true
                    }
                    Ok(Err(error)) => {
                        assert!(session_lost(&error), "{error}");
                        false
                    }
                    Err(_) => false,
                };
                client.close().await;
                finished
            }));
        }
        // Who dies is passed over, and before all are there the others may wait for it in vain.
        let mut all = perhaps_kill(&world, &mut tasks, 0..MEMBERS, 200).await.is_none();
        for task in tasks {
            all &= task.await.unwrap();
        }
        assert!(all || world.faults().expired > 0 || world.faults().killed > 0, "a wake-up was lost");
        assert!(tokens.lock().unwrap().is_sorted());
        world.be_kind();
        let left = world.left_over().await;
        assert!(left.keys().all(|path| !path.contains("_c_")), "orphans: {left:?}");
    });
}
