//! What travels between threads: the inbox of a lane and the inbox of the node. Both are filled by many and emptied
//! by one; what bounds them is said where they are filled.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ostler_node::report::{LaneReport, NodeReport};
use ostler_node::{Input, LaneBatch};
use tokio::sync::{Notify, oneshot};

use crate::admission::Admitted;

/// A queue with a bell.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    letters: Mutex<Vec<T>>,
    len: AtomicUsize,
    bell: Notify,
}

impl<T> Inbox<T> {
    pub(crate) fn new() -> Self {
        Self { letters: Mutex::new(Vec::new()), len: AtomicUsize::new(0), bell: Notify::new() }
    }

    /// Puts a letter in and rings.
    pub(crate) fn push(&self, letter: T) {
        self.push_all(std::iter::once(letter));
    }

    /// Puts letters in and rings once.
    pub(crate) fn push_all(&self, all: impl IntoIterator<Item = T>) {
        let mut letters = self.lock();
        letters.extend(all);
        self.len.store(letters.len(), Ordering::Release);
        drop(letters);
        self.bell.notify_one();
    }

    /// Takes all letters; `into` must be empty and lends its memory.
    pub(crate) fn take(&self, into: &mut Vec<T>) {
        debug_assert!(into.is_empty(), "what was taken before has been read");
        if self.len.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut letters = self.lock();
        std::mem::swap(&mut *letters, into);
        self.len.store(0, Ordering::Release);
    }

    /// How many letters wait.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// Waits until somebody rang.
    pub(crate) async fn rung(&self) {
        self.bell.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        // A panic aborts the process, so nobody ever sees a poisoned lock.
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The inbox of a lane.
#[derive(Debug)]
pub(crate) struct LaneInbox {
    /// What the node says. Filled under the exclusive borrow of the store; the node applies no more while this is
    /// long.
    pub(crate) batches: Inbox<LaneBatch>,
    /// What the rest of the server says: new sockets, questions. Bounded by the limits on connections.
    pub(crate) errands: Inbox<Errand>,
    /// Whether the lane holds watches; set under the shared borrow, read under the exclusive one.
    pub(crate) watching: AtomicBool,
}

impl LaneInbox {
    pub(crate) fn new() -> Self {
        Self { batches: Inbox::new(), errands: Inbox::new(), watching: AtomicBool::new(false) }
    }
}

/// What a lane is asked to do beside serving.
#[derive(Debug)]
pub(crate) enum Errand {
    /// Serve this client.
    Serve(TcpStream, SocketAddr, Admitted),
    /// Tell your figures.
    Report(oneshot::Sender<LaneReport>),
    /// Forget what connections counted (`crst`).
    ResetConnStats,
    /// Forget what was counted (`srst`).
    ResetServerStats,
    /// Close everything.
    Stop,
}

/// What the node's loop finds in its inbox. Bounded by what the lanes may have under way.
#[derive(Debug)]
pub(crate) enum NodeLetter {
    /// For the node itself.
    Input(Input),
    /// Tell your figures.
    Report(oneshot::Sender<NodeReport>),
    /// Leave the ensemble: the process is about to end.
    Stop,
}
