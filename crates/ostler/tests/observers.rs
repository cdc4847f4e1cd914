//! An observer that learns from a follower: three voters and an observer that are processes of their own, on addresses of
//! their own, since the port for observers is the same everywhere.
#![allow(clippy::unwrap_used, reason = "tests panic")]

mod common;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::{PATIENCE, Peer, Scratch, Server, free_port};
use ostler_wire::client::encode;
use ostler_wire::jute::{Reader, Writer};
use ostler_wire::{Acl, OpCode};
use rustix::process::Signal;

/// The number of an event among replies.
const EVENT: i32 = -1;

struct Place {
    _scratch: Scratch,
    zoo_cfg: PathBuf,
    client: u16,
    server: Option<Server>,
}

/// Members 1 to 3 vote, member 4 observes.
struct Ensemble {
    places: Vec<Place>,
    observer_port: u16,
}

impl Ensemble {
    fn new(label: &str, more: &str) -> Self {
        let observer_port = free_port();
        let mut list = String::from("tickTime=200\ninitLimit=20\nsyncLimit=10\n4lw.commands.whitelist=*\n");
        list.push_str("maxSessionTimeout=30000\n");
        for id in 1..=4 {
            let role = if id == 4 { "observer" } else { "participant" };
            let (quorum, election) = (free_port(), free_port());
            list.push_str(&format!("server.{id}=127.0.0.{id}:{quorum}:{election}:{role}\n"));
        }
        list.push_str(&format!("observerMasterPort={observer_port}\n{more}"));
        let place = |id: usize| {
            let (scratch, client) = (Scratch::new(label), free_port());
            let zoo_cfg = scratch.zoo_cfg(client, &list);
            let data = scratch.path().join("data");
            std::fs::create_dir_all(&data).unwrap();
            std::fs::write(data.join("myid"), id.to_string()).unwrap();
            Place { _scratch: scratch, zoo_cfg, client, server: None }
        };
        let mut ensemble = Self { places: (1..=4).map(place).collect(), observer_port };
        for id in 1..=4 {
            ensemble.start(id);
        }
        ensemble
    }

    fn start(&mut self, id: usize) {
        let place = &mut self.places[id - 1];
        place.server = Some(Server::start(&place.zoo_cfg, place.client));
    }

    fn kill(&mut self, id: usize) {
        self.places[id - 1].server.take().unwrap().end(Signal::KILL);
    }

    fn address(&self, id: usize) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.places[id - 1].client))
    }

    /// A line of `mntr`.
    fn figure(&self, id: usize, name: &str) -> Option<String> {
        let server = self.places[id - 1].server.as_ref()?;
        std::net::TcpStream::connect(server.address()).ok()?;
        let text = server.word("mntr");
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('\t')).map(str::to_owned)
    }

    fn leader(&self) -> Option<usize> {
        (1..=3).find(|id| self.figure(*id, "zk_server_state").as_deref() == Some("leader"))
    }

    /// From whom the observer learns.
    fn master(&self) -> Option<usize> {
        self.figure(4, "zk_observer_master_id")?.parse().ok()
    }

    fn logs(&self) -> String {
        self.places.iter().flat_map(|place| &place.server).map(Server::stderr).collect()
    }

    /// Waits for something.
    fn until<T>(&self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let deadline = Instant::now() + 3 * PATIENCE;
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            assert!(Instant::now() < deadline, "{what}: {}", self.logs());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn session(&self, id: usize) -> Peer {
        self.until("a session", |ensemble| Peer::open(ensemble.address(id)).ok())
    }

    /// Takes a session to a server; it must be alive.
    fn resumed(&self, peer: &Peer, id: usize) -> Peer {
        self.until("the session again", |ensemble| match peer.resume(ensemble.address(id)) {
            Ok(peer) => Some(peer),
            Err(error) => {
                assert_ne!(error.kind(), std::io::ErrorKind::NotFound, "the session is gone");
                None
            }
        })
    }
}

fn sync(peer: &mut Peer) {
    assert_eq!(peer.call(OpCode::Sync, |out| out.put_string("/")).unwrap().err, 0);
}

#[test]
fn clients_of_an_observer_write_sync_and_watch_by_way_of_a_follower_and_keep_their_sessions_when_it_dies() {
    let mut ensemble = Ensemble::new("by-master", "");
    let leader = ensemble.until("a leader", Ensemble::leader);
    let first = ensemble.until("a master", Ensemble::master);
    assert_ne!(first, leader, "the observer learns from a follower");
    assert_eq!(ensemble.figure(first, "zk_synced_observers").as_deref(), Some("1"));
    assert_eq!(ensemble.figure(leader, "zk_synced_observers").as_deref(), Some("0"));
    assert!(std::net::TcpStream::connect((format!("127.0.0.{first}"), ensemble.observer_port)).is_ok());
    assert!(
        std::net::TcpStream::connect((format!("127.0.0.{leader}"), ensemble.observer_port)).is_err(),
        "a leader takes no observers there"
    );

    let mut client = ensemble.session(4);
    let mut other = ensemble.session(leader);
    // Writes of an observer's client, its own ephemeral node, and a sync that sees what others wrote.
    assert_eq!(client.create("/by-observer", b"1").unwrap(), 0);
    let ephemeral = |out: &mut Vec<u8>| encode::create_body("/alive", b"", &Acl::open(), 1, out);
    assert_eq!(client.call(OpCode::Create, ephemeral).unwrap().err, 0);
    for round in 0..20 {
        let data = format!("round {round}").into_bytes();
        assert_eq!(other.set_data("/by-observer", &data).unwrap(), 0);
        sync(&mut client);
        assert_eq!(client.get_data("/by-observer").unwrap(), Ok(data));
    }
    // A watch left at the observer fires for a write at the leader.
    let watched = client.call(OpCode::GetData, |out| encode::path_watch_body("/by-observer", true, out));
    assert_eq!(watched.unwrap().err, 0);
    assert_eq!(other.set_data("/by-observer", b"seen").unwrap(), 0);
    let event = client.receive().unwrap();
    assert_eq!((event.xid, Reader::new(&event.body).int("type").unwrap()), (EVENT, 3));
    // A short session is kept alive through the master by nothing but reads.
    let stream = std::net::TcpStream::connect(ensemble.address(4)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut short = Peer::greet_for(stream, 2_000).unwrap();
    let idle = Instant::now();
    while idle.elapsed() < Duration::from_secs(5) {
        assert!(short.get_data("/by-observer").unwrap().is_ok());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(short.create("/short", b"").unwrap(), 0);

    // The master dies: the observer goes to the other follower, its clients keep their sessions.
    ensemble.kill(first);
    let second = ensemble.until("another master", |ensemble| {
        ensemble.master().filter(|master| *master != first && *master != leader)
    });
    assert_eq!(ensemble.until("a leader", Ensemble::leader), leader);
    let mut client = ensemble.resumed(&client, 4);
    assert_eq!(client.get_data("/alive").unwrap(), Ok(Vec::new()), "its ephemeral node is there");
    assert_eq!(client.create("/second", b"").unwrap(), 0);
    sync(&mut other);
    assert!(other.get_data("/second").unwrap().is_ok() && other.get_data("/alive").unwrap().is_ok());
    assert_eq!(ensemble.figure(second, "zk_synced_observers").as_deref(), Some("1"));

    // The leader dies as well, once the first is back: whoever follows the next one takes the observer.
    ensemble.start(first);
    ensemble.until("the first serves", |ensemble| ensemble.figure(first, "zk_server_state"));
    ensemble.kill(leader);
    let next = ensemble.until("the next leader", |ensemble| ensemble.leader().filter(|next| *next != leader));
    let third = ensemble.until("a master that follows it", |ensemble| {
        ensemble.master().filter(|master| *master != next && *master != leader)
    });
    let mut client = ensemble.resumed(&client, 4);
    assert_eq!(client.create("/third", b"").unwrap(), 0);
    // A session that moves between observer and master is the same one.
    let mut moved = ensemble.resumed(&client, third);
    assert_eq!(moved.create("/moved", b"").unwrap(), 0);
    let mut back = ensemble.resumed(&moved, 4);
    assert_eq!(back.create("/back", b"").unwrap(), 0);
    assert_eq!(back.get_data("/alive").unwrap(), Ok(Vec::new()));
    // What is closed by way of the observer is closed everywhere.
    assert_eq!(back.call(OpCode::CloseSession, |_| {}).unwrap().err, 0);
    let mut witness = ensemble.session(next);
    sync(&mut witness);
    assert_eq!(witness.get_data("/alive").unwrap(), Err(-101), "it went with its session");
    for path in ["/by-observer", "/second", "/third", "/moved", "/back"] {
        assert!(witness.get_data(path).unwrap().is_ok(), "{path}");
    }
}
