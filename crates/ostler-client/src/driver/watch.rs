//! Watches as their users hold them: one that fires once is a future, one that stays is a stream. Each is registered
//! from the call on, armed when the answer comes, and taken off when it is dropped; the server hears of it when
//! nobody is left who watches the same. Answers to `ZKWatchManager` and `Watcher`.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use ostler_wire::client::event::EventType;
use ostler_wire::client::read::{AddWatchMode, WatcherType};
use ostler_wire::{Code, Zxid, path};

use super::mailbox::Mailbox;
use super::shared::{Shared, wake_task};
use crate::connect_string::Chroot;
use crate::error::{Error, ErrorKind};
use crate::session::Event;

/// A change that a watch saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedEvent {
    /// What happened.
    pub kind: EventType,
    /// Where.
    pub path: String,
    /// By which transaction; -1 from servers before 3.9 and for what happened while there was no connection.
    pub zxid: Zxid,
}

/// What a watch that stays has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchEvent {
    /// Something changed.
    Changed(WatchedEvent),
    /// Events may be missing here: the connection was lost and is back. The watch is set again; whoever wants to know
    /// what happened meanwhile reads anew.
    Reconnected,
    /// Events are missing here: they came faster than they were taken. Read anew.
    Overflow,
}

/// What a watcher waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    Data,
    Exists,
    Children,
    Persistent,
    Recursive,
}

impl Want {
    pub(crate) fn of(mode: AddWatchMode) -> Self {
        match mode {
            AddWatchMode::Persistent => Self::Persistent,
            AddWatchMode::PersistentRecursive => Self::Recursive,
        }
    }

    fn watcher_type(self) -> WatcherType {
        match self {
            Self::Data | Self::Exists => WatcherType::Data,
            Self::Children => WatcherType::Children,
            Self::Persistent => WatcherType::Persistent,
            Self::Recursive => WatcherType::PersistentRecursive,
        }
    }

    fn fires_once(self) -> bool {
        matches!(self, Self::Data | Self::Exists | Self::Children)
    }
}

#[derive(Debug)]
struct Watcher {
    path: String,
    want: Want,
    /// The answer came: it counts.
    armed: bool,
    /// Whoever held it has gone, before the answer came.
    dropped: bool,
    mailbox: Arc<Mailbox<WatchEvent>>,
}

/// All watchers of a client.
#[derive(Debug)]
pub(crate) struct Watchers {
    chroot: Chroot,
    capacity: usize,
    watchers: Vec<Option<Watcher>>,
    free: Vec<usize>,
    by_path: BTreeMap<String, Vec<usize>>,
    /// How many are recursive: without any, ancestors need no look.
    recursive: usize,
    /// Who wants to hear everything.
    listeners: Vec<Arc<Mailbox<Event>>>,
}

impl Watchers {
    pub(crate) fn new(chroot: Chroot, capacity: usize) -> Self {
        Self {
            chroot,
            capacity,
            watchers: Vec::new(),
            free: Vec::new(),
            by_path: BTreeMap::new(),
            recursive: 0,
            listeners: Vec::new(),
        }
    }

    /// A watcher whose request is about to be sent.
    pub(crate) fn add(&mut self, path: String, want: Want) -> (usize, Arc<Mailbox<WatchEvent>>) {
        let capacity = if want.fires_once() { 1 } else { self.capacity };
        let mailbox = Mailbox::new(capacity, || WatchEvent::Overflow);
        let watcher =
            Watcher { path: path.clone(), want, armed: false, dropped: false, mailbox: mailbox.clone() };
        let key = if let Some(key) = self.free.pop() {
            self.watchers[key] = Some(watcher);
            key
        } else {
            self.watchers.push(Some(watcher));
            self.watchers.len() - 1
        };
        self.by_path.entry(path).or_default().push(key);
        self.recursive += usize::from(want == Want::Recursive);
        (key, mailbox)
    }

    /// Another one who wants to hear everything.
    pub(crate) fn listen(&mut self) -> Arc<Mailbox<Event>> {
        let mailbox = Mailbox::new(self.capacity, || Event::Overflow);
        self.listeners.push(mailbox.clone());
        mailbox
    }

    /// The request was answered: the watcher counts from now on, or it does not. The watch to forget if its holder
    /// has gone meanwhile.
    pub(crate) fn on_answer(
        &mut self,
        key: usize,
        result: Result<(), &Error>,
        wakers: &mut Vec<Waker>,
    ) -> Option<(String, WatcherType)> {
        let watcher = self.watchers[key].as_mut()?;
        let missing = result.is_err_and(|error| error.code() == Some(Code::NoNode));
        let armed = result.is_ok()
            || (missing && matches!(watcher.want, Want::Exists | Want::Persistent | Want::Recursive));
        if armed && !watcher.dropped {
            watcher.armed = true;
            return None;
        }
        let forget = armed.then(|| self.last_of_kind(key)).flatten();
        wakers.extend(self.remove(key));
        forget
    }

    /// Its holder has gone. The watch to forget, if that is possible yet and nobody else has it.
    pub(crate) fn drop_watcher(&mut self, key: usize) -> Option<(String, WatcherType)> {
        let watcher = self.watchers[key].as_mut()?;
        if !watcher.armed {
            watcher.dropped = true;
            return None;
        }
        let forget = self.last_of_kind(key);
        self.remove(key);
        forget
    }

    /// Who no longer hears everything.
    pub(crate) fn drop_listener(&mut self, mailbox: &Arc<Mailbox<Event>>) {
        self.listeners.retain(|listener| !Arc::ptr_eq(listener, mailbox));
    }

    /// The server sent an event.
    pub(crate) fn on_event(&mut self, kind: EventType, at: &str, zxid: Zxid, wakers: &mut Vec<Waker>) {
        let mut told: Vec<usize> = Vec::new();
        let here = self.by_path.get(at).into_iter().flatten().copied();
        told.extend(
            here.filter(|key| self.watchers[*key].as_ref().is_some_and(|watcher| sees(watcher, kind))),
        );
        if self.recursive > 0 && kind != EventType::NodeChildrenChanged && at != path::ROOT {
            let mut ancestor = path::parent(at);
            loop {
                let above = self.by_path.get(ancestor).into_iter().flatten().copied();
                told.extend(above.filter(|key| {
                    let watcher = self.watchers[*key].as_ref();
                    watcher.is_some_and(|watcher| watcher.armed && watcher.want == Want::Recursive)
                }));
                if ancestor == path::ROOT {
                    break;
                }
                ancestor = path::parent(ancestor);
            }
        }
        for key in told {
            let Some(watcher) = &self.watchers[key] else { continue };
            let event = WatchedEvent { kind, path: self.chroot.relative(at.to_owned()), zxid };
            wakers.extend(watcher.mailbox.push(WatchEvent::Changed(event)));
            if watcher.want.fires_once() {
                wakers.extend(self.remove(key));
            }
        }
    }

    /// Watches were taken off, as somebody asked.
    pub(crate) fn on_removed(&mut self, kind: WatcherType, path: &str, wakers: &mut Vec<Waker>) {
        let keys = self.by_path.get(path).cloned().unwrap_or_default();
        for key in keys {
            let gone = self.watchers[key].as_ref().is_some_and(|watcher| {
                watcher.armed && (kind == WatcherType::Any || kind == watcher.want.watcher_type())
            });
            if gone {
                wakers.extend(self.remove(key));
            }
        }
    }

    /// There is a connection again: watches that stay may have missed something.
    pub(crate) fn on_reconnected(&mut self, wakers: &mut Vec<Waker>) {
        for watcher in self.watchers.iter().flatten() {
            if watcher.armed && !watcher.want.fires_once() {
                wakers.extend(watcher.mailbox.push(WatchEvent::Reconnected));
            }
        }
    }

    /// The session is over.
    pub(crate) fn on_ended(&mut self, wakers: &mut Vec<Waker>) {
        for key in 0..self.watchers.len() {
            wakers.extend(self.remove(key));
        }
    }

    /// Something for those who want to hear everything.
    pub(crate) fn tell_all(&mut self, event: Event, wakers: &mut Vec<Waker>) {
        if self.listeners.is_empty() {
            return;
        }
        let last = matches!(event, Event::Ended(_));
        let event = match event {
            Event::Watch { kind, path, zxid } => {
                Event::Watch { kind, path: self.chroot.relative(path), zxid }
            }
            Event::WatchesRemoved { kind, path } => {
                Event::WatchesRemoved { kind, path: self.chroot.relative(path) }
            }
            other @ (Event::Connected { .. }
            | Event::Disconnected
            | Event::Lapsed
            | Event::Ended(_)
            | Event::Overflow) => other,
        };
        for listener in &self.listeners {
            wakers.extend(listener.push(event.clone()));
            if last {
                wakers.extend(listener.end());
            }
        }
    }

    /// What to forget when this one goes, unless somebody else watches the same, or is about to.
    fn last_of_kind(&self, key: usize) -> Option<(String, WatcherType)> {
        let watcher = self.watchers[key].as_ref()?;
        let kind = watcher.want.watcher_type();
        let others = self.by_path.get(&watcher.path)?.iter().filter(|other| **other != key);
        let wanted = others
            .filter_map(|other| self.watchers[*other].as_ref())
            .any(|other| other.want.watcher_type() == kind);
        (!wanted).then(|| (watcher.path.clone(), kind))
    }

    fn remove(&mut self, key: usize) -> Option<Waker> {
        let watcher = self.watchers[key].take()?;
        self.free.push(key);
        self.recursive -= usize::from(watcher.want == Want::Recursive);
        if let Some(keys) = self.by_path.get_mut(&watcher.path) {
            keys.retain(|other| *other != key);
            if keys.is_empty() {
                self.by_path.remove(&watcher.path);
            }
        }
        watcher.mailbox.end()
    }
}

/// Whether an event at the watcher's own path concerns it.
fn sees(watcher: &Watcher, kind: EventType) -> bool {
    watcher.armed
        && match watcher.want {
            Want::Persistent => true,
            Want::Recursive => kind != EventType::NodeChildrenChanged,
            Want::Data | Want::Exists => kind != EventType::NodeChildrenChanged,
            Want::Children => matches!(kind, EventType::NodeChildrenChanged | EventType::NodeDeleted),
        }
}

/// The hold on a watcher: takes it off when dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    shared: Arc<Shared>,
    key: usize,
    mailbox: Arc<Mailbox<WatchEvent>>,
    /// The watcher has gone by itself, and its key may be another's by now.
    ended: bool,
}

impl Hold {
    pub(crate) fn new(shared: Arc<Shared>, key: usize, mailbox: Arc<Mailbox<WatchEvent>>) -> Self {
        Self { shared, key, mailbox, ended: false }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<WatchEvent>> {
        let next = self.mailbox.poll_next(cx);
        if let Poll::Ready(None) = next {
            self.ended = true;
        }
        next
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let mut core = self.shared.lock();
        // A watcher that ended gave its key back.
        if !core.watchers.is_held(self.key, &self.mailbox) {
            return;
        }
        if let Some((path, kind)) = core.watchers.drop_watcher(self.key) {
            let now = core.now;
            core.session.forget_watch(now, &path, kind);
            wake_task(core);
        }
    }
}

impl Watchers {
    fn is_held(&self, key: usize, mailbox: &Arc<Mailbox<WatchEvent>>) -> bool {
        self.watchers[key].as_ref().is_some_and(|watcher| Arc::ptr_eq(&watcher.mailbox, mailbox))
    }
}

/// A watch that fires once: a future of the event. It survives the loss of the connection. The error says that the
/// session is over, or that the watch was taken off. Dropped, it is taken off.
#[derive(Debug)]
#[must_use = "a watch that is dropped is taken off"]
pub struct OneshotWatch(pub(crate) Hold);

impl Future for OneshotWatch {
    type Output = Result<WatchedEvent, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_next(cx).map(|event| match event {
            Some(WatchEvent::Changed(event)) => Ok(event),
            Some(WatchEvent::Reconnected | WatchEvent::Overflow) | None => {
                let core = self.0.shared.lock();
                Err(if core.status.borrow().is_ended() {
                    core.ended_error()
                } else {
                    Error::new(ErrorKind::Misuse, "the watch was taken off")
                })
            }
        })
    }
}

/// A watch that stays: a stream of events, in the order of the changes, until the session is over or the watch is
/// taken off. At most as many events wait as [`ClientBuilder::watch_capacity`](crate::ClientBuilder::watch_capacity)
/// says; what comes beyond is dropped and marked by [`WatchEvent::Overflow`]. Dropped, it is taken off.
#[derive(Debug)]
#[must_use = "a watch that is dropped is taken off"]
pub struct WatchStream(pub(crate) Hold);

impl WatchStream {
    /// The next event, `None` after the last. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<WatchEvent> {
        std::future::poll_fn(|cx| self.0.poll_next(cx)).await
    }
}

impl Stream for WatchStream {
    type Item = WatchEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<WatchEvent>> {
        self.0.poll_next(cx)
    }
}

/// All events of a client: how the session stands, and every watch event. Bounded as a [`WatchStream`]; dropped events
/// are marked by [`Event::Overflow`].
#[derive(Debug)]
pub struct Events {
    pub(crate) shared: Arc<Shared>,
    pub(crate) mailbox: Arc<Mailbox<Event>>,
}

impl Events {
    /// The next event, `None` after the last. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|cx| self.mailbox.poll_next(cx)).await
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.mailbox.poll_next(cx)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.shared.lock().watchers.drop_listener(&self.mailbox);
    }
}
