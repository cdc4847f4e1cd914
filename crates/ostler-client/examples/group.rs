//! Membership of a group.
//!
//! `cargo run -p ostler-client --example group [-- host:port]`
#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use ostler_client::recipes::{Group, MemberEvent};
use ostler_client::{Client, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let servers = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:2181".to_owned());
    let client = Client::connect(&servers).await?;
    let group = Group::new(&client, "/examples/group");
    let name = format!("member-{}", std::process::id());
    let membership = group.join(&name, "hello").await?;
    let mut members = group.members();
    while let Some(event) = members.next().await {
        println!("{event:?}");
        if matches!(&event, MemberEvent::Joined(who, _) if *who == name) {
            break;
        }
    }
    membership.leave().await?;
    client.close().await;
    Ok(())
}
