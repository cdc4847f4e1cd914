//! A client's session as a value: no clock, no socket. It numbers requests, keeps those that wait for their answer in
//! order, pings, sets watches and credentials again on a new connection, and knows when the session is lost for good.
//! Who drives it says what happened (`handle_*`, with the time since any fixed moment that never goes back), then
//! takes what it wants (`poll_output` until `None`), then waits until `poll_timeout`. Answers to `ClientCnxn`.

pub mod answer;
mod connection;
mod in_flight;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use ostler_wire::client::AuthRequest;
use ostler_wire::client::connect::{ConnectRequest, ConnectResponse, PASSWORD_LEN};
use ostler_wire::client::encode;
use ostler_wire::client::event::EventType;
use ostler_wire::client::read::{Read, WatcherType};
use ostler_wire::client::response::Response;
use ostler_wire::client::write::Write;
use ostler_wire::{Code, OpCode, SessionId, Xid, Zxid, frame, path};

use crate::error::{Error, ErrorKind};
use crate::options::Options;
use crate::request::{Request, check_path};
use crate::watches::{Watches, Wish};
use in_flight::{InFlight, Sent, xid_after};

/// The most credentials that a session keeps.
const MAX_AUTHS: usize = 64;

/// The name of a request within its session: what its completion refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What the session wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send these bytes on the connection.
    Transmit(Bytes),
    /// A request has come to its end; each accepted one does so exactly once.
    Completed(Completion),
    /// Something happened that nobody asked for just now.
    Event(Event),
    /// Close the connection, then say `handle_disconnected`. The text is for a log.
    Disconnect(&'static str),
}

/// The end of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// Which one.
    pub id: RequestId,
    /// The zxid in the header of the reply, if there was one.
    pub zxid: Option<Zxid>,
    /// The answer.
    pub result: Result<Response, Error>,
}

/// A read that may be submitted without a `Request`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlainRead {
    /// getData.
    GetData,
    /// exists.
    Exists,
}

/// What a session tells of its own accord.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A watch fired. `zxid` is that of the change, -1 from old servers and for what was missed while disconnected.
    Watch {
        /// What happened.
        kind: EventType,
        /// Where.
        path: String,
        /// By which transaction.
        zxid: Zxid,
    },
    /// Watches were taken away, as asked.
    WatchesRemoved {
        /// Which ones.
        kind: WatcherType,
        /// Where.
        path: String,
    },
    /// The session is established on a connection, for the first time or again.
    Connected {
        /// The session.
        session: SessionId,
        /// Whether the server is read-only.
        read_only: bool,
        /// What was negotiated.
        timeout: Duration,
    },
    /// The connection is gone; the session may live on.
    Disconnected,
    /// Nothing that was sent within the session timeout has been answered, so the servers may have let the session
    /// expire by now. Whoever holds something by an ephemeral has to let go. The session itself may still be resumed.
    Lapsed,
    /// The session is over. Nothing comes after this.
    Ended(Ending),
    /// Events were dropped here, since nobody took them. A session does not say this; a bounded queue of events does.
    Overflow,
}

/// Why a session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The caller closed it.
    Closed,
    /// It expired.
    Expired,
    /// The server refused the credentials.
    AuthFailed,
}

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Without a connection: the driver should make one.
    Disconnected,
    /// The handshake is under way.
    Handshaking,
    /// Established.
    Connected,
    /// Over.
    Ended(Ending),
}

/// A request that has not been sent.
#[derive(Debug)]
struct Queued {
    id: RequestId,
    op: OpCode,
    body: Vec<u8>,
    wish: Option<Box<Wish>>,
}

/// Credentials, and who waits for the answer to them.
#[derive(Debug)]
struct Auth {
    scheme: String,
    auth: Vec<u8>,
    waiting: Option<RequestId>,
}

/// A session.
#[derive(Debug)]
pub struct Session {
    options: Options,
    state: State,
    session: SessionId,
    password: [u8; PASSWORD_LEN],
    /// A session that only read-only servers know is not one to resume elsewhere.
    seen_writable_server: bool,
    last_zxid: i64,
    next_id: u64,
    next_xid: i32,
    queued: VecDeque<Queued>,
    in_flight: InFlight,
    /// Bytes of the bodies in `queued`.
    queued_bytes: usize,
    /// Bytes to send that were not polled yet.
    out: Vec<u8>,
    /// Bytes that came and are no whole frame yet.
    input: Vec<u8>,
    outputs: VecDeque<Output>,
    auths: Vec<Auth>,
    /// Which of `auths` were sent on this connection and not answered, in order.
    auths_in_flight: VecDeque<usize>,
    watches: Watches,
    closing: bool,
    /// Negotiated; before the first handshake what was asked for.
    timeout: Duration,
    last_heard: Duration,
    last_sent: Duration,
    /// When this connection was made.
    connected_at: Duration,
    /// When the pings were sent that have no answer.
    pings: VecDeque<Duration>,
    /// When the newest request was sent that a server has answered: from then on it gives the session its timeout.
    touched: Duration,
    /// `Event::Lapsed` was said, and no server has answered since.
    lapsed: bool,
    /// Set from the moment a disconnect is asked for until it is confirmed: what still arrives does not count.
    hanging_up: bool,
}

impl Session {
    /// A session that was never connected.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let timeout = options.session_timeout;
        Self {
            options,
            state: State::Disconnected,
            session: SessionId(0),
            password: [0; PASSWORD_LEN],
            seen_writable_server: false,
            last_zxid: 0,
            next_id: 0,
            next_xid: 1,
            queued: VecDeque::new(),
            in_flight: InFlight::default(),
            queued_bytes: 0,
            out: Vec::new(),
            input: Vec::new(),
            outputs: VecDeque::new(),
            auths: Vec::new(),
            auths_in_flight: VecDeque::new(),
            watches: Watches::default(),
            closing: false,
            timeout,
            last_heard: Duration::ZERO,
            last_sent: Duration::ZERO,
            connected_at: Duration::ZERO,
            pings: VecDeque::new(),
            touched: Duration::ZERO,
            lapsed: false,
            hanging_up: false,
        }
    }

    /// A session that some other client began and this one goes on with.
    #[must_use]
    pub fn resume(options: Options, session: SessionId, password: [u8; PASSWORD_LEN]) -> Self {
        Self { session, password, seen_writable_server: true, ..Self::new(options) }
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Its id, 0 before the first handshake, and its password.
    #[must_use]
    pub fn credentials(&self) -> (SessionId, [u8; PASSWORD_LEN]) {
        (self.session, self.password)
    }

    /// The newest zxid seen in a reply.
    #[must_use]
    pub fn last_zxid(&self) -> Zxid {
        Zxid(self.last_zxid)
    }

    /// The negotiated timeout; before the first handshake what was asked for.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// How many requests wait for their answer.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.queued.len() + self.in_flight.len()
    }

    /// How many watches it keeps.
    #[must_use]
    pub fn watch_count(&self) -> usize {
        self.watches.len()
    }

    /// How long the driver should try to reach one server, handshake included.
    #[must_use]
    pub fn connect_timeout(&self) -> Duration {
        self.timeout / self.options.servers.max(1)
    }

    /// Takes a request. Without a connection it waits for one. An error says that nothing was taken: `Misuse` for a
    /// request that makes no sense, `Retry` when too much waits already, `SessionLost` after the end.
    pub fn submit(&mut self, now: Duration, request: &Request) -> Result<RequestId, Error> {
        request.check()?;
        let wish = match request {
            Request::Read(read) => Wish::of(read).map(Box::new),
            Request::Write(_) => None,
        };
        self.enqueue(now, request.op(), wish, |out| request.encode(out))
    }

    /// getData and exists without a watch, the most frequent requests: the path is `prefix` and `path` in a row, and
    /// nothing is allocated. Otherwise as `submit`.
    pub fn submit_plain_read(
        &mut self,
        now: Duration,
        op: PlainRead,
        prefix: &str,
        path: &str,
    ) -> Result<RequestId, Error> {
        self.submit_plain_reads(now, op, prefix, &[path])
    }

    /// Several of them, all or none. The id of the first; those of the others follow.
    pub fn submit_plain_reads<P: AsRef<str>>(
        &mut self,
        now: Duration,
        op: PlainRead,
        prefix: &str,
        paths: &[P],
    ) -> Result<RequestId, Error> {
        self.check_open()?;
        if self.options.max_pending.saturating_sub(self.pending()) < paths.len() {
            return Err(too_many());
        }
        let mut bytes = paths.len() * (encode::PLAIN_READ_BYTES + prefix.len());
        for path in paths {
            check_path(path.as_ref())?;
            bytes += path.as_ref().len();
        }
        if self.out.len() + self.queued_bytes + bytes > self.options.max_unsent_bytes {
            return Err(too_much());
        }
        let first = RequestId(self.next_id);
        // The root of a subtree is the subtree's node itself.
        let is_subtree = !prefix.is_empty();
        let below = |path| if is_subtree && path == path::ROOT { "" } else { path };
        let op = match op {
            PlainRead::GetData => OpCode::GetData,
            PlainRead::Exists => OpCode::Exists,
        };
        if !self.is_sending() {
            for path in paths {
                let path = below(path.as_ref());
                let mut body = Vec::new();
                encode::plain_read_body(prefix, path, &mut body);
                self.queue(op, None, body);
            }
            return Ok(first);
        }
        let sent = Sent { id: Some(first), xid: self.next_xid, op, wish: None, sent_at: now };
        self.out.reserve(bytes);
        for path in paths {
            let xid = self.take_xid();
            encode::plain_read_frame(xid, op, prefix, below(path.as_ref()), &mut self.out);
        }
        self.next_id += paths.len() as u64;
        self.in_flight.push_run(sent, paths.len());
        self.last_sent = now;
        Ok(first)
    }

    /// Takes a request as raw bytes: any opcode, any body, no check. For tests of servers.
    pub fn submit_raw(&mut self, now: Duration, op: OpCode, body: &[u8]) -> Result<RequestId, Error> {
        self.enqueue(now, op, None, |out| out.extend_from_slice(body))
    }

    /// Adds credentials, on this connection and on every later one. Completed when a server has answered them.
    pub fn add_auth(&mut self, now: Duration, scheme: &str, auth: &[u8]) -> Result<RequestId, Error> {
        self.check_open()?;
        if self.auths.len() >= MAX_AUTHS {
            return Err(Error::new(ErrorKind::Misuse, "too many credentials"));
        }
        let id = self.take_id();
        self.auths.push(Auth { scheme: scheme.to_owned(), auth: auth.to_vec(), waiting: Some(id) });
        if self.state == State::Connected && !self.hanging_up {
            self.auths_in_flight.push_back(self.auths.len() - 1);
            encode_auth(scheme, auth, &mut self.out);
            self.last_sent = now;
        }
        Ok(id)
    }

    /// Nobody cares for the watches of this kind on this path any more: they are not set again, and if there is a
    /// connection the server hears of it.
    pub fn forget_watch(&mut self, now: Duration, path: &str, kind: WatcherType) {
        if !self.watches.remove(path, kind)
            || self.state != State::Connected
            || self.hanging_up
            || self.closing
        {
            return;
        }
        let read = Read::RemoveWatches { path: Some(path.into()), kind };
        self.transmit(now, None, read.op(), None, |out| read.encode(out));
    }

    /// Closes the session behind the requests that were submitted before. Without a connection it is over at once
    /// for this client, and the server lets it expire.
    pub fn close(&mut self, now: Duration) {
        if matches!(self.state, State::Ended(_)) || self.closing {
            return;
        }
        self.closing = true;
        if self.state != State::Connected {
            self.end(Ending::Closed);
            return;
        }
        self.transmit(now, None, OpCode::CloseSession, None, |out| Write::CloseSession.encode(out));
    }

    /// The next thing the session wants; bytes to send come last, so that many requests become one write.
    pub fn poll_output(&mut self) -> Option<Output> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        if self.out.is_empty() || self.hanging_up {
            return None;
        }
        Some(Output::Transmit(Bytes::from(std::mem::take(&mut self.out))))
    }

    /// The next completion, event or wish to hang up; unlike `poll_output` it leaves the bytes, for
    /// `swap_unsent`.
    pub fn poll_outcome(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Hands over the bytes that wait to be sent, in exchange for an empty buffer whose memory is used again.
    pub fn swap_unsent(&mut self, buffer: &mut Vec<u8>) {
        debug_assert!(buffer.is_empty(), "what was taken before is sent");
        if !self.hanging_up {
            std::mem::swap(&mut self.out, buffer);
        }
    }

    fn check_open(&self) -> Result<(), Error> {
        match self.state {
            State::Ended(ending) => Err(ended_error(ending)),
            _ if self.closing => Err(ended_error(Ending::Closed)),
            State::Disconnected | State::Handshaking | State::Connected => Ok(()),
        }
    }

    fn enqueue(
        &mut self,
        now: Duration,
        op: OpCode,
        wish: Option<Box<Wish>>,
        body: impl FnOnce(&mut Vec<u8>),
    ) -> Result<RequestId, Error> {
        self.check_open()?;
        if self.pending() >= self.options.max_pending {
            return Err(too_many());
        }
        let room = self.options.max_unsent_bytes.saturating_sub(self.queued_bytes);
        if self.is_sending() {
            let (before, xid) = (self.out.len(), self.next_xid);
            encode::encode_frame(xid, op, &mut self.out, body);
            if self.out.len() > room {
                self.out.truncate(before);
                return Err(too_much());
            }
            self.take_xid();
            let id = self.take_id();
            self.in_flight.push(Sent { id: Some(id), xid, op, wish, sent_at: now });
            self.last_sent = now;
            return Ok(id);
        }
        let mut bytes = Vec::new();
        body(&mut bytes);
        if self.out.len() + bytes.len() > room {
            return Err(too_much());
        }
        Ok(self.queue(op, wish, bytes))
    }

    /// Whether a request goes out at once.
    fn is_sending(&self) -> bool {
        self.state == State::Connected && !self.hanging_up
    }

    /// Keeps a request until there is a connection.
    fn queue(&mut self, op: OpCode, wish: Option<Box<Wish>>, body: Vec<u8>) -> RequestId {
        let id = self.take_id();
        self.queued_bytes += body.len();
        self.queued.push_back(Queued { id, op, body, wish });
        id
    }

    fn transmit(
        &mut self,
        now: Duration,
        id: Option<RequestId>,
        op: OpCode,
        wish: Option<Box<Wish>>,
        body: impl FnOnce(&mut Vec<u8>),
    ) {
        let xid = self.take_xid();
        encode::encode_frame(xid, op, &mut self.out, body);
        self.in_flight.push(Sent { id, xid, op, wish, sent_at: now });
        self.last_sent = now;
    }

    fn take_id(&mut self) -> RequestId {
        let id = RequestId(self.next_id);
        self.next_id += 1;
        id
    }

    fn take_xid(&mut self) -> i32 {
        let xid = self.next_xid;
        self.next_xid = xid_after(xid);
        xid
    }

    fn complete(&mut self, id: RequestId, zxid: Option<Zxid>, result: Result<Response, Error>) {
        self.outputs.push_back(Output::Completed(Completion { id, zxid, result }));
    }

    fn emit(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    /// The session is over: what waits will not be answered.
    fn end(&mut self, ending: Ending) {
        self.fail_in_flight(Some(ending));
        self.fail_queued(&ended_error(ending));
        for i in 0..self.auths.len() {
            if let Some(id) = self.auths[i].waiting.take() {
                self.complete(id, None, Err(ended_error(ending)));
            }
        }
        self.state = State::Ended(ending);
        self.out.clear();
        self.input.clear();
        self.emit(Event::Ended(ending));
    }

    /// Fails what was sent and not answered; reads can be asked again, writes may have happened. Whether something
    /// failed.
    fn fail_in_flight(&mut self, ending: Option<Ending>) -> bool {
        let mut failed = false;
        while let Some(request) = self.in_flight.pop() {
            let Some(id) = request.id else { continue };
            let error = match ending {
                _ if request.op.is_write() => {
                    Error::new(ErrorKind::Unknown, "the connection was lost before the answer came")
                }
                Some(ending) => ended_error(ending),
                None => Error::new(ErrorKind::Retry, "the connection was lost before the answer came"),
            };
            self.complete(id, None, Err(error));
            failed = true;
        }
        failed
    }

    fn fail_queued(&mut self, error: &Error) {
        self.queued_bytes = 0;
        for request in std::mem::take(&mut self.queued) {
            self.complete(request.id, None, Err(error.clone()));
        }
    }
}

fn too_many() -> Error {
    Error::new(ErrorKind::Retry, "too many requests wait for their answer")
}

fn too_much() -> Error {
    Error::new(ErrorKind::Retry, "too many bytes wait to be sent")
}

fn ended_error(ending: Ending) -> Error {
    match ending {
        Ending::Closed => Error::new(ErrorKind::Misuse, "the session was closed"),
        Ending::Expired => Error::new(ErrorKind::SessionLost, "the session expired"),
        Ending::AuthFailed => Error::new(ErrorKind::SessionLost, "the server refused the credentials"),
    }
}

fn encode_auth(scheme: &str, auth: &[u8], out: &mut Vec<u8>) {
    encode::encode_frame(Xid::AUTH.0, OpCode::Auth, out, |out| {
        AuthRequest { scheme: Some(scheme.into()), auth: Some(auth) }.encode(out);
    });
}
