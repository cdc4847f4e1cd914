//! An exclusive lock: several processes that run this take turns.
//!
//! `cargo run -p ostler-client --example lock [-- host:port]`
#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::time::Duration;

use ostler_client::recipes::Lock;
use ostler_client::{Client, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let servers = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:2181".to_owned());
    let client = Client::connect(&servers).await?;
    let lock = Lock::new(&client, "/examples/lock").with_id(format!("process {}", std::process::id()));
    for round in 1..=3 {
        let guard = lock.acquire().await?;
        println!("round {round}: held, with token {}", guard.token());
        tokio::select! {
            () = guard.lost() => println!("lost: somebody else may hold it now"),
            asked = guard.revoked() => println!("somebody asks for it: {asked:?}"),
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
        }
        guard.release().await?;
    }
    client.close().await;
    Ok(())
}
