//! Values: counters that count once, names that are given out once, configuration that arrives.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ostler_client::recipes::{AtomicValue, Configuration, Counter, IdGenerator};

use super::world::World;
use super::{perhaps_kill, schedules, session_lost};

/// Each add that returned counts once; one whose session was lost counts once or not at all.
#[test]
fn counter() {
    schedules("counter", |world| async move {
        let sums = Arc::new(Mutex::new((0_i64, 0_i64)));
        let mut tasks = Vec::new();
        for process in 0..3 {
            let (world, sums) = (world.clone(), sums.clone());
            tasks.push(tokio::spawn(async move {
                let mut done = 0;
                while done < 5 {
                    let client = world.client(process).await;
                    let counter = Counter::new(&client, "/counters/a");
                    while done < 5 {
                        done += 1;
                        match counter.add(1).await {
                            Ok(sum) => {
                                sums.lock().unwrap().0 += 1;
                                assert!(sum > 0);
                            }
                            Err(error) => {
                                assert!(session_lost(&error), "{error}");
                                sums.lock().unwrap().1 += 1;
                                break;
                            }
                        }
                    }
                    client.close().await;
                }
            }));
        }
        // The one that it was at may have counted.
        if perhaps_kill(&world, &mut tasks, 0..3, 150).await.is_some() {
            sums.lock().unwrap().1 += 1;
        }
        for task in tasks {
            task.await.unwrap();
        }
        world.be_kind();
        let left = world.left_over().await;
        let total: i64 =
            left.get("/counters/a").map_or(0, |data| String::from_utf8_lossy(data).parse().unwrap());
        let (certain, perhaps) = *sums.lock().unwrap();
        assert!((certain..=certain + perhaps).contains(&total), "{total}: {certain} and perhaps {perhaps}");
        assert!(left.keys().all(|path| !path.starts_with("/counters/a-pending/")), "markers: {left:?}");
    });
}

/// Every update is on top of what it was given: appended letters are all there, each once.
#[test]
fn atomic_value() {
    schedules("atomic_value", |world| async move {
        let certain = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for process in 0..3_u8 {
            let (world, certain) = (world.clone(), certain.clone());
            tasks.push(tokio::spawn(async move {
                for round in 0..3 {
                    let client = world.client(usize::from(process)).await;
                    let letter = b'a' + process * 3 + round;
                    let append = |old: Option<&[u8]>| {
                        let mut new = old.unwrap_or_default().to_vec();
                        new.push(letter);
                        new.into()
                    };
                    match AtomicValue::new(&client, "/value").update(append).await {
                        Ok(_) => certain.lock().unwrap().push(letter),
                        Err(error) => assert!(session_lost(&error), "{error}"),
                    }
                    client.close().await;
                }
            }));
        }
        perhaps_kill(&world, &mut tasks, 0..3, 150).await;
        for task in tasks {
            task.await.unwrap();
        }
        world.be_kind();
        let letters = world.left_over().await.remove("/value").unwrap_or_default();
        let distinct: BTreeSet<u8> = letters.iter().copied().collect();
        assert_eq!(distinct.len(), letters.len(), "something was appended twice: {letters:?}");
        assert!(
            certain.lock().unwrap().iter().all(|letter| distinct.contains(letter)),
            "something is missing"
        );
    });
}

/// No name twice, and each greater than those that were known before it was asked for.
#[test]
fn ids() {
    schedules("ids", |world| async move {
        let given: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let mut tasks = Vec::new();
        for process in 0..3 {
            let (world, given) = (world.clone(), given.clone());
            tasks.push(tokio::spawn(async move {
                let mut count = 0;
                while count < 4 {
                    let client = world.client(process).await;
                    let ids = IdGenerator::new(&client, "/ids", "order");
                    while count < 4 {
                        let before = given.lock().unwrap().last().cloned();
                        match ids.next().await {
                            Ok(id) => {
                                count += 1;
                                assert!(before.is_none_or(|before| before < id));
                                assert!(given.lock().unwrap().insert(id.clone()), "{id} was given twice");
                            }
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
        perhaps_kill(&world, &mut tasks, 0..3, 150).await;
        for task in tasks {
            task.await.unwrap();
        }
        world.be_kind();
        let left = world.left_over().await;
        assert!(left.keys().all(|path| !path.contains("_c_")), "orphans: {left:?}");
    });
}

/// Publishes the numbers from `first` to 5.
async fn publish(world: World, process: usize, first: u32) {
    let mut random = world.random();
    for number in first..=5 {
        loop {
            let client = world.client(process).await;
            let published = Configuration::new(&client, "/config/x").publish(&number).await;
            client.close().await;
            match published {
                Ok(()) => break,
                Err(error) => assert!(session_lost(&error), "{error}"),
            }
        }
        tokio::time::sleep(random.millis(50)).await;
    }
}

/// Subscribers see values in order, the default when there is none, and the newest in the end.
#[test]
fn configuration() {
    schedules("configuration", |world| async move {
        let subscriber = world.client(1).await;
        let mut value = Configuration::<u32>::new(&subscriber, "/config/x").subscribe(0);
        assert_eq!(*value.get(), 0);
        let mut publishers = vec![tokio::spawn(publish(world.clone(), 0, 1))];
        if perhaps_kill(&world, &mut publishers, 0..1, 200).await.is_some() {
            // Whoever takes its place has the last word.
            publishers.push(tokio::spawn(publish(world.clone(), 2, 5)));
        }
        let mut last = 0;
        while last < 5 {
            match tokio::time::timeout(Duration::from_secs(120), value.changed()).await {
                Ok(Some(seen)) => {
                    assert!(*seen >= last, "{seen} after {last}");
                    last = *seen;
                }
                Ok(None) => break,
                Err(_) => panic!("the newest value does not arrive; last was {last}"),
            }
        }
        for publisher in publishers {
            publisher.await.unwrap();
        }
        assert!(last == 5 || subscriber.status().is_ended());
        assert_eq!(*value.get(), last, "it outlives the session");
        subscriber.close().await;
        assert!(world.left_over().await.contains_key("/config/x"));
    });
}

/// A text that is no value leaves the last one, and a znode that goes leaves the default.
#[tokio::test(start_paused = true)]
async fn configuration_that_cannot_be_read() {
    let world = World::new(1);
    world.be_kind();
    let client = world.client(0).await;
    let configuration = Configuration::<u32>::new(&client, "/c");
    let mut value = configuration.subscribe(7);
    assert!(value.loaded().await);
    configuration.publish(&8).await.unwrap();
    assert_eq!(value.changed().await.as_deref(), Some(&8));
    client.set_data("/c", "eight", -1).await.unwrap();
    assert_eq!(value.changed().await.as_deref(), Some(&8));
    assert!(value.problem().unwrap().contains("eight"));
    client.delete("/c", -1).await.unwrap();
    assert_eq!(value.changed().await.as_deref(), Some(&7));
}
