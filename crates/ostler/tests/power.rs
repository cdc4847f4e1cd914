//! What was acknowledged is there after the process was killed.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests panic, and tell their counts")]

mod common;

use std::time::{Duration, Instant};

use common::{Scratch, Server, free_port};
use ostler_wire::client::encode;
use ostler_wire::{Acl, OpCode};
use rustix::process::Signal;

/// Kills the server in the middle of pipelined writes, several times over, and looks for every acknowledged one.
#[test]
fn kill_9_keeps_acknowledged_writes() {
    const DEPTH: usize = 64;
    let scratch = Scratch::new("kill");
    // Small files and frequent snapshots, so that kills hit rolls and snapshots too.
    let more = "snapCount=500\nautopurge.snapRetainCount=3";
    let (mut next, mut acknowledged) = (0_u32, Vec::new());
    for round in 0..4 {
        let port = free_port();
        let mut server = Server::start(&scratch.zoo_cfg(port, more), port);
        let mut peer = server.first_session();
        for number in &acknowledged {
            let found = peer.get_data(&path(*number)).unwrap();
            assert_eq!(found, Ok(number.to_be_bytes().to_vec()), "round {round}: {number} is lost");
        }
        let until = Instant::now() + Duration::from_millis(300);
        let mut under_way = std::collections::VecDeque::new();
        while Instant::now() < until {
            while under_way.len() < DEPTH {
                let number = next;
                next += 1;
                let data = number.to_be_bytes();
                peer.send(OpCode::Create, |out| {
                    encode::create_body(&path(number), &data, &Acl::open(), 0, out);
                })
                .unwrap();
                under_way.push_back(number);
            }
            let reply = peer.receive().unwrap();
            assert_eq!(reply.err, 0);
            acknowledged.push(under_way.pop_front().unwrap());
        }
        assert_eq!(server.end(Signal::KILL), None);
        // What was on its way to us was acknowledged, too.
        while let Ok(reply) = peer.receive() {
            assert_eq!(reply.err, 0);
            acknowledged.push(under_way.pop_front().unwrap());
        }
    }
    let port = free_port();
    let mut server = Server::start(&scratch.zoo_cfg(port, more), port);
    let mut peer = server.first_session();
    for number in &acknowledged {
        assert_eq!(
            peer.get_data(&path(*number)).unwrap(),
            Ok(number.to_be_bytes().to_vec()),
            "{number} is lost"
        );
    }
    assert_eq!(server.end(Signal::TERM), Some(0));
    println!("{} acknowledged writes, 4 kills, none lost", acknowledged.len());
    assert!(acknowledged.len() > 50, "too few to tell");
}

fn path(number: u32) -> String {
    format!("/n{number}")
}
