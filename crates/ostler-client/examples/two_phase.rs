//! Two-phase commit between two participants.
//!
//! `cargo run -p ostler-client --example two_phase [-- host:port]`
#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::time::Duration;

use ostler_client::recipes::{Coordinator, Participant, Vote};
use ostler_client::{Client, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let servers = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:2181".to_owned());
    let client = Client::connect(&servers).await?;
    let path = format!("/examples/transfer-{}", std::process::id());
    let coordinator = Coordinator::begin(&client, &path, &["bank-a", "bank-b"]).await?;
    let participants: Vec<_> = ["bank-a", "bank-b"]
        .into_iter()
        .map(|name| {
            let participant = Participant::new(&client, &path, name);
            tokio::spawn(async move {
                participant.vote(Vote::Yes).await?;
                participant.decision().await
            })
        })
        .collect();
    println!("the coordinator decides {:?}", coordinator.decide(Duration::from_secs(5)).await?);
    for participant in participants {
        println!("a participant hears {:?}", participant.await.expect("it does not panic")?);
    }
    coordinator.remove().await?;
    client.close().await;
    Ok(())
}
