//! A client small enough to trust: one session, blocking, requests pipelined in batches, replies as raw bytes.

use std::io::{BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::super::differential::op;
use super::super::differential::raw::{Dec, Enc};

/// Requests sent in one write.
const BATCH: usize = 200;

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
}

impl Client {
    /// Connects with a new session.
    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(10))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut client =
            Self { reader: BufReader::with_capacity(1 << 18, stream.try_clone()?), stream, xid: 0 };
        let hello = Enc::new().int(0).long(0).int(3_600_000).long(0).buffer(Some(&[0; 16])).byte(0);
        client.stream.write_all(&hello.frame())?;
        let answer = client.frame().context("answer to the handshake")?;
        let mut dec = Dec::new(&answer);
        let (_, timeout) = (dec.int(), dec.int().context("a short handshake answer")?);
        ensure!(timeout > 0, "the server refused the session");
        Ok(client)
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
        let mut replies = Vec::with_capacity(requests.len());
        for batch in requests.chunks(BATCH) {
            let mut bytes = Vec::new();
            for (code, body) in batch {
                self.xid += 1;
                bytes.extend_from_slice(&Enc::new().int(self.xid).int(*code).bytes(body).frame());
            }
            self.stream.write_all(&bytes)?;
            for _ in batch {
                replies.push(self.reply()?);
            }
        }
        Ok(replies)
    }

    /// Closes the session in order.
    pub(crate) fn close(mut self) -> Result<()> {
        self.call(op::CLOSE_SESSION, &[]).map(drop)
    }

    fn reply(&mut self) -> Result<Reply> {
        loop {
            let frame = self.frame()?;
            let mut dec = Dec::new(&frame);
            let (xid, _, err) = (dec.int(), dec.long(), dec.int().context("a reply without a header")?);
            if xid != Some(-1) {
                return Ok(Reply { err, body: dec.rest().to_vec() });
            }
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
