//! The part of a session that lives with one connection: handshake, frames that arrive, pings, deadlines and loss.

use ostler_wire::client::event::WatcherEvent;
use ostler_wire::client::reply::ReplyHeader;
use ostler_wire::client::response::DataBody;
use ostler_wire::jute::Reader;

use super::answer::Answer;
use super::{
    Auth, Bytes, Code, ConnectRequest, ConnectResponse, Duration, Ending, Error, ErrorKind, Event, OpCode,
    Output, Queued, Read, RequestId, Response, Sent, Session, SessionId, State, Wish, Xid, encode,
    encode_auth, frame,
};

/// However long the timeout: a server hears of an idle client at least this often.
const MAX_PING_INTERVAL: Duration = Duration::from_secs(10);
/// A ping is sent this much early when there was nothing to send for longer.
const PING_SLACK: Duration = Duration::from_secs(1);
/// Data of answers that came together share the memory of what came, if that is not more than this; whoever keeps one
/// of them keeps that much.
const MAX_SHARED_BYTES: usize = 64 << 10;

impl Session {
    /// A connection was made: the handshake goes out.
    pub fn handle_connected(&mut self, now: Duration) {
        debug_assert!(
            self.state != State::Handshaking && self.state != State::Connected,
            "one connection at a time"
        );
        if matches!(self.state, State::Ended(_)) {
            self.outputs.push_back(Output::Disconnect("the session is over"));
            return;
        }
        self.state = State::Handshaking;
        self.hanging_up = false;
        self.input.clear();
        self.out.clear();
        self.connected_at = now;
        self.last_sent = now;
        let resumed = if self.seen_writable_server { self.session } else { SessionId(0) };
        let at = frame::start(&mut self.out);
        ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: self.last_zxid,
            timeout_ms: i32::try_from(self.options.session_timeout.as_millis()).unwrap_or(i32::MAX),
            session: resumed,
            password: &self.password,
            read_only: Some(self.options.read_only),
        }
        .encode(&mut self.out);
        frame::finish(&mut self.out, at);
    }

    /// Bytes arrived.
    pub fn handle_bytes(&mut self, now: Duration, bytes: &[u8]) {
        self.handle_bytes_with(now, bytes, None::<&mut fn(RequestId, Answer<'_>)>);
    }

    /// The same, but answers are handed to `direct` instead of becoming outputs, as long as no other output is before
    /// them and they are of requests that ask for no watch. It spares them a way through a queue.
    pub fn handle_bytes_with<F>(&mut self, now: Duration, bytes: &[u8], mut direct: Option<&mut F>)
    where
        F: FnMut(RequestId, Answer<'_>),
    {
        if self.hanging_up || !matches!(self.state, State::Handshaking | State::Connected) {
            return;
        }
        self.last_heard = now;
        // Mostly what arrives is whole frames: then they are read where they are.
        let mut kept = std::mem::take(&mut self.input);
        let joined = !kept.is_empty();
        if joined {
            kept.extend_from_slice(bytes);
        }
        let input = if joined { &kept[..] } else { bytes };
        let whole = self.are_several(input).then(|| Bytes::copy_from_slice(input));
        let input = whole.as_deref().unwrap_or(input);
        let mut at = 0;
        while !self.hanging_up && matches!(self.state, State::Handshaking | State::Connected) {
            match frame::head(&input[at..], self.options.max_frame_bytes) {
                frame::Head::Frame { len } => {
                    let payload = &input[at + 4..at + 4 + len];
                    self.on_frame(now, payload, whole.as_ref(), direct.as_deref_mut());
                    at += 4 + len;
                }
                frame::Head::Partial { .. } => break,
                frame::Head::BadLength(_) => self.hang_up("the server sent a frame that is too long"),
            }
        }
        if joined {
            kept.drain(..at);
        } else {
            kept.extend_from_slice(&bytes[at..]);
        }
        self.input = kept;
    }

    /// The connection is gone, or could not be made.
    pub fn handle_disconnected(&mut self, now: Duration) {
        self.hanging_up = false;
        self.out.clear();
        self.input.clear();
        let was = self.state;
        match was {
            State::Ended(_) => return,
            State::Disconnected | State::Handshaking | State::Connected => self.state = State::Disconnected,
        }
        self.auths_in_flight.clear();
        self.pings.clear();
        if self.closing {
            self.end(Ending::Closed);
            return;
        }
        // What waited behind a request that was lost may have counted on it, so it is not sent on its own.
        if self.fail_in_flight(None) {
            self.fail_queued(&Error::new(
                ErrorKind::Retry,
                "not sent: the connection was lost with earlier requests on it",
            ));
        }
        if was == State::Connected {
            self.emit(Event::Disconnected);
        }
        self.expire_if_unheard(now);
    }

    /// `poll_timeout` has come.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.lapse_if_unanswered(now);
        match self.state {
            State::Ended(_) => {}
            State::Disconnected => self.expire_if_unheard(now),
            State::Handshaking | State::Connected if self.hanging_up => {}
            State::Handshaking => {
                if now >= self.connected_at + self.connect_timeout() {
                    self.hang_up("the server did not answer the handshake in time");
                }
            }
            State::Connected => {
                if now >= self.last_heard + self.read_timeout() {
                    self.hang_up("the server was silent for too long");
                } else if now >= self.ping_at() {
                    encode::encode_frame(Xid::PING.0, OpCode::Ping, &mut self.out, |_| {});
                    self.last_sent = now;
                    self.pings.push_back(now);
                }
            }
        }
    }

    /// When `handle_timeout` is to be called, if nothing happens before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let own = match self.state {
            State::Ended(_) => return None,
            State::Handshaking | State::Connected if self.hanging_up => return None,
            State::Disconnected => self.is_resumable().then(|| self.last_heard + self.expiry()),
            State::Handshaking => Some(self.connected_at + self.connect_timeout()),
            State::Connected => Some(self.ping_at().min(self.last_heard + self.read_timeout())),
        };
        let lapse = (self.is_resumable() && !self.lapsed).then(|| self.touched + self.timeout);
        own.into_iter().chain(lapse).min()
    }

    fn read_timeout(&self) -> Duration {
        self.timeout * 2 / 3
    }

    /// After this time without a word the session has expired on any server.
    fn expiry(&self) -> Duration {
        self.timeout * 4 / 3
    }

    fn ping_at(&self) -> Duration {
        let half = self.read_timeout() / 2;
        let early = half.saturating_sub(PING_SLACK).max(PING_SLACK);
        self.last_sent + half.min(early).min(MAX_PING_INTERVAL)
    }

    fn expire_if_unheard(&mut self, now: Duration) {
        if self.is_resumable() && now >= self.last_heard + self.expiry() {
            self.end(Ending::Expired);
        }
    }

    /// Whether there is a session that a server may let expire.
    fn is_resumable(&self) -> bool {
        self.session != SessionId(0) && self.seen_writable_server
    }

    fn lapse_if_unanswered(&mut self, now: Duration) {
        if self.is_resumable()
            && !self.lapsed
            && !matches!(self.state, State::Ended(_))
            && now >= self.touched + self.timeout
        {
            self.lapsed = true;
            self.emit(Event::Lapsed);
        }
    }

    fn on_answered(&mut self, sent_at: Duration) {
        self.touched = self.touched.max(sent_at);
    }

    fn hang_up(&mut self, why: &'static str) {
        self.hanging_up = true;
        self.outputs.push_back(Output::Disconnect(why));
    }

    /// Whether many answers came at once, so that one copy of all is cheaper than one of each.
    fn are_several(&self, input: &[u8]) -> bool {
        const MANY: usize = 4;
        let is_small = |len: usize| (4 + len) * MANY <= input.len();
        input.len() <= MAX_SHARED_BYTES
            && matches!(frame::head(input, self.options.max_frame_bytes), frame::Head::Frame { len } if is_small(len))
    }

    fn on_frame<F>(&mut self, now: Duration, payload: &[u8], whole: Option<&Bytes>, direct: Option<&mut F>)
    where
        F: FnMut(RequestId, Answer<'_>),
    {
        let mut reader = Reader::new(payload);
        if self.state == State::Handshaking {
            match ConnectResponse::decode(&mut reader) {
                Ok(response) => self.on_connect_response(now, &response),
                Err(_) => self.hang_up("the answer to the handshake cannot be read"),
            }
            return;
        }
        let Ok(header) = ReplyHeader::decode(&mut reader) else {
            self.hang_up("a reply cannot be read");
            return;
        };
        match Xid(header.xid) {
            Xid::NOTIFICATION => match WatcherEvent::decode(&mut reader) {
                Ok(event) => {
                    self.watches.on_event(event.kind, &event.path);
                    let (kind, path) = (event.kind, event.path.into_owned());
                    self.emit(Event::Watch { kind, path, zxid: header.zxid });
                }
                Err(_) => self.hang_up("an event cannot be read"),
            },
            Xid::PING => {
                if let Some(sent_at) = self.pings.pop_front() {
                    self.on_answered(sent_at);
                }
            }
            Xid::AUTH => self.on_auth_reply(header),
            _ => self.on_reply(header, &mut reader, whole, direct),
        }
    }

    fn on_auth_reply(&mut self, header: ReplyHeader) {
        if header.err == Code::AuthFailed.to_int() {
            self.end(Ending::AuthFailed);
            self.outputs.push_back(Output::Disconnect("the server refused the credentials"));
            return;
        }
        let answered = self.auths_in_flight.pop_front();
        if let Some(id) = answered.and_then(|place| self.auths[place].waiting.take()) {
            let result = if header.err == 0 { Ok(Response::Done) } else { Err(Error::from_wire(header.err)) };
            self.complete(id, Some(header.zxid), result);
        }
    }

    fn on_connect_response(&mut self, now: Duration, response: &ConnectResponse) {
        let Some(timeout_ms) = u64::try_from(response.timeout_ms).ok().filter(|ms| *ms > 0) else {
            self.end(Ending::Expired);
            self.outputs.push_back(Output::Disconnect("the server says that the session expired"));
            return;
        };
        let read_only = response.read_only.unwrap_or(false);
        self.session = response.session;
        self.password = response.password;
        self.seen_writable_server |= !read_only;
        self.timeout = Duration::from_millis(timeout_ms);
        self.state = State::Connected;
        self.lapsed = false;
        self.on_answered(self.connected_at);
        self.emit(Event::Connected { session: self.session, read_only, timeout: self.timeout });
        // The order matters: credentials, watches, then what waited.
        for Auth { scheme, auth, .. } in &self.auths {
            encode_auth(scheme, auth, &mut self.out);
        }
        self.auths_in_flight = (0..self.auths.len()).collect();
        if self.options.restore_watches {
            for batch in self.watches.batches(self.last_zxid) {
                let read = Read::SetWatches(batch);
                let (xid, op) = (Xid::SET_WATCHES.0, read.op());
                encode::encode_frame(xid, op, &mut self.out, |out| read.encode(out));
                self.in_flight.push(Sent { id: None, xid, op, wish: None, sent_at: now });
            }
        }
        for request in std::mem::take(&mut self.queued) {
            let Queued { id, op, body, wish } = request;
            self.transmit(now, Some(id), op, wish, |out| out.extend_from_slice(&body));
        }
        self.queued_bytes = 0;
    }

    fn on_reply<F>(
        &mut self,
        header: ReplyHeader,
        reader: &mut Reader<'_>,
        whole: Option<&Bytes>,
        mut direct: Option<&mut F>,
    ) where
        F: FnMut(RequestId, Answer<'_>),
    {
        let Some(&Sent { id, xid, op, ref wish, sent_at }) = self.in_flight.first() else {
            self.hang_up("a reply to nothing arrived");
            return;
        };
        let is_plain = wish.is_none();
        if xid != header.xid {
            self.hang_up("replies arrived out of order");
            return;
        }
        self.on_answered(sent_at);
        // 0 and -1 say nothing about how far the server is.
        self.last_zxid = self.last_zxid.max(header.zxid.0);
        if op == OpCode::GetData
            && header.err == 0
            && let (Some(id), true) = (id, is_plain)
            && self.outputs.is_empty()
            && let Some(direct) = &mut direct
            && let Some(body) = DataBody::find(reader.rest())
        {
            self.in_flight.pass();
            direct(id, Answer::Data { body, whole });
            return;
        }
        if op == OpCode::CloseSession {
            self.end(Ending::Closed);
            self.outputs.push_back(Output::Disconnect("the session was closed"));
            return;
        }
        if matches!(op, OpCode::SetWatches | OpCode::SetWatches2) && header.err != 0 {
            self.hang_up("the server refused to set watches again");
            return;
        }
        let result = match header.err {
            0 => match Response::decode_shared(op, reader, whole) {
                Ok(response) => Ok(response),
                Err(_) => {
                    self.hang_up("the body of a reply cannot be read");
                    return;
                }
            },
            err => Err(Error::from_wire(err)),
        };
        let Some(request) = self.in_flight.pop() else { return };
        if let (Some(direct), Some(id), true) = (direct, id, is_plain)
            && self.outputs.is_empty()
        {
            direct(id, Answer::Read(result));
        } else {
            self.on_result(request, header, result);
        }
        if header.err == Code::SessionClosedRequireSaslAuth.to_int() {
            self.end(Ending::AuthFailed);
            self.outputs.push_back(Output::Disconnect("the server wants credentials first"));
        }
    }

    /// What a reply changes besides, and the word to whoever asked.
    fn on_result(&mut self, request: Sent, header: ReplyHeader, result: Result<Response, Error>) {
        if let Some(wish) = request.wish {
            let removed = match &*wish {
                Wish::Remove(path, kind) if header.err == 0 => Some((path.clone(), *kind)),
                Wish::Remove(..)
                | Wish::Exists(_)
                | Wish::Data(_)
                | Wish::Child(_)
                | Wish::Persistent(..) => None,
            };
            self.watches.on_reply(*wish, header.err);
            if let Some((path, kind)) = removed {
                self.emit(Event::WatchesRemoved { kind, path });
            }
        }
        if let Some(id) = request.id {
            self.complete(id, Some(header.zxid), result);
        }
    }
}
