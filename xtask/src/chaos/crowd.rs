//! The clients of a round: each a thread with the pure session of `ostler-client`, a socket bound to an address of
//! its own, and a user who asks for whatever the simulator's users ask for. All write into one history under a lock:
//! what was asked is noted before it is sent, and what was answered after it came, so the order in the history is one
//! in which it can have happened.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use ostler_client::session::{Session, State};
use ostler_client::{Options, Request};
use ostler_sim::client::{Client, Wish, micros};
use ostler_sim::history::{History, Outcome};
use ostler_sim::rng::Rng;
use ostler_sim::workload::Habits;
use ostler_wire::client::read::Read;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::net::client_address;

/// What clients are to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    /// Live: ask, leave, come back.
    Live,
    /// Ask on, and leave nobody behind.
    Stay,
    /// Wait for what is under way, close, and end.
    Close,
    /// End at once.
    Stop,
}

/// What the clients share.
#[derive(Debug)]
struct Shared {
    history: Mutex<History>,
    /// When which session, by its place in the history, went to which server.
    connections: Mutex<Vec<(u64, usize, usize)>>,
    phase: AtomicU8,
    begin: Instant,
    servers: Vec<Server>,
}

/// Where to connect.
#[derive(Debug, Clone, Copy)]
pub(super) struct Server {
    /// The address.
    pub(super) address: SocketAddr,
    /// Whether a sync there is held to its promise. Apache's leader answers its own clients' syncs like reads, and it
    /// may apply a transaction later than its followers do.
    pub(super) has_true_sync: bool,
}

/// The clients at work.
#[derive(Debug)]
pub(super) struct Crowd {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Result<bool>>>,
    /// The wall clock when the history's clock said 0, in milliseconds.
    pub(super) epoch_ms: i64,
}

/// What the clients leave.
#[derive(Debug)]
pub(super) struct Closed {
    /// What they saw.
    pub(super) history: History,
    /// When which session, by its place in the history, went to which server.
    pub(super) connections: Vec<(u64, usize, usize)>,
    /// Who did not come to an end.
    pub(super) stuck: Vec<usize>,
}

/// A client.
struct Guest {
    number: usize,
    shared: Arc<Shared>,
    rng: Rng,
    client: Client,
    stream: Option<TcpStream>,
    server: usize,
    retry_at_us: u64,
    ask_at_us: u64,
    closing: bool,
}

impl Crowd {
    /// Starts them.
    pub(super) fn start(seed: u64, clients: usize, servers: &[Server]) -> Result<Self> {
        let begin = Instant::now();
        let epoch_ms = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        let history = History { many_servers: true, ..History::default() };
        let shared = Arc::new(Shared {
            history: Mutex::new(history),
            connections: Mutex::default(),
            phase: AtomicU8::new(Phase::Live as u8),
            begin,
            servers: servers.to_vec(),
        });
        let threads = (0..clients)
            .map(|number| {
                let mut guest = Guest::new(number, seed, &shared);
                std::thread::spawn(move || guest.live())
            })
            .collect();
        Ok(Self { shared, threads, epoch_ms })
    }

    /// The clock of the history.
    pub(super) fn now_us(&self) -> u64 {
        self.shared.now_us()
    }

    /// Notes that leaders may have changed from then to then.
    pub(super) fn note_unsettled(&self, from_us: u64, to_us: u64) {
        self.shared.history().unsettled_us.push((from_us, to_us));
    }

    /// From now on nobody is left behind.
    pub(super) fn stay(&self) {
        self.shared.phase.store(Phase::Stay as u8, Ordering::Relaxed);
    }

    /// How many requests were answered so far.
    pub(super) fn answered(&self) -> usize {
        self.shared.history().answered()
    }

    /// Lets everybody close its session, and takes the history, with who went where when, and who could not close.
    pub(super) fn close(self, patience: Duration) -> Result<Closed> {
        self.shared.phase.store(Phase::Close as u8, Ordering::Relaxed);
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline && !self.threads.iter().all(JoinHandle::is_finished) {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.shared.phase.store(Phase::Stop as u8, Ordering::Relaxed);
        let mut stuck = Vec::new();
        for (number, thread) in self.threads.into_iter().enumerate() {
            let closed = thread.join().map_err(|_| anyhow!("client {number} panicked"))??;
            if !closed {
                stuck.push(number);
            }
        }
        let shared = Arc::into_inner(self.shared).context("all clients have ended")?;
        let history = shared.history.into_inner().map_err(|_| anyhow!("a client panicked"))?;
        let connections = shared.connections.into_inner().map_err(|_| anyhow!("a client panicked"))?;
        Ok(Closed { history, connections, stuck })
    }
}

impl Shared {
    fn now_us(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_micros()).expect("not for ever")
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().expect("nobody panics while he writes")
    }

    fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Live,
            1 => Phase::Stay,
            2 => Phase::Close,
            _ => Phase::Stop,
        }
    }
}

impl Guest {
    fn new(number: usize, seed: u64, shared: &Arc<Shared>) -> Self {
        let mut rng = Rng::new(seed ^ (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        // Half of them watch much; nobody makes nodes that end by themselves, which the model would have to time.
        let habits = Habits {
            depth: *rng.pick(&[1, 2, 4, 16]),
            writes: *rng.pick(&[30, 50, 80]),
            watches: *rng.pick(&[0, 30, 60]),
            names: 4,
            value: *rng.pick(&[8, 40, 700]),
            lifetimes: false,
            lasting: rng.one_in(2),
        };
        let timeout_ms = *rng.pick(&[4_000, 4_000, 5_000, 6_000, 10_000]);
        let mut history = shared.history();
        let mut client = Client::new(timeout_ms, Some(habits), &mut history);
        drop(history);
        client.session = Session::new(options(timeout_ms, shared.servers.len()));
        let server = rng.index(shared.servers.len());
        Self {
            number,
            shared: Arc::clone(shared),
            rng,
            client,
            stream: None,
            server,
            retry_at_us: 0,
            ask_at_us: 0,
            closing: false,
        }
    }

    /// Until the end; whether it came to it with nothing left open.
    fn live(&mut self) -> Result<bool> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let now = self.shared.now_us();
            let phase = self.shared.phase();
            if phase == Phase::Stop {
                return Ok(false);
            }
            let session = &mut self.client.session;
            if session.poll_timeout().is_some_and(|at| at <= micros(now)) {
                session.handle_timeout(micros(now));
                self.drain()?;
            }
            match self.client.session.state() {
                State::Ended(_) if phase == Phase::Close => return Ok(true),
                State::Ended(_) => self.begin_session(),
                State::Disconnected if self.stream.is_none() && self.retry_at_us <= now => self.connect()?,
                State::Connected if phase == Phase::Close => {
                    if !self.closing && self.client.pending() == 0 {
                        self.closing = true;
                        self.client.session.close(micros(now));
                        self.drain()?;
                    }
                }
                State::Connected if self.ask_at_us <= now => self.ask(phase)?,
                State::Disconnected | State::Handshaking | State::Connected => {}
            }
            self.receive(&mut buffer)?;
        }
    }

    fn begin_session(&mut self) {
        self.stream = None;
        let mut history = self.shared.history();
        self.client.renew(&mut history);
        drop(history);
        self.client.session = Session::new(options(self.client.timeout_ms, self.shared.servers.len()));
        self.closing = false;
        self.retry_at_us = self.shared.now_us() + self.rng.range(1_000, 200_000);
    }

    fn connect(&mut self) -> Result<()> {
        self.server = self.rng.index(self.shared.servers.len());
        match dial(self.number, self.shared.servers[self.server].address) {
            Ok(stream) => {
                self.stream = Some(stream);
                let now = self.shared.now_us();
                self.client.connected(now, self.server);
                let mut notes = self.shared.connections.lock().expect("nobody panics while he writes");
                notes.push((now, self.client.story, self.server));
                drop(notes);
                self.drain()
            }
            Err(_) => {
                self.retry_at_us = self.shared.now_us() + self.rng.range(5_000, 150_000);
                Ok(())
            }
        }
    }

    /// A burst of requests; now and then the end of the session instead.
    fn ask(&mut self, phase: Phase) -> Result<()> {
        let now = self.shared.now_us();
        self.ask_at_us = now + self.rng.range(5_000, 90_000);
        if phase == Phase::Live && self.rng.one_in(150) {
            if self.rng.one_in(2) {
                self.client.session.close(micros(now));
                return self.drain();
            }
            // The client dies: what it asked for stays open for ever, and its session is to expire.
            self.begin_session();
            return Ok(());
        }
        let Some(habits) = self.client.habits.clone() else { return Ok(()) };
        let room = habits.depth.saturating_sub(self.client.pending());
        if room == 0 {
            return Ok(());
        }
        let most = if self.rng.one_in(4) { room } else { room.min(4) };
        let shared = Arc::clone(&self.shared);
        let mut history = shared.history();
        for _ in 0..=self.rng.index(most) {
            let serial = history.ops.len();
            let request = if self.rng.one_in(12) {
                Request::Read(Read::Sync { path: Some("/n0".into()) })
            } else {
                habits.request(&mut self.rng, serial)
            };
            let is_sync = matches!(request, Request::Read(Read::Sync { .. }));
            let request = if is_sync && !shared.servers[self.server].has_true_sync {
                Request::exists("/n0", false)
            } else {
                request
            };
            self.client.submit(now, request, &mut history);
        }
        drop(history);
        self.drain()
    }

    /// Does what the session wants.
    fn drain(&mut self) -> Result<()> {
        let mut wishes = Vec::new();
        let now = self.shared.now_us();
        let mut history = self.shared.history();
        let drained = self.client.drain(now, &mut history, &mut wishes);
        drop(history);
        drained.map_err(|what| anyhow!("server {} broke the protocol: {what}", self.server + 1))?;
        let mut lost = false;
        for wish in wishes {
            match wish {
                Wish::Send(bytes) => {
                    lost |= self.stream.as_mut().is_none_or(|stream| stream.write_all(&bytes).is_err());
                }
                Wish::HangUp => lost = true,
            }
        }
        if lost { self.lose() } else { Ok(()) }
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Result<()> {
        let Some(stream) = &mut self.stream else {
            std::thread::sleep(Duration::from_millis(5));
            return Ok(());
        };
        match stream.read(buffer) {
            Ok(0) => self.lose(),
            Ok(count) => {
                let now = micros(self.shared.now_us());
                self.client.session.handle_bytes(now, &buffer[..count]);
                self.drain()
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(()),
            Err(_) => self.lose(),
        }
    }

    fn lose(&mut self) -> Result<()> {
        self.stream = None;
        let now = self.shared.now_us();
        self.client.session.handle_disconnected(micros(now));
        self.retry_at_us = now + self.rng.range(1_000, 150_000);
        self.drain_offline()
    }

    /// Takes what the loss of a connection ended.
    fn drain_offline(&mut self) -> Result<()> {
        let mut wishes = Vec::new();
        let now = self.shared.now_us();
        self.client.drain(now, &mut self.shared.history(), &mut wishes).map_err(|what| anyhow!(what))
    }
}

/// How many of the history's writes were answered well.
pub(super) fn acknowledged_writes(history: &History) -> usize {
    let good = |outcome: &Outcome| matches!(outcome, Outcome::Answered { result: Ok(_), .. });
    history.ops.iter().filter(|op| matches!(op.request, Request::Write(_)) && good(&op.outcome)).count()
}

fn dial(number: usize, server: SocketAddr) -> Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&SockAddr::from(SocketAddr::from((client_address(number), 0))))?;
    socket.connect_timeout(&SockAddr::from(server), Duration::from_millis(600))?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_millis(8)))?;
    stream.set_write_timeout(Some(Duration::from_secs(1)))?;
    Ok(stream)
}

fn options(timeout_ms: u64, servers: usize) -> Options {
    Options {
        session_timeout: Duration::from_millis(timeout_ms),
        max_pending: 1000,
        servers: u32::try_from(servers).expect("few servers"),
        ..Options::default()
    }
}
