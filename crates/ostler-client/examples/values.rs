//! A counter, a value that is changed atomically, and names that are given out once.
//!
//! `cargo run -p ostler-client --example values [-- host:port]`
#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use ostler_client::recipes::{AtomicValue, Counter, IdGenerator};
use ostler_client::{Client, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let servers = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:2181".to_owned());
    let client = Client::connect(&servers).await?;
    println!("visitor {}", Counter::new(&client, "/examples/visitors").add(1).await?);
    let log = AtomicValue::new(&client, "/examples/log");
    let text = log
        .update(|old| {
            let old = String::from_utf8_lossy(old.unwrap_or_default()).into_owned();
            format!("{old}{};", std::process::id()).into()
        })
        .await?;
    println!("{text:?}");
    let ids = IdGenerator::new(&client, "/examples/ids", "order");
    println!("{} and {}", ids.next().await?, ids.next().await?);
    client.close().await;
    Ok(())
}
