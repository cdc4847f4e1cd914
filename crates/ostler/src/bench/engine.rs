//! The loop that drives many connections from one thread with as little work as possible: one epoll, plain
//! non-blocking sockets, requests encoded straight into a connection's buffer, replies looked at where they lie.
//! What is sent and what an answer means is for a `Load` to say. A generator has to cost little beside the server it
//! measures, since on a small machine both share the cores.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ostler_wire::client::encode::encode_frame;
use ostler_wire::{OpCode, Xid, frame};
use rustix::event::epoll;
use rustix::time::Timespec;

use super::handshake::{self, Identity};
use super::progress::Progress;
use super::servers::Servers;

/// Frames longer than this come from no ZooKeeper that we know.
pub(super) const MAX_FRAME: usize = 256 << 20;
const READ_BYTES: usize = 256 << 10;
/// How often the loop looks after pings and progress.
const TICK_NS: u64 = 250_000_000;
/// How many connections are opened before the first answer is awaited. Below the 50 that Java's server lets wait to be
/// accepted: one more waits a second for its next try, and thousands would outlast the first one's session.
const HANDSHAKES_AT_ONCE: usize = 32;

/// What a load does with the connections. Times are nanoseconds since the engine began.
pub(super) trait Load {
    /// Appends the next request of this connection as a whole frame with this xid, if there is one now.
    fn next(&mut self, conn: usize, now: u64, xid: i32, out: &mut Vec<u8>) -> Option<Issued>;
    /// An answer came.
    fn on_reply(&mut self, conn: usize, reply: &Reply<'_>);
    /// A watch event came.
    fn on_event(&mut self, _conn: usize, _now: u64) {}
    /// A request will never be answered: its connection is gone.
    fn on_lost(&mut self, conn: usize, issued: Issued);
    /// For a load that sends by the clock: when the next request is due, and on which connection.
    fn due(&self) -> Option<(u64, usize)> {
        None
    }
    /// Whether it has all it wants.
    fn is_done(&self) -> bool {
        false
    }
    /// How many operations are done, for the progress line.
    fn completed(&self) -> u64;
}

/// What a load remembers of a request until its answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Issued {
    /// Anything.
    pub(super) tag: u32,
    /// From when its latency counts.
    pub(super) start: u64,
}

/// An answer.
pub(super) struct Reply<'a> {
    pub(super) issued: Issued,
    pub(super) now: u64,
    /// The code in the header, 0 for success.
    pub(super) err: i32,
    pub(super) body: &'a [u8],
}

struct Conn {
    /// `None` once it is lost.
    stream: Option<TcpStream>,
    partial: Vec<u8>,
    out: Vec<u8>,
    sent: usize,
    in_flight: VecDeque<(i32, Issued)>,
    next_xid: i32,
    last_sent: u64,
    wants_write: bool,
}

/// The connections of one load.
pub(super) struct Engine {
    epoll: OwnedFd,
    conns: Vec<Conn>,
    origin: Instant,
    depth: usize,
    ping_ns: u64,
    buffer: Vec<u8>,
    in_flight: usize,
    /// Why the last connection was lost.
    loss: Option<String>,
    next_tick: u64,
}

impl Engine {
    /// Opens sessions on `connections` connections, dealt out over the servers, each of which keeps up to `depth`
    /// requests in flight.
    pub(super) fn connect(
        servers: &Servers,
        identity: &Identity,
        connections: usize,
        depth: usize,
    ) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).context("cannot create an epoll")?;
        let mut conns = Vec::new();
        let mut timeout = identity.timeout;
        while conns.len() < connections {
            let batch = HANDSHAKES_AT_ONCE.min(connections - conns.len());
            let mut streams = Vec::new();
            for connection in conns.len()..conns.len() + batch {
                let address = servers.of(connection);
                streams.push((address, handshake::begin(address, identity)?));
            }
            for (address, mut stream) in streams {
                timeout = timeout.min(handshake::finish(&mut stream, address, identity)?);
                stream.set_nonblocking(true)?;
                let data = epoll::EventData::new_u64(conns.len() as u64);
                epoll::add(&epoll, &stream, data, epoll::EventFlags::IN)?;
                conns.push(Conn {
                    stream: Some(stream),
                    partial: Vec::new(),
                    out: Vec::new(),
                    sent: 0,
                    in_flight: VecDeque::new(),
                    next_xid: 1,
                    last_sent: 0,
                    wants_write: false,
                });
            }
        }
        Ok(Self {
            epoll,
            conns,
            origin: Instant::now(),
            depth,
            ping_ns: u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX) / 3,
            buffer: vec![0; READ_BYTES],
            in_flight: 0,
            loss: None,
            next_tick: 0,
        })
    }

    /// Nanoseconds since the engine began.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Runs the load until the time has come or it has all it wants; requests may still be in flight then.
    pub(super) fn run(&mut self, load: &mut impl Load, until: u64, progress: &mut Progress) -> Result<()> {
        let now = self.now();
        for index in 0..self.conns.len() {
            self.pump(index, load, now);
        }
        loop {
            let now = self.now();
            if now >= until || load.is_done() {
                return Ok(());
            }
            self.issue_due(load, now);
            self.turn(load, until, true, progress)?;
        }
    }

    /// Waits for what is in flight, without sending more. Fails when the server does not answer in time.
    pub(super) fn drain(
        &mut self,
        load: &mut impl Load,
        patience: Duration,
        progress: &mut Progress,
    ) -> Result<()> {
        let until = self.now() + u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX / 2);
        while self.in_flight > 0 {
            if self.now() >= until {
                bail!("{} requests were not answered within {patience:?}", self.in_flight);
            }
            self.turn(load, until, false, progress)?;
        }
        Ok(())
    }

    /// Closes all sessions and connections.
    pub(super) fn close(self) {
        for conn in &self.conns {
            if let Some(stream) = &conn.stream {
                handshake::say_goodbye(stream);
            }
        }
        for conn in self.conns {
            if let Some(mut stream) = conn.stream {
                handshake::await_goodbye(&mut stream);
            }
        }
    }

    /// Sends what the clock says.
    fn issue_due(&mut self, load: &mut impl Load, now: u64) {
        while let Some((at, index)) = load.due()
            && at <= now
        {
            let conn = &mut self.conns[index];
            if let Some(issued) = load.next(index, now, conn.next_xid, &mut conn.out) {
                conn.remember(issued, now);
                self.in_flight += 1;
            }
            self.flush(index, load);
        }
    }

    fn turn(&mut self, load: &mut impl Load, until: u64, issue: bool, progress: &mut Progress) -> Result<()> {
        let now = self.now();
        let mut wake = until.min(self.next_tick.max(now));
        if issue && let Some((at, _)) = load.due() {
            wake = wake.min(at);
        }
        let wait = Duration::from_nanos(wake.saturating_sub(now));
        let timeout = Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(wait.subsec_nanos()),
        };
        let mut events =
            [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }; 256];
        let ready = match epoll::wait(&self.epoll, &mut events[..], Some(&timeout)) {
            Ok(ready) => ready,
            Err(rustix::io::Errno::INTR) => 0,
            Err(error) => return Err(error).context("cannot wait for the sockets"),
        };
        for event in &events[..ready] {
            let (flags, data) = (event.flags, event.data);
            let index = usize::try_from(data.u64()).expect("it is an index of ours");
            if flags.contains(epoll::EventFlags::OUT) {
                self.flush(index, load);
            }
            if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
                let now = self.read(index, load);
                if issue {
                    self.pump(index, load, now);
                }
            }
        }
        let now = self.now();
        if now >= self.next_tick {
            self.next_tick = now + TICK_NS;
            self.ping_idle(load, now);
            progress.show(load.completed());
            if self.conns.iter().all(|conn| conn.stream.is_none()) {
                bail!("all connections are lost: {}", self.loss.as_deref().unwrap_or("no reason known"));
            }
        }
        Ok(())
    }

    /// Fills the connection's window and sends.
    fn pump(&mut self, index: usize, load: &mut impl Load, now: u64) {
        let conn = &mut self.conns[index];
        if conn.stream.is_none() {
            return;
        }
        while conn.in_flight.len() < self.depth {
            let Some(issued) = load.next(index, now, conn.next_xid, &mut conn.out) else { break };
            conn.remember(issued, now);
            self.in_flight += 1;
        }
        self.flush(index, load);
    }

    fn flush(&mut self, index: usize, load: &mut impl Load) {
        let conn = &mut self.conns[index];
        let Some(stream) = &mut conn.stream else {
            conn.out.clear();
            return self.lose(index, load, None);
        };
        while conn.sent < conn.out.len() {
            match stream.write(&conn.out[conn.sent..]) {
                Ok(n) => conn.sent += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.lose(index, load, Some(error.to_string())),
            }
        }
        let blocked = conn.sent < conn.out.len();
        if !blocked {
            conn.out.clear();
            conn.sent = 0;
        }
        if blocked != conn.wants_write {
            conn.wants_write = blocked;
            let mut flags = epoll::EventFlags::IN;
            flags.set(epoll::EventFlags::OUT, blocked);
            let data = epoll::EventData::new_u64(index as u64);
            if let Err(error) = epoll::modify(&self.epoll, &*stream, data, flags) {
                self.lose(index, load, Some(error.to_string()));
            }
        }
    }

    /// Reads once and hands on what is whole; the time at which it came.
    fn read(&mut self, index: usize, load: &mut impl Load) -> u64 {
        let conn = &mut self.conns[index];
        let Some(stream) = &mut conn.stream else { return self.now() };
        let result = stream.read(&mut self.buffer);
        let now = u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let problem = match result {
            Ok(0) => Some("the server closed the connection".to_owned()),
            Ok(n) => {
                let before = conn.in_flight.len();
                let outcome = if conn.partial.is_empty() {
                    let used = conn.consume(index, &self.buffer[..n], now, load);
                    used.map(|used| conn.partial.extend_from_slice(&self.buffer[used..n]))
                } else {
                    let mut bytes = std::mem::take(&mut conn.partial);
                    bytes.extend_from_slice(&self.buffer[..n]);
                    let used = conn.consume(index, &bytes, now, load);
                    used.map(|used| {
                        bytes.drain(..used);
                        conn.partial = bytes;
                    })
                };
                self.in_flight -= before - conn.in_flight.len();
                outcome.err()
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => None,
            Err(error) => Some(error.to_string()),
        };
        if problem.is_some() {
            self.lose(index, load, problem);
        }
        now
    }

    fn lose(&mut self, index: usize, load: &mut impl Load, why: Option<String>) {
        let conn = &mut self.conns[index];
        conn.stream = None;
        conn.out.clear();
        conn.sent = 0;
        if why.is_some() {
            self.loss = why;
        }
        self.in_flight -= conn.in_flight.len();
        for (_, issued) in std::mem::take(&mut conn.in_flight) {
            load.on_lost(index, issued);
        }
    }

    fn ping_idle(&mut self, load: &mut impl Load, now: u64) {
        for index in 0..self.conns.len() {
            let conn = &mut self.conns[index];
            if conn.stream.is_some() && now - conn.last_sent.min(now) > self.ping_ns {
                encode_frame(Xid::PING.0, OpCode::Ping, &mut conn.out, |_| {});
                conn.last_sent = now;
                self.flush(index, load);
            }
        }
    }
}

impl Conn {
    fn remember(&mut self, issued: Issued, now: u64) {
        self.in_flight.push_back((self.next_xid, issued));
        self.next_xid = self.next_xid.checked_add(1).unwrap_or(1);
        self.last_sent = now;
    }

    /// Hands on all whole frames; how many bytes they took.
    fn consume(
        &mut self,
        index: usize,
        bytes: &[u8],
        now: u64,
        load: &mut impl Load,
    ) -> Result<usize, String> {
        let mut at = 0;
        loop {
            let len = match frame::head(&bytes[at..], MAX_FRAME) {
                frame::Head::Frame { len } => len,
                frame::Head::Partial { .. } => return Ok(at),
                frame::Head::BadLength(length) => return Err(format!("a frame of {length} bytes")),
            };
            let payload = &bytes[at + 4..at + 4 + len];
            at += 4 + len;
            let (Some(xid), Some(err)) = (int_at(payload, 0), int_at(payload, 12)) else {
                return Err("a reply too short for its header".to_owned());
            };
            match Xid(xid) {
                Xid::NOTIFICATION => load.on_event(index, now),
                Xid::PING => {}
                _ => match self.in_flight.pop_front() {
                    Some((expected, issued)) if expected == xid => {
                        load.on_reply(index, &Reply { issued, now, err, body: &payload[16..] });
                    }
                    _ => return Err("replies out of order".to_owned()),
                },
            }
        }
    }
}

fn int_at(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use ostler_wire::client::connect::ConnectResponse;
    use ostler_wire::client::{event, reply};
    use ostler_wire::{Code, SessionId, Zxid};

    use super::super::loads::{Mix, Operations};
    use super::super::stats::{CountBy, Recorder};
    use super::*;

    fn identity() -> Identity {
        Identity { timeout: Duration::from_secs(30), auth: None, patience: Duration::from_secs(5) }
    }

    fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
        let mut length = [0; 4];
        stream.read_exact(&mut length).ok()?;
        let mut payload = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut payload).ok()?;
        Some(payload)
    }

    /// Answers the handshake and `answers` requests, in pieces that respect no frame, then hangs up.
    fn serve(listener: &TcpListener, answers: usize) {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        read_frame(&mut stream).unwrap();
        let mut out = Vec::new();
        let at = frame::start(&mut out);
        ConnectResponse {
            timeout_ms: 9000,
            session: SessionId(5),
            password: [1; 16],
            read_only: Some(false),
        }
        .encode(&mut out);
        frame::finish(&mut out, at);
        stream.write_all(&out).unwrap();
        for i in 0..answers {
            let request = read_frame(&mut stream).unwrap();
            let xid = i32::from_be_bytes(*request.first_chunk().unwrap());
            let mut out = Vec::new();
            event::encode_frame(event::EventType::NodeCreated, "/x", Zxid(1), &mut out);
            if i % 10 == 0 {
                reply::encode_error(xid, Zxid(2), Code::NoNode, &mut out);
            } else {
                reply::encode_frame(xid, Zxid(2), &mut out, |out| out.extend_from_slice(&[7; 100]));
            }
            for piece in out.chunks(37) {
                stream.write_all(piece).unwrap();
            }
        }
        // Closing with requests unread would reset the connection, and take answers with it that are under way.
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        while read_frame(&mut stream).is_some() {}
    }

    fn load() -> Operations {
        let mut recorder = Recorder::new(CountBy::Answer, 2, false);
        recorder.begin(0, u64::MAX, u64::MAX);
        Operations::new(Mix::Ratio(1.0), vec!["/x".to_owned()], 0, 1, recorder)
    }

    #[test]
    fn answers_in_pieces_are_counted_and_a_loss_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || serve(&listener, 100));
        let mut engine = Engine::connect(&address.into(), &identity(), 1, 8).unwrap();
        let (mut load, mut progress) = (load(), Progress::new("test", None));
        let problem = engine.run(&mut load, u64::MAX / 2, &mut progress).unwrap_err();
        assert!(problem.to_string().contains("all connections are lost"), "{problem}");
        server.join().unwrap();
        assert_eq!(load.recorder.ops(), 100);
        let errors = load.recorder.errors();
        assert_eq!(errors["NoNode"], 10);
        assert!((1..=8).contains(&errors["connection lost"]), "{errors:?}");
        assert_eq!(engine.in_flight, 0);
    }

    #[test]
    fn draining_waits_for_what_is_in_flight_and_sends_no_more() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || serve(&listener, 4));
        let mut engine = Engine::connect(&address.into(), &identity(), 1, 4).unwrap();
        let (mut load, mut progress) = (load(), Progress::new("test", None));
        // Nothing but the first window is sent.
        engine.pump(0, &mut load, 0);
        engine.drain(&mut load, Duration::from_secs(5), &mut progress).unwrap();
        assert_eq!((load.recorder.ops(), engine.in_flight), (4, 0));
        drop(engine);
        server.join().unwrap();
    }

    #[test]
    fn a_dead_address_is_named() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let Err(problem) = Engine::connect(&address.into(), &identity(), 1, 1) else {
            panic!("connected to nobody")
        };
        assert!(problem.to_string().contains(&address.to_string()), "{problem}");
    }
}
