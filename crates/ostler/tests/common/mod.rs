//! What the tests of the binary share: a server that is a process, in a directory of its own, and a client that is a
//! socket.
#![allow(dead_code, reason = "each test file uses a part")]

pub(crate) mod terminal;

use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ostler_wire::client::connect::{ConnectRequest, ConnectResponse};
use ostler_wire::client::encode;
use ostler_wire::client::reply::ReplyHeader;
use ostler_wire::jute::Reader;
use ostler_wire::{Acl, OpCode, SessionId, frame};
use rustix::process::{Pid, Signal, kill_process};

/// How long anything may take that should happen at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A directory that goes away.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(label: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{label}-{}-{count}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A zoo.cfg with this data directory and port, and what else is to be in it.
    pub(crate) fn zoo_cfg(&self, port: u16, more: &str) -> PathBuf {
        let file = self.0.join("zoo.cfg");
        let data = self.0.join("data");
        let text = format!(
            "dataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\npreAllocSize=64\nadmin.enableServer=false\n{more}\n",
            data.display()
        );
        std::fs::write(&file, text).unwrap();
        file
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A port that nobody listens on now. `OSTLER_TEST_PORTS` is the first one to try, or the system chooses.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    if let Some(base) = std::env::var("OSTLER_TEST_PORTS").ok().and_then(|text| text.parse::<u32>().ok()) {
        for _ in 0..500 {
            let offset = (std::process::id() * 7 + NEXT.fetch_add(1, Ordering::Relaxed)) % 500;
            let port = u16::try_from(base + offset).unwrap();
            if TcpListener::bind(("127.0.0.1", port)).is_ok() {
                return port;
            }
        }
    }
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// The binary, to be given arguments.
pub(crate) fn ostler() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ostler"));
    for name in ["SERVER_JVMFLAGS", "JVMFLAGS", "OSTLER_LOG", "ZOO_DATADIR_AUTOCREATE_DISABLE"] {
        command.env_remove(name);
    }
    command
}

/// Runs a server that is expected not to start.
pub(crate) fn refused(command: &mut Command) -> Output {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("it started: {:?}", child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

/// A server that runs. Dropping it kills it.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    pub(crate) started: Instant,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
}

impl Server {
    pub(crate) fn start(zoo_cfg: &Path, port: u16) -> Self {
        Self::spawn(ostler().arg("server").arg(zoo_cfg), port)
    }

    pub(crate) fn spawn(command: &mut Command, port: u16) -> Self {
        let started = Instant::now();
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = collect(child.stdout.take().unwrap());
        let stderr = collect(child.stderr.take().unwrap());
        Self { child, port, started, stdout, stderr }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn stdout(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }

    pub(crate) fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// A session, as soon as the server gives one.
    pub(crate) fn first_session(&mut self) -> Peer {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Peer::open(self.address()) {
                Ok(peer) => return peer,
                Err(error) => {
                    let ended = self.child.try_wait().unwrap();
                    assert!(
                        ended.is_none() && Instant::now() < deadline,
                        "no session ({error}, {ended:?}): {}",
                        self.stderr()
                    );
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until something was printed.
    pub(crate) fn wait_for_stdout(&self, wanted: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.stdout().contains(wanted) {
            assert!(Instant::now() < deadline, "'{wanted}' is not in: {} {}", self.stdout(), self.stderr());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Sends a signal and waits for the end, and until all that was written is read; yields the exit code.
    pub(crate) fn end(&mut self, signal: Signal) -> Option<i32> {
        let pid = Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Who reads lets go of the text at its end.
            let all_read = [&self.stdout, &self.stderr].into_iter().all(|text| Arc::strong_count(text) == 1);
            if all_read && let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it does not stop: {}", self.stderr());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What a four-letter word answers.
    pub(crate) fn word(&self, word: &str) -> String {
        self::word(self.address(), word)
    }

    /// Resident memory in bytes.
    pub(crate) fn rss_bytes(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = text.lines().find(|line| line.starts_with("VmRSS:")).expect("Linux tells it");
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a four-letter word answers there.
pub(crate) fn word(address: SocketAddr, word: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(word.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn collect(stream: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let text = Arc::new(Mutex::new(String::new()));
    let into = Arc::clone(&text);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let mut text = into.lock().unwrap();
            text.push_str(&line);
            text.push('\n');
        }
    });
    text
}

/// A client that is nothing but a socket with a session.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    xid: i32,
    /// Its session.
    pub(crate) session: SessionId,
    password: [u8; 16],
}

/// A reply: xid, zxid, code and body.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) xid: i32,
    pub(crate) err: i32,
    pub(crate) body: Vec<u8>,
}

impl Peer {
    /// Opens a session of 30 s.
    pub(crate) fn open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Self::greet(stream)
    }

    /// Takes its session to a server. An error of the kind `NotFound` says that the session is gone.
    pub(crate) fn resume(&self, address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut resumed = Self::greet_as(stream, (self.session, &self.password), 30_000)?;
        resumed.xid = self.xid;
        Ok(resumed)
    }

    /// Opens a session on a connection.
    pub(crate) fn greet(stream: TcpStream) -> std::io::Result<Self> {
        Self::greet_for(stream, 30_000)
    }

    /// Opens a session of so many milliseconds on a connection.
    pub(crate) fn greet_for(stream: TcpStream, timeout_ms: i32) -> std::io::Result<Self> {
        Self::greet_as(stream, (SessionId(0), &[0; 16]), timeout_ms)
    }

    fn greet_as(
        mut stream: TcpStream,
        (session, password): (SessionId, &[u8; 16]),
        timeout_ms: i32,
    ) -> std::io::Result<Self> {
        stream.write_all(&hello_of(session, password, timeout_ms))?;
        let mut peer = Self { stream, xid: 0, session, password: *password };
        let frame = peer.read_frame()?;
        let response = ConnectResponse::decode(&mut Reader::new(&frame))
            .map_err(|error| std::io::Error::other(error.to_string()))?;
        if response.timeout_ms == 0 {
            return Err(std::io::Error::new(std::io::ErrorKind::NotFound, "the session was refused"));
        }
        peer.session = response.session;
        peer.password = response.password;
        Ok(peer)
    }

    /// Sends a request without waiting.
    pub(crate) fn send(&mut self, op: OpCode, body: impl FnOnce(&mut Vec<u8>)) -> std::io::Result<i32> {
        self.xid += 1;
        let mut out = Vec::new();
        encode::encode_frame(self.xid, op, &mut out, body);
        self.stream.write_all(&out)?;
        Ok(self.xid)
    }

    /// The next reply.
    pub(crate) fn receive(&mut self) -> std::io::Result<Reply> {
        let frame = self.read_frame()?;
        let mut reader = Reader::new(&frame);
        let header =
            ReplyHeader::decode(&mut reader).map_err(|error| std::io::Error::other(error.to_string()))?;
        Ok(Reply { xid: header.xid, err: header.err, body: reader.rest().to_vec() })
    }

    /// Sends a request and waits for its reply.
    pub(crate) fn call(&mut self, op: OpCode, body: impl FnOnce(&mut Vec<u8>)) -> std::io::Result<Reply> {
        let xid = self.send(op, body)?;
        let reply = self.receive()?;
        assert_eq!(reply.xid, xid);
        Ok(reply)
    }

    pub(crate) fn create(&mut self, path: &str, data: &[u8]) -> std::io::Result<i32> {
        let reply = self.call(OpCode::Create, |out| encode::create_body(path, data, &Acl::open(), 0, out))?;
        Ok(reply.err)
    }

    pub(crate) fn set_data(&mut self, path: &str, data: &[u8]) -> std::io::Result<i32> {
        Ok(self.call(OpCode::SetData, |out| encode::set_data_body(path, data, -1, out))?.err)
    }

    /// The data of a node, or the code.
    pub(crate) fn get_data(&mut self, path: &str) -> std::io::Result<Result<Vec<u8>, i32>> {
        let reply = self.call(OpCode::GetData, |out| encode::path_watch_body(path, false, out))?;
        if reply.err != 0 {
            return Ok(Err(reply.err));
        }
        let data = Reader::new(&reply.body).buffer("data").unwrap().unwrap_or_default().to_vec();
        Ok(Ok(data))
    }

    fn read_frame(&mut self) -> std::io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = usize::try_from(i32::from_be_bytes(length)).map_err(std::io::Error::other)?;
        let mut frame = vec![0; length];
        self.stream.read_exact(&mut frame)?;
        Ok(frame)
    }
}

/// The frame of a handshake for a new session.
pub(crate) fn hello() -> Vec<u8> {
    hello_of(SessionId(0), &[0; 16], 30_000)
}

fn hello_of(session: SessionId, password: &[u8; 16], timeout_ms: i32) -> Vec<u8> {
    let mut out = Vec::new();
    let at = frame::start(&mut out);
    let request = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: 0,
        timeout_ms,
        session,
        password,
        read_only: Some(false),
    };
    request.encode(&mut out);
    frame::finish(&mut out, at);
    out
}
