//! A client small enough to trust: one session, blocking, requests pipelined in batches, replies as raw bytes.

use std::io::{BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::super::differential::op;
use super::super::differential::raw::{Dec, Enc};

/// Requests sent in one write.
const BATCH: usize = 200;

/// The xid of pings.
const PING_XID: i32 = -2;

/// The xid of watch events.
const EVENT_XID: i32 = -1;

/// A reply: its header's zxid and error, and the bytes behind the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    /// Error code.
    pub(crate) err: i32,
    /// The body.
    pub(crate) body: Vec<u8>,
}

/// One connected session.
pub(crate) struct Client {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
    xid: i32,
    session: Session,
    /// Paths of watch events, in the order in which they came.
    events: Vec<String>,
}

/// What a client needs to come back to its session on another server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    /// The session's id; 0 asks for a new one.
    pub(crate) id: i64,
    password: Vec<u8>,
    /// The last zxid that the client has seen: a server that is behind refuses it.
    pub(crate) last_zxid: i64,
}

impl Session {
    /// A new session for somebody who has seen as much as this one.
    pub(crate) fn afresh(&self) -> Self {
        Self { last_zxid: self.last_zxid, ..Self::default() }
    }
}

impl Default for Session {
    fn default() -> Self {
        Self { id: 0, password: vec![0; 16], last_zxid: 0 }
    }
}

/// How a server answered somebody who wants to come back.
pub(crate) enum Welcome {
    /// The session lives on here.
    Back(Client),
    /// The session is no more.
    Expired,
}

impl Client {
    /// Connects with a new session.
    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        Self::connect_within(address, Duration::from_secs(3_600), Duration::from_secs(60))
    }

    /// Connects with a new session of this timeout; an answer may take as long as `patience`.
    pub(crate) fn connect_within(address: SocketAddr, timeout: Duration, patience: Duration) -> Result<Self> {
        match Self::resume(address, &Session::default(), timeout, patience)? {
            Welcome::Back(client) => Ok(client),
            Welcome::Expired => bail!("the server refused the session"),
        }
    }

    /// Connects with a session from before.
    pub(crate) fn resume(
        address: SocketAddr,
        session: &Session,
        timeout: Duration,
        patience: Duration,
    ) -> Result<Welcome> {
        let stream = TcpStream::connect_timeout(&address, patience.min(Duration::from_secs(10)))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        let reader = BufReader::with_capacity(1 << 16, stream.try_clone()?);
        let mut client = Self { reader, stream, xid: 0, session: session.clone(), events: Vec::new() };
        let timeout_ms = i32::try_from(timeout.as_millis())?;
        let hello = Enc::new()
            .int(0)
            .long(session.last_zxid)
            .int(timeout_ms)
            .long(session.id)
            .buffer(Some(&session.password))
            .byte(0);
        client.stream.write_all(&hello.frame())?;
        let answer = client.frame().context("answer to the handshake")?;
        let mut dec = Dec::new(&answer);
        let (_, timeout) = (dec.int(), dec.int().context("a short handshake answer")?);
        if timeout <= 0 {
            return Ok(Welcome::Expired);
        }
        client.session.id = dec.long().context("no session id")?;
        client.session.password = dec.buffer().flatten().context("no password")?.to_vec();
        Ok(Welcome::Back(client))
    }

    /// The session, for `resume`.
    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// The paths of all watch events that came ahead of the replies read so far.
    pub(crate) fn take_events(&mut self) -> Vec<String> {
        std::mem::take(&mut self.events)
    }

    /// Tells the server that the client lives.
    pub(crate) fn ping(&mut self) -> Result<()> {
        self.stream.write_all(&Enc::new().int(PING_XID).int(op::PING).frame())?;
        self.reply().map(drop)
    }

    /// Sends one request and does not wait for an answer.
    pub(crate) fn send(&mut self, code: i32, body: &[u8]) -> Result<()> {
        self.xid += 1;
        let bytes = Enc::new().int(self.xid).int(code).bytes(body).frame();
        Ok(self.stream.write_all(&bytes)?)
    }

    /// Authenticates with the digest scheme.
    pub(crate) fn authenticate(&mut self, user_and_password: &str) -> Result<()> {
        let body = Enc::new().int(0).string("digest").string(user_and_password).0;
        let reply = self.call(op::AUTH, &body)?;
        ensure!(reply.err == 0, "addauth answered {}", reply.err);
        Ok(())
    }

    /// One request and its reply.
    pub(crate) fn call(&mut self, code: i32, body: &[u8]) -> Result<Reply> {
        let mut replies = self.calls(&[(code, body.to_vec())])?;
        replies.pop().context("no reply")
    }

    /// Many requests, pipelined; the replies in order.
    pub(crate) fn calls(&mut self, requests: &[(i32, Vec<u8>)]) -> Result<Vec<Reply>> {
        let (replies, end) = self.calls_while_connected(requests);
        end.map(|()| replies)
    }

    /// The same, but what was answered before the connection broke is not lost with it.
    pub(crate) fn calls_while_connected(&mut self, requests: &[(i32, Vec<u8>)]) -> (Vec<Reply>, Result<()>) {
        let mut replies = Vec::with_capacity(requests.len());
        for batch in requests.chunks(BATCH) {
            let mut bytes = Vec::new();
            for (code, body) in batch {
                self.xid += 1;
                bytes.extend_from_slice(&Enc::new().int(self.xid).int(*code).bytes(body).frame());
            }
            if let Err(error) = self.stream.write_all(&bytes) {
                return (replies, Err(error.into()));
            }
            for _ in batch {
                match self.reply() {
                    Ok(reply) => replies.push(reply),
                    Err(error) => return (replies, Err(error)),
                }
            }
        }
        (replies, Ok(()))
    }

    /// Closes the session in order.
    pub(crate) fn close(mut self) -> Result<()> {
        self.call(op::CLOSE_SESSION, &[]).map(drop)
    }

    fn reply(&mut self) -> Result<Reply> {
        loop {
            let frame = self.frame()?;
            let mut dec = Dec::new(&frame);
            let (xid, zxid, err) = (dec.int(), dec.long(), dec.int().context("a reply without a header")?);
            if xid != Some(EVENT_XID) {
                self.session.last_zxid = self.session.last_zxid.max(zxid.unwrap_or_default());
                return Ok(Reply { err, body: dec.rest().to_vec() });
            }
            // Kind and state come first.
            let (_, _) = (dec.int(), dec.int());
            self.events.push(dec.string().context("an event without a path")?);
        }
    }

    fn frame(&mut self) -> Result<Vec<u8>> {
        let mut head = [0; 4];
        self.reader.read_exact(&mut head).context("the server hung up")?;
        let length = u32::from_be_bytes(head) as usize;
        ensure!(length < 1 << 28, "a frame of {length} bytes");
        let mut frame = vec![0; length];
        self.reader.read_exact(&mut frame)?;
        Ok(frame)
    }
}
