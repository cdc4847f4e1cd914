//! A queue with priorities, and one whose members wait for each other and then run in order.
//!
//! `cargo run -p ostler-client --example queue [-- host:port]`
#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::time::Duration;

use ostler_client::recipes::{Gathering, Queue};
use ostler_client::{Client, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let servers = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:2181".to_owned());
    let client = Client::connect(&servers).await?;
    let queue = Queue::new(&client, "/examples/queue");
    queue.put("usual").await?;
    queue.put_with_priority("urgent", 1).await?;
    while let Some(value) = queue.take_within(Duration::from_millis(100)).await? {
        println!("took {value:?}");
    }

    let members: Vec<_> = (0..3)
        .map(|member| {
            let client = client.clone();
            tokio::spawn(async move {
                let turn = Gathering::new(&client, "/examples/gathering", 3).join(b"").await?;
                println!("{member} runs, alone");
                turn.done().await
            })
        })
        .collect();
    for member in members {
        member.await.expect("it does not panic")?;
    }
    client.close().await;
    Ok(())
}
