//! `ostler ensemble`: starts three servers, which serve as one, and stops them.
#![allow(clippy::unwrap_used, reason = "tests panic")]

mod common;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use common::{PATIENCE, Peer, Scratch, Server, ostler, refused};
use ostler_wire::OpCode;
use ostler_wire::jute::Writer;
use rustix::process::Signal;

/// A first port whose 300 neighbours are free as far as three servers need them. The tests of this file run beside
/// each other: every call answers from another 300 on.
fn free_base() -> u16 {
    static CALLS: AtomicU16 = AtomicU16::new(0);
    let first = 21_000 + (std::process::id() % 97) as u16 * 7 + CALLS.fetch_add(1, Ordering::Relaxed) * 300;
    (0..100u16)
        .map(|step| first + step * 600)
        .take_while(|base| *base < 60_000)
        .find(|base| {
            let ports = (0..3).flat_map(|offset| (0..3).map(move |server| base + offset * 100 + server));
            ports.into_iter().all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
        })
        .expect("nine ports are free somewhere")
}

fn session(ensemble: &Server, port: u16) -> Peer {
    let deadline = Instant::now() + 3 * PATIENCE;
    loop {
        match Peer::open(SocketAddr::from((Ipv4Addr::LOCALHOST, port))) {
            Ok(peer) => return peer,
            Err(error) => {
                assert!(
                    Instant::now() < deadline,
                    "no session on port {port}: {error}\n{}",
                    ensemble.stdout()
                );
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn three_servers_serve_as_one_and_stop_together() {
    let scratch = Scratch::new("ensemble");
    let base = free_base();
    let mut command = ostler();
    command.args(["ensemble", "--servers", "3", "--base-port", &base.to_string(), "--dir"]);
    command.arg(scratch.path().join("e"));
    for round in 0..2 {
        let mut ensemble = Server::spawn(&mut command, base);
        let mut writer = session(&ensemble, base);
        let mut reader = session(&ensemble, base + 1);
        let path = format!("/of-round-{round}");
        assert_eq!(writer.create(&path, b"x").unwrap(), 0, "{}", ensemble.stdout());
        // A sync brings the reader up to what was acknowledged to the writer.
        let sync = reader.call(OpCode::Sync, |out| out.put_string(&path));
        let synced = sync.unwrap();
        assert_eq!(synced.err, 0);
        for before in 0..=round {
            assert_eq!(reader.get_data(&format!("/of-round-{before}")).unwrap(), Ok(b"x".to_vec()));
        }
        ensemble.wait_for_stdout("the ensemble is up: 3 voters; server ");
        ensemble.wait_for_stdout("connect with");
        let modes: Vec<String> = (0..3u16)
            .map(|server| {
                let srvr = common::word(SocketAddr::from((Ipv4Addr::LOCALHOST, base + server)), "srvr");
                srvr.lines().find_map(|line| line.strip_prefix("Mode: ")).unwrap_or(&srvr).to_owned()
            })
            .collect();
        assert_eq!(modes.iter().filter(|mode| *mode == "leader").count(), 1, "{modes:?}");
        assert_eq!(modes.iter().filter(|mode| *mode == "follower").count(), 2, "{modes:?}");
        let signal = if round == 0 { Signal::TERM } else { Signal::INT };
        assert_eq!(ensemble.end(signal), Some(0), "{}", ensemble.stdout());
        assert!(ensemble.stdout().contains("all servers have stopped"), "{}", ensemble.stdout());
        assert!(!ensemble.stdout().contains("was killed"), "{}", ensemble.stdout());
        for server in 0..3 {
            let port = base + server;
            assert!(
                TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok(),
                "a server is left on port {port}"
            );
        }
    }
}

#[test]
fn a_port_in_use_is_named_and_nothing_is_started() {
    let scratch = Scratch::new("ensemble-port");
    let base = free_base();
    let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, base + 101)).unwrap();
    let mut command = ostler();
    command.args(["ensemble", "--base-port", &base.to_string(), "--dir"]).arg(scratch.path().join("e"));
    let output = refused(&mut command);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains(&format!("{} (server 2, learners", base + 101)) && said.contains("--base-port"),
        "{said}"
    );
    assert!(!scratch.path().join("e").exists());
}
