//! The tokio shell around a session: one task owns it and the socket, a `Client` is a handle to the task. It tries
//! the servers of its list in turn, goes on with the session after a loss, and gives up when the session is over.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use ostler_wire::Stat;
use ostler_wire::acl::Acl;
use ostler_wire::client::response::{MultiResult, Response};
use ostler_wire::client::write::{CreateMode, Write};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::error::{Error, ErrorKind};
use crate::options::Options;
use crate::request::Request;
use crate::session::{Completion, Ending, Event, Output, RequestId, Session, State};

/// How long to wait before the list of servers is tried once more.
const RETRY_DELAY: Duration = Duration::from_millis(200);
/// How many calls may wait for the task.
const COMMANDS: usize = 1024;
/// How many events may wait to be taken; beyond it the connection is not read.
const EVENTS: usize = 1024;
const READ_BYTES: usize = 64 << 10;

type Done = oneshot::Sender<Result<Response, Error>>;

enum Command {
    Request(Request, Done),
    Auth { scheme: String, auth: Vec<u8>, done: oneshot::Sender<Result<(), Error>> },
    Close,
}

/// A handle to a session. Clones share it; when the last one is dropped, the session is closed.
#[derive(Debug, Clone)]
pub struct Client {
    commands: mpsc::Sender<Command>,
}

/// The events of a session, in order. They have to be taken: while too many wait, the connection is not read.
/// Dropping this says that nobody cares.
#[derive(Debug)]
pub struct Events {
    events: mpsc::Receiver<Event>,
}

impl Events {
    /// The next event, `None` after the last.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a list of all other answers would say nothing")]
impl Client {
    /// Opens a session on the first server of the list that answers. The error says which one was tried last and
    /// what was wrong with it. The session timeout bounds the whole attempt.
    pub async fn connect(servers: &[SocketAddr], options: Options) -> Result<(Self, Events), Error> {
        if servers.is_empty() {
            return Err(Error::new(ErrorKind::Misuse, "no server to connect to"));
        }
        let patience = options.session_timeout;
        let options = Options { servers: u32::try_from(servers.len()).unwrap_or(u32::MAX), ..options };
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (events, taken) = mpsc::channel(EVENTS);
        let (established, ready) = oneshot::channel();
        let driver = Driver {
            session: Session::new(options),
            servers: servers.to_vec(),
            epoch: Instant::now(),
            waiting: BTreeMap::new(),
            inbox,
            events: Some(events),
            undelivered: None,
            established: Some(established),
            problem: None,
        };
        let give_up = driver.epoch + patience;
        tokio::spawn(driver.run(give_up));
        match ready.await {
            Ok(result) => result.map(|()| (Self { commands }, Events { events: taken })),
            Err(_) => Err(Error::new(ErrorKind::Retry, "the client's task was stopped")),
        }
    }

    /// Sends a request and waits for its answer. Requests go out in the order of the calls.
    pub async fn request(&self, request: Request) -> Result<Response, Error> {
        let (done, answer) = oneshot::channel();
        self.command(Command::Request(request, done)).await?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Data and Stat of a znode.
    pub async fn get_data(&self, path: &str) -> Result<(Vec<u8>, Stat), Error> {
        match self.request(Request::get_data(path, false)).await? {
            Response::Data { data, stat } => Ok((data.unwrap_or_default().to_vec(), stat)),
            other => Err(unexpected(&other)),
        }
    }

    /// The Stat of a znode, `None` if there is none.
    pub async fn exists(&self, path: &str) -> Result<Option<Stat>, Error> {
        match self.request(Request::exists(path, false)).await {
            Ok(Response::Stat(stat)) => Ok(Some(stat)),
            Ok(other) => Err(unexpected(&other)),
            Err(error) if error.code() == Some(ostler_wire::Code::NoNode) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The names of a znode's children.
    pub async fn children(&self, path: &str) -> Result<Vec<String>, Error> {
        match self.request(Request::children(path, false)).await? {
            Response::Children { names, .. } => Ok(names),
            other => Err(unexpected(&other)),
        }
    }

    /// A new znode with an open ACL; the answer is its path.
    pub async fn create(&self, path: &str, data: &[u8], mode: CreateMode) -> Result<String, Error> {
        match self.request(Request::create(path, data.to_vec(), &Acl::open(), mode)).await? {
            Response::Created { path, .. } => Ok(path),
            other => Err(unexpected(&other)),
        }
    }

    /// New data for a znode, if its version is `version` (-1: whatever it is).
    pub async fn set_data(&self, path: &str, data: &[u8], version: i32) -> Result<Stat, Error> {
        match self.request(Request::set_data(path, data.to_vec(), version)).await? {
            Response::Stat(stat) => Ok(stat),
            other => Err(unexpected(&other)),
        }
    }

    /// Deletes a znode without children.
    pub async fn delete(&self, path: &str, version: i32) -> Result<(), Error> {
        self.request(Request::delete(path, version)).await.map(drop)
    }

    /// Several writes, all or none. The error is that of the write that failed.
    pub async fn multi(&self, writes: Vec<Write>) -> Result<Vec<MultiResult>, Error> {
        match self.request(Request::multi(writes)).await? {
            Response::Multi(results) => {
                let failed = results.iter().find_map(|result| match result {
                    MultiResult::Error(err) if *err != 0 => Some(*err),
                    _ => None,
                });
                failed.map_or(Ok(results), |err| Err(Error::from_wire(err)))
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Adds credentials to the session. Whether the server likes them shows later: an event tells of refusal.
    pub async fn add_auth(&self, scheme: &str, auth: &[u8]) -> Result<(), Error> {
        let (done, answer) = oneshot::channel();
        self.command(Command::Auth { scheme: scheme.to_owned(), auth: auth.to_vec(), done }).await?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Closes the session behind what was requested before, and waits until that is done.
    pub async fn close(&self) {
        if self.commands.send(Command::Close).await.is_ok() {
            self.commands.closed().await;
        }
    }

    async fn command(&self, command: Command) -> Result<(), Error> {
        self.commands.send(command).await.map_err(|_| gone())
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::SessionLost, "the session is over")
}

fn unexpected(response: &Response) -> Error {
    Error::new(ErrorKind::Misuse, format!("an answer to something else: {response:?}"))
}

struct Driver {
    session: Session,
    servers: Vec<SocketAddr>,
    epoch: Instant,
    waiting: BTreeMap<RequestId, Done>,
    inbox: mpsc::Receiver<Command>,
    events: Option<mpsc::Sender<Event>>,
    /// An event for which there was no room.
    undelivered: Option<Event>,
    established: Option<oneshot::Sender<Result<(), Error>>>,
    /// What was wrong with the server that was tried last.
    problem: Option<String>,
}

/// What the task waited for.
enum Woken {
    Bytes(usize),
    Lost(String),
    Command(Option<Command>),
    Time,
    /// There is room for events again.
    Room,
}

impl Driver {
    async fn run(mut self, give_up: Instant) {
        let mut next = 0;
        while !matches!(self.session.state(), State::Ended(_)) {
            let server = self.servers[next % self.servers.len()];
            next += 1;
            let deadline = Instant::now() + self.session.connect_timeout();
            match self.dial(server, deadline).await {
                Some(Ok(stream)) => self.serve(stream, server).await,
                Some(Err(problem)) => {
                    self.problem = Some(problem);
                    self.session.handle_disconnected(self.now());
                }
                None => {}
            }
            self.drain().await;
            if self.established.is_some() && Instant::now() >= give_up {
                self.session.close(self.now());
            } else if next.is_multiple_of(self.servers.len()) {
                self.pause(RETRY_DELAY).await;
            }
        }
        self.drain().await;
        self.report_failure();
        self.inbox.close();
    }

    /// Connects, taking commands meanwhile; `None` if the session ended before.
    async fn dial(&mut self, server: SocketAddr, deadline: Instant) -> Option<Result<TcpStream, String>> {
        let mut connecting = Box::pin(TcpStream::connect(server));
        loop {
            tokio::select! {
                result = &mut connecting => return Some(
                    result
                        .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
                        .map_err(|error| format!("cannot connect to {server}: {error}"))
                ),
                () = tokio::time::sleep_until(deadline) => {
                    return Some(Err(format!("cannot connect to {server}: no answer in time")));
                }
                command = self.inbox.recv() => self.on_command(command),
            }
            self.drain().await;
            if matches!(self.session.state(), State::Ended(_)) {
                return None;
            }
        }
    }

    /// Waits without a connection.
    async fn pause(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while !matches!(self.session.state(), State::Ended(_)) {
            tokio::select! {
                () = tokio::time::sleep_until(until) => break,
                command = self.inbox.recv() => self.on_command(command),
            }
            self.drain().await;
        }
        self.session.handle_timeout(self.now());
        self.drain().await;
    }

    /// Drives the session on one connection until that is gone.
    async fn serve(&mut self, mut stream: TcpStream, server: SocketAddr) {
        let mut buffer = vec![0; READ_BYTES];
        let mut unsent: Vec<u8> = Vec::new();
        let mut sent = 0;
        self.session.handle_connected(self.now());
        let problem = loop {
            if let Some(why) = self.collect(&mut unsent) {
                break why.to_owned();
            }
            if sent == unsent.len() {
                unsent.clear();
                sent = 0;
            }
            let woken = {
                let (mut reader, mut writer) = stream.split();
                let deadline = self.session.poll_timeout().map(|at| self.epoch + at);
                let full = self.undelivered.is_some();
                let room = async {
                    match &self.events {
                        Some(events) if full => drop(events.reserve().await),
                        _ => std::future::pending().await,
                    }
                };
                tokio::select! {
                    biased;
                    result = writer.write(&unsent[sent..]), if sent < unsent.len() => match result {
                        Ok(n) => { sent += n; continue }
                        Err(error) => Woken::Lost(error.to_string()),
                    },
                    result = reader.read(&mut buffer), if !full => match result {
                        Ok(0) => Woken::Lost("the server closed the connection".to_owned()),
                        Ok(n) => Woken::Bytes(n),
                        Err(error) => Woken::Lost(error.to_string()),
                    },
                    () = room => Woken::Room,
                    // Small requests of many callers become one write, but no more than one buffer of them.
                    command = self.inbox.recv(), if unsent.len() < READ_BYTES => Woken::Command(command),
                    () = tokio::time::sleep_until(deadline.unwrap_or_else(far_away)), if deadline.is_some() => Woken::Time,
                }
            };
            let now = self.now();
            match woken {
                Woken::Bytes(n) => self.session.handle_bytes(now, &buffer[..n]),
                Woken::Lost(why) => break why,
                Woken::Command(command) => {
                    self.on_command(command);
                    while unsent.len() < READ_BYTES
                        && let Ok(command) = self.inbox.try_recv()
                    {
                        self.on_command(Some(command));
                    }
                }
                Woken::Time => self.session.handle_timeout(now),
                Woken::Room => {}
            }
        };
        self.problem = Some(format!("{server}: {problem}"));
        self.session.handle_disconnected(self.now());
    }

    fn on_command(&mut self, command: Option<Command>) {
        let now = self.now();
        match command {
            Some(Command::Request(request, done)) => match self.session.submit(now, &request) {
                Ok(id) => drop(self.waiting.insert(id, done)),
                Err(error) => drop(done.send(Err(error))),
            },
            Some(Command::Auth { scheme, auth, done }) => {
                drop(done.send(self.session.add_auth(now, &scheme, &auth)));
            }
            // No handle is left, or somebody asked.
            None | Some(Command::Close) => self.session.close(now),
        }
    }

    /// Takes the outputs of the session while there is room for events. The text if it wants to hang up.
    fn collect(&mut self, unsent: &mut Vec<u8>) -> Option<&'static str> {
        loop {
            if let Some(event) = self.undelivered.take() {
                self.undelivered = self.deliver(event);
                if self.undelivered.is_some() {
                    return None;
                }
            }
            match self.session.poll_output()? {
                Output::Transmit(bytes) => unsent.extend_from_slice(&bytes),
                Output::Completed(completion) => self.on_completion(completion),
                Output::Event(event) => {
                    self.on_event(&event);
                    self.undelivered = Some(event);
                }
                Output::Disconnect(why) => return Some(why),
            }
        }
    }

    /// As `collect`, without a connection: waits until all events are delivered.
    async fn drain(&mut self) {
        loop {
            if let Some(event) = self.undelivered.take()
                && let Some(events) = &self.events
                && events.send(event).await.is_err()
            {
                self.events = None;
            }
            if self.collect(&mut Vec::new()).is_none() && self.undelivered.is_none() {
                return;
            }
        }
    }

    /// The event itself when there is no room.
    fn deliver(&mut self, event: Event) -> Option<Event> {
        match self.events.as_ref()?.try_send(event) {
            Ok(()) => None,
            Err(mpsc::error::TrySendError::Full(event)) => Some(event),
            Err(mpsc::error::TrySendError::Closed(_)) => {
                self.events = None;
                None
            }
        }
    }

    fn on_completion(&mut self, completion: Completion) {
        if let Some(done) = self.waiting.remove(&completion.id) {
            // A caller that stopped waiting does not want to know.
            drop(done.send(completion.result));
        }
    }

    fn on_event(&mut self, event: &Event) {
        match event {
            Event::Connected { .. } => {
                if let Some(established) = self.established.take() {
                    drop(established.send(Ok(())));
                }
            }
            Event::Ended(Ending::Expired | Ending::AuthFailed | Ending::Closed)
            | Event::Disconnected
            | Event::Watch { .. }
            | Event::WatchesRemoved { .. } => {}
        }
    }

    /// The caller of `connect` hears what was wrong with the last server.
    fn report_failure(&mut self) {
        if let Some(established) = self.established.take() {
            let why = self.problem.take().unwrap_or_else(|| "no server answered".to_owned());
            drop(established.send(Err(Error::new(ErrorKind::Retry, why))));
        }
    }

    fn now(&self) -> Duration {
        self.epoch.elapsed()
    }
}

fn far_away() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write as _};

    use ostler_wire::client::connect::ConnectResponse;
    use ostler_wire::client::reply;
    use ostler_wire::jute::Writer;
    use ostler_wire::{Code, SessionId, Zxid, frame};

    use super::*;

    fn frame_of(stream: &mut std::net::TcpStream) -> Vec<u8> {
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let mut payload = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut payload).unwrap();
        payload
    }

    /// A server that answers the handshake, then each of the given number of requests with `answer`.
    fn serve(stream: &mut std::net::TcpStream, requests: usize, answer: fn(i32, &mut Vec<u8>)) {
        frame_of(stream);
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
        for _ in 0..requests {
            let request = frame_of(stream);
            let xid = i32::from_be_bytes(*request.first_chunk().unwrap());
            let mut out = Vec::new();
            answer(xid, &mut out);
            stream.write_all(&out).unwrap();
        }
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn it_goes_past_a_dead_server_and_back_after_a_loss() {
        let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let alive = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            serve(&mut stream, 1, |xid, out| {
                reply::encode_frame(xid, Zxid(3), out, |out| out.put_string("/"));
            });
            drop(stream);
            let (mut stream, _) = listener.accept().unwrap();
            serve(&mut stream, 2, |xid, out| reply::encode_error(xid, Zxid(4), Code::NoNode, out));
        });
        block_on(async {
            let (client, mut events) = Client::connect(&[dead, alive], Options::default()).await.unwrap();
            assert!(matches!(events.next().await, Some(Event::Connected { session: SessionId(5), .. })));
            client.request(Request::sync("/")).await.unwrap();
            assert_eq!(events.next().await, Some(Event::Disconnected));
            assert!(matches!(events.next().await, Some(Event::Connected { .. })));
            assert_eq!(client.exists("/x").await, Ok(None));
            client.close().await;
            assert_eq!(events.next().await, Some(Event::Ended(Ending::Closed)));
            assert_eq!(events.next().await, None);
            assert_eq!(client.exists("/x").await.unwrap_err().kind(), ErrorKind::SessionLost);
        });
        server.join().unwrap();
    }

    #[test]
    fn an_address_where_nobody_listens_is_named() {
        let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let options = Options { session_timeout: Duration::from_millis(300), ..Options::default() };
        let error = block_on(Client::connect(&[dead], options)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Retry);
        assert!(error.to_string().contains(&dead.to_string()), "{error}");
    }
}
