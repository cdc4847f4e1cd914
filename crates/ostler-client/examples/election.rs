//! Leader election: start it several times, and end the one that leads.
//!
//! `cargo run -p ostler-client --example election [-- host:port]`
#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use ostler_client::recipes::{Election, Role};
use ostler_client::{Client, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let servers = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:2181".to_owned());
    let client = Client::connect(&servers).await?;
    let election = Election::new(&client, "/examples/election");
    let mut observer = election.observe();
    let mut candidate = election.join(format!("process {}", std::process::id()));
    loop {
        tokio::select! {
            role = candidate.changed() => match role {
                Some(Role::Leader { token }) => println!("I lead, with token {token}"),
                Some(Role::Suspended) => println!("no connection: I do nothing until I know more"),
                Some(Role::Waiting) => println!("somebody else leads"),
                Some(Role::Out) | None => break,
            },
            leader = observer.changed() => match leader {
                Some(leader) => println!("the leader is {:?}", leader.map(|leader| leader.id)),
                None => break,
            },
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    candidate.leave().await;
    client.close().await;
    Ok(())
}
