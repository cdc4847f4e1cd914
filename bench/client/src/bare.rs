//! The yardstick: one socket, one epoll, the frames of a get, and nothing that a client has to do besides.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use rustix::event::epoll;

use crate::PATH;

pub(crate) struct Bare {
    stream: TcpStream,
    poll: std::os::fd::OwnedFd,
    xid: i32,
    buffer: Vec<u8>,
    filled: usize,
}

impl Bare {
    pub(crate) fn connect(server: &str) -> Self {
        let mut stream = TcpStream::connect(server).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut hello = vec![0, 0, 0, 45];
        hello.extend_from_slice(&[0; 12]);
        hello.extend_from_slice(&3_600_000_i32.to_be_bytes());
        hello.extend_from_slice(&[0; 8]);
        hello.extend_from_slice(&16_i32.to_be_bytes());
        hello.extend_from_slice(&[0; 17]);
        stream.write_all(&hello).unwrap();
        stream.read_exact(&mut [0; 41]).unwrap();
        stream.set_nonblocking(true).unwrap();
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&poll, &stream, epoll::EventData::new_u64(0), flags).unwrap();
        Self { stream, poll, xid: 0, buffer: vec![0; 64 << 10], filled: 0 }
    }

    /// So many gets, with at most `depth` under way.
    pub(crate) fn run(&mut self, gets: usize, depth: usize) {
        let (mut sent, mut answered) = (0, 0);
        let mut out = Vec::with_capacity(8192);
        let expected = self.xid + 1;
        let mut next = expected;
        while answered < gets {
            out.clear();
            while sent < gets && sent - answered < depth {
                self.put_get(&mut out);
                sent += 1;
            }
            if !out.is_empty() {
                self.stream.write_all(&out).unwrap();
            }
            answered += self.wait(&mut next);
        }
    }

    fn put_get(&mut self, out: &mut Vec<u8>) {
        self.xid += 1;
        let length = i32::try_from(8 + 4 + PATH.len() + 1).unwrap();
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&self.xid.to_be_bytes());
        out.extend_from_slice(&4_i32.to_be_bytes());
        out.extend_from_slice(&i32::try_from(PATH.len()).unwrap().to_be_bytes());
        out.extend_from_slice(PATH.as_bytes());
        out.push(0);
    }

    /// Waits for bytes; how many replies came.
    fn wait(&mut self, next: &mut i32) -> usize {
        let mut events = Vec::with_capacity(4);
        epoll::wait(&self.poll, rustix::buffer::spare_capacity(&mut events), None).unwrap();
        let mut replies = 0;
        match self.stream.read(&mut self.buffer[self.filled..]) {
            Ok(0) => panic!("the server hung up"),
            Ok(n) => self.filled += n,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
        let mut at = 0;
        while let Some(length) = self.buffer[at..self.filled].first_chunk::<4>() {
            let end = at + 4 + usize::try_from(i32::from_be_bytes(*length)).unwrap();
            if end > self.filled {
                break;
            }
            let xid = i32::from_be_bytes(*self.buffer[at + 4..].first_chunk().unwrap());
            assert_eq!(xid, *next);
            *next += 1;
            replies += 1;
            at = end;
        }
        self.buffer.copy_within(at..self.filled, 0);
        self.filled -= at;
        replies
    }
}
