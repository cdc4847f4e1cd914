//! The connect storm: many clients that open a session at once, as after a restart of the server.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ostler_wire::frame;
use rustix::event::epoll;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};
use rustix::time::Timespec;

use super::handshake::{self, Identity};
use super::options::Common;
use super::process;
use super::progress::Progress;
use super::report::Report;
use super::run::{Meter, Target, nanos, to_f64};
use super::servers::Servers;
use super::stats::{Latencies, us};

/// How long a server may be silent.
const PATIENCE: Duration = Duration::from_secs(30);

/// The shape of a storm.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct StormArgs {
    /// Sessions to open
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) sessions: u32,
    /// How many of them are being opened at any time
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) concurrency: u32,
}

struct Dial {
    stream: TcpStream,
    began: Instant,
    /// The part of the handshake that was not sent yet.
    unsent: Vec<u8>,
    answer: Vec<u8>,
    open: bool,
}

/// Runs it.
pub(super) fn run(target: &Target, args: &StormArgs, common: &Common) -> Result<Report> {
    if common.auth.is_some() {
        bail!("--auth has no meaning for sessions that ask nothing");
    }
    process::raise_file_limit(u64::from(args.sessions) + 64)?;
    let identity = common.identity()?;
    let mut report = Report {
        workload: "connect".to_owned(),
        address: target.servers.to_string(),
        connections: args.concurrency,
        depth: 1,
        unit: "sessions",
        latency_of: "latency",
        ..Report::default()
    };
    let mut storm = Storm {
        servers: target.servers.clone(),
        epoll: epoll::create(epoll::CreateFlags::CLOEXEC).context("cannot create an epoll")?,
        dials: Vec::new(),
        failed: BTreeMap::new(),
        done: 0,
        latencies: Latencies::new(),
    };
    let mut progress = Progress::new("connect", Some(u64::from(args.sessions)));
    let meter = Meter::start(&target.pids)?;
    let began = Instant::now();
    storm.open_all(args, &identity, &mut progress)?;
    report.seconds = began.elapsed().as_secs_f64();
    report.ops = storm.latencies.quantiles().count;
    meter.finish(&mut report)?;
    drop(progress);
    report.throughput = to_f64(report.ops) / report.seconds.max(1e-9);
    report.latency_us = storm.latencies.quantiles();
    report.errors = std::mem::take(&mut storm.failed);
    let began = Instant::now();
    storm.close_all();
    report.more.insert("close all ms", us(nanos(began.elapsed())) / 1000.0);
    Ok(report)
}

struct Storm {
    servers: Servers,
    epoll: OwnedFd,
    dials: Vec<Dial>,
    failed: BTreeMap<String, u64>,
    /// Opened or failed.
    done: usize,
    latencies: Latencies,
}

impl Storm {
    fn open_all(&mut self, args: &StormArgs, identity: &Identity, progress: &mut Progress) -> Result<()> {
        let (sessions, concurrency) = (args.sessions as usize, args.concurrency as usize);
        let mut buffer = [0; 4096];
        let mut heard = Instant::now();
        while self.done < sessions {
            while self.dials.len() < sessions && self.dials.len() - self.done < concurrency {
                self.dial(identity)?;
            }
            let timeout = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };
            let mut events =
                [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }; 256];
            let ready = match epoll::wait(&self.epoll, &mut events[..], Some(&timeout)) {
                Ok(ready) => ready,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error).context("cannot wait for the sockets"),
            };
            progress.show(self.done as u64);
            if ready > 0 {
                heard = Instant::now();
            } else if heard.elapsed() > PATIENCE {
                bail!("{} sessions are open, and the server is silent for {PATIENCE:?}", self.done);
            }
            for event in &events[..ready] {
                let data = event.data;
                let index = usize::try_from(data.u64()).expect("it is an index of ours");
                self.advance(index, &mut buffer);
            }
            if self.latencies.quantiles().count == 0 && self.done >= concurrency.min(sessions) {
                let why = self.failed.keys().next().cloned().unwrap_or_default();
                bail!("no session could be opened on {}: {why}", self.servers);
            }
        }
        Ok(())
    }

    /// Begins to connect, without waiting.
    fn dial(&mut self, identity: &Identity) -> Result<()> {
        let address = self.servers.of(self.dials.len());
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
        let began = Instant::now();
        match rustix::net::connect(&socket, &address) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot connect to {address}"));
            }
        }
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        let data = epoll::EventData::new_u64(self.dials.len() as u64);
        epoll::add(&self.epoll, &stream, data, epoll::EventFlags::IN | epoll::EventFlags::OUT)?;
        self.dials.push(Dial {
            stream,
            began,
            unsent: handshake::hello(identity),
            answer: Vec::new(),
            open: false,
        });
        Ok(())
    }

    fn advance(&mut self, index: usize, buffer: &mut [u8]) {
        match self.dials[index].advance(buffer) {
            Ok(Step::Waiting) => {}
            Ok(Step::Sent) => {
                let data = epoll::EventData::new_u64(index as u64);
                let stream = &self.dials[index].stream;
                if let Err(error) = epoll::modify(&self.epoll, stream, data, epoll::EventFlags::IN) {
                    self.finish(index, Err(error.to_string()));
                }
            }
            Ok(Step::Open) => self.finish(index, Ok(())),
            Err(why) => self.finish(index, Err(why)),
        }
    }

    fn finish(&mut self, index: usize, result: Result<(), String>) {
        let dial = &mut self.dials[index];
        self.done += 1;
        match result {
            Ok(()) => {
                dial.open = true;
                self.latencies.record(nanos(dial.began.elapsed()));
            }
            Err(why) => *self.failed.entry(why).or_default() += 1,
        }
        // An open session says nothing more that matters; a failed one neither.
        let _ = epoll::delete(&self.epoll, &dial.stream);
    }

    fn close_all(self) {
        for dial in self.dials.iter().filter(|dial| dial.open) {
            handshake::say_goodbye(&dial.stream);
        }
        for mut dial in self.dials.into_iter().filter(|dial| dial.open) {
            handshake::await_goodbye(&mut dial.stream);
        }
    }
}

enum Step {
    Waiting,
    /// All is sent: only the answer is awaited from now on.
    Sent,
    Open,
}

impl Dial {
    fn advance(&mut self, buffer: &mut [u8]) -> Result<Step, String> {
        if !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(n) => drop(self.unsent.drain(..n)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Step::Waiting),
                Err(error) => return Err(error.to_string()),
            }
            return Ok(if self.unsent.is_empty() { Step::Sent } else { Step::Waiting });
        }
        match self.stream.read(buffer) {
            Ok(0) => return Err("the server closed the connection".to_owned()),
            Ok(n) => self.answer.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Step::Waiting),
            Err(error) => return Err(error.to_string()),
        }
        match frame::head(&self.answer, 1000) {
            frame::Head::Frame { len } => handshake::read_welcome(&self.answer[4..4 + len])
                .map(|_| Step::Open)
                .map_err(|error| error.to_string()),
            frame::Head::Partial { .. } => Ok(Step::Waiting),
            frame::Head::BadLength(_) => Err("not the answer of a ZooKeeper".to_owned()),
        }
    }
}
