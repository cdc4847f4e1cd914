//! Servers die and come back beneath the client.

use std::time::Duration;

use ostler_client::recipes::{Counter, Holding, Lock};
use ostler_client::{
    ANY_VERSION, AddWatchMode, Client, Code, CreateMode, ErrorKind, EventType, SessionState, WatchEvent,
};
use tokio::time::{sleep, timeout};

use super::World;

/// Long enough for a server to come back, Java's too.
const LONG: Duration = Duration::from_secs(90);

/// What a busy machine may add to a moment that is measured from outside.
const SCHEDULING: Duration = Duration::from_secs(1);

pub(crate) async fn run(world: &mut World) {
    a_restart_beneath_watches_and_ephemerals(world).await;
    world.pass("a_restart_beneath_watches_and_ephemerals");
    requests_wait_for_a_connection(world).await;
    world.pass("requests_wait_for_a_connection");
    a_lock_is_suspended_and_held_again(world).await;
    world.pass("a_lock_is_suspended_and_held_again");
    a_session_that_is_lost(world).await;
    world.pass("a_session_that_is_lost");
    every_write_is_accounted_for(world).await;
    world.pass("every_write_is_accounted_for");
    a_counter_counts_once(world).await;
    world.pass("a_counter_counts_once");
}

/// A client of one server only, with its own root.
async fn client_of(world: &World, server: usize, name: &str, session_timeout: Duration) -> Client {
    let client = Client::builder(&world.servers[server]).unwrap().session_timeout(session_timeout);
    let client = client.connect_patience(LONG).connect().await.unwrap();
    let root = format!("/suite-{name}-{:x}", client.session_id().0);
    client.create(&root, "", CreateMode::Persistent).await.unwrap();
    client.close().await;
    let chrooted = format!("{}{root}", world.servers[server]);
    Client::builder(&chrooted).unwrap().session_timeout(session_timeout).connect().await.unwrap()
}

/// Every server dies and comes back, one after the other; with a single one there is an outage.
async fn roll(world: &World) {
    for server in 0..world.servers.len() {
        world.ask("kill", server).await;
        sleep(Duration::from_millis(300)).await;
        world.ask("start", server).await;
        sleep(Duration::from_millis(300)).await;
    }
}

async fn a_restart_beneath_watches_and_ephemerals(world: &World) {
    let client = client_of(world, 0, "restart", Duration::from_secs(60)).await;
    let session = client.session_id();
    client.create("/e", "", CreateMode::Ephemeral).await.unwrap();
    client.create("/d", "", CreateMode::Persistent).await.unwrap();
    let (_, _, changed) = client.get_data_and_watch("/d").await.unwrap();
    let (_, created) = client.exists_and_watch("/later").await.unwrap();
    let mut stream = client.add_watch("/", AddWatchMode::PersistentRecursive).await.unwrap();
    world.ask("kill", 0).await;
    let mut statuses = client.statuses();
    let suspended = |status: &ostler_client::Status| status.state == SessionState::Suspended;
    timeout(LONG, statuses.wait_until(suspended)).await.unwrap();
    world.ask("start", 0).await;
    timeout(LONG, client.connected()).await.unwrap().unwrap();
    assert_eq!(client.session_id(), session, "the session was resumed");
    assert!(client.exists("/e").await.unwrap().is_some());
    assert_eq!(stream.next().await, Some(WatchEvent::Reconnected));
    client.set_data("/d", "x", ANY_VERSION).await.unwrap();
    client.create("/later", "", CreateMode::Persistent).await.unwrap();
    assert_eq!(timeout(LONG, changed).await.unwrap().unwrap().kind, EventType::NodeDataChanged);
    assert_eq!(timeout(LONG, created).await.unwrap().unwrap().kind, EventType::NodeCreated);
    for path in ["/d", "/later"] {
        match timeout(LONG, stream.next()).await.unwrap() {
            Some(WatchEvent::Changed(event)) => assert_eq!(event.path, path),
            other => panic!("{other:?}"),
        }
    }
    client.close().await;
}

async fn requests_wait_for_a_connection(world: &World) {
    let client = client_of(world, 0, "waiting", Duration::from_secs(60)).await;
    client.create("/n", "", CreateMode::Persistent).await.unwrap();
    world.ask("kill", 0).await;
    let suspended = |status: &ostler_client::Status| !status.is_connected();
    client.statuses().wait_until(suspended).await;
    let waiting = (client.set_data("/n", "later", 0), client.get_data("/n"));
    world.ask("start", 0).await;
    assert_eq!(timeout(LONG, waiting.0).await.unwrap().unwrap().version, 1);
    assert_eq!(timeout(LONG, waiting.1).await.unwrap().unwrap().0, "later");
    client.close().await;
}

async fn a_lock_is_suspended_and_held_again(world: &World) {
    let client = client_of(world, 0, "lock", Duration::from_secs(60)).await;
    let mut guard = Lock::new(&client, "/lock").acquire().await.unwrap();
    assert_eq!(guard.holding(), Holding::Held);
    world.ask("kill", 0).await;
    assert_eq!(timeout(LONG, guard.changed()).await.unwrap(), Holding::Suspended);
    world.ask("start", 0).await;
    assert_eq!(timeout(LONG, guard.changed()).await.unwrap(), Holding::Held);
    guard.release().await.unwrap();
    client.close().await;
}

async fn a_session_that_is_lost(world: &World) {
    let client = client_of(world, 0, "lost", Duration::from_secs(4)).await;
    let mut guard = Lock::new(&client, "/lock").acquire().await.unwrap();
    let session = client.session_timeout();
    let (_, _, watch) = client.get_data_and_watch("/").await.unwrap();
    world.ask("kill", 0).await;
    assert_eq!(timeout(LONG, guard.changed()).await.unwrap(), Holding::Suspended);
    let suspended = tokio::time::Instant::now();
    assert_eq!(timeout(LONG, guard.changed()).await.unwrap(), Holding::Lost);
    assert!(
        suspended.elapsed() <= session + SCHEDULING,
        "lost after {:?}, and the timeout is {session:?}",
        suspended.elapsed()
    );
    let waiting = client.get_data("/");
    assert_eq!(timeout(LONG, waiting).await.unwrap().unwrap_err().kind(), ErrorKind::SessionLost);
    assert_eq!(timeout(LONG, watch).await.unwrap().unwrap_err().kind(), ErrorKind::SessionLost);
    assert!(client.status().is_ended());
    assert!(guard.release().await.is_err());
    world.ask("start", 0).await;
}

/// Each write has one of three ends: done, refused, unknown; and the version tells how many were done.
async fn every_write_is_accounted_for(world: &World) {
    let all = Client::builder(&world.servers())
        .unwrap()
        .session_timeout(Duration::from_secs(60))
        .connect()
        .await
        .unwrap();
    let path = format!("/writes-{:x}", all.session_id().0);
    all.create(&path, "", CreateMode::Persistent).await.unwrap();
    let writer = {
        let (client, path) = (all.clone(), path.clone());
        tokio::spawn(async move {
            let (mut done, mut unknown, mut retried) = (0, 0, 0);
            let end = tokio::time::Instant::now()
                + Duration::from_secs(if cfg!(debug_assertions) { 12 } else { 8 });
            while tokio::time::Instant::now() < end {
                let replies: Vec<_> = (0..20).map(|_| client.set_data(&path, "x", ANY_VERSION)).collect();
                for reply in replies {
                    match reply.await {
                        Ok(_) => done += 1,
                        Err(error) => match error.kind() {
                            ErrorKind::Unknown => unknown += 1,
                            ErrorKind::Retry => retried += 1,
                            other => panic!("{other:?}: {error}"),
                        },
                    }
                }
                sleep(Duration::from_millis(5)).await;
            }
            (done, unknown, retried)
        })
    };
    roll(world).await;
    let (done, unknown, retried) = writer.await.unwrap();
    all.sync(&path).await.unwrap();
    let version = all.get_data(&path).await.unwrap().1.version;
    println!("   {done} writes done, {unknown} unknown, {retried} not sent; version {version}");
    assert!((done..=done + unknown).contains(&version));
    all.delete(&path, ANY_VERSION).await.unwrap();
    all.close().await;
}

async fn a_counter_counts_once(world: &World) {
    let mut builder = Client::builder(&world.servers()).unwrap();
    builder = builder.session_timeout(Duration::from_secs(60));
    let client = builder.connect().await.unwrap();
    let path = format!("/counter-{:x}", client.session_id().0);
    let adder = {
        let (client, path) = (client.clone(), path.clone());
        tokio::spawn(async move {
            let counter = Counter::new(&client, &path);
            for expected in 1..=60 {
                assert_eq!(counter.add(1).await.unwrap(), expected);
                sleep(Duration::from_millis(50)).await;
            }
        })
    };
    roll(world).await;
    timeout(LONG, adder).await.unwrap().unwrap();
    client.sync(&path).await.unwrap();
    assert_eq!(client.get_data(&path).await.unwrap().0, "60");
    assert_eq!(client.get_data("/no-such").await.unwrap_err().code(), Some(Code::NoNode));
    client.close().await;
}
