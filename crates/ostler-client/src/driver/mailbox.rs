//! A bounded queue between the driver and one reader. When it is full, what comes is dropped, and the reader finds a
//! mark in its place: it has to look anew. So a slow reader costs neither memory nor anybody else's replies.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

#[derive(Debug)]
struct Inner<T> {
    queue: VecDeque<T>,
    /// Something was dropped behind the last of the queue.
    dropped: bool,
    ended: bool,
    waker: Option<Waker>,
}

/// The queue.
#[derive(Debug)]
pub(crate) struct Mailbox<T> {
    capacity: usize,
    /// Makes the mark for what was dropped.
    mark: fn() -> T,
    inner: Mutex<Inner<T>>,
}

impl<T> Mailbox<T> {
    pub(crate) fn new(capacity: usize, mark: fn() -> T) -> Arc<Self> {
        let inner = Inner { queue: VecDeque::new(), dropped: false, ended: false, waker: None };
        Arc::new(Self { capacity: capacity.max(1), mark, inner: Mutex::new(inner) })
    }

    /// Puts something in; the answer is whom to wake.
    pub(crate) fn push(&self, item: T) -> Option<Waker> {
        let mut inner = self.lock();
        if inner.ended {
            return None;
        }
        if inner.queue.len() >= self.capacity {
            inner.dropped = true;
            return None;
        }
        if std::mem::take(&mut inner.dropped) {
            inner.queue.push_back((self.mark)());
        }
        inner.queue.push_back(item);
        inner.waker.take()
    }

    /// Nothing more will come; the answer is whom to wake.
    pub(crate) fn end(&self) -> Option<Waker> {
        let mut inner = self.lock();
        inner.ended = true;
        inner.waker.take()
    }

    /// The next item, `None` after the last.
    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut inner = self.lock();
        if let Some(item) = inner.queue.pop_front() {
            return Poll::Ready(Some(item));
        }
        if std::mem::take(&mut inner.dropped) {
            return Poll::Ready(Some((self.mark)()));
        }
        if inner.ended {
            return Poll::Ready(None);
        }
        inner.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_says_where_something_is_missing() {
        let mailbox = Mailbox::new(2, || 0);
        for i in 1..=4 {
            mailbox.push(i);
        }
        let cx = &mut Context::from_waker(Waker::noop());
        let mut take = || match mailbox.poll_next(cx) {
            Poll::Ready(item) => item,
            Poll::Pending => Some(-1),
        };
        assert_eq!(take(), Some(1));
        mailbox.push(5);
        assert_eq!([take(), take(), take(), take()], [Some(2), Some(0), Some(5), Some(-1)]);
        for i in 6..=9 {
            mailbox.push(i);
        }
        mailbox.end();
        assert_eq!([take(), take(), take(), take()], [Some(6), Some(7), Some(0), None]);
    }
}
