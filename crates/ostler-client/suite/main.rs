//! The scenarios that the client has to pass on every server, one after the other: on Ostler and on Apache, alone and
//! as an ensemble. `cargo xtask interop client` starts the servers and this; where a scenario wants a server to die it
//! says so on standard output (`@kill 0`, `@start 0`) and waits for a line on standard input. Without `--control` such
//! scenarios are left out.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a failed scenario panics, and the counts are printed"
)]

mod faults;
mod operations;

use std::io::{BufRead, Write};

use ostler_client::Client;

/// Where the servers are, and whether somebody kills them on demand.
pub(crate) struct World {
    servers: Vec<String>,
    control: bool,
    passed: u32,
}

impl World {
    /// All servers as a connection string.
    pub(crate) fn servers(&self) -> String {
        self.servers.join(",")
    }

    /// A client of all servers, below a new node of its own.
    pub(crate) async fn client(&self, name: &str) -> Client {
        let all = Client::connect(&self.servers()).await.unwrap();
        let root = format!("/suite-{name}-{:x}", all.session_id().0);
        all.create(&root, "", ostler_client::CreateMode::Persistent).await.unwrap();
        all.close().await;
        Client::connect(&format!("{}{root}", self.servers())).await.unwrap()
    }

    /// Has something done to a server.
    pub(crate) async fn ask(&self, what: &str, server: usize) {
        let line = format!("@{what} {server}");
        tokio::task::spawn_blocking(move || {
            let mut out = std::io::stdout().lock();
            writeln!(out, "{line}").and_then(|()| out.flush()).unwrap();
            drop(out);
            let mut answer = String::new();
            std::io::stdin().lock().read_line(&mut answer).unwrap();
            assert_eq!(answer.trim(), "ok", "{line}");
        })
        .await
        .unwrap();
    }

    /// One scenario passed.
    pub(crate) fn pass(&mut self, name: &str) {
        self.passed += 1;
        println!("ok {name}");
    }
}

fn main() {
    let mut servers = Vec::new();
    let mut control = false;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--control" => control = true,
            server => servers.push(server.to_owned()),
        }
    }
    assert!(!servers.is_empty(), "usage: scenario-suite [--control] host:port...");
    let mut world = World { servers, control, passed: 0 };
    operations::blocking(&mut world);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        operations::run(&mut world).await;
        if world.control {
            faults::run(&mut world).await;
        }
    });
    println!("{} scenarios passed", world.passed);
}
