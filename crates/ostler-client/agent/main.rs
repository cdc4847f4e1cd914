//! This project's side of `cargo xtask interop recipes`: does what the agents in Java and Python do, on the same znodes.
//! `recipe-agent host:port what directory id count`. What two holders at a time would be is judged by files in the
//! directory, which nobody's coordination service has a hand in.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a failure panics, and the count is printed")]

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ostler_client::Client;
use ostler_client::recipes::{DoubleBarrier, Election, Instance, Layout, Lock, Queue, Registry};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, what, directory, id, count] = &arguments[..] else {
        panic!("usage: recipe-agent host:port what directory id count")
    };
    let count: usize = count.parse().unwrap();
    let directory = PathBuf::from(directory);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Client::connect(server).await.unwrap();
        match what.as_str() {
            "lock" => lock(&client, &directory, count).await,
            "revoke" => revoke(&client, &directory, id, count).await,
            "elect" => elect(&client, &directory, id, count).await,
            "barrier" => barrier(&client, &directory, id, count).await,
            "discover" => discover(&client, &directory, id, count).await,
            "put" => put(&client, id, count).await,
            "take" => take(&client, count).await,
            other => panic!("what is {other:?}?"),
        }
        client.close().await;
    });
}

/// Alone, by a file that only one can create.
struct Alone(PathBuf);

impl Alone {
    fn enter(directory: &Path) -> Self {
        let path = directory.join("holder");
        OpenOptions::new().write(true).create_new(true).open(&path).expect("TWO HOLDERS");
        Self(path)
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

async fn lock(client: &Client, directory: &Path, count: usize) {
    let lock = Lock::new(client, "/interop/lock");
    let mut last = None;
    for _ in 0..count {
        let guard = lock.acquire().await.unwrap();
        assert!(last < Some(guard.token()));
        last = Some(guard.token());
        drop(Alone::enter(directory));
        guard.release().await.unwrap();
    }
    println!("{count}");
}

/// Two take turns: one holds the lock until it is asked to let go, the other asks, and gets it.
async fn revoke(client: &Client, directory: &Path, id: &str, count: usize) {
    let lock = Lock::new(client, "/interop/revocable");
    let holds_even = id == "even";
    for round in 0..count {
        let file = |what: &str| directory.join(format!("{what}-{round}"));
        if (round % 2 == 0) == holds_even {
            let guard = lock.acquire().await.unwrap();
            std::fs::write(file("held"), "").unwrap();
            guard.revoked().await.unwrap();
            std::fs::write(file("heard"), "").unwrap();
            guard.release().await.unwrap();
            until(&file("got")).await;
        } else {
            until(&file("held")).await;
            assert!(lock.revoke().await.unwrap(), "there is a holder");
            let guard = lock.acquire().await.unwrap();
            assert!(file("heard").exists(), "let go before it was asked");
            guard.release().await.unwrap();
            std::fs::write(file("got"), "").unwrap();
        }
    }
    println!("{count}");
}

async fn until(file: &Path) {
    while !file.exists() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn elect(client: &Client, directory: &Path, id: &str, count: usize) {
    for _ in 0..count {
        let mut candidate = Election::new(client, "/interop/election").join(id.to_owned());
        candidate.leads().await.unwrap();
        let alone = Alone::enter(directory);
        tokio::time::sleep(Duration::from_millis(2)).await;
        drop(alone);
        candidate.leave().await;
    }
    println!("{count}");
}

const MEMBERS: usize = 4;

/// How many there are whose name begins so.
fn noted(directory: &Path, prefix: &str) -> usize {
    let names = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with(prefix)).count()
}

async fn barrier(client: &Client, directory: &Path, id: &str, count: usize) {
    for round in 0..count {
        let mut barrier = DoubleBarrier::new(client, &format!("/interop/barrier-{round}"), MEMBERS);
        let note = |when: &str| drop(std::fs::write(directory.join(format!("{when}-{round}-{id}")), ""));
        let noted = |when: &str| noted(directory, &format!("{when}-{round}-"));
        note("in");
        barrier.enter().await.unwrap();
        assert_eq!(noted("in"), MEMBERS, "entered before all were there");
        // Nobody leaves before all are in: a member of Curator's that is still on its way in waits for ever then.
        note("entered");
        while noted("entered") < MEMBERS {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        note("out");
        barrier.leave().await.unwrap();
        assert_eq!(noted("out"), MEMBERS, "left before all had left");
    }
    println!("{count}");
}

/// Registers, and waits until all members see all members, round by round.
async fn discover(client: &Client, directory: &Path, id: &str, count: usize) {
    let registry = Registry::new(client, Layout::Curator("/interop/services".to_owned()));
    for round in 0..count {
        let service = format!("service-{round}");
        let mut discovery = registry.discover(&service).await.unwrap();
        let own = Instance::new(id, &format!("{id}.example"), 8000).with("zone", &format!("z-{id}"));
        let registration = registry.register(&service, &own).await.unwrap();
        while discovery.instances().len() < MEMBERS {
            assert!(discovery.changed().await, "the session is over");
        }
        for found in discovery.instances() {
            assert_eq!((&found.address, found.port), (&format!("{}.example", found.id), 8000));
            assert_eq!(found.attributes["zone"], format!("z-{}", found.id));
        }
        drop(std::fs::write(directory.join(format!("saw-{round}-{id}")), ""));
        while noted(directory, &format!("saw-{round}-")) < MEMBERS {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        registration.offline(Duration::ZERO).await.unwrap();
    }
    println!("{count}");
}

async fn put(client: &Client, id: &str, count: usize) {
    let queue = Queue::new(client, &format!("/interop/queue-{id}"));
    for number in 0..count {
        queue.put(number.to_string()).await.unwrap();
    }
    println!("{count}");
}

/// What the Python agent put, in its order.
async fn take(client: &Client, count: usize) {
    let queue = Queue::new(client, "/interop/queue-python");
    for number in 0..count {
        let value = queue.take_within(Duration::from_secs(30)).await.unwrap().expect("a value");
        assert_eq!(value, number.to_string());
    }
    assert!(queue.is_empty().await.unwrap());
    println!("{count}");
}
