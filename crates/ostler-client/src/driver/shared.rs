//! What the handles of a client and its task share: the session, who waits for which answer, who watches what. Calls
//! put their request into the session's buffer themselves, so that requests go out in the order of the calls and a
//! call costs no message. Held for moments only, never across an await.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use ostler_wire::client::response::Response;
use tokio::sync::watch;

use super::answers::Answers;
use super::random::Random;
use super::state::{SessionState, Status};
use super::watch::Watchers;
use crate::connect_string::Chroot;
use crate::error::{Error, ErrorKind};
use crate::session::answer::Answer;
use crate::session::{Completion, Ending, Event, Output, RequestId, Session, State};

/// Which slot of `Slots` somebody waits at.
pub(crate) type SlotKey = usize;

#[derive(Debug)]
enum Slot {
    Free,
    Waiting(Option<Waker>),
    /// Whoever waited has gone; the slot is free once the last answer came.
    Abandoned,
    Done(Result<Response, Error>),
    /// For the answers to several requests.
    Batch(Answers, Option<Waker>),
}

/// Places where answers are put, used again and again.
#[derive(Debug, Default)]
struct Slots {
    slots: Vec<Slot>,
    free: Vec<SlotKey>,
}

impl Slots {
    fn take(&mut self, slot: Slot) -> SlotKey {
        if let Some(key) = self.free.pop() {
            self.slots[key] = slot;
            key
        } else {
            self.slots.push(slot);
            self.slots.len() - 1
        }
    }

    fn release(&mut self, key: SlotKey) {
        self.slots[key] = Slot::Free;
        self.free.push(key);
    }

    #[inline]
    fn fill(&mut self, at: Place, answer: Answer<'_>, wakers: &mut Vec<Waker>) {
        match &mut self.slots[at.slot] {
            Slot::Waiting(waker) => {
                wakers.extend(waker.take());
                self.slots[at.slot] = Slot::Done(answer.into_result());
            }
            Slot::Batch(answers, waker) => {
                wakers.extend(waker.take());
                answers.push(answer);
            }
            Slot::Abandoned if at.last => self.release(at.slot),
            Slot::Abandoned => {}
            Slot::Free | Slot::Done(_) => debug_assert!(false, "a slot is answered once"),
        }
    }
}

/// Where an answer goes.
#[derive(Clone, Copy)]
struct Place {
    slot: SlotKey,
    /// Whether the slot waits for no other answer behind it.
    last: bool,
}

/// A request that the session has, or several with ids in a row.
#[derive(Debug)]
struct Pending {
    /// Of the first that is not answered.
    id: RequestId,
    /// How many are not answered.
    left: usize,
    slot: SlotKey,
    /// The watcher that begins with the answer.
    watcher: Option<usize>,
}

/// Takes the request with this id out of those that wait in order: where its answer goes, and its watcher.
#[inline]
fn take_pending(pending: &mut VecDeque<Pending>, id: RequestId) -> Option<(Place, Option<usize>)> {
    let first = pending.front_mut().filter(|first| first.id == id)?;
    first.left -= 1;
    first.id.0 += 1;
    let (place, watcher) = (Place { slot: first.slot, last: first.left == 0 }, first.watcher);
    if place.last {
        pending.pop_front();
    }
    Some((place, watcher))
}

/// Everything behind the lock.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) session: Session,
    pub(crate) watchers: Watchers,
    pub(crate) random: Random,
    slots: Slots,
    /// In the order of their ids, in which the session completes them.
    pending: VecDeque<Pending>,
    /// Credentials, which are answered out of that order.
    pending_auths: Vec<Pending>,
    /// Wakes the client's task.
    pub(crate) driver: Option<Waker>,
    /// The time when the task last looked: near enough for what is asked in between.
    pub(crate) now: Duration,
    pub(crate) status: watch::Sender<Status>,
    /// What was wrong with the server that was tried last.
    pub(crate) problem: Option<String>,
}

/// The shared state of a client.
#[derive(Debug)]
pub(crate) struct Shared {
    core: Mutex<Core>,
    pub(crate) chroot: Chroot,
    /// For those who want to know without the lock.
    pub(crate) status: watch::Receiver<Status>,
}

impl Shared {
    pub(crate) fn new(session: Session, chroot: Chroot, watch_capacity: usize, random: Random) -> Self {
        let (sender, status) = watch::channel(Status::default());
        let core = Core {
            session,
            watchers: Watchers::new(chroot.clone(), watch_capacity),
            random,
            slots: Slots::default(),
            pending: VecDeque::new(),
            pending_auths: Vec::new(),
            driver: None,
            now: Duration::ZERO,
            status: sender,
            problem: None,
        };
        Self { core: Mutex::new(core), chroot, status }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Core> {
        // What a panicking holder left is still a session: its next answer shows whether it goes on.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives the lock back, and wakes the client's task for what was put in.
pub(crate) fn wake_task(mut core: MutexGuard<'_, Core>) {
    let driver = core.driver.take();
    drop(core);
    if let Some(driver) = driver {
        driver.wake();
    }
}

impl Core {
    /// Notes who waits for a request.
    pub(crate) fn await_answer(&mut self, id: RequestId, watcher: Option<usize>) -> SlotKey {
        let slot = self.slots.take(Slot::Waiting(None));
        self.pending.push_back(Pending { id, left: 1, slot, watcher });
        slot
    }

    /// Notes who waits for several requests, whose ids are this one and those that follow.
    pub(crate) fn await_answers(&mut self, id: RequestId, count: usize) -> SlotKey {
        let slot = self.slots.take(Slot::Batch(Answers::with_capacity(count), None));
        self.pending.push_back(Pending { id, left: count, slot, watcher: None });
        slot
    }

    /// Notes who waits for credentials.
    pub(crate) fn await_auth(&mut self, id: RequestId) -> SlotKey {
        let slot = self.slots.take(Slot::Waiting(None));
        self.pending_auths.push(Pending { id, left: 1, slot, watcher: None });
        slot
    }

    /// The answer in a slot, if it is there; otherwise `waker` is told when it is.
    pub(crate) fn poll_slot(&mut self, key: SlotKey, waker: &Waker) -> Option<Result<Response, Error>> {
        match &mut self.slots.slots[key] {
            Slot::Waiting(Some(known)) if known.will_wake(waker) => None,
            Slot::Waiting(known) => {
                *known = Some(waker.clone());
                None
            }
            slot @ Slot::Done(_) => {
                let Slot::Done(answer) = std::mem::replace(slot, Slot::Free) else {
                    unreachable!("just matched")
                };
                self.slots.free.push(key);
                Some(answer)
            }
            Slot::Free | Slot::Abandoned | Slot::Batch(..) => {
                unreachable!("a slot is polled by whom it belongs to")
            }
        }
    }

    /// Swaps the answers to a batch that came for `taken`, which is empty; otherwise `waker` is told of the next. With
    /// the last of the `left` answers the slot is given back.
    pub(crate) fn poll_batch(&mut self, key: SlotKey, left: usize, taken: &mut Answers, waker: &Waker) {
        match &mut self.slots.slots[key] {
            Slot::Batch(answers, known) if answers.is_empty() => *known = Some(waker.clone()),
            Slot::Batch(answers, _) => {
                std::mem::swap(answers, taken);
                if taken.len() == left {
                    self.slots.release(key);
                }
            }
            Slot::Free | Slot::Abandoned | Slot::Waiting(_) | Slot::Done(_) => {
                unreachable!("a slot is polled by whom it belongs to")
            }
        }
    }

    /// Nobody waits for what is to come to this slot any more.
    pub(crate) fn abandon_slot(&mut self, key: SlotKey, left: usize) {
        match &self.slots.slots[key] {
            Slot::Batch(answers, _) if answers.len() == left => self.slots.release(key),
            Slot::Waiting(_) | Slot::Batch(..) => self.slots.slots[key] = Slot::Abandoned,
            Slot::Done(_) => self.slots.release(key),
            Slot::Free | Slot::Abandoned => {}
        }
    }

    #[cfg(test)]
    pub(crate) fn slots(&self) -> usize {
        self.slots.slots.len()
    }

    /// Bytes came. Plain answers go straight to whoever waits for them; the rest is for
    /// [`take_outcomes`](Self::take_outcomes), under the same lock or a later one.
    pub(crate) fn on_bytes(&mut self, now: Duration, bytes: &[u8], wakers: &mut Vec<Waker>) {
        let Self { session, slots, pending, .. } = self;
        let mut answered = |id: RequestId, answer: Answer<'_>| match take_pending(pending, id) {
            Some((place, _)) => slots.fill(place, answer, wakers),
            None => debug_assert!(false, "an answer to nobody: {id:?}"),
        };
        session.handle_bytes_with(now, bytes, Some(&mut answered));
    }

    /// Hands out what the session has to tell. The text if it wants to hang up.
    pub(crate) fn take_outcomes(&mut self, wakers: &mut Vec<Waker>) -> Option<&'static str> {
        while let Some(output) = self.session.poll_outcome() {
            match output {
                Output::Completed(completion) => self.on_completion(completion, wakers),
                Output::Event(event) => self.on_event(event, wakers),
                Output::Disconnect(why) => return Some(why),
                Output::Transmit(_) => unreachable!("poll_outcome leaves the bytes"),
            }
        }
        None
    }

    fn on_completion(&mut self, completion: Completion, wakers: &mut Vec<Waker>) {
        let pending = take_pending(&mut self.pending, completion.id).or_else(|| {
            let place = self.pending_auths.iter().position(|pending| pending.id == completion.id)?;
            let auth = self.pending_auths.remove(place);
            Some((Place { slot: auth.slot, last: true }, auth.watcher))
        });
        let Some((place, watcher)) = pending else {
            debug_assert!(false, "an answer to nobody: {completion:?}");
            return;
        };
        if let Some(watcher) = watcher {
            let forget = self.watchers.on_answer(watcher, completion.result.as_ref().map(drop), wakers);
            if let Some((path, kind)) = forget {
                self.session.forget_watch(self.now, &path, kind);
            }
        }
        self.slots.fill(place, Answer::Read(completion.result), wakers);
    }

    fn on_event(&mut self, event: Event, wakers: &mut Vec<Waker>) {
        let resumed = self.status.borrow().connections > 0;
        match &event {
            Event::Watch { kind, path, zxid } => self.watchers.on_event(*kind, path, *zxid, wakers),
            Event::WatchesRemoved { kind, path } => self.watchers.on_removed(*kind, path, wakers),
            Event::Connected { read_only, .. } => {
                let read_only = *read_only;
                if resumed {
                    self.watchers.on_reconnected(wakers);
                }
                self.problem = None;
                let (session, timeout) = (self.session.credentials().0, self.session.timeout());
                self.status.send_modify(|status| {
                    status.connections += 1;
                    status.session = session;
                    status.timeout = timeout;
                    status.state =
                        if read_only { SessionState::ConnectedReadOnly } else { SessionState::Connected };
                });
            }
            Event::Disconnected => self.status.send_modify(|status| status.state = SessionState::Suspended),
            Event::Lapsed => self.status.send_modify(|status| status.lapses += 1),
            Event::Ended(ending) => {
                self.watchers.on_ended(wakers);
                self.status.send_modify(|status| {
                    status.lapses += 1;
                    status.state = SessionState::Ended(*ending);
                });
            }
            Event::Overflow => {}
        }
        self.watchers.tell_all(event, wakers);
    }

    /// The error for whoever asks too late.
    pub(crate) fn ended_error(&self) -> Error {
        match self.session.state() {
            State::Ended(Ending::Closed) => Error::new(ErrorKind::Misuse, "the session was closed"),
            State::Ended(Ending::AuthFailed) => {
                Error::new(ErrorKind::SessionLost, "the server refused the credentials")
            }
            State::Ended(Ending::Expired) | State::Disconnected | State::Handshaking | State::Connected => {
                Error::new(ErrorKind::SessionLost, "the session expired")
            }
        }
    }
}
