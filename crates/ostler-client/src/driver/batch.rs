//! The answers to many reads that were sent in one go. The calls of many futures each take the lock, a place and a waker;
//! a batch takes one of each, and its answers as many at a time as have come.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use super::answers::{Answers, Taken};
use super::shared::{Shared, SlotKey};
use crate::connect_string::Chroot;
use crate::error::Error;

/// Makes of an answer what the caller wants.
pub(crate) type BatchShape<T> = fn(Taken<'_>, &Chroot) -> Result<T, Error>;

enum Inner {
    /// Nothing was sent: this is the answer to each.
    Refused(Error),
    Waiting(SlotKey),
    /// All have come.
    Here,
}

/// The answers to many requests that are on their way, in the order of the requests, each with its own result. Dropping
/// it takes nothing back: nobody hears the answers then.
#[must_use = "the requests are on their way; the answers tell whether they went well"]
pub struct Batch<T> {
    shared: Arc<Shared>,
    inner: Inner,
    /// How many have not been taken out.
    left: usize,
    here: Answers,
    shape: BatchShape<T>,
}

impl<T> Batch<T> {
    /// Without a slot for no requests at all.
    pub(crate) fn waiting(
        shared: Arc<Shared>,
        slot: Option<SlotKey>,
        count: usize,
        shape: BatchShape<T>,
    ) -> Self {
        let inner = slot.map_or(Inner::Here, Inner::Waiting);
        Self { shared, inner, left: count, here: Answers::default(), shape }
    }

    pub(crate) fn refused(shared: Arc<Shared>, error: Error, count: usize, shape: BatchShape<T>) -> Self {
        Self { shared, inner: Inner::Refused(error), left: count, here: Answers::default(), shape }
    }

    /// How many answers were not taken yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.left
    }

    /// Whether all were taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// The next answer; `None` after the last.
    pub async fn next(&mut self) -> Option<Result<T, Error>> {
        std::future::poll_fn(|cx| self.poll_answer(cx)).await
    }

    /// All answers that are left, or the first error. With an error nobody hears those behind it.
    pub async fn all(mut self) -> Result<Vec<T>, Error> {
        let mut all = Vec::with_capacity(self.left);
        while let Some(answer) = self.next().await {
            all.push(answer?);
        }
        Ok(all)
    }

    fn poll_answer(&mut self, cx: &Context<'_>) -> Poll<Option<Result<T, Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if self.here.is_empty() {
            ready!(self.poll_here(cx));
        }
        self.left -= 1;
        let answer = match (self.here.take(), &self.inner) {
            (Some(answer), _) => answer,
            (None, Inner::Refused(error)) => Taken::Read(Err(error.clone())),
            (None, Inner::Waiting(_) | Inner::Here) => unreachable!("there are as many as are left"),
        };
        Poll::Ready(Some((self.shape)(answer, &self.shared.chroot)))
    }

    /// Takes what has come.
    fn poll_here(&mut self, cx: &Context<'_>) -> Poll<()> {
        let Inner::Waiting(slot) = self.inner else { return Poll::Ready(()) };
        self.here.clear();
        self.shared.lock().poll_batch(slot, self.left, &mut self.here, cx.waker());
        if self.here.len() == self.left {
            self.inner = Inner::Here;
        }
        if self.here.is_empty() { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl<T> Stream for Batch<T> {
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_answer(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T> Drop for Batch<T> {
    fn drop(&mut self) {
        if let Inner::Waiting(slot) = self.inner {
            self.shared.lock().abandon_slot(slot, self.left - self.here.len());
        }
    }
}

impl<T> fmt::Debug for Batch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.inner {
            Inner::Refused(error) => write!(f, "Batch(refused: {error})"),
            Inner::Waiting(_) | Inner::Here => write!(f, "Batch({} to come)", self.left),
        }
    }
}
