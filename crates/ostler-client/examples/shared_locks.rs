//! Readers share, a writer is alone; a semaphore lets two in; several locks are taken as one.
//!
//! `cargo run -p ostler-client --example shared_locks [-- host:port]`
#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use ostler_client::recipes::{MultiLock, ReadWriteLock, Semaphore};
use ostler_client::{Client, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let servers = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:2181".to_owned());
    let client = Client::connect(&servers).await?;
    let lock = ReadWriteLock::new(&client, "/examples/rw");
    let (one, two) = (lock.read().await?, lock.read().await?);
    println!("two readers: {} and {}", one.token(), two.token());
    one.release().await?;
    two.release().await?;
    let writer = lock.write().await?;
    println!("a writer: {}", writer.token());
    writer.release().await?;

    let semaphore = Semaphore::new(&client, "/examples/semaphore", 2);
    let leases = (semaphore.acquire().await?, semaphore.acquire().await?);
    let third = semaphore.acquire_within(std::time::Duration::from_millis(200)).await?;
    println!("a third lease: {}", third.is_some());
    leases.0.release().await?;
    leases.1.release().await?;

    let both = MultiLock::new(&client, &["/examples/b", "/examples/a"]).acquire().await?;
    println!("two locks as one: {:?}", both.tokens());
    both.release().await?;
    client.close().await;
    Ok(())
}
