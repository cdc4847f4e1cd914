//! Caches, groups and discovery: in the end what the server has, with events that tell the same story.

use std::collections::BTreeMap;
use std::time::Duration;

use ostler_client::recipes::{Cache, CacheEvent, Group, Instance, Layout, MemberEvent, Registry, Scope};
use ostler_client::{ANY_VERSION, Client, CreateMode};

use super::world::{Rng, World};
use super::{perhaps_kill, schedules, session_lost};

/// Random changes below `/c`.
async fn churn(client: &Client, random: &mut Rng) {
    for _ in 0..25 {
        let names = ["/c", "/c/a", "/c/b", "/c/a/x", "/c/a/y", "/c/b/x"];
        let path = names[usize::try_from(random.below(names.len() as u64)).unwrap()];
        // Refusals and lost answers are all the same here.
        match random.below(6) {
            0 | 1 => drop(client.create(path, random.below(9).to_string(), CreateMode::Persistent).await),
            // Gone with whoever made it.
            2 => drop(client.create(path, random.below(9).to_string(), CreateMode::Ephemeral).await),
            3 => drop(client.set_data(path, random.below(9).to_string(), ANY_VERSION).await),
            _ => drop(client.delete(path, ANY_VERSION).await),
        }
        if random.percent(30) {
            tokio::time::sleep(random.millis(10)).await;
        }
    }
}

async fn cached(world: World, scope: Scope) {
    let mut random = world.random();
    let writer = {
        let (world, mut random) = (world.clone(), world.random());
        tokio::spawn(async move {
            for _ in 0..3 {
                let client = world.client(0).await;
                churn(&client, &mut random).await;
                client.close().await;
            }
        })
    };
    tokio::time::sleep(random.millis(100)).await;
    let client = world.client(1).await;
    let mut cache = Cache::start(&client, "/c", scope);
    let mut told: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut initialized = false;
    let mut writer = vec![writer];
    perhaps_kill(&world, &mut writer, 0..1, 200).await;
    let mut kind = false;
    loop {
        let event = match tokio::time::timeout(Duration::from_secs(20), cache.next()).await {
            Ok(event) => event,
            Err(_) if !kind => {
                // Until the writer has ended there may be more.
                for writer in writer.drain(..) {
                    writer.await.unwrap();
                }
                world.be_kind();
                kind = true;
                continue;
            }
            Err(_) => break,
        };
        match event {
            Some(CacheEvent::Added(path, node)) => {
                let parent = path.rsplit_once('/').unwrap().0;
                assert!(
                    scope == Scope::Children || path == "/c" || told.contains_key(parent),
                    "{path} before {parent}"
                );
                assert_eq!(told.insert(path.clone(), node.data.to_vec()), None, "{path} came twice");
            }
            Some(CacheEvent::Updated(path, node)) => {
                assert!(told.insert(path.clone(), node.data.to_vec()).is_some(), "{path} was not there");
            }
            Some(CacheEvent::Removed(path, _)) => {
                let prefix = format!("{path}/");
                assert!(told.keys().all(|other| !other.starts_with(&prefix)), "{path} before its children");
                assert!(told.remove(&path).is_some(), "{path} was not there");
            }
            Some(CacheEvent::Initialized) => initialized = true,
            Some(CacheEvent::Overflow) => panic!("so few events"),
            Some(CacheEvent::Ended) | None => break,
        }
    }
    for writer in writer {
        writer.await.unwrap();
    }
    let copy: BTreeMap<String, Vec<u8>> =
        cache.nodes().into_iter().map(|(path, node)| (path, node.data.to_vec())).collect();
    assert_eq!(copy, told, "the events tell what the copy is");
    if !client.status().is_ended() {
        assert!(initialized);
        let mut real = world.tree();
        real.retain(|path, _| match scope {
            Scope::Tree => path == "/c" || path.starts_with("/c/"),
            Scope::Children => path.starts_with("/c/") && path.matches('/').count() == 2,
        });
        assert_eq!(copy, real, "the copy is what the server has");
    }
    drop(cache);
    client.close().await;
}

#[test]
fn tree_cache() {
    schedules("tree_cache", |world| cached(world, Scope::Tree));
}

#[test]
fn path_cache() {
    schedules("path_cache", |world| cached(world, Scope::Children));
}

/// Who joined is seen, who left or died is not; a name is there once.
#[test]
fn group() {
    schedules("group", |world| async move {
        let mut tasks = Vec::new();
        for process in 0..3 {
            let world = world.clone();
            tasks.push(tokio::spawn(async move {
                let mut random = world.random();
                // The second comes back under its name with another session, while the first may be there.
                for round in 0..2 {
                    let client = world.client(process).await;
                    let joined =
                        Group::new(&client, "/group").join(&format!("m{process}"), round.to_string()).await;
                    match joined {
                        Ok(membership) => {
                            tokio::time::sleep(random.millis(50)).await;
                            match random.below(3) {
                                0 => drop(membership.leave().await),
                                1 => drop(membership),
                                _ => std::mem::forget(membership),
                            }
                        }
                        Err(error) => assert!(session_lost(&error), "{error}"),
                    }
                    client.close().await;
                }
            }));
        }
        let client = world.client(9).await;
        let mut members = Group::new(&client, "/group").members();
        let mut random = world.random();
        if random.percent(30) {
            tokio::time::sleep(random.millis(100)).await;
            world.kill(2);
            tasks.pop().unwrap().abort();
        }
        for task in tasks {
            task.await.unwrap();
        }
        world.be_kind();
        tokio::time::sleep(Duration::from_secs(30)).await;
        let mut present = BTreeMap::new();
        while let Ok(Some(event)) = tokio::time::timeout(Duration::from_secs(1), members.next()).await {
            match event {
                MemberEvent::Joined(name, data) => assert_eq!(present.insert(name, data), None),
                MemberEvent::Updated(name, data) => assert!(present.insert(name, data).is_some()),
                MemberEvent::Left(name) => assert!(present.remove(&name).is_some()),
                MemberEvent::Initialized => {}
                MemberEvent::Overflow => panic!("so few events"),
                MemberEvent::Ended => break,
            }
        }
        if !client.status().is_ended() {
            assert!(members.current().is_empty() && present.is_empty(), "{present:?}");
        }
        drop(members);
        client.close().await;
        let left = world.left_over().await;
        assert!(left.keys().all(|path| !path.starts_with("/group/")), "{left:?}");
    });
}

/// A consumer's list is in the end who is registered, and outlives its session.
#[test]
fn discovery() {
    schedules("discovery", |world| async move {
        let mut random = world.random();
        let layouts =
            [Layout::Plain("/services".into()), Layout::Dubbo, Layout::Curator("/discovery".into())];
        let layout = layouts[usize::try_from(random.below(3)).unwrap()].clone();
        let consumer = world.client(9).await;
        let Ok(discovery) = Registry::new(&consumer, layout.clone()).discover("org.x.Y").await else {
            return assert!(consumer.status().is_ended());
        };
        let mut stay = Vec::new();
        let mut registered = 0;
        for process in 0..3_u16 {
            let client = world.client(usize::from(process)).await;
            let instance = Instance::new(&format!("i{process}"), "10.0.0.1", 8000 + process);
            match Registry::new(&client, layout.clone()).register("org.x.Y", &instance).await {
                Ok(registration) if process == 0 => {
                    drop(registration.offline(Duration::from_millis(100)).await);
                    client.close().await;
                }
                Ok(registration) => {
                    registered += 1;
                    stay.push((process, client, registration));
                }
                Err(error) => assert!(session_lost(&error), "{error}"),
            }
        }
        // The last provider dies: who that is the list has to find out.
        let killed = random.percent(30);
        if killed {
            world.kill(2);
        }
        world.be_kind();
        tokio::time::sleep(Duration::from_secs(20)).await;
        let alive: Vec<u16> = stay
            .iter()
            .filter(|(process, client, _)| !(client.status().is_ended() || killed && *process == 2))
            .map(|(process, ..)| 8000 + process)
            .collect();
        let ports: Vec<u16> = discovery.instances().iter().map(|instance| instance.port).collect();
        if !consumer.status().is_ended() {
            assert_eq!(ports, alive, "{registered} registered");
        }
        for (process, client, registration) in stay {
            drop(registration);
            if !(killed && process == 2) {
                client.close().await;
            }
        }
        consumer.close().await;
        assert!(discovery.instances().len() <= 3);
        let left = world.left_over().await;
        assert!(left.values().all(|data| !String::from_utf8_lossy(data).contains("10.0.0.1")), "{left:?}");
    });
}
