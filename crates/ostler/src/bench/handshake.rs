//! Opening and closing sessions on plain sockets, and the blocking connection over which a benchmark prepares what
//! it needs and tidies up.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use ostler_wire::client::AuthRequest;
use ostler_wire::client::connect::{ConnectRequest, ConnectResponse};
use ostler_wire::client::encode::encode_frame;
use ostler_wire::client::reply::ReplyHeader;
use ostler_wire::client::response::Response;
use ostler_wire::jute::Reader;
use ostler_wire::{Code, OpCode, SessionId, Xid, frame};

use super::engine::MAX_FRAME;

/// How long a server may take to answer a handshake, or a request while a benchmark is prepared.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
const GOODBYE: Duration = Duration::from_secs(2);

/// As whom to connect.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    /// The session timeout to ask for.
    pub(super) timeout: Duration,
    /// Scheme and credentials.
    pub(super) auth: Option<(String, String)>,
    /// How long to wait for an answer.
    pub(super) patience: Duration,
}

/// The address of a server: `host:port`, `host` (port 2181) or `[v6]:port`.
pub(super) fn resolve(text: &str) -> Result<SocketAddr> {
    let with_port = if text.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
        text.to_owned()
    } else {
        format!("{text}:2181")
    };
    with_port
        .to_socket_addrs()
        .with_context(|| format!("{text:?} is not an address of the form HOST:PORT"))?
        .next()
        .ok_or_else(|| anyhow!("{text:?} has no address"))
}

/// Connects and sends the handshake, without waiting for its answer.
pub(super) fn begin(address: SocketAddr, identity: &Identity) -> Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, identity.patience)
        .with_context(|| format!("cannot connect to {address} (is a server running there?)"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(identity.patience))?;
    stream.write_all(&hello(identity)).with_context(|| format!("cannot write to {address}"))?;
    Ok(stream)
}

/// The first frame, and the credentials behind it.
pub(super) fn hello(identity: &Identity) -> Vec<u8> {
    let mut out = Vec::new();
    let at = frame::start(&mut out);
    ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: 0,
        timeout_ms: i32::try_from(identity.timeout.as_millis()).unwrap_or(i32::MAX),
        session: SessionId(0),
        password: &[0; 16],
        read_only: Some(false),
    }
    .encode(&mut out);
    frame::finish(&mut out, at);
    if let Some((scheme, auth)) = &identity.auth {
        encode_frame(Xid::AUTH.0, OpCode::Auth, &mut out, |out| {
            AuthRequest { scheme: Some(scheme.as_str().into()), auth: Some(auth.as_bytes()) }.encode(out);
        });
    }
    out
}

/// Waits for the answer to the handshake; the negotiated timeout.
pub(super) fn finish(stream: &mut TcpStream, address: SocketAddr, identity: &Identity) -> Result<Duration> {
    let payload = read_frame(stream).with_context(|| {
        format!("{address} did not open a session (too many connections, not serving, or no ZooKeeper?)")
    })?;
    let timeout = read_welcome(&payload).with_context(|| format!("from {address}"))?;
    if identity.auth.is_some() {
        let payload =
            read_frame(stream).with_context(|| format!("{address} did not answer the auth packet"))?;
        let header = ReplyHeader::decode(&mut Reader::new(&payload))?;
        if header.err != 0 {
            bail!("{address} refused the credentials of --auth ({})", code_name(header.err));
        }
    }
    Ok(timeout)
}

/// What the answer to the handshake says.
pub(super) fn read_welcome(payload: &[u8]) -> Result<Duration> {
    let response = ConnectResponse::decode(&mut Reader::new(payload)).context("cannot read the handshake")?;
    match u64::try_from(response.timeout_ms) {
        Ok(ms) if ms > 0 => Ok(Duration::from_millis(ms)),
        _ => bail!("the server refused the session"),
    }
}

/// The name of a code for reports.
pub(super) fn code_name(err: i32) -> String {
    Code::from_int(err).map_or_else(|| format!("code {err}"), |code| format!("{code:?}"))
}

/// Asks to close the session. Whatever fails is for the server to sort out: the session expires then.
pub(super) fn say_goodbye(mut stream: &TcpStream) {
    let mut out = Vec::new();
    encode_frame(0, OpCode::CloseSession, &mut out, |_| {});
    drop(stream.set_nonblocking(false));
    drop(stream.set_write_timeout(Some(GOODBYE)));
    drop(stream.write_all(&out));
}

/// Reads until the server has closed.
pub(super) fn await_goodbye(stream: &mut TcpStream) {
    drop(stream.set_read_timeout(Some(GOODBYE)));
    let mut buffer = [0; 4096];
    while let Ok(n) = stream.read(&mut buffer) {
        if n == 0 {
            return;
        }
    }
}

fn read_frame(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if u64::from(length) > MAX_FRAME as u64 {
        bail!("a frame of {length} bytes: this is no ZooKeeper");
    }
    let mut payload = Vec::new();
    let read = stream.take(u64::from(length)).read_to_end(&mut payload)?;
    if read < length as usize {
        bail!("the connection ended within a frame");
    }
    Ok(payload)
}

/// A session over which one request at a time is sent. Nothing keeps it alive between requests, so it is opened where
/// it is needed and closed soon.
pub(super) struct Control {
    stream: TcpStream,
    address: SocketAddr,
    xid: i32,
}

impl Control {
    /// Opens it.
    pub(super) fn connect(address: SocketAddr, identity: &Identity) -> Result<Self> {
        let mut stream = begin(address, identity)?;
        finish(&mut stream, address, identity)?;
        Ok(Self { stream, address, xid: 0 })
    }

    /// Sends a request and waits for its answer: the code, or what it is answered with.
    pub(super) fn ask(
        &mut self,
        op: OpCode,
        body: impl FnOnce(&mut Vec<u8>),
    ) -> Result<std::result::Result<Response, i32>> {
        self.xid += 1;
        let mut out = Vec::new();
        encode_frame(self.xid, op, &mut out, body);
        let lost = || format!("the connection to {} was lost", self.address);
        self.stream.write_all(&out).with_context(lost)?;
        loop {
            let payload = read_frame(&mut self.stream).with_context(lost)?;
            let mut reader = Reader::new(&payload);
            let header = ReplyHeader::decode(&mut reader)?;
            if header.xid != self.xid {
                continue;
            }
            return Ok(match header.err {
                0 => Ok(Response::decode(op, &mut reader)?),
                err => Err(err),
            });
        }
    }

    /// Closes the session.
    pub(super) fn close(mut self) {
        say_goodbye(&self.stream);
        await_goodbye(&mut self.stream);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_default_port() {
        assert_eq!(resolve("127.0.0.1").unwrap().port(), 2181);
        assert_eq!(resolve("127.0.0.1:99").unwrap().port(), 99);
        assert_eq!(resolve("[::1]:99").unwrap().port(), 99);
        assert!(resolve("no such host:1").is_err());
    }
}
