//! The first to create `/examples/master` leads.
//!
//! `cargo run -p ostler-client --example master [-- host:port]`
#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use ostler_client::recipes::MasterElection;
use ostler_client::{Client, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let servers = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:2181".to_owned());
    let client = Client::connect(&servers).await?;
    let mut candidate =
        MasterElection::new(&client, "/examples/master").join(format!("{}", std::process::id()));
    if let Some(token) = candidate.leads().await {
        println!("I am the master, with token {token}; interrupt me to step down");
        let _ = tokio::signal::ctrl_c().await;
    }
    candidate.leave().await;
    client.close().await;
    Ok(())
}
