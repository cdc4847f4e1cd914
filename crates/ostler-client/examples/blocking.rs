//! The client without async.
//!
//! `cargo run -p ostler-client --example blocking [-- host:port]`
#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use ostler_client::recipes::Lock;
use ostler_client::{CreateMode, Error, blocking};

fn main() -> Result<(), Error> {
    let servers = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:2181".to_owned());
    let client = blocking::Client::connect(&servers)?;
    let node = client.create("/blocking-", "hello", CreateMode::EphemeralSequential)?;
    println!("{} holds {:?}", node.path, client.get_data(&node.path)?.0);
    // Recipes, too: anything that can be awaited can be waited for.
    let guard = client.wait(Lock::new(client.inner(), "/examples/lock").acquire())?;
    println!("held, with token {}", guard.token());
    client.wait(guard.release())?;
    client.close();
    Ok(())
}
