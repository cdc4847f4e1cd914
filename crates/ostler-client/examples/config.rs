//! Configuration that is published and followed.
//!
//! `cargo run -p ostler-client --example config [-- host:port]`
#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use ostler_client::recipes::Configuration;
use ostler_client::{Client, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let servers = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:2181".to_owned());
    let client = Client::connect(&servers).await?;
    let limit = Configuration::<u32>::new(&client, "/examples/limit");
    let mut value = limit.subscribe(100);
    println!("before anything was read: {}", value.get());
    value.loaded().await;
    for number in [200, 300] {
        limit.publish(&number).await?;
        if let Some(seen) = value.changed().await {
            println!("now: {seen}");
        }
    }
    client.close().await;
    println!("after the session: {}", value.get());
    Ok(())
}
