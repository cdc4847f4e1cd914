//! What must happen once: queue, progress, two-phase commit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ostler_client::recipes::{Coordinator, Decision, Participant, Queue, Task, TaskEvent, Vote};

use super::{perhaps_kill, schedules, session_lost};

const LONG: Duration = Duration::from_secs(60);

/// Every value that was put is taken once; one may be missing for each taker whose session was lost.
#[test]
fn queue() {
    schedules("queue", |world| async move {
        let put: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let perhaps: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let taken: Arc<Mutex<Vec<String>>> = Arc::default();
        let lost_takers = Arc::new(Mutex::new(0));
        let mut tasks = Vec::new();
        for process in 0..2 {
            let (world, put, perhaps) = (world.clone(), put.clone(), perhaps.clone());
            tasks.push(tokio::spawn(async move {
                let mut number = 0;
                while number < 5 {
                    let client = world.client(process).await;
                    let queue = Queue::new(&client, "/queue");
                    while number < 5 {
                        let value = format!("{process}-{number}");
                        number += 1;
                        match queue.put(value.clone()).await {
                            Ok(()) => put.lock().unwrap().insert(value),
                            Err(error) => {
                                assert!(session_lost(&error), "{error}");
                                perhaps.lock().unwrap().insert(value);
                                break;
                            }
                        };
                    }
                    client.close().await;
                }
            }));
        }
        for process in 2..4 {
            let (world, taken, lost_takers) = (world.clone(), taken.clone(), lost_takers.clone());
            tasks.push(tokio::spawn(async move {
                loop {
                    let client = world.client(process).await;
                    let queue = Queue::new(&client, "/queue");
                    let ended = loop {
                        match queue.take_within(Duration::from_secs(30)).await {
                            Ok(Some(value)) => {
                                taken.lock().unwrap().push(String::from_utf8(value.to_vec()).unwrap())
                            }
                            Ok(None) => break true,
                            Err(error) => {
                                assert!(session_lost(&error), "{error}");
                                *lost_takers.lock().unwrap() += 1;
                                break false;
                            }
                        }
                    };
                    client.close().await;
                    if ended {
                        break;
                    }
                }
            }));
        }
        // What it has taken and not told is gone with it.
        if perhaps_kill(&world, &mut tasks, 2..4, 200).await.is_some() {
            *lost_takers.lock().unwrap() += 1;
        }
        for task in tasks {
            task.await.unwrap();
        }
        world.be_kind();
        let taken = taken.lock().unwrap().clone();
        let distinct: BTreeSet<String> = taken.iter().cloned().collect();
        assert_eq!(distinct.len(), taken.len(), "a value was taken twice: {taken:?}");
        let put = put.lock().unwrap().clone();
        let missing = put.difference(&distinct).count();
        let lost = *lost_takers.lock().unwrap();
        assert!(missing <= lost, "{missing} values are missing, and {lost} takers were lost");
        assert!(distinct.iter().all(|value| put.contains(value) || perhaps.lock().unwrap().contains(value)));
        let left = world.left_over().await;
        assert!(
            left.keys().all(|path| !path.starts_with("/queue/") && !path.contains("-pending/")),
            "{left:?}"
        );
    });
}

/// The lowest number first, then in the order of the puts, whoever takes them; what a dead taker had is gone with it.
#[test]
fn priority_queue() {
    schedules("priority_queue", |world| async move {
        let sure = Arc::new(AtomicBool::new(false));
        let mut tasks = vec![{
            let (world, sure) = (world.clone(), sure.clone());
            tokio::spawn(async move {
                let client = world.client(0).await;
                let queue = Queue::new(&client, "/p");
                for (value, priority) in [("c", 500), ("a", 1), ("d", 500), ("b", 100)] {
                    if queue.put_with_priority(value, priority).await.is_err() {
                        return;
                    }
                }
                sure.store(true, Relaxed);
                client.close().await;
            })
        }];
        perhaps_kill(&world, &mut tasks, 0..1, 60).await;
        for task in tasks.drain(..) {
            task.await.unwrap();
        }
        let (taken, mut lost) = (Arc::new(Mutex::new(Vec::new())), 0);
        let take = |process| {
            let (world, taken) = (world.clone(), taken.clone());
            tokio::spawn(async move {
                let client = world.client(process).await;
                let queue = Queue::new(&client, "/p");
                while let Ok(Some(value)) = queue.take_within(Duration::from_secs(1)).await {
                    taken.lock().unwrap().push(String::from_utf8(value.to_vec()).unwrap());
                }
                let ended = client.status().is_ended();
                client.close().await;
                ended
            })
        };
        let (first, mut random) = (take(1), world.random());
        if random.percent(30) {
            tokio::time::sleep(random.millis(60)).await;
            world.kill(1);
            first.abort();
            lost += 1;
        } else {
            lost += usize::from(first.await.unwrap());
        }
        lost += usize::from(take(2).await.unwrap());
        let taken = taken.lock().unwrap().clone();
        let distinct: BTreeSet<&String> = taken.iter().collect();
        assert_eq!(distinct.len(), taken.len(), "a value was taken twice: {taken:?}");
        let left = world.tree().keys().filter(|path| path.starts_with("/p/")).count();
        assert!(
            taken.len() + left + lost >= 4 || !sure.load(Relaxed),
            "{taken:?}, {left} are left, and {lost} takers were lost"
        );
        assert!(taken.is_sorted(), "{taken:?}");
    });
}

/// A task that finishes is told as finished and never as died; one whose process is killed is told as died.
#[test]
fn progress() {
    schedules("progress", |world| async move {
        let mut tasks = Vec::new();
        let outcomes: Arc<Mutex<BTreeMap<String, bool>>> = Arc::default();
        for process in 0..3 {
            let (world, outcomes) = (world.clone(), outcomes.clone());
            tasks.push(tokio::spawn(async move {
                let mut random = world.random();
                let client = world.client(process).await;
                let name = format!("t{process}");
                let finished = async {
                    let reporter = Task::new(&client, "/tasks").start(&name, "0").await?;
                    for percent in [30, 60] {
                        tokio::time::sleep(random.millis(40)).await;
                        reporter.report(percent.to_string()).await?;
                    }
                    reporter.finish("done").await
                };
                match finished.await {
                    Ok(()) => drop(outcomes.lock().unwrap().insert(name, true)),
                    // A report to a znode that went with the session, or the session itself: perhaps it is finished.
                    Err(error) => assert!(session_lost(&error) || error.code().is_some(), "{error}"),
                }
                client.close().await;
            }));
        }
        let mut random = world.random();
        let monitor = world.client(9).await;
        let mut seen = Task::new(&monitor, "/tasks").monitor();
        let mut killed = None;
        if random.percent(40) {
            tokio::time::sleep(random.millis(80)).await;
            killed = Some(1);
            world.kill(1);
            tasks.remove(1).abort();
        }
        for task in tasks {
            task.await.unwrap();
        }
        world.be_kind();
        tokio::time::sleep(Duration::from_secs(30)).await;
        let (mut running, mut finished, mut died) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        while let Ok(Some(event)) = tokio::time::timeout(Duration::from_secs(1), seen.next()).await {
            match event {
                TaskEvent::Started(name, _) => drop(running.insert(name)),
                TaskEvent::Progress(name, _) => assert!(running.contains(&name)),
                TaskEvent::Finished(name, data) => {
                    assert_eq!(data, "done");
                    finished.insert(name);
                }
                TaskEvent::Died(name, _) => drop(died.insert(name)),
                TaskEvent::Overflow => panic!("so few events"),
                TaskEvent::Ended => break,
            }
        }
        if !monitor.status().is_ended() {
            assert!(seen.running().is_empty(), "{:?}", seen.running());
            for name in outcomes.lock().unwrap().keys() {
                assert!(finished.contains(name), "{name} finished, and {finished:?} were told");
            }
            assert!(finished.is_disjoint(&died), "{finished:?} finished and {died:?} died");
            for name in &running {
                assert!(finished.contains(name) || died.contains(name), "{name} just vanished");
            }
            let _ = killed;
        }
        monitor.close().await;
        let left = world.left_over().await;
        assert!(left.keys().all(|path| !path.starts_with("/tasks/running/")), "{left:?}");
    });
}

/// One decision for all; commit only if all voted yes; an end whoever dies.
#[test]
fn two_phase_commit() {
    schedules("two_phase_commit", |world| async move {
        let names = ["a", "b", "c"];
        let decisions: Arc<Mutex<Vec<Decision>>> = Arc::default();
        let noes = Arc::new(Mutex::new(0));
        let mut tasks = Vec::new();
        for process in 0..2 {
            // Two coordinators: the second takes over if the first dies, and does no harm if not.
            let (world, decisions) = (world.clone(), decisions.clone());
            tasks.push(tokio::spawn(async move {
                let patience = Duration::from_secs(5 + process as u64 * 20);
                loop {
                    let client = world.client(process).await;
                    let decided = async {
                        let coordinator = if process == 0 {
                            Some(Coordinator::begin(&client, "/tx/1", &names).await?)
                        } else {
                            tokio::time::sleep(Duration::from_millis(50)).await;
                            Coordinator::begin(&client, "/tx/1", &names).await?;
                            Coordinator::open(&client, "/tx/1").await?
                        };
                        match coordinator {
                            Some(coordinator) => coordinator.decide(patience).await.map(Some),
                            None => Ok(None),
                        }
                    };
                    let decided = decided.await;
                    client.close().await;
                    match decided {
                        Ok(decision) => {
                            decisions.lock().unwrap().extend(decision);
                            break;
                        }
                        Err(error) => assert!(session_lost(&error), "{error}"),
                    }
                }
            }));
        }
        for (place, name) in names.into_iter().enumerate() {
            let (world, decisions, noes) = (world.clone(), decisions.clone(), noes.clone());
            let mut random = world.random();
            tasks.push(tokio::spawn(async move {
                let wish = if random.percent(15) { Vote::No } else { Vote::Yes };
                if wish == Vote::No {
                    *noes.lock().unwrap() += 1;
                }
                tokio::time::sleep(Duration::from_millis(100) + random.millis(100)).await;
                loop {
                    let client = world.client(2 + place).await;
                    let participant = Participant::new(&client, "/tx/1", name);
                    let voted = async {
                        assert_eq!(participant.vote(wish).await?, wish);
                        participant.decision().await
                    };
                    let voted = tokio::time::timeout(LONG, voted).await;
                    client.close().await;
                    match voted {
                        Ok(Ok(decision)) => break decisions.lock().unwrap().push(decision),
                        // The coordinator has not begun yet.
                        Ok(Err(error)) => assert!(session_lost(&error) || error.code().is_some(), "{error}"),
                        Err(_) => panic!("{name} never hears of the decision"),
                    }
                }
            }));
        }
        let mut random = world.random();
        let mut tasks = tasks.into_iter().collect::<Vec<_>>();
        if random.percent(30) {
            tokio::time::sleep(random.millis(300)).await;
            world.kill(0);
            tasks.remove(0).abort();
        }
        for task in tasks {
            task.await.unwrap();
        }
        let decisions = decisions.lock().unwrap().clone();
        assert!(decisions.windows(2).all(|pair| pair[0] == pair[1]), "{decisions:?}");
        assert!(*noes.lock().unwrap() == 0 || decisions[0] == Decision::Abort, "committed against a no");
    });
}
