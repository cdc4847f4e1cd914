//! A barrier that is lifted, and a double one that three members pass together.
//!
//! `cargo run -p ostler-client --example barriers [-- host:port]`
#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use ostler_client::recipes::{Barrier, DoubleBarrier};
use ostler_client::{Client, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let servers = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:2181".to_owned());
    let client = Client::connect(&servers).await?;
    let barrier = Barrier::new(&client, "/examples/barrier");
    barrier.set().await?;
    let waiter = tokio::spawn({
        let barrier = barrier.clone();
        async move { barrier.wait().await }
    });
    println!("lifting");
    barrier.lift().await?;
    println!("passed: {:?}", waiter.await.is_ok());

    let members: Vec<_> = (0..3)
        .map(|member| {
            let client = client.clone();
            tokio::spawn(async move {
                let mut barrier = DoubleBarrier::new(&client, "/examples/double", 3);
                barrier.enter().await?;
                println!("{member} begins, and all are there");
                barrier.leave().await?;
                println!("{member} ends, and all have left");
                Ok::<(), Error>(())
            })
        })
        .collect();
    for member in members {
        member.await.expect("it does not panic")?;
    }
    client.close().await;
    Ok(())
}
