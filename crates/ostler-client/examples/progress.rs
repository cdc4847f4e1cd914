//! A task that reports, and a monitor that sees it end.
//!
//! `cargo run -p ostler-client --example progress [-- host:port]`
#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use ostler_client::recipes::{Task, TaskEvent};
use ostler_client::{Client, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let servers = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:2181".to_owned());
    let client = Client::connect(&servers).await?;
    let tasks = Task::new(&client, "/examples/tasks");
    let mut monitor = tasks.monitor();
    let reporter = tasks.start("copy", "0 %").await?;
    reporter.report("50 %").await?;
    reporter.finish("12 files").await?;
    let mut careless = Some(tasks.start("crash", "0 %").await?);
    while let Some(event) = monitor.next().await {
        println!("{event:?}");
        // Not before the monitor has seen it.
        if matches!(&event, TaskEvent::Started(name, _) if name == "crash") {
            drop(careless.take());
        }
        if matches!(event, TaskEvent::Died(..)) {
            break;
        }
    }
    monitor.forget("copy").await?;
    client.close().await;
    Ok(())
}
