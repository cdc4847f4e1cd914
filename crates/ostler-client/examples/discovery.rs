//! A provider that registers and goes, and a consumer that finds it.
//!
//! `cargo run -p ostler-client --example discovery [-- host:port]`
#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::time::Duration;

use ostler_client::recipes::{Balancer, Instance, Layout, Registry, Strategy};
use ostler_client::{Client, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let servers = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:2181".to_owned());
    let client = Client::connect(&servers).await?;
    let registry = Registry::new(&client, Layout::Plain("/examples/services".to_owned()));
    let mut discovery = registry.discover("printer").await?;
    let one = registry.register("printer", &Instance::new("one", "10.0.0.1", 9100)).await?;
    let two = registry.register("printer", &Instance::new("two", "10.0.0.2", 9100)).await?;
    while discovery.instances().len() < 2 && discovery.changed().await {}
    let balancer = Balancer::new(Strategy::RoundRobin);
    for call in 0..4 {
        let instances = discovery.instances();
        if let Some(instance) = balancer.pick(&instances) {
            println!("call {call} goes to {}:{}", instance.address, instance.port);
            // Tell the balancer how it went: who fails several times is set aside.
            balancer.succeeded(instance);
        }
    }
    one.offline(Duration::from_millis(100)).await?;
    println!("{} is left", discovery.instances().len());
    two.offline(Duration::ZERO).await?;
    client.close().await;
    Ok(())
}
