//! The first two minutes: write, read, watch, several writes as one.
//!
//! `cargo run -p ostler-client --example quick_start [-- host:port]`
#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use ostler_client::{ANY_VERSION, Client, CreateMode, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let servers = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:2181".to_owned());
    let client = Client::connect(&servers).await?;
    let node = client.create("/quick-", "hello", CreateMode::EphemeralSequential).await?;
    let (data, stat, changed) = client.get_data_and_watch(&node.path).await?;
    println!("{} holds {:?}, version {}", node.path, data, stat.version);

    client.set_data(&node.path, "good evening", stat.version).await?;
    let event = changed.await?;
    println!("{:?} at {} by {}", event.kind, event.path, event.zxid);

    // Requests are under way as soon as they are made; awaiting them in any order is fine.
    let (first, second) = (client.get_data(&node.path), client.exists("/no-such-node"));
    println!("{:?}, {:?}", first.await?.0, second.await?);

    let moved = client
        .transaction()
        .check(&node.path, 1)
        .create("/quick-copy", "good evening", CreateMode::Ephemeral)
        .delete(&node.path, ANY_VERSION)
        .commit()
        .await?;
    println!("{} writes as one", moved.len());
    client.close().await;
    Ok(())
}
