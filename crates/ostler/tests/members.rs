//! Three servers that are processes of their own: what lies in wait at the ports between them, a member that was away for
//! long, and one that lost its data.
#![allow(clippy::unwrap_used, reason = "tests panic")]

mod common;

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::{PATIENCE, Peer, Scratch, Server, free_port};
use ostler_wire::client::encode;
use ostler_wire::quorum::Greeting;
use ostler_wire::{OpCode, ServerId};
use rustix::process::Signal;

struct Place {
    scratch: Scratch,
    zoo_cfg: PathBuf,
    client: u16,
    quorum: u16,
    election: u16,
    server: Option<Server>,
}

impl Place {
    fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.client))
    }

    fn mode(&self) -> Option<String> {
        self.server.as_ref()?;
        let mut stream = TcpStream::connect(self.address()).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.write_all(b"srvr").ok()?;
        let mut text = String::new();
        std::io::Read::read_to_string(&mut stream, &mut text).ok()?;
        text.lines().find_map(|line| line.strip_prefix("Mode: ")).map(str::to_owned)
    }
}

/// Three members, of which any may be down.
struct Trio(Vec<Place>);

impl Trio {
    fn new(label: &str, more: &str) -> Self {
        let places: Vec<[u16; 3]> = (0..3).map(|_| [free_port(), free_port(), free_port()]).collect();
        let mut list = String::from("tickTime=200\ninitLimit=20\nsyncLimit=10\n4lw.commands.whitelist=*\n");
        for (index, [_, quorum, election]) in places.iter().enumerate() {
            list.push_str(&format!("server.{}=127.0.0.1:{quorum}:{election}\n", index + 1));
        }
        list.push_str(more);
        let place = |(index, [client, quorum, election]): (usize, [u16; 3])| {
            let scratch = Scratch::new(label);
            let zoo_cfg = scratch.zoo_cfg(client, &list);
            let data = scratch.path().join("data");
            std::fs::create_dir_all(&data).unwrap();
            std::fs::write(data.join("myid"), (index + 1).to_string()).unwrap();
            Place { scratch, zoo_cfg, client, quorum, election, server: None }
        };
        Self(places.into_iter().enumerate().map(place).collect())
    }

    fn start(&mut self, index: usize) {
        let place = &mut self.0[index];
        place.server = Some(Server::start(&place.zoo_cfg, place.client));
    }

    fn end(&mut self, index: usize, signal: Signal) {
        self.0[index].server.take().unwrap().end(signal);
    }

    /// Waits until so many serve with one of them leading, and says who leads.
    fn await_serving(&self, count: usize) -> usize {
        let deadline = Instant::now() + 3 * PATIENCE;
        loop {
            let modes: Vec<Option<String>> = self.0.iter().map(Place::mode).collect();
            let serving = modes.iter().flatten().count();
            if let Some(leader) = modes.iter().position(|mode| mode.as_deref() == Some("leader"))
                && serving >= count
            {
                return leader;
            }
            assert!(Instant::now() < deadline, "{modes:?}: {}", self.logs());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn logs(&self) -> String {
        self.0.iter().flat_map(|place| &place.server).map(Server::stderr).collect()
    }

    fn session(&self, index: usize) -> Peer {
        let deadline = Instant::now() + 3 * PATIENCE;
        loop {
            match Peer::open(self.0[index].address()) {
                Ok(peer) => return peer,
                Err(error) => assert!(Instant::now() < deadline, "{error}: {}", self.logs()),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn write(&self, index: usize, path: &str) {
        assert_eq!(self.session(index).create(path, b"x").unwrap(), 0, "{path}");
    }

    fn has(&self, index: usize, path: &str) -> bool {
        let mut peer = self.session(index);
        peer.call(OpCode::Sync, |out| ostler_wire::jute::Writer::put_string(out, "/")).unwrap();
        peer.get_data(path).unwrap().is_ok()
    }
}

/// ZOOKEEPER-3769: what no server would say, or half of what one would, ended the thread that takes votes; the server
/// went on, and could take part in no election any more.
#[test]
fn rubbish_at_the_ports_between_servers_does_not_keep_them_from_electing() {
    let mut trio = Trio::new("rubbish", "");
    for index in 0..3 {
        trio.start(index);
    }
    let leader = trio.await_serving(3);
    trio.write(leader, "/before");
    let greeting = |server: i64| {
        let mut out = Vec::new();
        Greeting { server: ServerId(server), addresses: vec![("127.0.0.1".into(), 1)] }
            .encode(false, &mut out);
        out
    };
    let frame = |length: i32, body: &[u8]| [&length.to_be_bytes(), body].concat();
    // A greeting in the name of the member with the largest id, which dials the others itself, is followed by frames.
    let mut sayings = vec![
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0xff; 4096],
        vec![0; 4096],
        greeting(3)[..7].to_vec(),
        greeting(i64::MIN),
        [greeting(77), frame(i32::MAX, &[1; 100])].concat(),
    ];
    for said in [
        frame(-1, &[]),
        frame(i32::MAX, &[7; 100]),
        frame(3, &[1, 2, 3]),
        frame(0, &[]),
        frame(28, &[0xff; 28]),
        frame(44, &[0xfe; 44]),
        // Half of one: the rest never comes.
        frame(40, &[0; 11]),
        [frame(40, &[0x55; 40]), frame(36, &[0xaa; 36]), frame(5, &[9; 5])].concat(),
    ] {
        sayings.push([greeting(3), said].concat());
    }
    let others: Vec<usize> = (0..3).filter(|index| *index != leader).collect();
    for index in &others {
        for port in [trio.0[*index].election, trio.0[*index].quorum] {
            for saying in &sayings {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
                // It may be closed before all is said.
                let _ = stream.write_all(saying);
                let _ = stream.shutdown(std::net::Shutdown::Write);
            }
        }
    }
    assert_eq!(trio.await_serving(3), leader, "nobody was voted out by rubbish");
    trio.write(others[0], "/meanwhile");
    trio.end(leader, Signal::KILL);
    let next = trio.await_serving(2);
    assert_ne!(next, leader);
    trio.write(next, "/after");
    for path in ["/before", "/meanwhile", "/after"] {
        assert!(others.iter().all(|index| trio.has(*index, path)), "{path}");
    }
}

/// Removes what a server wrote, but for its id.
fn wipe(place: &Place) {
    let data = place.scratch.path().join("data");
    std::fs::remove_dir_all(data.join("version-2")).unwrap();
    assert!(data.join("myid").exists());
}

#[test]
fn a_member_without_its_data_votes_nothing_away() {
    let mut trio = Trio::new("wiped", "db.autocreate=false");
    // Nobody has data, and nobody may begin without: only the file says that the beginning is meant.
    for index in 0..3 {
        trio.start(index);
    }
    std::thread::sleep(Duration::from_secs(2));
    assert!(trio.0.iter().all(|place| place.mode().is_none()), "{}", trio.logs());
    for index in 0..3 {
        trio.end(index, Signal::TERM);
        let data = trio.0[index].scratch.path().join("data");
        std::fs::write(data.join("initialize"), b"").unwrap();
        trio.start(index);
    }
    trio.await_serving(3);
    for place in &trio.0 {
        assert!(!place.scratch.path().join("data/initialize").exists(), "it is used up");
    }
    trio.write(0, "/kept");
    for index in 0..3 {
        assert!(trio.has(index, "/kept"));
    }

    // Servers 1 and 3 have it. Server 3 is down when 1 is found empty: 1 and 2, which has missed a write, are a quorum.
    trio.end(1, Signal::TERM);
    trio.write(0, "/only-on-1-and-3");
    for index in [0, 2] {
        trio.end(index, Signal::TERM);
    }
    wipe(&trio.0[0]);
    trio.start(0);
    trio.start(1);
    std::thread::sleep(Duration::from_secs(3));
    assert!(trio.0[..2].iter().all(|place| place.mode().is_none()), "they would lose it: {}", trio.logs());
    trio.start(2);
    let leader = trio.await_serving(3);
    assert_eq!(leader, 2);
    for path in ["/kept", "/only-on-1-and-3"] {
        assert!((0..3).all(|index| trio.has(index, path)), "{path}");
    }
    // It has its data again, and its say with it.
    trio.end(2, Signal::TERM);
    trio.await_serving(2);
    trio.write(0, "/without-3");
    for index in [0, 1] {
        trio.end(index, Signal::TERM);
    }

    // With the file an empty server is taken at its word: that is what the file is for.
    wipe(&trio.0[0]);
    std::fs::write(trio.0[0].scratch.path().join("data/initialize"), b"").unwrap();
    for index in 0..3 {
        trio.start(index);
    }
    trio.await_serving(3);
    for path in ["/kept", "/only-on-1-and-3", "/without-3"] {
        assert!((0..3).all(|index| trio.has(index, path)), "{path}");
    }
}

/// Writes so many times, many at once.
fn write_many(trio: &Trio, index: usize, count: usize) {
    let mut peer = trio.session(index);
    for batch in 0..count / 250 {
        for _ in 0..250 {
            peer.send(OpCode::SetData, |out| {
                encode::set_data_body("/counted", &batch.to_be_bytes(), -1, out)
            })
            .unwrap();
        }
        for _ in 0..250 {
            assert_eq!(peer.receive().unwrap().err, 0);
        }
    }
}

#[test]
fn a_member_that_missed_more_than_is_in_memory_gets_it_from_the_log_on_disk() {
    // 0 times the size of a snapshot is no limit, and below 0 nothing is read from disk.
    for (factor, way) in [("0", "DIFF"), ("-1", "SNAP")] {
        let mut trio = Trio::new("missed", &format!("snapshotSizeFactor={factor}"));
        for index in 0..3 {
            trio.start(index);
        }
        let leader = trio.await_serving(3);
        trio.write(leader, "/counted");
        let away = (leader + 1) % 3;
        assert!(trio.has(away, "/counted"));
        trio.end(away, Signal::TERM);
        write_many(&trio, leader, 2000);
        trio.start(away);
        trio.await_serving(3);
        assert_eq!(trio.session(away).get_data("/counted").unwrap().unwrap(), 7_usize.to_be_bytes());
        let said = trio.0[away].server.as_ref().unwrap().stderr();
        assert!(said.contains(&format!("way=\"{way}\"")), "{said}");
        let said = trio.0[leader].server.as_ref().unwrap().stderr();
        assert_eq!(said.contains("what the log on disk has"), way == "DIFF", "{said}");
    }
}

/// A new member list has other client ports: each server moves its own while it runs.
#[test]
fn the_client_ports_move_with_the_member_list() {
    let mut trio = Trio::new("moved", "reconfigEnabled=true");
    for index in 0..3 {
        trio.start(index);
    }
    trio.await_serving(3);
    for index in 0..3 {
        trio.end(index, Signal::TERM);
    }
    let moved: Vec<u16> = (0..3).map(|_| free_port()).collect();
    let mut next = String::from("version=100000005");
    for (index, place) in trio.0.iter().enumerate() {
        let Place { quorum, election, .. } = place;
        let (id, client) = (index + 1, moved[index]);
        next.push_str(&format!("\nserver.{id}=127.0.0.1:{quorum}:{election}:participant;127.0.0.1:{client}"));
    }
    // A change that was proposed and not finished: whoever leads finishes it.
    for place in &trio.0 {
        std::fs::write(place.scratch.path().join("zoo.cfg.dynamic.next"), &next).unwrap();
    }
    let before: Vec<u16> = trio.0.iter().map(|place| place.client).collect();
    for (index, port) in moved.into_iter().enumerate() {
        trio.start(index);
        trio.0[index].client = port;
    }
    let leader = trio.await_serving(3);
    trio.write(leader, "/found");
    for (index, place) in trio.0.iter().enumerate() {
        assert!(trio.has(index, "/found"));
        assert!(TcpStream::connect(("127.0.0.1", before[index])).is_err(), "{}", trio.logs());
        let conf = common::word(place.address(), "conf");
        assert!(conf.contains(&format!("clientPort={}\n", place.client)), "{conf}");
    }
    // They are there again at the next start.
    trio.end(leader, Signal::TERM);
    trio.start(leader);
    trio.await_serving(3);
    assert!(trio.has(leader, "/found"));
}
