//! A lane's thread: sockets on one side, [`Lane`] on the other. Each turn takes the shared borrow of the store,
//! delivers what is in the inbox, lets the lane work, and then, without the store, sends what there is to send.
//! A borrow never lives across an await. Answers to Java's `NIOServerCnxnFactory`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ostler_node::io::CloseReason;
use ostler_node::{ConnId, Lane, LaneBatch, LaneOutput, Now};
use ostler_tree::Store;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::spawn_local;
use tracing::debug;

use crate::admission::Admitted;
use crate::clock::Clock;
use crate::inbox::{Errand, Inbox, LaneInbox, NodeLetter};
use crate::words::WordDesk;

/// Bytes that are read from a socket at once.
const READ_BYTES: usize = 64 << 10;
/// How long an answer may take to go out on a connection that is being closed.
const FAREWELL: Duration = Duration::from_secs(10);

/// What a lane's tasks share; all of them run on its one thread.
pub(crate) struct LaneLoop {
    this: Weak<Self>,
    lane: RefCell<Lane>,
    sockets: RefCell<BTreeMap<ConnId, Rc<Socket>>>,
    scratch: RefCell<Box<[u8]>>,
    batches: RefCell<Vec<LaneBatch>>,
    to_node: RefCell<Vec<NodeLetter>>,
    clock: Clock,
    store: Arc<RwLock<Store>>,
    inbox: Arc<LaneInbox>,
    node: Arc<Inbox<NodeLetter>>,
    words: Arc<WordDesk>,
    keep_alive: bool,
    stopping: Cell<bool>,
}

/// The sending half of a connection, and how to wake the task that reads the other.
struct Socket {
    write: OwnedWriteHalf,
    waker: RefCell<Option<Waker>>,
    /// The peer takes no more at the moment.
    blocked: Cell<bool>,
    /// The reading task waits for the lane rather than for the socket.
    paused: Cell<bool>,
    /// No more is read; close when everything is sent.
    closing: Cell<bool>,
    closed: Cell<bool>,
}

impl Socket {
    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

impl LaneLoop {
    pub(crate) fn new(
        lane: Lane,
        clock: Clock,
        store: Arc<RwLock<Store>>,
        inbox: Arc<LaneInbox>,
        node: Arc<Inbox<NodeLetter>>,
        words: Arc<WordDesk>,
        keep_alive: bool,
    ) -> Rc<Self> {
        Rc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            lane: RefCell::new(lane),
            sockets: RefCell::default(),
            scratch: RefCell::new(vec![0; READ_BYTES].into()),
            batches: RefCell::default(),
            to_node: RefCell::default(),
            clock,
            store,
            inbox,
            node,
            words,
            keep_alive,
            stopping: Cell::new(false),
        })
    }

    /// Serves until told to stop.
    pub(crate) async fn run(self: Rc<Self>) {
        let timer = spawn_local(Rc::clone(&self).run_timer());
        let errands = spawn_local(Rc::clone(&self).run_errands());
        while !self.stopping.get() {
            tokio::select! {
                () = self.inbox.batches.rung() => self.turn(|_, _, _| {}),
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
        }
        timer.abort();
        errands.abort();
    }

    async fn run_timer(self: Rc<Self>) {
        loop {
            let wait = self.lane.borrow().poll_timeout();
            let until = self.clock.instant(wait).max(self.clock.instant(self.clock.now().mono_ms + 20));
            tokio::time::sleep_until(until.into()).await;
            self.turn(|lane, now, store| lane.handle_timeout(now, store));
        }
    }

    async fn run_errands(self: Rc<Self>) {
        let mut errands = Vec::new();
        loop {
            self.inbox.errands.rung().await;
            self.inbox.errands.take(&mut errands);
            for errand in errands.drain(..) {
                match errand {
                    Errand::Serve(stream, peer, admitted) => self.accept(stream, peer, admitted),
                    Errand::Report(reply) => {
                        // Whoever asked may have gone away.
                        let _ = reply.send(self.lane.borrow().report());
                    }
                    Errand::ResetConnStats => self.lane.borrow_mut().reset_conn_stats(),
                    Errand::ResetServerStats => self.lane.borrow_mut().reset_server_stats(),
                    Errand::Stop => self.stop(),
                }
            }
        }
    }

    fn stop(&self) {
        self.turn(|_, _, _| {});
        let ids: Vec<ConnId> = self.sockets.borrow().keys().copied().collect();
        for id in ids {
            self.lane.borrow_mut().disconnected(id);
            self.drop_socket(id);
        }
        self.stopping.set(true);
        self.inbox.batches.push_all([]);
    }

    fn accept(self: &Rc<Self>, stream: TcpStream, peer: SocketAddr, admitted: Admitted) {
        let set_up = || -> std::io::Result<tokio::net::TcpStream> {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            if self.keep_alive {
                socket2::SockRef::from(&stream).set_keepalive(true)?;
            }
            tokio::net::TcpStream::from_std(stream)
        };
        let stream = match set_up() {
            Ok(stream) => stream,
            Err(error) => {
                debug!(%peer, %error, "a client was gone before it was served");
                return;
            }
        };
        let now = self.clock.now();
        let id = self.lane.borrow_mut().accept(now, address_text(&peer), peer.port());
        let (read, write) = stream.into_split();
        let socket = Rc::new(Socket {
            write,
            waker: RefCell::new(None),
            blocked: Cell::new(false),
            paused: Cell::new(false),
            closing: Cell::new(false),
            closed: Cell::new(false),
        });
        self.sockets.borrow_mut().insert(id, Rc::clone(&socket));
        let this = Rc::clone(self);
        spawn_local(async move {
            this.serve(id, read, socket).await;
            drop(admitted);
        });
    }

    /// Reads from one client until it goes or is sent away.
    async fn serve(self: Rc<Self>, id: ConnId, mut read: OwnedReadHalf, socket: Rc<Socket>) {
        std::future::poll_fn(|cx| self.poll_serve(cx, id, &mut read, &socket)).await;
        if socket.closing.get() && !socket.closed.get() {
            // Something is unsent; give the peer a while to take it.
            let _ = tokio::time::timeout(
                FAREWELL,
                std::future::poll_fn(|cx| self.poll_farewell(cx, id, &socket)),
            )
            .await;
        }
        self.drop_socket(id);
        // The write half closes its direction first, so that the last bytes arrive before the end does.
        drop(read);
    }

    fn poll_serve(
        &self,
        cx: &mut Context<'_>,
        id: ConnId,
        read: &mut OwnedReadHalf,
        socket: &Socket,
    ) -> Poll<()> {
        remember(&socket.waker, cx);
        loop {
            if socket.closed.get() || socket.closing.get() {
                return Poll::Ready(());
            }
            if socket.blocked.get() {
                // Only its `Pending` promises to wake this task, so what was ready is asked again after it was used up.
                if socket.write.as_ref().poll_write_ready(cx).is_ready() {
                    self.turn_for(id);
                    continue;
                }
            }
            if self.lane.borrow().can_resume(id) && !socket.blocked.get() {
                self.turn(|lane, now, store| lane.resume(now, id, store));
                continue;
            }
            socket.paused.set(!self.lane.borrow().wants_bytes(id));
            if socket.paused.get() {
                return if socket.closed.get() || socket.closing.get() {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                };
            }
            let mut scratch = self.scratch.borrow_mut();
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut *read).poll_read(cx, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => {
                    self.lane.borrow_mut().disconnected(id);
                    socket.closed.set(true);
                }
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                    self.lane.borrow_mut().disconnected(id);
                    socket.closed.set(true);
                }
                Poll::Ready(Ok(())) => {
                    let bytes = buffer.filled();
                    self.turn(|lane, now, store| lane.receive(now, id, bytes, store));
                }
            }
        }
    }

    fn poll_farewell(&self, cx: &mut Context<'_>, id: ConnId, socket: &Socket) -> Poll<()> {
        remember(&socket.waker, cx);
        loop {
            self.flush(id);
            if socket.closed.get() || self.lane.borrow().unsent(id).is_empty() {
                return Poll::Ready(());
            }
            if socket.write.as_ref().poll_write_ready(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Sends what is unsent on one connection, then lets it go on.
    fn turn_for(&self, id: ConnId) {
        self.flush(id);
        self.turn(|lane, now, store| lane.resume(now, id, store));
    }

    /// One turn: inbox, work, sending.
    fn turn(&self, work: impl FnOnce(&mut Lane, Now, &Store)) {
        let now = self.clock.now();
        {
            let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
            let mut lane = self.lane.borrow_mut();
            let mut batches = self.batches.borrow_mut();
            self.inbox.batches.take(&mut batches);
            lane.deliver(now, batches.drain(..), &store);
            work(&mut lane, now, &store);
            let watching = lane.has_watches();
            if self.inbox.watching.load(Ordering::Relaxed) != watching {
                self.inbox.watching.store(watching, Ordering::Release);
            }
        }
        self.drain_outputs();
        self.flush_dirty();
    }

    fn drain_outputs(&self) {
        let mut to_node = self.to_node.borrow_mut();
        loop {
            let Some(output) = self.lane.borrow_mut().poll_output() else { break };
            match output {
                LaneOutput::ToNode(input) => to_node.push(NodeLetter::Input(input)),
                LaneOutput::Close { conn, reason } => self.close(conn, reason),
                LaneOutput::Word { conn, word, mask } => self.on_word(conn, word, mask),
            }
        }
        if !to_node.is_empty() {
            self.node.push_all(to_node.drain(..));
        }
    }

    fn flush_dirty(&self) {
        loop {
            let Some(id) = self.lane.borrow_mut().poll_dirty() else { break };
            self.flush(id);
        }
    }

    fn flush(&self, id: ConnId) {
        let Some(socket) = self.sockets.borrow().get(&id).map(Rc::clone) else { return };
        let mut lane = self.lane.borrow_mut();
        while !lane.unsent(id).is_empty() {
            match socket.write.try_write(lane.unsent(id)) {
                Ok(sent) => lane.sent(id, sent),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    if !socket.blocked.replace(true) {
                        socket.wake();
                    }
                    return;
                }
                Err(_) => {
                    lane.disconnected(id);
                    socket.closed.set(true);
                    socket.wake();
                    return;
                }
            }
        }
        socket.blocked.set(false);
        let moves = socket.paused.get() && (lane.wants_bytes(id) || lane.can_resume(id));
        if moves {
            socket.wake();
        }
    }

    fn close(&self, id: ConnId, reason: CloseReason) {
        self.flush(id);
        let Some(socket) = self.sockets.borrow().get(&id).map(Rc::clone) else { return };
        debug!(conn = id.0, ?reason, "closing a connection");
        let says_goodbye = !matches!(
            reason,
            CloseReason::Disconnected
                | CloseReason::SlowConsumer
                | CloseReason::SessionExpired
                | CloseReason::SessionResumedElsewhere
        );
        if says_goodbye && !self.lane.borrow().unsent(id).is_empty() {
            socket.closing.set(true);
        } else {
            socket.closed.set(true);
        }
        socket.wake();
    }

    fn drop_socket(&self, id: ConnId) {
        self.lane.borrow_mut().remove(id);
        self.drain_outputs();
        if let Some(socket) = self.sockets.borrow_mut().remove(&id) {
            socket.closed.set(true);
            let _ = socket2::SockRef::from(socket.write.as_ref()).shutdown(std::net::Shutdown::Write);
        }
    }

    fn on_word(&self, conn: ConnId, word: [u8; 4], mask: i64) {
        let Some(this) = self.this.upgrade() else { return };
        spawn_local(async move {
            let text = this.words.answer(word, mask).await;
            this.lane.borrow_mut().answer_word(conn, &text);
            this.drain_outputs();
            this.flush_dirty();
        });
    }
}

fn remember(waker: &RefCell<Option<Waker>>, cx: &Context<'_>) {
    let mut waker = waker.borrow_mut();
    if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
        *waker = Some(cx.waker().clone());
    }
}

/// The address as the scheme `ip` knows it: an IPv4 client of a dual-stack socket is an IPv4 client.
fn address_text(peer: &SocketAddr) -> String {
    peer.ip().to_canonical().to_string()
}
