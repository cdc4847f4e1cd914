//! One server of the pair: its open connections, its session ids, and what came back on them.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::model::SLOTS;
use super::plan::{Handshake, Password, Target};
use super::raw::{Dec, Enc};

/// How long an answer may take before its absence is a finding.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a server answered to a ConnectRequest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// A live session, new or resumed, with the negotiated timeout.
    Session {
        /// Negotiated timeout in milliseconds.
        timeout: i32,
        /// The trailing byte, if there was one.
        read_only: Option<u8>,
        /// protocolVersion as answered.
        version: i32,
    },
    /// The zeroed answer that means "expired"; the whole frame.
    Expired(Vec<u8>),
    /// Hung up without an answer.
    Closed,
    /// Neither an answer nor a hang-up.
    Silent,
    /// Something that is no ConnectResponse.
    Odd(Vec<u8>),
}

/// What ended a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Every frame asked for is here.
    Complete,
    /// The server hung up.
    Closed,
    /// Time ran out.
    Silent,
}

struct Conn {
    stream: TcpStream,
    buffer: Vec<u8>,
    start: usize,
    /// Notifications that were read ahead of their turn.
    early: VecDeque<Vec<u8>>,
}

impl Conn {
    /// The next whole frame; blocks until `deadline`.
    fn frame(&mut self, deadline: Instant) -> Result<Vec<u8>, End> {
        loop {
            let held = &self.buffer[self.start..];
            if let Some((head, rest)) = held.split_first_chunk::<4>() {
                let length = u32::from_be_bytes(*head) as usize;
                if rest.len() >= length {
                    let frame = rest[..length].to_vec();
                    self.start += 4 + length;
                    if self.start == self.buffer.len() {
                        self.buffer.clear();
                        self.start = 0;
                    }
                    return Ok(frame);
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(End::Silent);
            }
            let _ = self.stream.set_read_timeout(Some(left));
            let mut chunk = [0; 65_536];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(End::Closed),
                Ok(count) => {
                    if self.start > 0 {
                        self.buffer.drain(..self.start);
                        self.start = 0;
                    }
                    self.buffer.extend_from_slice(&chunk[..count]);
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Err(End::Silent);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(End::Closed),
            }
        }
    }
}

/// One server as the comparison sees it.
pub(crate) struct Side {
    address: SocketAddr,
    conns: [Option<Conn>; SLOTS],
    /// Session id and password in order of creation.
    sessions: Vec<(i64, Vec<u8>)>,
}

impl Side {
    /// A side without connections.
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, conns: std::array::from_fn(|_| None), sessions: Vec::new() }
    }

    /// Where the server listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// An ephemeral owner as the number of its session, which is equal on both sides.
    pub(crate) fn owner(&self, id: i64) -> String {
        if id == 0 {
            return "0".to_owned();
        }
        let found = self.sessions.iter().position(|(known, _)| *known == id);
        found.map_or_else(|| format!("{id:#x}"), |index| format!("session{index}"))
    }

    fn open(&self) -> Result<Conn> {
        let stream = TcpStream::connect_timeout(&self.address, PATIENCE)
            .with_context(|| format!("connect to {}", self.address))?;
        stream.set_nodelay(true)?;
        Ok(Conn { stream, buffer: Vec::new(), start: 0, early: VecDeque::new() })
    }

    /// Sends a ConnectRequest with more frames behind it in the same write.
    pub(crate) fn connect(&mut self, slot: usize, handshake: &Handshake, behind: &[u8]) -> Result<()> {
        let (id, own) = match handshake.target {
            Target::New => (0, vec![0; 16]),
            Target::Known(index) => self.sessions[index].clone(),
            Target::Unknown => (0x0123_4567_89AB_CDEF, vec![7; 16]),
        };
        let password = match handshake.password {
            Password::Right => Some(own),
            Password::Wrong => Some(vec![0x55; 16]),
            Password::Null => None,
            Password::Short => Some(vec![1, 2, 3]),
        };
        let mut enc = Enc::new()
            .int(handshake.version)
            .long(handshake.last_zxid)
            .int(handshake.timeout)
            .long(id)
            .buffer(password.as_deref());
        if let Some(byte) = handshake.read_only {
            // Bytes behind the record only make sense when the record is whole.
            enc = enc.byte(byte).bytes(&vec![0xEE; handshake.trailing]);
        }
        let mut bytes = enc.frame();
        bytes.extend_from_slice(behind);
        let mut conn = self.open()?;
        conn.stream.write_all(&bytes)?;
        self.conns[slot] = Some(conn);
        Ok(())
    }

    /// Reads the answer to a ConnectRequest.
    pub(crate) fn accept(&mut self, slot: usize, target: Target) -> Accepted {
        let Some(conn) = &mut self.conns[slot] else { return Accepted::Closed };
        let frame = match conn.frame(Instant::now() + PATIENCE) {
            Ok(frame) => frame,
            Err(End::Closed) => return Accepted::Closed,
            Err(_) => return Accepted::Silent,
        };
        let mut dec = Dec::new(&frame);
        let Some((version, timeout, id)) = read_head(&mut dec) else { return Accepted::Odd(frame) };
        let Some(Some(password)) = dec.buffer() else { return Accepted::Odd(frame) };
        let read_only = dec.byte();
        if !dec.rest().is_empty() || password.len() != 16 {
            return Accepted::Odd(frame);
        }
        if id == 0 {
            return Accepted::Expired(frame);
        }
        match target {
            Target::New => self.sessions.push((id, password.to_vec())),
            Target::Known(index) if self.sessions[index] == (id, password.to_vec()) => {}
            Target::Known(_) | Target::Unknown => return Accepted::Odd(frame),
        }
        Accepted::Session { timeout, read_only, version }
    }

    /// Sends bytes on an open connection; a failure shows as a hang-up when the answers are read.
    pub(crate) fn send(&mut self, slot: usize, bytes: &[u8]) {
        if let Some(conn) = &mut self.conns[slot] {
            let _ = conn.stream.set_write_timeout(Some(PATIENCE));
            let _ = conn.stream.write_all(bytes);
        }
    }

    /// Reads frames until `replies` of them are no notifications, or until the server hangs up.
    pub(crate) fn collect(&mut self, slot: usize, replies: usize, until_closed: bool) -> (Vec<Vec<u8>>, End) {
        let mut frames = Vec::new();
        let Some(conn) = &mut self.conns[slot] else { return (frames, End::Closed) };
        let deadline = Instant::now() + PATIENCE;
        frames.extend(conn.early.drain(..));
        let mut left = replies;
        while left > 0 || until_closed {
            match conn.frame(deadline) {
                Ok(frame) => {
                    if !is_notification(&frame) {
                        left = left.saturating_sub(1);
                    }
                    frames.push(frame);
                }
                Err(end) => return (frames, end),
            }
        }
        (frames, End::Complete)
    }

    /// Sends one request that the other side does not get, and awaits its answer; notifications keep their turn.
    pub(crate) fn aside(&mut self, slot: usize, bytes: &[u8]) -> (Option<Vec<u8>>, End) {
        self.send(slot, bytes);
        let (mut frames, end) = self.collect(slot, 1, false);
        let answer = if end == End::Complete { frames.pop() } else { None };
        if let Some(conn) = &mut self.conns[slot] {
            conn.early.extend(frames);
        }
        (answer, end)
    }

    /// Sends bytes on a connection of their own and says how it ended and what came back.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<(Vec<u8>, End)> {
        let mut conn = self.open()?;
        conn.stream.write_all(bytes)?;
        conn.stream.set_read_timeout(Some(PATIENCE))?;
        let mut answer = Vec::new();
        let end = match conn.stream.read_to_end(&mut answer) {
            Ok(_) => End::Closed,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => End::Silent,
            Err(_) => End::Closed,
        };
        Ok((answer, end))
    }

    /// Hangs up.
    pub(crate) fn drop_conn(&mut self, slot: usize) {
        if let Some(conn) = self.conns[slot].take() {
            let _ = conn.stream.shutdown(Shutdown::Both);
        }
    }
}

fn read_head(dec: &mut Dec<'_>) -> Option<(i32, i32, i64)> {
    Some((dec.int()?, dec.int()?, dec.long()?))
}

/// True for a server's notification: xid -1.
pub(crate) fn is_notification(frame: &[u8]) -> bool {
    frame.starts_with(&[0xff, 0xff, 0xff, 0xff])
}
