//! The election port: one connection with each member, kept by the rule that the larger id dials, and for each member
//! one notification that waits, since only the newest matters. What was sent last is sent again on a new connection,
//! because the old one may have lost it. Answers to Java's `QuorumCnxManager`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use ostler_wire::ServerId;
use ostler_wire::quorum::notification::read_frame;
use ostler_wire::quorum::{Greeting, Members, Notification};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use super::PeersConfig;
use super::dial::dial;
use super::doors::Doors;
use super::status::{Dial, Heard, Other};
use crate::member::Spot;

/// Strangers that may be greeting us at once.
const MAX_GREETINGS: usize = 256;

/// The mail between this server and the others.
pub(super) struct Post {
    config: Rc<PeersConfig>,
    boxes: RefCell<BTreeMap<ServerId, Rc<Mailbox>>>,
    greetings: Cell<usize>,
    /// The tasks that take connections.
    doors: Doors,
    /// The server stops.
    closed: Cell<bool>,
}

/// The mail for one member.
#[derive(Default)]
struct Mailbox {
    waiting: RefCell<Option<Bytes>>,
    last_sent: RefCell<Option<Bytes>>,
    bell: Notify,
    dialing: Cell<bool>,
    line: RefCell<Option<Line>>,
    lines: Cell<u64>,
    /// Where a member said that it can be reached; for members that are not in the list.
    said: RefCell<Vec<(String, u16)>>,
    /// How the last attempt to reach it ended.
    last_dial: RefCell<Option<Dial>>,
    /// What it said last, and when.
    heard: RefCell<Option<(Instant, Notification)>>,
    /// When the last connection went.
    gone: Cell<Option<Instant>>,
}

/// A connection, by the tasks that serve it.
struct Line {
    number: u64,
    reader: AbortHandle,
    writer: AbortHandle,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.reader.abort();
        self.writer.abort();
    }
}

impl Post {
    pub(super) fn open(config: Rc<PeersConfig>, ports: Vec<(Spot, TcpListener)>) -> Rc<Self> {
        let post = Rc::new(Self {
            config,
            boxes: RefCell::default(),
            greetings: Cell::new(0),
            doors: Doors::default(),
            closed: Cell::new(false),
        });
        let wanted: Vec<Spot> = ports.iter().map(|(spot, _)| spot.clone()).collect();
        post.listen(&wanted, ports);
        post.connect_members();
        post
    }

    /// Where connections are to be taken and are not.
    pub(super) fn missing(&self, wanted: &[Spot]) -> Vec<Spot> {
        self.doors.missing(wanted)
    }

    /// Takes connections where it is wanted, and nowhere else; what was not open yet comes with it.
    pub(super) fn listen(self: &Rc<Self>, wanted: &[Spot], fresh: Vec<(Spot, TcpListener)>) {
        let serve = |(spot, listener)| (spot, spawn_local(Rc::clone(self).accept(listener)).abort_handle());
        self.doors.change(wanted, fresh.into_iter().map(serve));
    }

    /// Ends all connections and takes no more.
    pub(super) fn close_all(&self) {
        self.doors.close_all();
        for mailbox in self.boxes.borrow().values() {
            mailbox.line.take();
        }
        self.closed.set(true);
    }

    /// Members that are up already get to know this one before it has anything to say.
    pub(super) fn connect_members(self: &Rc<Self>) {
        let servers: Vec<ServerId> = {
            let lists = self.config.members.borrow();
            lists.current.servers.keys().chain(lists.last_seen.servers.keys()).copied().collect()
        };
        for server in servers.into_iter().filter(|server| *server != self.config.me) {
            self.connect(server);
        }
    }

    /// Tells a member something; what it was not told yet is forgotten.
    pub(super) fn send(self: &Rc<Self>, to: ServerId, notification: &Notification) {
        let mut frame = Vec::new();
        notification.encode(&mut frame);
        let mailbox = self.mailbox(to);
        *mailbox.waiting.borrow_mut() = Some(frame.into());
        if mailbox.line.borrow().is_some() {
            mailbox.bell.notify_one();
        } else {
            self.connect(to);
        }
    }

    fn mailbox(&self, server: ServerId) -> Rc<Mailbox> {
        Rc::clone(self.boxes.borrow_mut().entry(server).or_default())
    }

    async fn accept(self: Rc<Self>, listener: TcpListener) {
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return warn!(%error, "cannot accept votes"),
        };
        loop {
            match listener.accept().await {
                Ok((stream, from)) if self.greetings.get() < MAX_GREETINGS => {
                    self.greetings.set(self.greetings.get() + 1);
                    let post = Rc::clone(&self);
                    spawn_local(async move {
                        post.receive(stream, from).await;
                        post.greetings.set(post.greetings.get() - 1);
                    });
                }
                Ok((_, from)) => debug!(%from, "too many strangers on the election port"),
                Err(error) => {
                    warn!(%error, "cannot accept a member on the election port");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Somebody dialled.
    async fn receive(self: &Rc<Self>, mut stream: TcpStream, from: SocketAddr) {
        let mut buffer = BytesMut::new();
        let greeting = timeout(self.config.connect_timeout, read_greeting(&mut stream, &mut buffer)).await;
        let Ok(Ok(greeting)) = greeting else {
            return debug!(%from, "whoever dialled the election port is no member");
        };
        let server = greeting.server;
        if server == self.config.me {
            return warn!(%from, "a server with this server's own id dialled the election port: is myid {} given twice?", server);
        }
        if server < self.config.me {
            // The larger id dials: call back.
            drop(stream);
            *self.mailbox(server).said.borrow_mut() = greeting.addresses;
            return self.connect(server);
        }
        let _ = stream.set_nodelay(true);
        self.keep(server, stream, buffer);
    }

    /// Dials a member unless that is under way or done.
    fn connect(self: &Rc<Self>, server: ServerId) {
        let mailbox = self.mailbox(server);
        if mailbox.line.borrow().is_some() || mailbox.dialing.replace(true) {
            return;
        }
        let post = Rc::clone(self);
        spawn_local(async move {
            let done = post.dial(server, &mailbox).await;
            mailbox.dialing.set(false);
            *mailbox.last_dial.borrow_mut() = Some(match &done {
                Ok(()) => Dial::Answered,
                Err(error) => Dial::failed(error),
            });
            if let Err(error) = done {
                debug!(%server, %error, "cannot reach a member on its election port");
            }
        });
    }

    async fn dial(self: &Rc<Self>, server: ServerId, mailbox: &Mailbox) -> std::io::Result<()> {
        let election = |server| self.config.addresses(server, |address| address.election_port);
        let mut addresses = election(server);
        if addresses.is_empty() {
            addresses.clone_from(&mailbox.said.borrow());
        }
        let mut stream = dial(&addresses, self.config.connect_timeout).await?;
        let own = election(self.config.me);
        let mut hello = Vec::new();
        Greeting { server: self.config.me, addresses: own }.encode(self.config.multi_address, &mut hello);
        stream.write_all(&hello).await?;
        if server > self.config.me {
            // It dials back; this was to let it know.
            stream.shutdown().await?;
            return Ok(());
        }
        if mailbox.line.borrow().is_none() {
            self.keep(server, stream, BytesMut::new());
        }
        Ok(())
    }

    /// Keeps a connection, instead of the one before if there is one.
    fn keep(self: &Rc<Self>, server: ServerId, stream: TcpStream, buffer: BytesMut) {
        if self.closed.get() {
            return;
        }
        let mailbox = self.mailbox(server);
        let number = mailbox.lines.get() + 1;
        mailbox.lines.set(number);
        let (read, write) = stream.into_split();
        let mut waiting = mailbox.waiting.borrow_mut();
        if waiting.is_none() {
            waiting.clone_from(&mailbox.last_sent.borrow());
        }
        drop(waiting);
        let (post, own) = (Rc::clone(self), Rc::clone(&mailbox));
        let reader = spawn_local(async move {
            post.read(server, read, buffer).await;
            post.lost(server, &own, number);
        });
        let (post, own) = (Rc::clone(self), Rc::clone(&mailbox));
        let writer = spawn_local(async move {
            if write_mail(&own, write).await.is_err() {
                post.lost(server, &own, number);
            }
        });
        let line = Line { number, reader: reader.abort_handle(), writer: writer.abort_handle() };
        mailbox.line.borrow_mut().replace(line);
        mailbox.bell.notify_one();
        self.config.tell(ostler_zab::Input::ElectionLink { server, up: true });
    }

    fn lost(&self, server: ServerId, mailbox: &Mailbox, number: u64) {
        let mut line = mailbox.line.borrow_mut();
        if line.as_ref().is_some_and(|line| line.number == number) {
            *line = None;
            mailbox.gone.set(Some(Instant::now()));
            self.config.tell(ostler_zab::Input::ElectionLink { server, up: false });
        }
    }

    /// What is known of the other members.
    pub(super) fn others(&self) -> Vec<Other> {
        let ago_ms = |at: Instant| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX);
        let boxes = self.boxes.borrow();
        boxes
            .iter()
            .map(|(server, mailbox)| Other {
                server: *server,
                connected: mailbox.line.borrow().is_some(),
                gone_ms: mailbox.gone.get().map(ago_ms),
                dial: mailbox.last_dial.borrow().clone().unwrap_or(Dial::NotTried),
                heard: mailbox.heard.borrow().as_ref().map(|(at, notification)| Heard {
                    ago_ms: ago_ms(*at),
                    state: notification.state,
                    leader: notification.vote.leader,
                    members: notification
                        .members
                        .as_ref()
                        .map(|text| Members::decode(text).map_err(|error| error.to_string())),
                }),
            })
            .collect()
    }

    async fn read(&self, server: ServerId, mut stream: OwnedReadHalf, mut buffer: BytesMut) {
        loop {
            loop {
                match read_frame(&buffer) {
                    Ok(None) => break,
                    Ok(Some((body, taken))) => {
                        // What a later version adds, or a port scanner sends, is no reason to lose the line
                        // (ZOOKEEPER-3769).
                        match Notification::decode(body) {
                            Ok(notification) => {
                                *self.mailbox(server).heard.borrow_mut() =
                                    Some((Instant::now(), notification.clone()));
                                self.config
                                    .tell(ostler_zab::Input::Notification { from: server, notification });
                            }
                            Err(error) => debug!(%server, %error, "a notification that does not decode"),
                        }
                        let _ = buffer.split_to(taken);
                    }
                    Err(error) => {
                        return debug!(%server, %error, "a frame on the election port that cannot be");
                    }
                }
            }
            match stream.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }
}

async fn read_greeting(stream: &mut TcpStream, buffer: &mut BytesMut) -> std::io::Result<Greeting> {
    loop {
        match Greeting::decode(buffer) {
            Ok(Some((greeting, taken))) => {
                let _ = buffer.split_to(taken);
                return Ok(greeting);
            }
            Ok(None) => {}
            Err(error) => return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, error)),
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

async fn write_mail(mailbox: &Mailbox, mut stream: OwnedWriteHalf) -> std::io::Result<()> {
    loop {
        let next = mailbox.waiting.borrow_mut().take();
        let Some(frame) = next else {
            mailbox.bell.notified().await;
            continue;
        };
        *mailbox.last_sent.borrow_mut() = Some(frame.clone());
        stream.write_all(&frame).await?;
    }
}
