//! Clients that mean no good: random bytes, lengths that lie, handshakes at a byte at a time, thousands of connections
//! that say nothing, readers and watchers that never read. All the while a good client is served, and afterwards the
//! server is what it was.
//!
//! `cargo test` runs it scaled down. In full, with its counts:
//! `cargo test --release -p ostler --test hostile -- --ignored --nocapture`
//! (needs a hard limit of 12,000 open files and 3 GB of memory).
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests panic, and tell their counts")]

mod common;

use std::io::{ErrorKind, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::{Peer, Scratch, Server, free_port, hello, ostler};
use ostler_wire::OpCode;
use ostler_wire::client::encode;
use ostler_wire::jute::Writer;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

const MIB: u64 = 1 << 20;
/// Resident memory may grow by this much under everything but mute readers.
const GROWTH: u64 = 64 * MIB;
/// And by this much for each of them.
const GROWTH_PER_MUTE: u64 = MIB;
/// What mute readers ask for, over and over.
const BIG: usize = 900_000;

/// How many of everything.
struct Scale {
    random: usize,
    liars: usize,
    slow: usize,
    slow_byte: Duration,
    idle: usize,
    mute_readers: usize,
    mute_watchers: usize,
    changes: usize,
}

#[test]
fn scaled_down() {
    run(&Scale {
        random: 150,
        liars: 100,
        slow: 20,
        slow_byte: Duration::from_millis(20),
        idle: 400,
        mute_readers: 40,
        mute_watchers: 20,
        changes: 3_000,
    });
}

#[test]
#[ignore = "in full it takes minutes; see the top of the file"]
fn in_full() {
    run(&Scale {
        random: 3_000,
        liars: 1_000,
        slow: 200,
        slow_byte: Duration::from_millis(100),
        idle: 5_000,
        mute_readers: 1_000,
        mute_watchers: 200,
        changes: 40_000,
    });
}

fn run(scale: &Scale) {
    raise_own_limit();
    let scratch = Scratch::new("hostile");
    let port = free_port();
    let cfg = scratch.zoo_cfg(port, "maxClientCnxns=0\nforceSync=no\n4lw.commands.whitelist=*");
    // With the soft limit of old times: the server has to raise it itself.
    let mut shell = std::process::Command::new("sh");
    let binary = ostler();
    shell.args(["-c", "ulimit -S -n 256 && exec \"$0\" server \"$1\""]).arg(binary.get_program()).arg(&cfg);
    let mut server = Server::spawn(&mut shell, port);
    let mut peer = server.first_session();
    assert_eq!(peer.create("/good", b"").unwrap(), 0);
    assert_eq!(peer.create("/watched", b"").unwrap(), 0);
    assert_eq!(peer.create("/big", &vec![7; BIG]).unwrap(), 0);
    for _ in 0..50 {
        peer.get_data("/big").unwrap().unwrap();
    }
    let good = Good::start(server.address());
    std::thread::sleep(Duration::from_millis(300));
    let before = server.rss_bytes();
    println!("a quiet server: {} MiB; {}", before / MIB, good.tell());

    random_bytes(&server, scale.random);
    println!("{} connections of random bytes: {}", scale.random, state(&server, before, &good));
    lengths_that_lie(&server, scale.liars);
    println!("{} lengths that lie: {}", scale.liars, state(&server, before, &good));
    slow_handshakes(&server, scale);
    println!("{} slow handshakes: {}", scale.slow, state(&server, before, &good));
    idle(&server, scale.idle, before, &good);
    println!("{} idle connections gone: {}", scale.idle, state(&server, before, &good));
    assert!(growth(&server, before) <= GROWTH, "{}", state(&server, before, &good));

    mute_watchers(&server, &mut peer, scale, before, &good);
    println!("{} mute watchers gone: {}", scale.mute_watchers, state(&server, before, &good));
    mute_readers(&server, scale.mute_readers, before, &good);
    println!("{} mute readers gone: {}", scale.mute_readers, state(&server, before, &good));

    let (requests, worst) = good.stop();
    println!("the good client: {requests} requests answered, the worst after {worst:?}");
    assert!(requests > 100, "the good client was not served: {requests}");
    assert!(worst < Duration::from_secs(5), "the good client waited {worst:?}");
    assert_eq!(server.word("ruok"), "imok");
    server.first_session();
    assert!(!server.stderr().contains("panicked"), "{}", server.stderr());
    assert_eq!(server.end(Signal::TERM), Some(0), "{}", server.stderr());
}

/// Connections that send what looks like anything, some after a good handshake.
fn random_bytes(server: &Server, count: usize) {
    let mut random = Random(0x1234_5678_9abc_def1);
    for round in 0..count {
        let Ok(stream) = TcpStream::connect(server.address()) else { continue };
        let _ = stream.set_write_timeout(Some(Duration::from_secs(2)));
        let greeted = if round % 2 == 0 { Peer::greet(stream).map(|peer| peer.stream) } else { Ok(stream) };
        let mut stream = greeted.expect("a good handshake is answered");
        let mut bytes = vec![0; 1 + random.below(64 << 10)];
        bytes.fill_with(|| (random.draw() >> 32) as u8);
        // Every third one begins with a length that holds, so that the bytes are looked at.
        if round % 3 == 0 && bytes.len() > 4 {
            let length = i32::try_from(bytes.len() - 4).unwrap();
            bytes[..4].copy_from_slice(&length.to_be_bytes());
        }
        // The server closes while we write; that is its right.
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
        let mut sink = [0; 4096];
        while matches!(stream.read(&mut sink), Ok(read) if read > 0) {}
    }
}

/// Frames that announce more than they bring, held open all at once; what is out of bounds must be closed.
fn lengths_that_lie(server: &Server, count: usize) {
    let mut held = Vec::new();
    for round in 0..count {
        let mut stream = if round % 2 == 0 {
            TcpStream::connect(server.address()).unwrap()
        } else {
            Peer::open(server.address()).unwrap().stream
        };
        let length = [i32::MAX, -1, i32::MIN, 0x10_0000, 0xf_ffff, 0xf_ffff][round % 6];
        stream.write_all(&length.to_be_bytes()).unwrap();
        if length == 0xf_ffff {
            stream.write_all(&[0; 1000]).unwrap();
            held.push(stream);
        } else {
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            match stream.read(&mut [0; 16]) {
                Ok(0) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
                other => panic!("a length of {length} is not closed: {other:?}"),
            }
        }
    }
    // Counts and lengths inside of a good frame, that promise gigabytes.
    let mut peer = Peer::open(server.address()).unwrap();
    for op in OpCode::ALL {
        if matches!(op, OpCode::CloseSession | OpCode::Auth) {
            continue;
        }
        let sent = peer.send(op, |out| {
            for _ in 0..8 {
                out.put_int(i32::MAX);
            }
        });
        if sent.is_err() || peer.receive().is_err() {
            peer = Peer::open(server.address()).unwrap();
        }
    }
}

/// Handshakes at a byte at a time. They are slow and not wrong, and so they are answered.
fn slow_handshakes(server: &Server, scale: &Scale) {
    let mut streams: Vec<TcpStream> =
        (0..scale.slow).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    for byte in hello() {
        for stream in &mut streams {
            stream.write_all(&[byte]).unwrap();
        }
        std::thread::sleep(scale.slow_byte);
    }
    for stream in &mut streams {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut answer = [0; 41];
        stream.read_exact(&mut answer).expect("a slow handshake is answered");
        assert_eq!(answer[..4], [0, 0, 0, 37]);
    }
}

/// Connections that say nothing; every second one after a handshake.
fn idle(server: &Server, count: usize, before: u64, good: &Good) {
    let mut held = Vec::new();
    for round in 0..count {
        held.push(if round % 2 == 0 {
            Peer::open(server.address()).expect("a session for an idle client").stream
        } else {
            TcpStream::connect(server.address()).expect("a place for an idle client")
        });
    }
    std::thread::sleep(Duration::from_millis(500));
    let conns = server.word("mntr");
    let alive: usize = conns
        .lines()
        .find_map(|line| line.strip_prefix("zk_num_alive_connections\t"))
        .and_then(|text| text.trim().parse().ok())
        .expect("mntr tells it");
    println!("{count} idle connections open ({alive} by mntr): {}", state(server, before, good));
    assert!(alive >= count / 2, "{alive} connections of {count}");
    assert!(growth(server, before) <= GROWTH, "{}", state(server, before, good));
}

/// Watchers of a node that changes often, who never read.
fn mute_watchers(server: &Server, peer: &mut Peer, scale: &Scale, before: u64, good: &Good) {
    let mut held = Vec::new();
    for _ in 0..scale.mute_watchers {
        let stream = narrow(server.address());
        let mut watcher = Peer::greet(stream).unwrap();
        let reply = watcher.call(OpCode::AddWatch, |out| {
            out.put_string("/watched");
            out.put_int(1);
        });
        assert_eq!(reply.unwrap().err, 0);
        held.push(watcher);
    }
    for _ in 0..scale.changes / 100 {
        for _ in 0..100 {
            peer.send(OpCode::SetData, |out| encode::set_data_body("/watched", b"x", -1, out)).unwrap();
        }
        for _ in 0..100 {
            assert_eq!(peer.receive().unwrap().err, 0);
        }
    }
    let told = state(server, before, good);
    println!("{} mute watchers of {} changes: {told}", scale.mute_watchers, scale.changes);
    let allowed = GROWTH + GROWTH_PER_MUTE * held.len() as u64;
    assert!(growth(server, before) <= allowed, "{told}");
}

/// Readers who ask for a megabyte again and again and take nothing.
fn mute_readers(server: &Server, count: usize, before: u64, good: &Good) {
    let quiet = server.rss_bytes();
    let mut held = Vec::new();
    let mut requests = Vec::new();
    for xid in 1..=8 {
        encode::encode_frame(xid, OpCode::GetData, &mut requests, |out| {
            encode::path_watch_body("/big", false, out);
        });
    }
    for _ in 0..count {
        let mut reader = Peer::greet(narrow(server.address())).expect("a session for a mute reader");
        reader.stream.write_all(&requests).unwrap();
        held.push(reader);
    }
    std::thread::sleep(Duration::from_secs(2));
    let grown = server.rss_bytes().saturating_sub(quiet);
    let told = state(server, before, good);
    println!("{count} mute readers: {} KiB each; {told}", grown / 1024 / held.len() as u64);
    assert!(grown <= GROWTH_PER_MUTE * held.len() as u64 + 4 * MIB, "{told}");
    // One of them reads after all, and gets everything it asked for. The last: they send no pings, and on a slow
    // machine the sessions of the first are over by now.
    let reader = held.last_mut().expect("there are readers");
    for xid in 1..=8 {
        let reply = reader.receive().expect("a reader that reads again is served");
        assert_eq!((reply.xid, reply.err, reply.body.len() > BIG), (xid, 0, true));
    }
}

/// Whoever reads slowly, with a buffer much smaller than an answer, gets all of them in the end, and has to say nothing
/// meanwhile.
#[test]
fn slow_readers_get_everything() {
    let scratch = Scratch::new("slow-readers");
    let port = free_port();
    let cfg = scratch.zoo_cfg(port, "forceSync=no");
    let mut server = Server::spawn(ostler().arg("server").arg(&cfg), port);
    let mut peer = server.first_session();
    assert_eq!(peer.create("/big", &vec![7; BIG]).unwrap(), 0);
    let readers: Vec<JoinHandle<()>> = (0..16)
        .map(|_| {
            let mut reader = Peer::greet(narrow(server.address())).unwrap();
            for xid in 1..=4 {
                let mut request = Vec::new();
                encode::encode_frame(xid, OpCode::GetData, &mut request, |out| {
                    encode::path_watch_body("/big", false, out);
                });
                reader.stream.write_all(&request).unwrap();
            }
            std::thread::spawn(move || {
                for xid in 1..=4 {
                    let reply = reader.receive().expect("a slow reader is served");
                    assert_eq!((reply.xid, reply.err, reply.body.len() > BIG), (xid, 0, true));
                }
            })
        })
        .collect();
    for reader in readers {
        reader.join().unwrap();
    }
    assert_eq!(server.end(Signal::TERM), Some(0));
}

/// A connection with a small receive buffer, so that what is not read stays with the server and not in the kernel.
fn narrow(address: SocketAddr) -> TcpStream {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None)
        .expect("a socket");
    rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 2048).expect("a small buffer");
    rustix::net::connect(&socket, &address).expect("a connection");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(common::PATIENCE)).unwrap();
    stream.set_write_timeout(Some(common::PATIENCE)).unwrap();
    stream
}

fn growth(server: &Server, before: u64) -> u64 {
    server.rss_bytes().saturating_sub(before)
}

fn state(server: &Server, before: u64, good: &Good) -> String {
    format!("RSS grown by {} KiB; {}", growth(server, before) / 1024, good.tell())
}

/// A client that behaves, and measures.
struct Good {
    stop: Arc<AtomicBool>,
    latencies: Arc<Mutex<Vec<Duration>>>,
    told: Mutex<usize>,
    thread: JoinHandle<()>,
}

impl Good {
    fn start(address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let latencies = Arc::new(Mutex::new(Vec::new()));
        let (stopped, into) = (Arc::clone(&stop), Arc::clone(&latencies));
        let thread = std::thread::spawn(move || {
            let mut peer = Peer::open(address).expect("a session for the good client");
            let mut count = 0_u64;
            while !stopped.load(Ordering::Relaxed) {
                count += 1;
                let data = count.to_be_bytes();
                let started = Instant::now();
                if count.is_multiple_of(2) {
                    assert_eq!(peer.set_data("/good", &data).expect("the good client is served"), 0);
                } else {
                    peer.get_data("/good").expect("the good client is served").unwrap();
                }
                into.lock().unwrap().push(started.elapsed());
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        Self { stop, latencies, told: Mutex::new(0), thread }
    }

    /// How it fared since it was last asked.
    fn tell(&self) -> String {
        let latencies = self.latencies.lock().unwrap();
        let mut told = self.told.lock().unwrap();
        let mut recent = latencies[*told..].to_vec();
        *told = latencies.len();
        recent.sort();
        let at = |part: usize| recent.get(recent.len() * part / 100).copied().unwrap_or_default();
        let worst = recent.last().copied().unwrap_or_default();
        format!(
            "good client {} requests, p50 {:.1?}, p99 {:.1?}, max {worst:.1?}",
            recent.len(),
            at(50),
            at(99)
        )
    }

    fn stop(self) -> (usize, Duration) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the good client was served to the end");
        let latencies = self.latencies.lock().unwrap();
        (latencies.len(), latencies.iter().max().copied().unwrap_or_default())
    }
}

fn raise_own_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

struct Random(u64);

impl Random {
    fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.draw() % bound as u64).unwrap()
    }
}
