//! A copy of a subtree that follows the servers.
//!
//! `cargo run -p ostler-client --example cache [-- host:port]`
#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use ostler_client::recipes::{Cache, CacheEvent, Scope};
use ostler_client::{Client, CreateMode, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let servers = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:2181".to_owned());
    let client = Client::connect(&servers).await?;
    let mut cache = Cache::start(&client, "/examples", Scope::Tree);
    cache.initialized().await;
    println!("{} znodes", cache.nodes().len());
    client.create("/examples-temporary", "", CreateMode::Ephemeral).await?;
    println!("change something below /examples, or interrupt me");
    loop {
        tokio::select! {
            event = cache.next() => match event {
                Some(CacheEvent::Added(path, _)) => println!("+ {path}"),
                Some(CacheEvent::Updated(path, node)) => println!("~ {path} {:?}", node.data),
                Some(CacheEvent::Removed(path, _)) => println!("- {path}"),
                Some(CacheEvent::Initialized | CacheEvent::Overflow) => {}
                Some(CacheEvent::Ended) | None => break,
            },
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    client.close().await;
    Ok(())
}
