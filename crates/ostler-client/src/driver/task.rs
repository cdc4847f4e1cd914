//! The task behind a client: it makes connections, moves bytes between the session and the socket, wakes whoever
//! waits, and asks the clock. It decides nothing that the protocol says. Answers to `ClientCnxn.SendThread`.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::connector::{Connector, Transport};
use super::hosts::Hosts;
use super::shared::Shared;
use crate::connect_string::Host;
use crate::session::State;

const READ_BYTES: usize = 64 << 10;
/// A buffer that has grown beyond this is given back once it is empty.
const KEPT_BYTES: usize = 1 << 20;
/// While the server is read-only, the others are asked whether one is not, first after this time.
const FIRST_PROBE: Duration = Duration::from_millis(500);
const LONGEST_PROBE: Duration = Duration::from_secs(60);
/// A connection that was gone sooner counts as a failure: servers that greet and hang up are not to be hammered.
const LASTING: Duration = Duration::from_millis(250);

/// The task of one client.
pub(crate) struct Task {
    shared: Arc<Shared>,
    hosts: Hosts,
    connector: Arc<dyn Connector>,
    /// Time zero of the session.
    epoch: Instant,
    timer: Pin<Box<Sleep>>,
    wakers: Vec<Waker>,
}

/// A connection in use.
struct Connection {
    transport: Box<dyn Transport>,
    unsent: Vec<u8>,
    sent: usize,
    flushed: bool,
    buffer: Box<[u8]>,
    /// Whether the session was established on it.
    established: bool,
    probe: Option<Probe>,
}

/// The search for a server that is not read-only, while this one is.
struct Probe {
    pause: Duration,
    asking: Pin<Box<dyn Future<Output = Option<Host>> + Send>>,
}

impl Task {
    pub(crate) fn new(shared: Arc<Shared>, hosts: Hosts, connector: Arc<dyn Connector>) -> Self {
        let epoch = Instant::now();
        let timer = Box::pin(tokio::time::sleep_until(epoch));
        Self { shared, hosts, connector, epoch, timer, wakers: Vec::new() }
    }

    pub(crate) async fn run(mut self) {
        while !self.is_over() {
            let (host, pause) = self.hosts.next();
            if !pause.is_zero() {
                let until = Instant::now() + pause;
                self.meanwhile(std::future::pending::<()>(), until).await;
                if self.is_over() {
                    break;
                }
            }
            let deadline = Instant::now() + self.shared.lock().session.connect_timeout();
            let connector = self.connector.clone();
            let problem = match self.meanwhile(connector.connect(&host), deadline).await {
                Some(Ok(transport)) => {
                    let began = Instant::now();
                    let why = self.serve(transport).await;
                    if began.elapsed() >= LASTING {
                        self.hosts.on_lasted();
                    }
                    format!("{host}: {why}")
                }
                Some(Err(error)) => format!("cannot connect to {host}: {error}"),
                None => format!("cannot connect to {host}: no answer in time"),
            };
            let now = self.now();
            let mut core = self.shared.lock();
            core.now = now;
            core.problem = Some(problem);
            core.session.handle_disconnected(now);
            drop(core);
            self.tell();
        }
        self.tell();
    }

    fn is_over(&self) -> bool {
        matches!(self.shared.lock().session.state(), State::Ended(_))
    }

    /// Waits for something without a connection, while the session may end or run out. `None` when it ended or the
    /// time is up.
    async fn meanwhile<T>(&mut self, wanted: impl Future<Output = T>, until: Instant) -> Option<T> {
        let mut wanted = std::pin::pin!(wanted);
        std::future::poll_fn(|cx| {
            if let Poll::Ready(result) = wanted.as_mut().poll(cx) {
                return Poll::Ready(Some(result));
            }
            loop {
                let now = self.now();
                let mut core = self.shared.lock();
                core.driver = Some(cx.waker().clone());
                core.now = now;
                if core.session.poll_timeout().is_some_and(|at| at <= now) {
                    core.session.handle_timeout(now);
                }
                let _ = core.take_outcomes(&mut self.wakers);
                let ended = matches!(core.session.state(), State::Ended(_));
                let deadline = core.session.poll_timeout().map(|at| self.epoch + at);
                drop(core);
                wake_all(&mut self.wakers);
                if ended || Instant::now() >= until {
                    return Poll::Ready(None);
                }
                let deadline = deadline.map_or(until, |at| at.min(until));
                self.timer.as_mut().reset(deadline);
                ready!(self.timer.as_mut().poll(cx));
            }
        })
        .await
    }

    /// Drives the session on a connection until that is gone; says why.
    async fn serve(&mut self, transport: Box<dyn Transport>) -> String {
        let now = self.now();
        self.shared.lock().session.handle_connected(now);
        let mut connection = Connection {
            transport,
            unsent: Vec::new(),
            sent: 0,
            flushed: true,
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
            established: false,
            probe: None,
        };
        let why = std::future::poll_fn(|cx| self.poll_serve(&mut connection, cx)).await;
        self.tell();
        why
    }

    fn poll_serve(&mut self, connection: &mut Connection, cx: &mut Context<'_>) -> Poll<String> {
        loop {
            let now = self.now();
            let (gone, deadline) = self.exchange(connection, now, cx);
            wake_all(&mut self.wakers);
            if let Some(why) = gone {
                return Poll::Ready(why.to_owned());
            }
            match connection.poll_write(cx) {
                Ok(()) => {}
                Err(error) => return Poll::Ready(error.to_string()),
            }
            let mut buffer = ReadBuf::new(&mut connection.buffer);
            match Pin::new(&mut connection.transport).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                    return Poll::Ready("the server closed the connection".to_owned());
                }
                Poll::Ready(Ok(())) => {
                    self.shared.lock().on_bytes(now, buffer.filled(), &mut self.wakers);
                    continue;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(error.to_string()),
                Poll::Pending => {}
            }
            if self.poll_probe(connection, cx) {
                return Poll::Ready("another server is not read-only".to_owned());
            }
            if let Some(deadline) = deadline {
                // A timer that is early is cheaper than one that is set at every request.
                let deadline = self.epoch + deadline;
                if self.timer.deadline() > deadline || self.timer.is_elapsed() {
                    self.timer.as_mut().reset(deadline);
                }
                if self.timer.as_mut().poll(cx).is_ready() {
                    let now = self.now();
                    self.shared.lock().session.handle_timeout(now);
                    continue;
                }
            }
            return Poll::Pending;
        }
    }

    /// What is done under the lock: outcomes out, bytes to send out. Why the connection is to be closed, and when the
    /// session wants to be looked at.
    fn exchange(
        &mut self,
        connection: &mut Connection,
        now: Duration,
        cx: &Context<'_>,
    ) -> (Option<&'static str>, Option<Duration>) {
        let mut core = self.shared.lock();
        core.now = now;
        if core.driver.as_ref().is_none_or(|known| !known.will_wake(cx.waker())) {
            core.driver = Some(cx.waker().clone());
        }
        let gone = core.take_outcomes(&mut self.wakers);
        if connection.sent == connection.unsent.len() {
            connection.sent = 0;
            connection.unsent.clear();
            if connection.unsent.capacity() > KEPT_BYTES {
                connection.unsent = Vec::new();
            }
            core.session.swap_unsent(&mut connection.unsent);
        }
        if !connection.established && core.session.state() == State::Connected {
            connection.established = true;
            let read_only = core.status.borrow().state == super::state::SessionState::ConnectedReadOnly;
            if read_only && self.hosts.len() > 1 {
                let candidates: Vec<Host> =
                    (0..self.hosts.len()).map(|ahead| self.hosts.peek(ahead).clone()).collect();
                connection.probe = Some(Probe::new(&self.connector, candidates, FIRST_PROBE));
            }
        }
        (gone, core.session.poll_timeout())
    }

    /// Whether a server was found that is not read-only.
    fn poll_probe(&mut self, connection: &mut Connection, cx: &mut Context<'_>) -> bool {
        while let Some(probe) = &mut connection.probe {
            let Poll::Ready(found) = probe.asking.as_mut().poll(cx) else { return false };
            if let Some(host) = found {
                self.hosts.prefer(&host);
                return true;
            }
            let candidates = (0..self.hosts.len()).map(|ahead| self.hosts.peek(ahead).clone()).collect();
            let pause = (probe.pause * 2).min(LONGEST_PROBE);
            connection.probe = Some(Probe::new(&self.connector, candidates, pause));
        }
        false
    }

    /// Hands out what the session has to tell, without a connection.
    fn tell(&mut self) {
        let _ = self.shared.lock().take_outcomes(&mut self.wakers);
        wake_all(&mut self.wakers);
    }

    fn now(&self) -> Duration {
        self.epoch.elapsed()
    }
}

impl Drop for Task {
    /// The runtime was stopped beneath it: nobody may wait for ever.
    fn drop(&mut self) {
        let mut core = self.shared.lock();
        if !matches!(core.session.state(), State::Ended(_)) {
            let now = core.now;
            core.session.handle_disconnected(now);
            core.session.close(now);
            let _ = core.take_outcomes(&mut self.wakers);
        }
        drop(core);
        wake_all(&mut self.wakers);
    }
}

impl Connection {
    /// Writes what can be written.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.sent < self.unsent.len() {
            match Pin::new(&mut self.transport).poll_write(cx, &self.unsent[self.sent..]) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(n)) => {
                    self.sent += n;
                    self.flushed = false;
                    // What was asked for meanwhile is seen only when the task looks again.
                    if self.sent == self.unsent.len() {
                        break;
                    }
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(()),
            }
        }
        if !self.flushed {
            match Pin::new(&mut self.transport).poll_flush(cx) {
                Poll::Ready(result) => {
                    result?;
                    self.flushed = true;
                }
                Poll::Pending => {}
            }
        }
        Ok(())
    }
}

impl Probe {
    fn new(connector: &Arc<dyn Connector>, candidates: Vec<Host>, pause: Duration) -> Self {
        let connector = connector.clone();
        let asking = Box::pin(async move {
            tokio::time::sleep(pause).await;
            for host in candidates {
                let answer =
                    tokio::time::timeout(Duration::from_secs(1), isro(connector.as_ref(), &host)).await;
                if matches!(answer, Ok(Ok(true))) {
                    return Some(host);
                }
            }
            None
        });
        Self { pause, asking }
    }
}

/// Asks a server whether it takes writes.
async fn isro(connector: &dyn Connector, host: &Host) -> io::Result<bool> {
    let mut transport = connector.connect(host).await?;
    transport.write_all(b"isro").await?;
    let mut answer = [0; 2];
    transport.read_exact(&mut answer).await?;
    Ok(&answer == b"rw")
}

fn wake_all(wakers: &mut Vec<Waker>) {
    for waker in wakers.drain(..) {
        waker.wake();
    }
}
